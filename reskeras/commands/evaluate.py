"""`evaluate`: the accuracy of a net on labelled images, beside the published one."""
from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Iterable, Iterator

import numpy as np

from ..errors import ArgumentError, check_number, check_whole_number, to_whole_number
from ..images.labels import find_classes
from ..json_writer import to_json
from ..terminal import print_text
from ..weights.table import get_weights
from .evaluation import Evaluation, check_files, write_evaluation, write_images
from .open_model import ModelName, check_trained_model
from .tallies import make_tally

if TYPE_CHECKING:
    import keras

    from ..images.preprocessing import Preprocessing
    from ..model_metadata import ModelMetadata
    from ..train.data import ImageDataset
    from ..train.source import DataSource
    from .classifier import Classifier

CROPS = (1, 10)


def evaluate(model: ModelName | keras.Model, data: Any, *, split: str = "test", crops: int = 1,
             scales: Iterable[int] = (), batch_size: int = 32, preprocessing: Any = None, labels: Any = None,
             max_unreadable: int = 100, label_offset: int | None = None, trust: bool = False,
             threshold: float = 0.5, worst: int = 10, json: str | os.PathLike[str] | None = None,
             csv: str | os.PathLike[str] | None = None) -> Evaluation:
    """Measures a net on labelled images, each image once, prepared as the net's weights expect.

    Of one class per image: top-1 and top-5 accuracy, precision, recall and F1 of each class, the confusion
    matrix, and the expected calibration error.  Of several labels: average precision, and the same of each
    label.  Of numbers: mean absolute error, root of the mean squared error, and R2.

    Args:
        model: as in `reskeras.predict`.
        data: labelled images, such as "folder:PATH", "cifar10", arrays (images, labels) or a dataset: all
            that `reskeras.fit` takes.
        split: "test", "validation" or "train", if the data have several.
        crops: 1, or 10 as in the tables of AlexNet and He et al.: the four corners and the center of the
            central square of the resized image, and their mirror images; the mean of their scores counts.
        scales: instead of crops: shorter sides in pixels, such as 224, 256, 384, 480, 640 in He et al. §3.4.
            The net, which must take images of any size, sees the center square at each; the mean of its
            scores counts.
        batch_size: images at once.
        preprocessing: as in `reskeras.predict`.
        labels: as in `reskeras.predict`.  Classes of the data are found by their names, or WordNet ids; if
            the net has no names, their order is taken for the net's: folders sorted as text, as Keras and
            torchvision sort them (1, 10, 2).
        max_unreadable: how many images may be unreadable and left out; more are an error.
        label_offset: the label of the first class in TFRecord files, 0 or 1; by default 0 if a record has
            the label 0, else 1.
        trust: as in `reskeras.predict`.
        threshold: the score above which an image has a label, or the second of two classes of one output.
        worst: how many of the images with the largest loss are named.
        json: a file for all results, as JSON.
        csv: a file for a line about each image: its label, what the net says, and the loss.

    Returns:
        An `Evaluation`, whose `top1` and `top5` are in percent.

    Raises:
        ArgumentError: for a wrong value of an argument.
        ValueError: if the data have a class that the net does not have; also the errors of
            `reskeras.predict`.
        FloatingPointError: if the net's scores are not finite.
        FileNotFoundError: if there is no such file or folder.

    Example:
        >>> reskeras.evaluate("cifar_resnet20.digits", "digits").images
        364
    """
    crops, scales = _check_views(crops, scales)
    batch_size, worst = check_whole_number("batch_size", batch_size), check_whole_number("worst", worst, 0)
    max_unreadable = check_whole_number("max_unreadable", max_unreadable, minimum=0)
    threshold = check_number("threshold", threshold, 0, 1, "a score in [0, 1)")
    check_files(json=json, csv=csv)
    check_trained_model(model)

    from ..train.reading_errors import describe_unreadable
    from ..train.sources import open_source
    from ..train.task_rules import check_labels, convert_labels
    from .classifier import open_classifier, scale_scores
    source = open_source(data, split, label_offset=label_offset)
    net = open_classifier(model, any_size=bool(scales), trust=trust)
    if scales and net.shape[:2] != (None, None):
        raise ArgumentError("scales", scales, "a net for images of any size",
                            hint=f"{net.name} takes images of "
                            f"{net.shape[:2]} pixels only; build it with input_shape=(None, None, "
                            f"{net.shape[2]})")
    metadata = net.metadata.override(preprocessing, labels)
    prepare = metadata.get_preprocessing(net.shape, net.name)
    kind = metadata.task or "multiclass"
    check_labels(source, kind)
    source = convert_labels(source, kind)
    datasets = _open_datasets(source, prepare, net.name, crops, scales, batch_size, max_unreadable)
    # the first call compiles, so it is not timed
    first_call = np.zeros((1, *prepare.size, len(prepare.mean)), "float32")
    names = [name for _, name in metadata.get_classes(_compute_scores(net, first_call).shape[1])]
    class_map = map_classes(source, metadata, len(names))
    source.check_labels(len(class_map), net.name, kind)

    tally, count, start = make_tally(kind, names, threshold), 0, time.perf_counter()
    for views, y in _iterate_views(datasets, crops, prepare.size):
        scores = np.mean([scale_scores(net, _compute_scores(net, view)) for view in views], 0)
        tally.add(_map_labels(y, class_map, source.name, len(names)), scores)
        count += len(y)
    seconds = time.perf_counter() - start

    if not count:
        raise ValueError(f"{source.name}: none of its images can be read; the first one is "
                         f"{describe_unreadable(datasets[0].unreadable_names[:1])}")
    skipped = set(datasets[0].unreadable)
    read = [i for i in range(count + len(skipped)) if i not in skipped]
    result = tally.measure(lambda i: source.image_name(read[i]))
    rows = result.pop("rows")
    evaluation = Evaluation(
        net.name, source.name, count, images_per_s=count / seconds, size=prepare.size, crops=crops,
        scales=scales, skipped=datasets[0].unreadable_names, published=get_published_accuracy(metadata),
        label_offset=source.label_offset, assumed_classes=() if metadata.labels else source.classes,
        left_out=source.left_out, task=kind, loss=float(np.mean([row["loss"] for row in rows])),
        worst=[{key: row[key] for key in ("image", "loss", "label", "predicted")}
               for row in sorted(rows, key=lambda row: -row["loss"])[:worst]], **result)
    if json is not None:
        write_evaluation(evaluation, json)
    if csv is not None:
        write_images(rows, csv)
    return evaluation


def evaluate_for_shell(json: str | None = None, **options: Any) -> tuple[Evaluation, bool]:
    """`evaluate` for the shell, where `--json` without a file prints.

    Args:
        json: the file; "-" prints.
        **options: of `evaluate`.

    Returns:
        (the result, whether it is printed as JSON).

    Raises:
        ArgumentError: for another file than FILE.json; and as `evaluate`.
    """
    prints = json == "-"
    if json is not None and not prints and not json.endswith(".json"):
        raise ArgumentError("json", json, "FILE.json, or no file after it")
    return evaluate(json=None if prints else json, **options), prints


def print_result(result: tuple[Evaluation, bool]) -> int:
    """Prints the results as text or JSON.  Returns: the exit code."""
    evaluation, is_json = result
    print_text(to_json(evaluation.as_dict()) if is_json else evaluation)
    return 0


def _check_views(crops: int, scales: Iterable[int]) -> tuple[int, tuple[int, ...]]:
    """Converts `crops` and `scales` to Python's own numbers, which JSON can hold.  Raises: ArgumentError."""
    count = to_whole_number(crops)
    if count not in CROPS:
        raise ArgumentError("crops", crops, "1 or 10")
    given = tuple(scales)
    sides = tuple(to_whole_number(side) or 0 for side in given)
    if any(side < 1 for side in sides):
        raise ArgumentError("scales", given, "shorter sides in pixels, each a whole number of at least 1")
    if sides and count > 1:
        raise ArgumentError("crops", count, "1 if scales are given")
    return count, sides


def _open_datasets(source: DataSource, prepare: Preprocessing, name: str, crops: int, scales: tuple[int, ...],
                   batch_size: int, max_unreadable: int) -> list[ImageDataset]:
    """The images as the net sees them, once for each scale."""
    from ..train.data import ImageDataset
    preparations = [prepare]
    if scales:
        preparations = [replace(prepare, size=(side, side), crop_pct=1.0) for side in scales]
    elif crops > 1:
        preparations = [_without_crop(prepare, name)]
    return [ImageDataset(source, batch_size, prepare=each, max_unreadable=max_unreadable)
            for each in preparations]


def _iterate_views(datasets: list[ImageDataset], crops: int,
                   size: tuple[int, int]) -> Iterator[tuple[Any, np.ndarray]]:
    """Yields the images of each batch in all their views, and their labels."""
    for (x, y, *_), *others in zip(*(dataset.iterate_batches() for dataset in datasets)):
        if crops > 1:
            yield _ten_crops(x.numpy(), size), y.numpy()
        else:
            yield [x.numpy(), *(other[0].numpy() for other in others)], y.numpy()


def map_classes(source: DataSource, metadata: ModelMetadata, class_count: int) -> np.ndarray:
    """For each class of the data, finds its index in the net.

    By WordNet id or name, if both have names; in the order of the data, if the net has none.

    Args:
        source: the labelled images.
        metadata: metadata of the net.
        class_count: how many classes the net has.

    Raises:
        ValueError: for classes of the data that the net does not have; the message names them.
    """
    known = metadata.get_classes(class_count)
    if metadata.task == "regression" and class_count == 1:      # whatever the number is called
        return np.arange(1)
    if not source.classes:
        return np.arange(class_count)[int(known[0][0] == "background"):]
    if metadata.labels:
        try:
            return np.array(find_classes(source.classes, known))
        except ValueError as error:
            raise ValueError(f"{source.name}: {error}") from error
    if len(source.classes) != class_count:
        raise ValueError(f"{source.name}: the net does not say what its {class_count} classes are called, "
                         f"and the data have {len(source.classes)}: give `labels`, the names in the order of "
                         "the net's scores")
    return np.arange(class_count)


def _map_labels(y: np.ndarray, class_map: np.ndarray, name: str, class_count: int) -> np.ndarray:
    """The labels of images as classes of the net.  Raises: ValueError for a label beyond its classes."""
    if y.ndim == 2:     # several labels, or numbers, in the order of the net
        if y.shape[1] not in (1, len(class_map)):
            raise ValueError(f"{name}: an image has {y.shape[1]} numbers as its label, but the net returns "
                             f"{class_count}")
        if y.shape[1] == 1:
            return y
        mapped = np.zeros((len(y), class_count), y.dtype)
        mapped[:, class_map] = y
        return mapped
    if y.min() < 0 or y.max() >= len(class_map):
        label = y.max() if y.min() >= 0 else y.min()
        raise ValueError(f"{name}: label {label} is not one of 0 ... {len(class_map) - 1}")
    return np.asarray(class_map[y])


def _compute_scores(net: Classifier, x: np.ndarray) -> np.ndarray:
    """Scores (N, classes); a file that takes a fixed number of images gets so many at a time."""
    step = getattr(net.run, "shape", (None,))[0]
    if not step:
        return _check_scores(net.run(x), net.name, bool(net.metadata.task))
    parts: list[np.ndarray] = []
    for i in range(0, len(x), step):
        part = x[i:i + step]
        padded = np.pad(part, [(0, step - len(part)), (0, 0), (0, 0), (0, 0)])
        parts.append(_check_scores(net.run(padded), net.name, bool(net.metadata.task))[:len(part)])
    return np.concatenate(parts)


def _check_scores(scores: np.ndarray, name: str, has_task: bool) -> np.ndarray:
    """Converts `scores` to an array.  Raises: ValueError if they are not (N, classes)."""
    from .classifier import ADVICE_FOR_ONE_OUTPUT
    scores = np.asarray(scores)
    if scores.ndim != 2 or scores.shape[1] < 2 and not has_task:
        raise ValueError(f"{name}: for an image it returns {scores.shape[1:]}; a classifier returns one "
                         f"number per class{ADVICE_FOR_ONE_OUTPUT if scores.shape[1:] == (1,) else ''}")
    return scores


def _without_crop(prepare: Preprocessing, name: str) -> Preprocessing:
    """The same preprocessing without the crop: it gives the square of which the crop is the center.

    Raises:
        ArgumentError: if there is no crop.
    """
    if prepare.resize_target == prepare.size:
        raise ArgumentError("crops", 10, "a net whose images are cropped",
                            hint=f"{name} takes the whole image (crop_pct=1), so there is nothing to crop")
    return replace(prepare, size=prepare.resize_target, crop_pct=1.0)


def _ten_crops(x: np.ndarray, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Corners and center of a batch of images, and their mirror images: ten batches of that (height, width).
    """
    down, right = x.shape[1] - size[0], x.shape[2] - size[1]
    for i, j in ((0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)):
        view = x[:, i:i + size[0], j:j + size[1]]
        yield view
        yield view[:, :, ::-1]


def get_published_accuracy(metadata: ModelMetadata) -> dict[str, Any] | None:
    """What was published of the checkpoint that a net began with; None if nothing was."""
    checkpoint = get_weights(metadata.weights) if metadata.weights else None
    if checkpoint is None or checkpoint.top1 is None:
        return None
    return {"name": checkpoint.name, "top1": checkpoint.top1, "top5": checkpoint.top5,
            "size": checkpoint.top1_size or checkpoint.input_size, "labels": checkpoint.labels}
