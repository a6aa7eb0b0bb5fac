import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import reskeras
from reskeras.blocks import inception, ops
from reskeras.blocks.batch_norm import BatchNormalization

SHAPE = (4, 6, 5, 8)


def trained(kind, dtype="float32", jit=False, shape=SHAPE, **options):
    """Output, gradients and moving statistics of a step, and the ops that it ran."""
    rng = np.random.default_rng(0)
    layer = kind(momentum=0.9, epsilon=1e-3, dtype=dtype, **options)
    layer.build(shape)
    layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    x, upstream = (tf.cast(3 + 2 * rng.standard_normal(shape), layer.compute_dtype) for _ in range(2))

    def step(x, upstream):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return y, tape.gradient(y, [x, *(w.value for w in layer.trainable_variables)], upstream)
    traced = tf.function(step, jit_compile=jit, autograph=False).get_concrete_function(x, upstream)
    y, gradients = traced(x, upstream)
    ops = {op.type for op in traced.graph.get_operations()}
    return [np.array(tf.cast(t, tf.float32)) for t in (y, *gradients, *layer.non_trainable_variables)], ops


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("mixed_bfloat16", 2e-2),
                                              ("mixed_float16", 3e-3)])
@pytest.mark.parametrize("options", [
    {}, {"scale": False}, {"center": False, "scale": False}, {"synchronized": True}], ids=str)
def test_a_step_is_that_of_keras(dtype, tolerance, options):
    ours, ops = trained(BatchNormalization, dtype, **options)
    theirs, _ = trained(layers.BatchNormalization, dtype, **options)
    assert "FusedBatchNormV3" in ops
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * np.abs(other).max())


@pytest.mark.parametrize("options", [{"jit": True}, {"shape": (1, 1, 1, 8)}, {"shape": (2, 1, 1, 8)}],
                         ids=str)
def test_compiled_and_of_few_pixels(options):
    ours, theirs = (trained(kind, **options)[0] for kind in (BatchNormalization, layers.BatchNormalization))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}], ids=str)
def test_replicas_exchange_one_vector(options, monkeypatch):
    """Two replicas with the same images have the statistics, and so the step, of one with them."""
    exchanged = []

    class Two:
        num_replicas_in_sync = 2

        def all_reduce(self, operation, value):
            exchanged.append(value.shape)
            assert operation == tf.distribute.ReduceOp.SUM
            return 2 * value

    one, _ = trained(BatchNormalization, synchronized=True, **options)
    assert not exchanged
    monkeypatch.setattr(tf.distribute, "get_replica_context", Two)
    two, ops = trained(BatchNormalization, synchronized=True, **options)
    assert exchanged == [2 * SHAPE[-1] + 1] and "FusedBatchNormV3" not in ops
    for ours, alone in zip(two, one, strict=True):
        np.testing.assert_allclose(ours, alone, rtol=1e-4, atol=1e-4 * np.abs(alone).max())


@pytest.mark.parametrize("options", [
    {"axis": 1}, {"shape": (4, 8)}, {"dtype": "float64"}, {"trainable": False}], ids=str)
def test_the_rest_is_by_keras(options):
    ours, ops = trained(BatchNormalization, **options)
    theirs, same = trained(layers.BatchNormalization, **options)
    assert "FusedBatchNormV3" not in ops and ops == same
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name, options", [("CifarResNet20", {}), ("ResNet50V2", {"depths": (1, 1, 1, 1)})])
def test_a_net_takes_the_same_step(name, options, monkeypatch):
    """To rounding: ours and Keras' own are both near the step in float64."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((8, 64, 64, 3)), np.arange(8) % 3

    def step(dtype):
        keras.config.set_dtype_policy(dtype)
        net = getattr(reskeras, name)(weights=None, input_shape=(64, 64, 3), classes=3, width=0.25, **options)
        own = np.random.default_rng(1)
        start = [own.uniform(0.5, 1, w.shape) if w.ndim == 1
                 else own.standard_normal(w.shape) * w[..., 0].size ** -0.5 for w in net.get_weights()]
        net.set_weights(start)
        net.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        net.train_on_batch(x.astype(dtype), y)
        change = [(new - old).ravel() for new, old in zip(net.get_weights(), start)]
        return np.concatenate(change), {type(layer) for layer in net.layers}
    try:
        ours, kinds = step("float32")
        monkeypatch.setattr(ops, "BatchNormalization", layers.BatchNormalization)
        theirs, stock = step("float32")
        exact, _ = step("float64")
    finally:
        keras.config.set_dtype_policy("float32")
    assert BatchNormalization in kinds and BatchNormalization not in stock
    far, stock_far = (np.linalg.norm(one - exact) / np.linalg.norm(exact) for one in (ours, theirs))
    assert far < 1e-5 and stock_far < 1e-5


def test_a_file_is_keras_own(tmp_path):
    net = reskeras.CifarResNet20(weights=None)
    net.save(tmp_path / "net.keras")
    named = json.loads(zipfile.ZipFile(tmp_path / "net.keras").read("config.json"))["config"]["layers"]
    assert {(layer["module"], layer["class_name"]) for layer in named if layer["name"].endswith("_bn")} == {
        ("keras.layers", "BatchNormalization")}
    plain, again = keras.saving.load_model(tmp_path / "net.keras"), reskeras.load(tmp_path / "net.keras")
    assert type(plain.get_layer("conv1_bn")) is layers.BatchNormalization
    assert type(again.get_layer("conv1_bn")) is BatchNormalization is inception.BatchNormalization
    x = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(net(x), plain(x))
    np.testing.assert_array_equal(net(x), again(x))
