"""Looking inside a net: where it looks (Grad-CAM), what its maps and its first filters are."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Sequence

import keras
import numpy as np
import tensorflow as tf

from ..graph.cost.cost import Cost, measure_cost
from ..graph.graph import high_recursion_limit


@dataclass(frozen=True)
class GradCam:
    """What a net makes of one image."""
    scores: np.ndarray                      # of the classes, as the net gives them
    cams: dict[int, np.ndarray]             # class -> (h, w), 0 where nothing speaks for it and 1 where most does
    layer: str                              # whose map the cams are of
    maps: dict[str, np.ndarray]             # the last layer of each stage -> (h, w, channels)


def compute_grad_cam(net: keras.Model, image: np.ndarray, classes: Sequence[int] | None = None, top: int = 3) -> GradCam:
    """Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) of the last map that has a place in the image, and each stage's map.

    Arguments:
        net: a functional classifier of one input and one output.
        image: (1, H, W, C), prepared.
        classes: whose evidence to show; the `top` likeliest ones by default.
    Raises: ValueError for a net without a map or classes, or a class that it has not.
    """
    found = measure_cost(net, image.shape[1:])
    last = _last_map(net, found)
    ends = _stage_ends(found)
    tensors = {name: _tensor_of(net, name) for name in dict.fromkeys([last, *ends])}
    score, before = _find_logits(net)
    with high_recursion_limit():
        watched = keras.Model(net.inputs, [*tensors.values(), before, net.outputs[0]])
    with tf.GradientTape(persistent=True) as tape:
        *maps, hidden, output = watched([tf.constant(image)], training=False)
        values = score(hidden)
        if len(values.shape) != 2 or values.shape[1] < 1:
            raise ValueError(f"{net.name}: its output is {tuple(values.shape)}; a classifier gives one number per class")
        chosen = _check(classes, np.argsort(-values[0].numpy(), kind="stable")[:top], values.shape[1], net.name)
        evidence = {i: values[0, i] for i in chosen}
    by_name = dict(zip(tensors, maps))
    cams = {i: _class_activation_map(by_name[last], tape.gradient(value, by_name[last])) for i, value in evidence.items()}
    return GradCam(output[0].numpy(), cams, last, {name: by_name[name][0].numpy() for name in ends})


def _check(classes: Sequence[int] | None, likeliest: np.ndarray, number: int, name: str) -> list[int]:
    chosen = [int(i) for i in (likeliest if classes is None else classes)]
    wrong = [i for i in chosen if not 0 <= i < number]
    if wrong:
        raise ValueError(f"{name} has the classes 0 to {number - 1}, and not {wrong[0]}")
    return chosen


def _class_activation_map(maps: Any, gradient: Any) -> np.ndarray:
    """ReLU(sum over channels of mean gradient x map), scaled to 0 .. 1."""
    if gradient is None:
        return np.zeros(maps.shape[1:3], "float32")
    maps, gradient = tf.cast(maps, tf.float32), tf.cast(gradient, tf.float32)
    weights = tf.reduce_mean(gradient, (1, 2), keepdims=True)
    evidence = tf.nn.relu(tf.reduce_sum(weights * maps, -1))[0].numpy()
    return evidence / (evidence.max() or 1.0)


def _last_map(net: keras.Model, found: Cost) -> str:
    """The layer that the head reads: the last whose output still has a place in the image, by its receptive field.

    Raises: ValueError where the net has none.
    """
    last = found.last_map
    if last is None or len(last.output) != 3:
        raise ValueError(f"{net.name}: no layer of it has a map of the image")
    return last.name


def _stage_ends(found: Cost) -> list[str]:
    """The last layer of each stage that has a map of the image."""
    ends = {layer.stage: layer.name for layer in found.layers if len(layer.output) == 3 and layer.field and layer.reads}
    return list(ends.values())


def _tensor_of(net: keras.Model, name: str) -> Any:
    """The output of a layer.  Raises: ValueError for one in a nested model, or one of several calls of a shared layer."""
    if "/" in name or "#" in name:
        raise ValueError(f"{net.name}: {name} lies in a nested model or is a shared layer; give the nested model itself")
    return net.get_layer(name).output


def _find_logits(net: keras.Model) -> tuple[Any, Any]:
    """The scores before the softmax or the sigmoid, whose gradients do not vanish: a function, and the tensor to call it on."""
    last = next(layer for layer in reversed(net.layers) if layer.output is net.outputs[0])
    named = getattr(getattr(last, "activation", None), "__name__", "linear")
    if isinstance(last, keras.layers.Dense) and named in ("softmax", "sigmoid"):
        def linear(x: Any) -> Any:
            x = tf.matmul(tf.cast(x, last.kernel.dtype), tf.convert_to_tensor(last.kernel))
            return x + last.bias if last.use_bias else x
        return linear, last.input
    if isinstance(last, keras.layers.Softmax) or (isinstance(last, keras.layers.Activation) and named in ("softmax", "sigmoid")):
        return tf.identity, last.input
    return tf.identity, net.outputs[0]


def get_first_filters(net: keras.Model) -> tuple[str, np.ndarray] | None:
    """The first convolution's name and its filters (h, w, channels, number), or None for a net without one."""
    for layer in net.layers:
        kernel = getattr(layer, "kernel", None)
        if kernel is not None and len(kernel.shape) == 4:
            return layer.name, keras.ops.convert_to_numpy(kernel)
        if isinstance(layer, keras.Model) and (inner := get_first_filters(layer)):
            return inner
    return None
