"""Exports a model: prepares it, writes the file, runs it in its own runtime, compares and judges it."""
from __future__ import annotations

import os
import pathlib
from dataclasses import replace
from typing import Any, Mapping, Sequence, TextIO

import keras
import numpy as np

from .. import __version__
from ..errors import ExportError
from ..files import atomic_write
from ..graph.graph import Graph
from ..model_metadata import METADATA_KEY, find_metadata
from ..quantization.model import is_quantization_aware
from .arguments import check_arguments, check_model
from .byte_input import put_normalization_inside
from .c_array import remove_old_c_array, write_c_array
from .comparison import RuntimeResult, SimulationResult, compare_outputs
from .float32_error import relax_float32_thresholds
from .file_faults import explain_failure, find_file_faults, name_rejected_file
from .formats import BatchRunner, check_packages, find_format, open_file
from .half_precision import to_half_precision
from .integer_weights import simulate_int8
from .keras_file import make_array_function
from .keras_reference import MAX_LOGIT_IMAGES
from .measurements import compute_size_and_hash, measure_latency
from .named.export import export_named
from .named.interface import takes_one_image
from .options import INTEGERS, ROUNDED, WrittenRanges, check_batch_size
from .output_path import check_output_path
from .plan import ExportPlan, make_plan
from .prepare import make_options, optimize_for_format, prepare_model
from .reference_outputs import write_reference_outputs
from .report import ExportReport
from .thresholds import choose_threshold
from .tflite.ethos_u import measure_target
from .tflite.runtime import load_logits_function
from .tflite.simulation import compare_with_simulation
from .tflite.trained_ranges import normalize_pixels, prepare_for_converter


def export(model: keras.Model, path: str | os.PathLike[str], *, quantize: str | None = None,
           calibration_data: Any = None, validation_data: Any = None, batch_size: int | None = None,
           size: int | tuple[int, int] | None = None, io: str = "int8", preprocessing: Any = None,
           labels: str | Sequence[str] | None = None, calibration_method: str = "minmax",
           float_layers: Sequence[str] = (), target: str | None = None, optimize: bool = True,
           threads: int = 1, thresholds: Mapping[str, float] | None = None, strict: bool = True,
           verbose: bool | TextIO = False, c_array: bool = False, signatures: Sequence[str] = (),
           batch_sizes: Sequence[int] = (), dtype: str | None = None,
           layout: str | None = None) -> ExportReport:
    """Writes a model to a file for another runtime, and compares the file with Keras before the call returns.

    Batch normalization is folded first.  A model of another precision is rebuilt in float32, except for Keras
    files and SavedModels.  `<path>.json` has the report; `<path>.npz` has a few images with their
    outputs, for `reskeras.verify`.

    Args:
        model: a Keras model.  If it is not of one input (batch, height, width, channels) and one output, each
            input and output keeps its name, and each output is compared by itself.
        path: the file to write.  Its suffix chooses the format: `.tflite`, `.onnx`, `.xml` (OpenVINO),
            `.keras`, or no suffix for a SavedModel folder.
        quantize: None (float32); "dynamic" (only the weights, of 8 bits) and "int8" (everything; a SavedModel
            computes in floats what integers would) for TFLite, ONNX, OpenVINO and SavedModels; "float16" (the
            weights; in ONNX everything) for the first three; for TFLite also "int16x8" (weights of 8 bits,
            all else of 16: for nets that int8 is too coarse for).
        calibration_data: only for int8 and int16x8: at least 32 images, from which the ranges are chosen: an
            array of floats as the model takes them or of uint8 pixels, a folder, a list of files, a tf.data
            set, or a pair (images, classes).  Pixels and files go through the model's own preprocessing.
        validation_data: images to compare on, given like `calibration_data`; default: the calibration
            images, otherwise random images.  With classes the report has the accuracy before and after.
        batch_size: images per call; by default 1 in a .tflite, any number elsewhere.
        size: (height, width) of the images or one number for both, if the model does not fix it; not
            allowed for `.keras`, and neither is `batch_size`.
        io: type of a quantized .tflite's input and output; other files take floats.  "int8" and "float32"
            take preprocessed images, as integers (of 16 bits in an int16x8 file) or as floats.  "uint8" takes
            pixels from 0 to 255 (scale 1, zero point 0) that have the model's size; the file itself
            normalizes each channel.
        preprocessing: needed if the model has none: a checkpoint, its name, or a `Preprocessing`.
        labels: needed if the model has none: a label set, or the names of the classes.
        calibration_method: the range of a tensor in an int8 file: "minmax" (all values of the calibration),
            "percentile" (99.99 % of those that are not zero), or "mse" (the least mean squared error of
            rounding and clipping together).
        float_layers: names of layers that stay in floating point in an int8 file.
        target: what runs a quantized file.  A .tflite: "phone" (default), or "micro" or "nnapi", which take
            one scale only for the weights of a dense layer, or "ethos-u55-128" and its like, whose compiler
            then says what such an accelerator does of it (extra `ethos-u`).  ONNX: "onnxruntime" (default)
            or "tensorrt".  A SavedModel: "tensorflow" (default), or "gpu" for servers: compiled by XLA, it
            takes uint8 pixels of the model's size.
        optimize: whether to fold batch normalization; the file is compared with the original model.
        threads: the number of threads of each runtime when it is timed.
        thresholds: fields of `Threshold` with their values, "difference" (maximum relative difference),
            "mean_difference" and "agreement" (minimum share of images with an equal class).  The default
            thresholds are then not used: a field that you leave out is not checked.
        strict: whether a file that does not pass is an error; otherwise it is kept, with `passed: false` in
            its report.
        verbose: True shows progress bars on stderr while images are read and ranges are calibrated; a stream
            shows them there.
        c_array: whether to write `<path>.cc` too, for microcontrollers: the .tflite as a C array, with the
            size of the working memory ("tensor arena") that it needs.
        signatures: the signatures of a SavedModel to write, by default all: "serving_default", which is
            always written and compared, "serving_uint8", "serving_bytes".  If only
            "serving_default" is written, it returns scores without labels; coremltools needs this, because
            it reads a single function without strings.
        batch_sizes: with "gpu" as `target`: the numbers of images that servers warm up with and fill their
            batches up to; by default 1, 8 and 32.
        dtype: "float16" or "bfloat16", in which a SavedModel keeps its weights and computes; it takes and
            returns float32.  Not for models of several inputs or outputs.
        layout: with "gpu" as `target`: "tf-serving" puts the SavedModel into the folder `1`, "triton" into
            `1/model.savedmodel`, with a `config.pbtxt`.

    Returns:
        The report: hashes, differences from Keras, latency, operators, thresholds, versions.

    Raises:
        ArgumentError: an argument has a value that it cannot take.
        ValueError: images cannot be used, or something else at `path` would be lost.
        RuntimeError: the file does not pass (an ExportError).  After this and all other errors, an older
            file at `path` is still there.
        ImportError: a package is missing.
        OSError: `path` cannot be written.

    Example:
        >>> report = reskeras.export(model, "net.tflite", quantize="int8", calibration_data="photos/")
        >>> print(report.summary())
    """
    # Check what can be checked before anything is computed.
    path = pathlib.Path(path)
    file_format = find_format(path)
    check_model(model)
    batch_size, threads = check_arguments(
        model, path, file_format, quantize=quantize, calibration_data=calibration_data,
        batch_size=batch_size, size=size, io=io, calibration_method=calibration_method,
        float_layers=float_layers, target=target, threads=threads, c_array=c_array, signatures=signatures,
        batch_sizes=batch_sizes, dtype=dtype, layout=layout)
    check_output_path(path, file_format)
    check_packages(file_format)
    if not takes_one_image(model):
        return export_named(
            model, path, file_format, quantize=quantize, calibration_data=calibration_data,
            validation_data=validation_data, batch_size=batch_size, size=size, io=io,
            preprocessing=preprocessing, labels=labels, calibration_method=calibration_method,
            float_layers=float_layers, target=target, optimize=optimize, threads=threads,
            thresholds=thresholds, strict=strict, verbose=verbose, c_array=c_array, signatures=signatures)

    # Prepare the model, the options of the file, and the images.
    prepared = prepare_model(model, file_format, preprocessing, labels)
    options = make_options(prepared.model, file_format, quantize=quantize, batch_size=batch_size, size=size,
                           io=io, calibration_method=calibration_method, float_layers=float_layers,
                           target=target, verbose=verbose, signatures=signatures, batch_sizes=batch_sizes,
                           dtype=dtype, layout=layout)
    check_batch_size(options.shape)
    plan = make_plan(path, file_format, prepared, options, calibration_data, validation_data)

    # Write, measure and judge; only then the files are moved to their final paths.
    with atomic_write(path) as temporary_path:
        written = _write(plan, temporary_path, optimize)
        faults = find_file_faults(temporary_path, path, file_format, plan.options, strict)
        with name_rejected_file(temporary_path, path):
            runners = {name: open_file(temporary_path, threads, name, trust=True)
                       for name in file_format.module.RUNTIMES}
            report = replace(_measure(plan, temporary_path, runners, threads, thresholds),
                             file_faults=tuple(faults), outside_ranges=written.outside,
                             beyond_half=written.beyond_half)
            report = replace(report, **measure_target(temporary_path, options.target, report.left_to_cpu))
            report = _judge(plan, report, thresholds)
        if strict and not report.passed:
            hint = explain_failure(prepared.model, report)
            raise ExportError(f"{path}: {report.fault}{hint}; nothing was written")
        report = _write_companions(plan, temporary_path, report, runners, c_array)
    if not c_array:
        remove_old_c_array(path)
    return report


def _write(plan: ExportPlan, file: pathlib.Path, optimize: bool) -> WrittenRanges:
    """Writes the file.  Returns: what is known of the ranges of its tensors."""
    model, module = plan.prepared.model, plan.file_format.module
    if plan.options.has_trained_ranges:
        model = prepare_for_converter(model, plan.options, plan.normalization)
    elif plan.file_format.name == "SavedModel" and plan.options.quantize == "int8":
        model = simulate_int8(model, plan.options)
    elif optimize and not is_quantization_aware(model):
        model = optimize_for_format(model, plan.file_format, plan.options)
    if plan.normalization is not None and not plan.options.has_trained_ranges:
        model = put_normalization_inside(model, plan.normalization, fold=optimize)
    if plan.options.dtype is not None:      # last: what is folded is not rounded before
        model = to_half_precision(model, plan.options.dtype)
    written = module.write(model, file, plan.options)
    return written or WrittenRanges(None)


def _measure(plan: ExportPlan, file: pathlib.Path, runners: Mapping[str, BatchRunner], threads: int,
             thresholds: Mapping[str, float] | None) -> ExportReport:
    """Compares the file in each of its runtimes with Keras; the report is not judged yet."""
    prepared, options, reference = plan.prepared, plan.options, plan.reference
    module = plan.file_format.module
    integers = options.quantize if options.quantize in INTEGERS else None
    rounded = options.quantize if options.quantize in ROUNDED else None
    precision = options.dtype or prepared.precision
    precisions = {name: rounded or module.PRECISIONS.get(name) or options.quantize or precision
                  for name in runners}
    results, accuracy, scale = _compare(plan, file, runners, precisions)
    size, digest = compute_size_and_hash(*plan.file_format.files(file))
    metadata = find_metadata(prepared.model)
    variant, _, tag = (metadata.weights if metadata else "").partition(".")
    return ExportReport(
        file=file.name, format=plan.file_format.name, quantize=options.quantize, passed=False, fault="",
        variant=variant or prepared.model.name, tag=tag, weights_sha256=prepared.weights_sha256,
        bytes=size, sha256=digest, batch_size=options.shape[0] or 1, images=len(plan.images.images),
        compared_values=reference.compared_values, scale=scale, threads=threads, runtimes=results,
        keras={"latency_ms": measure_latency(reference.outputs.run, _first_batch(plan)),
               "accuracy": accuracy},
        operators=module.count_operators(file), left_to_cpu=module.count_cpu_operators(file),
        thresholds={name: choose_threshold(precision, prepared.is_trained, thresholds,
                                           has_agreement=results[name].decided_agreement is not None)
                    for name, precision in precisions.items()},
        versions={"reskeras": __version__, "keras": keras.__version__} | module.get_versions(),
        metadata=options.metadata[METADATA_KEY], target=options.target,
        calibration_method=(options.calibration_method if integers
                            and not options.has_trained_ranges else None),
        simulation=_compare_with_simulation(plan, file) if options.has_trained_ranges else None)


def _compare_with_simulation(plan: ExportPlan, file: pathlib.Path) -> dict[str, SimulationResult]:
    """How exactly the file computes what the fake-quantized model computes."""
    reference = plan.reference
    scores, graph = reference.logits or reference.outputs, reference.logits_graph or Graph.of(reference.model)
    if plan.normalization is not None:
        graph = normalize_pixels(graph, plan.normalization)
    exact = None
    if not plan.options.float_layers:
        exact = BatchRunner(make_array_function(graph.build("float64")), scores.shape)
    return compare_with_simulation(file, scores, exact, plan.images.images)


def _compare(plan: ExportPlan, file: pathlib.Path, runners: Mapping[str, BatchRunner],
             precisions: Mapping[str, str]) -> tuple[dict[str, RuntimeResult], float | None, float | None]:
    """The result of each runtime, the accuracy of Keras, and the scale by which differences are divided."""
    images, classes, reference = plan.images.images, plan.images.classes, plan.reference
    expected = reference.outputs(images)
    logits = reference.logits(images[:MAX_LOGIT_IMAGES]) if reference.logits else None
    scale = None if logits is None else float(np.abs(logits).max())

    compared_logits = None
    if logits is not None and reference.compared_values == "logits":
        run_logits = BatchRunner(load_logits_function(file), plan.options.shape)
        compared_logits = run_logits(images[:MAX_LOGIT_IMAGES]), logits

    results = {name: compare_outputs(
        runner(images), expected, precisions[name], reference.compared_values, classes=classes,
        latency_ms=measure_latency(runner.run, _first_batch(plan)), logits=compared_logits, scale=scale)
        for name, runner in runners.items()}
    accuracy = None if classes is None else float((expected.argmax(1) == classes).mean())
    return results, accuracy, scale


def _first_batch(plan: ExportPlan) -> np.ndarray:
    """The images of one call when latency is measured."""
    images, batch_size = plan.images.images, plan.options.shape[0] or 1
    return np.resize(images[:batch_size], (batch_size, *images.shape[1:]))


def _judge(plan: ExportPlan, report: ExportReport, thresholds: Mapping[str, float] | None) -> ExportReport:
    """Judges the report.  First widens the float32 limits if Keras in float32 differs much from float64."""
    if not thresholds:
        images = plan.images.images[:MAX_LOGIT_IMAGES]
        report = relax_float32_thresholds(report, lambda: plan.reference.measure_float32_error(images))
    return report.judge()


def _write_companions(plan: ExportPlan, file: pathlib.Path, report: ExportReport,
                      runners: Mapping[str, BatchRunner], c_array: bool) -> ExportReport:
    """Writes what is kept beside the file: images with their outputs, its report, the C array.

    Returns: the report, now with the hash of the file of images, so that `verify` can check that file.
    """
    reference = plan.reference
    reference_file = file.with_name(f"{file.name}.npz")
    logits = reference.logits if reference.compared_values == "logits" else None
    write_reference_outputs(reference_file, reference.outputs, next(iter(runners.values())),
                            plan.images.images, logits)
    report = replace(report, reference_sha256=compute_size_and_hash(reference_file)[1])
    report.write(file.with_name(f"{file.name}.json"))
    if c_array:
        write_c_array(file, file.with_name(f"{file.name}.cc"))
    return report
