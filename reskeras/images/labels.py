"""Class names: the bundled label sets, and scores decoded with them."""
from __future__ import annotations

import functools
import pathlib
from typing import Any, Sequence

import keras
import numpy as np

from .model_opening import opening

FOLDER = pathlib.Path(__file__).parent / "label_names"
Class = tuple[str, str]     # a WordNet synset or an index, and the name
PARTS = {"imagenet-12k": ("imagenet-21k", "12k")}      # sets that are a marked part of another
SIZED = {1000: "imagenet-1k", 1001: "imagenet-1k", 11821: "imagenet-12k", 21843: "imagenet-21k"}    # nobody else's numbers


def decode_predictions(p: Any, top: int = 5, labels: Any = None) -> list[list[tuple[str, str, float]]]:
    """The likeliest classes of each sample, as `keras.applications`' function of this name gives them.

    Arguments:
        p: scores (samples, classes), as a classifier's predict gives them.
        top: how many classes.
        labels: whose classes these are: a label set ("imagenet-1k", "imagenet-12k", "imagenet-21k", "cifar10", "cifar100",
            "digits"), a list of names in the order of the classes, a weights row, or a model that remembers them.  Only
            ImageNet's 1000 (or 1001, with a background class before them), 11821 and 21843 classes say by themselves what
            they are.
    Returns: for each sample a list of (synset or index, name, score), the likeliest first.
    Raises: ValueError for scores of another shape, labels of another number, or no labels where the number is ambiguous.
    """
    scores = np.asarray(p)
    if scores.ndim == 1:
        raise ValueError(f"p has the shape {scores.shape}: expected (samples, classes); for one sample give p[None]")
    if scores.ndim != 2 or not scores.shape[1]:
        raise ValueError(f"p has the shape {scores.shape}: expected (samples, classes), as a classifier gives them")
    if not isinstance(top, int) or isinstance(top, bool) or top < 1:
        raise ValueError(f"top={top!r}: expected a whole number of at least 1")
    classes = classes_of(labels, scores.shape[1])
    # ties in the order of the classes
    return [[(*classes[i], float(row[i])) for i in np.argsort(-row.astype("float64"), kind="stable")[:top]]
            for row in scores]   # unsigned bytes have no negative


def classes_of(labels: Any, number: int) -> tuple[Class, ...]:
    """The `number` classes that `labels` stands for.  Raises: ValueError where there are none, or others."""
    if labels is None:
        labels = _sized(number)
    elif not isinstance(labels, (str, list, tuple, np.ndarray)):
        labels = _belonging(labels)
    if isinstance(labels, str):
        classes = label_set(labels)
        if number == len(classes) + 1:      # TensorFlow's checkpoints keep class 0 for what is none of them
            classes = (("background", "background"), *classes)
        name = labels
    else:
        classes = tuple((str(i), str(label)) for i, label in enumerate(labels))
        name = "labels"
    if len(classes) != number:
        raise ValueError(f"{name} has {len(classes)} names, the net has {number} classes; "
                         "give labels=[...], one name for each class")
    return classes


def _sized(number: int) -> str:
    """The label set of that many classes, where that leaves no doubt."""
    if number in SIZED:
        return SIZED[number]
    near = [name for name in known() if len(label_set(name)) == number]
    raise ValueError(f"{number} classes may be any; say which: labels=model, labels=[...] with {number} names"
                     + "".join(f", labels={name!r}" for name in near))


def _belonging(owner: Any) -> str | Sequence[str]:
    """The labels of a weights row, or of a model that remembers them.  Raises: ValueError where it has none."""
    memory = opening(owner)[0] if isinstance(owner, keras.Model) else getattr(owner, "memory", owner)
    labels = getattr(memory, "labels", None)
    if labels is None or len(labels) == 0:
        raise ValueError(f"{getattr(owner, 'name', owner)} remembers no class names; give labels=[...] in the order of its "
                         f"classes, or one of {', '.join(known())}")
    return labels


def known() -> list[str]:
    return sorted([file.stem for file in FOLDER.glob("*.txt")] + list(PARTS))


@functools.cache
def label_set(name: str) -> tuple[Class, ...]:
    """The classes of a bundled label set, in order.  Raises: ValueError for another name."""
    if name not in known():
        raise ValueError(f"labels={name!r}: its names do not come with the package; give labels=[...] in the order of the "
                         f"classes, or one of {', '.join(known())}")
    file, mark = PARTS.get(name, (name, None))
    lines = [line.split("\t") for line in (FOLDER / f"{file}.txt").read_text(encoding="utf-8").splitlines()]
    return tuple((line[0], line[1]) for line in lines if line[0][0] != "#" and (mark is None or mark in line[2:]))
