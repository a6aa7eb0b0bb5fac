"""`predict`: the likeliest classes of image files."""
from __future__ import annotations

import os
import pathlib
import sys
from typing import TYPE_CHECKING, Any, Iterable

from ..catalog import is_file_name
from ..errors import check_number, check_paths, check_whole_number, make_printable
from ..json_writer import to_json
from ..remote_paths import exists, find_remote_files, is_remote_folder, to_url
from ..terminal import print_text
from .open_model import ModelName, check_trained_model

if TYPE_CHECKING:
    import keras
    import numpy as np

    from ..model_metadata import ModelMetadata

Path = str | os.PathLike[str]
Results = list[dict[str, Any]]


def predict(model: ModelName | keras.Model, images: Path | Iterable[Path], *, top: int = 5,
            preprocessing: Any = None, labels: Any = None, trust: bool = False,
            threshold: float = 0.5) -> Results:
    """The likeliest classes of each image, prepared as the net's weights expect.

    Of a net for several labels, those that the image has; of a net that predicts numbers, these.

    Args:
        model: the name of a net with weights ("resnet50v1_5.a1_in1k", or "resnet50v1_5" for its default
            weights), an exported file (`.keras`, `.tflite`, `.onnx`, `.xml`), a SavedModel folder, or a
            keras.Model.
        images: the path of a JPEG, PNG, GIF or TIFF (first frame), BMP or WebP file, or of a HEIC file with
            pillow-heif, or several; of a folder all images in it are classified.  Transparency is ignored,
            and the orientation in EXIF data is applied.
        top: how many classes to return for each image.
        preprocessing: for a net that does not know it: a checkpoint, its name, a `Preprocessing`, or a model
            that knows it.
        labels: a label set such as "cifar10", a list of names, or a text file with one name a line.  By
            default the names that the net knows, or the numbers of the classes if it knows none.
        trust: whether a SavedModel, which is a program, may run; other models are data, and need no trust.
        threshold: of a net for several labels, the score above which an image has a label.

    Returns:
        For each image {"image": path, "predictions": [{"label", "id", "score"}, ...]}, the likeliest class
        first; "id" is the WordNet synset or the number of the class.  Of a net with one output for two
        classes, both of them; of one for several labels, all above the threshold; of one for numbers,
        {"label", "id", "value"} for each number.  For a file that is missing or no image,
        and where the net's scores are not finite, {"image", "error"}; the others are still classified.

    Raises:
        ArgumentError: for images that are no paths, and for a SavedModel if `trust` is not True.
        ValueError: for an unknown or unreadable model, one that is not an image classifier, one whose
            preprocessing is not known, or if the number of labels is not that of its classes.
        FileNotFoundError: if `model` is the path of a file that does not exist.

    Example:
        >>> reskeras.predict("cifar_resnet20.digits", "three.png")[0]["predictions"][0]["label"]
        '3'
    """
    top = check_whole_number("top", top)
    threshold = check_number("threshold", threshold, 0, 1, "a score in [0, 1)")
    paths = _list_image_paths(check_paths(
        "images", [images] if isinstance(images, (str, os.PathLike)) else images,
        "the path of an image file or a folder, or several",
        hint=_advise_for_pixels(model)))
    check_trained_model(model)

    from .classifier import open_classifier, prepare_image, to_scores
    net = open_classifier(model, trust=trust)
    metadata = net.metadata.override(preprocessing, labels)
    prepare = metadata.get_preprocessing(net.shape, net.name)

    results: Results = []
    for path in paths:
        try:
            image = prepare_image(path, prepare)
        except (OSError, ValueError) as error:
            results.append({"image": os.fspath(path), "error": str(error)})
            continue
        try:
            scores = to_scores(net, net.run(image)[0])
        except FloatingPointError as error:
            results.append({"image": os.fspath(path), "error": str(error)})
            continue
        results.append({"image": os.fspath(path),
                        "predictions": _list_predictions(scores, metadata, top, threshold)})
    return results


def _list_predictions(scores: np.ndarray, metadata: ModelMetadata, top: int,
                      threshold: float) -> list[dict[str, Any]]:
    """What a net says of an image, the likeliest first; numbers in their order."""
    import numpy as np
    classes = metadata.get_classes(len(scores))
    if metadata.task == "regression":
        return [{"label": label, "id": identity, "value": float(number)}
                for (identity, label), number in zip(classes, scores)]
    if metadata.task == "binary":
        scores = np.array([1 - scores[0], scores[0]])
    order = np.argsort(-scores, kind="stable").tolist()
    order = [i for i in order if scores[i] > threshold] if metadata.task == "multilabel" else order[:top]
    return [{"label": classes[i][1], "id": classes[i][0], "score": float(scores[i])} for i in order]


def _advise_for_pixels(model: ModelName | keras.Model) -> str:
    """What to do with pixels in memory: the model itself computes with them, an exported file reads files."""
    call = "for pixels in memory, call model.predict(reskeras.get_preprocessing(model)(pixels))"
    if not isinstance(model, (str, os.PathLike)):
        return call
    name = os.fspath(model)
    if name.endswith(".keras"):
        return f"{call}, where model = reskeras.load({name!r})"
    if is_file_name(model) or os.path.isdir(name):
        return "write pixels in memory to .png files first"
    return f"{call}, where model = reskeras.create({name!r})"


def _list_image_paths(paths: Iterable[Path]) -> list[Path]:
    """The paths, but for each folder the images in it, at any depth and sorted, if there are any."""
    from ..images.image_files import find_image_files
    found: list[Path] = []
    for path in paths:
        found += os.path.isdir(path) and find_image_files(path).images or _list_remote_images(path) or [path]
    return found


def _list_remote_images(path: Path) -> list[Path]:
    """The images in a remote folder; [] for other paths."""
    if not is_remote_folder(path):
        return []
    from ..images.image_files import select_images
    files = [pathlib.PurePosixPath(file) for file in find_remote_files(to_url(path))]
    return [to_url(file) for file in select_images(files)]


def predict_existing(images: list[str], **options: Any) -> Results:
    """`predict` for the shell, which need not wait for Keras if the model or all images are missing.

    Raises:
        FileNotFoundError: if none of the images exists, and as `predict`.
    """
    check_trained_model(options["model"])
    if not any(map(exists, images)):
        raise FileNotFoundError(f"{', '.join(images)}: no such file")
    return predict(images=images, **options)


def print_result(results: Results, json: bool = False) -> int:
    """Prints a line for each image, and on stderr the files that are no images.  Returns: the exit code."""
    if json:
        print_text(to_json(results))
    for result in results:
        image = make_printable(result["image"])
        if "error" in result:
            print_text(f"reskeras predict: {image}: {make_printable(result['error'])}", file=sys.stderr)
        elif not json:
            predictions = result["predictions"]
            texts = [f"{make_printable(p['label'])} " + (
                f"{p['value']:.6g}" if "value" in p else f"{p['score']:.1%}") for p in predictions]
            print_text(f"{image}: {', '.join(texts) or 'none of the labels'}")
    return int(any("error" in result for result in results))
