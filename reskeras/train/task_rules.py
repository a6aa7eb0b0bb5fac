"""Which task labels and loss mean, and what of a recipe follows from it; contradictions are errors."""
from __future__ import annotations

import dataclasses
import re
from typing import Any, Collection

import numpy as np
import tensorflow as tf

from ..errors import ArgumentError
from .augment_ops import BATCH_OPERATIONS
from .keras_objects import describe_object, is_serialized
from .losses import DEFAULT_LOSSES, check_loss_values, find_loss_tasks
from .recipe import Recipe
from .source import DataSource
from .task import Task
from .training import Training

_WAYS_OUT = {
    "multiclass": "labels of one class: class numbers (N,), or probabilities (N, classes)",
    "binary": "labels of two classes: 0 or 1 for each image",
    "multilabel": "labels of 0 or 1 for each of several labels, (N, labels), or a table of labels",
    "regression": "labels that are numbers, (N,) or (N, numbers), as floats"}


def find_task(source: DataSource, training: Training, given: Collection[str] = (),
              outputs: int | None = None) -> str:
    """What is learned: the field `task` of a recipe, or what the labels and the loss say.

    Args:
        source: the training images.
        training: the recipe's training part.
        given: its fields that the caller has given.
        outputs: how many numbers the model returns, if it is built already.

    Returns:
        "multiclass", "binary", "multilabel" or "regression".

    Raises:
        ArgumentError: if labels, loss and task contradict each other, or do not say what is learned.
    """
    possible = find_loss_tasks(training.loss)
    is_given = "loss" in given or is_serialized(training.loss)
    kind = training.task
    if kind == "auto":
        kind = source.task or _derive(source, possible if is_given else (), outputs)
    elif source.task and source.task != kind and not (source.task == "multiclass" and kind == "binary"):
        raise ArgumentError("task", kind, f"{source.task!r}, which {source.name} is for")
    if is_given and kind not in possible:
        raise ArgumentError("loss", describe_object(training.loss), f"a loss for {kind!r}, which the labels "
                            f"of {source.name} are for, such as {DEFAULT_LOSSES[kind]!r}", hint=(
                                f"a loss for {' or '.join(possible)} needs {_WAYS_OUT[possible[0]]}"))
    check_labels(source, kind)
    return kind


def _derive(source: DataSource, possible: Collection[str], outputs: int | None) -> str:
    """The task of labels, among those that the loss is for, if one was given."""
    if source.has_class_numbers:
        if tuple(possible) == ("regression",):
            return "regression"
        return "binary" if outputs == 1 else "multiclass"
    if source.stream is not None:
        return _derive_of_stream(source, possible)
    y = source.labels
    if y.shape[1] == 1:
        return "binary" if "binary" in possible and "regression" not in possible else "regression"
    is_fraction = bool(((y >= 0) & (y <= 1)).all())
    has_one_class = bool((y >= 0).all()) and bool((abs(y.sum(1) - 1) < 1e-3).all())
    is_flags = bool(((y == 0) | (y == 1)).all())
    if "multilabel" in possible and "regression" not in possible and is_fraction:
        return "multilabel"
    if tuple(possible) == ("regression",):
        return "regression"
    if has_one_class and (is_flags or "multiclass" in possible):
        return "multiclass"
    return "multilabel" if is_flags else "regression"


def _derive_of_stream(source: DataSource, possible: Collection[str]) -> str:
    """The task of a stream, whose labels are not known before the training."""
    assert source.stream is not None
    if len(possible) == 1:
        return next(iter(possible))
    if source.label_count == 1:
        return "binary" if "binary" in possible and "regression" not in possible else "regression"
    if not source.stream().element_spec[1].dtype.is_floating or "multilabel" in possible:
        return "multilabel"
    raise ArgumentError("task", "auto", "'multiclass', 'multilabel' or 'regression', because the labels of "
                        f"{source.name} are {source.label_count} numbers each, which may be probabilities, "
                        "labels or values")


def check_labels(source: DataSource, kind: str) -> None:
    """Checks that the labels of a source are those of a task.

    Args:
        source: images.
        kind: the task.

    Raises:
        ArgumentError: if they are not.
    """
    y = source.labels
    if source.has_class_numbers:
        is_right = kind in ("multiclass", "binary") or kind == "regression" and all(
            name.isdecimal() for name in source.classes)
    elif source.stream is not None:
        is_right = kind != "binary" or source.label_count == 1
    elif kind == "multiclass":
        is_right = y.shape[1] > 1 and bool((y >= 0).all() and (abs(y.sum(1) - 1) < 1e-3).all())
    elif kind == "binary":
        is_right = y.shape[1] == 1 and bool(((y >= 0) & (y <= 1)).all())
    else:
        is_right = kind == "regression" or bool(((y >= 0) & (y <= 1)).all())
    if not is_right:
        raise ArgumentError("task", kind, f"{_WAYS_OUT[kind]}; those of {source.name} are "
                            f"{describe_labels(source)}")


def describe_labels(source: DataSource) -> str:
    """The labels of a source in a few words, for an error."""
    if source.has_class_numbers:
        return "class numbers" + (f" of {len(source.classes)} named classes" if source.classes else "")
    if source.stream is not None:
        return f"{source.label_count} numbers for each image"
    y = source.labels
    return (f"{y.shape[1]} numbers for each image, from {y.min():g} to {y.max():g}"
            + (f", {y.sum(1).min():g} to {y.sum(1).max():g} in all" if y.shape[1] > 1 else ""))


def convert_labels(source: DataSource, kind: str) -> DataSource:
    """The source with labels of a form that the task has: class numbers, if each image has one class.

    Args:
        source: images.
        kind: the task; the labels must be for it.
    """
    y = source.labels
    if kind == "regression" and source.has_class_numbers:
        if source.stream is None:
            # classes that are called 20, 21, ... are these numbers
            values = y if not source.classes else np.array([float(name) for name in source.classes])[y]
            return dataclasses.replace(source, labels=values.astype("float32")[:, None], classes=())
        stream = source.stream      # no stream that is read has names that are numbers
        return dataclasses.replace(source, known_parts=(), stream=lambda: stream().map(
            lambda image, label, *weight: (image, tf.cast(label, tf.float32)[None], *weight)))
    if source.stream is not None and not source.has_class_numbers:
        vectors = source.stream
        if vectors().element_spec[1].dtype.is_floating:
            return source
        return dataclasses.replace(source, known_parts=(), stream=lambda: vectors().map(
            lambda image, label, *weight: (image, tf.cast(label, tf.float32), *weight)))
    if source.has_class_numbers or kind in ("multilabel", "regression"):
        return source
    if not ((y == 0) | (y == 1)).all():         # probabilities
        return source
    numbers = y.argmax(1) if kind == "multiclass" else y[:, 0]
    return dataclasses.replace(source, labels=numbers.astype("int64"))


def fit_recipe_to_task(recipe: Recipe, kind: str, outputs: int) -> Recipe:
    """The recipe with the values that follow from the task.

    Args:
        recipe: the recipe, in which what the caller has given is called "given".
        kind: the task.
        outputs: how many numbers the net returns for an image.

    Raises:
        ArgumentError: for values that the caller has given and that contradict the task.
    """
    training, changes = recipe.training, {}

    def replace(field: str, value: Any, expected: str, hint: str = "") -> None:
        if getattr(training, field) == value:
            return
        if recipe.sources.get(field) == "given":
            raise ArgumentError(field, getattr(training, field), expected, hint=hint)
        changes[field] = value
    if kind not in find_loss_tasks(training.loss):
        replace("loss", DEFAULT_LOSSES[kind], f"a loss for {kind!r}, such as {DEFAULT_LOSSES[kind]!r}")
    has_own_smoothing = is_serialized(training.loss) and "loss" not in changes
    if kind == "regression" or has_own_smoothing:
        replace("label_smoothing", 0.0, "0 for numbers, which are no probabilities"
                if kind == "regression" else f"0 with loss={describe_object(training.loss)}",
                "" if kind == "regression" else "give label_smoothing to the loss itself")
    if kind != "multiclass" or has_own_smoothing:
        replace("target_threshold", 0.0, "0, because it is for one class per image and loss='binary'")
    if kind == "regression":
        replace("augmentation", _without_mixing(training.augmentation),
                "one that does not mix images, because their numbers cannot be mixed",
                "leave out " + " and ".join(BATCH_OPERATIONS))
    if kind != "multiclass":
        changes["task"] = kind
    check_loss_values(dataclasses.replace(training, **changes), outputs)
    if not changes:
        return recipe
    return recipe.override(changes).with_sources({**recipe.sources, **dict.fromkeys(
        changes, f"the task: {kind}")} | ({"task": "given"} if training.task == kind else {}))


def _without_mixing(augmentation: str) -> str:
    parts = augmentation.split("|")
    kept = [part for part in parts if re.sub(r"\W.*", "", part.strip(), flags=re.S) not in BATCH_OPERATIONS]
    return augmentation if len(kept) == len(parts) else "|".join(kept)


def count_labels(source: DataSource, task: Task) -> np.ndarray:
    """How many images each class has, int64 (classes,); a stream is read once.

    Raises:
        ArgumentError: if the images have several labels, or numbers.
    """
    if task.kind not in ("multiclass", "binary"):
        raise ArgumentError("class_weight", "balanced", "a weight for each label, because the images have "
                            "several, and not one class each", hint="give a dict")
    if source.stream is None:
        if source.has_class_numbers:
            return np.bincount(source.labels, minlength=task.classes)
        y = source.labels
        return (y if task.kind == "multiclass" else np.concatenate([1 - y, y], 1)).sum(0)
    if not source.has_class_numbers:
        raise ArgumentError("class_weight", "balanced", "a weight for each class, because the labels of "
                            f"{source.name} are probabilities", hint="give a dict")

    @tf.autograph.experimental.do_not_convert
    def count(counts: tf.Tensor, example: tuple[tf.Tensor, ...]) -> tf.Tensor:
        return counts + tf.one_hot(example[1], task.classes, dtype=tf.int64)
    counts: np.ndarray = source.stream().reduce(tf.zeros([task.classes], tf.int64), count).numpy()
    return counts
