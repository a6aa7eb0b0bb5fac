"""Only ranges that no kernel can compute with are widened."""
import keras
import numpy as np
import pytest
import tensorflow as tf

from reskeras._keras_private import freeze_function, get_tflite_schema
from reskeras.exporters.export import export
from reskeras.exporters.formats import open_file
from reskeras.exporters.tflite import flatbuffer
from reskeras.exporters.tflite.empty_ranges import widen_empty_ranges


def make_file(layers, shape, ranges):
    """A .tflite file in floats of a few layers, with a range for its input and each output, in order."""
    net = keras.Sequential([keras.Input(shape, batch_size=1), *layers])
    function = tf.function(net, input_signature=[tf.TensorSpec((1, *shape))])
    frozen = freeze_function(function.get_concrete_function())
    data = tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()
    model = flatbuffer.unpack(bytes(data))
    graph = model.subgraphs[0]
    tensors = [graph.inputs[0], *(operator.outputs[0] for operator in graph.operators)]
    assert len(tensors) == len(ranges), flatbuffer.list_operator_names(model)
    for i, (low, high) in zip(tensors, ranges):
        graph.tensors[i].quantization = get_tflite_schema().QuantizationParametersT()
        graph.tensors[i].quantization.min, graph.tensors[i].quantization.max = [low], [high]
    return flatbuffer.pack(model)


def read_last_range(data):
    graph = flatbuffer.unpack(data).subgraphs[0]
    quantization = graph.tensors[graph.outputs[0]].quantization
    return float(quantization.min[0]), float(quantization.max[0])


def conv(value, **arguments):
    return keras.layers.Conv2D(2, 1, kernel_initializer=keras.initializers.Constant(value), **arguments)


@pytest.mark.parametrize("layers, ranges", [
    ([keras.layers.Rescaling(1 / 65535)], [(0, 65535), (0, 1)]),
    ([keras.layers.Rescaling(1.0, -30000.0)], [(0, 65535), (-30000, 35535)]),
    ([keras.layers.Rescaling(1 / 20000)], [(-36000, 36000), (-1.8, 1.8)]),
    ([conv(1e-3)], [(-100, 100), (-0.003, 0.003)]),
    ([keras.layers.GlobalAveragePooling2D()], [(0, 5), (0, 1e-5)])])
def test_small_ranges_stay(layers, ranges):
    data = make_file(layers, (4, 4, 3), ranges)
    assert widen_empty_ranges(data) == data


@pytest.mark.parametrize("layers, ranges, expected", [
    # as large as the input times the length of the weights of an output
    ([conv(2.0, activation="relu")], [(0, 3), (0, 0)], (0, 3 * 2 * 3 ** 0.5)),
    ([conv(2.0)], [(0, 3), (0, 0)], (-3 * 2 * 3 ** 0.5, 3 * 2 * 3 ** 0.5)),
    ([conv(2.0)], [(-3, 3), (-1e-7, 1e-7)], (-6 * 2 * 3 ** 0.5, 6 * 2 * 3 ** 0.5)),
    ([keras.layers.ReLU()], [(-5, 0), (0, 0)], (0, 5)),
    # what was widened is the input of the next
    ([conv(2.0, activation="relu"), keras.layers.GlobalAveragePooling2D()], [(0, 3), (0, 0), (0, 0)],
     (-3 * 2 * 3 ** 0.5, 3 * 2 * 3 ** 0.5))])
def test_empty_ranges_become_what_may_be(layers, ranges, expected):
    np.testing.assert_allclose(
        read_last_range(widen_empty_ranges(make_file(layers, (4, 4, 3), ranges))), expected, rtol=1e-6)


def test_images_of_16_bits(tmp_path):
    """Their scaling is a layer of the net."""
    keras.utils.set_random_seed(0)
    net = keras.Sequential([
        keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 65535),
        keras.layers.Conv2D(4, 3, activation="relu"),
        keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)])
    images = np.random.default_rng(0).uniform(0, 65535, (40, 8, 8, 3)).astype("float32")
    export(net, tmp_path / "net.tflite", quantize="int8", calibration_data=images, validation_data=images)
    expected = net.predict(images, verbose=0)
    difference = np.abs(open_file(tmp_path / "net.tflite")(images) - expected).max()
    assert difference < 0.05 * np.abs(expected).max()
