"""A Keras functional model as a graph that can be read, rewritten and built again.

The only file that knows Keras' serialised form.
"""
from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Iterator

import keras
import numpy as np

Ref = tuple[str, int, int]      # a tensor: the layer that made it, the number of its call, the number of its output


@contextlib.contextmanager
def deep(limit: int = 100_000) -> Iterator[None]:
    """A higher recursion limit inside: Keras' graph builder recurses once or more per layer, and 1202 layers are many."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, limit))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


@dataclass(frozen=True)
class Node:
    """One call of a layer: what the layer is (`kind`, `config`, `weights`) and what it is called on (`args`, `kwargs`)."""
    name: str
    call: int
    kind: type[keras.layers.Layer]
    config: dict[str, Any]
    weights: tuple[np.ndarray, ...]
    args: Any
    kwargs: dict[str, Any]

    @property
    def inputs(self) -> tuple[Ref, ...]:
        return tuple(tensors_in([self.args, self.kwargs]))


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order; `inputs` and `outputs` have the nesting that the model has."""
    name: str
    nodes: tuple[Node, ...]
    inputs: Any
    outputs: Any
    model: type[keras.Model] = keras.Model      # what `build` makes, with what its config has beyond the graph
    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, model: keras.Model, weights: bool = True) -> Graph:
        """The graph of a functional or sequential model, with copies of its weights or (to read its shape) without.

        Raises: ValueError for a subclassed model, which has no graph; TypeError for what is no model.
        """
        if not isinstance(model, keras.Model):
            raise TypeError(f"{model!r} is a {type(model).__name__}: expected a keras.Model, as reskeras.create gives")
        model = functional(model)
        with deep():
            config = model.get_config()
        if "layers" not in config or "output_layers" not in config:
            raise ValueError(f"{model.name}: a subclassed model has no graph to read; expected a functional keras.Model")
        nodes, layers = [], {layer.name: layer for layer in model.layers}
        for entry in config["layers"]:
            layer = layers[entry["name"]]
            values = tuple(layer.get_weights()) if weights else ()
            for call, made in enumerate(entry["inbound_nodes"] or [{"args": [], "kwargs": {}}]):
                nodes.append(Node(entry["name"], call, type(layer), entry["config"], values, made["args"], made["kwargs"]))
        extra = {"memory": config["memory"]} if "memory" in config else {}
        return cls(model.name, in_order(nodes), as_refs(config["input_layers"]), as_refs(config["output_layers"]),
                   type(model) if extra else keras.Model, extra)

    def build(self, dtype: str | None = None) -> keras.Model:
        """A new functional model, with `dtype` as every layer's policy where it is given."""
        layers: dict[str, keras.layers.Layer] = {}
        tensors: dict[Ref, Any] = {}
        filled: set[str] = set()
        with deep():
            for node in self.nodes:
                if node.name not in layers:
                    layers[node.name] = node.kind.from_config(with_dtype(node.config, dtype))
                layer = layers[node.name]
                if isinstance(layer, keras.layers.InputLayer):
                    made = layer.output
                else:
                    args, kwargs = put_tensors([node.args, node.kwargs], tensors.__getitem__)
                    made = layer(*args, **kwargs)
                for i, tensor in enumerate(made if isinstance(made, (list, tuple)) else [made]):
                    tensors[node.name, node.call, i] = tensor
                if node.weights and node.name not in filled:
                    layer.set_weights(node.weights)
                filled.add(node.name)
            return self.model(map_refs(self.inputs, tensors.__getitem__), map_refs(self.outputs, tensors.__getitem__),
                              name=self.name, **self.extra)

    def readers(self, node: Node) -> list[Node]:
        """The nodes that read an output of `node`."""
        return [n for n in self.nodes if any(r[:2] == (node.name, node.call) for r in n.inputs)]

    def is_output(self, node: Node) -> bool:
        return any(r[:2] == (node.name, node.call) for r in refs_in(self.outputs))

    def shared(self, node: Node) -> bool:
        return sum(n.name == node.name for n in self.nodes) > 1

    def node(self, ref: Ref) -> Node:
        return next(n for n in self.nodes if (n.name, n.call) == ref[:2])

    def swap(self, node: Node, new: Node) -> Graph:
        return replace(self, nodes=tuple(new if n is node else n for n in self.nodes))

    def bypass(self, node: Node) -> Graph:
        """The graph without `node`: who read its output reads its only input."""
        (source,) = node.inputs
        gone = (node.name, node.call, 0)
        moved = tuple(replace(n, args=rewired(n.args, gone, source), kwargs=rewired(n.kwargs, gone, source))
                      for n in self.nodes if n is not node)
        return replace(self, nodes=moved, outputs=map_refs(self.outputs, lambda r: source if r == gone else r))


def functional(model: keras.Model) -> keras.Model:
    """A sequential model as a functional one of the same layers; a functional one as it is."""
    return keras.Model(model.inputs, model.outputs, name=model.name) if isinstance(model, keras.Sequential) else model


def in_order(nodes: list[Node]) -> tuple[Node, ...]:
    """Every node behind the nodes that it reads: Keras lists layers, and a shared one has calls far apart."""
    done: dict[tuple[str, int], Node] = {}
    waiting = nodes
    while waiting:
        later = []
        for node in waiting:
            if all(ref[:2] in done for ref in node.inputs):
                done[node.name, node.call] = node
            else:
                later.append(node)
        waiting = later
    return tuple(done.values())


def is_tensor(value: Any) -> bool:
    return isinstance(value, dict) and value.get("class_name") == "__keras_tensor__"


def tensors_in(value: Any) -> Iterator[Ref]:
    """Every tensor named in the serialised arguments of a call."""
    if is_tensor(value):
        name, call, output = value["config"]["keras_history"]
        yield name, call, output
    elif isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from tensors_in(item)


def put_tensors(value: Any, find: Callable[[Ref], Any]) -> Any:
    """The serialised arguments of a call with a tensor for each name of one."""
    if is_tensor(value):
        return find(next(tensors_in(value)))
    if isinstance(value, dict):
        if "class_name" in value:
            return keras.saving.deserialize_keras_object(value)
        return {k: put_tensors(v, find) for k, v in value.items()}
    return [put_tensors(v, find) for v in value] if isinstance(value, (list, tuple)) else value


def rewired(value: Any, old: Ref, new: Ref) -> Any:
    if is_tensor(value):
        here = next(tensors_in(value)) == old
        return {**value, "config": {**value["config"], "keras_history": list(new)}} if here else value
    if isinstance(value, dict):
        return {k: rewired(v, old, new) for k, v in value.items()}
    return [rewired(v, old, new) for v in value] if isinstance(value, (list, tuple)) else value


def is_ref(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 3 and isinstance(value[0], str)


def as_refs(value: Any) -> Any:
    """Keras' nesting of [name, call, output] with each as a Ref; a single one stands alone."""
    return map_refs(value, lambda r: r)


def map_refs(value: Any, function: Callable[[Ref], Any]) -> Any:
    if is_ref(value):
        return function((value[0], value[1], value[2]))
    if isinstance(value, dict):
        return {k: map_refs(v, function) for k, v in value.items()}
    return [map_refs(v, function) for v in value]


def refs_in(value: Any) -> list[Ref]:
    found: list[Ref] = []
    map_refs(value, found.append)
    return found


def with_dtype(config: dict[str, Any], dtype: str | None) -> dict[str, Any]:
    """A layer's config, of another dtype policy where one is given; layers inside it too."""
    if dtype is None:
        return config

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: dtype if k == "dtype" else changed(v) for k, v in value.items()}
        return [changed(v) for v in value] if isinstance(value, list) else value
    return changed(config)
