"""Stochastic depth (arXiv:1603.09382) and DropBlock (arXiv:1810.12890)."""
import keras
import numpy as np
import pytest
from tiny import images, tiny

from reskeras.blocks.drop_layers import DropBlock2D, StochasticDepth

DTYPES = ["float32", "mixed_float16", "mixed_bfloat16"]
EXACT = {"float32": 1e-6, "mixed_float16": 1e-3, "mixed_bfloat16": 8e-3}


def drop(layer, x):
    return keras.ops.convert_to_numpy(keras.ops.cast(layer(x, training=True), "float32"))


def rates(model):
    return [layer.rate for layer in model.layers if isinstance(layer, StochasticDepth)]


@pytest.mark.parametrize("variant", ["resnet18", "resnet50v2", "resnext50_32x4d", "resnest50", "skresnet18",
                                     "cifar_resnet20"])
def test_rates_grow_linearly(variant):
    """1 - p_l = l / L * rate, with l from 1: every block has its layer, the last the whole rate."""
    depths = (2, 1, 2, 1)[:3 if variant.startswith("cifar") else 4]
    model = tiny(variant, depths=depths, drop_path_rate=0.3)
    blocks = sum(depths)
    np.testing.assert_allclose(rates(model), [0.3 * n / blocks for n in range(1, blocks + 1)])
    assert [layer.mode for layer in model.layers if isinstance(layer, StochasticDepth)] == ["sample"] * blocks


def test_no_layer_without_a_rate():
    dropping = (StochasticDepth, DropBlock2D, keras.layers.Dropout)
    assert not any(isinstance(layer, dropping) for layer in tiny("resnet50v1_5").layers)


def test_drops_the_branch_and_never_the_shortcut():
    """Between the end of the branch, attention included, and the addition."""
    model = tiny("seresnet50", drop_path_rate=0.1)
    layer = model.get_layer("conv2_block2_drop_path")
    assert layer.input is model.get_layer("conv2_block2_se_scale").output
    assert [t is layer.output for t in model.get_layer("conv2_block2_add").input] == [False, True]


@pytest.mark.parametrize("fields", [
    dict(drop_path_rate=0.9), dict(drop_path_rate=0.9, drop_path_mode="batch"), dict(drop_block_rate=0.9),
    dict(block_dropout_rate=0.9), dict(dropout_rate=0.9)], ids=str)
def test_nets_are_unchanged_at_inference(fields):
    net, plain = tiny("resnet50v1_5", **fields), tiny("resnet50v1_5")
    assert len(net.layers) > len(plain.layers)
    for layer in plain.layers:
        net.get_layer(layer.name).set_weights(layer.get_weights())
    x = images(plain)
    np.testing.assert_array_equal(net(x, training=False), plain(x, training=False))
    assert np.abs(net(x, training=True) - plain(x, training=True)).max() > 1e-3


@pytest.mark.parametrize("policy", DTYPES)
@pytest.mark.parametrize("layer", [StochasticDepth, DropBlock2D])
def test_identity_at_inference(layer, policy):
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")
    layer = layer(0.7, dtype=policy)
    np.testing.assert_array_equal(layer(x, training=False), keras.ops.cast(x, layer.compute_dtype))
    np.testing.assert_array_equal(layer(x), keras.ops.cast(x, layer.compute_dtype))


@pytest.mark.parametrize("policy", DTYPES)
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_keeps_the_expectation_sample_by_sample(rate, policy):
    """A sample is dropped whole or divided by 1 - rate; half precision does not bend the rate."""
    x = np.ones((4000, 2, 2, 2), "float32")
    y = drop(StochasticDepth(rate, seed=1, dtype=policy), x)
    assert (y == y[:, :1, :1, :1]).all()
    kept = y[:, 0, 0, 0] != 0
    np.testing.assert_allclose(y[kept], 1 / (1 - rate), rtol=EXACT[policy])
    deviation = np.sqrt(rate * (1 - rate) / len(x))
    assert abs(kept.mean() - (1 - rate)) < 4 * deviation


def test_by_batch_drops_all_or_none():
    layer = StochasticDepth(0.5, mode="batch", seed=1)
    kept = [drop(layer, np.ones((8, 2, 2, 1), "float32")) for _ in range(60)]
    assert {float(y.min()) for y in kept} == {float(y.max()) for y in kept} == {0.0, 2.0}
    assert all(y.min() == y.max() for y in kept)
    assert 15 < sum(y.max() > 0 for y in kept) < 45


def test_a_dropped_branch_has_no_gradient():
    tf = pytest.importorskip("tensorflow")
    x = tf.ones((64, 1, 1, 1))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = StochasticDepth(0.5, seed=1)(x, training=True)
    np.testing.assert_array_equal(tape.gradient(y, x), y)     # 0 or 2, as the output of ones
    assert 0 < np.count_nonzero(y) < 64


@pytest.mark.parametrize("wrong, message", [
    (dict(rate=1.0), "rate=1.0: expected a probability"),
    (dict(rate=-0.1), "rate=-0.1: expected a probability"),
    (dict(rate=0.5, mode="pixel"), "mode='pixel': expected one of 'sample', 'batch'")], ids=str)
def test_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        StochasticDepth(**wrong)


@pytest.mark.parametrize("rate", [0.1, 0.3])
@pytest.mark.parametrize("side, block", [(32, 1), (28, 7), (14, 7), (14, 4), (7, 7), (5, 7)])
def test_drop_block_drops_the_expected_fraction(side, block, rate):
    y = drop(DropBlock2D(rate, block, seed=2), np.ones((32, side, side, 64), "float32"))
    assert abs((y == 0).mean() - rate) < 0.1 * rate
    assert abs(y.mean() - 1) < 1e-3     # what is left is scaled up
    assert len(np.unique(y)) == 2


def test_drop_block_drops_squares():
    """On a large map every hole is a 5 x 5 square or a union of such, and each channel has its own."""
    y = drop(DropBlock2D(0.02, 5, seed=3), np.ones((4, 40, 40, 8), "float32"))
    holes = np.moveaxis(y == 0, 3, 1).reshape(-1, 40, 40)
    assert len(np.unique(holes, axis=0)) > 16
    inner = np.pad(holes, ((0, 0), (4, 4), (4, 4)),
                   constant_values=True)       # a square may hang over the border
    starts = np.lib.stride_tricks.sliding_window_view(inner, (5, 5), (1, 2)).all((-1, -2))
    covered = np.zeros_like(inner)
    for i, j in np.ndindex(5, 5):
        covered[:, i:i + starts.shape[1], j:j + starts.shape[2]] |= starts
    np.testing.assert_array_equal(covered[:, 4:-4, 4:-4], holes)


def test_drop_block_acts_in_the_last_two_stages():
    model = tiny("resnet50v1_5", drop_block_rate=0.1, drop_block_size=5)
    named = {layer.name.split("_")[0] for layer in model.layers if isinstance(layer, DropBlock2D)}
    assert named == {"conv4", "conv5"}
    assert {layer.block_size for layer in model.layers if isinstance(layer, DropBlock2D)} == {5}


@pytest.mark.parametrize("policy", DTYPES)
def test_drop_block_on_maps_of_unknown_size(policy):
    image = keras.Input((None, None, 8))
    model = keras.Model(image, DropBlock2D(0.2, 3, seed=4, dtype=policy)(image))
    y = model(np.ones((64, 9, 6, 8), "float32"), training=True)
    y = keras.ops.convert_to_numpy(keras.ops.cast(y, "float32"))
    assert abs((y == 0).mean() - 0.2) < 0.04
