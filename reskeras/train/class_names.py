"""The classes of the data, and the classes of the model that is trained on them, matched by their names."""
from __future__ import annotations

from typing import Any

import keras
import numpy as np

from ..errors import list_names
from ..images.labels import find_classes, get_label_set, list_label_sets
from ..model_metadata import get_metadata
from .source import DataSource

ADVICE = ("to keep its classifier, give the model after reskeras.set_metadata(model, labels=[...]) with the "
          "names that the data have, in the order of the model's scores")


def find_class_order(model: keras.Model, images: DataSource) -> np.ndarray | None:
    """For each class of the data, finds the output of the model that has its name.

    Args:
        model: a classifier with as many outputs as the data have classes.
        images: the data.

    Returns:
        The index of the output for each class; the classes in their order if the data or the model have no
        names.  None if the model has other classes than the data.
    """
    metadata = get_metadata(model)
    known = metadata.get_classes(model.output_shape[-1])
    in_order = np.arange(len(known))
    if not images.classes or not metadata.labels:
        return in_order
    if images.classes == tuple(name for _, name in known):
        return in_order     # also if several classes have the same name
    try:
        order = np.array(find_classes(images.classes, known))
    except ValueError:
        return None
    return order if np.array_equal(np.sort(order), in_order) else None


def describe_other_classes(model: keras.Model, images: DataSource) -> str:
    """The beginning of a sentence that says which classes the model has, and which others the data."""
    known = [name for _, name in get_metadata(model).get_classes(model.output_shape[-1])]
    others = [name for name in images.classes if name not in set(known)] or images.classes
    return (f"{model.name} has the classes {list_names(known, 3)}, but {images.name} has "
            f"{list_names(others, 3)}")


def find_label_set(classes: tuple[str, ...]) -> Any:
    """The name of the label set that has these classes, or the classes."""
    for name in list_label_sets():
        labels = get_label_set(name)
        # other sets have numbers there
        synsets = tuple(synset for synset, _ in labels if not synset.isdigit())
        if len(labels) == len(classes) and classes in (synsets, tuple(label for _, label in labels)):
            return name
    return classes
