"""Converts a SavedModel to TFLite, in floats or quantized, as `quantize` says.

"float16" and "dynamic" quantize only the weights; "int8" and "int16x8" (`int16.py`) also quantize what the
layers compute.  For int8 each tensor needs a range, so the converter's two steps are called one by one.  It
calibrates: for each tensor it keeps the smallest and the largest value that it sees on the calibration
images.  Then these are changed as `calibration_method` says (`ranges.py`), those that are known are set
(`known_ranges.py`), those that are empty are widened (`empty_ranges.py`), and it quantizes.
"""
from __future__ import annotations

from typing import Any, Callable, Iterator, Sequence

import numpy as np

from ..._keras_private import calibrate_only, quantize_calibrated, set_one_scale_for_dense
from ...errors import ArgumentError
from ...quantization.calibration import iterate_batches
from ..options import ETHOS_U, ExportOptions
from . import flatbuffer
from .empty_ranges import widen_empty_ranges
from .int16 import quantize_to_int16
from .known_ranges import set_known_ranges
from .ranges import narrow_ranges
from .tensor_names import find_layer_name


def convert(folder: str, options: ExportOptions) -> bytes:
    """Converts a SavedModel; for int8 there are two steps, `calibrate` and `quantize`.

    Args:
        folder: folder of the SavedModel.
        options: options of the file; `quantize` and what belongs to it.
    Returns:
        The content of the .tflite file.
    """
    data = bytes(_make_converter(folder, options).convert())
    if options.quantize == "int16x8":
        return quantize_to_int16(data, options, options.target in ONE_SCALE_TARGETS)
    return data


def calibrate(folder: str, options: ExportOptions) -> bytes:
    """The first step to int8: a .tflite file in floats with a range for each tensor.

    Args:
        folder: folder of the SavedModel.
        options: options of the file, with calibration images.
    """
    converter = _make_converter(folder, options)
    calibrate_only(converter)
    calibrated = bytes(converter.convert())
    if options.calibration_method != "minmax":
        calibrated = narrow_ranges(calibrated, options)
    return widen_empty_ranges(set_known_ranges(calibrated, options))


def _make_converter(folder: str, options: ExportOptions) -> Any:
    """TensorFlow's converter of a SavedModel, set as the options say."""
    import tensorflow as tf
    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    _SETTINGS[options.quantize](converter, options)
    set_one_scale(converter, options.target)
    return converter


def set_one_scale(converter: Any, target: str | None) -> None:
    """Gives the weights of dense layers one scale, if the target takes no more.

    Args:
        converter: TensorFlow's converter.
        target: as `export` takes it.
    """
    set_one_scale_for_dense(converter, target in ONE_SCALE_TARGETS)


def _set_float32(converter: Any, options: ExportOptions) -> None:
    """The converter's own default."""


def _set_float16(converter: Any, options: ExportOptions) -> None:
    """Weights in float16."""
    import tensorflow as tf
    _set_dynamic(converter, options)
    converter.target_spec.supported_types = [tf.float16]


def _set_dynamic(converter: Any, options: ExportOptions) -> None:
    """Weights in int8; the layers compute in float32, or quantize their input when they run."""
    import tensorflow as tf
    converter.optimizations = [tf.lite.Optimize.DEFAULT]


def _set_int8(converter: Any, options: ExportOptions) -> None:
    """Sets everything to int8, with ranges from the calibration images."""
    import tensorflow as tf
    _set_dynamic(converter, options)
    converter.representative_dataset = lambda: _iterate_samples(options)

    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if options.has_float_layers:
        converter.target_spec.supported_ops.append(tf.lite.OpsSet.TFLITE_BUILTINS)
    converter.inference_input_type = converter.inference_output_type = getattr(tf, options.io)


def _iterate_samples(options: ExportOptions) -> Iterator[Any]:
    """The calibration images in batches, as the converter takes them; of several inputs by name."""
    assert options.shape[0]
    images, inputs = options.calibration_images, options.calibration_inputs
    if inputs is not None:
        indices = np.arange(len(next(iter(inputs.values()))))
        for batch in iterate_batches(indices, options.shape[0], options.verbose):
            yield {name: array[batch] for name, array in inputs.items()}
    elif images is not None:
        for batch in iterate_batches(images, options.shape[0], options.verbose):
            yield [batch]


# Old TFLite for Microcontrollers computes nonsense with a scale for each class, and NNAPI refuses it
ONE_SCALE_TARGETS = ("micro", "nnapi", *ETHOS_U)
_SETTINGS: dict[str | None, Callable[[Any, ExportOptions], None]] = {
    None: _set_float32, "float16": _set_float16, "dynamic": _set_dynamic, "int8": _set_int8,
    "int16x8": _set_float32}


def quantize(calibrated: bytes, options: ExportOptions, layers: Sequence[str]) -> bytes:
    """The second step to int8, with the `float_layers` and the `normalizations` as they are.

    Args:
        calibrated: what `calibrate` gave.
        options: options of the file.
        layers: the names of the model's layers, the last of them that of its output.
    Returns:
        The content of the .tflite file.
    Raises:
        ArgumentError: one of the `float_layers` is not in the file.
    """
    import tensorflow as tf
    float_tensors = None
    if options.has_float_layers:
        float_tensors = _find_float_tensors(calibrated, options, layers)
    dtype = getattr(tf, options.io)
    return quantize_calibrated(calibrated, input_data_type=dtype, output_data_type=dtype,
                               denylisted_nodes=float_tensors,
                               disable_per_channel_for_dense_layers=options.target in ONE_SCALE_TARGETS)


def _find_float_tensors(calibrated: bytes, options: ExportOptions, layers: Sequence[str]) -> list[str]:
    """The tensors that layers in floats make, alone or with others that the converter fused with them.

    Raises:
        ArgumentError: one of the layers makes no tensor.
    """
    graph = flatbuffer.unpack(calibrated).subgraphs[0]
    tensors = [graph.tensors[operator.outputs[0]].name.decode() for operator in graph.operators]
    makers = {tensor: {find_layer_name(part, layers) for part in tensor.split(";")} for tensor in tensors}
    if missing := sorted(set(options.float_layers).difference(*makers.values())):
        raise ArgumentError(
            "float_layers", list(options.float_layers), "layers that are operators of the file",
            hint=f"{', '.join(missing)} is not one, as it was folded into the layer before it, such as a "
                 "batch normalization; name that layer")
    floats = {*options.float_layers, *options.normalizations}
    return [tensor for tensor in tensors if makers[tensor] & floats]
