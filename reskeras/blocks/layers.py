"""The few layers that Keras does not have; `keras.ops` makes them run on every backend.

They are registered, so that a saved net loads without `custom_objects`.  Those registered names are frozen.
"""
from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers, ops

from .grouped_conv import GroupedConv2D

_register = keras.saving.register_keras_serializable("reskeras")
_SMALLEST_NORM = 1e-12      # Keras' own


@_register
class StandardizedConv2D(GroupedConv2D):
    """Convolution with weight standardization: each filter has mean 0 and variance 1 (arXiv:1903.10520).

    Big Transfer uses it, arXiv:1912.11370.

    Args:
        *args: those of `keras.layers.Conv2D`.
        epsilon: added to the variance.
        **kwargs: those of `keras.layers.Conv2D`.
    """

    def __init__(self, *args: Any, epsilon: float = 1e-8, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.epsilon = epsilon

    def convolution_op(self, inputs, kernel):
        # in float32 or better: a half type cannot hold an epsilon of 1e-8, and a kernel of zeros would give
        # 0 / 0
        kernel = ops.cast(kernel, keras.backend.result_type(kernel.dtype, "float32"))
        mean, variance = ops.moments(kernel, axes=(0, 1, 2), keepdims=True)
        kernel = (kernel - mean) / ops.sqrt(variance + self.epsilon)
        return super().convolution_op(inputs, ops.cast(kernel, inputs.dtype))

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


@_register
class GroupNormalization(layers.GroupNormalization):
    """Group normalization (Wu & He 2018, arXiv:1803.08494) for edge runtimes, with fewer rounding errors.

    No tensor has more than four axes, because edge runtimes stop there.  And it computes (x - mean) * a +
    beta, while Keras computes x * a + (beta - mean * a), two terms that cancel if the mean is large.

    The arguments are those of `keras.layers.GroupNormalization`; the axis is the last one.
    """

    def call(self, inputs):
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        x = x - self._compute_group_means(x)
        scale = ops.rsqrt(self._compute_group_means(ops.square(x)) + self.epsilon)
        if self.scale:
            scale = scale * ops.cast(self.gamma, x.dtype)
        x = x * scale
        return ops.cast(x + ops.cast(self.beta, x.dtype) if self.center else x, self.compute_dtype)

    def _compute_group_means(self, x):
        """Computes (N, 1, 1, C): for each channel the mean of its group over all positions."""
        channels = x.shape[-1]
        size = channels // self.groups
        x = ops.reshape(ops.mean(x, axis=(1, 2)), (-1, self.groups, size))
        return ops.reshape(ops.repeat(ops.mean(x, axis=2), size, axis=1), (-1, 1, 1, channels))


@_register
class UnitNormalization(layers.UnitNormalization):
    """Keras' unit normalization for half precision: a sum of squares may overflow there, their mean does not.

    The arguments are those of `keras.layers.UnitNormalization`.
    """

    def call(self, inputs):
        axes = [self.axis] if isinstance(self.axis, int) else self.axis
        sides = [inputs.shape[axis] for axis in axes]
        if None in sides:
            return super().call(inputs)
        means = ops.mean(ops.square(inputs), axis=tuple(axes), keepdims=True)
        count = math.prod(sides)
        return inputs * ops.rsqrt(ops.maximum(means, _SMALLEST_NORM ** 2 / count)) * count ** -0.5


@_register
class UpSampling2D(layers.UpSampling2D):
    """Keras' upsampling for edge runtimes, which stop at four axes; Keras repeats positions on five.

    It is a resize to the nearest position.  The factors are whole numbers, so that the center of a new
    position lies inside an old one and never between two: the numbers are Keras' to the bit.
    """

    def call(self, inputs):
        if self.interpolation != "nearest":
            return super().call(inputs)
        axes = (2, 3) if self.data_format == "channels_first" else (1, 2)
        shape = ops.shape(inputs)
        size = tuple(shape[axis] * factor for axis, factor in zip(axes, self.size))
        return ops.image.resize(inputs, size, interpolation="nearest", data_format=self.data_format)


@_register
class ChannelSlice(layers.Layer):
    """The channels from `start` to `stop` - 1 of its input.

    In inference it is a slice, because GPU delegates refuse a net with a split.  In training it is a split,
    because TensorFlow's gradient of a slice is slow and that of a split is a concatenation.

    Args:
        start: the first channel.
        stop: the channel after the last one.
    """

    def __init__(self, start: int, stop: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.start, self.stop = start, stop

    def call(self, inputs, training=False):
        cuts = [cut for cut in (self.start, self.stop) if 0 < cut < inputs.shape[-1]]
        if training and cuts:
            return ops.split(inputs, cuts, axis=-1)[int(self.start > 0)]
        return inputs[..., self.start:self.stop]

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.stop - self.start)

    def get_config(self):
        return {**super().get_config(), "start": self.start, "stop": self.stop}


@_register
class ChannelPadding(layers.Layer):
    """Adds channels of zeros: option A of He et al. 2015 for a shortcut.

    Args:
        before: how many channels come before the first one.
        after: how many channels come after the last one.
    """

    def __init__(self, before: int, after: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.before, self.after = before, after

    def call(self, inputs):
        return ops.pad(inputs, [(0, 0)] * (len(inputs.shape) - 1) + [(self.before, self.after)])

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.before + input_shape[-1] + self.after)

    def get_config(self):
        return {**super().get_config(), "before": self.before, "after": self.after}


@_register
class EdgePadding2D(layers.Layer):
    """Pads with copies of positions near the border, for a 3x3 max pool as if with minus infinity.

    An int8 net cannot have an infinity.  The copies are a reflection, which GPU delegates support; a single
    position has no neighbour to reflect and is repeated.

    Args:
        padding: number of positions (before, after) along the height, and the same along the width.
    """

    def __init__(self, padding: tuple[int, int], **kwargs: Any):
        super().__init__(**kwargs)
        self.padding = tuple(padding)

    def call(self, inputs):
        can_reflect = all(side and side > max(self.padding) for side in inputs.shape[1:3])
        mode = "reflect" if can_reflect else "symmetric"
        return ops.pad(inputs, [(0, 0), self.padding, self.padding, (0, 0)], mode=mode)

    def compute_output_shape(self, input_shape):
        n, h, w, c = input_shape
        return (n, *(None if s is None else s + sum(self.padding) for s in (h, w)), c)

    def get_config(self):
        return {**super().get_config(), "padding": self.padding}


@_register
class BlurPool2D(layers.Layer):
    """Blurs by the kernel [1, 2, 1] on a reflected border, then subsamples (Zhang 2019, arXiv:1904.11486).

    A single position has no neighbour to reflect.  It is repeated, so that the blur does not change it.

    Args:
        stride: the stride of the subsampling.
    """

    def __init__(self, stride: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        self.stride = stride

    def call(self, inputs):
        axes = [axis for axis in (1, 2) if inputs.shape[axis] != 1]
        x = self._reflect(inputs, axes) if axes else inputs
        for axis in axes:
            # each of the three values of the kernel is a strided slice: no kernel to store or to train
            before, middle, after = (x[(slice(None),) * axis + (slice(start, stop, self.stride),)]
                                     for start, stop in ((0, -2), (1, -1), (2, None)))
            x = before * 0.25 + middle * 0.5 + after * 0.25
        return x

    def _reflect(self, x, axes):
        """Adds one position on each side of these axes."""
        if all(x.shape[axis] for axis in axes):
            return ops.pad(x, [(int(axis in axes),) * 2 for axis in range(4)], mode="reflect")
        # Runtimes cannot reflect a single position, and a size that is open now may be 1 later.
        for axis in axes:
            first_two, last_two = (x[(slice(None),) * axis + (part,)] for part in (slice(2), slice(-2, None)))
            neighbours = [part[(slice(None),) * axis + (side,)]
                          for part, side in ((first_two, slice(-1, None)), (last_two, slice(1)))]
            x = ops.concatenate([neighbours[0], x, neighbours[1]], axis=axis)
        return x

    def compute_output_shape(self, input_shape):
        n, h, w, c = input_shape
        return (n, *(None if size is None else -(-size // self.stride) for size in (h, w)), c)

    def get_config(self):
        return {**super().get_config(), "stride": self.stride}


@_register
class RadixSoftmax(layers.Layer):
    """The gates of SK and of split attention: for each channel a softmax over its `radix` parts.

    From (N, 1, 1, groups * radix * c), group by group as in published weights, to (N, 1, 1, radix * groups
    * c), part by part as in the feature maps.  A single part gets a sigmoid (arXiv:2004.08955, section 3).

    Args:
        radix: the number of parts.
        groups: the number of groups; 1 for SK.
    """

    def __init__(self, radix: int, groups: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.radix, self.groups = radix, groups

    def call(self, inputs):
        if self.radix == 1:
            return ops.sigmoid(inputs)
        size = inputs.shape[-1] // (self.groups * self.radix)
        # slices of tensors with four axes: every edge runtime has them
        logits = [ops.concatenate([inputs[..., (g * self.radix + r) * size:(g * self.radix + r + 1) * size]
                                   for g in range(self.groups)], axis=-1) for r in range(self.radix)]
        if self.radix == 2:
            first = ops.sigmoid(logits[0] - logits[1])
            return ops.concatenate([first, 1 - first], axis=-1)

        # One softmax over (N, 1, channels, radix): an int8 net would round an exponential and a quotient
        # each to 8 bits.
        channels = size * self.groups
        columns = [ops.reshape(z, (-1, 1, channels, 1)) for z in logits]
        gates = ops.softmax(ops.concatenate(columns, axis=-1), axis=-1)
        parts = [ops.reshape(gates[..., r:r + 1], (-1, 1, 1, channels)) for r in range(self.radix)]
        return ops.concatenate(parts, axis=-1)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "radix": self.radix, "groups": self.groups}
