"""Stochastic depth by batch leaves out what it drops, with the same draws and outputs as the net itself."""
import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import images, tiny

from reskeras.blocks.drop_layers import StochasticDepth
from reskeras.train import skip_branches
from reskeras.train.strategy import distributable


def net(row="resnet18", **fields):
    keras.utils.set_random_seed(0)
    return tiny(row, **{"drop_path_rate": 0.6, "drop_path_mode": "batch", "depths": (2, 1, 1, 1), **fields})


def reset(model):
    for layer in model.layers:
        if isinstance(layer, StochasticDepth):
            layer.seed_generator.state.assign([7, 0])


@pytest.mark.parametrize("row", ["resnet18", "resnetv2_50d", "seresnext50_32x4d", "cifar_resnet20"])
def test_branches_are_what_leads_to_the_drop_alone(row):
    model = net(row, depths=(2, 1, 1) if row.startswith("cifar") else (2, 1, 1, 1))
    plan = skip_branches.plan_steps(model, is_alone=True)
    assert sorted(layer.name for step in plan for layer in step) == sorted(
        layer.name for layer in model.layers)
    branches = [step for step in plan if len(step) > 1]
    assert len(branches) == sum(isinstance(layer, StochasticDepth) for layer in model.layers)
    for branch in branches:
        assert sum(isinstance(layer, keras.layers.Conv2D) for layer in branch) >= 2
        # a shortcut, the stem
        assert not any("_0_" in layer.name or layer.name.startswith("conv1") for layer in branch)


def test_same_outputs_and_gradients():
    model = net()
    same, x = distributable(model), images(model, 4)
    seen = set()
    reset(model)
    expected, gradients = [], []
    for _ in range(4):
        with tf.GradientTape() as tape:
            expected.append(model(x, training=True)[:, 0])
        gradients.append(tape.gradient(expected[-1], model.trainable_variables[0]))
    reset(model)
    graph = tf.function(lambda x: same(x, training=True)[:, 0], autograph=False)
    for output, gradient in zip(expected, gradients):
        with tf.GradientTape() as tape:
            found = graph(x)
        np.testing.assert_allclose(found, output, rtol=1e-4, atol=1e-5)
        own = tape.gradient(found, model.trainable_variables[0])
        np.testing.assert_allclose(own, gradient, rtol=1e-3, atol=1e-4 * np.abs(gradient).max())
        seen.add(float(np.sum(found)))
    assert len(seen) > 1                            # some were left out, not always the same ones
    np.testing.assert_array_equal(same(x, training=False), model(x, training=False))


def test_what_is_left_out_is_not_computed():
    """A branch that is never kept: its batch normalization sees nothing, and its kernels get no gradient."""
    model = net()
    depth = next(layer for layer in model.layers if isinstance(layer, StochasticDepth))
    depth.draw_kept = lambda shape: tf.zeros(shape, bool)
    branch = next(step for step in skip_branches.plan_steps(model, is_alone=True) if step[-1] is depth)
    same, x = distributable(model), images(model, 8)
    same.compile("sgd", "sparse_categorical_crossentropy")
    before = {v.path: keras.ops.convert_to_numpy(v) for v in model.variables}
    same.fit(x, np.arange(8) % 7, batch_size=8, verbose=0)
    inside = {v.path for layer in branch for v in layer.variables}
    unchanged = {
        v.path for v in model.variables if np.array_equal(before[v.path], keras.ops.convert_to_numpy(v))}
    assert inside <= unchanged and len(inside) >= 8
    assert {v.path for v in model.get_layer("conv1_bn").variables} & unchanged == set()


def test_where_nothing_can_be_skipped():
    assert skip_branches.plan_steps(net(drop_path_mode="sample"), is_alone=True) is None
    assert skip_branches.plan_steps(
        net(norm="sync_batch"), is_alone=False
    ) is None and skip_branches.plan_steps(net(norm="sync_batch"), is_alone=True)
    image = keras.Input((4, 4, 1))
    assert (
        skip_branches.plan_steps(
            keras.Model(image, StochasticDepth(0.5, mode="batch")(image) + 1), is_alone=True)
        is None)
