"""A Keras functional model as a graph that can be read, rewritten and built again."""
from __future__ import annotations

import contextlib
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Iterator, Mapping, Sequence

import keras

from .keras_config import TensorRef, deserialize_arguments, find_custom_functions, list_refs, map_refs
from .model_requirements import check_floating_point, check_layers, explain_missing_graph
from .node import Node, NodeKey
from .shape_inference import Shape, infer_shapes


@contextlib.contextmanager
def high_recursion_limit(limit: int = 100_000) -> Iterator[None]:
    """Raises the recursion limit: Keras builds a graph recursively, and nets have up to 1202 layers."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, limit))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


@dataclass(frozen=True)
class Graph:
    """A model as a list of layer calls.

    Args:
        name: the model's name.
        nodes: the calls in topological order.
        inputs: the model's input tensors, nested as in the model.
        outputs: the model's output tensors, nested as in the model.
        model_class: the class of the model that `build` returns.
        model_config: further arguments of the model class.  A class lists their names in its attribute
            `extra_config_keys`.
    """

    name: str
    nodes: tuple[Node, ...]
    inputs: Any
    outputs: Any
    model_class: type[keras.Model] = keras.Model
    model_config: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, model: keras.Model, weights: bool = True) -> Graph:
        """Reads the graph of a functional or sequential model.

        Args:
            model: the model; it is not changed.
            weights: whether to copy its weights; without them the graph can be read but not built.

        Raises:
            ArgumentError: with `weights`, for a model that Keras has quantized.
            ValueError: for a subclassed model, which has no graph, or a layer without a config.
            TypeError: if `model` is not a Keras model.
        """
        if not isinstance(model, keras.Model):
            raise TypeError(f"{model!r} is a {type(model).__name__}: expected a keras.Model, "
                            "such as reskeras.create returns")
        model = to_functional(model)
        if not getattr(model, "inputs", None):
            raise ValueError(f"{model.name} has no graph: {explain_missing_graph(model)}")
        if weights:
            check_floating_point(model)
        with high_recursion_limit():
            try:
                config = model.get_config()
            except Exception:
                check_layers(model)     # finds the layer and says what to do
                raise
        if "layers" not in config or "output_layers" not in config:
            raise ValueError(f"{model.name} has no graph: {explain_missing_graph(model)}")

        nodes, operations = [], {operation.name: operation for operation in model.operations}
        for entry in config["layers"]:
            nodes += _read_calls(operations[entry["name"]], entry, weights)

        # Keras counts the calls of a nested functional model from 1 in its lists of tensors, but from 0 in
        # arguments
        nested = {name for name, layer in operations.items()
                  if any(base.__name__ == "Functional" for base in type(layer).__mro__)}
        inputs, outputs = (map_refs(config[name], lambda ref: (ref[0], ref[1] - (ref[0] in nested), ref[2]))
                           for name in ("input_layers", "output_layers"))

        extra = {key: config[key] for key in getattr(type(model), "extra_config_keys", ()) if key in config}
        model_class = type(model) if extra else keras.Model
        return cls(model.name, _sort_nodes(nodes), inputs, outputs, model_class, extra)

    def build(self, dtype: str | None = None, temporary: bool = False) -> keras.Model:
        """Builds a new functional model.

        Args:
            dtype: a dtype policy for all layers; None keeps the policies of the layers.
            temporary: whether the model is only run and then thrown away; then no random initial weights are
                made.
        """
        layers: dict[str, keras.layers.Layer] = {}
        tensors: dict[TensorRef, Any] = {}
        visited: set[str] = set()
        with high_recursion_limit():
            for node in self.nodes:
                if node.name not in layers:
                    layers[node.name] = node.make_layer(dtype, temporary)
                layer = layers[node.name]

                if isinstance(layer, keras.layers.InputLayer):
                    outputs = layer.output
                else:
                    args, kwargs = deserialize_arguments([node.args, node.kwargs], tensors.__getitem__)
                    outputs = layer(*args, **kwargs)
                for i, output in enumerate(keras.tree.flatten(outputs)):
                    tensors[node.name, node.call_index, i] = output

                if node.weights and node.name not in visited:
                    node.set_layer_weights(layer)
                visited.add(node.name)
            inputs, outputs = (map_refs(refs, tensors.__getitem__) for refs in (self.inputs, self.outputs))
            return self.model_class(inputs, outputs, name=self.name, **self.model_config)

    @cached_property
    def nodes_by_key(self) -> dict[NodeKey, Node]:
        return {node.key: node for node in self.nodes}

    @cached_property
    def readers_by_key(self) -> dict[NodeKey, list[Node]]:
        readers: dict[NodeKey, list[Node]] = {node.key: [] for node in self.nodes}
        for node in self.nodes:
            for key in dict.fromkeys(ref[:2] for ref in node.inputs):
                readers[key].append(node)
        return readers

    @cached_property
    def output_keys(self) -> set[NodeKey]:
        return {ref[:2] for ref in list_refs(self.outputs)}

    @cached_property
    def call_counts(self) -> Counter[str]:
        """How often each layer is called."""
        return Counter(node.name for node in self.nodes)

    @cached_property
    def shapes(self) -> dict[TensorRef, Shape]:
        """The shape of every tensor; missing after a layer whose output shape is unknown."""
        return infer_shapes(self.nodes)

    def readers(self, node: Node) -> list[Node]:
        """The nodes that read an output of `node`."""
        return self.readers_by_key[node.key]

    def is_output(self, node: Node) -> bool:
        """Whether an output of `node` is an output of the model."""
        return node.key in self.output_keys

    def is_shared(self, node: Node) -> bool:
        """Whether the node's layer is called several times."""
        return self.call_counts[node.name] > 1

    def list_calls(self, name: str) -> list[Node]:
        """The calls of a layer."""
        return [node for node in self.nodes if node.name == name]

    def get_node(self, ref: TensorRef) -> Node:
        """The node that makes a tensor."""
        return self.nodes_by_key[ref[:2]]

    def edit(self, new_nodes: Mapping[NodeKey, Sequence[Node]],
             new_tensors: Mapping[TensorRef, TensorRef]) -> Graph:
        """Returns the graph with some nodes replaced, and some tensors replaced in their readers.

        Args:
            new_nodes: key of a node -> the nodes that replace it; an empty tuple removes the node.
            new_tensors: tensor -> the tensor that replaces it for all readers and as model output; chains of
                replacements are followed.
        """
        def follow(ref: TensorRef) -> TensorRef:
            while ref in new_tensors:
                ref = new_tensors[ref]
            return ref
        new_inputs = {ref: follow(ref) for ref in new_tensors}
        nodes = [new.with_inputs(new_inputs)
                 for node in self.nodes for new in new_nodes.get(node.key, (node,))]
        return replace(self, nodes=_sort_nodes(nodes), outputs=map_refs(self.outputs, follow))

    def remove_unused_nodes(self) -> Graph:
        """The graph without the nodes that no output needs; the inputs stay."""
        needed = {ref[:2] for ref in (*list_refs(self.inputs), *list_refs(self.outputs))}
        for node in reversed(self.nodes):
            if node.key in needed:
                needed |= {ref[:2] for ref in node.inputs}
        return replace(self, nodes=tuple(node for node in self.nodes if node.key in needed))

    def find_unused_name(self, name: str) -> str:
        """Returns `name`, or `name` with a number if a layer already has that name."""
        candidates = (name, *(f"{name}_{i}" for i in range(1, len(self.nodes) + 2)))
        return next(candidate for candidate in candidates if not self.call_counts[candidate])


def to_functional(model: keras.Model) -> keras.Model:
    """Converts a sequential model to a functional one of the same layers; returns other models unchanged.

    Args:
        model: a Keras model.

    Raises:
        ValueError: for a sequential model that is not built.
    """
    if not isinstance(model, keras.Sequential):
        return model
    if not model.built:
        raise ValueError(f"{model.name} has no graph: {explain_missing_graph(model)}")
    return keras.Model(model.inputs, model.outputs, name=model.name)


def _read_calls(layer: Any, entry: dict[str, Any], weights: bool) -> list[Node]:
    """Makes a node for each call of a layer; `entry` is the layer's entry in the model's config."""
    # a bare operation, such as x + y, has no weights
    values = tuple(layer.get_weights()) if weights and isinstance(layer, keras.layers.Layer) else ()
    config, functions = find_custom_functions(layer, entry["config"])
    calls = entry["inbound_nodes"] or [{"args": [], "kwargs": {}}]
    return [Node(entry["name"], i, type(layer), config, values, call["args"], call["kwargs"], functions)
            for i, call in enumerate(calls)]


def _sort_nodes(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Sorts each node after its inputs.  Keras lists a shared layer once; its calls may be far apart."""
    sorted_nodes: dict[NodeKey, Node] = {}
    waiting = list(nodes)
    while waiting:
        later = []
        for node in waiting:
            if all(ref[:2] in sorted_nodes for ref in node.inputs):
                sorted_nodes[node.key] = node
            else:
                later.append(node)
        if len(later) == len(waiting):
            names = ", ".join(node.name for node in later[:5])
            raise ValueError(f"the layers form a cycle: {names} need each other's outputs")
        waiting = later
    return tuple(sorted_nodes.values())
