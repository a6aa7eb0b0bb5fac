"""What really runs: the kernels of a model in Keras, TensorFlow, TensorFlow Lite and OpenVINO.

Each reader transcribes its runtime's own report, in float32 on the CPU, for one image (of 96 pixels if any
size fits).
"""
from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from .._keras_private import collect_graphs, freeze_function, get_tensorflow_tflite_schema
from ..graph.graph import Graph
from ..graph.layer_traits import LINEAR
from ..graph.node import Node

SIZE = 96               # pixels on a side of an image, if the model takes any size
ACTIVATIONS = ("Relu", "Clamp", "Swish", "Sigmoid", "HSwish", "HSigmoid", "Elu", "Gelu", "Tanh", "PRelu",
               "Mish",
               "SoftPlus")
LAYERS = {"BatchNormalization": "norm", "ZeroPadding2D": "pad", "reskeras>ChannelPadding": "pad",
          "reskeras>EdgePadding2D": "pad", "Add": "add", "Activation": "act", "ReLU": "act"}
POOLS = {"MaxPooling2D": "pool_size", "AveragePooling2D": "pool_size"}

_SCHEMA = get_tensorflow_tflite_schema()
OPERATORS, FUSED_ACTIVATIONS = ({code: name for name, code in vars(kind).items() if isinstance(code, int)}
                                for kind in (_SCHEMA.BuiltinOperator, _SCHEMA.ActivationFunctionType))

Function = Any          # a tf.ConcreteFunction
Reader = Callable[[keras.Model, Function], "list[Kernel]"]


@dataclass(frozen=True)
class Kernel:
    """One step of a runtime."""

    name: str                   # the runtime's own name for it
    does: frozenset[str]        # which of "conv", "act", "add", "pool", "norm", "pad"
    window: int = 0             # cells that a pool reads
    is_strided: bool = False


def make_kernel(name: str, *does: str, fused: Sequence[str] = (), window: int = 0,
                is_strided: bool = False) -> Kernel:
    """A kernel whose name says what was fused into it; empty strings in `does` are left out."""
    return Kernel(f"{name}[{', '.join(fused)}]" if fused else name, frozenset(filter(None, does)), window,
                  is_strided)


def read_kernels(model: keras.Model) -> dict[str, list[Kernel] | str]:
    """The kernels of a model in every runtime.

    They are those of a copy of `model` in which no variable is all zeros: TensorFlow folds a bias of zeros
    away, and then fuses nothing.

    Returns:
        Runtime -> its kernels, or the reason if it is not installed or does not take the model.
    """
    with tf.device("CPU"):
        copy = _copy_without_zeros(model)
        function = _make_concrete_function(copy)
        return {name: _read(reader, copy, function) for name, reader in READERS.items()}


def _read(reader: Reader, model: keras.Model, function: Function) -> list[Kernel] | str:
    try:
        return reader(model, function)
    except ImportError as error:
        return f"{error.name or error} is not installed"
    except Exception as error:      # each runtime has its own
        return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


def _copy_without_zeros(model: keras.Model) -> keras.Model:
    graph, random = Graph.of(model), np.random.default_rng(0)

    def fill(values: np.ndarray) -> np.ndarray:
        return values if values.any() else random.normal(0, 0.1, values.shape).astype(values.dtype)
    nodes = tuple(replace(node, weights=tuple(map(fill, node.weights))) for node in graph.nodes)
    return replace(graph, nodes=nodes).build("float32")


def _make_concrete_function(model: keras.Model) -> Function:
    specs = [tf.TensorSpec((t.shape[0] or 1, *(side or SIZE for side in t.shape[1:])), t.dtype)
             for t in model.inputs]

    def call(*inputs: tf.Tensor) -> Any:
        return model(keras.tree.pack_sequence_as(model.input, inputs), training=False)
    return tf.function(call, autograph=False).get_concrete_function(*specs)


# Keras

def _read_keras(model: keras.Model, function: Function) -> list[Kernel]:
    return [kernel for node in Graph.of(model, weights=False).nodes if (kernel := _keras_kernel(node))]


def _keras_kernel(node: Node) -> Kernel | None:
    config = node.config
    is_strided = math.prod(np.atleast_1d(config.get("strides") or 1)) > 1
    if node.type_name in LINEAR and node.type_name != "Dense":
        fused = [] if config["activation"] == "linear" else [str(config["activation"])]
        return make_kernel(node.type_name, "conv", "act" if fused else "", fused=fused, is_strided=is_strided)
    if node.type_name in POOLS:
        return make_kernel(node.type_name, "pool", window=math.prod(config["pool_size"]),
                           is_strided=is_strided)
    does = LAYERS.get(node.type_name)
    return make_kernel(node.type_name, does) if does else None


# TensorFlow

def _read_tensorflow(model: keras.Model, function: Function) -> list[Kernel]:
    """Reads the partition graphs that ran, after grappler's and oneDNN's optimizations."""
    # variables come after them
    images = [tf.zeros(t.shape, t.dtype) for t in function.inputs[:len(model.inputs)]]
    with collect_graphs() as take_graphs:
        take_graphs()                       # removes what other functions left there
        function(*images)                   # the first call, which optimizes the graph
        graphs = take_graphs()
    nodes = [node for graph in graphs for part in graph.partition_graphs for node in part.node]
    # the scope of tf.nn.batch_normalization, which every BatchNormalization of Keras calls
    norms = {node.name.split("/batchnorm/")[0] for node in nodes if node.op == "Mul"
             and "/batchnorm/" in node.name}
    return [*(make_kernel("batchnorm/Mul", "norm") for _ in norms),
            *filter(None, map(_tensorflow_kernel, nodes))]


def _tensorflow_kernel(node: Any) -> Kernel | None:
    fused = [name.decode() for name in node.attr["fused_ops"].list.s]
    is_strided = max(node.attr["strides"].list.i, default=1) > 1
    op = node.op.lower()
    if "conv2d" in op or "conv3d" in op:
        does = ["conv"]
        does += ["add"] if "Add" in fused else []
        does += ["act"] if set(fused) - {"BiasAdd", "Add", "FusedBatchNorm"} else []
        does += ["norm"] if "FusedBatchNorm" in fused else []
        return make_kernel(node.op, *does, fused=fused, is_strided=is_strided)
    if "maxpool" in op or "avgpool" in op:
        return make_kernel(node.op, "pool", window=math.prod(node.attr["ksize"].list.i),
                           is_strided=is_strided)
    if "fusedbatchnorm" in op:
        return make_kernel(node.op, "norm")
    purpose = {"Pad": "pad", "PadV2": "pad", "Relu": "act", "Relu6": "act"}.get(node.op)
    return make_kernel(node.op, purpose) if purpose else None


def _read_frozen(model: keras.Model, function: Function) -> list[Kernel]:
    return _read_tensorflow(model, freeze_function(function))


# TensorFlow Lite

def _read_tflite(model: keras.Model, function: Function) -> list[Kernel]:
    """Reads the file that TensorFlow's converter writes."""
    frozen = freeze_function(function)        # otherwise variables stay, and nothing folds into them
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], tf.Module())
    return read_tflite_operators(converter.convert())


def read_tflite_operators(data: bytes) -> list[Kernel]:
    """The kernels of a .tflite file, given by its bytes."""
    file = _SCHEMA.ModelT.InitFromPackedBuf(data, 0)
    return [kernel for graph in file.subgraphs for operator in graph.operators
            if (kernel := _tflite_kernel(file, graph, operator))]


def _tflite_kernel(file: Any, graph: Any, operator: Any) -> Kernel | None:
    code, options = file.operatorCodes[operator.opcodeIndex], operator.builtinOptions
    name = OPERATORS[max(code.builtinCode, code.deprecatedBuiltinCode)]
    activation = FUSED_ACTIVATIONS[getattr(options, "fusedActivationFunction", 0)]
    fused, act = ([], "") if activation == "NONE" else ([activation], "act")
    is_strided = max(getattr(options, "strideH", 1), getattr(options, "strideW", 1)) > 1
    if "CONV" in name:
        return make_kernel(name, "conv", act, fused=fused, is_strided=is_strided)
    if "POOL_2D" in name:
        window = options.filterHeight * options.filterWidth
        return make_kernel(name, "pool", act, fused=fused, window=window, is_strided=is_strided)
    tensors = [graph.tensors[i] for i in operator.inputs]
    has_constant = any(file.buffers[t.buffer].data is not None and math.prod(t.shape) > 1 for t in tensors)
    if name in ("MUL", "ADD") and has_constant:
        return make_kernel(f"{name} by channel", "norm" if name == "MUL" else "", act, fused=fused)
    does = {"PAD": "pad", "PADV2": "pad", "ADD": "add", "RELU": "act", "RELU6": "act"}.get(name)
    return make_kernel(name, does, act, fused=fused) if does else None


# OpenVINO

def _read_openvino(model: keras.Model, function: Function) -> list[Kernel]:
    """Reads the executed graph; each node names the operations of the converted model that it does."""
    from ..exporters.openvino import import_openvino
    openvino = import_openvino()
    converted = openvino.convert_model(function)
    operations = {operation.get_friendly_name(): operation for operation in converted.get_ops()}
    compiled = openvino.Core().compile_model(converted, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [kernel for node in compiled.get_runtime_model().get_ordered_ops()
            if (kernel := _openvino_kernel(node, operations))]


def _openvino_kernel(node: Any, operations: dict[str, Any]) -> Kernel | None:
    info = {key: value.astype(str) for key, value in node.get_rt_info().items()}
    kind = info["layerType"]
    originals = [operations[name] for name in info["originalLayersNames"].split(",") if name in operations]
    fused = [_openvino_purpose(operation) for operation in originals]
    does = {name if name in ("add", "norm") else "act" for name in fused
            if name in ("add", "norm", *ACTIVATIONS)}
    if kind == "Convolution":
        return make_kernel(kind, "conv", *does, fused=fused[1:],
                           is_strided=_is_openvino_strided(node, originals[0]))
    if kind == "Pooling":       # one that the model does not have is OpenVINO's own subsampling
        window = math.prod(originals[0].get_attributes()["kernel"]) if originals else 1
        name = kind if originals else "Pooling (inserted)"
        return make_kernel(name, "pool", *does, fused=fused[1:], window=window, is_strided=True)
    if kind == "Pad":
        return make_kernel(kind, "pad")
    return make_kernel(kind, *does, fused=fused) if does and kind in ("Eltwise", "Subgraph", "Relu") else None


def _openvino_purpose(operation: Any) -> str:
    """The type; "bias" or "norm" for an Add or Multiply by channel, "add" for a sum of two tensors."""
    kind = str(operation.get_type_name())
    has_constant = any(value.get_node().get_type_name() == "Constant" and math.prod(value.get_shape()) > 1
                       for value in operation.input_values())
    if kind == "Add":
        return "bias" if has_constant else "add"
    return "norm" if kind == "Multiply" and has_constant else kind


def _is_openvino_strided(node: Any, convolution: Any) -> bool:
    """Whether a convolution of the executed graph strides.

    That graph has shapes, but no strides: at stride 1 the output would be as large as the padded input less
    the reach of the kernel.  An output of 1x1 does not tell; there the converted model's stride counts.
    """
    input_sides, output_sides = node.get_input_shape(0)[2:], node.get_output_shape(0)[2:]
    attributes, kernel_sides = convolution.get_attributes(), node.get_input_shape(1)[-len(output_sides):]
    axes = zip(input_sides, output_sides, kernel_sides, attributes["pads_begin"], attributes["pads_end"],
               attributes["dilations"], attributes["strides"])
    return any(size + before + after - (kernel - 1) * dilation != out if out > 1 else stride > 1
               for size, out, kernel, before, after, dilation, stride in axes)


READERS: dict[str, Reader] = {
    "Keras graph": _read_keras, "TF graph": _read_tensorflow, "TF frozen": _read_frozen,
    "TFLite": _read_tflite,
    "OpenVINO": _read_openvino}
COUNTED = {"Keras graph": "layers", "TF graph": "kernels of the graph that ran, its weights variables",
           "TF frozen": "kernels of the graph that ran, its weights constants",
           "TFLite": "operators of the file",
           "OpenVINO": "nodes of the executed graph, with the operations that they do"}
