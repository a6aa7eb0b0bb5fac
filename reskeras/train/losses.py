"""What a recipe minimizes, on labels that are shares of classes (N, classes)."""
from __future__ import annotations

from typing import Any

import keras
from keras import ops

from .recipe import Training

EXPECTED = {"softmax": ("softmax", "linear"), "binary": ("sigmoid", "linear")}      # activations of the classifier
ACTIVATION = {"softmax": "softmax", "binary": "sigmoid"}


@keras.saving.register_keras_serializable("reskeras")
class Binary(keras.losses.Loss):
    """A cross-entropy for each class, their mean (arXiv:2110.00476); smoothed labels still sum to 1, unlike Keras' own."""

    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0, name: str = "binary", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.from_logits, self.label_smoothing = from_logits, label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        y_true = ops.cast(y_true, y_pred.dtype)
        smooth = y_true * (1 - self.label_smoothing) + self.label_smoothing / y_pred.shape[-1]
        return keras.losses.binary_crossentropy(smooth, y_pred, from_logits=self.from_logits)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "from_logits": self.from_logits, "label_smoothing": self.label_smoothing}


def loss(training: Training, activation: str) -> keras.losses.Loss:
    """The recipe's loss for a classifier that ends in `activation`.  Raises: ValueError for one that is not of that loss."""
    if activation not in EXPECTED[training.loss]:
        raise ValueError(f"the recipe has loss={training.loss!r} and the net's classifier ends in {activation!r}: expected "
                         f"classifier_activation={EXPECTED[training.loss][0]!r}, or None for logits")
    kind = keras.losses.CategoricalCrossentropy if training.loss == "softmax" else Binary
    return kind(from_logits=activation == "linear", label_smoothing=training.label_smoothing)


def metrics(classes: int) -> list[keras.metrics.Metric]:
    """Top-1 accuracy, and top-5 of more than five classes; of mixed labels the class of the largest share counts."""
    found: list[keras.metrics.Metric] = [keras.metrics.CategoricalAccuracy(name="accuracy")]
    return found + ([keras.metrics.TopKCategoricalAccuracy(5, name="top5")] if classes > 5 else [])
