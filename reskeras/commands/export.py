"""`export`: a net to a file for another runtime, checked there."""
from __future__ import annotations

import os
import pathlib
import shlex
import sys
from typing import TYPE_CHECKING, Any, Mapping, Sequence, TextIO

from ..errors import ArgumentError
from ..exporters.formats import find_format
from ..exporters.folder_index import read_index, update_index
from ..terminal import print_text
from .open_model import ModelName, Size, check_trained_model, open_trained_model
from .quiet import open_terminal

if TYPE_CHECKING:
    import keras

    from ..exporters.report import ExportReport

# where a file without a path goes; the shell keeps an index of this folder
FOLDER = pathlib.Path("saved_models")


def export(model: ModelName | keras.Model, path: str | os.PathLike[str] | None = None, *,
           quantize: str | None = None,
           calibration_data: Any = None, validation_data: Any = None, batch_size: int | None = None,
           size: Size | None = None, io: str = "int8", preprocessing: Any = None,
           labels: str | Sequence[str] | None = None, calibration_method: str = "minmax",
           float_layers: Sequence[str] = (), target: str | None = None, optimize: bool = True,
           threads: int = 1, thresholds: Mapping[str, float] | None = None, strict: bool = True,
           verbose: bool | TextIO = False, c_array: bool = False,
           signatures: Sequence[str] = (), batch_sizes: Sequence[int] = (), dtype: str | None = None,
           layout: str | None = None, debug_quantization: bool = False) -> ExportReport:
    """Writes a net to a file for another runtime, runs it there, and compares its outputs with Keras.

    Batch normalization is folded first.  A net of mixed precision is rebuilt in float32, except for `.keras`
    files and SavedModels.  The report is also written to `<path>.json`, and images with their outputs to
    `<path>.npz`.

    Args:
        model: the name of a net with weights ("resnet50v1_5.a1_in1k", or "resnet50v1_5" for its default
            weights), a `.keras` file, or a keras.Model.  If it is not of one input of images and one output,
            each input and output keeps its name, and each output is compared by itself.
        path: the file to write.  Its suffix chooses the format: `.tflite`, `.onnx`, `.xml` (OpenVINO),
            `.keras`, or no suffix for a SavedModel folder.  By default `saved_models/<name>.tflite`, or
            `saved_models/<name>.<quantize>.tflite`.
        quantize: None (float32); "dynamic" (only the weights, of 8 bits) and "int8" (everything; a SavedModel
            computes in floats what integers would) for TFLite, ONNX, OpenVINO and SavedModels; "float16" (the
            weights; in ONNX everything) for the first three; for TFLite also "int16x8" (weights of 8 bits,
            all else of 16: for nets that int8 is too coarse for).
        calibration_data: for int8 and int16x8: images from which the ranges of the tensors are taken, at
            least 32: an array of floats as the net takes them or of uint8 pixels, a folder, a list of files,
            a tf.data set, or a pair (images, classes). Pixels and files go through the net's own
            preprocessing.
        validation_data: images to compare on, given like `calibration_data`; default: the calibration
            images, otherwise random images. With classes the report has the accuracy before and after.
        batch_size: images per call; by default 1 in a .tflite, any number elsewhere.
        size: size of the images, if the model takes any size: pixels on a side, or (height, width).  Not for
            `.keras`.
        io: type of the input and output of a quantized .tflite; other files take floats.  "int8" and
            "float32" take images as the net takes them: quantized prepared values (of 16 bits in an int16x8
            file), or prepared values.  "uint8" takes a camera's bytes, of the net's
            size: scale 1, zero point 0; a normalization by channel goes into the file.
        preprocessing: for a net that does not know it: a checkpoint, its name, or a `Preprocessing`.
        labels: for a net that does not know them: a label set, or the names of the classes.
        calibration_method: the range of a tensor in an int8 file: "minmax" (all values of the calibration),
            "percentile" (99.99 % of those that are not zero), or "mse" (the least mean squared error of
            rounding and clipping together).
        float_layers: names of layers that stay in floating point in an int8 file.
        target: what runs a quantized file.  A .tflite: "phone" (default), or "micro" or "nnapi", which take
            one scale only for the weights of a dense layer, or "ethos-u55-128" and its like, whose compiler
            then says what such an accelerator does of it (extra `ethos-u`).  ONNX: "onnxruntime" (default)
            or "tensorrt".  A SavedModel: "tensorflow" (default), or "gpu" for servers: compiled by XLA, it
            takes uint8 pixels of the net's size.
        optimize: whether batch normalization is folded; the file is compared with the net as it was given.
        threads: number of threads of each runtime, in the timing.
        thresholds: fields of `Threshold` with their values, "difference" (maximum relative difference),
            "mean_difference" and "agreement" (minimum share of images with an equal class).  The default
            thresholds are then not used: a field that you leave out is not checked.
        strict: whether a file that does not pass is an error; otherwise it is kept, and its report says
            `passed: false`.
        verbose: True shows a progress bar on stderr while ranges are calibrated; a text stream shows it
            there.
        c_array: whether to write `<path>.cc` too, for microcontrollers: the .tflite as a C array, with the
            size of the working memory ("tensor arena") that it needs.
        signatures: the signatures of a SavedModel to write, by default all: "serving_default", which is
            always written and compared, "serving_uint8", "serving_bytes".  Without the other two it answers
            scores without labels, for converters that read one function without strings (coremltools).
        batch_sizes: with "gpu" as `target`: the numbers of images that servers warm up with and fill their
            batches up to; by default 1, 8 and 32.
        dtype: "float16" or "bfloat16", in which a SavedModel keeps its weights and computes; it takes and
            returns float32.
        layout: with "gpu" as `target`: "tf-serving" puts the SavedModel into the folder `1`, "triton" into
            `1/model.savedmodel`, with a `config.pbtxt`.
        debug_quantization: whether to print first what int8 does to each layer, in TFLite's arithmetic
            for files of any format.

    Returns:
        A report: bytes, and by runtime the differences, the agreement and the latency.

    Raises:
        ArgumentError: for a wrong value of an argument.
        ValueError: for a net without weights, or data that do not fit.
        RuntimeError: if the file does not pass.
        ImportError: if a package is missing.
        OSError: if the file cannot be written.  An older file at `path` is then still there, and no new file.

    Example:
        >>> reskeras.export("cifar_resnet20.digits", "digits.tflite").passed
        True
    """
    file = pathlib.Path(path) if path is not None else _default_path(model, quantize)
    find_format(file)           # wrong names are errors before anything is loaded
    check_trained_model(model)
    from ..exporters.export import export as export_model
    net = open_trained_model(model)
    if debug_quantization:
        print_text(_format_layer_errors(net, quantize, calibration_data, batch_size=batch_size, size=size,
                                        preprocessing=preprocessing, labels=labels))
    return export_model(
        net, file, quantize=quantize, calibration_data=calibration_data, validation_data=validation_data,
        batch_size=batch_size, size=size, io=io, preprocessing=preprocessing, labels=labels,
        calibration_method=calibration_method, float_layers=float_layers, target=target, optimize=optimize,
        threads=threads, thresholds=thresholds, strict=strict, verbose=verbose, c_array=c_array,
        signatures=signatures, batch_sizes=batch_sizes, dtype=dtype, layout=layout)


def _default_path(model: ModelName | keras.Model, quantize: str | None) -> pathlib.Path:
    """Returns where `export` writes without a path: "saved_models/resnet50.int8.tflite"."""
    name = pathlib.Path(model).name if isinstance(model, (str, os.PathLike)) else model.name
    return FOLDER / f"{name.removesuffix('.keras')}.{quantize + '.' if quantize else ''}tflite"


def export_and_index(model: str, path: str | None = None,
                     **options: Any) -> tuple[pathlib.Path, ExportReport]:
    """`export` for the shell: a file in `saved_models` gets its line in the folder's INDEX.tsv.

    Args:
        model: the name of a net or a `.keras` file.
        path: as in `export`.
        **options: of `export`.
    """
    target = pathlib.Path(path) if path is not None else _default_path(model, options.get("quantize"))
    is_indexed = target.parent.resolve() == FOLDER.resolve()
    if is_indexed:
        read_index(FOLDER)          # a broken one is an error before the export, not after it
    with open_terminal() as terminal:       # stderr itself goes to a log now
        report = export(model, target, verbose=terminal or False, **options)
    if is_indexed:
        accuracy = report.first_result.accuracy
        update_index(FOLDER, {
            "variant": report.variant, "file": target.name, "sha256": report.sha256, "bytes": report.bytes,
            "data": options.get("validation_data") or options.get("calibration_data") or "",
            "accuracy": "" if accuracy is None else f"{accuracy:.4f}",
            "command": "reskeras " + " ".join(map(shlex.quote, sys.argv[1:]))})
    return target, report


def print_result(result: tuple[pathlib.Path, ExportReport]) -> int:
    """Prints the path and a summary of the report.  Returns: the exit code, 1 if the file does not pass."""
    path, report = result
    print_text(f"{path}: {report.summary()}")
    return int(not report.passed)


def _format_layer_errors(net: keras.Model, quantize: str | None, calibration_data: Any,
                         **options: Any) -> str:
    """The table of what int8 does to each layer."""
    from ..exporters.debug_quantization import format_table, measure_quantization
    if quantize != "int8":
        raise ArgumentError("debug_quantization", True,
                            "int8 as `quantize` with it, because only int8 has errors by layer")
    if calibration_data is None:
        raise ArgumentError("calibration_data", None, "images, from which the ranges of int8 are chosen")
    return format_table(measure_quantization(net, calibration_data, **options))
