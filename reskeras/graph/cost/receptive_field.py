"""Computes receptive fields: which pixels of the image a position of a feature map can see.

Along each axis, position i of a map sees the pixels low + i * stride ... high + i * stride (beyond the border
too, as the literature counts: Araujo et al. 2019, doi:10.23915/distill.00021).  A layer widens that by its
kernel; where branches meet, a position sees everything that any branch sees.  The output of a global pool is
not a map: it has no place in the image.  A gate made of it shows every position the whole image; this has a
separate field (`has_global_context`), because otherwise it would hide the receptive field of the convolutions
in every net with channel attention.
"""
from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Callable

import keras

from .execution_plan import ExecutionPlan, Shape

Number = int | Fraction


@dataclass(frozen=True)
class ReceptiveField:
    """The pixels of the image that a map's positions see, by axis."""

    low: tuple[Number, ...]             # the first pixel that position 0 sees
    high: tuple[Number, ...]            # the last one
    stride: tuple[Number, ...]          # pixels from one position to the next
    has_global_context: bool = False    # whether a gate or a norm shows each position the whole image

    @property
    def size(self) -> tuple[int, ...]:
        """Pixels by axis; after upsampling the largest possible, because positions differ."""
        return tuple(int(high - low) + 1 for low, high in zip(self.low, self.high))

    def after_padding(self, positions: tuple[int, ...]) -> ReceptiveField:
        """The field after a padding with this number of positions before the map (negative: a cropping)."""
        return replace(self, low=tuple(low - c * s for low, c, s in zip(self.low, positions, self.stride)),
                       high=tuple(high - c * s for high, c, s in zip(self.high, positions, self.stride)))

    def after_window(self, window: tuple[int, ...], strides: tuple[int, ...]) -> ReceptiveField:
        """The field after a window that begins at the position itself and moves by `strides` positions."""
        high = tuple(high + (w - 1) * s for high, w, s in zip(self.high, window, self.stride))
        return replace(self, high=high, stride=tuple(s * n for s, n in zip(self.stride, strides)))

    def after_upsampling(self, factor: tuple[int, ...], taps: tuple[int, ...]) -> ReceptiveField:
        """The field after an upsampling by `factor`; each new position reads at most `taps` old ones."""
        slack = [t - Fraction(1, f) for f, t in zip(factor, taps)]
        return replace(self, low=tuple(low - s * k for low, s, k in zip(self.low, self.stride, slack)),
                       stride=tuple(Fraction(s, f) for s, f in zip(self.stride, factor)))


def compute_receptive_fields(plan: ExecutionPlan) -> list[ReceptiveField | None]:
    """Computes the receptive field of every tensor of a plan, from the inputs on.

    Args:
        plan: the steps of a model.

    Returns:
        One for each tensor; None for a tensor that is not a map.
    """
    fields: list[ReceptiveField | None] = [None] * len(plan.shapes)
    for step in plan.steps:
        inputs = [fields[tensor] for tensor in step.inputs]
        for tensor in step.outputs:
            fields[tensor] = _field_of_output(step.layer, inputs, plan.input_shapes(step),
                                              plan.shapes[tensor])
    return fields


def _field_of_output(layer: Any, inputs: list[ReceptiveField | None], before: list[Shape],
                     after: Shape) -> ReceptiveField | None:
    axes = len(after) - 2
    if isinstance(layer, keras.layers.InputLayer):
        return ReceptiveField((0,) * axes, (0,) * axes, (1,) * axes) if axes > 0 else None

    field = _unite(inputs)
    if field is None or axes != len(field.low):
        return None
    rule = next((RULES[kind.__name__] for kind in type(layer).__mro__ if kind.__name__ in RULES), None)
    if rule:
        return rule(layer, field, _map_size(layer, before[0]), _map_size(layer, after))
    # an unknown layer is assumed to work on each position separately if it keeps the map's size; if not, each
    # position sees everything
    return field if _map_size(layer, before[0]) == _map_size(layer, after) or len(inputs) > 1 else None


def _unite(inputs: list[ReceptiveField | None]) -> ReceptiveField | None:
    """The field of a position that sees several tensors."""
    fields = [field for field in inputs if field]
    if not fields:
        return None
    first = fields[0]
    return ReceptiveField(
        tuple(map(min, *(field.low for field in fields))) if len(fields) > 1 else first.low,
        tuple(map(max, *(field.high for field in fields))) if len(fields) > 1 else first.high,
        first.stride, any(field.has_global_context for field in fields) or len(fields) < len(inputs))


def _map_size(layer: Any, shape: Shape) -> Shape:
    return shape[2:] if getattr(layer, "data_format", None) == "channels_first" else shape[1:-1]


def _per_axis(value: Any, axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(value)


def _convolution(layer: Any, field: ReceptiveField, before: Shape, after: Shape) -> ReceptiveField:
    return _slide_window(layer, layer.kernel_size, field, before, after)


def _pooling(layer: Any, field: ReceptiveField, before: Shape, after: Shape) -> ReceptiveField:
    return _slide_window(layer, layer.pool_size, field, before, after)


def _slide_window(layer: Any, kernel: Any, field: ReceptiveField, before: Shape,
                  after: Shape) -> ReceptiveField:
    axes = len(before)
    kernel, strides = _per_axis(kernel, axes), _per_axis(layer.strides, axes)
    dilation = _per_axis(getattr(layer, "dilation_rate", 1), axes)
    window = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation))
    # TensorFlow's "same" pads the odd position at the end
    pads = {"valid": [0] * axes, "causal": [w - 1 for w in window],
            "same": [max((a - 1) * s + w - b, 0) // 2 for a, s, w, b in zip(after, strides, window, before)]}
    return field.after_padding(tuple(pads[layer.padding])).after_window(window, strides)


def _transposed(layer: Any, field: ReceptiveField, before: Shape, after: Shape) -> ReceptiveField:
    axes = len(before)
    kernel, strides = _per_axis(layer.kernel_size, axes), _per_axis(layer.strides, axes)
    return field.after_upsampling(strides, tuple(-(-k // s) for k, s in zip(kernel, strides)))


def _upsampling(layer: Any, field: ReceptiveField, before: Shape, after: Shape) -> ReceptiveField:
    taps = 1 if getattr(layer, "interpolation", "nearest") == "nearest" else 2
    return field.after_upsampling(_per_axis(layer.size, len(before)), (taps,) * len(before))


def _padding(layer: Any, field: ReceptiveField, before: Shape, after: Shape) -> ReceptiveField:
    return field.after_padding(_positions_before(layer.padding, len(before)))


def _cropping(layer: Any, field: ReceptiveField, before: Shape, after: Shape) -> ReceptiveField:
    return field.after_padding(tuple(-number for number in _positions_before(layer.cropping, len(before))))


def _positions_before(value: Any, axes: int) -> tuple[int, ...]:
    """Reads Keras' (before, after) for one axis, or a pair of such pairs for two."""
    pairs = [value] if axes == 1 else value
    return tuple(pair if isinstance(pair, int) else pair[0] for pair in pairs)


def _blur_pool(layer: Any, field: ReceptiveField, before: Shape, after: Shape) -> ReceptiveField:
    axes = len(before)
    return field.after_padding((1,) * axes).after_window((3,) * axes, (layer.stride,) * axes)


def _edge_padding(layer: Any, field: ReceptiveField, before: Shape, after: Shape) -> ReceptiveField:
    return field.after_padding((layer.padding[0],) * len(before))


def _global_context(layer: Any, field: ReceptiveField, before: Shape, after: Shape) -> ReceptiveField:
    return replace(field, has_global_context=True)


def _layer_norm(layer: Any, field: ReceptiveField, before: Shape, after: Shape) -> ReceptiveField:
    axis = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    is_per_cell = list(axis) in ([-1], [len(before) + 1])
    return field if is_per_cell else _global_context(layer, field, before, after)


def _no_map(layer: Any, field: ReceptiveField, before: Shape, after: Shape) -> None:
    return None


def _reshape(layer: Any, field: ReceptiveField, before: Shape, after: Shape) -> ReceptiveField | None:
    return field if before == after else None


# (layer, field of its input, map sizes before and after) -> field of its output.  By the name of a class or
# its base, because this folder does not import the package's layers (BlurPool2D, EdgePadding2D), which are on
# the same floor.
Rule = Callable[[Any, ReceptiveField, Shape, Shape], "ReceptiveField | None"]
RULES: dict[str, Rule] = {
    "BaseConv": _convolution, "BaseDepthwiseConv": _convolution, "BaseSeparableConv": _convolution,
    "BaseConvTranspose": _transposed, "BasePooling": _pooling, "BaseGlobalPooling": _no_map,
    "Flatten": _no_map, "Reshape": _reshape, "Permute": _no_map,
    "UpSampling1D": _upsampling, "UpSampling2D": _upsampling, "UpSampling3D": _upsampling,
    "ZeroPadding1D": _padding, "ZeroPadding2D": _padding, "ZeroPadding3D": _padding,
    "Cropping1D": _cropping, "Cropping2D": _cropping, "Cropping3D": _cropping,
    "GroupNormalization": _global_context, "LayerNormalization": _layer_norm,
    "MultiHeadAttention": _global_context, "Attention": _global_context,
    "BlurPool2D": _blur_pool, "EdgePadding2D": _edge_padding,
}
