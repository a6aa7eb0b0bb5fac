"""What a model knows about its images and classes: `ModelMetadata`, and how it is found in a model.

A net that `reskeras.create` builds with published weights is a `ModelWithMetadata`: it knows how its images
are prepared and what its classes are called, and a saved file keeps both.  `get_metadata` also finds them for
a model that contains such a net.  Keras is imported only to look at a model: exported files have metadata
too, and are used on machines without Keras.
"""
from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Iterator

from .errors import ArgumentError, check_choice
from .file_reading import read_text
from .images.labels import get_classes, list_label_sets
from .images.preprocessing import Preprocessing
from .json_reader import to_dataclass
from .weights.checkpoint import Checkpoint
from .weights.table import find_weights

if TYPE_CHECKING:
    import keras

Labels = str | tuple[str, ...]      # the name of a label set, or the names of the classes
EXAMPLE = "'resnet50v1_5.a1_in1k'"

# Names in files (.keras, .tflite, export report): METADATA_KEY is the key of the metadata; _FIELD_KEYS has
# for each field (left) its key (right).
METADATA_KEY = "memory"
_FIELD_KEYS = {"weights": "weights", "preprocessing": "preprocessing", "labels": "labels",
               "includes_preprocessing": "scales", "task": "task"}
TASKS = ("", "binary", "multilabel", "regression")

# Layers and operations before a net, by class name: those that scale pixels, those that do not
_SCALING = re.compile("Rescaling|Normalization|Multiply|Add|Subtract|Divide|TrueDivide")
_NOT_SCALING = re.compile(r"InputLayer|Resizing|CenterCrop|ResizeAndCrop|ReverseChannels|GetItem|Cast|"
                          r"Random\w+|RandAugment|AugMix")


@dataclass(frozen=True)
class ModelMetadata:
    """What cannot be read from a model's layers.

    Args:
        weights: the name of the checkpoint that the model began with, such as "resnet50v1_5.a1_in1k".
        preprocessing: how images are prepared; without scaling if the model scales pixels itself.
        labels: the name of a label set, such as "imagenet-1k", or the names of the classes in order.
        includes_preprocessing: whether the model takes pixels in 0..255 and scales them itself.
        task: what the outputs are: "" for the scores of classes, of which an image has one; "binary" for the
            score of the second of two classes; "multilabel" for the scores of labels, of which an image may
            have several; "regression" for numbers, whose names are the labels.
    """

    weights: str = ""
    preprocessing: Preprocessing | None = None
    labels: Labels = ()
    includes_preprocessing: bool = False
    task: str = ""

    def __post_init__(self) -> None:
        check_choice("task", self.task, TASKS)

    def get_config(self) -> dict[str, Any]:
        """The metadata as a file has them, see `_FIELD_KEYS`."""
        values = {**vars(self), "preprocessing": self.preprocessing and self.preprocessing.get_config()}
        config = {key: values[field] for field, key in _FIELD_KEYS.items()}
        if not self.task:       # as earlier versions wrote it
            del config[_FIELD_KEYS["task"]]
        return config

    @classmethod
    def from_config(cls, config: Any, source: str = METADATA_KEY) -> ModelMetadata:
        """The inverse of `get_config`; keys of later versions are ignored.

        Raises: ValueError for wrong types and values; it begins with `source`.
        """
        metadata = to_dataclass(cls, config, source, _FIELD_KEYS)
        if metadata.preprocessing and _FIELD_KEYS["includes_preprocessing"] not in config:
            metadata = replace(metadata, includes_preprocessing=metadata.preprocessing.pixels == "raw")
        return metadata

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, include_preprocessing: bool = False,
                        include_labels: bool = True) -> ModelMetadata:
        """The metadata of a net with a checkpoint's weights.

        Args:
            checkpoint: a published checkpoint.
            include_preprocessing: whether the net was built with include_preprocessing=True.
            include_labels: whether the net's classes are the checkpoint's.
        """
        metadata = cls(checkpoint.name, resolve_preprocessing(checkpoint), checkpoint.labels)
        return metadata._adapt(include_preprocessing, include_labels)

    def _adapt(self, scales_pixels: bool, keeps_classes: bool) -> ModelMetadata:
        """The metadata of a model made from this net, which may scale pixels first or change the classes."""
        preprocessing = self.preprocessing
        if preprocessing and scales_pixels:
            preprocessing = preprocessing.without_scaling()
        return replace(self, preprocessing=preprocessing, labels=self.labels if keeps_classes else (),
                       task=self.task if keeps_classes else "",
                       includes_preprocessing=self.includes_preprocessing or scales_pixels)

    def override(self, preprocessing: Any = None, labels: Any = None,
                 task: str | None = None) -> ModelMetadata:
        """Makes a copy of the metadata with new preprocessing, labels or task, if given.

        Args:
            preprocessing: as in `set_metadata`; raises the same errors.
            labels: as in `set_metadata`.
            task: as in `set_metadata`.
        """
        changes: dict[str, Any] = {}
        if preprocessing is not None:
            changes["preprocessing"] = _find_preprocessing(preprocessing, self.includes_preprocessing)
        if labels is not None:
            changes["labels"] = _read_labels(labels)
        if task is not None:
            check_choice("task", task, ("multiclass", *TASKS[1:]))
            changes["task"] = "" if task == "multiclass" else task
        return replace(self, **changes)

    def get_preprocessing(self, shape: tuple[int | None, ...], name: str,
                          test: bool = False) -> Preprocessing:
        """The function from images to what the model takes, at the model's own size.

        Args:
            shape: (height, width, channels) of the model's images; None is any size.
            name: the model's name, for an error.
            test: whether to resize and crop as in the test of the published accuracy.
        Raises:
            ArgumentError: if the preprocessing is not known.
        """
        if self.preprocessing is None:
            raise ArgumentError(
                "preprocessing", None,
                f"a checkpoint whose preprocessing this model needs, such as {EXAMPLE}",
                hint=f"{name} does not say how its images are prepared, and a wrong guess would go "
                     "unnoticed; if it is keras.Model(net.inputs, net.outputs), give net as `preprocessing`")
        return self.preprocessing.for_input_shape(shape, test)

    def get_classes(self, number: int) -> tuple[tuple[str, str], ...]:
        """Lists (synset or index, name) of the `number` classes; without known names, the index twice.

        The one output of a binary classifier has two classes.

        Raises:
            ValueError: if the number of names is not `number`.
        """
        number = 2 if self.task == "binary" and number == 1 else number
        return get_classes(self.labels or [str(i) for i in range(number)], number)


def get_metadata(model: keras.Model) -> ModelMetadata:
    """Finds what a model, or a net inside it, knows about its images and classes.

    Args:
        model: any Keras model.

    Returns:
        The model's own metadata, or else those of the first net in it that has any, if only layers of known
        effect (resizing, scaling, random augmentation) come before that net.  The labels are left out if a
        layer with weights comes after it.  If nothing is known, the fields are empty.

    Example:
        >>> reskeras.get_metadata(reskeras.create("cifar_resnet20.cifar10")).labels
        'cifar10'
    """
    metadata, scales_pixels = find_metadata(model), False
    layers = _iterate_layers(model)
    for layer in layers:
        inner, class_name = find_metadata(layer), type(layer).__name__
        if inner is not None:
            inner_scales = get_metadata(layer).includes_preprocessing
            if metadata is None:
                keeps_classes = not any(getattr(later, "weights", ()) for later in layers)
                metadata = inner._adapt(scales_pixels, keeps_classes)
            scales_pixels = scales_pixels or inner_scales
            break
        if _SCALING.fullmatch(class_name):
            scales_pixels = True
        elif not _NOT_SCALING.fullmatch(class_name):
            break

    metadata = metadata or ModelMetadata()
    return replace(metadata, includes_preprocessing=scales_pixels or metadata.includes_preprocessing)


def find_metadata(layer: Any) -> ModelMetadata | None:
    """The metadata that a model itself has; None for any other model or layer."""
    metadata = getattr(layer, "metadata", None)
    return metadata if isinstance(metadata, ModelMetadata) else None


def _iterate_layers(model: keras.Model) -> Iterator[Any]:
    """The layers and operations in order, including those of inner models without metadata."""
    import keras
    for layer in getattr(model, "operations", model.layers):
        if isinstance(layer, keras.Model) and find_metadata(layer) is None:
            yield from _iterate_layers(layer)
        else:
            yield layer


def get_class_names(model: keras.Model) -> tuple[str, ...]:
    """The names of a model's classes, () if they are not known."""
    metadata = get_metadata(model)
    return tuple(name for _, name in metadata.get_classes(model.output_shape[-1])) if metadata.labels else ()


def _read_labels(labels: Any) -> Labels:
    """Returns a label set's name unchanged, or the class names (of a text file if `labels` is its path)."""
    if isinstance(labels, (str, os.PathLike)) and labels not in list_label_sets():
        if os.path.isfile(labels) or not isinstance(labels, str):
            return tuple(read_text(labels).splitlines())
    return labels if isinstance(labels, str) else tuple(str(label) for label in labels)


def resolve_preprocessing(source: Any, argument: str = "preprocessing") -> Preprocessing:
    """The preprocessing of a checkpoint (or its name); a `Preprocessing` is returned unchanged."""
    if isinstance(source, Preprocessing):
        return source
    checkpoint = find_weights(source, argument) if isinstance(source, str) else source
    if not isinstance(checkpoint, Checkpoint):
        raise TypeError(f"{source!r}: expected a model, a checkpoint, or its name, such as {EXAMPLE}")
    return Preprocessing((checkpoint.input_size,) * 2, checkpoint.pixels, checkpoint.mean, checkpoint.std,
                         checkpoint.interpolation, checkpoint.crop_pct, checkpoint.crop_mode,
                         (checkpoint.test_input_size,) * 2, checkpoint.test_crop_pct)


def _find_preprocessing(source: Any, without_scaling: bool) -> Preprocessing:
    """The preprocessing of a checkpoint, a name or a model, with its input size and test size.

    Raises:
        ArgumentError: if the model has no preprocessing, or scales pixels itself in an unknown way.
    """
    if not _is_model(source):
        outside = resolve_preprocessing(source)
        return outside.without_scaling() if without_scaling else outside

    metadata = get_metadata(source)
    preprocessing, reason = metadata.preprocessing, "this model has no preprocessing"
    if metadata.includes_preprocessing and not without_scaling:
        preprocessing = resolve_preprocessing(metadata.weights) if metadata.weights else None
        reason = "this model scales its pixels inside and does not say how"
    if preprocessing is None:
        raise ArgumentError("preprocessing", source.name,
                            f"a checkpoint with the preprocessing of its training, such as {EXAMPLE}",
                            hint=reason)
    return preprocessing.without_scaling() if without_scaling else preprocessing


def _is_model(source: Any) -> bool:
    if isinstance(source, (str, Checkpoint, Preprocessing)):
        return False
    import keras
    return isinstance(source, keras.Model)
