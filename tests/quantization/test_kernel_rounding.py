"""At inference a model to train for int8 rounds as TFLite's reference kernels: beside integer arithmetic."""
import dataclasses
import math

import keras
import numpy as np
import pytest
from test_quantization_aware import make_images, make_net
from tiny import policy

import reskeras
from reskeras.graph.graph import Graph
from reskeras.quantization.accumulators import Accumulator, find_accumulator, find_range
from reskeras.quantization.kernel_rounding import round_average, round_sums
from reskeras.quantization.layers import FakeQuantize, QuantizedConv2D


def multiply_in_integers(total, ratio):
    """gemmlowp's fixed-point product: doubling high multiplication, then a shift, both round halves away."""
    fraction, exponent = math.frexp(ratio)
    product = total * round(fraction * 2 ** 31)
    high = (abs(product) + 2 ** 30) // 2 ** 31 * (1 if product >= 0 else -1)
    return (abs(high) + (1 << -exponent >> 1)) // (1 << -exponent) * (1 if high >= 0 else -1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_round_as_integer_arithmetic(dtype):
    rng = np.random.default_rng(0)
    units, scale = rng.uniform(1e-5, 1e-3, 8), 0.037
    sums = rng.integers(-60_000, 60_000, (5000, 8))
    arguments = (keras.ops.cast(value, dtype) for value in (sums * units, units, scale))
    computed = np.asarray(round_sums(*arguments))
    expected = np.array([[multiply_in_integers(int(total), unit / scale) for total, unit in zip(row, units)]
                         for row in sums])
    once = np.floor(sums * units / scale + 0.5)
    assert (computed == expected).mean() > 0.9999 > (once == expected).mean()


def test_averages_round_integers():
    scale, zero_point = 0.1, -128
    integers = np.array([[-128, -127], [-127, -126], [3, 4], [-4, -3]])
    averages = np.float32((integers.mean(1) - zero_point) * scale)
    computed = round_average(averages, np.float32(scale), zero_point)
    np.testing.assert_array_equal(np.asarray(computed) + zero_point, [-128, -127, 4, -4])


def test_layers_find_what_they_read():
    image = keras.Input((8, 8, 3))
    x = rounded = FakeQuantize(name="image")(image)
    x = keras.layers.MaxPooling2D()(x)
    conv = QuantizedConv2D(4, 3, name="conv")
    assert find_range(x).name == "image" and find_accumulator(x) is None and find_range(image) is None
    x = conv(x)
    assert find_accumulator(x) == Accumulator(kernel=conv) and find_range(x) is None
    assert find_accumulator(keras.layers.Add()([rounded, rounded])) is None
    product = keras.layers.ReLU()(keras.layers.Multiply()([rounded, rounded]))
    assert [layer.name for layer in find_accumulator(product).ranges] == ["image"] * 2
    mean = find_accumulator(keras.layers.GlobalAveragePooling2D()(rounded))
    assert mean.count == 64 and mean.kernel is None
    assert conv.compute_unit("float32").shape == (4,)


@pytest.mark.parametrize("name", ["float32", "mixed_float16"])
def test_half_types_round_once(name):
    """They cannot hold the sums."""
    images = make_images(40, 16, 16, 3)
    with policy(name):
        model = reskeras.quantization_aware(make_net(), images, ranges="frozen")
    graph = Graph.of(model)
    once = dataclasses.replace(graph, nodes=tuple(
        node.with_config(rounds_as_kernels=False) if node.layer_class is FakeQuantize else node
        for node in graph.nodes)).build()
    assert np.any(np.asarray(model(images)) != np.asarray(once(images))) == (name == "float32")


def test_the_gradient_at_inference_passes_through():
    tf = pytest.importorskip("tensorflow")
    image = keras.Input((1, 1, 2))
    x = QuantizedConv2D(2, 1, use_bias=False)(FakeQuantize(ranges="frozen")(image))
    outputs = FakeQuantize(ranges="frozen")(x)
    model, x = keras.Model(image, outputs), tf.random.uniform((3, 1, 1, 2), -0.3, 0.3, seed=0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x)
    assert np.all(tape.gradient(y, x) != 0)
