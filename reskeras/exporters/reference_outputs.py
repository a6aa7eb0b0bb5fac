"""A few images with the answers of Keras and of the exported file, kept beside it: what `verify` repeats on another machine."""
from __future__ import annotations

import pathlib
from dataclasses import dataclass
from typing import Callable

import numpy as np

COUNT = 4
Net = Callable[[np.ndarray], np.ndarray]


def write(path: pathlib.Path, keras: Net, exported: Net, images: np.ndarray, logits: Net | None = None) -> None:
    """The first images in 256 levels, and the answers to exactly those; Keras' logits too, where they are compared."""
    some = images[:COUNT]
    low, high = float(some.min()), float(some.max())
    step = (high - low) / 255 or 1.0
    levels = np.round((some - low) / step).astype("uint8")
    again = _restored(levels, low, step)
    held = {"images": levels, "low": low, "step": step, "keras": keras(again), "exported": exported(again)}
    if logits:
        held["logits"] = logits(again)
    np.savez_compressed(path, **held)   # type: ignore[arg-type]


@dataclass(frozen=True)
class Probe:
    """Images, and what was answered to them."""
    images: np.ndarray
    keras: np.ndarray
    exported: np.ndarray                # by the file, on the machine that exported it
    logits: np.ndarray | None = None    # by Keras, before its softmax


def read(path: pathlib.Path) -> Probe:
    """Raises: ValueError for another file."""
    try:
        with np.load(path) as held:
            images = _restored(held["images"], float(held["low"]), float(held["step"]))
            if images.ndim != 4 or not len(images):
                raise ValueError(f"they are of the shape {images.shape}")
            return Probe(images, held["keras"], held["exported"], held.get("logits"))
    except Exception as error:      # of NumPy, zipfile and zlib, each its own
        raise ValueError(f"{path} holds no images to compare ({type(error).__name__}: {error})") from error


def _restored(levels: np.ndarray, low: float, step: float) -> np.ndarray:
    return (low + step * levels).astype("float32")
