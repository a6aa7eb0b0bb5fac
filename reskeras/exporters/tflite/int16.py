"""int16x8: activations of 16 bits, weights of 8, for nets of which 8 bits are too coarse.

TensorFlow's converter calibrates and quantizes in one call, so that neither ranges nor layers can be chosen.
Operators without a form of 16 bits stay in floating point.
"""
from __future__ import annotations

from typing import Any, Iterator

import numpy as np

from ..._keras_private import get_tflite_calibrator, get_tflite_schema
from ...quantization.calibration import iterate_batches
from ..options import ExportOptions
from . import flatbuffer
from .known_ranges import MAX_PIXEL


def quantize_to_int16(data: bytes, options: ExportOptions, has_one_scale: bool) -> bytes:
    """Quantizes a file.

    Args:
        data: a .tflite file in floats.
        options: options of the file, with calibration images.
        has_one_scale: whether the weights of a dense layer have one scale, or one for each output.

    Returns:
        The content of the .tflite file.
    """
    import tensorflow as tf
    calibrator = get_tflite_calibrator(_replace_squared_differences(data))
    io_type = getattr(tf, options.io)
    return bytes(calibrator.calibrate_and_quantize(
        lambda: ([batch] for batch in _iterate_images(options)), io_type, io_type, allow_float=True,
        activations_type=tf.int16, bias_type=tf.int64, resize_input=False,
        disable_per_channel_quantization_for_dense_layers=has_one_scale))


def _iterate_images(options: ExportOptions) -> Iterator[np.ndarray]:
    """The calibration images, and a black and a white one: the range of the input is that of all pixels."""
    assert options.calibration_images is not None
    shape = tuple(side or 1 for side in options.shape)
    yield from iterate_batches(options.calibration_images, shape[0], options.verbose)
    if options.preprocessing is not None:
        for pixel in (0.0, MAX_PIXEL):
            yield np.asarray(options.preprocessing.normalize(np.full(shape, pixel, "float32")), "float32")


def _replace_squared_differences(data: bytes) -> bytes:
    """The file with products of differences: LiteRT squares no differences in 16 bits.

    Group normalization computes its variances so.
    """
    schema, model = get_tflite_schema(), flatbuffer.unpack(data)
    graph, names = model.subgraphs[0], flatbuffer.list_operator_names(model)
    operators = []
    for operator, name in zip(graph.operators, names):
        if name != "SQUARED_DIFFERENCE":
            operators.append(operator)
            continue
        output = graph.tensors[operator.outputs[0]]
        difference = schema.TensorT()
        difference.name, difference.type = output.name + b"_difference", output.type
        difference.shape, difference.buffer = output.shape, len(model.buffers)
        model.buffers.append(schema.BufferT())
        graph.tensors.append(difference)
        index = len(graph.tensors) - 1
        operators += [_make_operator(model, "SUB", operator.inputs, [index]),
                      _make_operator(model, "MUL", [index, index], operator.outputs)]
    graph.operators = operators
    for code in model.operatorCodes:        # the calibrator refuses a code that no operator has
        if code.builtinCode == schema.BuiltinOperator.SQUARED_DIFFERENCE:
            code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.MUL
    return flatbuffer.pack(model)


def _make_operator(model: Any, name: str, inputs: Any, outputs: Any) -> Any:
    """An operator of two tensors, without an activation."""
    schema = get_tflite_schema()
    number = getattr(schema.BuiltinOperator, name)
    index = next((i for i, code in enumerate(model.operatorCodes) if code.builtinCode == number), None)
    if index is None:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = number
        code.version = 1
        model.operatorCodes.append(code)
        index = len(model.operatorCodes) - 1
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = index, inputs, outputs
    options = "SubOptions" if name == "SUB" else "MulOptions"
    operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
    operator.builtinOptions = getattr(schema, f"{options}T")()
    if name == "SUB":
        operator.builtinOptions.potScaleInt16 = False       # any scale
    return operator
