"""Small models for the tests of the passes."""
from __future__ import annotations

import keras
import numpy as np

from reskeras.graph.graph import Graph
from reskeras.graph.equivalence import prove


def chain(*parts, shape=(8, 8, 4)):
    """A randomized model of layers in a row."""
    x = image = keras.Input(shape)
    for part in parts:
        x = part(x)
    return randomized(keras.Model(image, x))


def randomized(model, seed=0):
    """`model` with every variable at random, statistics too; scales and variances around 1."""
    random = np.random.default_rng(seed)
    for v in model.variables:
        if "seed_generator" not in v.path:
            v.assign(random.uniform(0.5, 1.5, v.shape) if v.name in ("gamma", "moving_variance", "variance") else
                     random.standard_normal(v.shape) * 0.3)
    return model


def words(graph):
    return [node.word for node in graph.nodes]


def unchanged(rewrite, model, reason):
    """Whether the pass leaves the model alone, and says why."""
    before = Graph.of(model)
    result = rewrite(before)
    assert not result.done and words(result.graph) == words(before)
    assert [n.config for n in result.graph.nodes] == [n.config for n in before.nodes]
    assert any(reason in why for why in result.declined.values()), dict(result.declined)


def rewritten(rewrite, model, limit=1e-12):
    """The pass' graph: proved, and left alone by a second run."""
    before = Graph.of(model)
    result = rewrite(before)
    assert result.done
    again = rewrite(result.graph)
    assert not again.done and words(again.graph) == words(result.graph)
    proof = prove(before, result.graph)
    assert proof.holds and proof.max_relative_difference < limit, proof
    return result.graph
