"""ZeroPadding2D before a "valid" convolution or max pool  =>  the same with padding "same", where that pads as much.

At stride 1 "same" pads (k - 1) d in all, half of it before; at stride s it pads max((ceil(n / s) - 1) s + (k - 1) d + 1 - n, 0)
of n cells.  A max pool has minus infinity there, or behind a ReLU just as well a zero.
"""
from __future__ import annotations

from ..graph import Graph, Node
from ..pass_result import Rewritten
from ..layer_traits import CONVS, never_negative


def fold_pad(graph: Graph) -> Rewritten:
    """Every padding that all its readers can do themselves.

    Declines where one cannot: another layer, another padding than "same" would give at this size, a stride over a size that
    is open, a max pool of numbers that may be negative, an average pool (whose mean leaves the border out).
    """
    new: dict[tuple[str, int], tuple[Node, ...]] = {}
    done, moved, declined = [], {}, {}
    for pad in graph.nodes:
        if pad.word != "ZeroPadding2D":
            continue
        readers = graph.readers(pad)
        if reason := _why_not(graph, pad) or next(filter(None, (_unequal(graph, pad, reader) for reader in readers)), ""):
            declined[pad.name] = reason
            continue
        new |= {pad.key: ()} | {reader.key: (reader.of(padding="same"),) for reader in readers}
        moved[pad.output] = pad.inputs[0]
        done.append(pad.name)
    return Rewritten(graph.edit(new, moved), tuple(done), declined)


def _why_not(graph: Graph, pad: Node) -> str:
    if graph.is_output(pad) or graph.shared(pad):
        return "it is an output of the model" if graph.is_output(pad) else "it is shared"
    return "" if pad.config["data_format"] == "channels_last" else "its channels are not last"


def _unequal(graph: Graph, pad: Node, reader: Node) -> str:
    """Why `reader` cannot pad itself."""
    pool = reader.word == "MaxPooling2D"
    if reader.word not in CONVS and not pool:
        return f"{reader.name} is no convolution or max pool"
    if graph.shared(reader) or reader.config["padding"] != "valid":
        return f"{reader.name} is shared" if graph.shared(reader) else f"{reader.name} pads already"
    if reader.config["data_format"] != "channels_last":
        return f"{reader.name} has its channels first"
    if pool and not never_negative(graph, pad.inputs[0]):
        return f"{reader.name} would see minus infinity for zero"
    strides, kernel = reader.config["strides"], reader.config["pool_size" if pool else "kernel_size"]
    dilation = (1, 1) if pool else reader.config["dilation_rate"]
    size = (graph.shapes.get(pad.inputs[0]) or (None,) * 4)[1:3]
    for n, s, k, d, own in zip(size, strides, kernel, dilation, pad.config["padding"]):
        if s > 1 and n is None:
            return f"{reader.name} strides over a size that is open"
        whole = (k - 1) * d if s == 1 else max((-(-(n or 0) // s) - 1) * s + (k - 1) * d + 1 - (n or 0), 0)
        if tuple(own) != (whole // 2, whole - whole // 2):
            return f"{reader.name} would pad {(whole // 2, whole - whole // 2)} itself, not {tuple(own)}"
    return ""
