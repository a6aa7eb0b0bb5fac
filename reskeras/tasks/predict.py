"""Classes of image files."""
from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING, Any, Callable, Iterable

import numpy as np

from ..catalog import find
from ..weights.table import FOLDER, embedded

if TYPE_CHECKING:
    import tensorflow as tf

FILES = (".keras", ".tflite")


def predict(images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], model: str | os.PathLike[str],
            top: int = 5) -> list[dict[str, Any]]:
    """The `top` likeliest classes of each image, by index.

    An image is resized (bilinear, antialiased) to the net's input, made grey or RGB as the net has channels, and its pixels are
    scaled to 0..1; a net built with include_preprocessing=True gets 0..255.  Nothing else is done to it: `digits` nets
    were trained on white strokes on black, so a scan of ink on paper has to be inverted first.

    Arguments:
        images: paths of PNG, JPEG, GIF (first frame) or BMP files.
        model: a `.keras` or `.tflite` file, or a net with weights that come with the package ("cifar_resnet20.digits").
        top: how many classes.
    Returns: for each image {"image": path, "predictions": [{"label", "score"}, ...]}, the likeliest first; or {"image", "error"}
        for a file that is missing or no image, which stops no other.
    Raises: ValueError for an unknown or unreadable model, or one that is no image classifier; FileNotFoundError.
    """
    if not isinstance(top, int) or top < 1:
        raise ValueError(f"top={top!r}: expected a whole number of at least 1")
    paths = [images] if isinstance(images, (str, os.PathLike)) else list(images)
    run, shape, largest = classifier(model)
    results: list[dict[str, Any]] = []
    for path in paths:
        try:
            image = prepare(read(path), shape) * largest
        except (OSError, ValueError) as error:
            results.append({"image": os.fspath(path), "error": str(error)})
            continue
        scores = probabilities(run(image[None])[0], model)
        best = np.argsort(-scores, kind="stable")[:top]
        predictions = [{"label": str(i), "score": float(scores[i])} for i in best]
        results.append({"image": os.fspath(path), "predictions": predictions})
    return results


def classifier(model: str | os.PathLike[str]) -> tuple[Callable[[np.ndarray], np.ndarray], tuple[int | None, ...], float]:
    """The net as a function, its (height, width, channels), and the pixel value of white."""
    from ..exporters.export import open_file
    file = model_file(model)
    runtime = open_file(file)
    shape = tuple(runtime.shape[1:])
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise ValueError(f"{os.fspath(model)}: its input is {shape}; images of 1 or 3 channels are expected")
    return runtime, shape, 255.0 if "preprocessing" in layer_names(file) else 1.0


def model_file(model: str | os.PathLike[str]) -> pathlib.Path:
    """The file that `model` names.  Raises: ValueError for an unknown name or one without weights, FileNotFoundError."""
    if os.fspath(model).endswith(FILES):
        if not pathlib.Path(model).is_file():
            raise FileNotFoundError(f"{os.fspath(model)}: no such file")
        return pathlib.Path(model)
    row, tag, _ = find(os.fspath(model))
    file = embedded(row.name, tag) if tag else None
    if file is None:
        known = ", ".join(sorted(f.stem for f in FOLDER.glob("*.keras")))
        raise ValueError(f"{os.fspath(model)!r}: no weights of that name come with the package; give a .keras or .tflite file, "
                         f"or one of: {known}")
    return file


def layer_names(file: pathlib.Path) -> set[str]:
    """Of a .keras file; a .tflite has none."""
    import json
    import zipfile
    if file.suffix != ".keras":
        return set()
    with zipfile.ZipFile(file) as archive:
        return {layer.get("name", "") for layer in json.loads(archive.read("config.json"))["config"]["layers"]}


def read(path: str | os.PathLike[str]) -> tf.Tensor:
    """The bytes of an image file, (height, width, 1 or 3), without its transparency.

    Raises: OSError for a file that cannot be read, ValueError for one that is no image.
    """
    import tensorflow as tf
    try:
        data = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise OSError((error.strerror or "cannot be read").lower()) from error
    try:
        image = tf.io.decode_image(data, expand_animations=False)
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
        raise ValueError("no readable PNG, JPEG, GIF or BMP image") from error
    return image[..., :-1] if image.shape[-1] in (2, 4) else image


def prepare(image: tf.Tensor | np.ndarray, shape: tuple[int | None, ...]) -> np.ndarray:
    """Bytes (height, width, 1 or 3) to floats in 0..1 of `shape`, where None keeps the image's own size."""
    import tensorflow as tf
    height, width = shape[0] or image.shape[0], shape[1] or image.shape[1]
    x = tf.image.resize(tf.cast(image, tf.float32) / 255, (height, width), antialias=True)
    if x.shape[-1] != shape[2]:
        x = tf.image.grayscale_to_rgb(x) if shape[2] == 3 else tf.image.rgb_to_grayscale(x)
    return np.clip(x.numpy(), 0, 1)


def probabilities(scores: np.ndarray, model: str | os.PathLike[str]) -> np.ndarray:
    """`scores` where they are probabilities (eight bits sum to 1 but roughly), else their softmax.

    Raises: ValueError where they are not one number per class.
    """
    if scores.ndim != 1:
        raise ValueError(f"{os.fspath(model)}: for an image it gives {scores.shape}; a classifier gives one number per class")
    if scores.min() >= 0 and abs(float(scores.sum()) - 1) < 0.1:
        return scores
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()
