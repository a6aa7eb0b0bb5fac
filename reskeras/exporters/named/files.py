"""Writes and opens files whose inputs and outputs have names: in each format the same."""
from __future__ import annotations

import json
import os
import pathlib
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from ...errors import ArgumentError, describe_error
from ...json_writer import to_json
from ..formats import Format, check_kind_of_file, check_trust, find_format
from ..options import ExportOptions, WrittenRanges, check_input_shape
from .interface import Arrays, Interface

if TYPE_CHECKING:
    import keras

NamedFunction = Callable[[Arrays], dict[str, np.ndarray]]
DEFAULT = "serving_default"     # the signature of a SavedModel and of a .tflite


@dataclass(frozen=True)
class NamedRunner:
    """A function of batches, to be called on any number of samples."""

    run: NamedFunction
    batch_size: int | None      # of a call; None takes any number

    def __call__(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """The outputs for all samples; the last batch is filled up with its first sample."""
        count, batch_size = len(next(iter(inputs.values()))), self.batch_size or 32
        parts: list[dict[str, np.ndarray]] = []
        for start in range(0, count, batch_size):
            batch = {name: array[start:start + batch_size] for name, array in inputs.items()}
            size = len(next(iter(batch.values())))
            missing = self.batch_size - size if self.batch_size else 0
            filled = {name: np.concatenate([array, array[:1].repeat(missing, 0)])
                      for name, array in batch.items()}
            parts.append({name: array[:size] for name, array in self.run(filled).items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def write_named_file(model: keras.Model, path: pathlib.Path, file_format: Format, interface: Interface,
                     options: ExportOptions) -> WrittenRanges | None:
    """Writes a model as it is given: nothing is optimized or checked here.

    Args:
        model: the model.
        path: path of the file.
        file_format: its format.
        interface: the names, with the shapes that the file takes.
        options: options of the file.

    Returns:
        What is known of the ranges, of a file that was calibrated.
    """
    return _WRITERS[file_format.name](model, path, interface, options)


def _make_function(model: keras.Model, interface: Interface) -> Any:
    """The model for inference: a function of TensorFlow, from its inputs in order to its outputs by name."""
    import tensorflow as tf
    specs = [tf.TensorSpec(tensor.shape, tensor.dtype, name) for name, tensor in interface.inputs.items()]

    def call(*inputs: Any) -> dict[str, Any]:
        nested = interface.nest_inputs(dict(zip(interface.inputs, inputs)))
        return interface.name_outputs(model(nested, training=False))
    return tf.function(call, input_signature=specs, autograph=False)


def _write_saved_model(model: keras.Model, path: pathlib.Path, interface: Interface,
                       options: ExportOptions) -> WrittenRanges | None:
    """One signature by names; `call` of the loaded object takes and returns what the model does, nested."""
    import tensorflow as tf
    specs = {name: tf.TensorSpec(tensor.shape, tensor.dtype, name)
             for name, tensor in interface.inputs.items()}
    nested_specs = interface.nest_inputs(specs)
    call = tf.function(lambda inputs: model(inputs, training=False), input_signature=[nested_specs],
                       autograph=False)
    module = _make_module(model)
    module.call = call
    tf.saved_model.save(module, str(path), signatures={DEFAULT: _make_function(model, interface)})
    return None


def _make_module(model: keras.Model) -> Any:
    import tensorflow as tf
    module = tf.Module()
    module.variables_ = [variable.value for variable in model.variables]
    return module


def _save_for_converter(model: keras.Model, folder: str, interface: Interface) -> None:
    import tensorflow as tf
    tf.saved_model.save(_make_module(model), folder, signatures={DEFAULT: _make_function(model, interface)})


def _write_tflite(model: keras.Model, path: pathlib.Path, interface: Interface,
                  options: ExportOptions) -> WrittenRanges | None:
    from ..tflite import tflite
    with tempfile.TemporaryDirectory() as folder:
        _save_for_converter(model, folder, interface)
        return tflite.write_converted(folder, path, options, model)


def _write_onnx(model: keras.Model, path: pathlib.Path, interface: Interface,
                options: ExportOptions) -> WrittenRanges | None:
    from .. import onnx as onnx_format
    onnx_format.disable_telemetry()
    import tensorflow as tf
    import tf2onnx
    named = _make_function(model, interface)
    # in order, because the converter has its own names for outputs
    function = tf.function(lambda *inputs: list(named(*inputs).values()),
                           input_signature=named.input_signature, autograph=False)
    proto, _ = tf2onnx.convert.from_function(function, named.input_signature, opset=onnx_format.OPSET)
    _rename_outputs(proto.graph, interface)
    return onnx_format.write_converted(proto, path, options, model)


def _rename_outputs(graph: Any, interface: Interface) -> None:
    """Gives the outputs the model's names, and an open batch the name "batch"."""
    new_names = {value.name: name for value, name in zip(graph.output, interface.outputs, strict=True)}
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = new_names.get(name, name)
    for value in graph.output:
        value.name = new_names[value.name]
    for value in (*graph.input, *graph.output):
        sides = value.type.tensor_type.shape.dim
        if sides and not sides[0].dim_value:
            sides[0].dim_param = "batch"


def _write_openvino(model: keras.Model, path: pathlib.Path, interface: Interface,
                    options: ExportOptions) -> WrittenRanges | None:
    from .. import openvino as openvino_format
    openvino = openvino_format.import_openvino()
    with tempfile.TemporaryDirectory() as folder:
        _save_for_converter(model, folder, interface)
        converted = openvino.convert_model(folder)
        return openvino_format.write_converted(converted, path, options, model)


def _write_keras(model: keras.Model, path: pathlib.Path, interface: Interface,
                 options: ExportOptions) -> WrittenRanges | None:
    from .. import keras_file
    keras_file.write(model, path, options)
    return None


def _write_stablehlo(model: keras.Model, path: pathlib.Path, interface: Interface,
                     options: ExportOptions) -> WrittenRanges | None:
    from ..stablehlo import write_program
    write_program(model, path, [tensor.shape for tensor in interface.inputs.values()])
    return None


_WRITERS: dict[str, Callable[[Any, pathlib.Path, Interface, ExportOptions], WrittenRanges | None]] = {
    "SavedModel": _write_saved_model, "TFLite": _write_tflite, "ONNX": _write_onnx,
    "OpenVINO": _write_openvino, "StableHLO": _write_stablehlo, "Keras": _write_keras}


def open_named_file(path: str | os.PathLike[str], interface: Interface, threads: int = 1, runtime: str = "",
                    *, trust: bool = False) -> NamedRunner:
    """Opens an exported file in its own runtime.

    Args:
        path: path of the file.
        interface: the names that it should have, with the shapes that it takes.
        threads: number of threads of the runtime.
        runtime: which one, if the format has several; the first if not given.
        trust: whether a SavedModel, which is a program, may run.

    Raises:
        ArgumentError: `path` is a SavedModel, and `trust` is not True.
        FileNotFoundError: there is no such file.
        ImportError: the runtime is not installed.
        ValueError: the runtime cannot read the file, or it has other names.
    """
    file = pathlib.Path(path)
    file_format = find_format(file)
    check_kind_of_file(file, file_format)
    check_trust(file, file_format, trust)
    for tensor in interface.inputs.values():
        check_input_shape(tensor.shape)
    runtimes = file_format.module.RUNTIMES
    arguments = runtimes[runtime or next(iter(runtimes))]
    try:
        run = _OPENERS[file_format.name](file, interface, threads, **arguments)
    except (ImportError, MemoryError, ArgumentError):
        raise
    except Exception as error:      # each runtime has its own
        raise ValueError(f"{file} cannot be read as a {file_format.name} file "
                         f"({describe_error(error)})") from error

    def run_checked(inputs: Arrays) -> dict[str, np.ndarray]:
        try:
            outputs = run(inputs)
            return {name: outputs[name] for name in interface.outputs}
        except Exception as error:
            raise ValueError(f"{file} cannot be run ({describe_error(error)})") from error
    return NamedRunner(run_checked, interface.batch_size)


def _open_saved_model(file: pathlib.Path, interface: Interface, threads: int) -> NamedFunction:
    import tensorflow as tf
    loaded = tf.saved_model.load(str(file))
    serve = loaded.signatures[DEFAULT]

    def run(inputs: Arrays) -> dict[str, np.ndarray]:
        _ = loaded      # holds the variables of the signature
        tensors = {name: tf.constant(array, interface.inputs[name].dtype) for name, array in inputs.items()}
        return {name: output.numpy() for name, output in serve(**tensors).items()}
    return run


def _open_tflite(file: pathlib.Path, interface: Interface, threads: int) -> NamedFunction:
    from ..tflite.file_check import check_file
    from ..tflite.runtime import dequantize_array, get_interpreter_class, quantize_array
    check_file(file)
    interpreter = get_interpreter_class()(model_path=str(file), num_threads=threads)
    for details in interpreter.get_input_details():
        check_input_shape(tuple(int(side) for side in details["shape"]))
    runner = interpreter.get_signature_runner(DEFAULT)
    takes, gives = runner.get_input_details(), runner.get_output_details()

    def run(inputs: Arrays) -> dict[str, np.ndarray]:
        outputs = runner(**{name: quantize_array(array, takes[name]) for name, array in inputs.items()})
        return {name: dequantize_array(array, gives[name]) for name, array in outputs.items()}
    return run


def _open_onnx(file: pathlib.Path, interface: Interface, threads: int) -> NamedFunction:
    from .. import onnx as onnx_format
    session = onnx_format.open_session(file, threads)
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, map(np.asarray, session.run(names, dict(inputs)))))


def _open_openvino(file: pathlib.Path, interface: Interface, threads: int,
                   precision: str = "f32") -> NamedFunction:
    from ..openvino import compile_file
    compiled = compile_file(file, threads, precision)
    outputs = {name: compiled.output(name) for name in interface.outputs}

    def run(inputs: Arrays) -> dict[str, np.ndarray]:
        results = compiled(dict(inputs))
        return {name: np.array(results[output]) for name, output in outputs.items()}
    return run


def _open_keras(file: pathlib.Path, interface: Interface, threads: int) -> NamedFunction:
    from ...build import load as load_keras
    return make_array_function(load_keras(file), interface)


def _open_stablehlo(file: pathlib.Path, interface: Interface, threads: int) -> NamedFunction:
    from ..stablehlo import open_program
    run, _ = open_program(file, threads)
    return lambda inputs: dict(zip(interface.outputs, run([inputs[name] for name in interface.inputs])))


_OPENERS: dict[str, Callable[..., NamedFunction]] = {
    "SavedModel": _open_saved_model, "TFLite": _open_tflite, "ONNX": _open_onnx, "OpenVINO": _open_openvino,
    "StableHLO": _open_stablehlo, "Keras": _open_keras}


def make_array_function(model: keras.Model, interface: Interface) -> NamedFunction:
    """A model in Keras as a function of arrays, by name.

    Args:
        model: a functional model with these inputs and outputs, in this order.
        interface: their names.
    """
    import tensorflow as tf
    function = _make_function(model, interface.with_tensors_of(model))
    types = [tensor.dtype for tensor in model.inputs]

    def run(inputs: Arrays) -> dict[str, np.ndarray]:
        tensors = [tf.constant(inputs[name], dtype) for name, dtype in zip(interface.inputs, types)]
        return {name: output.numpy() for name, output in function(*tensors).items()}
    return run


def describe(interface: Interface) -> dict[str, Any]:
    """The interface as a file's metadata have it."""
    values: dict[str, Any] = json.loads(to_json({
        "inputs": {name: vars(tensor) for name, tensor in interface.inputs.items()},
        "outputs": {name: vars(tensor) for name, tensor in interface.outputs.items()},
        "input_structure": interface.input_structure, "output_structure": interface.output_structure}))
    return values
