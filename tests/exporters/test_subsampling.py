"""Pools of one position in .tflite files: a convolution of ones, which XNNPACK takes."""
import keras
import numpy as np
import pytest
from keras import layers

import reskeras
from reskeras.graph.graph import Graph
from reskeras.graph.passes.subsample_by_convolution import subsample_by_convolution


def option_a():
    keras.utils.set_random_seed(0)
    return reskeras.CifarResNet20(weights=None, depths=(1, 1, 1), shortcut="pad", classes=5,
                                  input_shape=(32, 32, 3))


def test_xnnpack_takes_all_but_the_padding_of_channels(tmp_path):
    report = reskeras.export(option_a(), tmp_path / "a.tflite")
    assert report.passed and "MAX_POOL_2D" not in report.left_to_cpu["XNNPACK"]
    assert report.operators["DEPTHWISE_CONV_2D"] == 2


def test_dynamic_files_keep_the_pool(tmp_path):
    """There the kernel of ones would be quantized, and with it what it reads."""
    report = reskeras.export(option_a(), tmp_path / "a.tflite", quantize="dynamic")
    assert report.operators["MAX_POOL_2D"] == 2 and "DEPTHWISE_CONV_2D" not in report.operators


@pytest.mark.parametrize("pool", [layers.MaxPooling2D, layers.AveragePooling2D])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_equal_to_the_bit(pool, padding):
    image = keras.Input((9, 8, 4))
    model = keras.Model(image, pool(1, strides=2, padding=padding)(image))
    result = subsample_by_convolution(Graph.of(model))
    x = np.random.default_rng(0).standard_normal((2, 9, 8, 4)).astype("float32")
    assert len(result.rewritten) == 1
    np.testing.assert_array_equal(result.graph.build()(x), model(x))


@pytest.mark.parametrize("pool", [layers.MaxPooling2D(2), layers.MaxPooling2D(1, strides=(1, 2))])
def test_left_alone(pool):
    image = keras.Input((8, 8, 4))
    assert not subsample_by_convolution(Graph.of(keras.Model(image, pool(image)))).rewritten
