"""Small models for the tests of the passes."""
from __future__ import annotations

import keras
import numpy as np

from reskeras.graph.graph import Graph
from reskeras.graph.equivalence import check_equivalence


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
            is_scale = v.name in ("gamma", "moving_variance", "variance")
            v.assign(random.uniform(0.5, 1.5, v.shape) if is_scale else random.standard_normal(v.shape) * 0.3)
    return model


def type_names(graph):
    return [node.type_name for node in graph.nodes]


def unchanged(rewrite, model, reason):
    """Whether the pass leaves the model alone, and says why."""
    before = Graph.of(model)
    result = rewrite(before)
    assert not result.rewritten and type_names(result.graph) == type_names(before)
    assert [n.config for n in result.graph.nodes] == [n.config for n in before.nodes]
    assert any(reason in why for why in result.declined.values()), dict(result.declined)


def rewritten(rewrite, model, limit=1e-12):
    """The pass' graph: it computes the same, and a second run leaves it alone."""
    before = Graph.of(model)
    result = rewrite(before)
    assert result.rewritten
    again = rewrite(result.graph)
    assert not again.rewritten and type_names(again.graph) == type_names(result.graph)
    check = check_equivalence(before, result.graph)
    assert check.passed and check.max_relative_difference < limit, check
    return result.graph
