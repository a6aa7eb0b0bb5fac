"""Kernels in 8 bits, of files that compute in floats: symmetric integers with a scale for each channel."""
from __future__ import annotations

from typing import Any, Callable

import keras
import numpy as np

from ..quantization.fake_quantize import compute_kernel_scales
from ..quantization.model import is_quantization_aware, quantize_with_images
from .options import ExportOptions

BITS = 8


def _round_kernel(kernel: np.ndarray, bits: int = BITS, per_channel: bool = True
                 ) -> tuple[np.ndarray, np.ndarray]:
    """The integers of a kernel and their scales.

    Args:
        kernel: (..., channels).
        bits: the bits of an integer.
        per_channel: whether each channel has its own scale.

    Returns:
        int8 of the same shape, float32 (channels,) or (1,).
    """
    scales = compute_kernel_scales(np.asarray(kernel, "float32"), bits, per_channel)
    largest = 2 ** (bits - 1) - 1
    return np.clip(np.round(kernel / scales), -largest, largest).astype("int8"), scales


def simulate_int8(model: keras.Model, options: ExportOptions) -> keras.Model:
    """The model as it computes in integers, but with floats: calibrated as the options say.

    Args:
        model: as the caller gave it.
        options: options of the file, with calibration images.
    """
    assert options.calibration_images is not None
    return quantize_with_images(model, options.calibration_images, options.float_layers,
                                options.calibration_method)


def keep_integers(model: keras.Model) -> tuple[Callable[[Any], Any], list[Any]]:
    """The model as a function whose kernels are variables of 8 bits, multiplied by their scales in each call.

    Args:
        model: a functional model.  If it has fake quantization, kernels without it stay as they are.

    Returns:
        The function of TensorFlow, for inference, and all its variables.
    """
    import tensorflow as tf
    only_rounded, kernels = is_quantization_aware(model), {}
    for layer in model.layers:
        kernel = getattr(layer, "kernel", None)
        if isinstance(kernel, keras.Variable) and (not only_rounded or hasattr(layer, "weight_bits")):
            kernels[id(kernel)] = kernel, _to_integers(layer, np.asarray(kernel))
    others = [variable.value for variable in model.variables if id(variable) not in kernels]

    def call(images: Any) -> Any:
        values = [(kernel, tf.reshape(tf.cast(integers, tf.float32) * scales, kernel.shape))
                  for kernel, (integers, scales) in kernels.values()]
        with keras.StatelessScope(state_mapping=values):
            return model(images, training=False)
    # one function for all signatures: to trace it takes long
    return tf.function(call, autograph=False), others + [integers for _, (integers, _) in kernels.values()]


def _to_integers(layer: keras.layers.Layer, kernel: np.ndarray) -> tuple[Any, np.ndarray]:
    """A variable of integers, with the channels of the output in its last axis, and their scales."""
    import tensorflow as tf
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        kernel = kernel.reshape(*kernel.shape[:-2], -1)
    integers, scales = _round_kernel(kernel, getattr(layer, "weight_bits", BITS),
                                    getattr(layer, "per_channel", True))
    return tf.Variable(integers, trainable=False, name=f"{layer.name}/integers"), scales


def round_onnx_weights(proto: Any) -> Any:
    """The ONNX model with DequantizeLinear behind each kernel, which is then of 8 bits.

    Args:
        proto: the model, in float32; it is changed.
    """
    import onnx
    graph = proto.graph
    kernels = {tensor.name: tensor for tensor in graph.initializer}
    rounded: dict[tuple[str, int], str] = {}
    for node in [*graph.node]:
        name = node.input[1] if len(node.input) > 1 else ""
        if node.op_type not in ("Conv", "MatMul", "Gemm") or name not in kernels:
            continue
        kernel = onnx.numpy_helper.to_array(kernels[name])
        flags = {attribute.name: attribute.i for attribute in node.attribute}
        axis = 0 if node.op_type == "Conv" or flags.get("transB") else kernel.ndim - 1
        if (name, axis) not in rounded:
            integers, scales = _round_kernel(np.moveaxis(kernel, axis, -1))
            parts = {"integers": np.ascontiguousarray(np.moveaxis(integers, -1, axis)), "scales": scales}
            inputs = [f"{name}/{part}" for part in parts]
            graph.initializer.extend(onnx.numpy_helper.from_array(array, f"{name}/{part}")
                                     for part, array in parts.items())
            rounded[name, axis] = f"{name}/floats"
            graph.node.append(onnx.helper.make_node(
                "DequantizeLinear", inputs, [rounded[name, axis]], f"{name}/dequantize", axis=axis))
        node.input[1] = rounded[name, axis]
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
    return proto


def round_openvino_weights(model: Any) -> Any:
    """OpenVINO's model with kernels of 8 bits, and their scales behind them.

    Args:
        model: in float32; it is changed.
    """
    import openvino.opset13 as ops
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind not in ("Convolution", "GroupConvolution", "MatMul"):
            continue
        source: Any = node.input_value(1).get_node()
        if source.get_type_name() != "Constant":
            continue
        kernel = np.array(source.data, "float32")
        # the axes of the output's channels come first, but for a product that does not transpose
        channels = {"Convolution": 1, "GroupConvolution": 2}.get(kind, kernel.ndim - 1)
        if kind == "MatMul" and not node.get_attributes()["transpose_b"]:
            kernel = np.swapaxes(kernel, -1, -2)
        integers, scales = _round_kernel(kernel.reshape(int(np.prod(kernel.shape[:channels])), -1).T)
        integers = integers.T.reshape(kernel.shape)
        scales = scales.reshape(*kernel.shape[:channels], *[1] * (kernel.ndim - channels))
        if kind == "MatMul" and not node.get_attributes()["transpose_b"]:
            integers, scales = np.swapaxes(integers, -1, -2), np.swapaxes(scales, -1, -2)
        floats = ops.multiply(ops.convert(ops.constant(np.ascontiguousarray(integers)), "f32"),
                              ops.constant(np.ascontiguousarray(scales)))
        node.input(1).replace_source_output(floats.output(0))
    return model
