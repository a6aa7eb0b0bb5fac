"""The layers that all blocks are made of: convolution, normalization, activation, addition, head, ...

Each function makes its layers with the settings of the `Spec` and with names of one scheme: "conv2_block1_1"
has the layers conv2_block1_1_conv, conv2_block1_1_bn and conv2_block1_1_relu.
"""
from __future__ import annotations

import math
from typing import Any, Sequence, TypeAlias

import keras
from keras import layers

from ..errors import ArgumentError
from ..spec import AnySpec, Spec
from .batch_norm import BatchNormalization
from .drop_layers import DropBlock2D, StochasticDepth
from .grouped_conv import GroupedConv2D
from .layers import EdgePadding2D, GroupNormalization, StandardizedConv2D

Tensor: TypeAlias = keras.KerasTensor

# The field `norm` of a `Spec`: for a new word add it to `CHOICES["norm"]` in spec.py and here.
NORMS = {
    "batch": lambda spec, x, **options: BatchNormalization(
        epsilon=spec.bn_epsilon, momentum=spec.bn_momentum, **options),
    "sync_batch": lambda spec, x, **options: BatchNormalization(
        epsilon=spec.bn_epsilon, momentum=spec.bn_momentum, synchronized=True, **options),
    # gcd: a narrow net may have fewer channels than groups; no published one has
    "group": lambda spec, x, **options: GroupNormalization(
        math.gcd(spec.norm_groups, x.shape[-1]), epsilon=spec.bn_epsilon, **options),
    "none": lambda spec, x, **options: layers.Identity(name=options["name"]),
}

# After these activations a zero is never more than the maximum of a window.
_NON_NEGATIVE = ("relu", "relu6", "sigmoid", "hard_sigmoid", "softplus", "exponential")


def conv(x: Tensor, spec: Spec, filters: int, kernel: int, name: str, *, stride: int = 1, dilation: int = 1,
         groups: int = 1, bias: bool | None = None, normed: bool = True, zeros: bool = False) -> Tensor:
    """Makes a convolution `{name}_conv`, after a layer `{name}_pad` if the padding needs one.

    PyTorch pads (kernel - 1) / 2 positions on each side.  Keras' "same" with a stride over an even size pads
    fewer positions before than after.  At stride 1 the two are equal, and no layer is needed.

    Args:
        x: (N, H, W, C).
        spec: what the net is made of.
        filters: number of channels of the result.
        kernel: the side of the kernel in positions.
        name: the beginning of the names of the layers.
        bias: whether it has a bias; by default as `spec.conv_bias` says.
        normed: whether a normalization follows.
        zeros: whether the kernel starts with zeros.

    Returns:
        (N, H / stride, W / stride, filters), rounded up.
    """
    if stride > 1 and dilation % stride == 0:
        # Keras cannot stride and dilate at once.  But a kernel with this dilation reads only positions that
        # subsampling keeps, so the map is subsampled first.
        x = layers.MaxPooling2D(1, strides=stride, name=f"{name}_subsample")(x)
        dilation, stride = dilation // stride, 1

    padding = "same"
    if kernel > 1 and (spec.padding == "explicit" or (spec.padding == "symmetric" and stride > 1)):
        x = layers.ZeroPadding2D(kernel // 2 * dilation, name=f"{name}_pad")(x)
        padding = "valid"

    if bias is None:
        is_unnormed = not normed or spec.norm == "none"
        bias = is_unnormed if spec.conv_bias == "unnormed" else bool(spec.conv_bias)
    options: dict[str, Any] = {"groups": groups} if groups > 1 else {}
    convolution = GroupedConv2D if groups > 1 else layers.Conv2D
    if spec.weight_standardization:
        convolution = StandardizedConv2D
    initializer = "zeros" if zeros else spec.initializer
    layer = convolution(filters, kernel, strides=stride, padding=padding, dilation_rate=dilation,
                        use_bias=bias, kernel_initializer=initializer, name=f"{name}_conv", **options)
    return layer(x)


def norm(x: Tensor, spec: Spec, name: str, zeros: bool = False) -> Tensor:
    """The normalization `{name}_bn`; with `zeros` its scale starts at 0, and so does the residual branch."""
    options = {"gamma_initializer": "zeros"} if zeros and spec.norm != "none" else {}
    if callable(spec.norm):
        return spec.norm(name=f"{name}_bn", **options)(x)
    return NORMS[spec.norm](spec, x, name=f"{name}_bn", **options)(x)


def act(x: Tensor, spec: AnySpec, name: str) -> Tensor:
    """Adds the activation of the spec, as a layer of that name."""
    if callable(spec.activation):
        _check_registered(spec.activation)
    return layers.Activation(spec.activation, name=name)(x)


def _check_registered(activation: Any) -> None:
    """Raises: ArgumentError for a function that Keras would not find again in a saved net."""
    is_keras = getattr(keras.activations, getattr(activation, "__name__", ""), None) is activation
    registered = keras.saving.get_registered_object(keras.saving.get_registered_name(activation))
    if not is_keras and registered is not activation:
        raise ArgumentError("activation", activation, "a function that is registered by "
                            "@keras.saving.register_keras_serializable(\"your_package\"), so that a saved "
                            "net finds it again")


def conv_norm_act(x: Tensor, spec: Spec, filters: int, kernel: int, name: str,
                  in_last_two_stages: bool = False, **options: Any) -> Tensor:
    """Adds convolution, norm, DropBlock (if `in_last_two_stages` and the spec has it), activation.

    Args and result are those of `conv`.
    """
    x = norm(conv(x, spec, filters, kernel, name, **options), spec, name)
    if in_last_two_stages and spec.drop_block_rate:
        x = DropBlock2D(spec.drop_block_rate, spec.drop_block_size, name=f"{name}_drop_block")(x)
    return act(x, spec, f"{name}_relu")


def pad_for_max_pool(x: Tensor, spec: Spec, amount: tuple[int, int], is_bare: bool, name: str) -> Tensor:
    """Pads without changing the result of a 3x3 max pool.

    Args:
        x: (N, H, W, C).
        amount: number of positions (before, after) along the height, and the same along the width.
        is_bare: whether `x` may be negative, because no activation comes before.
        name: the layer's name.
    """
    if is_bare or spec.activation not in _NON_NEGATIVE:
        return EdgePadding2D(amount, name=name)(x)
    return layers.ZeroPadding2D((amount, amount), name=name)(x)


def drop_path(x: Tensor, spec: Spec, rate: float, name: str) -> Tensor:
    """Adds stochastic depth `{name}_drop_path` to a residual branch; nothing at rate 0."""
    return StochasticDepth(rate, mode=spec.drop_path_mode, name=f"{name}_drop_path")(x) if rate else x


def add(tensors: Sequence[Tensor], name: str) -> Tensor:
    """Adds tensors of one shape, by a layer of that name."""
    return layers.Add(name=name)(list(tensors))


def build_head(x: Tensor, spec: AnySpec, classes: int, activation: Any) -> Tensor:
    """Makes average pool, dropout (if the spec has it) and classifier.

    If the dtype policy computes in half precision, the head computes in float32.

    Args:
        x: the last feature map, (N, H, W, C).
        spec: what the net is made of.
        classes: the number of classes.
        activation: the classifier's activation; None gives logits.

    Returns:
        (N, classes).
    """
    is_half = keras.config.dtype_policy().compute_dtype in ("float16", "bfloat16")
    dtype = "float32" if is_half else None
    x = layers.GlobalAveragePooling2D(name="avg_pool", dtype=dtype)(x)
    if spec.dropout_rate:
        x = layers.Dropout(spec.dropout_rate, name="top_dropout", dtype=dtype)(x)
    return layers.Dense(classes, activation=activation, name="predictions", dtype=dtype)(x)


def make_divisible(value: float, divisor: int, minimum: int = 0, round_limit: float = 0.9) -> int:
    """Rounds a number of channels to a multiple, by the rule of MobileNet as timm uses it.

    Args:
        value: the exact number.
        divisor: the result is a multiple of this.
        minimum: the smallest result; `divisor` by default.
        round_limit: if the result would be less than this part of `value`, it is rounded up.
    """
    rounded = max(minimum or divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < round_limit * value else rounded
