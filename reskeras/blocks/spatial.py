"""What mixes space in a block: the `mixer` axis, with ResNeSt's `downsample` and the anti-aliased stride around it."""
from __future__ import annotations

from dataclasses import dataclass

from keras import layers

from ..spec import SK, Spec, SplitAttention
from .ops import Tensor, add, conv, conv_norm_act, make_divisible
from .layers import BlurPool2D, ChannelSlice, RadixSoftmax


@dataclass(frozen=True)
class Step:
    """One convolution of a block's chain."""
    name: str               # "conv2_block1_2"
    filters: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    is_strided: bool = False   # as published: `output_stride` may have left stride 1 of it
    is_mixed: bool = False     # the one that the mixer stands for
    is_late: bool = False      # in the last two stages, where DropBlock acts


def apply_mixer(x: Tensor, spec: Spec, step: Step) -> Tensor:
    """Convolution, normalization and activation of a step that is not the last, subsampled as the spec says."""
    stride = step.stride
    mixer = MIXERS[type(spec.mixer) if step.is_mixed else type(None)]
    if step.is_mixed and stride > 1 and spec.downsample != "conv":
        return _mix_and_average_pool(x, spec, step)
    if step.is_strided and spec.antialias:
        return ANTIALIAS[spec.antialias](mixer(x, spec, step, 1), stride, f"{step.name}_{spec.antialias}")
    return mixer(x, spec, step, stride)


ANTIALIAS = {
    # "same": an odd map keeps its last cell, so that the branch meets its shortcut at every size
    "average": lambda x, stride, name: layers.AveragePooling2D(stride, padding="same", name=name)(x),
    "blur": lambda x, stride, name: BlurPool2D(stride, name=name)(x),
}


def _mix_and_average_pool(x: Tensor, spec: Spec, step: Step) -> Tensor:
    """ResNeSt's 3x3 average pool carries the stride, behind the split attention or (the "fast" nets) before it."""
    before = spec.downsample == "pool_before"
    x = _average_pool(x, step) if before else x
    x = MIXERS[type(spec.mixer)](x, spec, step, 1)
    return x if before else _average_pool(x, step)


def _average_pool(x: Tensor, step: Step) -> Tensor:
    x = layers.ZeroPadding2D(1, name=f"{step.name}_avd_pad")(x)      # the zeros count in the mean, as in PyTorch
    return layers.AveragePooling2D(3, strides=step.stride, name=f"{step.name}_avd")(x)


def plain_convolution(x: Tensor, spec: Spec, step: Step, stride: int) -> Tensor:
    return conv_norm_act(x, spec, step.filters, step.kernel, step.name, step.is_late, stride=stride, dilation=step.dilation,
                         groups=step.groups)


def _selective_kernel(x: Tensor, spec: Spec, step: Step, stride: int) -> Tensor:
    sk = spec.mixer
    assert isinstance(sk, SK)
    half = x.shape[-1] // 2
    paths = []
    for i in (1, 2):
        part = ChannelSlice(half * (i - 1), half * i, name=f"{step.name}_path{i}_in")(x) if sk.split_input else x
        paths.append(conv_norm_act(part, spec, step.filters, 3, f"{step.name}_path{i}", step.is_late, stride=stride,
                                   dilation=step.dilation * i, groups=min(step.groups, step.filters)))
    hidden = make_divisible(step.filters * sk.ratio, sk.divisor)
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{step.name}_sk_squeeze")(add(paths, f"{step.name}_sk_fuse"))
    gate = conv_norm_act(gate, spec, hidden, 1, f"{step.name}_sk_reduce", bias=False)
    gate = conv(gate, spec, step.filters * 2, 1, f"{step.name}_sk_select", bias=False)
    gate = RadixSoftmax(2, name=f"{step.name}_sk_softmax")(gate)
    gated = [layers.Multiply(name=f"{step.name}_path{i}_scale")([path, part])
             for i, (path, part) in enumerate(zip(paths, _slices(gate, 2, f"{step.name}_sk_gate")), 1)]
    return add(gated, f"{step.name}_sk_out")


def split_attention(x: Tensor, spec: Spec, step: Step, stride: int) -> Tensor:
    split = spec.mixer
    assert isinstance(split, SplitAttention)
    radix, groups, channels = split.radix, step.groups, x.shape[-1]
    hidden = make_divisible(channels * radix * split.ratio, 8, minimum=32)
    x = conv_norm_act(x, spec, step.filters * radix, step.kernel, step.name, step.is_late, stride=stride,
                      dilation=step.dilation, groups=groups * radix)
    # the mean of the sum of the parts is the sum of the parts of the mean, and that is one pixel
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{step.name}_split_squeeze")(x)
    gate = _sum_slices(gate, radix, f"{step.name}_split_fuse")
    gate = conv_norm_act(gate, spec, hidden, 1, f"{step.name}_split_reduce", groups=groups, bias=True)
    gate = conv(gate, spec, step.filters * radix, 1, f"{step.name}_split_select", groups=groups, bias=True)
    gate = RadixSoftmax(radix, groups, name=f"{step.name}_split_softmax")(gate)
    x = layers.Multiply(name=f"{step.name}_split_scale")([x, gate])
    return _sum_slices(x, radix, f"{step.name}_split_out")


def _slices(x: Tensor, parts: int, name: str) -> list[Tensor]:
    size = x.shape[-1] // parts
    return [ChannelSlice(size * i, size * (i + 1), name=f"{name}{i + 1}")(x) for i in range(parts)]


def _sum_slices(x: Tensor, parts: int, name: str) -> Tensor:
    return add(_slices(x, parts, f"{name}_part"), name) if parts > 1 else x


MIXERS = {type(None): plain_convolution, SK: _selective_kernel, SplitAttention: split_attention}
