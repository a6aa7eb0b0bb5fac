"""The teacher of a distillation: opened, checked against the student, and made ready for its images."""
from __future__ import annotations

import contextlib
import os
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..build import load
from ..catalog import create, find_variant
from ..errors import ArgumentError
from ..graph.graph import high_recursion_limit
from ..graph.model_requirements import check_floating_point, check_image_model
from ..images.labels import find_classes
from ..images.preprocessing import Preprocessing
from ..model_metadata import get_metadata
from ..model_with_metadata import set_metadata
from ..pretrained import from_pretrained
from ..weights.table import get_default_weights
from .classifier import find_final_activation
from .distillation import TeacherScores
from .task import ACTIVATIONS, Task


def make_teacher(teacher: Any, student: keras.Model, task: Task, size: Any) -> TeacherScores:
    """Opens a teacher, and finds out how it sees the student's images and classes.

    Call it in the scope of the strategy.

    Args:
        teacher: the name of a net with weights, "hf://USER/NAME", a `.keras` file, or a model.
        student: the net that learns, with its metadata.
        task: what is learned.
        size: (height, width) of the largest images.

    Returns:
        The teacher, in half precision on an accelerator.

    Raises:
        ArgumentError: for a teacher without weights, of other classes, images or outputs.
        ValueError, OSError: as the file or the checkpoint.
        TypeError: for anything else than a name, a file or a model.
    """
    if task.kind == "regression":
        raise ArgumentError("teacher", _describe(teacher), "None, because numbers have no scores to learn")
    net = _open_teacher(teacher, student.input_shape[-1])
    check_image_model(net)
    check_floating_point(net)
    activation, expected = find_final_activation(net), ACTIVATIONS[task.kind]
    if activation not in ("linear", expected):
        raise ArgumentError("teacher", _describe(teacher), f"a classifier that ends in {expected} or in "
                            f"logits, as {task.kind} needs it, not in {activation}")
    height, width, channels = net.input_shape[1:]
    if channels != student.input_shape[-1]:
        raise ArgumentError("teacher", _describe(teacher), f"a net for images of {student.input_shape[-1]} "
                            f"channels, not of {channels}")
    if (height or size[0], width or size[1]) != tuple(size):
        raise ArgumentError("teacher", _describe(teacher), f"a net for images of {size[0]} x {size[1]} "
                            f"pixels, not of {height} x {width}",
                            hint=f"build it with input_shape=(None, None, {channels})")
    columns = _match_classes(net, student, task, teacher)
    scaling, reverses_channels = _compare_preprocessing(net, student, teacher)
    return TeacherScores(_copy(net, _choose_policy(student)), scaling, reverses_channels, columns)


def _describe(teacher: Any) -> str:
    return teacher.name if isinstance(teacher, keras.Model) else os.fspath(teacher)


def _open_teacher(teacher: Any, channels: int) -> keras.Model:
    if isinstance(teacher, keras.Model):
        return set_metadata(teacher)
    if not isinstance(teacher, (str, os.PathLike)):
        raise TypeError(f"teacher={teacher!r}: expected a net's name, a .keras file or a keras.Model")
    name = os.fspath(teacher)
    if name.startswith("hf://"):
        return from_pretrained(name)
    if name.endswith(".keras"):
        return load(name)
    variant, tag, _ = find_variant(name)
    if not tag and not get_default_weights(variant.name):
        raise ArgumentError("teacher", name, f"a net with weights: {variant.name} has no published ones",
                            hint="give a .keras file")
    return create(name, input_shape=(None, None, channels))


def _match_classes(net: keras.Model, student: keras.Model, task: Task, teacher: Any) -> np.ndarray | None:
    """The teacher's class of each of the student's, by their names; None if they are the same.

    Raises:
        ArgumentError: if a class is missing, or if only their number could tell, and it differs.
    """
    count, own = net.output_shape[-1], student.output_shape[-1]
    theirs, ours = get_metadata(net), get_metadata(student)
    if not theirs.labels or not ours.labels or task.kind == "binary":
        if count != own:
            raise ArgumentError("teacher", _describe(teacher), f"a net of {own} classes, as the student has, "
                                f"not of {count}", hint="classes are found by their names, "
                                "which reskeras.set_metadata gives a model")
        return None
    known, wanted = theirs.get_classes(count), ours.get_classes(own)
    if known == wanted:
        return None
    try:
        columns = np.array(find_classes([name for _, name in wanted], known))
    except ValueError as error:
        raise ArgumentError("teacher", _describe(teacher), "a net that knows all classes of the student",
                            hint=str(error)) from error
    return None if np.array_equal(columns, np.arange(count)) else columns


def _compare_preprocessing(net: keras.Model, student: keras.Model,
                           teacher: Any) -> tuple[tuple[np.ndarray, np.ndarray] | None, bool]:
    """((factor, what is added), whether channels are reversed) from the student's images to the teacher's."""
    theirs, ours = (get_metadata(model).preprocessing for model in (net, student))
    if theirs is None or ours is None:
        raise ArgumentError("teacher", _describe(teacher), "a net that knows how its images are prepared",
                            hint="reskeras.set_metadata tells it to a model")
    if theirs.has_values != ours.has_values:
        raise ArgumentError("teacher", _describe(teacher), "a net that takes the student's images: of one of "
                            "the two the pixels are taken by value, of the other as 0..255")
    (scale, offset), (own_scale, own_offset) = _find_scaling(theirs), _find_scaling(ours)
    reverses = theirs.is_bgr != ours.is_bgr
    if reverses:        # the numbers are applied before the channels are reversed
        scale, offset = scale[::-1], offset[::-1]
    factor = scale / own_scale
    added = offset - own_offset * factor
    is_same = np.allclose(factor, 1, rtol=1e-9) and np.allclose(added, 0, atol=1e-9)
    return None if is_same else (factor, added), reverses


def _find_scaling(preprocessing: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
    scale, offset = preprocessing.scale_and_offset
    return np.array(scale, "float64"), np.array(offset, "float64")


def _choose_policy(student: keras.Model) -> str | None:
    """A dtype policy of half precision on an accelerator: the student's, if it has one; None on a CPU."""
    if not _has_accelerator():
        return None
    policies = [layer.dtype_policy for layer in student.layers if layer.weights]
    if policies and policies[0].compute_dtype in ("float16", "bfloat16"):
        return str(policies[0].name)
    if policies and policies[0].compute_dtype == "float64":
        return None
    has_tpu = keras.config.backend() == "tensorflow" and tf.config.list_logical_devices("TPU")
    return "mixed_bfloat16" if has_tpu else "mixed_float16"


def _has_accelerator() -> bool:
    """Whether Keras computes on a GPU or TPU."""
    if keras.config.backend() == "tensorflow":
        return bool(tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"))
    with contextlib.suppress(NotImplementedError, AttributeError, RuntimeError):
        return any(not device.startswith("cpu") for device in keras.distribution.list_devices())
    return False


def _copy(net: keras.Model, policy: str | None) -> keras.Model:
    """A copy with variables of its own, in the scope of the strategy; the caller's model stays as it is.

    Args:
        policy: the dtype policy of all layers but those that end the net, whose scores stay in float32.
    """
    end = {layer.name for layer in net.layers if layer.output is net.outputs[0]}

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if policy and layer.name not in end:
            config["dtype"] = policy
        return type(layer).from_config(config)
    with high_recursion_limit():
        copy = keras.models.clone_model(net, clone_function=clone, recursive=True)
    copy.set_weights(net.get_weights())
    copy.trainable = False
    return copy
