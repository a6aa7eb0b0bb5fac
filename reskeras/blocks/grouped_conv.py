"""Grouped convolution by TensorFlow's native op, where Keras itself compiles each with XLA: slow to
train on CPU, and an export then needs XLA too."""
from __future__ import annotations

from typing import Any

import keras

if keras.config.backend() == "tensorflow":
    import tensorflow as tf

    _probed: dict[tuple, tuple[bool, bool, bool]] = {}

    def _supported(dtype, strides, dilations) -> tuple[bool, bool, bool]:
        """What the native op can do here: forward, forward with a fused bias, gradient."""
        with tf.init_scope():  # eager even in a trace, and still in the caller's device scope
            if not tf.executing_eagerly():  # a v1 graph, where nothing can be tried: all by split
                return False, False, False
            # where an op without a device of its own goes: the scope's, the replica's, the GPU
            device = tf.DeviceSpec.from_string(tf.fill([1], 0.0).device).device_type
            key = device, dtype, strides, dilations
            if key not in _probed:
                _probed[key] = _probe(dtype, strides, dilations)
            return _probed[key]

    def _probe(dtype, strides, dilations) -> tuple[bool, bool, bool]:
        x, kernel = tf.ones((1, 5, 5, 4), dtype), tf.ones((3, 3, 2, 4), dtype)  # two groups
        options = dict(strides=[1, *strides, 1], padding="SAME", dilations=[1, *dilations, 1])

        def forward(x, kernel):
            return tf.raw_ops.Conv2D(input=x, filter=kernel, **options)

        def fused(x, kernel):  # a graph fuses the two; without oneDNN the fused op has no groups
            return tf.nn.relu(tf.nn.bias_add(forward(x, kernel), tf.ones(4, dtype)))

        def gradient(x, kernel):  # by its ops, as init_scope stops all tapes
            last = dict(out_backprop=forward(x, kernel), **options)
            return (tf.raw_ops.Conv2DBackpropInput(input_sizes=x.shape, filter=kernel, **last),
                    tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=kernel.shape, **last))

        def runs(function) -> bool:
            try:  # numpy() waits, should errors come late
                return all(y.numpy() is not None for y in tf.nest.flatten(function(x, kernel)))
            except tf.errors.OpError:
                return False

        return runs(forward), runs(tf.function(fused, autograph=False)), runs(gradient)

    def _split(x, kernel, groups, strides, padding, dilations):
        """The same by a convolution for each group."""
        h, w, *channels = kernel.shape
        dh, dw = dilations
        if dh * dw > 1:  # zeros between the taps: some CPUs have no gradient of dilation either
            kernel = tf.reshape(kernel, (h, 1, w, 1, *channels))
            kernel = tf.pad(kernel, [[0, 0], [0, dh - 1], [0, 0], [0, dw - 1], [0, 0], [0, 0]])
            kernel = tf.reshape(kernel, (h * dh, w * dw, *channels))
            kernel = kernel[:(h - 1) * dh + 1, :(w - 1) * dw + 1]
        pairs = zip(tf.split(x, groups, -1), tf.split(kernel, groups, -1))
        return tf.concat([tf.nn.conv2d(*pair, strides, padding) for pair in pairs], -1)

    def _grouped(x, kernel, groups, strides, padding, dilations):
        forward, fused, gradient = _supported(x.dtype, strides, dilations)

        def native(x, kernel):
            y = tf.nn.conv2d(x, kernel, strides, padding, dilations=dilations)
            return y if fused else tf.ensure_shape(y, y.shape)  # no graph fuses across this

        def other(x, kernel):
            if x.dtype.size > 2:
                return _split(x, kernel, groups, strides, padding, dilations)
            # a half type: float32 mostly has what it lacks, and some CPUs fail even to split in it
            wide, wide_kernel = tf.cast(x, tf.float32), tf.cast(kernel, tf.float32)
            return tf.cast(_grouped(wide, wide_kernel, groups, strides, padding, dilations), x.dtype)

        @tf.custom_gradient
        def mended(x, kernel):
            def grad(upstream):
                with tf.GradientTape() as tape:
                    tape.watch((x, kernel))
                    y = other(x, kernel)
                return tape.gradient(y, (x, kernel), upstream)

            return native(x, kernel), grad

        return (native if gradient else mended if forward else other)(x, kernel)


@keras.saving.register_keras_serializable(package="reskeras")
class GroupedConv2D(keras.layers.Conv2D):
    """Convolution of `groups` separate groups of channels, native on TensorFlow wherever it runs.

    Arguments: those of `keras.layers.Conv2D`.
    Raises: ValueError for `channels_first` data, and for an input too small to have an output.
    Source: "Aggregated Residual Transformations for Deep Neural Networks", arXiv:1611.05431.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.data_format != "channels_last":
            raise ValueError(f"data_format={self.data_format!r}: only 'channels_last' is supported")

    def convolution_op(self, inputs, kernel):
        if keras.config.backend() != "tensorflow" or self.groups == 1:
            return super().convolution_op(inputs, kernel)
        self.compute_output_shape(inputs.shape)  # raises, where the op may return its input instead
        return _grouped(tf.convert_to_tensor(inputs), tf.convert_to_tensor(kernel), self.groups,
                        self.strides, self.padding.upper(), self.dilation_rate)
