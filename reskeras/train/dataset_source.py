"""Datasets of TensorFlow and of Keras as sources: `tf.data.Dataset` and `keras.utils.PyDataset`."""
from __future__ import annotations

import inspect
from typing import Any, Iterator

import keras
import numpy as np
import tensorflow as tf

from ..errors import ArgumentError, describe_error
from .source import DataSource

_EXPECTED = "a dataset of (image, label) or (image, label, weight), or of batches of these"


def is_dataset(data: Any) -> bool:
    """Whether `data` is a dataset of TensorFlow or of Keras."""
    return isinstance(data, (tf.data.Dataset, keras.utils.PyDataset))


def refuse_generator(data: Any, argument: str) -> None:
    """Raises: ArgumentError for a generator, an iterator, or a function that returns one."""
    if inspect.isgenerator(data) or inspect.isgeneratorfunction(data) or isinstance(data, tf.data.Iterator) \
            or isinstance(data, Iterator):
        raise ArgumentError(argument, type(data).__name__, "data that can be read again in each epoch; an "
                            "iterator or a generator ends", hint="give tf.data.Dataset.from_generator("
                            "function, output_signature=...), or a keras.utils.PyDataset")


def open_dataset(data: Any, argument: str = "data") -> DataSource:
    """The images of a dataset, batched or not, as a stream.

    Images are the bytes of files, or pixels (height, width), (height, width, channels); batches are divided
    into single images.  The dataset should give the same images in the same order each time: the training
    shuffles them itself.

    Args:
        data: a `tf.data.Dataset` or a `keras.utils.PyDataset`.
        argument: the argument of the caller, for the errors.

    Raises:
        ArgumentError: for elements of another form, and for a dataset without an end.
    """
    dataset = _from_py_dataset(data, argument) if isinstance(data, keras.utils.PyDataset) else data
    if int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY:
        raise ArgumentError(argument, type(data).__name__, "a dataset that ends, as an epoch does",
                            hint="leave out .repeat(), or add .take(N) for epochs of N elements")
    dataset = _to_tuples(dataset, argument)
    image, label, *_ = dataset.element_spec
    if image.shape.rank is None:
        raise ArgumentError(argument, type(data).__name__, f"{_EXPECTED} with a known number of axes",
                            hint="add .map(lambda x, y: (tf.ensure_shape(x, (None, None, 3)), y))")
    # a batch of gray images has three axes, too, but then there is a label for each of the first one
    is_gray_batch = image.shape.rank == 3 and label.shape.rank == 1 and label.shape[0] == image.shape[0]
    if image.shape.rank == (1 if image.dtype == tf.string else 4) or is_gray_batch:
        dataset = dataset.unbatch()
    dataset = dataset.map(_prepare_element, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    image, label, *_ = dataset.element_spec
    is_image = image.shape.rank == 0 if image.dtype == tf.string else (
        image.shape.rank == 3 and image.shape[-1] and (image.dtype.is_floating or image.dtype.is_integer))
    if not is_image or label.shape.rank not in (0, 1) or not all(label.shape):
        raise ArgumentError(argument, type(data).__name__, f"{_EXPECTED}; these are {_describe(image)} and "
                            f"{_describe(label)}", hint="give pixels (height, width, channels) with a known "
                            "number of channels, or the bytes of a file, and one label each")
    return DataSource(type(data).__name__, stream=lambda: dataset)


def _describe(spec: tf.TensorSpec) -> str:
    return f"{spec.dtype.name} of shape {spec.shape}"


def _to_tuples(dataset: tf.data.Dataset, argument: str) -> tf.data.Dataset:
    """The elements as tuples: a dictionary has an image and a label, as in tensorflow-datasets."""
    spec = dataset.element_spec
    if isinstance(spec, dict) and {"image", "label"} <= set(spec):
        names = [name for name in ("image", "label", "sample_weight") if name in spec]
        dataset = dataset.map(lambda element: tuple(element[name] for name in names))
        spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) not in (2, 3) or not all(
            isinstance(part, tf.TensorSpec) for part in spec):
        raise ArgumentError(argument, type(dataset).__name__, f"{_EXPECTED}; its elements are {spec}")
    return dataset


@tf.autograph.experimental.do_not_convert
def _prepare_element(image: tf.Tensor, label: tf.Tensor, *weight: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """A single image with three axes, its label as a whole number if it is one, its weight as a float."""
    image = image[..., None] if image.dtype != tf.string and image.shape.rank == 2 else image
    image = tf.cast(image, tf.float32) if image.dtype == tf.float64 else image
    label = label[0] if label.shape.rank == 1 and label.shape[0] == 1 else label
    if label.shape.rank == 0:
        label = tf.cast(label, tf.int64) if label.dtype.is_integer else tf.cast(label, tf.float32)[None]
    elif label.dtype.is_floating:
        label = tf.cast(label, tf.float32)
    return image, label, *(tf.reshape(tf.cast(w, tf.float32), []) for w in weight)


def _from_py_dataset(data: keras.utils.PyDataset, argument: str) -> tf.data.Dataset:
    """The batches of a PyDataset, in order."""
    count = data.num_batches
    if not count:
        raise ArgumentError(argument, type(data).__name__, "a PyDataset with a length above 0, the number of "
                            "its batches", hint="define __len__")

    def read(i: int) -> tuple[np.ndarray, ...]:
        batch = data[i]
        if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
            raise ArgumentError(argument, type(data).__name__, _EXPECTED)
        return tuple(np.asarray(part) for part in batch)
    try:
        first = read(0)
        signature = tuple(tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in first)
    except (TypeError, IndexError) as error:
        raise ArgumentError(argument, type(data).__name__, f"{_EXPECTED}; {describe_error(error)}") from error
    return tf.data.Dataset.from_generator(lambda: (read(i) for i in range(count)), output_signature=signature)
