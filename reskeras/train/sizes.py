"""Images that grow during a training: the size of each epoch, its batches, and a traced step for each size.

The first epochs then cost less: the multiply-accumulates of a net grow with the square of the size.  The
sizes are those of FFCV's recipes (libffcv/ffcv-imagenet train_imagenet.py get_resolution).
"""
from __future__ import annotations

import contextlib
import dataclasses
from typing import Any, Iterator

import tensorflow as tf

from .augment import parse_augmentation
from .data import ImageDataset
from .epoch_sizes import find_epoch_size, replace_crop_size
from .image_functions import trace_image_functions
from .image_size import Sides
from .training import Training


class GrowingDataset(ImageDataset):
    """Images whose crops grow from epoch to epoch; everything else is as in `ImageDataset`.

    Args:
        *args: as of `ImageDataset`; the augmentation is that of the largest images.
        training: the recipe's training part.
        **kwargs: as of `ImageDataset`.
    """

    def __init__(self, *args: Any, training: Training, **kwargs: Any):
        super().__init__(*args, **kwargs)
        assert self.augmentation is not None
        self._training, self._largest = training, self.augmentation
        self._by_size = {training.size: (self.augmentation, self._image_functions)}

    def find_size(self, epoch: int) -> Sides:
        """The size of an epoch's images, in pixels."""
        return find_epoch_size(self._training, epoch)

    def _begin_epoch(self, epoch: int) -> tf.Tensor:
        """As of `ImageDataset`; the images get the size of the epoch."""
        size = self.find_size(epoch)
        if size not in self._by_size:
            text = replace_crop_size(self._largest.text, self._training.size, size)
            parsed = parse_augmentation(text)
            augmentation = dataclasses.replace(
                self._largest, text=text, image_operations=parsed.image_operations,
                batch_operations=parsed.batch_operations)
            self._by_size[size] = augmentation, trace_image_functions(augmentation, None)
        self.augmentation, self._image_functions = self._by_size[size]
        return super()._begin_epoch(epoch)


class StepsOfSizes:
    """The traced training steps of a model, one for each size of images, so that each has static shapes."""

    def __init__(self) -> None:
        self._steps: dict[Any, Any] = {}

    @contextlib.contextmanager
    def use(self, trainer: Any, data: ImageDataset, epoch: int) -> Iterator[None]:
        """A context manager around an epoch: the model runs the step of its size.

        Args:
            trainer: the compiled model.
            data: its images.
            epoch: the number of the epoch.
        """
        if not isinstance(data, GrowingDataset):
            yield
            return
        key = id(trainer), data.find_size(epoch)
        # Keras makes a new step where there is none
        trainer.train_function = self._steps.get(key)
        yield
        self._steps[key] = trainer.train_function
