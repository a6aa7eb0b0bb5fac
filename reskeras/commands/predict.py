"""Classes of image files."""
from __future__ import annotations

import json
import os
import pathlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Iterable

import numpy as np

from ..model_metadata import ModelMetadata, get_metadata
from ..images.decode import decode_image
from .open_model import EXPORTED, check_model, open_trained_model

if TYPE_CHECKING:
    import keras

Path = str | os.PathLike[str]


def predict(images: Path | Iterable[Path], model: Path | keras.Model, top: int = 5, *, preprocessing: Any = None,
            labels: Any = None) -> list[dict[str, Any]]:
    """The `top` likeliest classes of each image, prepared as the net's weights expect and named as its classes are.

    Arguments:
        images: paths of JPEG, PNG, GIF (first frame), BMP or WebP files.  Transparency is dropped, EXIF turns are made.
        model: a net with weights ("resnet50v1_5.a1_in1k", or "resnet50v1_5" for its default ones), an exported file
            (`.keras`, `.tflite`, `.onnx`, `.xml`), a SavedModel folder, or a model.
        top: how many classes.
        preprocessing: for a net that does not remember it: a weights row, its name, a `Preprocessing`, or a model that does.
        labels: a label set such as "cifar10", a list of names, or a text file of one name a line; what the net remembers if
            not given, and the indices of the classes where that is nothing.
    Returns: for each image {"image": path, "predictions": [{"label", "id", "score"}, ...]}, the likeliest first; id is
        the WordNet synset or the index; or {"image", "error"} for a file that is missing or no image, which stops no other.
    Raises: ValueError for an unknown or unreadable model, one that is no image classifier, one whose preprocessing nobody
        knows, or labels of another number than its classes; FileNotFoundError.
    """
    if not isinstance(top, int) or top < 1:
        raise ValueError(f"top={top!r}: expected a whole number of at least 1")
    paths = [images] if isinstance(images, (str, os.PathLike)) else list(images)
    net = open_classifier(model)
    memory = net.metadata.override(preprocessing, labels)
    prepare = memory.prepare(net.shape, net.name)
    results: list[dict[str, Any]] = []
    for path in paths:
        try:
            pixels = read_image(path)
        except (OSError, ValueError) as error:
            results.append({"image": os.fspath(path), "error": str(error)})
            continue
        scores = to_probabilities(net.run(prepare(pixels))[0], net.name)
        classes = memory.classes(len(scores))
        best = np.argsort(-scores, kind="stable")[:top]
        predictions = [{"label": classes[i][1], "id": classes[i][0], "score": float(scores[i])} for i in best]
        results.append({"image": os.fspath(path), "predictions": predictions})
    return results


@dataclass(frozen=True)
class Classifier:
    """A net as a function of prepared images, and what is known about it."""
    name: str
    run: Callable[[np.ndarray], np.ndarray]
    shape: tuple[int | None, ...]       # (height, width, channels)
    metadata: ModelMetadata


def open_classifier(model: Path | keras.Model, open_size: bool = False) -> Classifier:
    """The net that `model` is or names, of a name for images of any size if `open_size`.  Raises: as `predict`."""
    from ..exporters.formats import open_file
    from ..exporters.keras_file import make_array_function
    name = os.fspath(model) if isinstance(model, (str, os.PathLike)) else model.name
    file = _find_exported_file(name) if isinstance(model, (str, os.PathLike)) else None
    run: Callable[[np.ndarray], np.ndarray]
    if file is not None:
        run = runtime = open_file(file)
        shape, memory = runtime.shape, _read_metadata(file)
    else:
        net: Any = open_trained_model(model, open_size)
        if not getattr(net, "inputs", None):
            raise ValueError(f"{name} is not built, so nobody knows its images; give it a keras.Input((height, width, channels))")
        run, shape, memory = make_array_function(net), net.input_shape, get_metadata(net)
    if len(shape) != 4 or shape[3] not in (1, 3):
        raise ValueError(f"{name}: its input is {tuple(shape[1:])}; images of 1 or 3 channels are expected")
    return Classifier(name, run, tuple(shape[1:]), memory)


def _find_exported_file(name: str) -> pathlib.Path | None:
    """The exported file or SavedModel folder that `name` is, if it is one.  Raises: FileNotFoundError."""
    check_model(name)
    path = pathlib.Path(name)
    return path if name.endswith(EXPORTED) or path.is_dir() else None


def _read_metadata(file: pathlib.Path) -> ModelMetadata:
    """What an exported net remembers: in the JSON beside it, a .tflite inside too."""
    from ..exporters.tflite.flatbuffer import metadata
    certificate = file.with_name(f"{file.name}.json")
    known = json.loads(certificate.read_text(encoding="utf-8")) if certificate.is_file() else (
        metadata(file) if file.suffix == ".tflite" else {})
    return ModelMetadata.from_config(known.get("memory") or {})


def read_image(path: Path) -> np.ndarray:
    """The RGB bytes of an image file.

    Raises: OSError for a file that cannot be read, ValueError for one that is no image.
    """
    try:
        data = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise OSError((error.strerror or "cannot be read").lower()) from error
    return decode_image(data)


def to_probabilities(scores: np.ndarray, name: str) -> np.ndarray:
    """`scores` where they are probabilities (eight bits sum to 1 but roughly), else their softmax.

    Raises: ValueError where they are not one number per class.
    """
    if scores.ndim != 1:
        raise ValueError(f"{name}: for an image it gives {scores.shape}; a classifier gives one number per class")
    if len(scores) < 2:
        raise ValueError(f"{name}: it gives one number for an image; a classifier gives one for each of its classes")
    if scores.min() >= 0 and scores.max() <= 1:     # of a softmax, or of a sigmoid for each class
        return scores
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()
