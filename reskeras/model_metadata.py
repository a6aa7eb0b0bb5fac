"""What a model knows of its images and classes: where it is kept, read, written and used.

A net that `reskeras.create` builds with published weights is a `ModelWithMetadata`: it knows how its images are
prepared and what its classes are called, and a saved file keeps both.  `get_metadata` also finds this of a model
that was built around such a net.
"""
from __future__ import annotations

import os
import pathlib
import re
from dataclasses import dataclass, replace
from typing import Any, Iterator, Sequence

import keras
import numpy as np

from ._keras_private import get_functional_module
from .errors import ArgumentError
from .graph.graph import high_recursion_limit
from .images.labels import decode_scores, get_classes, list_label_sets
from .images.preprocessing import Preprocessing
from .weights.table import Checkpoint, get_weights

Labels = str | tuple[str, ...]      # the name of a label set, or the names of the classes
EXAMPLE = "'resnet50v1_5.a1_in1k'"

# The names in files: in a `.keras` file's config, in the report of an export and inside a .tflite the metadata have this
# key, and their fields (left) the keys on the right.
KEY = "memory"
FIELD_KEYS = {"weights": "weights", "preprocessing": "preprocessing", "labels": "labels",
              "includes_preprocessing": "scales"}

# What a layer before the net does to pixels, by class name: also operations, which `preprocess_input` leaves in a graph
SCALING = re.compile("Rescaling|Normalization|Multiply|Add|Subtract|Divide|TrueDivide")
HARMLESS = re.compile(r"InputLayer|Resizing|CenterCrop|ResizeAndCrop|ReverseChannels|GetItem|Cast|Random\w+|RandAugment|AugMix")


@dataclass(frozen=True)
class ModelMetadata:
    """What cannot be read from a model's layers.

    Args:
        weights: the name of the checkpoint that the model began with, such as "resnet50v1_5.a1_in1k".
        preprocessing: how images are prepared for the model's input; without the scaling where the model does that.
        labels: the name of a label set, such as "imagenet-1k", or the names of the classes in order.
        includes_preprocessing: whether the model takes pixels in 0..255 and scales them itself.
    """

    weights: str = ""
    preprocessing: Preprocessing | None = None
    labels: Labels = ()
    includes_preprocessing: bool = False

    def get_config(self) -> dict[str, Any]:
        """The metadata as a file keeps them, see `FIELD_KEYS`."""
        values = {**vars(self), "preprocessing": self.preprocessing and self.preprocessing.get_config()}
        return {key: values[field] for field, key in FIELD_KEYS.items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ModelMetadata:
        """The inverse of `get_config`; keys that a later version may have added are ignored."""
        values = {field: config[key] for field, key in FIELD_KEYS.items() if key in config}
        if saved := values.get("preprocessing"):
            values["preprocessing"] = saved = Preprocessing.from_config(saved)
        if not isinstance(labels := values.get("labels", ()), str):
            values["labels"] = tuple(labels)
        values.setdefault("includes_preprocessing", bool(saved) and saved.pixels == "raw")
        return cls(**values)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, include_preprocessing: bool = False,
                        include_labels: bool = True) -> ModelMetadata:
        """The metadata of a net with a checkpoint's weights.

        Args:
            checkpoint: a published checkpoint.
            include_preprocessing: whether the net was built with include_preprocessing=True.
            include_labels: whether the net's classes are the checkpoint's.
        """
        metadata = cls(checkpoint.name, checkpoint_preprocessing(checkpoint), checkpoint.labels)
        return metadata._around(include_preprocessing, include_labels)

    def _around(self, scales: bool, keeps_classes: bool) -> ModelMetadata:
        """Of a model around the net: whether it scales pixels before the net, and whether its classes are the net's."""
        preprocessing = self.preprocessing.without_scaling() if self.preprocessing and scales else self.preprocessing
        return replace(self, preprocessing=preprocessing, labels=self.labels if keeps_classes else (),
                       includes_preprocessing=self.includes_preprocessing or scales)

    def override(self, preprocessing: Any = None, labels: Any = None) -> ModelMetadata:
        """These metadata with other preprocessing or labels, where they are given.

        Args:
            preprocessing: as in `set_metadata`.
            labels: as in `set_metadata`.
        Returns: the metadata, changed; `self` stays as it is.
        Raises:
            ArgumentError: for a model as `preprocessing` that scales inside and does not say how.
        """
        metadata = self
        if preprocessing is not None:
            outside = _preprocessing_of(preprocessing, self.includes_preprocessing)
            metadata = replace(metadata, preprocessing=outside.without_scaling() if self.includes_preprocessing else outside)
        if labels is not None:
            metadata = replace(metadata, labels=_read_labels(labels))
        return metadata

    def get_preprocessing(self, shape: tuple[int | None, ...], name: str, test: bool = False) -> Preprocessing:
        """The function from images to what the model takes, at the model's own size.

        Args:
            shape: (height, width, channels) of the model's images; None is any size.
            name: of the model, for an error.
            test: whether to resize and crop as for the published accuracy.
        Raises:
            ArgumentError: where the preprocessing is not known.
        """
        if self.preprocessing is None:
            raise ArgumentError("preprocessing", None, f"the checkpoint that the model was trained like, such as {EXAMPLE}",
                                hint=f"{name} does not say how its images are prepared, and a wrong guess would not show")
        return self.preprocessing.for_input_shape(shape, test)

    def get_classes(self, number: int) -> tuple[tuple[str, str], ...]:
        """(synset or index, name) of each of the `number` classes; the indices for both where no names are known.

        Raises:
            ValueError: for names of another number.
        """
        return get_classes(self.labels or [str(i) for i in range(number)], number)


class ModelWithMetadata(keras.Model):
    """A functional model with `metadata`, which may be None; otherwise a keras.Model like any other."""

    extra_config_keys = (KEY,)      # what `Graph.build` gives to a model that it makes again

    def __init__(self, *args: Any, metadata: ModelMetadata | None = None, **kwargs: Any):
        saved = kwargs.pop(KEY, None)       # Keras gives a saved config's keys as arguments
        super().__init__(*args, **kwargs)
        self.metadata = metadata if saved is None else ModelMetadata.from_config(saved)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return config if self.metadata is None else {**config, KEY: self.metadata.get_config()}

    def __reduce__(self):       # Keras would look the class up by its name, which is another class's, see below
        function, arguments = super().__reduce__()
        return _unpickle, (function.__name__, arguments)


def _unpickle(function: str, arguments: tuple) -> ModelWithMetadata:
    return getattr(ModelWithMetadata, function)(*arguments)


# In a file the class is written with its registered name and with Keras' own class name and module.  So Keras without this
# package opens a net that is made of Keras' layers as a functional model without metadata; and tools that go by the class
# name know what it is.
ModelWithMetadata.__name__, ModelWithMetadata.__module__ = "Functional", get_functional_module()
keras.saving.register_keras_serializable("reskeras", "Net")(ModelWithMetadata)


def set_metadata(model: keras.Model, preprocessing: Any = None, labels: Any = None) -> ModelWithMetadata:
    """Tells a model how its images are prepared and what its classes are called; `predict`, `export`, ... use both.

    Args:
        model: a functional model.  One that `reskeras` built is changed in place; of another model a new one with the
            same layers is made, which must be compiled again.
        preprocessing: a checkpoint or its name, a `Preprocessing`, or a model that has metadata; scaling is left out
            where `model` scales pixels itself.  What the model knows already, by default.
        labels: a label set such as "cifar10", the names of the classes in order, or a text file with one name a line.
            What the model knows already, by default.

    Returns:
        A functional model with the attribute `metadata`, which a saved file keeps.

    Raises:
        ArgumentError: for a model of several inputs or outputs, or a model as `preprocessing` that does not say it.
        ValueError: for labels of another number than the model's classes.

    Example:
        >>> model = reskeras.set_metadata(model, preprocessing="resnet50v1_5.a1_in1k", labels=["cat", "dog"])
    """
    if len(getattr(model, "inputs", None) or ()) != 1 or len(model.outputs) != 1:
        raise ArgumentError("model", model.name, "a functional model of one input and one output")
    metadata = get_metadata(model).override(preprocessing, labels)
    if labels is not None:
        metadata.get_classes(model.output_shape[-1])

    if not isinstance(model, ModelWithMetadata):
        with high_recursion_limit():
            model = ModelWithMetadata(model.inputs, model.outputs, name=model.name)
    model.metadata = metadata
    return model


def get_metadata(model: keras.Model) -> ModelMetadata:
    """What a model knows of its images and classes, also a model that was built around a net of this package.

    Args:
        model: any Keras model.

    Returns:
        The model's own metadata, or those of the first net in it that has some, if only layers of known effect (resizing,
        scaling, random augmentation) stand before that net.  The labels are left out if a layer with weights comes after
        it.  Where nothing is known, the fields are empty.

    Example:
        >>> reskeras.get_metadata(reskeras.create("cifar_resnet20.cifar10")).labels
        'cifar10'
    """
    own, scales = find_metadata(model), False
    layers = _iterate_layers(model)
    for layer in layers:
        kind, inner = type(layer).__name__, find_metadata(layer)
        if inner is not None:
            inner_scales = get_metadata(layer).includes_preprocessing
            if own is None:
                own = inner._around(scales, not any(getattr(later, "weights", ()) for later in layers))
            scales = scales or inner_scales
            break
        if SCALING.fullmatch(kind):
            scales = True
        elif not HARMLESS.fullmatch(kind):
            break
    metadata = own or ModelMetadata()
    return replace(metadata, includes_preprocessing=scales or metadata.includes_preprocessing)


def find_metadata(layer: Any) -> ModelMetadata | None:
    """The metadata that a model itself keeps; None for any other model or layer."""
    return layer.metadata if isinstance(layer, ModelWithMetadata) else None


def _iterate_layers(model: keras.Model) -> Iterator[Any]:
    """The layers and operations in order, those of models within it too, except of models with metadata."""
    for layer in getattr(model, "operations", model.layers):
        if isinstance(layer, keras.Model) and find_metadata(layer) is None:
            yield from _iterate_layers(layer)
        else:
            yield layer


def get_class_names(model: keras.Model) -> tuple[str, ...]:
    """The names of a model's classes, () where they are not known."""
    metadata = get_metadata(model)
    return tuple(name for _, name in metadata.get_classes(model.output_shape[-1])) if metadata.labels else ()


def get_preprocessing(model: Checkpoint | str | keras.Model | Preprocessing, test: bool = False) -> Preprocessing:
    """The function from images (files, bytes, pixels) to what a model's weights expect.

    Args:
        model: a model with metadata, a checkpoint, or its name ("resnet50v1_5.a1_in1k").
        test: whether to resize and crop as for the published accuracy, which may be of a larger image.

    Returns:
        A `Preprocessing`: call it on images or within tf.data, or ask it for `as_layers()`.

    Raises:
        ValueError: where the model does not know it, or takes images of another size than test=True asks for.
        TypeError: for anything else than a model, a checkpoint or a name.

    Example:
        >>> model = reskeras.ResNet50D()
        >>> scores = model.predict(reskeras.get_preprocessing(model)(["cat.jpg"]))
    """
    if isinstance(model, keras.Model):
        preprocessing = get_metadata(model).preprocessing
        if preprocessing is None:
            raise ValueError(f"{model.name} has no metadata of its preprocessing, and it cannot be guessed; give the name of a "
                             f"checkpoint, as in reskeras.get_preprocessing({EXAMPLE}), or call reskeras.set_metadata(model, ...)")
        return preprocessing.for_input_shape(tuple(model.input_shape[1:]), test)

    if isinstance(model, str):
        model = get_weights(model)
    if isinstance(model, Checkpoint):
        model = checkpoint_preprocessing(model)
    if not isinstance(model, Preprocessing):
        raise TypeError(f"model={model!r}: expected a model, a checkpoint, or the name of one such as {EXAMPLE}")
    return model.with_test_size() if test else model


def checkpoint_preprocessing(checkpoint: Checkpoint) -> Preprocessing:
    """How images are prepared for a checkpoint's weights: its size, colours, interpolation and crop."""
    c = checkpoint
    return Preprocessing((c.input_size,) * 2, c.pixels, c.mean, c.std, c.interpolation, c.crop_pct, c.crop_mode,
                         (c.test_input_size,) * 2, c.test_crop_pct)


def preprocess_input(x: Any, model: Checkpoint | str | keras.Model | Preprocessing) -> Any:
    """Scales pixels as a model's weights expect, like the functions of that name in `keras.applications`.

    The images must have the model's size already; `get_preprocessing` also reads files and resizes.

    Args:
        x: an RGB image (height, width, 3) or a batch of them, pixels in 0..255: an array or a tensor.  Grey, with one
            channel, for a model of grey images.
        model: as in `get_preprocessing`.

    Returns:
        The scaled pixels in float32, of the same kind and shape as `x`; unscaled for a model that scales them itself.

    Raises:
        ArgumentError: for another number of channels.
        ValueError: where the model does not know its preprocessing.

    Example:
        >>> scores = model.predict(reskeras.preprocess_input(images, model))
    """
    preprocessing = get_preprocessing(model)
    channels = len(preprocessing.mean)
    x = np.asarray(x, "float32") if isinstance(x, (np.ndarray, list)) else keras.ops.cast(x, "float32")
    if len(x.shape) not in (3, 4) or x.shape[-1] != channels:
        raise ValueError(f"x has the shape {tuple(x.shape)}: expected (height, width, {channels}) or a batch of that")
    return preprocessing.normalize(x)


def decode_predictions(p: Any, top: int = 5, labels: Any = None) -> list[list[tuple[str, str, float]]]:
    """The likeliest classes of each sample, like the functions of that name in `keras.applications`.

    Args:
        p: scores (samples, classes), as a classifier's `predict` gives them.
        top: how many classes to give for each sample.
        labels: what the classes are called: a label set ("imagenet-1k", "imagenet-12k", "imagenet-21k", "cifar10",
            "cifar100", "digits"), a list of names in the order of the classes, a checkpoint, or a model with metadata.
            May be left out for ImageNet's 1000 (or 1001, with a background class before them), 11821 and 21843 classes.

    Returns:
        For each sample a list of (synset or index, name, score), the likeliest first.

    Raises:
        ValueError: for scores of another shape, labels of another number, or no labels where the number is ambiguous.

    Example:
        >>> reskeras.decode_predictions(model.predict(images), top=1, labels=model)
        [[('n02123045', 'tabby', 0.83)]]
    """
    if labels is not None and not isinstance(labels, (str, list, tuple, np.ndarray)):
        labels = _labels_of(labels)
    return decode_scores(p, top, labels)


def _labels_of(owner: Any) -> str | Sequence[str]:
    """The labels of a checkpoint, or of a model with metadata.  Raises: ValueError where it has none."""
    metadata = get_metadata(owner) if isinstance(owner, keras.Model) else owner
    labels = metadata.labels if isinstance(metadata, (ModelMetadata, Checkpoint)) else ()
    if not labels:
        raise ValueError(f"{getattr(owner, 'name', owner)} does not know the names of its classes; give labels=[...] in the "
                         f"order of its classes, or one of {', '.join(list_label_sets())}")
    return labels


def _preprocessing_of(source: Any, for_scaling_model: bool) -> Preprocessing:
    """The preprocessing of a checkpoint, a name or a model, with both of its sizes.

    Args:
        source: where it is taken from.
        for_scaling_model: whether it is for a model that scales pixels itself.
    Raises: ArgumentError where `source` scales inside and so does not say how.
    """
    if not isinstance(source, keras.Model):
        return get_preprocessing(source)
    metadata = get_metadata(source)
    if metadata.includes_preprocessing and not for_scaling_model:
        if not metadata.weights:
            raise ArgumentError("preprocessing", source.name, f"the checkpoint that it was trained like, such as {EXAMPLE}",
                                hint="this model scales its pixels inside and does not say how")
        return get_preprocessing(get_weights(metadata.weights))
    return metadata.preprocessing or get_preprocessing(source)


def _read_labels(labels: Any) -> Labels:
    """A label set's name as it is, else the names of the classes; those in a text file, where `labels` is its path."""
    if isinstance(labels, (str, os.PathLike)) and labels not in list_label_sets() and pathlib.Path(labels).is_file():
        return tuple(pathlib.Path(labels).read_text(encoding="utf-8").splitlines())
    return labels if isinstance(labels, str) else tuple(str(label) for label in labels)
