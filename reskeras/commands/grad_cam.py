"""Looking inside a net: where it looks (Grad-CAM), the maps of its stages, and its first filters."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Sequence

import keras
import numpy as np
import tensorflow as tf

from ..graph.cost.cost import Cost, measure_cost
from ..graph.graph import high_recursion_limit
from ..graph.model_requirements import check_floating_point
from ..graph.passes.inline import inline_nested_models


@dataclass(frozen=True)
class GradCam:
    """What a net computes for one image."""

    scores: np.ndarray                      # (classes,), as the net returns them
    # class -> (height, width): 0 where nothing speaks for it, 1 where most does
    cams: dict[int, np.ndarray]
    layer: str                              # the layer whose maps the class activation maps are made of
    maps: dict[str, np.ndarray]             # the last layer of each stage -> (height, width, channels)


def compute_grad_cam(net: keras.Model, image: np.ndarray, classes: Sequence[int] | None = None,
                     top: int = 3) -> GradCam:
    """Computes Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) of the last maps, and the maps of each
    stage.

    Args:
        net: a functional classifier of one input and one output; nested models count as their layers.
        image: (1, height, width, channels), prepared.
        classes: the classes whose evidence to show; by default the `top` likeliest ones.
        top: how many classes, if `classes` is not given.

    Raises:
        ArgumentError: for a net that Keras has quantized.
        ValueError: for a net without maps or classes, or a class that the net does not have.
    """
    check_floating_point(net)
    outer, net = net, inline_nested_models(net)
    cost = measure_cost(net, image.shape[1:])
    last, ends = _find_last_map(net, cost), _find_stage_ends(cost)
    tensors = {name: _get_output(net, name, outer) for name in dict.fromkeys([last, *ends])}
    compute_logits, logits_input = _find_logits(net)
    with high_recursion_limit():
        observed = keras.Model(net.inputs, [*tensors.values(), logits_input, net.outputs[0]])

    with tf.GradientTape(persistent=True) as tape:
        *maps, hidden, output = observed([tf.constant(image)], training=False)
        logits = compute_logits(hidden)
        if len(logits.shape) != 2 or logits.shape[1] < 1:
            raise ValueError(f"{net.name}: its output has the shape {tuple(logits.shape)}; a classifier "
                             f"returns one number "
                             "per class")
        likeliest = np.argsort(-logits[0].numpy(), kind="stable")[:top]
        chosen = _check_classes(likeliest if classes is None else classes, logits.shape[1], net.name)
        evidence = {i: logits[0, i] for i in chosen}

    by_name = dict(zip(tensors, maps))
    cams = {i: _class_activation_map(by_name[last], tape.gradient(logit, by_name[last]))
            for i, logit in evidence.items()}
    return GradCam(output[0].numpy(), cams, last, {name: by_name[name][0].numpy() for name in ends})


def _check_classes(classes: Sequence[int] | np.ndarray, number: int, name: str) -> list[int]:
    """The classes as Python integers.  Raises: ValueError for one that the net does not have."""
    indices = [int(i) for i in classes]
    wrong = [i for i in indices if not 0 <= i < number]
    if wrong:
        raise ValueError(f"{name} has the classes 0 to {number - 1}, and not {wrong[0]}")
    return indices


def _class_activation_map(maps: Any, gradient: Any) -> np.ndarray:
    """Computes ReLU(sum over channels of mean gradient x map), scaled to 0 .. 1."""
    if gradient is None:
        return np.zeros(maps.shape[1:3], "float32")
    maps, gradient = tf.cast(maps, tf.float32), tf.cast(gradient, tf.float32)
    weights = tf.reduce_mean(gradient, (1, 2), keepdims=True)
    evidence: np.ndarray = tf.nn.relu(tf.reduce_sum(weights * maps, -1))[0].numpy()
    return evidence / (evidence.max() or 1.0)


def _find_last_map(net: keras.Model, cost: Cost) -> str:
    """The layer that the head reads: the last one whose output still has a receptive field.

    Raises:
        ValueError: if the net has none.
    """
    last = cost.last_map
    if last is None or len(last.output) != 3:
        raise ValueError(f"{net.name}: no layer of it has a map of the image")
    return last.name


def _find_stage_ends(cost: Cost) -> list[str]:
    """The last layer of each stage that has a map of the image."""
    ends = {layer.stage: layer.name for layer in cost.layers
            if len(layer.output) == 3 and layer.receptive_field and layer.inputs}
    return list(ends.values())


def _get_output(net: keras.Model, name: str, outer: keras.Model) -> Any:
    """The output of a layer.

    Args:
        net: the model, without nested models.
        name: the layer.
        outer: the model with its nested models.

    Raises:
        ValueError: for one of several calls of a shared layer, or a layer in a model that is called so.
    """
    if "/" in name or "#" in name:
        shared = outer.get_layer(name.partition("/")[0].partition("#")[0])
        is_classifier = isinstance(shared, keras.Model) and shared.output_shape == outer.output_shape
        raise ValueError(f"{net.name}: {name} is called several times, or lies in a model that is, and has "
                         "maps for each call; give a model that calls it once"
                         + (f", such as model.get_layer({shared.name!r})" if is_classifier else ""))
    return net.get_layer(name).output


def _find_logits(net: keras.Model) -> tuple[Any, Any]:
    """How to compute the scores before the softmax or the sigmoid, whose gradients do not vanish.

    Returns:
        A function, and the tensor to call it on.
    """
    last = next(layer for layer in reversed(net.layers) if layer.output is net.outputs[0])
    activation = getattr(getattr(last, "activation", None), "__name__", "linear")
    saturates = activation in ("softmax", "sigmoid")
    if isinstance(last, keras.layers.Dense) and saturates:
        def apply_without_activation(x: Any) -> Any:
            x = tf.matmul(tf.cast(x, last.kernel.dtype), tf.convert_to_tensor(last.kernel))
            return x + last.bias if last.use_bias else x
        return apply_without_activation, last.input
    if isinstance(last, keras.layers.Softmax) or (isinstance(last, keras.layers.Activation) and saturates):
        return tf.identity, last.input
    return tf.identity, net.outputs[0]


def get_first_filters(net: keras.Model) -> tuple[str, np.ndarray] | None:
    """The first convolution's name and its filters (height, width, channels, number); None without one."""
    for layer in net.layers:
        kernel = getattr(layer, "kernel", None)
        if kernel is not None and len(kernel.shape) == 4:
            return layer.name, keras.ops.convert_to_numpy(kernel)
        if isinstance(layer, keras.Model) and (inner := get_first_filters(layer)):
            return inner
    return None
