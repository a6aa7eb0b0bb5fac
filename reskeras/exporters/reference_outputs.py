"""`<file>.npz`: a few images with the outputs of Keras and of the file, which `verify` repeats elsewhere."""
from __future__ import annotations

import pathlib
from dataclasses import dataclass

import numpy as np

from ..file_reading import open_npz
from .measurements import ArrayFunction

COUNT = 4
_MAX_BYTES = 2 ** 28        # of all arrays in the file; in memory the images take four times as much


@dataclass(frozen=True)
class ReferenceOutputs:
    """Images, and the outputs for them where the file was exported."""

    images: np.ndarray                  # float32 (N, height, width, channels)
    keras: np.ndarray                   # outputs of Keras
    exported: np.ndarray                # outputs of the file in its first runtime
    logits: np.ndarray | None = None    # of Keras, before its softmax, if these are compared


def write_reference_outputs(path: pathlib.Path, keras: ArrayFunction, exported: ArrayFunction,
                            images: np.ndarray, logits: ArrayFunction | None = None) -> None:
    """Writes the first COUNT images, in 256 levels, with the outputs for exactly those.

    Args:
        path: path of the .npz file.
        keras: the model in Keras.
        exported: the file in its runtime.
        images: as the model takes them.
        logits: the model in Keras without its softmax, if logits are compared.
    """
    images = images[:COUNT]
    low, high = float(images.min()), float(images.max())
    step = (high - low) / 255 or 1.0
    levels = np.round((images - low) / step).astype("uint8")
    restored = _restore_images(levels, low, step)

    arrays = {"images": levels, "low": low, "step": step,
              "keras": keras(restored), "exported": exported(restored)}
    if logits:
        arrays["logits"] = logits(restored)
    np.savez_compressed(path, **arrays)   # type: ignore[arg-type]


def read_reference_outputs(path: pathlib.Path) -> ReferenceOutputs:
    """Reads what `write_reference_outputs` wrote.

    Raises:
        ValueError: for a damaged or a different file, or arrays that are too large.
        OSError: if it cannot be read.
    """
    with open_npz(path, _MAX_BYTES) as arrays:
        levels, low, step = arrays["images"], arrays["low"], arrays["step"]
        if levels.ndim != 4 or not levels.size or levels.dtype != "uint8":
            raise ValueError(f"the images are of the shape {levels.shape}, {levels.dtype}")
        if low.shape or step.shape or low.dtype.kind != "f" or step.dtype.kind != "f":
            raise ValueError("the levels of the images are not two numbers")
        outputs = [arrays["keras"], arrays["exported"], *([arrays["logits"]] if "logits" in arrays else [])]

    for output in outputs:
        if output.dtype.kind not in "fiu" or output.ndim < 1 or len(output) != len(levels):
            raise ValueError(f"{path} has outputs of the shape {output.shape}, {output.dtype} for "
                             f"{len(levels)} images")
    return ReferenceOutputs(_restore_images(levels, float(low), float(step)), *outputs)


def _restore_images(levels: np.ndarray, low: float, step: float) -> np.ndarray:
    values: np.ndarray = (low + step * np.arange(256)).astype("float32")
    return values[levels]
