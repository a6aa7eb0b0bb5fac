"""The shortcut of a block: the axis `shortcut`.

For a new kind of shortcut add its word to `CHOICES["shortcut"]` in spec.py, a function here, and an entry to
`SHORTCUTS` at the end of this file.  tests/test_tiny.py then asks for a net that has it.
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
class Site:
    """The place of a block in the net: its name, and what it must make of its input."""

    name: str                   # "conv2_block1"
    planes: int                 # channels before the expansion of a bottleneck
    out_channels: int
    stride: int                 # 1 if `output_stride` replaced the stride by dilation
    is_strided: bool            # whether the published net has a stride here (decides which weights exist)
    dilation: tuple[int, int]   # (of the strided convolution in the published net, of the later ones)
    drop_path_rate: float
    is_late: bool               # in the last two stages
    stage: int                  # 2 is the first


Pair = tuple[Tensor, Tensor]    # what is added: the shortcut and the residual branch


def add_shortcut(x: Tensor, entry: Tensor, branch: Tensor, spec: Spec, site: Site, name: str) -> Tensor:
    """The sum of shortcut and residual branch.

    Args:
        x: the input of the block.
        entry: `x` after the block's pre-activation, if it has one; projections read it.
        branch: the end of the residual branch, (N, h, w, out_channels).
        spec: what the net is made of.
        site: the place of the block.
        name: the name of the layer that adds.

    Returns:
        (N, h, w, out_channels).
    """
    pair = SHORTCUTS[spec.shortcut](x, entry, branch, spec, site)
    return add(pair, name) if pair else layers.Identity(name=name)(branch)


def _project(entry: Tensor, spec: Spec, site: Site, pool: bool = False) -> Tensor:
    """He et al.'s option B, a 1x1 convolution; `pool=True` pools first, as in ResNet-D (arXiv:1812.01187)."""
    name, stride = f"{site.name}_0", site.stride
    if pool and site.is_strided:
        entry = layers.AveragePooling2D(2, strides=stride, padding="same", name=f"{name}_pool")(entry)
        stride = 1

    kernel = spec.shortcut_kernel if site.is_strided else 1
    has_norm = spec.shortcut_norm and spec.order != "pre"
    entry = conv(entry, spec, site.out_channels, kernel, name, stride=stride, normed=has_norm,
                 dilation=site.dilation[0] if kernel > 1 else 1)
    return norm(entry, spec, name) if has_norm else entry


def _changes_shape(x: Tensor, site: Site) -> bool:
    return site.is_strided or x.shape[-1] != site.out_channels


def _identity_or_projection(x: Tensor, entry: Tensor, spec: Spec, site: Site) -> Tensor:
    if x.shape[-1] == site.out_channels and spec.stride_at == "last":
        return _subsample(x, site)
    return _project(entry, spec, site) if _changes_shape(x, site) else x


def _identity_or_pooled_projection(x: Tensor, entry: Tensor, spec: Spec, site: Site) -> Tensor:
    return _project(entry, spec, site, pool=True) if _changes_shape(x, site) else x


def _subsample(x: Tensor, site: Site) -> Tensor:
    # Keras' V2 nets name these layers by a counter; these are the names in a fresh process.
    name = "max_pooling2d" + (f"_{site.stage - 2}" if site.stage > 2 else "")
    return layers.MaxPooling2D(1, strides=site.stride, name=name)(x) if site.stride > 1 else x


def _identity_or_padding(x: Tensor, entry: Tensor, spec: Spec, site: Site) -> Tensor:
    """He et al.'s option A: every second position, and zeros for the new channels."""
    new = site.out_channels - x.shape[-1]
    if new < 0:
        raise ValueError(f"{site.name}: shortcut='pad' cannot reduce {x.shape[-1]} channels to "
                         f"{site.out_channels}; use shortcut='conv'")
    if site.stride > 1:
        x = layers.MaxPooling2D(1, strides=site.stride, name=f"{site.name}_0_pool")(x)
    return ChannelPadding(new // 2, new - new // 2, name=f"{site.name}_0_pad")(x) if new else x


def _dropped_out(x: Tensor, entry: Tensor, spec: Spec, site: Site) -> Tensor:
    return layers.Dropout(0.5, name=f"{site.name}_0_dropout")(_identity_or_projection(x, entry, spec, site))


def _halve_both(x: Tensor, entry: Tensor, branch: Tensor, spec: Spec, site: Site) -> Pair:
    x = _identity_or_projection(x, entry, spec, site)
    return (layers.Rescaling(0.5, name=f"{site.name}_0_scale")(x),
            layers.Rescaling(0.5, name=f"{site.name}_scale")(branch))


def _gate(is_exclusive: bool) -> Join:
    """A function: shortcut * (1 - g(x)), and branch * g(x) if `is_exclusive`; g(x) = sigmoid(W x + b)."""
    def gate_both(x: Tensor, entry: Tensor, branch: Tensor, spec: Spec, site: Site) -> Pair:
        bias = keras.initializers.Constant(spec.gate_bias)
        gate = layers.Conv2D(site.out_channels, 1, strides=site.stride, kernel_initializer=spec.initializer,
                             bias_initializer=bias, name=f"{site.name}_gate_conv")(entry)
        gate = layers.Activation("sigmoid", name=f"{site.name}_gate")(gate)
        rest = layers.Rescaling(-1.0, offset=1.0, name=f"{site.name}_gate_rest")(gate)

        x = _identity_or_projection(x, entry, spec, site)
        x = layers.Multiply(name=f"{site.name}_0_scale")([x, rest])
        if is_exclusive:
            branch = layers.Multiply(name=f"{site.name}_scale")([branch, gate])
        return x, branch
    return gate_both


Join = Callable[[Tensor, Tensor, Tensor, Spec, Site], "Pair | None"]    # None: there is no shortcut


def _leave_branch(shortcut: Callable[[Tensor, Tensor, Spec, Site], Tensor]) -> Join:
    """Makes a `Join` of a function that computes the shortcut; the residual branch does not change."""
    return lambda x, entry, branch, spec, site: (shortcut(x, entry, spec, site), branch)


SHORTCUTS: dict[str, Join] = {
    "conv": _leave_branch(_identity_or_projection),
    "pad": _leave_branch(_identity_or_padding),
    "all_conv": _leave_branch(lambda x, entry, spec, site: _project(entry, spec, site)),
    "avg": _leave_branch(_identity_or_pooled_projection),
    "none": lambda *_: None,
    # "Identity Mappings", arXiv:1603.05027, Table 1
    "constant": _halve_both,
    "exclusive_gate": _gate(True),
    "shortcut_gate": _gate(False),
    "dropout": _leave_branch(_dropped_out),
}
