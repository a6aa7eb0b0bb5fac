"""Grouped convolution by TensorFlow's own op.

On TensorFlow, Keras compiles each grouped convolution with XLA.  That is slow to train on CPUs, and an
exported model then needs XLA too.  TensorFlow's native op can do it directly; but on some CPUs it cannot do
everything.  So each kind of convolution is tried once, and if it fails, one convolution for each group
replaces it.
"""
from __future__ import annotations

from typing import Any, Callable

import keras

from ..errors import ArgumentError

if keras.config.backend() == "tensorflow":
    import tensorflow as tf

    Support = tuple[bool, bool, bool]   # forward; forward with a fused bias; gradient
    _support_cache: dict[tuple[Any, ...], Support] = {}

    def _find_support(dtype: Any, strides: tuple[int, int], dilations: tuple[int, int]) -> Support:
        """Finds what the native op can do on this device."""
        with tf.init_scope():   # eager even in a trace, and still in the caller's device scope
            if not tf.executing_eagerly():  # nothing can be tried in a v1 graph: all by split
                return False, False, False
            # the default device of an op: the scope's, the replica's, the GPU
            device = tf.DeviceSpec.from_string(tf.fill([1], 0.0).device).device_type
            key = device, dtype, strides, dilations
            if key not in _support_cache:
                _support_cache[key] = _probe(dtype, strides, dilations)
            return _support_cache[key]

    def _probe(dtype: Any, strides: tuple[int, int], dilations: tuple[int, int]) -> Support:
        """Tries the native op on a small convolution of two groups."""
        x, kernel = tf.ones((1, 5, 5, 4), dtype), tf.ones((3, 3, 2, 4), dtype)
        options = dict(strides=[1, *strides, 1], padding="SAME", dilations=[1, *dilations, 1])

        def forward(x: Any, kernel: Any) -> Any:
            return tf.raw_ops.Conv2D(input=x, filter=kernel, **options)

        def fused(x: Any, kernel: Any) -> Any:     # as a graph fuses the two; without oneDNN it has no groups
            return tf.nn.relu(tf.nn.bias_add(forward(x, kernel), tf.ones(4, dtype)))

        def gradient(x: Any, kernel: Any) -> Any:   # by its ops, because init_scope stops all tapes
            last = dict(out_backprop=forward(x, kernel), **options)
            return (tf.raw_ops.Conv2DBackpropInput(input_sizes=x.shape, filter=kernel, **last),
                    tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=kernel.shape, **last))

        def runs(function: Callable[[Any, Any], Any]) -> bool:
            try:    # numpy() waits, in case an error comes late
                return all(y.numpy() is not None for y in tf.nest.flatten(function(x, kernel)))
            except tf.errors.OpError:
                return False

        return runs(forward), runs(tf.function(fused, autograph=False)), runs(gradient)

    def _convolve_by_split(x: Any, kernel: Any, groups: int, strides: tuple[int, int], padding: str,
                           dilations: tuple[int, int]) -> Any:
        """Computes a grouped convolution by one convolution for each group."""
        height, width, *channels = kernel.shape
        down, right = dilations
        if down * right > 1:    # zeros between the values: some CPUs have no gradient of dilation either
            kernel = tf.reshape(kernel, (height, 1, width, 1, *channels))
            kernel = tf.pad(kernel, [[0, 0], [0, down - 1], [0, 0], [0, right - 1], [0, 0], [0, 0]])
            kernel = tf.reshape(kernel, (height * down, width * right, *channels))
            kernel = kernel[:(height - 1) * down + 1, :(width - 1) * right + 1]
        pairs = zip(tf.split(x, groups, -1), tf.split(kernel, groups, -1))
        return tf.concat([tf.nn.conv2d(*pair, strides, padding) for pair in pairs], -1)

    def _convolve(x: Any, kernel: Any, groups: int, strides: tuple[int, int], padding: str,
                  dilations: tuple[int, int]) -> Any:
        """Computes a grouped convolution by the best way that works here."""
        has_forward, has_fused, has_gradient = _find_support(x.dtype, strides, dilations)

        def native(x: Any, kernel: Any) -> Any:
            y = tf.nn.conv2d(x, kernel, strides, padding, dilations=dilations)
            return y if has_fused else tf.ensure_shape(y, y.shape)      # no graph fuses across this

        def fallback(x: Any, kernel: Any) -> Any:
            if x.dtype.size > 2:
                return _convolve_by_split(x, kernel, groups, strides, padding, dilations)
            # a half type: float32 usually works, and some CPUs cannot even split half types
            wide, wide_kernel = tf.cast(x, tf.float32), tf.cast(kernel, tf.float32)
            return tf.cast(_convolve(wide, wide_kernel, groups, strides, padding, dilations), x.dtype)

        @tf.custom_gradient
        def native_with_other_gradient(x: Any, kernel: Any) -> Any:
            def grad(upstream: Any) -> Any:
                with tf.GradientTape() as tape:
                    tape.watch((x, kernel))
                    y = fallback(x, kernel)
                return tape.gradient(y, (x, kernel), upstream)

            return native(x, kernel), grad

        if has_gradient:
            return native(x, kernel)
        return native_with_other_gradient(x, kernel) if has_forward else fallback(x, kernel)


@keras.saving.register_keras_serializable(package="reskeras")
class GroupedConv2D(keras.layers.Conv2D):
    """Convolution of `groups` separate groups of channels (ResNeXt, arXiv:1611.05431), fast on TensorFlow.

    Args:
        *args: those of `keras.layers.Conv2D`.
        **kwargs: those of `keras.layers.Conv2D`.

    Raises:
        ValueError: for `data_format="channels_first"`; and in a call, if the input is too small to have an
            output.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.data_format != "channels_last":
            raise ArgumentError("data_format", self.data_format, "'channels_last'; nothing else is supported")

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        if keras.config.backend() != "tensorflow" or self.groups == 1:
            return super().convolution_op(inputs, kernel)
        self.compute_output_shape(inputs.shape)     # raises an error; the op may return its input instead
        return _convolve(tf.convert_to_tensor(inputs), tf.convert_to_tensor(kernel), self.groups,
                         self.strides, self.padding.upper(), self.dilation_rate)
