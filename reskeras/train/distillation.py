"""Distillation: a net learns the scores that a trained net, the teacher, gives the same images.

With the logits s of the student, t of the teacher, and the temperature T, the loss of an image is

    (1 - alpha) * the recipe's loss + alpha * T^2 * KL(softmax(t / T) || softmax(s / T))

(Hinton et al. 2015, arXiv:1503.02531; T^2 keeps the size of the gradient).  "hard" has the cross-entropy of
the teacher's best class in its place (Touvron et al. 2021, arXiv:2012.12877 §4), and "consistent" no labels
at all, alpha = 1 (Beyer et al. 2022, arXiv:2106.05237).  The teacher sees the student's batch: the same
crops, and the same mixed images.  `keras.distillation` has the same divergence, but as one number for a
batch, which neither weights of images nor replicas with parts of a batch can use.
"""
from __future__ import annotations

from typing import Any

import keras
from keras import ops

from ..images.transform import reverse_channels
from .classifier import find_final_activation
from .task import ACTIVATIONS
from .training import Training

_SMALLEST = 1e-30           # a probability of 0 has no logit; in float32 its reciprocal is still a number
_SMALLEST_SIGMOID = 1e-7    # 1 - p of a smaller p is 1 in float32


class TeacherScores:
    """A trained net, and how its scores become targets of a student.

    It is not a layer, so that the student does not own its variables.

    Args:
        model: the trained net.
        scaling: for each channel of the student's images a factor, and what is then added: afterwards they
            are as the teacher takes them.  None if both take the same.
        reverses_channels: whether one of the two takes BGR, and the other RGB.
        columns: the teacher's class of each of the student's; None if they are in the same order.
    """

    def __init__(self, model: keras.Model, scaling: tuple[Any, Any] | None = None,
                 reverses_channels: bool = False, columns: Any = None):
        self.model, self._columns = model, columns
        self._scaling, self._reverses_channels = scaling, reverses_channels
        self._activation = find_final_activation(model)

    def append_to_labels(self, x: Any, y: Any) -> Any:
        """The labels, and beside them the teacher's logits of the images.

        Args:
            x: the student's images, (N, height, width, channels).
            y: labels, (N, outputs).

        Returns:
            (N, 2 * outputs), in float32 or float64.
        """
        if self._scaling is not None:
            scale, offset = (ops.convert_to_tensor(values, ops.dtype(x)) for values in self._scaling)
            x = x * scale + offset
        scores = self.model(reverse_channels(x) if self._reverses_channels else x, training=False)
        if keras.backend.standardize_dtype(scores.dtype) != "float64":
            scores = ops.cast(scores, "float32")
        logits = _to_logits(scores, self._activation)
        if self._columns is not None:
            logits = ops.take(logits, ops.convert_to_tensor(self._columns, "int32"), axis=-1)
        return ops.concatenate([ops.cast(y, logits.dtype), ops.stop_gradient(logits)], -1)


class LearnsFromTeacher:
    """A mixin for trainers: the scores of a teacher stand beside the labels in the loss of a training step.

    Attributes:
        teacher: a `TeacherScores`, or None.
    """

    teacher: TeacherScores | None = None

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None,
                     training: bool = True) -> Any:
        """As `keras.Model.compute_loss`."""
        if training and self.teacher is not None:
            y = self.teacher.append_to_labels(x, y)
        return super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight,   # type: ignore
                                    training=training)


@keras.saving.register_keras_serializable("reskeras")
class DistillationLoss(keras.losses.Loss):
    """The loss of a student: of its labels, and of the teacher's logits beside them.

    Labels alone, (N, outputs), have the loss of the labels, as in a validation.

    Args:
        loss: the loss of the labels.
        kind: "soft", "hard" or "consistent", see the top of this file.
        temperature: what the logits are divided by.
        alpha: the part of the teacher in the loss.
        activation: what the student ends in: "softmax", "sigmoid" or "linear".
        is_multilabel: whether each output is a label of its own, and not one of several classes.
        name: name of the loss.
    """

    def __init__(self, loss: keras.losses.Loss, kind: str = "soft", temperature: float = 1.0,
                 alpha: float = 0.5, activation: str = "softmax", is_multilabel: bool = False,
                 name: str = "distillation", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.loss = loss
        self.kind, self.temperature, self.alpha = kind, temperature, alpha
        self.activation, self.is_multilabel = activation, is_multilabel

    def call(self, y_true: Any, y_pred: Any) -> Any:
        outputs = y_pred.shape[-1]
        if y_true.shape[-1] == outputs:
            return self.loss.call(y_true, y_pred)
        y, teacher = y_true[..., :outputs], y_true[..., outputs:]
        student = _to_logits(y_pred, self.activation)
        distance = (_compare_labels if self.is_multilabel else _compare_classes)(
            teacher, student, self.kind == "hard", self.temperature)
        if self.kind == "consistent":
            return distance
        return (1 - self.alpha) * self.loss.call(y, y_pred) + self.alpha * distance

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "loss": keras.saving.serialize_keras_object(self.loss),
                "kind": self.kind, "temperature": self.temperature, "alpha": self.alpha,
                "activation": self.activation, "is_multilabel": self.is_multilabel}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DistillationLoss:
        return cls(keras.saving.deserialize_keras_object(config["loss"]),
                   **{name: value for name, value in config.items() if name != "loss"})


def make_distillation_loss(training: Training, loss: keras.losses.Loss, activation: str, kind: str,
                           dtype: str | None = None) -> DistillationLoss:
    """Makes the loss of a training with a teacher.

    Args:
        training: the recipe's training part.
        loss: the loss of its labels.
        activation: what the student ends in.
        kind: what is learned, as of `Task`.
        dtype: of the net's computations.
    """
    return DistillationLoss(loss, training.distillation, float(training.temperature), float(training.alpha),
                            activation, ACTIVATIONS[kind] == "sigmoid",
                            dtype="float64" if dtype == "float64" else None)


def _to_logits(scores: Any, activation: str) -> Any:
    """The logits of scores.

    Args:
        scores: (N, outputs).
        activation: what they come from: "softmax", "sigmoid", or "linear" for logits.
    """
    if activation == "softmax":
        return ops.log(ops.maximum(scores, _SMALLEST))
    if activation == "sigmoid":
        scores = ops.clip(scores, _SMALLEST_SIGMOID, 1 - _SMALLEST_SIGMOID)
        return ops.log(scores) - ops.log1p(-scores)
    return scores


def _compare_classes(teacher: Any, student: Any, is_hard: bool, temperature: float) -> Any:
    """The cross-entropy of the teacher's best class, or the divergence of the probabilities, (N,)."""
    if is_hard:
        best = ops.one_hot(ops.argmax(teacher, -1), student.shape[-1], dtype=student.dtype)
        return -ops.sum(best * ops.log_softmax(student), -1)
    wanted, given = ops.log_softmax(teacher / temperature), ops.log_softmax(student / temperature)
    return temperature ** 2 * ops.sum(ops.exp(wanted) * (wanted - given), -1)


def _compare_labels(teacher: Any, student: Any, is_hard: bool, temperature: float) -> Any:
    """The same for labels of which an image may have several; the mean over them, (N,)."""
    if is_hard:
        best = ops.cast(teacher > 0, student.dtype)
        return -ops.mean(best * ops.log_sigmoid(student) + (1 - best) * ops.log_sigmoid(-student), -1)
    teacher, student = teacher / temperature, student / temperature
    distance = sum(ops.sigmoid(sign * teacher) * (ops.log_sigmoid(sign * teacher)
                                                  - ops.log_sigmoid(sign * student)) for sign in (1, -1))
    return temperature ** 2 * ops.mean(distance, -1)
