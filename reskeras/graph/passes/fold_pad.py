"""ZeroPadding2D before a "valid" convolution or max pool  =>  padding "same", if that pads as much.

At stride 1 "same" pads (k - 1) d in all, half of it before; at stride s it pads
max((ceil(n / s) - 1) s + (k - 1) d + 1 - n, 0) for n positions.  A max pool pads with minus infinity, which
after a ReLU has the same effect as zero.
"""
from __future__ import annotations

from ..graph import Graph
from ..keras_config import TensorRef
from ..layer_traits import CONVOLUTIONS, is_never_negative
from ..node import Node, NodeKey
from ..pass_result import PassResult


def fold_pad(graph: Graph) -> PassResult:
    """Folds every padding that all its readers can do themselves.

    Declines if a reader cannot: it is another layer, "same" would pad differently at this size, it has a
    stride and the size is open, it is a max pool of numbers that may be negative, or it is an average pool
    (whose mean would leave the border out).
    """
    new_nodes: dict[NodeKey, tuple[Node, ...]] = {}
    new_tensors: dict[TensorRef, TensorRef] = {}
    rewritten: list[str] = []
    declined: dict[str, str] = {}
    for pad in graph.nodes:
        if pad.type_name != "ZeroPadding2D":
            continue
        readers = graph.readers(pad)
        reasons = (_why_not_into_reader(graph, pad, reader) for reader in readers)
        if reason := _why_not(graph, pad) or next(filter(None, reasons), ""):
            declined[pad.name] = reason
            continue
        new_nodes |= {pad.key: ()} | {reader.key: (reader.with_config(padding="same"),) for reader in readers}
        new_tensors[pad.output] = pad.inputs[0]
        rewritten.append(pad.name)
    return PassResult(graph.edit(new_nodes, new_tensors), tuple(rewritten), declined)


def _why_not(graph: Graph, pad: Node) -> str:
    if graph.is_output(pad) or graph.is_shared(pad):
        return "it is an output of the model" if graph.is_output(pad) else "it is shared"
    return "" if pad.config["data_format"] == "channels_last" else "its channels are not last"


def _why_not_into_reader(graph: Graph, pad: Node, reader: Node) -> str:
    """Why `reader` cannot pad itself; "" if it can."""
    is_pool = reader.type_name == "MaxPooling2D"
    if reader.type_name not in CONVOLUTIONS and not is_pool:
        return f"{reader.name} is not a convolution or max pool"
    if graph.is_shared(reader) or reader.config["padding"] != "valid":
        return f"{reader.name} is shared" if graph.is_shared(reader) else f"{reader.name} pads already"
    if reader.config["data_format"] != "channels_last":
        return f"{reader.name} has its channels first"
    if is_pool and not is_never_negative(graph, pad.inputs[0]):
        return f"{reader.name} would see minus infinity for zero"

    strides, kernel = reader.config["strides"], reader.config["pool_size" if is_pool else "kernel_size"]
    dilation = (1, 1) if is_pool else reader.config["dilation_rate"]
    size = (graph.shapes.get(pad.inputs[0]) or (None,) * 4)[1:3]
    for n, s, k, d, padding in zip(size, strides, kernel, dilation, pad.config["padding"]):
        if s > 1 and n is None:
            return f"{reader.name} strides over a size that is open"
        whole = (k - 1) * d if s == 1 else max((-(-(n or 0) // s) - 1) * s + (k - 1) * d + 1 - (n or 0), 0)
        if tuple(padding) != (whole // 2, whole - whole // 2):
            return f"{reader.name} would pad {(whole // 2, whole - whole // 2)} itself, not {tuple(padding)}"
    return ""
