"""The other way through a block: the `shortcut` axis."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

import keras
from keras import layers

from ..spec import Spec
from .ops import Tensor, add, conv, norm
from .layers import ChannelPadding


@dataclass(frozen=True)
class Site:
    """Where a block stands: its name and what it must turn its input into."""
    name: str               # "conv2_block1"
    planes: int
    out_channels: int
    stride: int             # what is left of it: `output_stride` may have turned it into dilation
    is_strided: bool           # does the block stride in the published net?  Decides which weights there are
    dilation: tuple[int, int]   # of the strided convolution, of those after it
    drop_path: float
    is_late: bool           # in the last two stages
    stage: int


def add_shortcut(x: Tensor, entry: Tensor, y: Tensor, spec: Spec, site: Site, name: str) -> Tensor:
    """The sum of the shortcut of `x` (projections read `entry`, the pre-activated `x`) and the residual branch `y`."""
    pair = SHORTCUTS[spec.shortcut](x, entry, y, spec, site)
    return add(pair, name) if pair else layers.Identity(name=name)(y)


def _project(entry: Tensor, spec: Spec, site: Site, pool: bool = False) -> Tensor:
    """A 1x1 convolution (B); where `pool`, after an average pool that loses nothing (ResNet-D, arXiv:1812.01187)."""
    name, stride = f"{site.name}_0", site.stride
    if pool and site.is_strided:
        entry = layers.AveragePooling2D(2, strides=stride, padding="same", name=f"{name}_pool")(entry)
        stride = 1
    kernel = spec.shortcut_kernel if site.is_strided else 1
    normed = spec.shortcut_norm and spec.order != "pre"
    entry = conv(entry, spec, site.out_channels, kernel, name, stride=stride, normed=normed,
                 dilation=site.dilation[0] if kernel > 1 else 1)
    return norm(entry, spec, name) if normed else entry


def _identity_or_projection(x: Tensor, entry: Tensor, spec: Spec, site: Site) -> Tensor:
    """Identity, or a projection where the shape changes."""
    if x.shape[-1] == site.out_channels and spec.stride_at == "last":
        return _subsample(x, site)
    return _project(entry, spec, site) if site.is_strided or x.shape[-1] != site.out_channels else x


def _subsample(x: Tensor, site: Site) -> Tensor:
    # Keras' V2 nets leave these layers to its counter; in a fresh process they get the names of this scheme.
    name = "max_pooling2d" + (f"_{site.stage - 2}" if site.stage > 2 else "")
    return layers.MaxPooling2D(1, strides=site.stride, name=name)(x) if site.stride > 1 else x


def _identity_or_padding(x: Tensor, entry: Tensor, spec: Spec, site: Site) -> Tensor:
    """A: every other cell, and zeros for the new channels."""
    new = site.out_channels - x.shape[-1]
    if new < 0:
        raise ValueError(f"{site.name}: shortcut='pad' cannot take {x.shape[-1]} channels to {site.out_channels}; try 'conv'")
    if site.stride > 1:
        x = layers.MaxPooling2D(1, strides=site.stride, name=f"{site.name}_0_pool")(x)
    return ChannelPadding(new // 2, new - new // 2, name=f"{site.name}_0_pad")(x) if new else x


def _identity_or_average_pool(x: Tensor, entry: Tensor, spec: Spec, site: Site) -> Tensor:
    return _project(entry, spec, site, pool=True) if site.is_strided or x.shape[-1] != site.out_channels else x


def _halve_both(x: Tensor, entry: Tensor, y: Tensor, spec: Spec, site: Site) -> tuple[Tensor, Tensor]:
    x = _identity_or_projection(x, entry, spec, site)
    return (layers.Rescaling(0.5, name=f"{site.name}_0_scale")(x), layers.Rescaling(0.5, name=f"{site.name}_scale")(y))


def _make_gated(exclusive: bool) -> Join:
    """1 - g(x) on the shortcut, g(x) = sigmoid(W x + b) on the residual branch where `exclusive` (else 1)."""
    def join(x: Tensor, entry: Tensor, y: Tensor, spec: Spec, site: Site) -> tuple[Tensor, Tensor]:
        gate = layers.Conv2D(site.out_channels, 1, strides=site.stride, kernel_initializer=spec.initializer,
                             bias_initializer=keras.initializers.Constant(spec.gate_bias), name=f"{site.name}_gate_conv")(entry)
        gate = layers.Activation("sigmoid", name=f"{site.name}_gate")(gate)
        rest = layers.Rescaling(-1.0, offset=1.0, name=f"{site.name}_gate_rest")(gate)
        x = layers.Multiply(name=f"{site.name}_0_scale")([_identity_or_projection(x, entry, spec, site), rest])
        return x, (layers.Multiply(name=f"{site.name}_scale")([y, gate]) if exclusive else y)
    return join


def _identity_or_projection_with_dropout(x: Tensor, entry: Tensor, spec: Spec, site: Site) -> Tensor:
    return layers.Dropout(0.5, name=f"{site.name}_0_dropout")(_identity_or_projection(x, entry, spec, site))


Join = Callable[[Tensor, Tensor, Tensor, Spec, Site], "tuple[Tensor, Tensor] | None"]


def _shortcut_only(shortcut: Callable[[Tensor, Tensor, Spec, Site], Tensor]) -> Join:
    """A shortcut that leaves the residual branch alone."""
    return lambda x, entry, y, spec, site: (shortcut(x, entry, spec, site), y)


SHORTCUTS: dict[str, Join] = {
    "conv": _shortcut_only(_identity_or_projection), "pad": _shortcut_only(_identity_or_padding), "avg": _shortcut_only(_identity_or_average_pool), "dropout": _shortcut_only(_identity_or_projection_with_dropout),
    "all_conv": _shortcut_only(lambda x, entry, spec, site: _project(entry, spec, site)), "none": lambda *_: None,
    "constant": _halve_both, "exclusive_gate": _make_gated(True), "shortcut_gate": _make_gated(False),
}
