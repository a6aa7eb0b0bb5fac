"""Residual blocks and the stages that repeat them: the fields `block`, `order` and `form` of a `Spec`.

Example: the block conv3_block1 of ResNet-50 v1.5, the default `Spec`, for one image of 224 x 224 pixels.

`build_stages` plans the block as a `BlockPlan`: 128 inner channels (`planes`, PyTorch's word), 512 output
channels, stride 2.  `_build_block` gets x, the output conv2_block3_out (1, 56, 56, 256) of the block before,
and makes

    the residual branch: `_plan_bottleneck_block` plans three convolutions, `_grouped_branch` makes them:
        conv3_block1_1_conv     1x1                 (1, 56, 56, 128)    `apply_mixer` (spatial.py), which
        conv3_block1_1_bn, _1_relu                                      calls `conv_norm_act` (ops.py)
        conv3_block1_2_pad      zeros, 1 each side  (1, 58, 58, 128)    `apply_mixer` too; SK or
        conv3_block1_2_conv     3x3, stride 2       (1, 28, 28, 128)    SplitAttention would replace it
        conv3_block1_2_bn, _2_relu
        conv3_block1_3_conv     1x1                 (1, 28, 28, 512)    `conv` (ops.py)
        conv3_block1_3_bn                                               `_end_branch`
        layers of SE or ECA would be here: `apply_attention` (attention.py)
    the shortcut: `add_shortcut` (shortcuts.py) projects x, because the shape changes
        conv3_block1_0_conv     1x1, stride 2       (1, 28, 28, 512)
        conv3_block1_0_bn
    the end: `add_shortcut` adds the two, and one activation follows (`ORDERS["post"].end`)
        conv3_block1_add                            (1, 28, 28, 512)
        conv3_block1_out        ReLU                (1, 28, 28, 512)

conv3_block2 is the same with stride 1 and x itself as shortcut.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

from keras import layers

from ..errors import ArgumentError
from ..spec import Spec, scale_channels
from .attention import apply_attention
from .ops import Tensor, act, add, conv, drop_path, norm
from .shortcuts import BlockPlan, add_shortcut
from .spatial import ConvolutionPlan, apply_mixer, plain_convolution


@dataclass(frozen=True)
class Order:
    """Where a block has normalization ("bn") and activation ("relu").

    Between two convolutions every block has both; the fields say what it has at the other places.
    """

    # before the first convolution of each block; the same layers follow the last block of the net
    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()      # after the last convolution, before the addition
    end: tuple[str, ...] = ()       # after the addition


ORDERS = {  # "Identity Mappings", arXiv:1603.05027, Figure 4 a-e
    "post": Order(last=("bn",), end=("relu",)),
    "bn_after_add": Order(end=("bn", "relu")),
    "relu_before_add": Order(last=("bn", "relu")),
    "relu_only_pre": Order(first=("relu",), last=("bn",)),
    "pre": Order(first=("bn", "relu")),
    "relu_around_add": Order(last=("bn", "relu"), end=("relu",)),   # basic blocks of the SENet release
}


def build_stages(x: Tensor, spec: Spec, stem_stride: int) -> Tensor:
    """Makes all blocks of all stages, and the activation after a pre-activation net's last block.

    Args:
        x: the output of the stem, (N, H, W, C).
        spec: what the net is made of.
        stem_stride: pixels of the image from one position of `x` to the next.

    Returns:
        The last feature map.

    Raises:
        ArgumentError: if `output_stride` is smaller than the stride of the stem.
    """
    for block in _plan_blocks(spec, stem_stride):
        x = _build_block(x, spec, block)
    return _norm_and_act(x, spec, ORDERS[spec.order].first, "post") if spec.final_norm else x


def _plan_blocks(spec: Spec, stem_stride: int) -> list[BlockPlan]:
    """Plans name, channels, stride, dilation and drop rate of every block."""
    stride, dilation = stem_stride, 1
    target = spec.output_stride or stride * math.prod(spec.strides)
    if target < stride:
        raise ArgumentError("output_stride", target, f"at least {stride}, the stride of the stem")

    plans: list[BlockPlan] = []
    pruned = [scale_channels(channels, spec.width) for channels in spec.inner_widths]
    stages = zip(spec.depths, spec.blocks, spec.stages, spec.out_channels)
    for index, (depth, kind, planes, out_channels) in enumerate(stages):
        inner = 2 if kind == "bottleneck" else 1        # convolutions of a block before its last
        strided_block = 0 if spec.stride_at == "first" else depth - 1
        for block_index in range(depth):
            published_stride = spec.strides[index] if block_index == strided_block else 1
            first_dilation, block_stride = dilation, published_stride
            if stride * published_stride > target:      # from here on the net dilates instead of striding
                dilation, block_stride = dilation * published_stride, 1
            stride *= block_stride

            share_of_depth = (len(plans) + 1) / sum(spec.depths)
            inner_channels, pruned = tuple(pruned[:inner]), pruned[inner:]
            plans.append(BlockPlan(
                name=f"conv{index + 2}_block{block_index + 1}", kind=kind, planes=planes,
                inner_channels=inner_channels, out_channels=out_channels, stride=block_stride,
                is_first=block_index == 0, is_strided=published_stride > 1,
                dilation=(first_dilation, dilation),
                drop_path_rate=spec.drop_path_rate * share_of_depth,
                in_last_two_stages=index >= len(spec.depths) - 2, stage=index + 2))
    return plans


def _build_block(x: Tensor, spec: Spec, block: BlockPlan) -> Tensor:
    """Makes a block: residual branch, attention, drop path, shortcut, and what follows the addition."""
    order = ORDERS[spec.order]
    preactivated = _norm_and_act(x, spec, order.first, f"{block.name}_preact")
    branch = FORMS[spec.form](preactivated, spec, block)
    branch = apply_attention(branch, spec, block.name)
    branch = drop_path(branch, spec, block.drop_path_rate, block.name)
    if not order.end:
        return add_shortcut(x, preactivated, branch, spec, block, f"{block.name}_out")

    is_plain = spec.shortcut == "none"
    x = branch if is_plain else add_shortcut(x, preactivated, branch, spec, block, f"{block.name}_add")
    x = norm(x, spec, f"{block.name}_out") if "bn" in order.end else x
    return act(x, spec, f"{block.name}_out")


def _norm_and_act(x: Tensor, spec: Spec, kinds: tuple[str, ...], name: str) -> Tensor:
    """Adds the layers of `kinds`: "bn", "relu", both or none."""
    x = norm(x, spec, name) if "bn" in kinds else x
    return act(x, spec, f"{name}_relu") if "relu" in kinds else x


def _grouped_branch(x: Tensor, spec: Spec, block: BlockPlan) -> Tensor:
    """The residual branch of all nets but ResNeXt's forms a and b; a grouped convolution makes the groups."""
    *convolutions, last = BLOCKS[block.kind](spec, block)
    for plan in convolutions:
        x = apply_mixer(x, spec, plan)
        if plan.has_mixer and spec.block_dropout_rate:
            x = layers.Dropout(spec.block_dropout_rate, name=f"{block.name}_dropout")(x)

    has_norm = "bn" in ORDERS[spec.order].last
    # With zero_init_residual the branch must output zeros at first.  The gamma of its last normalization is
    # zero; if there is no normalization, the kernel of the last convolution is zero.
    has_zero_kernel = spec.zero_init_residual and (spec.norm == "none" or not has_norm)
    x = conv(x, spec, last.filters, last.kernel, last.name, dilation=last.dilation, normed=has_norm,
             zeros=has_zero_kernel)
    return _end_branch(x, spec, last)


def _end_branch(x: Tensor, spec: Spec, last: ConvolutionPlan) -> Tensor:
    """Adds what follows the last convolution, before the addition."""
    kinds = ORDERS[spec.order].last
    x = norm(x, spec, last.name, zeros=spec.zero_init_residual) if "bn" in kinds else x
    return act(x, spec, f"{last.name}_relu") if "relu" in kinds else x


def _concatenated_paths_branch(x: Tensor, spec: Spec, block: BlockPlan) -> Tensor:
    """ResNeXt's form b: every path has its own 1x1 and 3x3, then the paths are concatenated."""
    _, _, last = BLOCKS[block.kind](spec, block)
    paths = layers.Concatenate(name=f"{block.name}_paths")(_build_paths(x, spec, block))
    return _end_branch(conv(paths, spec, last.filters, 1, last.name), spec, last)


def _summed_paths_branch(x: Tensor, spec: Spec, block: BlockPlan) -> Tensor:
    """ResNeXt's form a: every path has its own three convolutions; the paths are summed."""
    _, _, last = BLOCKS[block.kind](spec, block)
    paths = [conv(path, spec, last.filters, 1, f"{block.name}_path{i}_3", bias=False)
             for i, path in enumerate(_build_paths(x, spec, block), 1)]
    return _end_branch(add(paths, f"{block.name}_paths") if len(paths) > 1 else paths[0], spec, last)


def _build_paths(x: Tensor, spec: Spec, block: BlockPlan) -> list[Tensor]:
    """Makes the first two convolutions of each of the `groups` paths, with their share of channels."""
    first, second, _ = BLOCKS[block.kind](spec, block)
    paths = []
    for i in range(1, spec.groups + 1):
        path = x
        for n, plan in enumerate((first, second), 1):
            narrow = ConvolutionPlan(f"{block.name}_path{i}_{n}", plan.filters // spec.groups, plan.kernel,
                                     plan.stride, plan.dilation)
            path = plain_convolution(path, spec, narrow, narrow.stride)
        paths.append(path)
    return paths


def _plan_basic_block(spec: Spec, block: BlockPlan) -> list[ConvolutionPlan]:
    """Plans two 3x3 convolutions; the first one has the stride."""
    (inner,) = block.inner_channels or (block.planes // spec.reduce_first,)
    return [
        ConvolutionPlan(f"{block.name}_1", inner, 3, stride=block.stride,
                        dilation=block.dilation[0], is_strided=block.is_strided, has_mixer=True,
                        in_last_two_stages=block.in_last_two_stages),
        ConvolutionPlan(f"{block.name}_2", block.out_channels, 3, dilation=block.dilation[1])]


def _plan_bottleneck_block(spec: Spec, block: BlockPlan) -> list[ConvolutionPlan]:
    """Plans three convolutions, 1x1, 3x3, 1x1.

    The first one has the stride in ResNet v1, the second one in v1.5 and all later nets.
    """
    inner = max(1, int(block.planes * (spec.base_width / 64))) * spec.groups
    first, second = block.inner_channels or (inner // spec.reduce_first, inner)
    on_1x1 = spec.stride_on == "1x1"
    return [
        ConvolutionPlan(f"{block.name}_1", first, 1,
                        stride=block.stride if on_1x1 else 1, is_strided=on_1x1 and block.is_strided,
                        in_last_two_stages=block.in_last_two_stages),
        ConvolutionPlan(f"{block.name}_2", second, 3, stride=1 if on_1x1 else block.stride,
                        dilation=block.dilation[on_1x1], groups=spec.groups,
                        is_strided=block.is_strided and not on_1x1, has_mixer=True,
                        in_last_two_stages=block.in_last_two_stages),
        ConvolutionPlan(f"{block.name}_3", block.out_channels, 1)]


FORMS = {"grouped": _grouped_branch, "concat": _concatenated_paths_branch, "sum": _summed_paths_branch}
BLOCKS = {"basic": _plan_basic_block, "bottleneck": _plan_bottleneck_block}
