"""Class names: the bundled label sets, and scores decoded with them."""
from __future__ import annotations

import functools
import pathlib
from typing import Any

import numpy as np

_FOLDER = pathlib.Path(__file__).parent / "label_names"
ClassLabel = tuple[str, str]     # a WordNet synset or an index, and the name
_SUBSETS = {"imagenet-12k": ("imagenet-21k", "12k")}      # sets that are a marked part of another
_LABEL_SET_OF_SIZE = {1000: "imagenet-1k", 1001: "imagenet-1k", 11821: "imagenet-12k", 21843: "imagenet-21k"}    # nobody else's numbers


def decode_scores(p: Any, top: int = 5, labels: Any = None) -> list[list[tuple[str, str, float]]]:
    """The likeliest classes of each sample.

    Args:
        p: scores (samples, classes), as a classifier's `predict` gives them.
        top: how many classes to give for each sample.
        labels: a label set, or a list of names in the order of the classes.

    Returns:
        For each sample a list of (synset or index, name, score), the likeliest first.

    Raises:
        ValueError: for scores of another shape, labels of another number, or no labels where the number is ambiguous.
    """
    scores = np.asarray(p)
    if scores.ndim == 1:
        raise ValueError(f"p has the shape {scores.shape}: expected (samples, classes); for one sample give p[None]")
    if scores.ndim != 2 or not scores.shape[1]:
        raise ValueError(f"p has the shape {scores.shape}: expected (samples, classes), as a classifier gives them")
    if not isinstance(top, int) or isinstance(top, bool) or top < 1:
        raise ValueError(f"top={top!r}: expected a whole number of at least 1")
    classes = get_classes(labels, scores.shape[1])
    # ties in the order of the classes
    return [[(*classes[i], float(row[i])) for i in np.argsort(-row.astype("float64"), kind="stable")[:top]]
            for row in scores]   # unsigned bytes have no negative


def get_classes(labels: Any, number: int) -> tuple[ClassLabel, ...]:
    """The `number` classes that `labels` stands for.  Raises: ValueError where there are none, or others."""
    if labels is None:
        labels = _guess_label_set(number)
    if isinstance(labels, str):
        classes = get_label_set(labels)
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


def _guess_label_set(number: int) -> str:
    """The label set of that many classes, where that leaves no doubt."""
    if number in _LABEL_SET_OF_SIZE:
        return _LABEL_SET_OF_SIZE[number]
    near = [name for name in list_label_sets() if len(get_label_set(name)) == number]
    raise ValueError(f"{number} classes may be any; say which: labels=model, labels=[...] with {number} names"
                     + "".join(f", labels={name!r}" for name in near))


def list_label_sets() -> list[str]:
    return sorted([file.stem for file in _FOLDER.glob("*.txt")] + list(_SUBSETS))


@functools.cache
def get_label_set(name: str) -> tuple[ClassLabel, ...]:
    """The classes of a bundled label set, in order.  Raises: ValueError for another name."""
    if name not in list_label_sets():
        raise ValueError(f"labels={name!r}: its names do not come with the package; give labels=[...] in the order of the "
                         f"classes, or one of {', '.join(list_label_sets())}")
    file, mark = _SUBSETS.get(name, (name, None))
    lines = [line.split("\t") for line in (_FOLDER / f"{file}.txt").read_text(encoding="utf-8").splitlines()]
    return tuple((line[0], line[1]) for line in lines if line[0][0] != "#" and (mark is None or mark in line[2:]))
