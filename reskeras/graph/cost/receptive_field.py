"""Receptive fields: which pixels of the image a cell of a feature map can see.

Each cell i of a map sees, along each axis, the pixels low + i * stride ... high + i * stride (beyond the border too, as the
literature counts: Araujo et al. 2019, doi:10.23915/distill.00021).  A layer widens that by its kernel; where branches meet,
the cell sees what any of them does.  A global pool has no place in the image, and what it gates sees everything: that is
said apart (`whole`), for it would hide the field of the convolutions in every net with channel attention.
"""
from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Callable

import keras

from .execution_plan import Plan, Shape

Number = int | Fraction


@dataclass(frozen=True)
class View:
    """What a map's cells see, by axis."""
    low: tuple[Number, ...]
    high: tuple[Number, ...]
    stride: tuple[Number, ...]      # pixels from one cell to the next
    whole: bool = False             # whether a gate or a norm also tells of the whole image

    @property
    def size(self) -> tuple[int, ...]:
        """Pixels; an upper bound behind upsampling, where it differs from cell to cell."""
        return tuple(int(high - low) + 1 for low, high in zip(self.low, self.high))

    def moved(self, before: tuple[int, ...]) -> View:
        """Behind a padding (or, negative, a cropping) of so many cells."""
        return replace(self, low=tuple(low - b * s for low, b, s in zip(self.low, before, self.stride)),
                       high=tuple(h - b * s for h, b, s in zip(self.high, before, self.stride)))

    def through(self, window: tuple[int, ...], step: tuple[int, ...]) -> View:
        """Behind a window of so many cells, from the cell itself on, that moves by `step`."""
        return replace(self, high=tuple(h + (w - 1) * s for h, w, s in zip(self.high, window, self.stride)),
                       stride=tuple(s * n for s, n in zip(self.stride, step)))

    def finer(self, factor: tuple[int, ...], taps: tuple[int, ...]) -> View:
        """Behind an upsampling by `factor` each of whose cells comes from at most `taps` of before."""
        slack = [t - Fraction(1, f) for f, t in zip(factor, taps)]
        return replace(self, low=tuple(low - s * k for low, s, k in zip(self.low, self.stride, slack)),
                       stride=tuple(Fraction(s, f) for s, f in zip(self.stride, factor)))


def fields(plan: Plan) -> list[View | None]:
    """The view of every tensor; None for one that has no place in the image."""
    views: list[View | None] = [None] * len(plan.shapes)
    for step in plan.steps:
        inputs = [views[tensor] for tensor in step.reads]
        for tensor in step.makes:
            views[tensor] = view(step.layer, inputs, plan.before(step), plan.shapes[tensor])
    return views


def view(layer: Any, inputs: list[View | None], before: list[Shape], after: Shape) -> View | None:
    axes = len(after) - 2
    if isinstance(layer, keras.layers.InputLayer):
        return View((0,) * axes, (0,) * axes, (1,) * axes) if axes > 0 else None
    met = _meet(inputs)
    if met is None or axes != len(met.low):
        return None
    rule = next((RULES[kind.__name__] for kind in type(layer).__mro__ if kind.__name__ in RULES), None)
    if rule:
        return rule(layer, met, _spatial(layer, before[0]), _spatial(layer, after))
    # what is not known here works on each cell alone, where it keeps the map's size, and sees everything where it does not
    return met if _spatial(layer, before[0]) == _spatial(layer, after) or len(inputs) > 1 else None


def _meet(inputs: list[View | None]) -> View | None:
    """What a cell sees through any of several tensors."""
    views = [v for v in inputs if v]
    if not views:
        return None
    first = views[0]
    return View(tuple(map(min, *(v.low for v in views))) if len(views) > 1 else first.low,
                tuple(map(max, *(v.high for v in views))) if len(views) > 1 else first.high,
                first.stride, any(v.whole for v in views) or len(views) < len(inputs))


def _spatial(layer: Any, shape: Shape) -> Shape:
    return shape[2:] if getattr(layer, "data_format", None) == "channels_first" else shape[1:-1]


def each(value: Any, axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(value)


def convolution(layer: Any, met: View, before: Shape, after: Shape) -> View:
    return _slid(layer, layer.kernel_size, met, before, after)


def pooling(layer: Any, met: View, before: Shape, after: Shape) -> View:
    return _slid(layer, layer.pool_size, met, before, after)


def _slid(layer: Any, kernel: Any, met: View, before: Shape, after: Shape) -> View:
    axes = len(before)
    kernel, stride = each(kernel, axes), each(layer.strides, axes)
    dilation = each(getattr(layer, "dilation_rate", 1), axes)
    window = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation))
    # TensorFlow's "same" puts the odd cell behind
    pads = {"valid": [0] * axes, "causal": [w - 1 for w in window],
            "same": [max((a - 1) * s + w - b, 0) // 2 for a, s, w, b in zip(after, stride, window, before)]}
    return met.moved(tuple(pads[layer.padding])).through(window, stride)


def _transposed(layer: Any, met: View, before: Shape, after: Shape) -> View:
    axes = len(before)
    kernel, stride = each(layer.kernel_size, axes), each(layer.strides, axes)
    return met.finer(stride, tuple(-(-k // s) for k, s in zip(kernel, stride)))


def _upsampling(layer: Any, met: View, before: Shape, after: Shape) -> View:
    taps = 1 if getattr(layer, "interpolation", "nearest") == "nearest" else 2
    return met.finer(each(layer.size, len(before)), (taps,) * len(before))


def padding(layer: Any, met: View, before: Shape, after: Shape) -> View:
    return met.moved(tuple(p if isinstance(p, int) else p[0] for p in _pairs(layer.padding, len(before))))


def _cropping(layer: Any, met: View, before: Shape, after: Shape) -> View:
    return met.moved(tuple(-(p if isinstance(p, int) else p[0]) for p in _pairs(layer.cropping, len(before))))


def _pairs(value: Any, axes: int) -> Any:
    """Keras keeps (before, behind) for one axis, a pair of pairs for two."""
    return [value] if axes == 1 else value


def _blurred(layer: Any, met: View, before: Shape, after: Shape) -> View:
    axes = len(before)
    return met.moved((1,) * axes).through((3,) * axes, (layer.stride,) * axes)


def _edge(layer: Any, met: View, before: Shape, after: Shape) -> View:
    return met.moved((layer.padding[0],) * len(before))


def _over_the_map(layer: Any, met: View, before: Shape, after: Shape) -> View:
    return replace(met, whole=True)


def _layer_norm(layer: Any, met: View, before: Shape, after: Shape) -> View:
    axis = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    return met if list(axis) in ([-1], [len(before) + 1]) else _over_the_map(layer, met, before, after)


def _placeless(layer: Any, met: View, before: Shape, after: Shape) -> None:
    return None


def _reshaped(layer: Any, met: View, before: Shape, after: Shape) -> View | None:
    return met if before == after else None


Rule = Callable[[Any, View, Shape, Shape], "View | None"]
RULES: dict[str, Rule] = {
    "BaseConv": convolution, "BaseDepthwiseConv": convolution, "BaseSeparableConv": convolution,
    "BaseConvTranspose": _transposed, "BasePooling": pooling, "BaseGlobalPooling": _placeless, "Flatten": _placeless,
    "Reshape": _reshaped, "Permute": _placeless, "UpSampling1D": _upsampling, "UpSampling2D": _upsampling,
    "UpSampling3D": _upsampling, "ZeroPadding1D": padding, "ZeroPadding2D": padding, "ZeroPadding3D": padding,
    "Cropping1D": _cropping, "Cropping2D": _cropping, "Cropping3D": _cropping, "GroupNormalization": _over_the_map,
    "LayerNormalization": _layer_norm, "MultiHeadAttention": _over_the_map, "Attention": _over_the_map,
    "BlurPool2D": _blurred, "EdgePadding2D": _edge,
}
