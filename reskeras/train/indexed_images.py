"""Images that are read one by one by their number, such as those of a data set of Hugging Face."""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Callable

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class IndexedImages:
    """Images that a function reads.

    Attributes:
        read: from the number of an image to the bytes of its file, or to its pixels.
        indices: the numbers of the images, in order.
        shape: (height, width, channels) of the pixels, a side that differs is None; () if `read` returns
            bytes.
        dtype: the type of the pixels.
    """

    read: Callable[[int], Any]
    indices: np.ndarray
    shape: tuple[int | None, ...] = ()
    dtype: Any = np.uint8

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, mask: np.ndarray) -> IndexedImages:
        """Some of the images, as an array of NumPy is indexed."""
        return replace(self, indices=self.indices[mask])

    def gather(self, index: tf.Tensor) -> tf.Tensor:
        """The image at a position, in a graph of tf.data: bytes, or pixels."""
        def read(position: np.ndarray) -> Any:
            image = self.read(int(self.indices[position]))
            return np.asarray(image, self.dtype) if self.shape else image
        image = tf.numpy_function(read, [index], self.dtype if self.shape else tf.string, stateful=False)
        return tf.ensure_shape(image, self.shape)
