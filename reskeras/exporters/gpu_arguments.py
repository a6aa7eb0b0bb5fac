"""Checks of the arguments that a SavedModel alone takes: for GPU servers, and its half precision."""
from __future__ import annotations

import pathlib
from typing import Any, Sequence

import keras

from ..errors import ArgumentError, check_choice, check_whole_number
from ..quantization.model import is_quantization_aware
from .formats import Format
from .gpu_server import LAYOUTS
from .named.interface import takes_one_image
from .options import GPU
from .prepare import HALF_PRECISIONS


def check_gpu_arguments(model: keras.Model, path: pathlib.Path, file_format: Format, *, target: str | None,
                        batch_sizes: Sequence[int], dtype: str | None, layout: str | None,
                        batch_size: int | None, quantize: str | None, signatures: Sequence[str]) -> None:
    """Checks `batch_sizes`, `dtype` and `layout`, and what a file for GPU servers lacks.

    Args:
        model: the model.
        path: as `export` takes it, and so are all that follow.
        file_format: its format.
        target: see there.
        batch_sizes: see there.
        dtype: see there.
        layout: see there.
        batch_size: see there.
        quantize: see there.
        signatures: see there.

    Raises:
        ArgumentError: a value is not known, or not defined for this file.
    """
    if dtype is not None:
        check_choice("dtype", dtype, HALF_PRECISIONS)
        _check_dtype(model, path, file_format, dtype, quantize)
    if target != GPU:
        if not isinstance(batch_sizes, (list, tuple)) or batch_sizes or layout is not None:
            name, value = ("layout", layout) if layout is not None else ("batch_sizes", batch_sizes)
            raise ArgumentError(name, value, "none", hint="it is defined for a SavedModel with "
                                "'gpu' as `target`")
        return

    check_choice("layout", layout, (None, *LAYOUTS))
    if not takes_one_image(model):
        raise ArgumentError("target", target, f"None, as {model.name} is not of one image and one output",
                            hint="files for GPU servers take pixels; the plain SavedModel takes any inputs")
    no_use: tuple[tuple[str, Any, Any, str], ...] = (
        ("quantize", quantize, None, "TensorFlow has no kernels of integers for GPUs; give 'float16' or "
         "'bfloat16' as `dtype`"),
        ("batch_size", batch_size, None, "give `batch_sizes`"),
        ("signatures", tuple(signatures), (), "a file for GPU servers has one, serving_default"))
    for name, value, default, hint in no_use:
        if value != default:
            raise ArgumentError(name, value, f"{default!r}, as `target` is 'gpu'", hint=hint)
    _check_batch_sizes(model, batch_sizes)


def _check_dtype(model: keras.Model, path: pathlib.Path, file_format: Format, dtype: str,
                 quantize: str | None) -> None:
    """Raises: ArgumentError where a file computes in another precision anyway."""
    if file_format.name != "SavedModel":
        raise ArgumentError("dtype", dtype, f"None, as {path.name!r} would be a file for {file_format.name}",
                            hint="it is defined for a SavedModel, a path without a suffix; for others give "
                            "'float16' as `quantize`")
    if quantize is not None or is_quantization_aware(model):
        raise ArgumentError("dtype", dtype, "None, as the file is quantized",
                            hint="rounding to integers is computed in float32")
    if not takes_one_image(model):
        raise ArgumentError("dtype", dtype, f"None, as {model.name} is not of one image and one output",
                            hint="build the model with the policy mixed_float16 or mixed_bfloat16; its "
                            "SavedModel keeps that")


def _check_batch_sizes(model: keras.Model, batch_sizes: Any) -> None:
    """Raises: ArgumentError for what is no list of batch sizes, or not the model's own one."""
    if not isinstance(batch_sizes, (list, tuple)) or len(batch_sizes) > 100:
        raise ArgumentError("batch_sizes", batch_sizes, "a list of whole numbers, such as (1, 8, 32)")
    for size in batch_sizes:
        check_whole_number("batch_sizes", size, maximum=1 << 16)
    own = model.inputs[0].shape[0]
    if own is not None and set(batch_sizes) - {own}:
        raise ArgumentError("batch_sizes", batch_sizes, f"({own},), with which the net was built")
