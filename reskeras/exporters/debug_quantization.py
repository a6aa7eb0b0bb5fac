"""Where an int8 file loses its accuracy, layer by layer."""
from __future__ import annotations

import csv
import io
import pathlib
import tempfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .._keras_private import quantize_calibrated
from ..graph.model_requirements import check_image_model
from ..quantization.calibration import check_image_count, iterate_batches, load_images
from .formats import FORMATS
from .options import ExportOptions
from .prepare import get_compared_shape, make_options, optimize_for_format, prepare_model

if TYPE_CHECKING:
    import keras

MAX_BATCHES = 16        # that errors are measured on


@dataclass(frozen=True)
class QuantizedLayer:
    """What int8 does to the output of one operator, and the layer that it comes from."""

    layer: str
    operator: str
    relative_error: float       # root mean square of the error over the tensor's range
    steps: float                # the same in steps of the scale; only rounding gives 0.29


def measure_quantization(model: keras.Model, calibration_data: Any,
                         size: int | tuple[int, int] | None = None, batch_size: int | None = None,
                         preprocessing: Any = None, labels: Any = None) -> list[QuantizedLayer]:
    """Measures what int8 would do to each layer of a model, in a file of one image per call.

    Args:
        model: as `export` takes it.
        calibration_data: as `export` takes it.
        size: as `export` takes it.
        batch_size: batch size of the export; at least as many images are needed.
        preprocessing: as `export` takes it.
        labels: as `export` takes them.

    Returns:
        The operators, that of the largest error first.

    Raises:
        ArgumentError: the model is not of one image and one output, the preprocessing is not known, or
            another argument has a wrong value.
        ValueError: the images cannot be used, or are too few.
    """
    check_image_model(model)
    file_format = FORMATS[".tflite"]
    prepared = prepare_model(model, file_format, preprocessing, labels).model
    options = make_options(prepared, file_format, quantize="int8", batch_size=1, size=size)
    images = load_images(calibration_data, options.preprocessing, get_compared_shape(options)).images
    check_image_count(images, batch_size)
    optimized = optimize_for_format(prepared, file_format, options)
    return measure_layer_errors(optimized, replace(options, calibration_images=images))


def measure_layer_errors(model: keras.Model, options: ExportOptions) -> list[QuantizedLayer]:
    """Measures the error of each operator, with the ranges that the calibration images give.

    Each operator gets the values of the float model, so that its error is its own (TensorFlow's
    QuantizationDebugger).

    Args:
        model: as it is written to the file.
        options: options of the file; calibration images are needed.
    Returns:
        The operators, that of the largest error first.
    """
    import tensorflow as tf

    from . import saved_model
    from .tflite.quantize import calibrate
    from .tflite.tensor_names import find_layer_name
    assert options.calibration_images is not None
    batch_size = options.shape[0] or 1
    images = options.calibration_images[:MAX_BATCHES * batch_size]
    with tempfile.TemporaryDirectory() as folder:
        saved_model.write_for_converter(model, pathlib.Path(folder), options.shape)
        debugger = tf.lite.experimental.QuantizationDebugger(
            quant_debug_model_content=quantize_calibrated(calibrate(folder, options), fully_quantize=True,
                                                          enable_numeric_verify=True),
            debug_dataset=lambda: ([batch] for batch in iterate_batches(images, batch_size)))
        debugger.run()

    text = io.StringIO()
    debugger.layer_statistics_dump(text)
    names = [layer.name for layer in model.layers]
    layers = []
    for line in csv.DictReader(io.StringIO(text.getvalue())):
        error, scale = float(line["mean_squared_error"]) ** 0.5, float(line["scale"])
        layer = find_layer_name(line["tensor_name"], names)
        if layer not in options.normalizations:     # the file computes these in floats
            layers.append(QuantizedLayer(layer, line["op_name"], error / (255 * scale), error / scale))
    return sorted(layers, key=lambda layer: -layer.relative_error)


def format_table(layers: list[QuantizedLayer], limit: int = 20) -> str:
    """The first `limit` layers as text."""
    lines = [f"{'layer':40} {'operator':20} {'error / range':>14} {'error / step':>13}"]
    lines += [f"{layer.layer[:40]:40} {layer.operator:20} {layer.relative_error:14.2%} {layer.steps:13.2f}"
              for layer in layers[:limit]]
    return "\n".join(lines)
