"""The alphabet that every other part spells with: convolution, normalization, activation, pooling, addition, head."""
from __future__ import annotations

import math
from typing import Any, Sequence, TypeAlias

import keras
from keras import layers

from ..spec import AnySpec, Spec
from .batch_norm import BatchNormalization
from .layers import (DropBlock2D, EdgePadding2D, GroupNormalization, GroupedConv2D, StandardizedConv2D,
                     StochasticDepth)

Tensor: TypeAlias = keras.KerasTensor

NORMS = {
    "batch": lambda spec, x, **kw: BatchNormalization(epsilon=spec.bn_epsilon, momentum=spec.bn_momentum, **kw),
    "sync_batch": lambda spec, x, **kw: layers.BatchNormalization(
        epsilon=spec.bn_epsilon, momentum=spec.bn_momentum, synchronized=True, **kw),
    # gcd: a narrowed net may have fewer channels than groups; no published one has
    "group": lambda spec, x, **kw: GroupNormalization(
        math.gcd(spec.norm_groups, x.shape[-1]), epsilon=spec.bn_epsilon, **kw),
    "none": lambda spec, x, **kw: layers.Identity(name=kw["name"]),
}

# Zero padding cannot win over these, so the plain layer serves; elsewhere the border is repeated.
_NON_NEGATIVE = ("relu", "relu6", "sigmoid", "hard_sigmoid", "softplus", "exponential")


def conv(x: Tensor, spec: Spec, filters: int, kernel: int, name: str, *, stride: int = 1, dilation: int = 1,
         groups: int = 1, bias: bool | None = None, normed: bool = True, zeros: bool = False) -> Tensor:
    """A convolution `{name}_conv`, behind `{name}_pad` where the padding needs a layer of its own.

    PyTorch pads (k - 1) / 2 on both sides; "same" puts less before than after when it strides over an even size.  At
    stride 1 the two agree, and no pad layer is made.
    """
    if stride > 1 and dilation % stride == 0:
        # Every tap of a dilated, strided kernel falls on a cell that subsampling keeps; Keras has not both at once.
        x = layers.MaxPooling2D(1, strides=stride, name=f"{name}_subsample")(x)
        dilation, stride = dilation // stride, 1
    padding = "same"
    if kernel > 1 and (spec.padding == "explicit" or (spec.padding == "symmetric" and stride > 1)):
        x = layers.ZeroPadding2D(kernel // 2 * dilation, name=f"{name}_pad")(x)
        padding = "valid"
    if bias is None:
        bias = not normed or spec.norm == "none" if spec.conv_bias == "unnormed" else bool(spec.conv_bias)
    options: dict[str, Any] = dict(strides=stride, padding=padding, dilation_rate=dilation, use_bias=bias,
                                   kernel_initializer="zeros" if zeros else spec.initializer, name=f"{name}_conv")
    if groups > 1:
        options["groups"] = groups
    kind = StandardizedConv2D if spec.weight_standardization else GroupedConv2D if groups > 1 else layers.Conv2D
    return kind(filters, kernel, **options)(x)


def norm(x: Tensor, spec: Spec, name: str, zeros: bool = False) -> Tensor:
    """`{name}_bn`; `zeros` starts its scale at 0, so that the residual branch starts as nothing."""
    options = {"gamma_initializer": "zeros"} if zeros and spec.norm != "none" else {}
    return NORMS[spec.norm](spec, x, name=f"{name}_bn", **options)(x)


def act(x: Tensor, spec: AnySpec, name: str) -> Tensor:
    return layers.Activation(spec.activation, name=name)(x)


def conv_norm_act(x: Tensor, spec: Spec, filters: int, kernel: int, name: str, late: bool = False, **options: Any) -> Tensor:
    x = norm(conv(x, spec, filters, kernel, name, **options), spec, name)
    return act(_drop_block(x, spec, late, name), spec, f"{name}_relu")


def pad_for_max_pool(x: Tensor, spec: Spec, amount: tuple[int, int], bare: bool, name: str) -> Tensor:
    """Padding that a max pool cannot see: zeros behind an activation that is never negative, else the border again."""
    if bare or spec.activation not in _NON_NEGATIVE:
        return EdgePadding2D(amount, name=name)(x)
    return layers.ZeroPadding2D((amount, amount), name=name)(x)


def _drop_block(x: Tensor, spec: Spec, late: bool, name: str) -> Tensor:
    if not (spec.drop_block_rate and late):
        return x
    return DropBlock2D(spec.drop_block_rate, spec.drop_block_size, name=f"{name}_drop_block")(x)


def drop_path(x: Tensor, spec: Spec, rate: float, name: str) -> Tensor:
    return StochasticDepth(rate, mode=spec.drop_path_mode, name=f"{name}_drop_path")(x) if rate else x


def add(tensors: Sequence[Tensor], name: str) -> Tensor:
    return layers.Add(name=name)(list(tensors))


def build_head(x: Tensor, spec: AnySpec, classes: int, activation: Any) -> Tensor:
    """Average pool, dropout, classifier; float32 where the policy computes in half precision."""
    half = keras.config.dtype_policy().compute_dtype in ("float16", "bfloat16")
    dtype = "float32" if half else None
    x = layers.GlobalAveragePooling2D(name="avg_pool", dtype=dtype)(x)
    if spec.dropout_rate:
        x = layers.Dropout(spec.dropout_rate, name="top_dropout", dtype=dtype)(x)
    return layers.Dense(classes, activation=activation, name="predictions", dtype=dtype)(x)


def make_divisible(value: float, divisor: int, minimum: int = 0, round_limit: float = 0.9) -> int:
    """Rounds a number of channels to a multiple, by the rule of MobileNet as timm uses it.

    Args:
        value: the exact number.
        divisor: the result is a multiple of this.
        minimum: the least result; `divisor` by default.
        round_limit: where the result would be less than this part of `value`, it is rounded up.
    """
    rounded = max(minimum or divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < round_limit * value else rounded
