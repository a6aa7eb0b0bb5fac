"""What a recipe minimizes.  Labels are probabilities of classes, (N, classes)."""
from __future__ import annotations

from typing import Any

import keras
from keras import ops

from .training import Training

ACTIVATIONS = {"softmax": "softmax", "binary": "sigmoid"}       # loss -> activation of the classifier


@keras.saving.register_keras_serializable("reskeras", name="Binary")
class BinaryCrossentropy(keras.losses.Loss):
    """A cross-entropy for each class, and their mean (arXiv:2110.00476).

    Smoothed labels still sum to 1, unlike those of Keras' own loss.

    Args:
        from_logits: whether the net ends in logits instead of a sigmoid.
        label_smoothing: fraction of each label that is spread over all classes.
        target_threshold: if above 0, a class whose smoothed label is larger has the target 1, any other 0.
        name: name of the loss.
    """

    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0,
                 target_threshold: float = 0.0, name: str = "binary", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.from_logits, self.label_smoothing = from_logits, label_smoothing
        self.target_threshold = target_threshold

    def call(self, y_true: Any, y_pred: Any) -> Any:
        y_true = ops.cast(y_true, y_pred.dtype)
        smooth = y_true * (1 - self.label_smoothing) + self.label_smoothing / y_pred.shape[-1]
        if self.target_threshold:
            smooth = ops.cast(smooth > self.target_threshold, y_pred.dtype)
        return keras.losses.binary_crossentropy(smooth, y_pred, from_logits=self.from_logits)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "from_logits": self.from_logits,
                "label_smoothing": self.label_smoothing, "target_threshold": self.target_threshold}


def make_loss(training: Training, activation: str, dtype: str | None = None) -> keras.losses.Loss:
    """Makes the recipe's loss.

    Args:
        training: the recipe's training part.
        activation: the activation that the classifier ends in; "linear" for logits.
        dtype: in which it is computed; Keras' `floatx` by default.

    Raises:
        ValueError: for an activation that does not belong to the loss.
    """
    expected = ACTIVATIONS[training.loss]
    if activation not in (expected, "linear"):
        raise ValueError(f"the recipe has loss={training.loss!r}, but the net's classifier ends in "
                         f"{activation!r}: expected classifier_activation={expected!r}, or None for logits")
    options: dict[str, Any] = {"from_logits": activation == "linear",
                               "label_smoothing": training.label_smoothing, "dtype": dtype}
    if training.loss == "softmax":
        return keras.losses.CategoricalCrossentropy(**options)
    return BinaryCrossentropy(**options, target_threshold=training.target_threshold)


def make_metrics(classes: int) -> list[keras.metrics.Metric]:
    """Makes top-1 accuracy, and top-5 accuracy for more than five classes.

    Of mixed labels the class with the largest probability counts.
    """
    metrics: list[keras.metrics.Metric] = [keras.metrics.CategoricalAccuracy(name="accuracy")]
    return metrics + ([keras.metrics.TopKCategoricalAccuracy(5, name="top5")] if classes > 5 else [])
