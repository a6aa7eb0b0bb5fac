"""Checks of the arguments of an export, before anything is computed."""
from __future__ import annotations

import pathlib
from typing import Any, Sequence

import keras

from ..errors import ArgumentError, check_choice, check_whole_number
from ..graph.model_requirements import check_floating_point, check_image_model, check_layers
from ..graph.passes.inline import inline_nested_models
from ..quantization.model import is_quantization_aware
from ..quantization.range_choice import CALIBRATION_METHODS
from .formats import FORMATS, MAX_THREADS, Format
from .gpu_arguments import check_gpu_arguments
from .named.interface import takes_one_image
from .openvino_quantization import check_nncf
from .options import ETHOS_U, INTEGERS
from .signatures import SIGNATURES
from .tflite.ethos_u import check_vela

IO_TYPES = ("int8", "uint8", "float32")


def check_model(model: Any) -> None:
    """Checks that a model can be exported.

    Raises:
        TypeError: it is not a Keras model.
        ArgumentError: it has no graph of layers, or Keras has quantized it.
        ValueError: a layer has no config, or Keras runs on a backend other than TensorFlow.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"{model!r} is a {type(model).__name__}: expected a keras.Model, such as "
                        "reskeras.create gives")
    if keras.config.backend() != "tensorflow":
        raise ValueError("exports are made with the TensorFlow backend, and this process has "
                         f"{keras.config.backend()!r}; save the net as .keras and export it in a process "
                         "with KERAS_BACKEND=tensorflow")
    if takes_one_image(model):
        check_image_model(model)
    check_layers(model)
    check_floating_point(model)


def check_arguments(model: keras.Model, path: pathlib.Path, file_format: Format, *, quantize: str | None,
                    calibration_data: Any, batch_size: int | None, size: Any, io: str,
                    calibration_method: str, float_layers: Sequence[str], threads: int,
                    c_array: bool, signatures: Sequence[str] = (), target: str | None = None,
                    batch_sizes: Sequence[int] = (), dtype: str | None = None,
                    layout: str | None = None) -> tuple[int | None, int]:
    """Checks the arguments of `export` that do not need the model to run.

    Returns:
        `batch_size` and `threads` as Python's own numbers, which the report can hold.

    Raises:
        ArgumentError: a value is not known, or not defined for this format or for `quantize`.
    """
    check_choice("quantize", quantize, FORMATS[".tflite"].quantizations)
    if quantize not in file_format.quantizations:
        known = " or ".join(map(repr, file_format.quantizations))
        suffixes = [suffix for suffix, each in FORMATS.items() if quantize in each.quantizations]
        if quantize == "float16" and file_format.name == "SavedModel":
            raise ArgumentError("quantize", quantize, f"{known}, as {path.name!r} would be a SavedModel",
                                hint="give 'float16' or 'bfloat16' as `dtype`")
        raise ArgumentError("quantize", quantize,
                            f"{known}, as {path.name!r} would be a file for {file_format.name}",
                            hint=f"it is defined for {', '.join(suffixes)}")
    if file_format.name == "OpenVINO" and quantize == "int8":
        check_nncf()
    _check_target(file_format, path, target)
    if c_array and file_format.name != "TFLite":
        raise ArgumentError("c_array", c_array,
                            f"False, as {path.name!r} would be a file for {file_format.name}",
                            hint="it is defined for .tflite")
    if target == "micro" and quantize in ("float16", "dynamic"):
        raise ArgumentError("quantize", quantize, "None, 'int8' or 'int16x8', because TFLite for "
                            "Microcontrollers has either floats or integers, and does not convert weights")
    if target in ETHOS_U and quantize not in INTEGERS and not is_quantization_aware(model):
        raise ArgumentError("quantize", quantize, f"{' or '.join(map(repr, INTEGERS))}, because an "
                            "Ethos-U computes with integers alone")
    _check_signatures(file_format, path, signatures)
    check_gpu_arguments(model, path, file_format, target=target, batch_sizes=batch_sizes, dtype=dtype,
                        layout=layout, batch_size=batch_size, quantize=quantize, signatures=signatures)
    if is_quantization_aware(model):
        _check_trained_ranges(path, file_format, quantize, io, calibration_data=calibration_data,
                              calibration_method=calibration_method, float_layers=tuple(float_layers))
    else:
        _check_int8_arguments(model, file_format, quantize, calibration_data, io, calibration_method,
                              float_layers)

    threads = check_whole_number("threads", threads, maximum=MAX_THREADS)
    own_batch_size = model.inputs[0].shape[0]
    if batch_size is not None:
        batch_size = check_whole_number("batch_size", batch_size)
        if own_batch_size not in (None, batch_size):
            raise ArgumentError("batch_size", batch_size, f"{own_batch_size}, with which the net was built")
    if file_format.name == "Keras":
        for name, value in (("batch_size", batch_size), ("size", size)):
            if value is not None:
                raise ArgumentError(name, value,
                                    f"None, as {path.name!r} holds the net's own shape, {model.input_shape}",
                                    hint="batch_size and size are fixed in files of other kinds")
    return batch_size, threads


def _check_signatures(file_format: Format, path: pathlib.Path, signatures: Sequence[str]) -> None:
    """Raises: ArgumentError for names that are none, or for signatures of another format."""
    if isinstance(signatures, str):
        raise ArgumentError("signatures", signatures, f"a list of names, [{signatures!r}]")
    for name in signatures:
        check_choice("signatures", name, SIGNATURES)
    if signatures and SIGNATURES[0] not in signatures:
        raise ArgumentError("signatures", list(signatures), f"{SIGNATURES[0]} among them, which is compared")
    if signatures and file_format.name != "SavedModel":
        raise ArgumentError("signatures", list(signatures),
                            f"(), as {path.name!r} would be a file for {file_format.name}",
                            hint="they are defined for a SavedModel, a path without a suffix")


def _check_target(file_format: Format, path: pathlib.Path, target: str | None) -> None:
    """Raises: ArgumentError for a target of another format, or an unknown one."""
    if target is None or target in file_format.targets:
        if target in ETHOS_U:
            check_vela()
        return
    known = [name for each in FORMATS.values() for name in each.targets]
    if target in known or not file_format.targets:
        raise ArgumentError("target", target, " or ".join(map(repr, file_format.targets or (None,))) +
                            f", as {path.name!r} would be a file for {file_format.name}")
    check_choice("target", target, file_format.targets)


def _check_int8_arguments(model: keras.Model, file_format: Format, quantize: str | None,
                          calibration_data: Any, io: str, calibration_method: str,
                          float_layers: Sequence[str]) -> None:
    """Raises: ArgumentError for what int8 needs, or what is defined for it alone."""
    has_ranges = quantize in INTEGERS
    if has_ranges and calibration_data is None:
        raise ArgumentError("calibration_data", None, "some hundred images, or a folder of image files",
                            hint=f"the ranges of an {quantize} file are chosen from them")
    if not has_ranges and calibration_data is not None:
        raise ArgumentError("calibration_data", calibration_data, "None, as the file would be of "
                            f"{quantize or 'float32'} and needs no ranges",
                            hint="give 'int8' as `quantize`, or `validation_data` for images to compare on")
    if has_ranges and "float" not in model.inputs[0].dtype:
        raise ArgumentError("quantize", quantize, "a net that takes floats", hint=(
            f"{model.name} takes images of {model.inputs[0].dtype}, and ranges are chosen for floats alone; "
            "export the net without its first cast, with uint8 as `io` the file takes pixels"))
    for name, value, choices in (("io", io, IO_TYPES),
                                 ("calibration_method", calibration_method, CALIBRATION_METHODS)):
        check_choice(name, value, choices)
        if value != choices[0] and not has_ranges:
            raise ArgumentError(name, value, repr(choices[0]),
                                hint="other values are defined for int8 alone")
    _check_io(file_format, quantize, io)

    if quantize == "int16x8":
        choices_of_int8: tuple[tuple[str, Any, Any], ...] = (
            ("calibration_method", calibration_method, "minmax"), ("float_layers", list(float_layers), []))
        for name, given, default in choices_of_int8:
            if given != default:
                raise ArgumentError(name, given, repr(default), hint="TensorFlow's converter makes int16x8 "
                                    "in one step, in which ranges and layers cannot be chosen")
    if isinstance(float_layers, str):
        raise ArgumentError("float_layers", float_layers, f"a list of names, [{float_layers!r}]")
    layers = [layer.name for layer in inline_nested_models(model).layers] if float_layers else []
    for name in float_layers:
        if not has_ranges or name not in layers:
            raise ArgumentError("float_layers", name, "layers of the net, for int8 as `quantize`", layers)


def _check_io(file_format: Format, quantize: str | None, io: str) -> None:
    """Raises: ArgumentError for a type that files of a format, or of `quantize`, do not take."""
    if io != "int8" and file_format.name != "TFLite":
        raise ArgumentError("io", io, "'int8'", hint="other values are defined for .tflite; files for "
                            f"{file_format.name} take and return floats")
    if io == "uint8" and quantize == "int16x8":
        raise ArgumentError("io", io, "'int8', with which an int16x8 file takes "
                            "integers of 16 bits, or 'float32'")


def _check_trained_ranges(path: pathlib.Path, file_format: Format, quantize: str | None, io: str,
                          **arguments: Any) -> None:
    """Raises: ArgumentError for a format that cannot hold trained ranges, or what would choose others."""
    if file_format.name not in ("TFLite", "SavedModel", "Keras"):
        raise ArgumentError("path", str(path), "a .tflite file, which holds the ranges that were trained; a "
                            "SavedModel or a .keras file, which computes in floats as that would",
                            hint=f"{file_format.name} files of such models are not made yet; export the "
                            "model that it was made of")
    if quantize not in (None, "int8"):
        raise ArgumentError("quantize", quantize, "None or 'int8', because the model was trained for int8")
    check_choice("io", io, IO_TYPES)
    if io != "int8" and file_format.name != "TFLite":
        raise ArgumentError("io", io, "'int8'", hint="other values are defined for .tflite")
    for name, default in (("calibration_data", None), ("calibration_method", "minmax"), ("float_layers", ())):
        value = arguments[name]
        if value is not default and not (isinstance(value, (str, tuple)) and value == default):
            raise ArgumentError(name, value, repr(default), hint=(
                "the model has ranges that were trained; give it to reskeras.quantization_aware instead, or "
                "`validation_data` for images to compare on"))
