"""Class names: the label sets that come with the package, and scores decoded with them.

A *label set* is a file in label_names/ with one class per line: its WordNet synset or index, and its name.
"""
from __future__ import annotations

import functools
import pathlib
import re
from typing import Any, Sequence

import numpy as np

from ..errors import ArgumentError, check_whole_number, nearest

ClassLabel = tuple[str, str]    # a WordNet synset or an index, and the name
_FOLDER = pathlib.Path(__file__).parent / "label_names"
_WORDNET_ID = re.compile(r"n\d{8}")
_SUBSETS = {"imagenet-12k": ("imagenet-21k", "12k")}    # part of another label set: its file and mark there
# numbers of classes that only one label set has
_LABEL_SETS_BY_SIZE = {1000: "imagenet-1k", 1001: "imagenet-1k", 11821: "imagenet-12k", 21843: "imagenet-21k"}


def decode_scores(preds: Any, top: int = 5, labels: Any = None) -> list[list[tuple[str, str, float]]]:
    """The likeliest classes of each sample.

    Args:
        preds: scores (samples, classes), as a classifier's `predict` gives them.
        top: how many classes to return for each sample.
        labels: as in `get_classes`.

    Returns:
        For each sample a list of (synset or index, name, score), the likeliest first.

    Raises:
        ArgumentError: for scores of a wrong shape, labels for a wrong number of classes, or no labels if the
            number of classes does not determine them.
    """
    scores = np.asarray(preds)
    if scores.ndim != 2 or not scores.shape[1]:
        raise ArgumentError("preds", scores, "scores (samples, classes), as a classifier gives them",
                            hint="for one sample give preds[None]" if scores.ndim == 1 else "")
    top = check_whole_number("top", top)

    classes = get_classes(labels, scores.shape[1])

    def decode_sample(sample: np.ndarray) -> list[tuple[str, str, float]]:
        negative = -sample.astype("float64")        # unsigned bytes have no negative
        order = np.argsort(negative, kind="stable")     # equal scores in the order of the classes
        return [(*classes[i], float(sample[i])) for i in order[:top]]

    return [decode_sample(sample) for sample in scores]


def get_classes(labels: str | Sequence[Any] | np.ndarray | None, number: int) -> tuple[ClassLabel, ...]:
    """The classes of a model with their names.

    Args:
        labels: a label set ("imagenet-1k", "cifar10" ...) or the names in the order of the classes.  None
            means the only label set with this number of classes.
        number: how many classes the model has.

    Returns:
        (synset or index, name) of each class.

    Raises:
        ArgumentError: for labels of a wrong number of classes, an unknown label set, or None if the number of
            classes does not determine the label set.
    """
    if labels is None:
        labels = _guess_label_set(number)
    if isinstance(labels, str):
        classes = get_label_set(labels)
        if number == len(classes) + 1:      # in TensorFlow's checkpoints class 0 is everything else
            classes = (("background", "background"), *classes)
    else:
        classes = tuple((str(i), str(label)) for i, label in enumerate(labels))
    if len(classes) != number:
        expected = f"one name for each of the {number} classes, not {len(classes)}"
        raise ArgumentError("labels", labels, expected, hint="give their names in order as `labels`")
    return classes


def find_classes(names: Sequence[str], classes: Sequence[ClassLabel]) -> list[int]:
    """Finds classes by their names or WordNet ids; the number of a class is not its name.

    A name that is spelled exactly so is preferred to one with other capitals, or "_" for a space.

    Args:
        names: the names or WordNet ids to find.
        classes: as `get_classes` returns them.

    Returns:
        The index of each of `names` in `classes`.

    Raises:
        ValueError: if a name is none of the classes, or the name of several.
    """
    exact: dict[str, set[int]] = {}
    similar: dict[str, set[int]] = {}
    for i, (identity, label) in enumerate(classes):
        for name in {identity, label} if _WORDNET_ID.fullmatch(identity) else {label}:
            exact.setdefault(name, set()).add(i)
            similar.setdefault(_normalize_name(name), set()).add(i)

    found = [exact.get(name) or similar.get(_normalize_name(name), set()) for name in names]
    missing = [name for name, indices in zip(names, found) if not indices]
    if missing:
        examples = ", ".join(label for _, label in classes[:3]) + (", ..." if len(classes) > 3 else "")
        hint = "" if missing[0].isdecimal() else nearest(missing[0], exact)
        raise ValueError(f"the net does not have {len(missing)} of its {len(names)} classes, such as "
                         f"{missing[0]!r}{hint}; the net's classes are called {examples}; if the data have "
                         "other names for them, give those in the order of the net's scores as `labels`")
    for name, indices in zip(names, found):
        if len(indices) > 1:
            has_ids = all(_WORDNET_ID.fullmatch(classes[i][0]) for i in indices)
            remedy = "use WordNet ids" if has_ids else "give each class its own name in `labels`"
            raise ValueError(f"{name!r} is the name of {len(indices)} of the net's classes; {remedy}")
    return [min(indices) for indices in found]


def _normalize_name(name: str) -> str:
    return name.lower().replace("_", " ").strip()


def _guess_label_set(number: int) -> str:
    """The label set of a number of classes, if no other one has this number."""
    if number in _LABEL_SETS_BY_SIZE:
        return _LABEL_SETS_BY_SIZE[number]
    candidates = [name for name in list_label_sets() if len(get_label_set(name)) == number]
    choices = [f"the {number} names in order", "a model that knows them", *map(repr, candidates)]
    raise ArgumentError("labels", None, f"what the {number} classes are called",
                        hint=f"give {', or '.join(choices)}")


def list_label_sets() -> list[str]:
    """The names of the label sets that come with the package."""
    return sorted([file.stem for file in _FOLDER.glob("*.txt")] + list(_SUBSETS))


@functools.cache
def get_label_set(name: str) -> tuple[ClassLabel, ...]:
    """The classes of a label set that comes with the package.

    Args:
        name: one of `list_label_sets()`.

    Returns:
        (synset or index, name) of each class, in order.

    Raises:
        ArgumentError: for an unknown name.
    """
    known = list_label_sets()
    if name not in known:
        raise ArgumentError("labels", name, f"one of {', '.join(known)}", known,
                            "other names do not come with the package; give the names in order")

    file, mark = _SUBSETS.get(name, (name, None))
    text = (_FOLDER / f"{file}.txt").read_text(encoding="utf-8")
    lines = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    return tuple((line[0], line[1]) for line in lines if mark is None or mark in line[2:])
