"""Where a graph is quantized: which tensors are rounded, which share a range, which layers are float.

TFLite's kernels round their result once: a convolution after its bias and its relu, an addition after its
relu, a mean, a product.  There a `FakeQuantize` is placed.  Kernels that only move values (a max pool, a
reshape, a padding) do not round, and an average pool rounds to the levels of its input; the tensors that a
concatenation joins must have one range.  A sigmoid, a softmax and a tanh have ranges that TFLite fixes.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Sequence

from ..errors import ArgumentError, list_names
from ..graph.graph import Graph
from ..graph.keras_config import TensorRef
from ..graph.layer_traits import ACTIVATIONS, get_activation
from ..graph.node import Node
from .accumulators import AVERAGES, MOVERS
from .integer_layers import FUSED_ACTIVATIONS, KERNEL_LAYERS, is_relu

# What rounds its result, and has no kernel
_OPERATORS = ("Add", "Subtract", "Multiply", "GlobalAveragePooling2D", "GlobalAveragePooling1D")
# Of an activation -> its range in TFLite
FIXED_RANGES = {"sigmoid": (0.0, 255 / 256), "softmax": (0.0, 255 / 256), "tanh": (-1.0, 127 / 128)}
# Registered names of layers that compute with integers in the file
QUANTIZED_PREFIXES = ("reskeras>FakeQuantize", "reskeras>Quantized")
# Layers that have no integer form, and stay in floating point without being named: the means and variances
# of an image are small numbers of very different sizes, of which 8 bits leave little
_NORMALIZATIONS = ("reskeras>GroupNormalization", "GroupNormalization", "LayerNormalization",
                   "reskeras>UnitNormalization", "UnitNormalization")


@dataclass
class RangeGroup:
    """Tensors that have one range.

    Attributes:
        sites: the tensors that are measured, in order.
        name: of the layer after which the `FakeQuantize` layer is named.
        fixed_range: the range, if TFLite fixes it.
    """

    name: str
    sites: list[TensorRef] = field(default_factory=list)
    fixed_range: tuple[float, float] | None = None


class Placement:
    """Decides for each tensor of a graph whether it is rounded, and with which others it shares its range.

    Args:
        graph: of layers as `use_integer_layers` makes them.
        float_layers: the layers that stay in floating point.

    Attributes:
        groups: the group of each rounded tensor.
        averages: the tensors that are rounded to the levels of their group, without being measured.

    Raises:
        ArgumentError: for a layer that has no integer form and is not one of the `float_layers`.
    """

    def __init__(self, graph: Graph, float_layers: Sequence[str] = ()):
        self.graph = graph
        self.groups: dict[TensorRef, RangeGroup] = {}
        self.averages: list[TensorRef] = []
        self._named_float = set(float_layers)
        self.float_layers = [node.name for node in graph.nodes if self._is_float(node)]
        self._check_layers()
        for node in graph.nodes:
            self._place(node)

    @property
    def sites(self) -> list[TensorRef]:
        """All tensors that are measured."""
        return [ref for ref, group in self.groups.items() if ref in group.sites]

    def is_rounded(self, node: Node) -> bool:
        """Whether the output of a layer is rounded: moved values are on their levels already."""
        group = self.groups.get(node.output)
        if group is None:
            return False
        is_fixed = group.fixed_range is not None and get_activation(node) in FIXED_RANGES
        return is_fixed or node.output in group.sites or node.output in self.averages

    def _is_float(self, node: Node) -> bool:
        """Whether a layer computes in floats: one of the `float_layers`, or the relu after such a layer."""
        if node.name in self._named_float or node.type_name in _NORMALIZATIONS:
            return True
        if not is_relu(node) or len(node.inputs) != 1:
            return False
        source = self.graph.get_node(node.inputs[0])
        return self._is_float(source) and len(self.graph.readers(source)) == 1

    def _check_layers(self) -> None:
        unknown = [node for node in self.graph.nodes if node.name not in self.float_layers
                   and not self._is_known(node)]
        if not unknown:
            return
        kinds = sorted({node.type_name or node.layer_class.__name__ for node in unknown})
        names = list(dict.fromkeys(node.name for node in unknown))
        raise ArgumentError("float_layers", sorted(self._named_float), "also "
                            f"{list_names(names)}, because {list_names(kinds)} here has no integer form that "
                            "can be trained", hint="these layers then stay in floating point")

    def _is_known(self, node: Node) -> bool:
        config, kind = node.config, node.type_name
        if kind in KERNEL_LAYERS:
            return (config["activation"] in FUSED_ACTIVATIONS and config.get("padding") != "causal"
                    and config.get("data_format") in (None, "channels_last") and len(node.inputs) == 1)
        if kind in ACTIVATIONS:
            return get_activation(node) in (*FIXED_RANGES, "relu", "relu6") or kind == "LeakyReLU"
        if kind in ("Add", "Subtract", "Multiply"):
            return len(node.inputs) == 2
        return kind in ("InputLayer", "Concatenate", *_OPERATORS, *MOVERS, *AVERAGES)

    def _place(self, node: Node) -> None:
        kind, ref = node.type_name, node.output
        if node.name in self.float_layers:
            if not all(reader.name in self.float_layers for reader in self.graph.readers(node)):
                self._add_site(node)
        elif kind == "Concatenate":
            groups = [self.groups[source] for source in node.inputs]
            self.groups[ref] = self._join(node, groups)
        elif kind in (*MOVERS, *AVERAGES):
            self.groups[ref] = self.groups[node.inputs[0]]
            # the converter finds no range for a map between a pool and an average, so it is rounded again
            is_between = any(reader.type_name in AVERAGES for reader in self.graph.readers(node))
            self.averages += [ref] * (kind in AVERAGES or is_between)
        elif get_activation(node) in FIXED_RANGES:
            # the scores of the model stay floats: a loss needs probabilities below 1 / 256
            if not self.graph.is_output(node):
                self._add_site(node, FIXED_RANGES[get_activation(node) or ""])
        elif not self._is_fused(node):
            self._add_site(node)

    def _add_site(self, node: Node, fixed_range: tuple[float, float] | None = None) -> None:
        sites = [] if fixed_range else [node.output]
        name = f"{node.name}_{node.call_index}" if node.call_index else node.name
        self.groups[node.output] = RangeGroup(name, sites, fixed_range)

    def _is_fused(self, node: Node) -> bool:
        """Whether the relu after an addition or product is part of the same operator."""
        readers = self.graph.readers(node)
        return (node.type_name in ("Add", "Subtract", "Multiply") and len(readers) == 1
                and is_relu(readers[0]) and not self.graph.is_output(node))

    def _join(self, node: Node, groups: list[RangeGroup]) -> RangeGroup:
        """One group for all tensors of a concatenation.

        Raises:
            ArgumentError: for tensors whose ranges TFLite fixes beside others.
        """
        distinct = list({id(group): group for group in groups}.values())
        if len({group.fixed_range for group in distinct}) > 1:
            raise ArgumentError("float_layers", sorted(self._named_float), f"also {node.name}, because it "
                                "joins tensors whose ranges TFLite fixes with others")
        if len(distinct) == 1:
            return distinct[0]
        joined = RangeGroup(node.name, [ref for group in distinct for ref in group.sites],
                            distinct[0].fixed_range)
        for ref, group in self.groups.items():
            if any(group is other for other in distinct):
                self.groups[ref] = joined
        return joined


def find_normalizations(graph: Graph) -> tuple[str, ...]:
    """The layers that normalize an image by its own statistics, and stay in floating point in int8 files.

    Args:
        graph: of a model; it needs no weights.
    """
    return tuple(node.name for node in graph.nodes if node.type_name in _NORMALIZATIONS)


def find_float_layers(graph: Graph) -> list[str]:
    """The layers of a model with fake quantization that compute in floats.

    Args:
        graph: of the model; it needs no weights.
    """
    integer = ("InputLayer", "Concatenate", *_OPERATORS, *MOVERS, *AVERAGES, *ACTIVATIONS)
    return [node.name for node in graph.nodes
            if node.type_name not in integer and not node.type_name.startswith(QUANTIZED_PREFIXES)]
