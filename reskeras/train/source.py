"""A source of images with labels."""
from __future__ import annotations

import functools
import math
import warnings
import zlib
from dataclasses import dataclass, field, replace
from typing import Any, Callable

import numpy as np
import tensorflow as tf

from ..errors import ArgumentError, list_names, to_whole_number
from .pixel_values import find_value_channels

# a dataset of unknown length is counted; this many images may be a mistake, and so many are one
_MANY_IMAGES, _TOO_MANY_IMAGES = 100_000, 100_000_000


@dataclass(frozen=True)
class SourcePart:
    """A part of a source: one file of a stream, or the whole source.

    Attributes:
        name: the name of the file or of the source.
        images: the number of images.
        lowest: the lowest label, from 0 on.
        highest: the highest label.
        values: the smallest and the largest number in labels of a stream that are several numbers.
    """

    name: str
    images: int
    lowest: int
    highest: int
    values: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class DataSource:
    """Images with labels: files, pixels in memory, or a stream of either in an order that never changes.

    Attributes:
        name: what it is called in messages.
        images: a list of paths, an array of pixels (N, height, width, channels), or `IndexedImages`; None for
            a stream.
        labels: the number of the class of each image, int64 (N,); or several numbers for each image, float32
            (N, numbers): 0 or 1 for each of several labels, or the values to predict.
        classes: the names or WordNet ids of the classes, or the names of these numbers; () if they are not
            known.
        stream: makes a dataset of (bytes or pixels, label), or of (bytes or pixels, label, weight).
        weights: how much each image counts in the loss, float32 (N,); None if all count the same, and for a
            stream.
        label_offset: the label of the first class in TFRecord files, which `stream` subtracts; None for
            other sources.
        known_parts: the `parts` of a stream, if they are known already.
        left_out: files of a folder that are not images by their names, or are in no class's folder.
        task: what the data say is learned of them, such as "multilabel"; "" if the labels alone say it.
        is_resized: whether the pixels were made fewer for training, so that nothing is evaluated on them.
    """

    name: str
    images: Any = None
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, "int64"))
    classes: tuple[str, ...] = ()
    stream: Callable[[], tf.data.Dataset] | None = None
    label_offset: int | None = None
    known_parts: tuple[SourcePart, ...] = ()
    left_out: tuple[str, ...] = ()
    weights: np.ndarray | None = None
    task: str = ""
    is_resized: bool = False

    def __len__(self) -> int:
        """How many images.  Raises: TypeError for a stream."""
        if self.stream is not None:
            raise TypeError(f"{self.name} is a stream: its length is known only when it has been read")
        return len(self.labels)

    @functools.cached_property
    def parts(self) -> tuple[SourcePart, ...]:
        """The number of images and the labels of each part; reads a stream once."""
        if self.known_parts:
            return self.known_parts
        if self.stream is not None:
            return (self._count_stream(),)
        lowest, highest = (self.labels.min(), self.labels.max()) if self.has_class_numbers else (0, 0)
        return (SourcePart(self.name, len(self.labels), int(lowest), int(highest)),)

    def _count_stream(self) -> SourcePart:
        """Reads a stream to its end.  Raises: ValueError if it seems to have none."""
        assert self.stream is not None
        images, lowest, highest, largest_weight = 0, math.inf, -math.inf, 0.0
        way_out = "if the dataset never ends, add .take(N) for epochs of N elements"
        # in Python, so that Ctrl-C ends it
        elements = self.stream().map(lambda _, label, *weight: (label, *weight)).batch(1024)
        for labels, *weights in elements.as_numpy_iterator():
            if images < _MANY_IMAGES <= images + len(labels):
                warnings.warn(f"{self.name} has more than {_MANY_IMAGES:,} images, all of which are counted "
                              f"now; {way_out}", stacklevel=2)
            for values, what in zip((labels, *weights), ("label", "weight")):
                self._check_values(values, what, images)
            images += len(labels)
            lowest, highest = min(lowest, labels.min()), max(highest, labels.max())
            largest_weight = max([largest_weight, *(each.max() for each in weights)])
            if images > _TOO_MANY_IMAGES:
                raise ValueError(f"{self.name} has not ended after {_TOO_MANY_IMAGES:,} images; {way_out}")
        if images and self.has_weights and not largest_weight:
            raise ValueError(f"{self.name}: all its weights are 0, so there would be nothing to learn")
        if self.has_class_numbers and images:
            return SourcePart(self.name, images, int(lowest), int(highest))
        return SourcePart(self.name, images, 0, 0, (float(lowest), float(highest)))

    def _check_values(self, values: np.ndarray, what: str, before: int) -> None:
        """Raises: ValueError for labels or weights of a stream that are not finite, and a weight below 0."""
        is_wrong = ~np.isfinite(values) | (what == "weight") & (values < 0)
        if is_wrong.any():
            i = int(np.argwhere(is_wrong)[0][0])
            raise ValueError(f"{self.name}: the {what} {values[is_wrong][0]} of image {before + i}: expected "
                             "a finite number" + (" of at least 0" if what == "weight" else ""))

    def check_labels(self, classes: int, owner: str = "", kind: str = "") -> None:
        """Checks that there are images, and that each label is one of the classes.

        Args:
            classes: the number of classes.
            owner: the name of the model or data that has these classes, for the error.
            kind: the task; labels of several numbers are from 0 to 1 if it is not "regression".

        Raises:
            ValueError: the message names the file and the label.
        """
        first = self.label_offset or 0
        for part in self.parts:
            if not part.images:
                raise ValueError(f"{part.name}: it has no images")
            for value in part.values:
                if not 0 <= value <= 1 and kind in ("binary", "multilabel", "multiclass"):
                    raise ValueError(f"{part.name}: a label is {value:g}; expected numbers from 0 to 1, "
                                     f"because the task is {kind!r}; task='regression' predicts numbers")
            wrong = [label for label in (part.lowest, part.highest) if not 0 <= label < classes]
            if wrong:
                hint = "" if self.label_offset is None else (
                    f"; with label_offset={first} the first class has the label {first}, so give "
                    f"label_offset={1 - first} or a different number of classes")
                raise ValueError(f"{part.name}: label {wrong[0] + first} is not one of {first} ... "
                                 f"{classes - 1 + first}" + (f", the classes of {owner}" if owner else "")
                                 + hint)

    def renumber_classes(self, order: np.ndarray) -> DataSource:
        """The same images with other numbers for their classes.

        Args:
            order: the new number of each class; each number occurs once.
        """
        if np.array_equal(order, np.arange(len(order))):
            return self
        parts, stream, has_numbers = self.parts, self.stream, self.has_class_numbers
        # the lowest and the highest label that a file can then have
        if stream is not None and has_numbers:
            ranges = [order[part.lowest:part.highest + 1] for part in parts]
            parts = tuple(replace(part, lowest=int(numbers.min()), highest=int(numbers.max()))
                          for part, numbers in zip(parts, ranges))
        places = np.argsort(order)

        def renumber(image: tf.Tensor, label: tf.Tensor, *weight: tf.Tensor) -> tuple[tf.Tensor, ...]:
            new = tf.gather(tf.constant(order, tf.int64), label) if has_numbers else tf.gather(label, places)
            return image, new, *weight
        return replace(
            self, labels=order[self.labels] if has_numbers else self.labels[:, places],
            known_parts=parts if stream is not None else (),
            classes=tuple(self.classes[i] for i in places) if self.classes else (),
            stream=None if stream is None else lambda: stream().map(renumber))

    def sum_labels(self) -> int | None:
        """A checksum of the labels in their order; None for a stream."""
        return None if self.stream is not None else zlib.crc32(np.ascontiguousarray(self.labels).data)

    @property
    def has_class_numbers(self) -> bool:
        """Whether each image has the number of its class, and not several numbers."""
        if self.stream is None:
            return self.labels.ndim == 1
        return self.stream().element_spec[1].shape.rank == 0

    @property
    def label_count(self) -> int:
        """How many numbers an image has as its label: 1 if it is the number of its class."""
        shape = self.labels.shape[1:] if self.stream is None else self.stream().element_spec[1].shape
        return int(shape[0]) if len(shape) else 1

    @property
    def has_weights(self) -> bool:
        """Whether the images have weights."""
        return self.weights is not None if self.stream is None else len(self.stream().element_spec) == 3

    @functools.cached_property
    def pixel_spec(self) -> tuple[tuple[int | None, ...], Any] | None:
        """(height, width, channels) and the type of the pixels; None for files, which have to be decoded."""
        if self.has_files:
            return None
        if self.stream is None:
            is_array = isinstance(self.images, np.ndarray)
            shape = self.images.shape[1:] if is_array else self.images.shape
            return (shape, self.images.dtype) if shape else None
        spec = self.stream().element_spec[0]
        return None if spec.dtype == tf.string else (tuple(spec.shape), spec.dtype.as_numpy_dtype)

    @functools.cached_property
    def value_channels(self) -> int | None:
        """The channels of images that are taken by value; None for gray or RGB images of 8 bits.

        The first one of several files says it for all.
        """
        if self.has_files:
            return find_value_channels(self.images[0]) if self.images else None
        if self.pixel_spec is None:
            return None
        (_, _, channels), dtype = self.pixel_spec
        assert channels is not None
        return None if dtype == np.uint8 and channels in (1, 3) else channels

    @property
    def has_files(self) -> bool:
        """Whether the images are paths."""
        return isinstance(self.images, list)

    def image_name(self, index: int) -> str:
        """The path of an image, or its number if it has none."""
        return self.images[index] if self.has_files else f"image {index} of {self.name}"

    def describe_left_out(self) -> str:
        """A sentence about the files in `left_out`; "" if there are none."""
        if not self.left_out:
            return ""
        return (f"{self.name}: {len(self.left_out)} left out, which are not images by their names, or lie "
                f"beside the folders of the classes: {list_names(self.left_out)}")

    @property
    def channels(self) -> int:
        """Channels of the pixels; 3 for files that are decoded."""
        spec = self.pixel_spec
        return self.value_channels or (3 if spec is None else spec[0][-1] or 3)


def check_label_offset(value: Any) -> int | None:
    """Checks the argument `label_offset`.  Raises: ArgumentError if it is not None, 0 or 1."""
    number = to_whole_number(value)
    if value is not None and number not in (0, 1):
        raise ArgumentError("label_offset", value, "0 or 1, the label of the first class in TFRecord files")
    return number


def reduce_labels(labels: tf.data.Dataset) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Reads a dataset of labels to its end.

    Returns:
        (how many there are, the lowest, the highest); the last two mean nothing if there are none.
    """
    def count(state: tuple[tf.Tensor, ...], label: tf.Tensor) -> tuple[tf.Tensor, ...]:
        number, lowest, highest = state
        label = tf.cast(label, tf.int64)
        return number + 1, tf.minimum(lowest, label), tf.maximum(highest, label)
    start = np.int64(0), np.int64(np.iinfo("int64").max), np.int64(np.iinfo("int64").min)
    result: tuple[tf.Tensor, tf.Tensor, tf.Tensor] = labels.reduce(
        start, tf.autograph.experimental.do_not_convert(count))
    return result
