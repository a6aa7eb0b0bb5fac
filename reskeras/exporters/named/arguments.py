"""The arguments of an export of any inputs and outputs: checks, the shapes and the options of the file."""
from __future__ import annotations

from typing import Any, Sequence

import keras

from ... import __version__
from ...errors import ArgumentError
from ...graph.graph import Graph
from ...model_metadata import METADATA_KEY, get_metadata
from ...quantization.placement import find_normalizations
from ..formats import Format
from ..options import INTEGERS, ExportOptions, check_batch_size
from ..prepare import to_height_and_width
from ..signatures import SIGNATURES
from .files import describe
from .inputs import close_shapes
from .interface import Interface, Shape


def check_named_arguments(model: keras.Model, interface: Interface, file_format: Format, *,
                          quantize: str | None, io: str, preprocessing: Any, labels: Any,
                          calibration_method: str, signatures: Sequence[str]) -> None:
    """Checks what only a model of one image and one output has, and what several inputs lack.

    Args:
        model: the model.
        interface: its inputs and outputs.
        file_format: format of the export.
        quantize: as `export` takes it, and so are all that follow.
        io: see there.
        preprocessing: see there.
        labels: see there.
        calibration_method: see there.
        signatures: see there.

    Raises:
        ArgumentError: a value is not defined for such a model.
    """
    for name, tensor in interface.inputs.items():
        if tensor.dtype == "string":
            raise ArgumentError("model", model.name, f"inputs of numbers, and {name!r} is of strings")
    if len({tensor.shape[0] for tensor in interface.inputs.values() if tensor.shape[0]}) > 1:
        raise ArgumentError("model", model.name, "the same number of samples of each input")
    shapes = ", ".join(f"{name} {tensor.shape[1:]}" for name, tensor in interface.inputs.items())
    if labels is not None:
        raise ArgumentError("labels", labels, f"None, as {model.name} has no single output of classes",
                            hint=f"its outputs are {', '.join(interface.outputs)}")
    if preprocessing is not None and not interface.image_input:
        raise ArgumentError("preprocessing", preprocessing, f"None, as {model.name} does not take one image",
                            hint=f"its inputs are {shapes}; give each as the model takes it")
    if set(signatures) - {SIGNATURES[0]}:
        raise ArgumentError("signatures", list(signatures), f"{SIGNATURES[0]} alone, as {model.name} is not "
                            "of one image and one output")
    if io == "uint8":
        raise ArgumentError("io", io, f"'int8' or 'float32', as {model.name} is not of one image and one "
                            "output")
    if quantize is not None and file_format.name == "SavedModel":
        raise ArgumentError("quantize", quantize, f"None, as {model.name} is not of one image and one output",
                            hint="give a .tflite, .onnx or .xml file")
    if quantize in INTEGERS and len(interface.inputs) > 1:
        if file_format.name != "TFLite":
            raise ArgumentError("quantize", quantize, f"no integers, as {model.name} has several inputs",
                                hint=f"{file_format.name} files of integers take one; .tflite files take any")
        if quantize != "int8":
            raise ArgumentError("quantize", quantize, f"'int8', as {model.name} has several inputs")
        if calibration_method != "minmax":
            raise ArgumentError("calibration_method", calibration_method,
                                f"'minmax', as {model.name} has several inputs")


def choose_shapes(interface: Interface, file_format: Format, batch_size: int | None,
                  size: Any) -> dict[str, Shape]:
    """Chooses the shape of each input of the file.

    Args:
        interface: the model's inputs.
        file_format: format of the export, which may have fixed shapes.
        batch_size: as `export` takes it.
        size: as `export` takes it; of each input of images.

    Raises:
        ArgumentError: a file of fixed shapes would have an open side, or `size` is not the model's.
    """
    is_fixed = file_format.has_fixed_shapes
    batch = batch_size or interface.batch_size or (1 if is_fixed else None)
    sides = to_height_and_width(size) if size is not None else (None, None)
    shapes: dict[str, Shape] = {}
    for name, tensor in interface.inputs.items():
        shape = tensor.shape[1:]
        if len(shape) == 3 and size is not None:
            if any(own not in (None, side) for own, side in zip(shape, sides)):
                raise ArgumentError("size", sides, f"the model's own {shape[:2]} of {name!r}")
            shape = (*sides, shape[2])
        if is_fixed and None in shape:
            hint = f"the input {name!r} is {shape}, and {file_format.name} files have a fixed size"
            if len(shape) == 3:
                raise ArgumentError("size", size, "(height, width)", hint=hint)
            raise ArgumentError("model", name, "an input without open sides", hint=(
                f"{hint}; build the model with keras.Input of whole numbers"))
        shapes[name] = (batch, *shape)
        check_batch_size(shapes[name])
    return shapes


def make_named_options(model: keras.Model, interface: Interface, file_format: Format, *, preprocessing: Any,
                       quantize: str | None, target: str | None, io: str, **options: Any) -> ExportOptions:
    """The options of the file, all but its calibration data.

    Args:
        model: prepared.
        interface: its inputs and outputs, with the shapes of the file.
        file_format: format of the export.
        preprocessing: as `export` takes it, and so are all that follow.
        quantize: see there.
        target: see there.
        io: see there.
        **options: further fields of the options.
    """
    prepare, metadata = None, None
    if interface.image_input:
        known = get_metadata(model).override(preprocessing)
        metadata, prepare = known.get_config(), known.preprocessing
        if prepare is not None:
            shape = close_shapes(interface)[interface.image_input]
            prepare = prepare.for_input_shape(shape)
    return ExportOptions(
        shape=next(iter(interface.inputs.values())).shape, quantize=quantize, preprocessing=prepare,
        target=target or next(iter(file_format.targets), None), max_rank=max(4, interface.max_rank),
        io="int16" if quantize == "int16x8" and io == "int8" else io,
        normalizations=find_normalizations(Graph.of(model, weights=False)) if quantize == "int8" else (),
        metadata={"reskeras": __version__, "net": model.name, "quantize": quantize, "labels": [],
                  METADATA_KEY: metadata, "licence": "", "interface": describe(interface)}, **options)
