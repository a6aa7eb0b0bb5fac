"""What a training run measures beside the loss: the metrics of its task, and those of the caller."""
from __future__ import annotations

import re
from typing import Any, Iterable, Mapping

import keras
from keras import ops

from .._keras_private import build_symbolically
from ..errors import ArgumentError
from .keras_objects import describe_object, is_keras_object, is_serialized, restore_object, serialize_object
from .object_calls import is_object_call, make_called_object
from .task import Task

_TAKEN = ("loss", "learning_rate", "images_per_s", "waiting", "unreadable", "no_image")
# classes of Keras that take something else than (N, outputs) labels and outputs
_NOT_FOR_NETS = ("Mean", "Sum", "Metric", "MeanMetricWrapper", "Accuracy", "IoU", "BinaryIoU", "MeanIoU",
                 "OneHotIoU", "OneHotMeanIoU")
# classes for which the scale of the outputs does not matter
_TAKE_LOGITS = ("CategoricalAccuracy", "TopKCategoricalAccuracy")


def read_metrics(metrics: Any) -> Any:
    """The argument `metrics` of `fit` as a file can hold it.

    Args:
        metrics: objects of Keras, names of their classes such as "AUC", or calls such as "Precision(0.3)"; a
            list of them, or {name of an output: list}.

    Raises:
        ArgumentError: for anything else.
    """
    if isinstance(metrics, Mapping) and not is_serialized(metrics):
        return {str(name): read_metrics(each) for name, each in metrics.items()}
    if metrics is None:
        return []
    is_list = isinstance(metrics, (list, tuple))
    return [_read_metric(metric) for metric in (metrics if is_list else [metrics])]


def _read_metric(metric: Any) -> dict[str, Any]:
    has_own_name = not isinstance(metric, str) or "name=" in metric
    if isinstance(metric, str) and metric in ("accuracy", "acc"):
        raise ArgumentError("metrics", metric, "other metrics only, because the accuracy is measured anyway")
    if isinstance(metric, str):
        metric = make_called_object("metrics", metric if is_object_call(metric) else f"{metric}()")
    if not (is_keras_object(metric) or is_serialized(metric)):
        raise ArgumentError("metrics", metric, "metrics of Keras, such as [keras.metrics.AUC()], or the "
                            "names of their classes")
    serialized = serialize_object("metrics", metric)
    if not has_own_name:        # Keras counts: the second AUC of a process is called auc_1
        serialized["config"]["name"] = re.sub(r"_\d+$", "", serialized["config"]["name"])
    restored = restore_object("metrics", serialized, keras.metrics.Metric)
    name = type(restored).__name__
    if name.startswith("Sparse"):
        raise ArgumentError("metrics", name, f"{name.removeprefix('Sparse')}, because labels are "
                            "probabilities of the classes here")
    if name in _NOT_FOR_NETS:
        raise ArgumentError("metrics", name, "a metric of labels and outputs, such as BinaryAccuracy or AUC")
    return serialized


def list_metrics(metrics: Any, output_names: list[str]) -> list[dict[str, Any]]:
    """The metrics of the net's only output.

    Args:
        metrics: as `read_metrics` returns them.
        output_names: the names of the net's outputs.

    Raises:
        ArgumentError: for an output that the net does not have.
    """
    if not isinstance(metrics, Mapping):
        return list(metrics)
    for name in metrics:
        if name not in output_names:
            raise ArgumentError("metrics", name, f"the name of an output: {', '.join(output_names)}",
                                output_names)
    return [metric for each in metrics.values() for metric in each]


def make_metrics(task: Task, activation: str,
                 extra: Iterable[dict[str, Any]] = ()) -> list[keras.metrics.Metric]:
    """Makes the metrics of a task, and those of the caller.

    For one class of several: top-1 accuracy, and top-5 accuracy for more than five classes; of mixed labels
    the class with the largest probability counts.  For one or more sigmoids: the accuracy of "above one
    half", the mean over the labels.  For numbers: the mean absolute error and the root of the mean squared
    error.

    Args:
        task: what is learned.
        activation: of the head; "linear" for logits.
        extra: the caller's, as `list_metrics` returns them.

    Raises:
        ArgumentError: for a metric of the caller that does not fit.
    """
    own: list[keras.metrics.Metric]
    if task.kind == "multiclass":
        own = [keras.metrics.CategoricalAccuracy(name="accuracy")]
        own += [_TopAccuracy(5, name="top5")] if task.classes > 5 else []
    elif task.kind == "regression":
        own = [keras.metrics.MeanAbsoluteError(name="mae"),
               keras.metrics.RootMeanSquaredError(name="rmse")]
    else:
        threshold = 0.0 if activation == "linear" else 0.5
        own = [keras.metrics.BinaryAccuracy(name="accuracy", threshold=threshold)]
    names = {metric.name for metric in own} | set(_TAKEN)
    for value in extra:
        metric = restore_object("metrics", value, keras.metrics.Metric)
        if metric.name in names:
            raise ArgumentError("metrics", describe_object(value), "another name than "
                                f"{metric.name!r}, which another result has", hint="give name=...")
        has_probabilities = task.kind == "regression" or activation != "linear"
        if not (has_probabilities or getattr(metric, "from_logits", False)
                or type(metric).__name__ in _TAKE_LOGITS):
            raise ArgumentError("metrics", describe_object(value), "a metric of logits, in which this net "
                                "ends", hint="build it with classifier_activation, or give from_logits=True")
        names.add(metric.name)
        own.append(metric)
    return own


class _TopAccuracy(keras.metrics.TopKCategoricalAccuracy):
    """Keras' metric, for scores in float64 too, which TensorFlow's `in_top_k` does not take."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return super().update_state(y_true, ops.cast(y_pred, "float32"), sample_weight)


def build_metrics(model: keras.Model, extra: list[dict[str, Any]]) -> None:
    """Makes the variables of the caller's metrics, some of which make them in their first step only.

    A checkpoint has them, and is restored before.

    Args:
        model: a compiled model.
        extra: as `list_metrics` returns them.
    """
    if extra:
        x, y = (keras.KerasTensor((1, *tensor.shape[1:]), tensor.dtype)
                for tensor in (model.inputs[0], model.outputs[0]))
        build_symbolically(model, (x, y))


def check_metrics(task: Task, extra: list[dict[str, Any]]) -> None:
    """Tries the caller's metrics on two images.

    Args:
        task: what is learned.
        extra: as `list_metrics` returns them.

    Raises:
        ArgumentError: for a metric that fails, or that has not a single number as its result.
    """
    y = ops.convert_to_tensor([[0.0] * task.outputs, [1.0] * task.outputs])
    for value in extra:
        metric = restore_object("metrics", value, keras.metrics.Metric)
        try:
            metric.update_state(y, ops.ones_like(y) / 2)
            result = metric.result()
        except Exception as error:      # whatever a class of one's own raises
            raise ArgumentError("metrics", describe_object(value), "a metric for labels and outputs of shape "
                                f"(N, {task.outputs})",
                                hint=f"it raises {type(error).__name__}: {error}") from error
        if not hasattr(result, "shape") or tuple(result.shape):
            raise ArgumentError("metrics", describe_object(value), "a metric whose result is one number",
                                hint="give average='macro'" if hasattr(metric, "average") else "")
