"""If all readers subsample, computes only the positions that they read: S f(x) becomes f(S x).

Intel calls this "lossless topology compression".  S keeps every s-th position: it is the stride of a 1x1
convolution or of a 1x1 pool.  It commutes with layers that act on each position separately (activation,
normalization, sums of tensors of one size, 1x1 convolutions) and stops at a k x k convolution, which then
gets the stride; its padding="same" becomes a padding layer, because with a stride "same" depends on the image
size.  Another branch that cannot get the stride gets a 1x1 max pool.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras

from ..graph import Graph
from ..keras_config import TensorRef
from ..layer_traits import GROUPED_CONV, MERGE_LAYERS, is_keras_activation, is_pointwise
from ..node import Node, NodeKey, make_node
from ..pass_result import PassResult

POOLS = ("MaxPooling2D", "AveragePooling2D")
Stride = tuple[int, ...]


def push_stride(graph: Graph) -> PassResult:
    """Moves every stride up as far as possible, if a convolution then computes less.

    Declines if a reader needs every position, if no layer above can take the stride, or if the tensor is an
    output.
    """
    rewritten: list[str] = []
    while True:
        declined: dict[str, str] = {}
        for node in graph.nodes:
            readers = graph.readers(node)
            strides = {_find_subsampling(reader) for reader in readers}
            if strides <= {None}:
                continue
            move = StrideMove(graph, next(filter(None, strides)))
            if reason := move.find_obstacle(node, readers, strides):
                declined |= {reader.name: reason for reader in readers if _find_subsampling(reader)}
                continue
            graph = move.apply(readers)
            rewritten += [reader.name for reader in readers if reader.name not in rewritten]
            break
        else:
            return PassResult(graph, tuple(rewritten),
                              {name: why for name, why in declined.items() if name not in rewritten})


def _find_subsampling(node: Node) -> Stride | None:
    """The stride of a layer that reads only every s-th position of its input; None for other layers."""
    config = node.config
    window = {"Conv2D": "kernel_size", GROUPED_CONV: "kernel_size"} | {pool: "pool_size" for pool in POOLS}
    if node.type_name not in window or tuple(config[window[node.type_name]]) != (1, 1):
        return None
    if config["data_format"] != "channels_last":
        return None
    strides = tuple(config["strides"])
    return strides if strides != (1, 1) else None


@dataclass
class StrideMove:
    """The move of one stride up the graph, which does not change before `apply`.

    Args:
        graph: the graph before the move.
        stride: the stride by axis.
        new_nodes: key of a node -> the nodes that replace it.
        cheaper: names of the convolutions that then compute less.
        pools: the 1x1 max pools that subsample other branches, by the tensor that they read.
    """

    graph: Graph
    stride: Stride
    new_nodes: dict[NodeKey, tuple[Node, ...]] = field(default_factory=dict)
    cheaper: list[str] = field(default_factory=list)
    pools: dict[TensorRef, Node] = field(default_factory=dict)

    def find_obstacle(self, node: Node, readers: list[Node], strides: set[Stride | None]) -> str:
        """Why the readers' stride cannot move above `node`; "" if it can (`apply` then makes the move)."""
        if len(strides) > 1:
            others = [reader.name for reader in readers if _find_subsampling(reader) != self.stride]
            return f"{others[0]} reads {node.name} at a different stride"
        for reader in (node, *readers):
            if self.graph.is_output(reader) and (reader is node or reader.type_name in POOLS):
                return f"{reader.name} is an output of the model"
            if self.graph.is_shared(reader):
                return f"{reader.name} is shared"
        if not self._subsample(node) or not self.cheaper:
            return f"no convolution above {node.name} can take the stride"
        return ""

    def apply(self, readers: list[Node]) -> Graph:
        """The graph after the move: the readers lose their stride, or are removed."""
        new_nodes, new_tensors = dict(self.new_nodes), {}
        for reader in readers:
            if reader.type_name in POOLS:
                new_nodes[reader.key], new_tensors[reader.output] = (), reader.inputs[0]
            else:
                new_nodes[reader.key] = (reader.with_config(strides=(1, 1)),)
        return self.graph.edit(new_nodes, new_tensors)

    def _subsample(self, node: Node) -> bool:
        """Whether `node` can compute only every s-th position; if so, writes the change to `new_nodes`."""
        if self.graph.is_shared(node) or node.is_training_call:
            return False
        if is_pointwise(node):
            self._put(node, (self._subsample_input(node.inputs[0], node),))
            return True
        if node.type_name in MERGE_LAYERS:
            return self._subsample_merge(node)
        is_convolution = node.type_name in ("Conv2D", "DepthwiseConv2D", GROUPED_CONV)
        return is_convolution and self._subsample_convolution(node)

    def _subsample_merge(self, node: Node) -> bool:
        shapes = map(self.graph.shapes.get, node.inputs)
        sizes = {shape[1:3] if shape and len(shape) == 4 else None for shape in shapes}
        if len(sizes) > 1 or None in sizes or len(set(node.inputs)) < len(node.inputs) or \
                node.config.get("axis", -1) not in (-1, 3):
            return False        # inputs of different sizes: a gate of one position cannot be subsampled
        self._put(node, tuple(self._subsample_input(ref, node) for ref in node.inputs))
        return True

    def _subsample_convolution(self, node: Node) -> bool:
        config = node.config
        if tuple(config["strides"]) != (1, 1) or config["data_format"] != "channels_last":
            return False
        if not is_keras_activation(config["activation"]):
            return False
        is_depthwise = node.type_name == "DepthwiseConv2D"
        if is_depthwise and self.stride[0] != self.stride[1]:
            return False        # TensorFlow has no such depthwise convolution

        kernel, dilation = tuple(config["kernel_size"]), tuple(config["dilation_rate"])
        source = self.graph.get_node(node.inputs[0])
        self.cheaper.append(node.name)
        if kernel == (1, 1) and not is_depthwise and self._has_one_reader(source) and self._subsample(source):
            # a layer above took the stride; this convolution now reads only the positions it needs
            return True
        if dilation != (1, 1) and kernel != (1, 1):
            self.cheaper.pop()
            return False        # Keras allows no stride together with dilation
        self.new_nodes[node.key] = self._make_strided(node)
        return True

    def _make_strided(self, node: Node) -> tuple[Node, ...]:
        """The strided convolution, after an explicit padding like the one it had before."""
        kernel = tuple(node.config["kernel_size"])
        changes: dict[str, Any] = {"strides": self.stride, "dilation_rate": (1, 1)}
        if node.config["padding"] != "same" or kernel == (1, 1):
            return (node.with_config(**changes),)
        padding = tuple(((k - 1) // 2, k // 2) for k in kernel)
        name = self.graph.find_unused_name(f"{node.name}_pad")
        pad = make_node(keras.layers.ZeroPadding2D, name, node.inputs, node, padding=padding,
                        data_format="channels_last")
        return pad, node.with_config(**changes, padding="valid").with_inputs({node.inputs[0]: pad.output})

    def _has_one_reader(self, node: Node) -> bool:
        return len(self.graph.readers(node)) == 1 and not self.graph.is_output(node)

    def _subsample_input(self, ref: TensorRef, reader: Node) -> TensorRef:
        """The subsampled `ref`: the output of a layer that now computes less, or else of a 1x1 pool."""
        source = self.graph.get_node(ref)
        if self._has_one_reader(source) and self._subsample(source):
            return ref
        if ref not in self.pools:
            # each tensor of a shared layer, or of a layer with several outputs, gets its own pool
            name = "_".join(map(str, ref)) if any(ref[1:]) else source.name
            name = self.graph.find_unused_name(f"{name}_subsample")
            self.pools[ref] = make_node(keras.layers.MaxPooling2D, name, (ref,), reader, pool_size=(1, 1),
                                        strides=self.stride, data_format="channels_last")
            self.new_nodes[reader.key] = (*self.new_nodes.get(reader.key, ()), self.pools[ref])
        return self.pools[ref].output

    def _put(self, node: Node, inputs: tuple[TensorRef, ...]) -> None:
        """Appends `node`, called on other tensors, to the nodes that replace it."""
        before = self.new_nodes.get(node.key, ())
        self.new_nodes[node.key] = (*before, node.with_inputs(dict(zip(node.inputs, inputs))))
