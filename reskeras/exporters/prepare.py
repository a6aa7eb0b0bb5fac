"""Prepares an export: the model as its format takes it, the options of the file, the images to compare on."""
from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Sequence, TextIO

import keras
import numpy as np

from .. import __version__
from ..errors import ArgumentError, to_whole_number
from ..graph.graph import Graph
from ..graph.optimize import optimize_without_check
from ..graph.passes.inline import inline_nested_models
from ..graph.passes.subsample_by_convolution import subsample_by_convolution
from ..graph.passes.use_own_layers import use_own_layers
from ..model_metadata import find_metadata, get_class_names
from ..model_with_metadata import inline_with_metadata, set_metadata
from ..quantization.model import is_quantization_aware
from ..quantization.placement import find_float_layers, find_normalizations
from ..weights.table import get_weights
from .formats import Format
from .named.interface import takes_one_image
from .options import BATCH_SIZES, GPU, ExportOptions

HALF_PRECISIONS = ("float16", "bfloat16")
COMPARED_SIZE = 96      # pixels on a side to compare on, if the model leaves it open: any net takes it


@dataclass(frozen=True)
class PreparedModel:
    """A model before its export."""

    model: keras.Model          # to write: with its metadata, in float32 if the format has nothing else
    reference: keras.Model      # to compare the file with: the caller's own, in the same precision
    precision: str              # that it computes in
    is_trained: bool
    weights_sha256: str         # of the caller's weights


def prepare_model(model: keras.Model, file_format: Format, preprocessing: Any = None,
                  labels: Any = None) -> PreparedModel:
    """Gives a model its metadata and the precision of the format; the caller's own model stays as it is.

    Args:
        model: a model with one input and one output.
        file_format: format of the export.
        preprocessing: as `set_metadata` takes it; what the model knows if not given.
        labels: as `set_metadata` takes them; what the model knows if not given.
    """
    reference = model
    if preprocessing is not None or labels is not None:
        model = set_metadata(Graph.of(model).build(), preprocessing, labels)
    trained, weights_sha256 = is_trained(model), _hash_weights(model)
    if file_format.name != "Keras":
        model = inline_with_metadata(model) if takes_one_image(model) else inline_nested_models(model)
        own = use_own_layers(Graph.of(model))
        model = own.graph.build() if own.rewritten else model
    if not file_format.keeps_half_precision and (_find_half_precision(model) or _has_double_precision(model)):
        # Converters have no bfloat16, and sums in float16 overflow; runtimes have few operators in float64.
        reference = model = Graph.of(model).build("float32")
    return PreparedModel(model, reference, _find_half_precision(model) or "float32", trained, weights_sha256)


def _find_half_precision(model: keras.Model) -> str | None:
    """The precision of the first layer that computes in half precision; None if none does."""
    precisions = (layer.compute_dtype for layer in model.layers)
    return next((precision for precision in precisions if precision in HALF_PRECISIONS), None)


def _has_double_precision(model: keras.Model) -> bool:
    """Whether a layer computes in float64."""
    return any(layer.compute_dtype == "float64" for layer in model.layers)


def is_trained(model: keras.Model) -> bool:
    """Whether any of the variables that begin at zero (biases, shifts, moving means) is zero no more."""
    variables = [v for v in model.variables if v.name in ("bias", "beta", "moving_mean")]
    return not variables or any(np.any(np.asarray(v)) for v in variables)


def _hash_weights(model: keras.Model) -> str:
    """Returns the SHA-256 of the model's weights, in the order of its variables."""
    digest = hashlib.sha256()
    for variable in model.variables:
        values = np.asarray(variable)
        digest.update(f"{variable.name} {values.dtype} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def make_options(model: keras.Model, file_format: Format, *, quantize: str | None = None,
                 batch_size: int | None = None, size: int | tuple[int, int] | None = None, io: str = "int8",
                 calibration_method: str = "minmax", float_layers: Sequence[str] = (),
                 target: str | None = None, verbose: bool | TextIO = False,
                 signatures: Sequence[str] = (), batch_sizes: Sequence[int] = (),
                 dtype: str | None = None, layout: str | None = None) -> ExportOptions:
    """The options of a file, all but its calibration images.

    Args:
        model: prepared, with its metadata.
        file_format: format of the export.
        quantize: as `reskeras.export` takes it, and so are all that follow.
        batch_size: see there.
        size: see there.
        io: see there.
        calibration_method: see there.
        float_layers: see there.
        target: see there.
        verbose: see there.
        signatures: see there.
        batch_sizes: see there.
        dtype: see there.
        layout: see there.

    Raises:
        ArgumentError: `size` is missing, or not the model's.
    """
    batch, height, width, channels = model.input_shape
    has_fixed_size = file_format.has_fixed_shapes or target == GPU
    if size is not None or has_fixed_size:
        height, width = _choose_image_size(model, size, has_fixed_size)
    batch = batch_size or batch or (1 if file_format.has_fixed_shapes else None)

    metadata = find_metadata(model)
    preprocessing = metadata.preprocessing if metadata else None
    has_trained_ranges = file_format.name == "TFLite" and is_quantization_aware(model)
    if has_trained_ranges:
        quantize, float_layers = "int8", find_float_layers(Graph.of(model, weights=False))
    if quantize == "int16x8" and io == "int8":
        io = "int16"        # the integers of such a file
    if target == GPU:
        io = "uint8"        # a fourth of the bytes of floats, on the way to the GPU
        batch_sizes = sorted(set(batch_sizes)) or ([batch] if batch else BATCH_SIZES)
    return ExportOptions(
        shape=(batch, height, width, channels), quantize=quantize, io=io,
        target=target or next(iter(file_format.targets), None), float_layers=tuple(float_layers),
        has_trained_ranges=has_trained_ranges,
        normalizations=find_normalizations(Graph.of(model, weights=False)) if quantize == "int8" else (),
        calibration_method=calibration_method, verbose=verbose, labels=get_class_names(model),
        metadata=_describe(model, quantize), signatures=tuple(signatures), batch_sizes=tuple(batch_sizes),
        dtype=dtype, layout=layout,
        preprocessing=preprocessing and preprocessing.for_input_shape((height, width, channels)))


def _describe(model: keras.Model, quantize: str | None) -> dict[str, Any]:
    """What a file says of its model inside; the keys are those of the first version."""
    metadata = find_metadata(model)
    checkpoint = get_weights(metadata.weights) if metadata and metadata.weights else None
    return {"reskeras": __version__, "net": model.name, "quantize": quantize,
            "labels": list(get_class_names(model)),
            "memory": metadata.get_config() if metadata else None,
            "licence": checkpoint.license if checkpoint else ""}


def _choose_image_size(model: keras.Model, size: int | tuple[int, int] | None,
                      is_fixed: bool) -> tuple[int, int]:
    """Chooses (height, width) of the images to compare on.

    Args:
        model: whose own size it is, if it has one.
        size: as `export` takes it.
        is_fixed: whether the file has a fixed size.
    Raises:
        ArgumentError: `size` is missing, or not the model's.
    """
    model_size = model.input_shape[1:3]
    height, width = model_size if size is None else to_height_and_width(size)
    if not is_fixed:
        height, width = height or COMPARED_SIZE, width or COMPARED_SIZE
    if height is None or width is None:
        raise ArgumentError("size", size, "(height, width)", hint=(
            f"the model's images are {model.input_shape[1:]}, and a .tflite, a .mlir and a file for GPU "
            "servers have a fixed size"))
    if any(own not in (None, side) for own, side in zip(model_size, (height, width))):
        raise ArgumentError("size", (height, width), f"the model's own {model_size}")
    return height, width


def to_height_and_width(size: Any) -> tuple[int | None, int | None]:
    """Reads the argument `size`.

    Args:
        size: (height, width) or one number for both; None is a side that the model has.

    Raises:
        ArgumentError: it is anything else.
    """
    sides = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    pixels = [None if side is None else to_whole_number(side) or 0 for side in sides]
    if len(pixels) != 2 or any(number is not None and number < 1 for number in pixels):
        raise ArgumentError("size", size, "(height, width) or one number for both, of at least 1")
    return pixels[0], pixels[1]


def get_compared_shape(options: ExportOptions) -> tuple[int, int, int]:
    """Returns (height, width, channels) of the images to compare on: the file's, if they are fixed."""
    _, height, width, channels = options.shape
    assert channels is not None
    return height or COMPARED_SIZE, width or COMPARED_SIZE, channels


def optimize_for_format(model: keras.Model, file_format: Format, options: ExportOptions) -> keras.Model:
    """The model as fast as it gets.

    The file is compared with the model as it was, so this step is not checked by itself.
    """
    target = file_format.optimize_target
    if target == "tflite" and options.shape[0] != 1:
        target = "saved_model"
    is_float_file = file_format.name == "TFLite" and options.quantize in (None, "float16")
    last_passes = [subsample_by_convolution] if is_float_file else []
    return optimize_without_check(model, target, get_compared_shape(options), last_passes)
