"""The few layers that Keras lacks; registered, so that a saved net loads without custom_objects.  keras.ops only."""
from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from .grouped_conv import GroupedConv2D

_register = keras.saving.register_keras_serializable("reskeras")


@_register
class StandardizedConv2D(GroupedConv2D):
    """Convolution with weight standardization: each filter has mean 0 and variance 1 (arXiv:1903.10520; BiT, arXiv:1912.11370).

    Arguments: those of `keras.layers.Conv2D`; `epsilon` is added to the variance.
    """

    def __init__(self, *args: Any, epsilon: float = 1e-8, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.epsilon = epsilon

    def convolution_op(self, inputs, kernel):
        # in at least single precision: half types lose an epsilon of 1e-8, and a zero kernel would give 0 / 0
        kernel = ops.cast(kernel, keras.backend.result_type(kernel.dtype, "float32"))
        mean, variance = ops.moments(kernel, axes=(0, 1, 2), keepdims=True)
        kernel = (kernel - mean) / ops.sqrt(variance + self.epsilon)
        return super().convolution_op(inputs, ops.cast(kernel, inputs.dtype))

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


@_register
class GroupNormalization(layers.GroupNormalization):
    """Group normalization (Wu & He 2018, arXiv:1803.08494) at rank 4, where edge runtimes stop, and centred first.

    Keras computes x * a + (beta - mean * a), whose two halves cancel where the mean is large; (x - mean) * a + beta loses
    no digits.

    Arguments: those of `keras.layers.GroupNormalization`, on the last axis.
    """

    def call(self, inputs):
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        x = x - self.grouped_mean(x)
        scale = ops.rsqrt(self.grouped_mean(ops.square(x)) + self.epsilon)
        if self.scale:
            scale = scale * ops.cast(self.gamma, x.dtype)
        x = x * scale
        return ops.cast(x + ops.cast(self.beta, x.dtype) if self.center else x, self.compute_dtype)

    def grouped_mean(self, x):
        """(N, 1, 1, C): for each channel the mean of its group over all pixels."""
        channels = x.shape[-1]
        size = channels // self.groups
        x = ops.reshape(ops.mean(x, axis=(1, 2)), (-1, self.groups, size))
        return ops.reshape(ops.repeat(ops.mean(x, axis=2), size, axis=1), (-1, 1, 1, channels))


@_register
class StochasticDepth(layers.Layer):
    """Drops the residual branch with probability `rate` in training, and is exactly the identity in inference.

    The kept branch is divided by the survival probability 1 - rate, so that inference needs no scaling
    (Huang et al. 2016, arXiv:1603.09382, scale at inference instead: the same expectation).

    Arguments:
        rate: probability in [0, 1).
        mode: "sample" decides for each sample, and saves no time: the branch is computed and then dropped; "batch" once for the
            batch, so that `reskeras.fit` and `reskeras.distributable` do not compute it at all.
        seed: integer, or None.
    Raises: ValueError for another rate or mode.
    """

    def __init__(self, rate: float, mode: str = "sample", seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if not 0 <= rate < 1 or mode not in ("sample", "batch"):
            raise ValueError(f"rate={rate!r}, mode={mode!r}: expected a rate in [0, 1) and 'sample' or 'batch'")
        self.rate, self.mode, self.seed = rate, mode, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=False):
        if not training or not self.rate:
            return inputs
        samples = ops.shape(inputs)[0] if self.mode == "sample" else 1
        kept = self.draw((samples,) + (1,) * (len(inputs.shape) - 1))
        return ops.where(kept, self.scaled(inputs), ops.zeros_like(inputs))

    def draw(self, shape):
        """Which branches stay."""
        # drawn in float32: 1 - rate has few digits in half precision
        return keras.random.uniform(shape, dtype="float32", seed=self.seed_generator) < 1 - self.rate

    def scaled(self, inputs):
        return inputs / ops.cast(1 - self.rate, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "mode": self.mode, "seed": self.seed}


@_register
class DropBlock2D(layers.Layer):
    """Drops contiguous squares of a feature map in training (Ghiasi et al. 2018, arXiv:1810.12890).

    Arguments:
        rate: expected fraction of dropped cells, in [0, 1).
        block_size: side of the square in cells; less where the map is smaller.
        seed: integer, or None.
    Raises: ValueError for another rate or size.
    """

    def __init__(self, rate: float, block_size: int = 7, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if not 0 <= rate < 1 or block_size < 1:
            raise ValueError(f"rate={rate!r}, block_size={block_size!r}: expected a rate in [0, 1) and a size of at least 1")
        self.rate, self.block_size, self.seed = rate, block_size, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=False):
        if not training or not self.rate:
            return inputs
        _, height, width, _ = inputs.shape
        size = min(self.block_size, height or self.block_size, width or self.block_size)
        # A square is centred on a seed anywhere on the map (the border cuts it, where the paper keeps it inside); a cell
        # stays if no seed of the `area` around it, less at the border, falls: (1 - gamma) ^ area = 1 - rate.
        shape = ops.shape(inputs)
        area = _mean_cells_in_reach(size, shape[1]) * _mean_cells_in_reach(size, shape[2])
        gamma = 1 - (1 - self.rate) ** (1 / area)
        seeds = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator) < gamma
        dropped = ops.max_pool(ops.cast(seeds, "float32"), size, strides=1, padding="same", data_format="channels_last")
        kept = 1 - dropped
        scale = 1 / ops.maximum(ops.mean(kept), 1e-6)
        return inputs * ops.cast(kept * scale, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "block_size": self.block_size, "seed": self.seed}


def _mean_cells_in_reach(size: int, length: Any) -> Any:
    """How many of a line's `length` cells stand within the `size` around a cell, in the mean over the line."""
    before, after = (size - 1) // 2, size // 2
    beyond = (before * (before + 1) + after * (after + 1)) / 2      # both ends together
    return ops.maximum(size - beyond / ops.cast(length, "float32"), 1.0)


@_register
class ChannelSlice(layers.Layer):
    """The channels `start` to `stop` of its input: a plain slice, since a split op keeps GPU delegates from a net.

    In training it is a split: TensorFlow's gradient of a slice is slow, that of a split a concatenation.
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
    """Zero channels before and after: the shortcut A of He et al. 2015."""

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
    """Pads with cells of the same 3x3 windows: to a max pool the same as minus infinity, without an infinity to quantize.

    By reflection, which GPU delegates know; a single cell has no neighbour to reflect, and is repeated.
    """

    def __init__(self, padding: tuple[int, int], **kwargs: Any):
        super().__init__(**kwargs)
        self.padding = tuple(padding)

    def call(self, inputs):
        mode = "reflect" if all(side and side > max(self.padding) for side in inputs.shape[1:3]) else "symmetric"
        return ops.pad(inputs, [(0, 0), self.padding, self.padding, (0, 0)], mode=mode)

    def compute_output_shape(self, input_shape):
        n, h, w, c = input_shape
        return (n, *(None if s is None else s + sum(self.padding) for s in (h, w)), c)

    def get_config(self):
        return {**super().get_config(), "padding": self.padding}


@_register
class BlurPool2D(layers.Layer):
    """Anti-aliased subsampling: the binomial kernel [1, 2, 1] on a reflected border (Zhang 2019, arXiv:1904.11486)."""

    def __init__(self, stride: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        self.stride = stride

    def call(self, inputs):
        s = self.stride
        # one cell has no neighbour to reflect: then it is its own
        mode = "symmetric" if 1 in inputs.shape[1:3] else "reflect"
        x = ops.pad(inputs, [(0, 0), (1, 1), (1, 1), (0, 0)], mode=mode)
        # three taps per axis, as strided slices: no kernel to store or to train
        x = x[:, 0:-2:s] * 0.25 + x[:, 1:-1:s] * 0.5 + x[:, 2::s] * 0.25
        return x[:, :, 0:-2:s] * 0.25 + x[:, :, 1:-1:s] * 0.5 + x[:, :, 2::s] * 0.25

    def compute_output_shape(self, input_shape):
        n, h, w, c = input_shape
        return (n, *(None if size is None else -(-size // self.stride) for size in (h, w)), c)

    def get_config(self):
        return {**super().get_config(), "stride": self.stride}


@_register
class RadixSoftmax(layers.Layer):
    """Softmax over the `radix` competitors for each channel: the gates of SK (`groups` = 1) and of split attention.

    (N, 1, 1, groups * radix * c), group-major as the published weights have it, to (N, 1, 1, radix * groups * c),
    radix-major as the feature maps are.  One competitor alone gets a sigmoid (arXiv:2004.08955, section 3).
    """

    def __init__(self, radix: int, groups: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.radix, self.groups = radix, groups

    def call(self, inputs):
        if self.radix == 1:
            return ops.sigmoid(inputs)
        size = inputs.shape[-1] // (self.groups * self.radix)
        # channel slices at rank 4: every edge runtime has them
        logits = [ops.concatenate([inputs[..., (g * self.radix + r) * size:(g * self.radix + r + 1) * size]
                                   for g in range(self.groups)], axis=-1) for r in range(self.radix)]
        if self.radix == 2:
            first = ops.sigmoid(logits[0] - logits[1])
            return ops.concatenate([first, 1 - first], axis=-1)
        # (N, 1, channels, radix), and one softmax: an exponential and a quotient of their own would have 8 bits each
        channels = size * self.groups
        lines = [ops.reshape(z, (-1, 1, channels, 1)) for z in logits]
        shares = ops.softmax(ops.concatenate(lines, axis=-1), axis=-1)
        return ops.concatenate([ops.reshape(shares[..., r:r + 1], (-1, 1, 1, channels)) for r in range(self.radix)], axis=-1)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "radix": self.radix, "groups": self.groups}
