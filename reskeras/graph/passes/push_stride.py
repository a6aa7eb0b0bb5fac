"""Readers that all subsample, S f(x)  =>  f computed where it is read alone, f' S x (Intel's lossless topology compression).

S takes every s-th cell of both axes: a 1x1 convolution or a 1x1 max pool with that stride.  It commutes with what acts on each
cell alone (activation, normalization, sums of tensors of one size, 1x1 convolutions) and ends in a k x k convolution, which
then takes the stride: "same" becomes an explicit padding, since its own would depend on the size.  Another branch that
cannot take the stride gets a 1x1 max pool with it.
"""
from __future__ import annotations

from dataclasses import dataclass, field

import keras

from ..graph import Graph, Key, Node, call
from ..pass_result import Rewritten
from ..keras_config import Ref
from ..layer_traits import GROUPED, MERGES, cellwise, keras_own

POOLS = ("MaxPooling2D", "AveragePooling2D")
Stride = tuple[int, int]


def push_stride(graph: Graph) -> Rewritten:
    """Every stride as far up as it goes, as long as a convolution computes less for it.

    Declines where one reader needs every cell, where nothing above can take the stride, or the tensor is an output.
    """
    done: list[str] = []
    while True:
        declined: dict[str, str] = {}
        for node in graph.nodes:
            readers = graph.readers(node)
            strides = {_subsampling(reader) for reader in readers}
            if strides <= {None}:
                continue
            push = Push(graph, next(filter(None, strides)))
            reason = push.why_not(node, readers, strides)
            if reason:
                declined |= {reader.name: reason for reader in readers if _subsampling(reader)}
                continue
            graph = push.made(node, readers)
            done += [reader.name for reader in readers if reader.name not in done]
            break
        else:
            return Rewritten(graph, tuple(done), {name: why for name, why in declined.items() if name not in done})


def _subsampling(node: Node) -> Stride | None:
    """The stride of a layer that reads but every s-th cell of its input; None for any other."""
    config = node.config
    window = {"Conv2D": "kernel_size", GROUPED: "kernel_size"} | {pool: "pool_size" for pool in POOLS}
    if node.word not in window or tuple(config[window[node.word]]) != (1, 1) or config["data_format"] != "channels_last":
        return None
    strides = tuple(config["strides"])
    return strides if strides != (1, 1) else None


@dataclass
class Push:
    """One stride on its way up."""
    graph: Graph
    stride: Stride
    new: dict[Key, tuple[Node, ...]] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)      # the convolutions that then compute less
    pools: dict[Ref, Node] = field(default_factory=dict)

    def why_not(self, node: Node, readers: list[Node], strides: set[Stride | None]) -> str:
        if len(strides) > 1:
            full = [reader.name for reader in readers if _subsampling(reader) != self.stride]
            return f"{full[0]} reads {node.name} at another stride"
        for reader in (node, *readers):
            if self.graph.is_output(reader) and (reader is node or reader.word in POOLS):
                return f"{reader.name} is an output of the model"
            if self.graph.shared(reader):
                return f"{reader.name} is shared"
        if not self.absorbed(node) or not self.taken:
            return f"no convolution above {node.name} can take the stride"
        return ""

    def absorbed(self, node: Node) -> bool:
        """Whether `node` can be made to give but every s-th cell; notes down how."""
        if self.graph.shared(node) or node.trains:
            return False
        if cellwise(node):
            self.put(node, (self.demanded(node.inputs[0], node),))
            return True
        if node.word in MERGES:
            return self.merged(node)
        return node.word in ("Conv2D", "DepthwiseConv2D", GROUPED) and self.convolved(node)

    def merged(self, node: Node) -> bool:
        sizes = {shape[1:3] if shape and len(shape) == 4 else None for shape in map(self.graph.shapes.get, node.inputs)}
        if len(sizes) > 1 or None in sizes or len(set(node.inputs)) < len(node.inputs) or \
                node.config.get("axis", -1) not in (-1, 3):
            return False        # a broadcast gate has one cell, which is read everywhere
        self.put(node, tuple(self.demanded(ref, node) for ref in node.inputs))
        return True

    def convolved(self, node: Node) -> bool:
        config = node.config
        if tuple(config["strides"]) != (1, 1) or config["data_format"] != "channels_last" or not keras_own(config["activation"]):
            return False
        if node.word == "DepthwiseConv2D" and self.stride[0] != self.stride[1]:
            return False        # TensorFlow has none
        kernel, dilation = tuple(config["kernel_size"]), tuple(config["dilation_rate"])
        source = self.graph.node(node.inputs[0])
        self.taken.append(node.name)
        if kernel == (1, 1) and node.word != "DepthwiseConv2D" and self.only_reader(source) and self.absorbed(source):
            return True         # the stride is further up already, and this one sees but the cells that it needs
        if dilation != (1, 1) and kernel != (1, 1):
            self.taken.pop()
            return False        # Keras has no layer with both
        changes = {"strides": self.stride, "dilation_rate": (1, 1)}
        if config["padding"] == "same" and kernel != (1, 1):
            pad = tuple(((k - 1) // 2, k // 2) for k in kernel)
            before = call(keras.layers.ZeroPadding2D, self.graph.free(f"{node.name}_pad"), node.inputs, node, padding=pad,
                          data_format="channels_last")
            self.new[node.key] = (before, node.of(**changes, padding="valid").reading({node.inputs[0]: before.output}))
        else:
            self.new[node.key] = (node.of(**changes),)
        return True

    def only_reader(self, node: Node) -> bool:
        return len(self.graph.readers(node)) == 1 and not self.graph.is_output(node)

    def demanded(self, ref: Ref, by: Node) -> Ref:
        """The tensor of every s-th cell of `ref`: of the layer that now makes no others, else through a pool."""
        source = self.graph.node(ref)
        if self.only_reader(source) and self.absorbed(source):
            return ref
        if ref not in self.pools:
            which = "_".join(map(str, ref)) if any(ref[1:]) else source.name        # of a shared layer, or with several outputs
            self.pools[ref] = call(keras.layers.MaxPooling2D, self.graph.free(f"{which}_subsample"), (ref,), by,
                                   pool_size=(1, 1), strides=self.stride, data_format="channels_last")
            self.new[by.key] = (*self.new.get(by.key, ()), self.pools[ref])
        return self.pools[ref].output

    def put(self, node: Node, inputs: tuple[Ref, ...]) -> None:
        self.new[node.key] = (*self.new.get(node.key, ()), node.reading(dict(zip(node.inputs, inputs))))

    def made(self, node: Node, readers: list[Node]) -> Graph:
        new, moved = dict(self.new), {}
        for reader in readers:
            if reader.word in POOLS:
                new[reader.key], moved[reader.output] = (), reader.inputs[0]
            else:
                new[reader.key] = (reader.of(strides=(1, 1)),)
        return self.graph.edit(new, moved)
