"""What a recipe minimizes: the losses by their words, and those of Keras as objects.

Labels are (N, outputs): probabilities of classes, 0 or 1 for each label, or numbers.
"""
from __future__ import annotations

from typing import Any

import keras
from keras import ops

from ..errors import ArgumentError
from .keras_objects import describe_object, is_serialized, restore_object
from .task import ACTIVATIONS, Task
from .training import Training

# the losses of Keras that are words of a recipe, with the activation that they need
_FOCAL = {"categorical_focal_crossentropy": keras.losses.CategoricalFocalCrossentropy,
          "binary_focal_crossentropy": keras.losses.BinaryFocalCrossentropy}
_DISTANCES = {"mean_squared_error": keras.losses.MeanSquaredError,
              "mean_absolute_error": keras.losses.MeanAbsoluteError,
              "mean_squared_logarithmic_error": keras.losses.MeanSquaredLogarithmicError,
              "huber": keras.losses.Huber, "log_cosh": keras.losses.LogCosh}
_SOFTMAX = ("softmax", "categorical_focal_crossentropy", "CategoricalCrossentropy", "KLDivergence",
            "CategoricalFocalCrossentropy", "CategoricalGeneralizedCrossEntropy", "CategoricalHinge")
_SIGMOID = ("binary", "binary_focal_crossentropy", "BinaryCrossentropy", "BinaryFocalCrossentropy", "Binary")
_LINEAR = (*_DISTANCES, *(loss.__name__ for loss in _DISTANCES.values()), "MeanAbsolutePercentageError",
           "CosineSimilarity")
# what each task is learned with if the recipe's loss is not for it
DEFAULT_LOSSES = {"multiclass": "softmax", "binary": "binary", "multilabel": "binary",
                  "regression": "mean_squared_error"}


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


@keras.saving.register_keras_serializable("reskeras", name="WeightedLabels")
class WeightedLabelsCrossentropy(keras.losses.Loss):
    """The mean over the labels of an image of each label's binary cross-entropy times the label's weight.

    PyTorch's `BCEWithLogitsLoss(weight=...)`.

    Args:
        label_weights: the weight of each label.
        from_logits: whether the net ends in logits instead of a sigmoid.
        label_smoothing: as of `keras.losses.BinaryCrossentropy`.
        name: name of the loss.
    """

    def __init__(self, label_weights: Any, from_logits: bool = False, label_smoothing: float = 0.0,
                 name: str = "weighted_labels", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.label_weights = [float(weight) for weight in label_weights]
        self.from_logits, self.label_smoothing = from_logits, label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        smooth = y_true * (1 - self.label_smoothing) + self.label_smoothing / 2
        each = ops.binary_crossentropy(smooth, y_pred, from_logits=self.from_logits)
        return ops.mean(each * ops.convert_to_tensor(self.label_weights, each.dtype), -1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "label_weights": self.label_weights,
                "from_logits": self.from_logits, "label_smoothing": self.label_smoothing}


def find_loss_tasks(loss: str | dict[str, Any]) -> tuple[str, ...]:
    """The tasks that a loss is for: all of them for a class of one's own.

    Args:
        loss: the field of a recipe: a word, or an object of Keras.

    Raises:
        ArgumentError: for losses of Keras that take class numbers.
    """
    name = loss["class_name"] if is_serialized(loss) else str(loss)
    if name.startswith("Sparse"):
        raise ArgumentError("loss", describe_object(loss), f"{name.removeprefix('Sparse')}, because labels "
                            "are probabilities of the classes here")
    if name in _SOFTMAX:
        return ("multiclass",)
    if name in _SIGMOID:
        return "multiclass", "binary", "multilabel"
    return ("regression",) if name in _LINEAR else tuple(ACTIVATIONS)


def find_activation(training: Training, kind: str) -> str:
    """The activation of the head for a loss: "linear" for numbers, and for a loss that takes logits.

    Args:
        training: the recipe's training part.
        kind: the task.
    """
    loss = training.loss
    name = loss["class_name"] if is_serialized(loss) else loss
    if is_serialized(loss) and loss["config"].get("from_logits"):
        return "linear"
    return "sigmoid" if name in _SIGMOID else ACTIVATIONS[kind]


def make_loss(training: Training, activation: str, dtype: str | None = None,
              task: Task = Task("multiclass", 0)) -> keras.losses.Loss:
    """Makes the recipe's loss.

    Args:
        training: the recipe's training part.
        activation: the activation that the classifier ends in; "linear" for logits.
        dtype: of the net's computations.  The scores of a net in float64 are not rounded; otherwise the loss
            is computed in Keras' `floatx`, so that those of mixed precision are not in 16 bits.
        task: what is learned.

    Raises:
        ValueError: for an activation that does not belong to the loss.
    """
    loss, kind, expected = training.loss, task.kind, find_activation(training, task.kind)
    is_object, dtype = is_serialized(loss), "float64" if dtype == "float64" else None
    if activation != expected and (is_object or kind == "regression" or activation != "linear"):
        raise ValueError(f"the recipe has loss={describe_object(loss)!r}, but the net's classifier ends in "
                         f"{activation!r}: expected {_describe_activations(expected, is_object)}")
    if is_object:
        made: keras.losses.Loss = restore_object("loss", loss, keras.losses.Loss,
                                                 **{"dtype": dtype} if dtype else {})
        return made
    if loss in _DISTANCES:
        return _DISTANCES[loss](dtype=dtype)
    options: dict[str, Any] = {"from_logits": activation == "linear",
                               "label_smoothing": training.label_smoothing, "dtype": dtype}
    if kind == "multilabel" and task.class_weights is not None:
        return WeightedLabelsCrossentropy(task.class_weights, **options)
    if loss in _FOCAL:
        return _FOCAL[loss](**options)
    if loss == "softmax":
        return keras.losses.CategoricalCrossentropy(**options)
    if kind != "multiclass":
        return keras.losses.BinaryCrossentropy(**options)
    return BinaryCrossentropy(**options, target_threshold=training.target_threshold)


def _describe_activations(expected: str, is_object: bool) -> str:
    if expected == "linear":
        return "classifier_activation=None"
    if is_object:
        return f"classifier_activation={expected!r}, or the loss with from_logits=True"
    return f"classifier_activation={expected!r}, or None for logits"


def check_loss_values(training: Training, outputs: int) -> None:
    """Checks that a loss that is an object has one value for each image, as weights and replicas need it.

    Args:
        training: the recipe's training part.
        outputs: how many numbers the net returns for an image.

    Raises:
        ArgumentError: for another loss.
    """
    if not is_serialized(training.loss):
        return
    loss = restore_object("loss", training.loss, keras.losses.Loss)
    y = ops.ones((2, outputs)) / outputs
    try:
        shape = tuple(loss.call(y, y).shape)
    except Exception as error:      # whatever a class of one's own raises
        raise ArgumentError("loss", describe_object(training.loss), "a loss for labels and outputs of shape "
                            f"(N, {outputs})", hint=f"it raises {type(error).__name__}: {error}") from error
    if shape != (2,):
        raise ArgumentError("loss", describe_object(training.loss), "a loss with one value for each image, "
                            f"shape (N,); it has the shape {shape} for N=2")
