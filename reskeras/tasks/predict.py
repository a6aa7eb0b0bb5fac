"""Classes of image files."""
from __future__ import annotations

import json
import os
import pathlib
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Iterable

import numpy as np

from ..net import Memory, settled
from ..weights.decode import decode
from ..weights.labels import Class, classes_of
from ..weights.table import Weights, embedded, get_weights

if TYPE_CHECKING:
    import keras

    from ..weights.preprocessing import Preprocessing

FILES = (".keras", ".tflite")
Path = str | os.PathLike[str]


def predict(images: Path | Iterable[Path], model: Path | keras.Model, top: int = 5, *, preprocess: Any = None,
            labels: Any = None) -> list[dict[str, Any]]:
    """The `top` likeliest classes of each image, prepared as the net's weights expect and named as its classes are.

    Arguments:
        images: paths of JPEG, PNG, GIF (first frame), BMP or WebP files.  Transparency is dropped, EXIF turns are made.
        model: a net with weights ("resnet50v1_5.a1_in1k", or "resnet50v1_5" for its default ones), a `.keras` or `.tflite`
            file, a SavedModel folder, or a model.
        top: how many classes.
        preprocess: for a net that does not remember it: a weights row, its name, a `Preprocessing`, or a model that does.
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
    net = classifier(model)
    prepare = net.preprocessing(preprocess)
    results: list[dict[str, Any]] = []
    for path in paths:
        try:
            pixels = read(path)
        except (OSError, ValueError) as error:
            results.append({"image": os.fspath(path), "error": str(error)})
            continue
        scores = probabilities(net.run(prepare(pixels))[0], net.name)
        classes = net.classes(labels, len(scores))
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
    memory: Memory
    scales: bool                        # whether the net has include_preprocessing=True

    def preprocessing(self, given: Any) -> Preprocessing:
        """For images of the net's own size.  Raises: ValueError where nobody knows it."""
        own = self.memory.preprocessing
        if given is not None:
            own = settled(given).raw() if self.scales else settled(given)
        if own is None:
            raise ValueError(f"{self.name} does not say how its images are prepared, and a wrong guess would not show; give "
                             "preprocess=, the weights row that it was trained like, such as 'resnet50v1_5.a1_in1k'")
        return own.fitted(self.shape)

    def classes(self, given: Any, number: int) -> tuple[Class, ...]:
        if given is not None:
            file = isinstance(given, (str, os.PathLike)) and pathlib.Path(given).is_file()
            return classes_of(pathlib.Path(given).read_text(encoding="utf-8").splitlines() if file else given, number)
        indices = [str(i) for i in range(number)]
        try:
            return classes_of(self.memory.labels or indices, number)
        except ValueError:              # a label set whose 21,843 names do not come with the package
            return classes_of(indices, number)


def classifier(model: Path | keras.Model) -> Classifier:
    """The net that `model` is or names.  Raises: as `predict`."""
    from ..exporters.export import keras_run, open_file
    named = isinstance(model, (str, os.PathLike))
    net: Any = model
    name = os.fspath(net) if named else net.name
    file, row = file_of(name) if named else (None, None)
    run: Callable[[np.ndarray], np.ndarray]
    if file is not None:
        run = runtime = open_file(file)
        shape, (memory, inside) = runtime.shape, recalled(file)
    else:
        from ..catalog import create
        net = create(name) if named else net
        run, shape, memory = keras_run(net), net.input_shape, getattr(net, "memory", None)
        inside = any(layer.name == "preprocessing" for layer in net.layers)
    memory = memory or (Memory.of_row(row) if row else Memory())
    if len(shape) != 4 or shape[3] not in (1, 3):
        raise ValueError(f"{name}: its input is {tuple(shape[1:])}; images of 1 or 3 channels are expected")
    return Classifier(name, run, tuple(shape[1:]), memory, inside)


def file_of(name: str) -> tuple[pathlib.Path | None, Weights | None]:
    """The file that `name` is, or the checkpoint that it names, with its file where that comes with the package.

    Raises: FileNotFoundError; ValueError for what names neither.
    """
    path = pathlib.Path(name)
    if name.endswith(FILES) or path.is_dir():
        if not path.exists():
            raise FileNotFoundError(f"{name}: no such file")
        return path, None
    row = get_weights(name)
    return embedded(row.row, row.tag), row


def recalled(file: pathlib.Path) -> tuple[Memory | None, bool]:
    """What the net in a file remembers (a `.keras` in its config, others in the JSON beside them), and whether it scales."""
    config: dict[str, Any] = {}
    beside = file.with_name(f"{file.name}.json")
    if file.suffix == ".keras":
        with zipfile.ZipFile(file) as archive:
            config = json.loads(archive.read("config.json"))["config"]
    elif beside.is_file():
        config = json.loads(beside.read_text(encoding="utf-8"))
    memory = Memory.from_config(config["memory"]) if config.get("memory") else None
    raw = memory is not None and memory.preprocessing is not None and memory.preprocessing.pixels == "raw"
    return memory, raw or any(layer.get("name") == "preprocessing" for layer in config.get("layers", ()))


def read(path: Path) -> np.ndarray:
    """The RGB bytes of an image file.

    Raises: OSError for a file that cannot be read, ValueError for one that is no image.
    """
    try:
        data = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise OSError((error.strerror or "cannot be read").lower()) from error
    return decode(data)


def probabilities(scores: np.ndarray, name: str) -> np.ndarray:
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
