"""Layers that have more weights than usual: batch renormalization, and low-rank adapters."""
import keras
import numpy as np
import pytest
from keras import layers
from small import chain, randomized, rewritten, unchanged

import reskeras
from reskeras.blocks.layers import StandardizedConv2D
from reskeras.graph.passes.fold_bn import fold_bn
from reskeras.graph.passes.rewrite_groups import rewrite_groups
from reskeras.graph.passes.standardize_kernels import standardize_kernels


@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False, "scale": False}], ids=str)
def test_renormalization_folds_as_it_runs(options):
    """Keras keeps three more statistics behind the variance; at inference it does not read them."""
    model = chain(layers.Conv2D(6, 3), layers.BatchNormalization(renorm=True, **options), layers.ReLU())
    images = np.random.default_rng(0).standard_normal((2, 8, 8, 4)).astype("float32")
    optimized, report = reskeras.optimize(model, passes=["fold_bn"], check=False)
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in optimized.layers)
    np.testing.assert_allclose(optimized(images), model(images), rtol=0, atol=1e-5)
    rewritten(fold_bn, model)


def test_renormalization_before_a_layer():
    rewritten(fold_bn, chain(layers.ReLU(), layers.BatchNormalization(renorm=True), layers.Conv2D(6, 3)))


def adapted(layer, *others):
    """The adapter of a layer changes its kernel, so that no pass may take the stored kernel for it."""
    model = chain(layer, *others)
    layer.enable_lora(2)
    return randomized(model)


def two_adapted_ends():
    image = keras.Input((8, 8, 4))
    parts = [layers.Conv2D(4, 1)(image) for _ in range(2)]
    ends = [layers.Conv2D(5, 1) for _ in range(2)]
    model = keras.Model(image, layers.Add()([end(part) for end, part in zip(ends, parts)]))
    for end in ends:
        end.enable_lora(2)
    return randomized(model)


@pytest.mark.parametrize("rewrite, make", [
    (standardize_kernels, lambda: adapted(StandardizedConv2D(4, 3), layers.ReLU())),
    (lambda graph: rewrite_groups(graph, "concat"), lambda: adapted(layers.Conv2D(4, 3, groups=2))),
    (rewrite_groups, two_adapted_ends)], ids=["standardized", "split groups", "join sums"])
def test_adapters_are_left_alone(rewrite, make):
    unchanged(rewrite, make(), "a kernel and")
