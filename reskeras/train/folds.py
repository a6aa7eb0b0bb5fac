"""Folds for cross-validation: each image is in the validation once."""
from __future__ import annotations

import numpy as np

from ..errors import ArgumentError, check_whole_number, make_printable
from .source import DataSource
from .training_data import select_images


def split_folds(images: DataSource, folds: int, seed: int) -> list[tuple[DataSource, DataSource]]:
    """Divides images into folds, each with the same share of each class.

    Args:
        images: files or arrays.
        folds: how many, at least 2.
        seed: the random seed of the division.

    Returns:
        (the images to train on, those to validate on) for each fold.

    Raises:
        ArgumentError: for a stream, and for a class, or all images, fewer than folds.
    """
    folds = check_whole_number("folds", folds, 2)
    if images.stream is not None:
        raise ArgumentError("data", images.name, "files or arrays, because a stream cannot be divided into "
                            "folds")
    if images.has_class_numbers:
        counts = np.bincount(images.labels)
        smallest = min(np.flatnonzero(counts), key=lambda c: counts[c])
        if counts[smallest] < folds:
            name = make_printable(repr(images.classes[smallest])) if images.classes else smallest
            raise ArgumentError("folds", folds, f"at most {counts[smallest]}, because class {name} of "
                                f"{images.name} has so many images")
        numbers = assign_stratified_folds(images.labels, folds, seed)
    elif len(images) < folds:
        raise ArgumentError("folds", folds, f"at most {len(images)}, the number of images of {images.name}")
    else:
        numbers = assign_folds(len(images), folds, seed)
    return [(select_images(images, numbers != k), select_images(images, numbers == k)) for k in range(folds)]


def assign_stratified_folds(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The number of the fold in whose validation each image is, with the same share of each class.

    It is that of scikit-learn's StratifiedKFold(folds, shuffle=True, random_state=seed).

    Args:
        labels: the number of the class of each image, (N,).
    """
    rng = np.random.RandomState(seed)
    classes, first = np.unique(labels, return_index=True)
    classes = classes[np.argsort(first)]            # in the order in which they occur
    in_turn = np.repeat(np.arange(len(classes)), [np.sum(labels == c) for c in classes])
    numbers = np.empty(len(labels), int)
    for i, c in enumerate(classes):
        # dealt like cards: image by image of the sorted classes to one fold after the other
        sizes = [np.sum(in_turn[k::folds] == i) for k in range(folds)]
        own = np.repeat(np.arange(folds), sizes)
        rng.shuffle(own)
        numbers[labels == c] = own
    return numbers


def assign_folds(images: int, folds: int, seed: int) -> np.ndarray:
    """As `assign_stratified_folds` without classes: scikit-learn's KFold, likewise shuffled."""
    order = np.arange(images)
    np.random.RandomState(seed).shuffle(order)
    numbers = np.empty(images, int)
    for k, part in enumerate(np.array_split(order, folds)):
        numbers[part] = k
    return numbers
