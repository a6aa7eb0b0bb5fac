"""A source of images with labels."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class DataSource:
    """Images with labels: files, pixels in memory, or a stream of either in an order that never changes.

    Attributes:
        name: what it is called in messages.
        images: a list of paths, or uint8 pixels (N, height, width, channels); None for a stream.
        labels: the number of the class of each image, int64 (N,).
        classes: the names or WordNet ids of the classes; () if they are not known.
        stream: makes a dataset of (bytes or pixels, label).
    """

    name: str
    images: Any = None
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, "int64"))
    classes: tuple[str, ...] = ()
    stream: Callable[[], tf.data.Dataset] | None = None

    def __len__(self) -> int:
        """How many images.  Raises: TypeError for a stream."""
        if self.stream is not None:
            raise TypeError(f"{self.name} is a stream: its length is known only when it has been read")
        return len(self.labels)

    @property
    def has_files(self) -> bool:
        """Whether the images are paths."""
        return isinstance(self.images, list)

    def image_name(self, index: int) -> str:
        """The path of an image, or its number if it has none."""
        return self.images[index] if self.has_files else f"image {index} of {self.name}"

    @property
    def channels(self) -> int:
        """Channels of the pixels, 1 or 3."""
        return 3 if self.images is None or self.has_files else self.images.shape[-1]
