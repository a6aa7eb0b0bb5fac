"""Exports a model of any inputs and outputs: each keeps its name, and each output is compared by itself."""
from __future__ import annotations

import pathlib
from dataclasses import dataclass, replace
from typing import Any, Mapping, Sequence, TextIO

import keras
import numpy as np

from ... import __version__
from ...errors import ExportError
from ...files import atomic_write
from ...graph.graph import Graph, to_functional
from ...graph.optimize import optimize_without_check
from ...model_metadata import METADATA_KEY
from ...quantization.calibration import check_image_count
from ..c_array import remove_old_c_array, write_c_array
from ..file_faults import find_file_faults, name_rejected_file
from ..formats import Format
from ..measurements import compute_size_and_hash, measure_latency
from ..options import INTEGERS, ROUNDED, ExportOptions
from ..prepare import PreparedModel, prepare_model
from ..report import ExportReport
from ..tflite.ethos_u import measure_target
from ..thresholds import choose_threshold
from .arguments import check_named_arguments, choose_shapes, make_named_options
from .comparison import compare_named_outputs
from .files import NamedRunner, make_array_function, open_named_file, write_named_file
from .float32_error import allow_float32_error, is_near_limit, measure_named_error
from .inputs import load_inputs, make_random_inputs
from .interface import Arrays, Interface
from .reference import write_named_reference


@dataclass(frozen=True)
class _Plan:
    """What a file is made of and compared with."""

    path: pathlib.Path
    file_format: Format
    prepared: PreparedModel
    interface: Interface        # with the shapes that the file takes
    options: ExportOptions
    inputs: Arrays              # to compare on
    reference: NamedRunner      # the model in Keras


def export_named(model: keras.Model, path: pathlib.Path, file_format: Format, *, quantize: str | None,
                 calibration_data: Any, validation_data: Any, batch_size: int | None, size: Any, io: str,
                 preprocessing: Any, labels: Any, calibration_method: str, float_layers: Sequence[str],
                 target: str | None, optimize: bool, threads: int, thresholds: Mapping[str, float] | None,
                 strict: bool, verbose: bool | TextIO, c_array: bool,
                 signatures: Sequence[str]) -> ExportReport:
    """Exports a model of any inputs and outputs.

    Args:
        model: a functional or sequential model, checked.
        path: as `export` takes it, and so are all that follow.
        file_format: its format.
        quantize: see there.
        calibration_data: see there; arrays of several inputs are named or nested as the model takes them.
        validation_data: given like `calibration_data`.
        batch_size: see there.
        size: see there; of each input (batch, height, width, channels).
        io: see there.
        preprocessing: of a model of one input of images.
        labels: None.
        calibration_method: see there.
        float_layers: see there.
        target: see there.
        optimize: see there.
        threads: see there.
        thresholds: see there.
        strict: see there.
        verbose: see there.
        c_array: see there.
        signatures: see there.

    Raises:
        ArgumentError: an argument has a value that such a model cannot take.
        ExportError: the file does not pass, and `strict` is True.
    """
    model = to_functional(model)
    interface = Interface.of(model)
    check_named_arguments(model, interface, file_format, quantize=quantize, io=io, labels=labels,
                          preprocessing=preprocessing, calibration_method=calibration_method,
                          signatures=signatures)
    prepared = prepare_model(model, file_format)
    interface = interface.with_tensors_of(prepared.model)
    interface = interface.with_shapes(choose_shapes(interface, file_format, batch_size, size))
    options = make_named_options(prepared.model, interface, file_format, quantize=quantize, io=io,
                                 preprocessing=preprocessing, calibration_method=calibration_method,
                                 float_layers=tuple(float_layers), verbose=verbose, target=target)
    plan = _make_plan(path, file_format, prepared, interface, options, calibration_data, validation_data)

    with atomic_write(path) as temporary_path:
        net = _optimize(plan) if optimize else _fix_shapes(plan).build()
        written = write_named_file(net, temporary_path, file_format, interface, plan.options)
        faults = find_file_faults(temporary_path, path, file_format, plan.options, strict)
        with name_rejected_file(temporary_path, path):
            runners = {name: open_named_file(temporary_path, interface, threads, name, trust=True)
                       for name in file_format.module.RUNTIMES}
            report = _measure(plan, temporary_path, runners, threads, thresholds)
        report = replace(report, file_faults=tuple(faults),
                         outside_ranges=written.outside if written else None,
                         beyond_half=written.beyond_half if written else None)
        report = replace(report, **measure_target(temporary_path, options.target, report.left_to_cpu))
        report = _allow_float32_error(plan, report, thresholds).judge()
        if strict and not report.passed:
            raise ExportError(f"{path}: {report.fault}; nothing was written")

        reference_file = temporary_path.with_name(f"{temporary_path.name}.npz")
        write_named_reference(reference_file, plan.inputs, plan.reference, next(iter(runners.values())))
        report = replace(report, reference_sha256=compute_size_and_hash(reference_file)[1])
        report.write(temporary_path.with_name(f"{temporary_path.name}.json"))
        if c_array:
            write_c_array(temporary_path, temporary_path.with_name(f"{temporary_path.name}.cc"))
    if not c_array:
        remove_old_c_array(path)
    return report


def _make_plan(path: pathlib.Path, file_format: Format, prepared: PreparedModel, interface: Interface,
               options: ExportOptions, calibration_data: Any, validation_data: Any) -> _Plan:
    """Loads the data.

    Raises: ArgumentError, ValueError if they cannot be used.
    """
    given = {name: load_inputs(source, name, interface, options.preprocessing, options.verbose)
             for name, source in (("calibration_data", calibration_data),
                                  ("validation_data", validation_data)) if source is not None}
    calibration = given.get("calibration_data")
    inputs = given.get("validation_data") or calibration
    if inputs is None:
        inputs = make_random_inputs(interface, options.preprocessing)
    if calibration is not None:
        (first, *others) = calibration.values()
        check_image_count(first, options.shape[0])
        if others:
            options = replace(options, calibration_inputs=calibration)
        else:
            options = replace(options, calibration_images=first,
                              validation_images=next(iter(inputs.values())))
    reference = NamedRunner(make_array_function(prepared.reference, interface),
                            next((tensor.shape[0] for tensor in prepared.reference.inputs), None))
    return _Plan(path, file_format, prepared, interface, options, inputs, reference)


def _optimize(plan: _Plan) -> keras.Model:
    """The model as fast as it gets; the file is compared with the model as it was."""
    target = plan.file_format.optimize_target
    if target == "tflite" and plan.interface.batch_size != 1:
        target = "saved_model"
    return optimize_without_check(_fix_shapes(plan).build(), target, None)


def _fix_shapes(plan: _Plan) -> Graph:
    """The graph of the model; with the shapes of the file where they are fixed, without open sides."""
    graph = Graph.of(plan.prepared.model)
    if not plan.file_format.has_fixed_shapes:
        return graph
    shapes = dict(zip((tensor.name for tensor in plan.prepared.model.inputs),
                      (tensor.shape for tensor in plan.interface.inputs.values())))
    return graph.edit({node.key: (node.with_config(batch_shape=shapes[node.name]),)
                       for node in graph.nodes if "batch_shape" in node.config}, {})


def _measure(plan: _Plan, file: pathlib.Path, runners: Mapping[str, NamedRunner], threads: int,
             thresholds: Mapping[str, float] | None) -> ExportReport:
    """Compares the file in each of its runtimes with Keras; the report is not judged yet."""
    prepared, options, module = plan.prepared, plan.options, plan.file_format.module
    integers = options.quantize if options.quantize in INTEGERS else None
    rounded = options.quantize if options.quantize in ROUNDED else None
    precisions = {name: rounded or module.PRECISIONS.get(name) or options.quantize or prepared.precision
                  for name in runners}
    expected = plan.reference(plan.inputs)
    probabilities = _find_probabilities(prepared.model, plan.interface)
    batch_size = plan.interface.batch_size or 1
    batch = {name: np.resize(array[:batch_size], (batch_size, *array.shape[1:]))
             for name, array in plan.inputs.items()}
    results = {name: compare_named_outputs(
        runner(plan.inputs), expected, precisions[name], probabilities,
        measure_latency(runner.run, batch), is_trained=prepared.is_trained, thresholds=thresholds)
        for name, runner in runners.items()}
    size, digest = compute_size_and_hash(*plan.file_format.files(file))
    own_batch = plan.reference.batch_size or batch_size
    keras_batch = {name: np.resize(array, (own_batch, *array.shape[1:])) for name, array in batch.items()}
    return ExportReport(
        file=file.name, format=plan.file_format.name, quantize=options.quantize, passed=False, fault="",
        variant=prepared.model.name, tag="", weights_sha256=prepared.weights_sha256, bytes=size,
        sha256=digest, batch_size=batch_size, images=len(next(iter(plan.inputs.values()))),
        compared_values="outputs", scale=None, threads=threads, runtimes=results,
        keras={"latency_ms": measure_latency(plan.reference.run, keras_batch), "accuracy": None},
        operators=module.count_operators(file), left_to_cpu=module.count_cpu_operators(file),
        thresholds={name: choose_threshold(precision, prepared.is_trained, thresholds,
                                           has_agreement=results[name].decided_agreement is not None)
                    for name, precision in precisions.items()},
        versions={"reskeras": __version__, "keras": keras.__version__} | module.get_versions(),
        metadata=options.metadata[METADATA_KEY], target=options.target, interface=plan.interface,
        calibration_method=options.calibration_method if integers else None)


def _find_probabilities(model: keras.Model, interface: Interface) -> list[str]:
    """The outputs that a softmax makes."""
    layers = {layer.name: layer for layer in model.operations}
    return [name for name, layer in zip(interface.outputs, map(layers.get, model.output_names))
            if isinstance(layer, keras.layers.Softmax)
            or getattr(layer, "activation", None) is keras.activations.softmax]


def _allow_float32_error(plan: _Plan, report: ExportReport, thresholds: Mapping[str, float] | None
                         ) -> ExportReport:
    """The report; where float32 comes near its limit, with limits by the error of float32 itself."""
    near = [name for name, result in report.runtimes.items() if is_near_limit(result)]
    if thresholds or not near:
        return report
    samples = {name: array[:4] for name, array in plan.inputs.items()}
    errors = measure_named_error(Graph.of(plan.prepared.model), plan.interface, samples)
    runtimes = {name: allow_float32_error(result, errors) if name in near else result
                for name, result in report.runtimes.items()}
    return replace(report, runtimes=runtimes, float32_error=max(errors.values()))
