"""Layers of a model that is trained for int8: fake quantization of tensors, layers with quantized kernels.

They are registered, so that a saved model loads without `custom_objects`.  Those registered names are frozen.
"""
from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from ..blocks.grouped_conv import GroupedConv2D
from ..errors import check_choice
from .fake_quantize import fake_quantize, fake_quantize_kernel

RANGES = ("average", "learned", "frozen")
AVERAGE_STEPS = 200
_register = keras.saving.register_keras_serializable("reskeras")


@_register
class FakeQuantize(layers.Layer):
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
        **kwargs: those of `keras.layers.Layer`.
    """

    def __init__(self, slots: int = 1, bits: int = 8, ranges: str = "average",
                 average_steps: int = AVERAGE_STEPS, momentum: float = 0.99,
                 fixed_range: tuple[float, float] | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        check_choice("ranges", ranges, RANGES)
        self.slots, self.bits, self.ranges = slots, bits, ranges
        self.average_steps, self.momentum = average_steps, momentum
        self.fixed_range = None if fixed_range is None else tuple(fixed_range)

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
        x = ops.cast(inputs, "float32")
        if self.fixed_range is not None:
            low, high = map(ops.convert_to_tensor, self.fixed_range)
            return ops.cast(fake_quantize(x, low, high, self.bits), self.compute_dtype)

        if training and self.trainable and self.ranges == "average" and slot is not None:
            self._average(x, slot)
        minimum, maximum = ops.convert_to_tensor(self.minimum), ops.convert_to_tensor(self.maximum)
        if self.ranges == "learned":
            minimum, maximum = (_scale_gradient(end, x) for end in (minimum, maximum))
        low, high = ops.minimum(ops.min(minimum), 0.0), ops.maximum(ops.max(maximum), 0.0)
        return ops.cast(fake_quantize(x, low, high, self.bits), self.compute_dtype)

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
                "fixed_range": self.fixed_range}


def _scale_gradient(variable: Any, x: Any) -> Any:
    """The variable with a smaller gradient: that of an end is a sum over all values that are clipped to it.

    LSQ divides by the root of how many values there are (arXiv:1902.08153, section 2.2).
    """
    factor = ops.rsqrt(ops.cast(ops.size(x), "float32"))
    return ops.stop_gradient(variable) + factor * (variable - ops.stop_gradient(variable))


class _QuantizedKernel(layers.Layer):
    """A mixin for layers with a kernel: it is rounded to the levels of an integer when it is used.

    Args:
        *args: those of the layer.
        weight_bits: the bits of an integer.
        per_channel: whether each output channel has its own levels.
        **kwargs: those of the layer.
    """

    def __init__(self, *args: Any, weight_bits: int = 8, per_channel: bool = True, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.weight_bits, self.per_channel = weight_bits, per_channel

    def add_weight(self, *args: Any, **kwargs: Any) -> Any:
        # a kernel in a half type would be rounded before it is quantized
        if kwargs.get("name") == "kernel":
            kwargs["autocast"] = False
        return super().add_weight(*args, **kwargs)

    def quantize_kernel(self, kernel: Any, dtype: Any) -> Any:
        """The rounded kernel in the dtype that the layer computes in."""
        kernel = fake_quantize_kernel(ops.cast(kernel, "float32"), self.weight_bits, self.per_channel)
        return ops.cast(kernel, dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "weight_bits": self.weight_bits, "per_channel": self.per_channel}


@_register
class QuantizedConv2D(_QuantizedKernel, GroupedConv2D):
    """A convolution with a quantized kernel; it may have groups."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        return super().convolution_op(inputs, self.quantize_kernel(kernel, inputs.dtype))


@_register
class QuantizedConv1D(_QuantizedKernel, layers.Conv1D):
    """A convolution over a sequence with a quantized kernel: channels last, no causal padding."""

    def call(self, inputs: Any) -> Any:
        outputs = self.convolution_op(inputs, self.quantize_kernel(self.kernel, inputs.dtype))
        return self.activation(outputs + self.bias if self.use_bias else outputs)


@_register
class QuantizedDepthwiseConv2D(_QuantizedKernel, layers.DepthwiseConv2D):
    """A depthwise convolution with a quantized kernel; its channels are last."""

    def quantize_kernel(self, kernel: Any, dtype: Any) -> Any:
        # the channels of the output are the last two axes
        *sides, channels, multiplier = kernel.shape
        flat = ops.reshape(kernel, (*sides, 1, channels * multiplier))
        return ops.reshape(super().quantize_kernel(flat, dtype), kernel.shape)

    def call(self, inputs: Any) -> Any:
        outputs = ops.depthwise_conv(
            inputs, self.quantize_kernel(self.kernel, inputs.dtype), strides=self.strides,
            padding=self.padding, dilation_rate=self.dilation_rate, data_format=self.data_format)
        return self.activation(outputs + self.bias if self.use_bias else outputs)


@_register
class QuantizedDense(_QuantizedKernel, layers.Dense):
    """A dense layer with a quantized kernel.

    All its outputs have the same levels: the TFLite converter refuses others in a dense layer.
    """

    def __init__(self, *args: Any, per_channel: bool = False, **kwargs: Any):
        super().__init__(*args, per_channel=per_channel, **kwargs)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        outputs = ops.matmul(inputs, self.quantize_kernel(self.kernel, inputs.dtype))
        return self.activation(outputs + self.bias if self.use_bias else outputs)
