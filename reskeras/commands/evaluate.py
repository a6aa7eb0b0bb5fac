"""The accuracy of a net on labelled images, beside the published one."""
from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Iterable

import numpy as np

from ..model_metadata import ModelMetadata
from ..errors import nearest
from ..train.data import ImageDataset
from ..train.sources import DataSource, open_source
from ..images.preprocessing import Preprocessing
from ..weights.table import get_weights
from .predict import Classifier, open_classifier

if TYPE_CHECKING:
    import keras

CROPS = (1, 10)


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found; accuracies in percent."""
    model: str
    data: str
    images: int
    top1: float
    top5: float | None          # of nets with more than five classes
    images_per_s: float         # reading and preparing them included
    size: tuple[int, int]
    crops: int
    scales: tuple[int, ...]     # shorter sides in pixels, () where there is but the one
    skipped: list[str]          # what could not be read
    published: dict[str, Any] | None    # of the checkpoint it began with: its name, top1, top5, at which size, on which labels

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        size = ", ".join(map(str, self.scales)) if self.scales else f"{self.size[0]} x {self.size[1]}"
        lines = [f"{self.model} on {self.data}: {self.images:,} images of {size} pixels"
                 + (f", {self.crops} crops of each" if self.crops > 1 else ""),
                 f"top-1 {self.top1:.2f} %" + (f", top-5 {self.top5:.2f} %" if self.top5 is not None else "")
                 + f", {self.images_per_s:.1f} images/s"]
        if self.published:
            p = self.published
            lines.append(f"published: top-1 {p['top1']:.2f} %" + (f", top-5 {p['top5']:.2f} %" if p["top5"] else "")
                         + f" on {p['labels']} at {p['size']} pixels ({p['name']})")
        if self.skipped:
            lines.append(f"{len(self.skipped)} could not be read and were left out: {', '.join(self.skipped)}")
        return "\n".join(lines)


def evaluate(model: str | os.PathLike[str] | keras.Model, data: Any, *, split: str = "test", crops: int = 1,
             scales: Iterable[int] = (), batch: int = 32, preprocessing: Any = None, labels: Any = None,
             limit: int = 100) -> Evaluation:
    """Top-1 and top-5 accuracy, each image once, prepared as the net's weights expect.

    Arguments:
        model, preprocessing, labels: as in `reskeras.commands.predict.predict`.
        data: as `reskeras.train.sources.source` takes it: "folder:PATH", "cifar10" ..., or arrays (images, labels).
        split: "test" or "train", where the data have both.
        crops: 1, or 10 as AlexNet's and He et al.'s tables: the corners and the centre of the square of which the single crop is
            the centre, and their mirror images; the mean of their scores.
        scales: instead of crops, shorter sides in pixels, such as 224, 256, 384, 480, 640 of He et al. §3.4: the net, which must
            take images of any size, sees the centre square at each; the mean of its scores.
        batch: images at once.
        limit: how many unreadable images may be left out before it is an error.
    Raises: ValueError for a class of the data that the net does not have, and as `predict` and `source`; FileNotFoundError.
    """
    if crops not in CROPS or isinstance(crops, bool):
        raise ValueError(f"crops={crops!r}: expected 1 or 10")
    scales = tuple(scales)
    if scales and crops > 1 or any(isinstance(s, bool) or not isinstance(s, int) or s < 1 for s in scales):
        raise ValueError(f"scales={scales!r}, crops={crops}: expected pixels of the shorter side, and crops=1 with them")
    images = open_source(data, split)
    net = open_classifier(model, open_size=bool(scales))
    if scales and net.shape[:2] != (None, None):
        raise ValueError(f"scales={scales!r}: {net.name} takes images of {net.shape[:2]} pixels alone; build it with "
                         f"input_shape=(None, None, {net.shape[2]})")
    metadata = net.metadata.override(preprocessing, labels)
    prepare = metadata.get_preprocessing(net.shape, net.name)
    views = [replace(prepare, size=(s, s), crop_pct=1.0) for s in scales] or [
        _widened(prepare, net.name) if crops > 1 else prepare]
    found, *others = [ImageDataset(images, batch, prepare=view, limit=limit) for view in views]
    number = _scores_of(net, np.zeros((1, *prepare.size, len(prepare.mean)), "float32")).shape[1]     # a first call compiles
    mapping = map_classes(images, metadata, number)
    hits, count, begin = np.zeros(2, int), 0, time.perf_counter()
    for (x, y), *more in zip(found.batches(), *(other.batches() for other in others)):
        truth = _truths(y.numpy(), mapping, number, images.name)
        seen = _ten_crops(x.numpy(), prepare.size) if crops > 1 else [x.numpy(), *(other.numpy() for other, _ in more)]
        scores: Any = sum(_probable(_scores_of(net, view)) for view in seen)
        order = np.argsort(-np.asarray(scores, "float64"), axis=1, kind="stable")[:, :5]
        hits += [(order[:, 0] == truth).sum(), (order == truth[:, None]).any(1).sum()]
        count += len(truth)
    seconds = time.perf_counter() - begin
    if not count:
        raise ValueError(f"{images.name}: none of its images can be read; the first is {found.broken[0]}")
    top1, top5 = (100 * float(hit) / count for hit in hits)
    return Evaluation(net.name, images.name, count, top1, top5 if number > 5 else None, count / seconds, prepare.size, crops,
                      scales, found.broken, get_published_accuracy(metadata))


def map_classes(images: DataSource, metadata: ModelMetadata, number: int) -> np.ndarray:
    """For each class of the data its number in the net; by WordNet id or name where the data have any.

    Raises: ValueError that names the classes that the net does not have.
    """
    known = metadata.get_classes(number)
    if not images.classes:
        return np.arange(number)[int(known[0][0] == "background"):]
    places: dict[str, list[int]] = {}
    for i, names in enumerate(known):
        for name in {_normalize_name(name) for name in names}:
            places.setdefault(name, []).append(i)
    missing = [c for c in images.classes if _normalize_name(c) not in places]
    if missing:
        hint = "" if metadata.labels else "; the net does not say what its classes are called: give labels="
        raise ValueError(f"{images.name}: {len(missing)} of its {len(images.classes)} classes are none of the net's, such as "
                         f"{missing[0]!r}{nearest(missing[0], places) if metadata.labels else ''}{hint}")
    twice = [c for c in images.classes if len(places[_normalize_name(c)]) > 1]
    if twice:
        raise ValueError(f"{images.name}: {twice[0]!r} is the name of {len(places[_normalize_name(twice[0])])} of the net's classes; "
                         "use WordNet ids")
    return np.array([places[_normalize_name(c)][0] for c in images.classes])


def _normalize_name(name: str) -> str:
    return name.lower().replace("_", " ").strip()


def _truths(y: np.ndarray, mapping: np.ndarray, number: int, name: str) -> np.ndarray:
    if y.min() < 0 or y.max() >= len(mapping):
        raise ValueError(f"{name}: it has a class {y.max() if y.min() >= 0 else y.min()}; the net has {number}, from 0 on")
    return mapping[y]


def _scores_of(net: Classifier, x: np.ndarray) -> np.ndarray:
    """Scores (N, classes); a file that takes a fixed number of images gets so many at a time."""
    fixed = getattr(net.run, "shape", (None,))[0]
    if not fixed:
        return _check_scores(net.run(x), net.name)
    parts: list[np.ndarray] = []
    for i in range(0, len(x), fixed):
        part = x[i:i + fixed]
        parts.append(_check_scores(net.run(np.pad(part, [(0, fixed - len(part)), (0, 0), (0, 0), (0, 0)])), net.name)[:len(part)])
    return np.concatenate(parts)


def _check_scores(scores: np.ndarray, name: str) -> np.ndarray:
    scores = np.asarray(scores)
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise ValueError(f"{name}: for an image it gives {scores.shape[1:]}; a classifier gives one number for each of its "
                         "classes")
    return scores


def _probable(scores: np.ndarray) -> np.ndarray:
    """`scores` where they are probabilities, else their softmax."""
    if scores.min() >= 0 and scores.max() <= 1:
        return scores
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _widened(prepare: Preprocessing, name: str) -> Preprocessing:
    """The same without the crop: the square of which it is the centre.  Raises: ValueError where it is the whole image."""
    if prepare.target == prepare.size:
        raise ValueError(f"crops=10: {name} takes the whole image (crop_pct=1), so there is nothing to crop")
    return replace(prepare, size=prepare.target, crop_pct=1.0)


def _ten_crops(x: np.ndarray, size: tuple[int, int]) -> Iterable[np.ndarray]:
    """Corners, centre, and their mirror images: ten batches of that size."""
    down, right = x.shape[1] - size[0], x.shape[2] - size[1]
    for i, j in ((0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)):
        view = x[:, i:i + size[0], j:j + size[1]]
        yield view
        yield view[:, :, ::-1]


def get_published_accuracy(metadata: ModelMetadata) -> dict[str, Any] | None:
    row = get_weights(metadata.weights) if metadata.weights else None
    if row is None or row.top1 is None:
        return None
    return {"name": row.name, "top1": row.top1, "top5": row.top5, "size": row.top1_size or row.input_size, "labels": row.labels}
