"""`<file>.npz`: a few images with the outputs of Keras and of the file, which `verify` repeats elsewhere."""
from __future__ import annotations

import pathlib
from dataclasses import dataclass

import numpy as np

from .measurements import ArrayFunction

COUNT = 4


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
    """Reads what `write_reference_outputs` wrote.  Raises: ValueError for another file."""
    try:
        with np.load(path) as arrays:
            images = _restore_images(arrays["images"], float(arrays["low"]), float(arrays["step"]))
            if images.ndim != 4 or not len(images):
                raise ValueError(f"they are of the shape {images.shape}")
            return ReferenceOutputs(images, arrays["keras"], arrays["exported"], arrays.get("logits"))
    except Exception as error:      # NumPy, zipfile and zlib have each their own
        raise ValueError(f"{path} holds no images to compare ({type(error).__name__}: {error})") from error


def _restore_images(levels: np.ndarray, low: float, step: float) -> np.ndarray:
    return (low + step * levels).astype("float32")
