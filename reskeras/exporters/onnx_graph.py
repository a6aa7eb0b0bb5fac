"""An ONNX graph by its tensors: what makes each of them and what reads it."""
from __future__ import annotations

from typing import Any


class Graph:
    """The nodes of a graph, in the order of the file, by the tensors that they read and write."""

    def __init__(self, graph: Any):
        """Reads a graph.

        Args:
            graph: the `graph` of an ONNX model.
        """
        self.nodes = list(graph.node)
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.values = {value.name: value for value in (*graph.input, *graph.value_info, *graph.output)}
        self.makers: dict[str, Any] = {name: node for node in self.nodes for name in node.output}
        self.readers: dict[str, list[Any]] = {}
        for node in self.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self._depths: dict[str, int] = {}
        for node in self.nodes:
            depth = max((self._depths.get(name, 0) for name in node.input), default=0)
            depth += node.op_type in ("Conv", "ConvTranspose", "MatMul", "Gemm")
            self._depths.update((name, depth) for name in node.output)

    def constants_of(self, node: Any) -> list[str]:
        """The names of a node's inputs that are constants."""
        return [name for name in node.input if self.is_constant(name)]

    def is_constant(self, name: str) -> bool:
        """Whether a tensor is a constant, perhaps one that Q/DQ round."""
        maker = self.makers.get(name)
        if maker is not None and maker.op_type in ("QuantizeLinear", "DequantizeLinear"):
            return self.is_constant(maker.input[0])
        return name in self.constants or (maker is not None and maker.op_type == "Constant")

    def count_layers_before(self, name: str) -> int:
        """The most layers with weights on a path from the input to a tensor."""
        return self._depths.get(name, 0)

    def skip_quantization(self, name: str) -> str:
        """The tensor that Q/DQ round; the tensor itself if none do."""
        while (maker := self.makers.get(name)) is not None and maker.op_type in ("QuantizeLinear",
                                                                                "DequantizeLinear"):
            name = maker.input[0]
        return name


def get_shortcut(node: Any, graph: Graph) -> str | None:
    """The shortcut of a residual sum: of two inputs the one with fewer layers before it.

    Args:
        node: a node.
        graph: its graph.

    Returns:
        The name of the tensor; None if the node is not such a sum.
    """
    if node.op_type != "Add" or len(node.input) != 2 or graph.constants_of(node):
        return None
    return str(min(node.input, key=graph.count_layers_before))
