"""What a net learns of each image: one class, one of two classes by one sigmoid, several labels, or numbers.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

# what the head of a net for a task ends in
ACTIVATIONS = {"multiclass": "softmax", "binary": "sigmoid", "multilabel": "sigmoid", "regression": "linear"}


@dataclass(frozen=True)
class Task:
    """What a net learns.

    Attributes:
        kind: "multiclass", "binary", "multilabel" or "regression".
        classes: how many classes, labels or numbers there are.
        class_weights: how much an image of each class counts in the loss, float32 (classes,), or, of several
            labels, how much each label counts; None if all count the same.
    """

    kind: str
    classes: int
    class_weights: np.ndarray | None = None

    @property
    def outputs(self) -> int:
        """How many numbers the net returns for an image."""
        return 1 if self.kind == "binary" else self.classes

    @property
    def by_loss(self) -> bool:
        """Whether the best net is the one with the smallest validation loss, and not the largest accuracy."""
        return self.kind in ("multilabel", "regression")

    def make_targets(self, data: tf.data.Dataset, is_training: bool = False) -> tf.data.Dataset:
        """The batches with labels as the loss takes them, (N, outputs), and with weights, if there are any.

        Args:
            data: batches of (images, labels), or (images, labels, weights).
            is_training: whether the weights of the classes count.
        """
        class_weights = self.class_weights if is_training and self.kind != "multilabel" else None

        def convert(x: tf.Tensor, y: tf.Tensor, *weights: tf.Tensor) -> tuple[tf.Tensor, ...]:
            y = tf.one_hot(y, self.classes) if y.dtype.is_integer else y
            if class_weights is not None:
                shares = y if y.shape[-1] == len(class_weights) else tf.concat([1 - y, y], -1)
                own = tf.linalg.matvec(shares, tf.constant(class_weights, y.dtype))
                weights = tuple(own * tf.cast(w, y.dtype) for w in weights) or (own,)
            if self.kind == "binary" and y.shape[-1] == 2:
                y = y[:, 1:]
            return x, y, *weights
        return data.map(tf.autograph.experimental.do_not_convert(convert))
