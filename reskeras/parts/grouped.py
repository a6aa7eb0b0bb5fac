"""Grouped convolution on TensorFlow's native op: Keras compiles it with XLA, slow on CPU and unfit
for export."""
from __future__ import annotations

from typing import Any

import keras

if keras.config.backend() == "tensorflow":
    import tensorflow as tf

    _probed: dict[tuple, tuple[bool, bool, bool]] = {}

    def _supported(dtype, strides, dilations) -> tuple[bool, bool, bool]:
        """What of the native op runs here: the forward, behind it a fused bias, the gradient."""
        with tf.init_scope():  # eager, and under the device scope of the caller, even in a trace
            if not tf.executing_eagerly():  # a v1 graph: nothing can be tried, and split is safe
                return False, False, False
            # where an op without a device of its own goes: a replica's device, a scope's, the GPU
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

        def fused(x, kernel):  # a graph fuses what follows, and the fused op has its own limits
            return tf.nn.relu(tf.nn.bias_add(forward(x, kernel), tf.ones(4, dtype)))

        def gradient(x, kernel):  # by its ops: a tape records nothing within init_scope
            y = dict(out_backprop=forward(x, kernel), **options)
            return (tf.raw_ops.Conv2DBackpropInput(input_sizes=x.shape, filter=kernel, **y),
                    tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=kernel.shape, **y))

        def runs(function) -> bool:
            try:
                for tensor in tf.nest.flatten(function(x, kernel)):
                    tensor.numpy()  # an asynchronous failure shows here at the latest
            except tf.errors.OpError:
                return False
            return True

        return runs(forward), runs(tf.function(fused, autograph=False)), runs(gradient)

    def _split(x, kernel, groups, strides, padding, dilations):
        """The same by one convolution for each group, from ops that every device has."""
        h, w, channels, filters = kernel.shape
        (dh, dw), size = dilations, (h * dilations[0], w * dilations[1], channels, filters)
        if dh * dw > 1:  # zeros between the taps: CPUs have no gradient of a dilated op either
            kernel = tf.reshape(kernel, (h, 1, w, 1, channels, filters))
            kernel = tf.pad(kernel, [[0, 0], [0, dh - 1], [0, 0], [0, dw - 1], [0, 0], [0, 0]])
            kernel = tf.reshape(kernel, size)[:size[0] - dh + 1, :size[1] - dw + 1]
        pairs = zip(tf.split(x, groups, -1), tf.split(kernel, groups, -1))
        return tf.concat([tf.nn.conv2d(*pair, strides, padding) for pair in pairs], -1)

    def _grouped(x, kernel, **options):
        strides, dilations, dtype = options["strides"], options["dilations"], x.dtype
        forward, fused, gradient = _supported(dtype, strides, dilations)

        def native(x, kernel):
            y = tf.nn.conv2d(x, kernel, strides, options["padding"], dilations=dilations)
            return y if fused else tf.ensure_shape(y, y.shape)  # which nothing fuses across

        def other(x, kernel):
            if dtype.size > 2:
                return _split(x, kernel, **options)
            # half types lack what float32 mostly has; some CPUs cannot even split in them
            wide = _grouped(tf.cast(x, "float32"), tf.cast(kernel, "float32"), **options)
            return tf.cast(wide, dtype)

        @tf.custom_gradient
        def mended(x, kernel):
            def grad(upstream):
                with tf.GradientTape() as tape:
                    tape.watch((x, kernel))
                    y = other(x, kernel)
                return tape.gradient(y, (x, kernel), upstream)

            return native(x, kernel), grad

        return (native if gradient else mended)(x, kernel) if forward else other(x, kernel)


@keras.saving.register_keras_serializable(package="reskeras")
class GroupedConv2D(keras.layers.Conv2D):
    """Convolution of `groups` separate groups of channels, native on TensorFlow wherever it runs.

    Arguments: those of `keras.layers.Conv2D`.
    Raises: ValueError for `channels_first` data, and where the output would be empty.
    Source: "Aggregated Residual Transformations for Deep Neural Networks", arXiv:1611.05431.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.data_format != "channels_last":
            raise ValueError(f"data_format={self.data_format!r}: only 'channels_last' is supported")

    def convolution_op(self, inputs, kernel):
        if keras.config.backend() != "tensorflow" or self.groups == 1:
            return super().convolution_op(inputs, kernel)
        y = _grouped(tf.convert_to_tensor(inputs), tf.convert_to_tensor(kernel), groups=self.groups,
                     strides=self.strides, padding=self.padding.upper(),
                     dilations=self.dilation_rate)
        if 0 in y.shape and 0 not in inputs.shape:
            raise ValueError(f"empty output {y.shape}: the input {inputs.shape} is too small")
        return y
