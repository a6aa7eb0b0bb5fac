"""Labels and weights of images as arrays, and the weights of classes."""
from __future__ import annotations

from typing import Any, Mapping, Sequence

import numpy as np

from ..errors import ArgumentError, list_names, nearest, to_whole_number

WEIGHT_COLUMNS = ("weight", "weights", "sample_weight", "sample_weights")    # of tables
ClassWeights = str | list[list[Any]] | None     # "balanced", or [class, weight] for some of the classes


def read_labels(name: str, labels: Any, count: int) -> np.ndarray:
    """Labels as a `DataSource` has them.

    Args:
        name: what the data are called in messages.
        labels: class numbers (N,) or (N, 1); numbers to predict, as floats, (N,) or (N, numbers); or 0 and 1
            for each of several labels, (N, labels).
        count: how many images there are.

    Returns:
        int64 (N,), or float32 (N, numbers).

    Raises:
        ValueError: for anything else, and for numbers that are not finite.
    """
    if isinstance(labels, Mapping):
        raise ValueError(f"{name}: labels of several outputs, {list_names(list(labels))}; fit trains nets of "
                         "one output: for others call compile and fit of Keras, on several devices with "
                         "reskeras.distributable(model)")
    labels = np.asarray(labels)
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    is_wide = labels.ndim == 2 and labels.shape[1] > 1
    expected = (f"a class number for each of the {count} images, or several numbers for each: 0 or 1 for "
                "each label, or floats to predict")
    form = f"labels of shape {labels.shape} and type {labels.dtype}"
    if labels.dtype == bool and not is_wide:
        labels = labels.astype("int64")
    if labels.dtype.kind in "UO" and labels.shape == (count,) and isinstance(labels[0] if count else 0, str):
        raise ValueError(f"{name}: {form}; expected {expected}; names, labels = np.unique(labels, "
                         "return_inverse=True) numbers the names")
    if labels.shape[:1] != (count,) or labels.ndim != 1 + is_wide or not count or labels.dtype.kind not in (
            "biuf" if is_wide else "iuf"):
        raise ValueError(f"{name}: {form}; expected {expected}")
    if labels.dtype.kind in "iu" and not is_wide:
        if labels.min() < 0 or labels.max() >= 2 ** 63:
            wrong = labels.min() if labels.min() < 0 else labels.max()
            raise ValueError(f"{name}: {form}, with the label {wrong}; expected {expected}")
        return labels.astype("int64")
    return _to_float32(name, labels if is_wide else labels[:, None], "labels")


def read_weights(name: str, weights: Any, count: int) -> np.ndarray:
    """Weights of images, float32 (N,).

    Args:
        name: what the data are called in messages.
        weights: (N,) or (N, 1).
        count: how many images there are.

    Raises:
        ValueError: for another shape, and for weights that are negative, not finite, or all 0.
    """
    weights = np.asarray(weights)
    weights = weights[:, 0] if weights.ndim == 2 and weights.shape[1] == 1 else weights
    if weights.shape != (count,) or weights.dtype.kind not in "biuf":
        raise ValueError(f"{name}: weights of shape {weights.shape} and type {weights.dtype}; expected one "
                         f"number for each of the {count} images")
    weights = _to_float32(name, weights, "weights")
    if weights.min() < 0:
        raise ValueError(f"{name}: the weight {weights.min():g} of image {weights.argmin()}: expected a "
                         "number of at least 0")
    if not weights.any():
        raise ValueError(f"{name}: all its weights are 0, so there would be nothing to learn")
    return weights


def _to_float32(name: str, values: np.ndarray, what: str) -> np.ndarray:
    """Converts numbers to float32.  Raises: ValueError for NaN, infinity, and what float32 cannot hold."""
    with np.errstate(over="ignore"):
        numbers = values.astype("float32")
    wrong = np.argwhere(~np.isfinite(numbers))
    if len(wrong):
        value = values[tuple(wrong[0])]
        raise ValueError(f"{name}: {what} of image {wrong[0][0]}: {value} is not a finite number that "
                         "float32 can hold")
    return numbers


def read_class_weight(value: Any) -> ClassWeights:
    """The argument `class_weight` of `fit` as a file can hold it.

    Args:
        value: None, "balanced", {class: weight}, or [[class, weight], ...]; a class by its name or number.

    Raises:
        ArgumentError: for anything else, and for weights that are negative or not finite.
    """
    expected = "'balanced', or a dict from the name or the number of a class to its weight, such as {0: 2.0}"
    if value is None or isinstance(value, str) and value == "balanced":
        return value
    pairs = list(value.items()) if isinstance(value, Mapping) else value
    is_list = isinstance(pairs, (list, tuple)) and all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs)
    if not is_list or not pairs:
        raise ArgumentError("class_weight", value, expected, ("balanced",))
    weights = []
    for key, weight in pairs:
        number = to_whole_number(key)
        is_number = isinstance(weight, (int, float, np.number)) and not isinstance(weight, bool)
        if not (isinstance(key, str) or number is not None and number >= 0):
            raise ArgumentError("class_weight", value, expected, hint=f"{key!r} is no class")
        if not is_number or not np.isfinite(weight) or weight < 0:
            raise ArgumentError("class_weight", value, f"a finite number of at least 0 for the class {key!r}")
        weights.append([key if isinstance(key, str) else number, float(weight)])
    return weights


def find_class_weights(value: ClassWeights, names: Sequence[str], counts: np.ndarray) -> np.ndarray | None:
    """The weight of each class.

    Args:
        value: as `read_class_weight` returns it.  "balanced" is scikit-learn's: the images, divided by the
            classes and by the images of the class.
        names: the names of the classes; () if they are not known.
        counts: how many images each class has.

    Returns:
        float32 (classes,); a class that is not named has the weight 1.

    Raises:
        ArgumentError: for a class that the data do not have or that is given twice, for weights that are all
            0, and for "balanced" if a class has no image.
    """
    if value is None:
        return None
    if isinstance(value, str):
        if not counts.all():
            empty = [names[int(i)] if names else str(i) for i in np.flatnonzero(counts == 0)]
            raise ArgumentError("class_weight", value, "weights for each class, because there is no image of "
                                f"{list_names(empty, 3)}", hint="give a dict")
        return (counts.sum() / (len(counts) * counts)).astype("float32")
    weights, seen = np.ones(len(counts), "float32"), set()
    for key, weight in value:
        # in the shell a number is a text too, but names come first
        number = names.index(key) if key in names else to_whole_number(
            int(key) if isinstance(key, str) and key.isdecimal() and len(key) < 10 else key)
        if number is None or not 0 <= number < len(counts):
            known = f", such as {list_names(list(names), 3)}" if names else ""
            raise ArgumentError("class_weight", key, f"a class of the data{known}, or its number, 0 to "
                                f"{len(counts) - 1}{nearest(key, names) if isinstance(key, str) else ''}")
        if number in seen:
            raise ArgumentError("class_weight", key, "each class once")
        seen.add(number)
        weights[number] = weight
    if not weights.any():
        raise ArgumentError("class_weight", value, "a weight above 0 for one class at least")
    return weights
