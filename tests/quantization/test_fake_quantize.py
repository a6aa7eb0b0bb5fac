"""Fake quantization beside TensorFlow's own op: values and gradients."""
import keras
import numpy as np
import pytest
import tensorflow as tf

from reskeras.quantization import fake_quantize
from reskeras.quantization.layers import FakeQuantize, QuantizedConv2D, QuantizedDense

RANGES = [(-1.0, 2.0), (0.0, 3.3), (-0.7, 0.0), (-5.0, 0.01)]


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("low, high", RANGES)
def test_equals_tensorflow(low, high, bits):
    """Also on backends that have no such op: the same by `keras.ops`."""
    rng = np.random.default_rng(0)
    x = tf.constant(np.concatenate([3 * rng.normal(size=1000), [0.0, low, high]]), tf.float32)
    upstream = tf.constant(rng.normal(size=1003), tf.float32)
    ends = tf.constant(low), tf.constant(high)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x, *ends])
        expected = tf.quantization.fake_quant_with_min_max_vars(x, *ends, num_bits=bits)
        computed = [fake_quantize.fake_quantize(x, *ends, bits),
                    fake_quantize._fake_quantize_by_ops(x, *ends, bits)]
    for values in computed:
        np.testing.assert_allclose(values, expected, atol=1e-6)
        assert len(np.unique(values.numpy().round(5))) <= 2 ** bits
        for ours, theirs in zip(tape.gradient(values, [x, *ends], upstream),
                                tape.gradient(expected, [x, *ends], upstream)):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("low, high", RANGES)
def test_scale_and_zero_point(low, high):
    """Each rounded value is scale * (integer - zero point), with an integer of 8 bits."""
    scale, zero_point = fake_quantize.compute_scale_and_zero_point(low, high)
    x = np.linspace(2 * low - 1, 2 * high + 1, 999).astype("float32")
    rounded = fake_quantize.fake_quantize(x, np.float32(low), np.float32(high))
    integers = np.asarray(rounded) / scale + zero_point
    np.testing.assert_allclose(integers, integers.round(), atol=2e-3)
    assert (integers.round().min(), integers.round().max()) == (-128, 127)


def test_kernels_are_symmetric_and_keep_their_largest_weight():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 5)).astype("float32")
    kernel[..., 4] = 0
    rounded = np.asarray(fake_quantize.fake_quantize_kernel(kernel))
    scales = fake_quantize.compute_kernel_scales(kernel)
    integers = rounded / scales
    np.testing.assert_allclose(integers, integers.round(), atol=1e-3)
    assert np.abs(integers).max() < 127.01
    np.testing.assert_allclose(np.abs(rounded).max((0, 1, 2)), np.abs(kernel).max((0, 1, 2)), rtol=1e-6)
    assert np.isfinite(scales).all() and scales[4] > 0     # a channel of zeros has a scale all the same
    by_ops = fake_quantize._fake_quantize_by_ops(kernel, -127 * scales, 127 * scales, 8, narrow_range=True)
    np.testing.assert_allclose(by_ops, rounded, atol=1e-5)


def test_moving_average_then_constant():
    layer = FakeQuantize(average_steps=2, momentum=0.5)
    layer.build((None, 2))
    layer.minimum.assign([-1.0])
    layer.maximum.assign([1.0])
    batch = np.array([[-3.0, 5.0]], "float32")
    layer(batch, training=False)
    assert float(layer.maximum[0]) == 1
    layer(batch, training=True)
    assert (float(layer.minimum[0]), float(layer.maximum[0])) == (-2, 3)
    layer(np.array([[np.inf, 0]], "float32"), training=True)       # an overflow in a half type
    assert float(layer.maximum[0]) == 3
    layer(batch, training=True)
    assert float(layer.maximum[0]) == 3        # two steps are over


def test_a_shared_range_contains_all_slots():
    layer = FakeQuantize(slots=2, ranges="frozen")
    layer.build((None, 2))
    layer.minimum.assign([-1.0, 0.0])
    layer.maximum.assign([1.0, 4.0])
    values = np.array([[3.9, -0.9]], "float32")
    np.testing.assert_allclose(layer(values, slot=0), layer(values, slot=1))
    np.testing.assert_allclose(layer(values, slot=None), values, atol=0.02)


def test_learned_ranges_have_a_gradient():
    layer = FakeQuantize(ranges="learned")
    x = tf.constant(np.linspace(-3, 3, 100)[None], tf.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x))
    low, high = tape.gradient(loss, layer.trainable_variables)
    outside = float(np.sum(np.linspace(-3, 3, 100) > 1)) / 10       # over the root of 100 values
    np.testing.assert_allclose([low[0], high[0]], [outside, outside], rtol=0.05)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_rounds_in_float32_under_any_policy(policy):
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype("float32")
    for layer in (FakeQuantize(dtype=policy), QuantizedConv2D(6, 3, groups=2, dtype=policy)):
        assert layer(x).dtype == layer.compute_dtype
        assert all(v.dtype in ("float32", "float64") for v in layer.variables)
    kernel = np.random.default_rng(1).normal(size=(4, 3)).astype("float32")
    dense = QuantizedDense(3, use_bias=False, dtype=policy)
    dense.build((None, 4))
    dense.set_weights([kernel])
    expected = fake_quantize.fake_quantize_kernel(kernel, per_channel=False)
    # the kernel is rounded to 8 bits as it is, and only then to the half type
    np.testing.assert_allclose(np.asarray(keras.ops.cast(dense(np.eye(4)), "float32")), expected, rtol=1e-2)
