"""The convolution of a block that mixes positions of the map: `mixer`, `downsample`, `antialias` of a `Spec`.

For a new mixer add its dataclass to spec.py (and to `Mixer`, `SHORTHANDS` and the check in `Spec` there), a
function here, and an entry to `MIXERS` at the end of this file.  tests/test_tiny.py then fails until a case
in CASES uses it.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from keras import layers

from ..spec import SK, Spec, SplitAttention
from .layers import BlurPool2D, ChannelSlice, RadixSoftmax
from .ops import Tensor, add, conv, conv_norm_act, make_divisible


@dataclass(frozen=True)
class ConvolutionPlan:
    """The plan of one convolution of a block."""

    name: str                   # "conv2_block1_2"
    filters: int
    kernel: int
    stride: int = 1             # 1 if `output_stride` replaced the stride by dilation
    dilation: int = 1
    groups: int = 1
    is_strided: bool = False    # whether the published net strides here
    has_mixer: bool = False     # whether SK or split attention replaces this convolution
    in_last_two_stages: bool = False       # only there DropBlock acts


def apply_mixer(x: Tensor, spec: Spec, plan: ConvolutionPlan) -> Tensor:
    """Makes a convolution of a block (not the last), with normalization, activation and stride.

    Args:
        x: (N, H, W, C).
        spec: what the net is made of.
        plan: the convolution.

    Returns:
        (N, ceil(H / stride), ceil(W / stride), filters).
    """
    mixer = _find_mixer(spec) if plan.has_mixer else plain_convolution
    if plan.has_mixer and plan.stride > 1 and spec.downsample != "conv":
        return _mix_and_average_pool(x, spec, plan)
    if plan.is_strided and spec.antialias:
        subsample = ANTIALIAS[spec.antialias]
        return subsample(mixer(x, spec, plan, 1), plan.stride, f"{plan.name}_{spec.antialias}")
    return mixer(x, spec, plan, plan.stride)


def _find_mixer(spec: Spec) -> Callable[..., Tensor]:
    """The function that makes the layers: ours, or that of another package."""
    mixer = MIXERS.get(type(spec.mixer), spec.mixer)
    assert callable(mixer)
    return mixer


ANTIALIAS = {
    # "same": a map of odd size keeps its last position, so that branch and shortcut have equal sizes
    "average": lambda x, stride, name: layers.AveragePooling2D(stride, padding="same", name=name)(x),
    "blur": lambda x, stride, name: BlurPool2D(stride, name=name)(x),
}


def _mix_and_average_pool(x: Tensor, spec: Spec, plan: ConvolutionPlan) -> Tensor:
    """ResNeSt: a 3x3 average pool strides, after split attention (in "fast" nets before it)."""
    pools_first = spec.downsample == "pool_before"
    x = _average_pool(x, plan) if pools_first else x
    x = _find_mixer(spec)(x, spec, plan, 1)
    return x if pools_first else _average_pool(x, plan)


def _average_pool(x: Tensor, plan: ConvolutionPlan) -> Tensor:
    x = layers.ZeroPadding2D(1, name=f"{plan.name}_avd_pad")(x)     # zeros count in the mean, as in PyTorch
    return layers.AveragePooling2D(3, strides=plan.stride, name=f"{plan.name}_avd")(x)


def plain_convolution(x: Tensor, spec: Spec, plan: ConvolutionPlan, stride: int) -> Tensor:
    """Adds convolution, normalization, activation: for a net without a mixer."""
    return conv_norm_act(x, spec, plan.filters, plan.kernel, plan.name, plan.in_last_two_stages,
                         stride=stride, dilation=plan.dilation, groups=plan.groups)


def _selective_kernel(x: Tensor, spec: Spec, plan: ConvolutionPlan, stride: int) -> Tensor:
    """SK: two paths; per channel, a softmax gate gives the weight of each path (arXiv:1903.06586)."""
    sk, name = spec.mixer, plan.name
    assert isinstance(sk, SK)
    half = x.shape[-1] // 2
    paths = []
    for i in (1, 2):
        part = ChannelSlice(half * (i - 1), half * i, name=f"{name}_path{i}_in")(x) if sk.split_input else x
        paths.append(conv_norm_act(part, spec, plan.filters, 3, f"{name}_path{i}", plan.in_last_two_stages,
                                   stride=stride, dilation=plan.dilation * i,
                                   groups=min(plan.groups, plan.filters)))

    hidden = make_divisible(plan.filters * sk.ratio, sk.divisor)
    gate = add(paths, f"{name}_sk_fuse")
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_sk_squeeze")(gate)
    gate = conv_norm_act(gate, spec, hidden, 1, f"{name}_sk_reduce", bias=False)
    gate = conv(gate, spec, plan.filters * 2, 1, f"{name}_sk_select", bias=False)
    gate = RadixSoftmax(2, name=f"{name}_sk_softmax")(gate)

    gated = [layers.Multiply(name=f"{name}_path{i}_scale")([path, part])
             for i, (path, part) in enumerate(zip(paths, _slice_channels(gate, 2, f"{name}_sk_gate")), 1)]
    return add(gated, f"{name}_sk_out")


def split_attention(x: Tensor, spec: Spec, plan: ConvolutionPlan, stride: int) -> Tensor:
    """ResNeSt: splits a map into parts and adds them with a weight per channel (arXiv:2004.08955).

    Args:
        x: (N, H, W, C).
        spec: what the net is made of; its mixer is a `SplitAttention`.
        plan: the convolution that the parts come from.
        stride: the stride of that convolution.

    Returns:
        (N, H / stride, W / stride, plan.filters).
    """
    split, name = spec.mixer, plan.name
    assert isinstance(split, SplitAttention)
    radix, groups, channels = split.radix, plan.groups, x.shape[-1]
    x = conv_norm_act(x, spec, plan.filters * radix, plan.kernel, name, plan.in_last_two_stages,
                      stride=stride, dilation=plan.dilation, groups=groups * radix)

    hidden = make_divisible(channels * radix * split.ratio, 8, minimum=32)
    # mean first, then the sum of the parts: same result, but the sum works on 1 x 1 maps (cheap)
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_split_squeeze")(x)
    gate = _sum_parts(gate, radix, f"{name}_split_fuse")
    gate = conv_norm_act(gate, spec, hidden, 1, f"{name}_split_reduce", groups=groups, bias=True)
    gate = conv(gate, spec, plan.filters * radix, 1, f"{name}_split_select", groups=groups, bias=True)
    gate = RadixSoftmax(radix, groups, name=f"{name}_split_softmax")(gate)

    x = layers.Multiply(name=f"{name}_split_scale")([x, gate])
    return _sum_parts(x, radix, f"{name}_split_out")


def _slice_channels(x: Tensor, parts: int, name: str) -> list[Tensor]:
    size = x.shape[-1] // parts
    return [ChannelSlice(size * i, size * (i + 1), name=f"{name}{i + 1}")(x) for i in range(parts)]


def _sum_parts(x: Tensor, parts: int, name: str) -> Tensor:
    return add(_slice_channels(x, parts, f"{name}_part"), name) if parts > 1 else x


MIXERS = {type(None): plain_convolution, SK: _selective_kernel, SplitAttention: split_attention}
