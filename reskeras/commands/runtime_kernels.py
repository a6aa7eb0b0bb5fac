"""What really runs: the kernels of a model in Keras' graph, in TensorFlow's optimized graph, in TFLite's file, in OpenVINO.

Each reader transcribes its runtime's own account, in float32 on the CPU, for one image (of 96 pixels where the size is open).
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
from ..graph.node import Node
from ..graph.layer_traits import LINEAR

SIZE = 96
ACTIVATIONS = ("Relu", "Clamp", "Swish", "Sigmoid", "HSwish", "HSigmoid", "Elu", "Gelu", "Tanh", "PRelu", "Mish", "SoftPlus")
LAYERS = {"BatchNormalization": "norm", "ZeroPadding2D": "pad", "reskeras>ChannelPadding": "pad", "reskeras>EdgePadding2D": "pad",
          "Add": "add", "Activation": "act", "ReLU": "act"}
POOLS = {"MaxPooling2D": "pool_size", "AveragePooling2D": "pool_size"}
_SCHEMA = get_tensorflow_tflite_schema()
Function = Any      # a tf.ConcreteFunction
Reader = Callable[[keras.Model, Function], "list[Kernel]"]


@dataclass(frozen=True)
class Kernel:
    """One step of a runtime: its own name for it, and which of "conv", "act", "add", "pool", "norm", "pad" it does."""
    name: str
    does: frozenset[str]
    window: int = 0         # cells that a pool reads
    strides: bool = False


def make_kernel(name: str, *does: str, fused: Sequence[str] = (), window: int = 0, strides: bool = False) -> Kernel:
    return Kernel(f"{name}[{', '.join(fused)}]" if fused else name, frozenset(filter(None, does)), window, strides)


def read_kernels(model: keras.Model) -> dict[str, list[Kernel] | str]:
    """By runtime; in the place of a runtime's kernels the reason where it is not installed or does not take the model.

    Of a copy of `model` in which no variable is all zeros: TensorFlow folds a bias of zeros away, and then fuses nothing.
    """
    with tf.device("CPU"):
        copy = _alive(model)
        function = _concrete(copy)
        return {name: _read(reader, copy, function) for name, reader in READERS.items()}


def _read(reader: Reader, model: keras.Model, function: Function) -> list[Kernel] | str:
    try:
        return reader(model, function)
    except ImportError as error:
        return f"{error.name or error} is not installed"
    except Exception as error:      # each runtime has its own
        return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


def _alive(model: keras.Model) -> keras.Model:
    graph, random = Graph.of(model), np.random.default_rng(0)

    def number(w: np.ndarray) -> np.ndarray:
        return w if w.any() else random.normal(0, 0.1, w.shape).astype(w.dtype)
    nodes = tuple(replace(node, weights=tuple(map(number, node.weights))) for node in graph.nodes)
    return replace(graph, nodes=nodes).build("float32")


def _concrete(model: keras.Model) -> Function:
    specs = [tf.TensorSpec((t.shape[0] or 1, *(s or SIZE for s in t.shape[1:])), t.dtype) for t in model.inputs]
    call = tf.function(lambda *flat: model(keras.tree.pack_sequence_as(model.input, flat), training=False), autograph=False)
    return call.get_concrete_function(*specs)


def _keras_kernels(model: keras.Model, function: Function) -> list[Kernel]:
    return [found for node in Graph.of(model, weights=False).nodes if (found := _keras_kernel(node))]


def _keras_kernel(node: Node) -> Kernel | None:
    config = node.config
    strides = math.prod(np.atleast_1d(config.get("strides") or 1)) > 1
    if node.type_name in LINEAR and node.type_name != "Dense":
        act = config["activation"] != "linear"
        return make_kernel(node.type_name, "conv", "act" * act, fused=[str(config["activation"])] * act, strides=strides)
    if node.type_name in POOLS:
        return make_kernel(node.type_name, "pool", window=math.prod(config["pool_size"]), strides=strides)
    does = LAYERS.get(node.type_name)
    return make_kernel(node.type_name, does) if does else None


def _tensorflow_kernels(model: keras.Model, function: Function) -> list[Kernel]:
    """Of the partition graphs that ran: behind grappler's optimization and, where TensorFlow has it, oneDNN's rewriting."""
    images = [tf.zeros(t.shape, t.dtype) for t in function.inputs[:len(model.inputs)]]      # its variables come behind
    with collect_graphs() as take_graphs:
        take_graphs()                       # what other functions left there
        function(*images)                   # the first call, which optimizes the graph
        ran = take_graphs()
    nodes = [node for graph in ran for part in graph.partition_graphs for node in part.node]
    # the scope of tf.nn.batch_normalization, which every BatchNormalization of Keras calls
    norms = {node.name.split("/batchnorm/")[0] for node in nodes if node.op == "Mul" and "/batchnorm/" in node.name}
    return [*(make_kernel("batchnorm/Mul", "norm") for _ in norms), *filter(None, map(_tensorflow_kernel, nodes))]


def _tensorflow_kernel(node: Any) -> Kernel | None:
    fused = [name.decode() for name in node.attr["fused_ops"].list.s]
    strides = max(node.attr["strides"].list.i, default=1) > 1
    word = node.op.lower()
    if "conv2d" in word or "conv3d" in word:
        acts = set(fused) - {"BiasAdd", "Add", "FusedBatchNorm"}
        return make_kernel(node.op, "conv", "add" * ("Add" in fused), "act" * bool(acts), "norm" * ("FusedBatchNorm" in fused),
                      fused=fused, strides=strides)
    if "maxpool" in word or "avgpool" in word:
        return make_kernel(node.op, "pool", window=math.prod(node.attr["ksize"].list.i), strides=strides)
    does = {"Pad": "pad", "PadV2": "pad", "Relu": "act", "Relu6": "act"}.get(node.op, "norm" if "fusedbatchnorm" in word else "")
    return make_kernel(node.op, does) if does else None


def _frozen_kernels(model: keras.Model, function: Function) -> list[Kernel]:
    return _tensorflow_kernels(model, freeze_function(function))


def _tflite_kernels(model: keras.Model, function: Function) -> list[Kernel]:
    """Of the file that TensorFlow's converter writes."""
    frozen = freeze_function(function)        # or variables stay, and nothing folds into them
    return read_tflite_operators(tf.lite.TFLiteConverter.from_concrete_functions([frozen], tf.Module()).convert())


def read_tflite_operators(data: bytes) -> list[Kernel]:
    """Of a .tflite file."""
    file = _SCHEMA.ModelT.InitFromPackedBuf(data, 0)
    return [found for graph in file.subgraphs for operator in graph.operators if (found := _tflite_kernel(file, graph, operator))]


def _tflite_kernel(file: Any, graph: Any, operator: Any) -> Kernel | None:
    code, options = file.operatorCodes[operator.opcodeIndex], operator.builtinOptions
    name = WORDS[max(code.builtinCode, code.deprecatedBuiltinCode)]
    act = FUSED[getattr(options, "fusedActivationFunction", 0)]
    fused, doing = [] if act == "NONE" else [act], "act" * (act != "NONE")
    strides = max(getattr(options, "strideH", 1), getattr(options, "strideW", 1)) > 1
    if "CONV" in name:
        return make_kernel(name, "conv", doing, fused=fused, strides=strides)
    if "POOL_2D" in name:
        return make_kernel(name, "pool", doing, fused=fused, window=options.filterHeight * options.filterWidth, strides=strides)
    tensors = [graph.tensors[i] for i in operator.inputs]
    constant = any(file.buffers[t.buffer].data is not None and math.prod(t.shape) > 1 for t in tensors)
    if name in ("MUL", "ADD") and constant:
        return make_kernel(f"{name} by channel", "norm" * (name == "MUL"), doing, fused=fused)
    does = {"PAD": "pad", "PADV2": "pad", "ADD": "add", "RELU": "act", "RELU6": "act"}.get(name)
    return make_kernel(name, does, doing, fused=fused) if does else None


WORDS, FUSED = ({code: name for name, code in vars(kind).items() if isinstance(code, int)}
                for kind in (_SCHEMA.BuiltinOperator, _SCHEMA.ActivationFunctionType))


def _openvino_kernels(model: keras.Model, function: Function) -> list[Kernel]:
    """Of the executed graph; each names the operations of the converted model that it took up."""
    import openvino
    converted = openvino.convert_model(function)
    operations = {operation.get_friendly_name(): operation for operation in converted.get_ops()}
    compiled = openvino.Core().compile_model(converted, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [found for node in compiled.get_runtime_model().get_ordered_ops() if (found := _openvino_kernel(node, operations))]


def _openvino_kernel(node: Any, operations: dict[str, Any]) -> Kernel | None:
    info = {key: value.astype(str) for key, value in node.get_rt_info().items()}
    kind = info["layerType"]
    own = [operations[name] for name in info["originalLayersNames"].split(",") if name in operations]
    fused = [_openvino_word(operation) for operation in own]
    does = {word if word in ("add", "norm") else "act" for word in fused if word in ("add", "norm", *ACTIVATIONS)}
    if kind == "Convolution":
        return make_kernel(kind, "conv", *does, fused=fused[1:], strides=_openvino_strides(node, own[0]))
    if kind == "Pooling":       # one that the model has not is OpenVINO's own subsampling
        window = math.prod(own[0].get_attributes()["kernel"]) if own else 1
        return make_kernel(kind if own else "Pooling (inserted)", "pool", *does, fused=fused[1:], window=window, strides=True)
    if kind == "Pad":
        return make_kernel(kind, "pad")
    return make_kernel(kind, *does, fused=fused) if does and kind in ("Eltwise", "Subgraph", "Relu") else None


def _openvino_word(operation: Any) -> str:
    """The operation's type; "bias" or "norm" for an Add or Multiply by channel, "add" for a sum of two tensors."""
    word = operation.get_type_name()
    constant = any(value.get_node().get_type_name() == "Constant" and math.prod(value.get_shape()) > 1
                   for value in operation.input_values())
    return {"Add": "bias" if constant else "add", "Multiply": "norm" if constant else word}.get(word, word)


def _openvino_strides(node: Any, convolution: Any) -> bool:
    """The executed graph has shapes, no strides: at stride 1 the output would be the padded input less the kernel's reach.

    An output of one cell does not tell; there the converted model's stride counts.
    """
    have, wide = node.get_input_shape(0)[2:], node.get_output_shape(0)[2:]
    of, kernel_size = convolution.get_attributes(), node.get_input_shape(1)[-len(wide):]
    return any(n + before + after - (k - 1) * d != m if m > 1 else s > 1 for n, before, after, k, d, s, m in zip(
        have, of["pads_begin"], of["pads_end"], kernel_size, of["dilations"], of["strides"], wide))


READERS: dict[str, Reader] = {
    "Keras graph": _keras_kernels, "TF graph": _tensorflow_kernels, "TF frozen": _frozen_kernels, "TFLite": _tflite_kernels,
    "OpenVINO": _openvino_kernels}
COUNTED = {"Keras graph": "layers", "TF graph": "kernels of the graph that ran, its weights variables",
           "TF frozen": "kernels of the graph that ran, its weights constants", "TFLite": "operators of the file",
           "OpenVINO": "nodes of the executed graph, with the operations that they took up"}
