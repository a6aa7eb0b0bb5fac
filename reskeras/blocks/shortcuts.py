"""The shortcut of a block: the field `shortcut` of a `Spec`.

For a new kind of shortcut add its word to `CHOICES["shortcut"]` in spec.py, and an entry to `SHORTCUTS` at
the end of this file.  tests/test_tiny.py then fails until a case in CASES uses it.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

import keras
from keras import layers

from ..spec import Spec
from .layers import ChannelPadding
from .ops import Tensor, add, conv, norm


@dataclass(frozen=True)
class BlockPlan:
    """The plan of one block: its name, its place in the net, and the shape of its output."""

    name: str                   # "conv2_block1"
    kind: str                   # "basic" or "bottleneck"
    planes: int                 # channels before the expansion of a bottleneck
    inner_channels: tuple[int, ...]     # of the convolutions before the last, if they are pruned; else ()
    out_channels: int
    stride: int                 # 1 if `output_stride` replaced the stride by dilation
    is_first: bool              # whether it is the first block of its stage
    is_strided: bool            # whether the published net has a stride here (decides which weights exist)
    dilation: tuple[int, int]   # (of the block's strided convolution, of the convolutions after it)
    drop_path_rate: float
    in_last_two_stages: bool    # DropBlock acts only there
    stage: int                  # 2 is the first


Pair = tuple[Tensor, Tensor]    # what is added: the shortcut and the residual branch


def add_shortcut(x: Tensor, preactivated: Tensor, branch: Tensor, spec: Spec, block: BlockPlan,
                 name: str) -> Tensor:
    """Adds the shortcut and the residual branch.

    Args:
        x: the input of the block.
        preactivated: `x` after the block's pre-activation, if there is one; projections read it.
        branch: the end of the residual branch, (N, h, w, out_channels).
        spec: what the net is made of.
        block: the plan of the block.
        name: the name of the layer that adds.

    Returns:
        (N, h, w, out_channels).
    """
    pair = SHORTCUTS[spec.shortcut](x, preactivated, branch, spec, block)
    return add(pair, name) if pair else layers.Identity(name=name)(branch)


def _project(preactivated: Tensor, spec: Spec, block: BlockPlan, pool: bool = False) -> Tensor:
    """He et al.'s option B: a 1x1 convolution; `pool=True` pools first: ResNet-D (arXiv:1812.01187)."""
    name, stride, x = f"{block.name}_0", block.stride, preactivated
    if pool and block.is_strided:
        x = layers.AveragePooling2D(2, strides=stride, padding="same", name=f"{name}_pool")(x)
        stride = 1

    kernel = spec.shortcut_kernel if block.is_strided else 1
    has_norm = spec.shortcut_norm and spec.order != "pre"
    x = conv(x, spec, block.out_channels, kernel, name, stride=stride, normed=has_norm,
             dilation=block.dilation[0] if kernel > 1 else 1)
    return norm(x, spec, name) if has_norm else x


def _changes_shape(x: Tensor, block: BlockPlan) -> bool:
    return block.is_strided or x.shape[-1] != block.out_channels


def _identity_or_projection(x: Tensor, preactivated: Tensor, spec: Spec, block: BlockPlan) -> Tensor:
    if x.shape[-1] == block.out_channels and spec.stride_at == "last":
        return _subsample(x, block)
    return _project(preactivated, spec, block) if _changes_shape(x, block) else x


def _identity_or_pooled_projection(x: Tensor, preactivated: Tensor, spec: Spec, block: BlockPlan) -> Tensor:
    return _project(preactivated, spec, block, pool=True) if _changes_shape(x, block) else x


def _projection_of_each_stage(x: Tensor, preactivated: Tensor, spec: Spec, block: BlockPlan) -> Tensor:
    """Like PaddleClas: the first block of every stage projects, also where its shape does not change."""
    is_projected = block.is_first or _changes_shape(x, block)
    return _project(preactivated, spec, block, pool=True) if is_projected else x


def _subsample(x: Tensor, block: BlockPlan) -> Tensor:
    # Keras' V2 nets name these layers by a counter; these are the names in a fresh process.
    name = "max_pooling2d" + (f"_{block.stage - 2}" if block.stage > 2 else "")
    return layers.MaxPooling2D(1, strides=block.stride, name=name)(x) if block.stride > 1 else x


def _identity_or_padding(x: Tensor, preactivated: Tensor, spec: Spec, block: BlockPlan) -> Tensor:
    """He et al.'s option A: every second position, and zeros for the new channels."""
    new = block.out_channels - x.shape[-1]
    if new < 0:
        raise ValueError(f"{block.name}: shortcut='pad' cannot reduce {x.shape[-1]} channels to "
                         f"{block.out_channels}; use shortcut='conv'")
    if block.stride > 1:
        x = layers.MaxPooling2D(1, strides=block.stride, name=f"{block.name}_0_pool")(x)
    return ChannelPadding(new // 2, new - new // 2, name=f"{block.name}_0_pad")(x) if new else x


def _add_dropout(x: Tensor, preactivated: Tensor, spec: Spec, block: BlockPlan) -> Tensor:
    x = _identity_or_projection(x, preactivated, spec, block)
    return layers.Dropout(0.5, name=f"{block.name}_0_dropout")(x)


def _halve_both(x: Tensor, preactivated: Tensor, branch: Tensor, spec: Spec, block: BlockPlan) -> Pair:
    x = _identity_or_projection(x, preactivated, spec, block)
    return (layers.Rescaling(0.5, name=f"{block.name}_0_scale")(x),
            layers.Rescaling(0.5, name=f"{block.name}_scale")(branch))


def _gate(is_exclusive: bool) -> JoinFunction:
    """Makes a function: shortcut * (1 - g), and branch * g only if is_exclusive; g = sigmoid(W x + b)."""
    def gate_both(x: Tensor, preactivated: Tensor, branch: Tensor, spec: Spec, block: BlockPlan) -> Pair:
        bias = keras.initializers.Constant(spec.gate_bias)
        gate = layers.Conv2D(block.out_channels, 1, strides=block.stride, kernel_initializer=spec.initializer,
                             bias_initializer=bias, name=f"{block.name}_gate_conv")(preactivated)
        gate = layers.Activation("sigmoid", name=f"{block.name}_gate")(gate)
        inverse_gate = layers.Rescaling(-1.0, offset=1.0, name=f"{block.name}_gate_rest")(gate)

        x = _identity_or_projection(x, preactivated, spec, block)
        x = layers.Multiply(name=f"{block.name}_0_scale")([x, inverse_gate])
        if is_exclusive:
            branch = layers.Multiply(name=f"{block.name}_scale")([branch, gate])
        return x, branch
    return gate_both


# (x, preactivated, branch, spec, block) -> what is added; None if there is no shortcut
JoinFunction = Callable[[Tensor, Tensor, Tensor, Spec, BlockPlan], "Pair | None"]


def _keep_branch(shortcut: Callable[[Tensor, Tensor, Spec, BlockPlan], Tensor]) -> JoinFunction:
    """Makes a `JoinFunction` from a shortcut function; the residual branch does not change."""
    return lambda x, preactivated, branch, spec, block: (shortcut(x, preactivated, spec, block), branch)


SHORTCUTS: dict[str, JoinFunction] = {
    "conv": _keep_branch(_identity_or_projection),
    "pad": _keep_branch(_identity_or_padding),
    "all_conv": _keep_branch(lambda x, preactivated, spec, block: _project(preactivated, spec, block)),
    "avg": _keep_branch(_identity_or_pooled_projection),
    "avg_each_stage": _keep_branch(_projection_of_each_stage),
    "none": lambda *_: None,
    # "Identity Mappings", arXiv:1603.05027, Table 1
    "constant": _halve_both,
    "exclusive_gate": _gate(True),
    "shortcut_gate": _gate(False),
    "dropout": _keep_branch(_add_dropout),
}
