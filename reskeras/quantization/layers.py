"""Layers of a model that is trained for int8: fake quantization of tensors, layers with quantized kernels.

In training they round once, which is fast.  At inference they round as the kernels of an int8 file do, which
gives another integer now and then.

They are registered, so that a saved model loads without `custom_objects`.  Those registered names are frozen.
"""
from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from ..blocks.grouped_conv import GroupedConv2D
from ..errors import check_choice
from .accumulators import Accumulator, KernelLayer, RangeLayer, find_accumulator, find_range
from .fake_quantize import MIN_WIDTH, fake_quantize, fake_quantize_kernel, find_kernel_ends
from .kernel_rounding import round_average, round_half_away, round_sums

RANGES = ("average", "learned", "frozen")
AVERAGE_STEPS = 200
_EXACT_TYPES = ("float32", "float64")     # floats that hold the sums of integers
_register = keras.saving.register_keras_serializable("reskeras")


@_register
class FakeQuantize(RangeLayer):
    """Rounds a tensor to the 2 ** bits levels of its range, in float32 under any dtype policy.

    Tensors that an operator joins without rescaling, such as those of a concatenation, have one range: the
    layer is called on each of them, with another `slot`, and the range contains those of all slots.

    Args:
        slots: the number of tensors whose ranges are measured.
        bits: the bits of an integer.
        ranges: "average" (in the first training steps a moving average of the smallest and the largest value
            of a batch, then constant), "learned" (by the gradient) or "frozen" (as it was calibrated).
        average_steps: the number of training steps after which an average is constant.
        momentum: of the moving average.
        fixed_range: (low, high) of a tensor whose range is known and has no variables, such as of a sigmoid.
        rounds_as_kernels: whether inference rounds as TFLite's reference kernels do, instead of once.  The
            layers with kernels that read the output then round their biases as well.
        **kwargs: those of `keras.layers.Layer`.
    """

    def __init__(self, slots: int = 1, bits: int = 8, ranges: str = "average",
                 average_steps: int = AVERAGE_STEPS, momentum: float = 0.99,
                 fixed_range: tuple[float, float] | None = None, rounds_as_kernels: bool = True,
                 **kwargs: Any):
        super().__init__(**kwargs)
        check_choice("ranges", ranges, RANGES)
        self.slots, self.bits, self.ranges = slots, bits, ranges
        self.average_steps, self.momentum = average_steps, momentum
        self.fixed_range = None if fixed_range is None else tuple(fixed_range)
        self.rounds_as_kernels = rounds_as_kernels
        self._accumulators = _Accumulators()

    def build(self, input_shape: Any) -> None:
        if self.fixed_range is not None:
            return
        for name, value in (("minimum", -1.0), ("maximum", 1.0)):
            variable = self.add_weight(
                shape=(self.slots,), initializer=keras.initializers.Constant(value), dtype="float32",
                trainable=self.ranges == "learned", autocast=False, aggregation="mean", name=name)
            setattr(self, name, variable)
        if self.ranges == "average":
            self.steps = self.add_weight(shape=(), initializer="zeros", dtype="float32", trainable=False,
                                         autocast=False, aggregation="mean", name="steps")

    def call(self, inputs: Any, slot: int | None = 0, training: bool | None = False) -> Any:
        """Rounds a tensor.

        Args:
            inputs: the tensor.
            slot: which of the ranges the tensor has; None for one that lies within the others, such as an
                average of their values.
            training: whether a moving average takes the tensor into account.
        """
        x = ops.cast(inputs, self._wide_type)
        if training and self.trainable and self.ranges == "average" and slot is not None \
                and self.fixed_range is None:
            self._average(x, slot)
        low, high = self._read_range(x)
        rounded = fake_quantize(x, low, high, self.bits)
        if not training and (exact := self._round_as_kernels(x, low, high, slot)) is not None:
            rounded = rounded + ops.stop_gradient(exact - rounded)
        return ops.cast(rounded, self.compute_dtype)

    @property
    def _wide_type(self) -> str:
        """The type in which the layer rounds."""
        return "float64" if self.compute_dtype == "float64" else "float32"

    def _read_range(self, x: Any = None) -> tuple[Any, Any]:
        """The range; if `x` is given, with the gradient that its values give it."""
        if self.fixed_range is not None:
            low, high = (ops.convert_to_tensor(end, self._wide_type) for end in self.fixed_range)
            return low, high
        minimum, maximum = (ops.cast(end, self._wide_type) for end in (self.minimum, self.maximum))
        if self.ranges == "learned" and x is not None:
            minimum, maximum = (_scale_gradient(end, x) for end in (minimum, maximum))
        return ops.minimum(ops.min(minimum), 0.0), ops.maximum(ops.max(maximum), 0.0)

    def _round_as_kernels(self, x: Any, low: Any, high: Any, slot: int | None) -> Any:
        """The tensor rounded as kernels do; None where they round once, or the floats are too coarse."""
        if not self.rounds_as_kernels or self.compute_dtype not in _EXACT_TYPES:
            return None
        first, last = -2 ** (self.bits - 1), 2 ** (self.bits - 1) - 1
        scale = (ops.maximum(high, low + MIN_WIDTH) - low) / (last - first)
        zero_point = ops.clip(ops.floor(first - low / scale + 0.5), first, last)
        if slot is None:
            steps = round_average(x, scale, zero_point)
        else:
            accumulator = self._accumulators.by_slot.get(slot)
            unit = accumulator and accumulator.compute_unit(self._wide_type)
            if accumulator is None or unit is None:
                return None
            steps = round_sums(x, unit, scale, accumulator.count)
        return ops.clip(steps, first - zero_point, last - zero_point) * scale

    def compute_scale(self, dtype: str) -> Any:
        if not self.rounds_as_kernels or self.compute_dtype not in _EXACT_TYPES:
            return None
        low, high = self._read_range()
        return ops.cast((ops.maximum(high, low + MIN_WIDTH) - low) / (2 ** self.bits - 1), dtype)

    def compute_output_spec(self, inputs: Any, slot: int | None = 0, training: bool | None = False) -> Any:
        self._accumulators.by_slot[slot] = find_accumulator(inputs) or self._accumulators.by_slot.get(slot)
        return keras.KerasTensor(inputs.shape, self.compute_dtype)

    def _average(self, x: Any, slot: int) -> None:
        """Moves the range of a slot towards that of a batch, unless the batch has infinite values."""
        steps = ops.convert_to_tensor(self.steps)
        low, high = ops.stop_gradient(ops.min(x)), ops.stop_gradient(ops.max(x))
        is_used = ops.logical_and(steps < self.average_steps, ops.isfinite(high - low))
        is_changed = ops.logical_and(is_used, ops.arange(self.slots) == slot)
        for variable, value in ((self.minimum, low), (self.maximum, high)):
            before = ops.convert_to_tensor(variable)
            average = before * self.momentum + value * (1 - self.momentum)
            variable.assign(ops.where(is_changed, average, before))
        if slot == self.slots - 1:
            self.steps.assign(ops.minimum(steps + 1, float(self.average_steps)))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "slots": self.slots, "bits": self.bits, "ranges": self.ranges,
                "average_steps": self.average_steps, "momentum": self.momentum,
                "fixed_range": self.fixed_range, "rounds_as_kernels": self.rounds_as_kernels}


class _Accumulators:
    """What each slot reads; in an object of its own, as Keras would save a dictionary of a layer."""

    def __init__(self) -> None:
        self.by_slot: dict[int | None, Accumulator | None] = {}


def _scale_gradient(variable: Any, x: Any) -> Any:
    """The variable with a smaller gradient: that of an end is a sum over all values that are clipped to it.

    LSQ divides by the root of how many values there are (arXiv:1902.08153, section 2.2).
    """
    factor = ops.rsqrt(ops.cast(ops.size(x), "float32"))
    return ops.stop_gradient(variable) + factor * (variable - ops.stop_gradient(variable))


class _QuantizedKernel(KernelLayer):
    """A mixin for layers with a kernel: it is rounded to the levels of an integer when it is used.

    A bias is rounded to whole multiples of what 1 of the sums is worth, as a kernel adds it to them.

    Args:
        *args: those of the layer.
        weight_bits: the bits of an integer.
        per_channel: whether each output channel has its own levels.
        **kwargs: those of the layer.
    """

    def __init__(self, *args: Any, weight_bits: int = 8, per_channel: bool = True, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.weight_bits, self.per_channel = weight_bits, per_channel
        self._inputs = _Inputs()

    def add_weight(self, *args: Any, **kwargs: Any) -> Any:
        # a kernel in a half type would be rounded before it is quantized
        if kwargs.get("name") == "kernel":
            kwargs["autocast"] = False
        return super().add_weight(*args, **kwargs)

    def compute_output_spec(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if (found := find_range(inputs)) is not None:
            self._inputs.ranges[found.name] = found
        return super().compute_output_spec(inputs, *args, **kwargs)

    def compute_unit(self, dtype: str) -> Any:
        if len(self._inputs.ranges) != 1:       # shared by tensors of several ranges
            return None
        (input_range,) = self._inputs.ranges.values()
        if (scale := input_range.compute_scale(dtype)) is None:
            return None
        kernel = self.flatten_channels(ops.cast(self.kernel, "float32"))
        ends = ops.cast(find_kernel_ends(kernel, self.per_channel), dtype)
        return scale * ends / (2 ** (self.weight_bits - 1) - 1)

    def flatten_channels(self, kernel: Any) -> Any:
        """The kernel with all channels of the output in its last axis."""
        return kernel

    def quantize_kernel(self, kernel: Any, dtype: Any) -> Any:
        """The rounded kernel in the dtype that the layer computes in."""
        flat = self.flatten_channels(ops.cast(kernel, "float32"))
        rounded = fake_quantize_kernel(flat, self.weight_bits, self.per_channel)
        return ops.cast(ops.reshape(rounded, kernel.shape), dtype)

    def finish(self, outputs: Any) -> Any:
        """Adds the rounded bias, and applies the activation.

        Args:
            outputs: the sums.
        """
        if not self.use_bias:
            return self.activation(outputs)
        bias, dtype = ops.convert_to_tensor(self.bias), self.compute_dtype
        unit = self.compute_unit(dtype) if dtype in _EXACT_TYPES else None
        if unit is not None:
            bias = bias + ops.stop_gradient(round_half_away(bias / unit) * unit - bias)
        return self.activation(outputs + bias)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "weight_bits": self.weight_bits, "per_channel": self.per_channel}


class _Inputs:
    """The layers that rounded what a layer reads, by name; in an object, as Keras tracks those of a list."""

    def __init__(self) -> None:
        self.ranges: dict[str, RangeLayer] = {}


@_register
class QuantizedConv2D(_QuantizedKernel, GroupedConv2D):
    """A convolution with a quantized kernel; it may have groups."""

    def call(self, inputs: Any) -> Any:
        return self.finish(self.convolution_op(inputs, self.quantize_kernel(self.kernel, inputs.dtype)))


@_register
class QuantizedConv1D(_QuantizedKernel, layers.Conv1D):
    """A convolution over a sequence with a quantized kernel: channels last, no causal padding."""

    def call(self, inputs: Any) -> Any:
        return self.finish(self.convolution_op(inputs, self.quantize_kernel(self.kernel, inputs.dtype)))


@_register
class QuantizedDepthwiseConv2D(_QuantizedKernel, layers.DepthwiseConv2D):
    """A depthwise convolution with a quantized kernel; its channels are last."""

    def flatten_channels(self, kernel: Any) -> Any:
        *sides, channels, multiplier = kernel.shape
        return ops.reshape(kernel, (*sides, 1, channels * multiplier))

    def call(self, inputs: Any) -> Any:
        return self.finish(ops.depthwise_conv(
            inputs, self.quantize_kernel(self.kernel, inputs.dtype), strides=self.strides,
            padding=self.padding, dilation_rate=self.dilation_rate, data_format=self.data_format))


@_register
class QuantizedDense(_QuantizedKernel, layers.Dense):
    """A dense layer with a quantized kernel.

    All its outputs have the same levels: the TFLite converter refuses others in a dense layer.
    """

    def __init__(self, *args: Any, per_channel: bool = False, **kwargs: Any):
        super().__init__(*args, per_channel=per_channel, **kwargs)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.finish(ops.matmul(inputs, self.quantize_kernel(self.kernel, inputs.dtype)))
