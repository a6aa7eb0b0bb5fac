"""A Keras functional model as a graph that can be read, rewritten and built again."""
from __future__ import annotations

import contextlib
import copy
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Iterator, Mapping, Sequence

import keras
import numpy as np

from .keras_config import (Ref, functions_of, map_refs, map_tensors, put_tensors, refs_in, tensor, tensors_in,
                           with_dtype)

Key = tuple[str, int]           # a call
Shape = tuple[int | None, ...]


@contextlib.contextmanager
def deep(limit: int = 100_000) -> Iterator[None]:
    """A higher recursion limit inside: Keras' graph builder recurses once or more per layer, and 1202 layers are many."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, limit))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


@dataclass(frozen=True, eq=False)
class Node:
    """One call of a layer: what the layer is (`kind`, `config`, `weights`) and what it is called on (`args`, `kwargs`).

    `functions` are those that the config only names: a user's activation, what a Lambda does.
    """
    name: str
    call: int
    kind: type[keras.layers.Layer]
    config: dict[str, Any]
    weights: tuple[np.ndarray, ...]
    args: Any
    kwargs: dict[str, Any]
    functions: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def inputs(self) -> tuple[Ref, ...]:
        return tuple(tensors_in([self.args, self.kwargs]))

    @property
    def key(self) -> Key:
        return self.name, self.call

    @property
    def output(self) -> Ref:
        """Of a layer with one output."""
        return self.name, self.call, 0

    @cached_property
    def word(self) -> str:
        """What the layer is called: "Conv2D" for Keras' own, "package>Name" for a registered one, "" for any other.

        A subclass is another layer, which may do more, even if its author kept the name, unless it says whose function it is.
        """
        kind = vars(self.kind).get("same_function_as", self.kind)
        name = kind.__name__
        if getattr(keras.layers, name, None) is kind:
            return name
        registered = keras.saving.get_registered_name(kind)
        return registered if ">" in registered else ""

    @property
    def trains(self) -> bool:
        """Whether the call asks for the behaviour of training, at inference too (`layer(x, training=True)`)."""
        return bool(self.kwargs.get("training"))

    def layer(self, dtype: str | None = None, scratch: bool = False) -> keras.layers.Layer:
        """A new layer of this configuration, with `dtype` as its policy where it is given."""
        config = with_dtype(copy.deepcopy(self.config), dtype)      # from_config may empty what it is given
        if scratch and self.weights:
            config |= {name: "zeros" for name in config if name.endswith("_initializer")}
        with keras.saving.custom_object_scope(self.functions):
            return self.kind.from_config(config)

    def fill(self, layer: keras.layers.Layer) -> None:
        """Sets the weights of a layer of this configuration, and what a Normalization keeps beside them."""
        layer.set_weights(self.weights)
        for inner in layer._flatten_layers():
            if isinstance(inner, keras.layers.Normalization):
                inner.finalize_state()

    def of(self, **config: Any) -> Node:
        """The same call of a layer with another configuration."""
        return replace(self, config={**self.config, **config})

    def reading(self, moved: Mapping[Ref, Ref]) -> Node:
        """The same layer, called on other tensors in the place of some."""
        if moved.keys().isdisjoint(self.inputs):
            return self

        def there(ref: Ref) -> Ref:
            return moved.get(ref, ref)
        return replace(self, args=map_tensors(self.args, there), kwargs=map_tensors(self.kwargs, there))


def call(kind: type[keras.layers.Layer], name: str, inputs: Sequence[Ref], like: Node, weights: Sequence[np.ndarray] = (),
         **options: Any) -> Node:
    """A new layer of the dtype policy of `like`, called on `inputs`."""
    config = {**kind(name=name, **options).get_config(), "dtype": like.config["dtype"]}
    tensors = [tensor(ref) for ref in inputs]
    return Node(name, 0, kind, config, tuple(weights), tensors if len(tensors) == 1 else [tensors], {})


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
        nodes, made_by = [], {operation.name: operation for operation in model.operations}
        for entry in config["layers"]:
            layer = made_by[entry["name"]]      # a bare operation, such as x + y, has no weights
            values = tuple(layer.get_weights()) if weights and isinstance(layer, keras.layers.Layer) else ()
            settings, functions = functions_of(layer, entry["config"])
            for call, made in enumerate(entry["inbound_nodes"] or [{"args": [], "kwargs": {}}]):
                nodes.append(Node(entry["name"], call, type(layer), settings, values, made["args"], made["kwargs"], functions))
        # Keras counts the calls of a nested functional model from 1 in its lists of tensors, but from 0 in arguments
        nested = {name for name, layer in made_by.items() if any(kind.__name__ == "Functional" for kind in type(layer).__mro__)}
        inputs, outputs = (map_refs(config[name], lambda ref: (ref[0], ref[1] - (ref[0] in nested), ref[2]))
                           for name in ("input_layers", "output_layers"))
        extra = {"memory": config["memory"]} if "memory" in config else {}
        return cls(model.name, _in_order(nodes), inputs, outputs, type(model) if extra else keras.Model, extra)

    def build(self, dtype: str | None = None, scratch: bool = False) -> keras.Model:
        """A new functional model.

        Arguments:
            dtype: every layer's policy, where it is given.
            scratch: whether the model is to be run and thrown away; then nothing is drawn at random to be overwritten.
        """
        layers: dict[str, keras.layers.Layer] = {}
        tensors: dict[Ref, Any] = {}
        filled: set[str] = set()
        with deep():
            for node in self.nodes:
                if node.name not in layers:
                    layers[node.name] = node.layer(dtype, scratch)
                layer = layers[node.name]
                if isinstance(layer, keras.layers.InputLayer):
                    made = layer.output
                else:
                    args, kwargs = put_tensors([node.args, node.kwargs], tensors.__getitem__)
                    made = layer(*args, **kwargs)
                for i, output in enumerate(keras.tree.flatten(made)):
                    tensors[node.name, node.call, i] = output
                if node.weights and node.name not in filled:
                    node.fill(layer)
                filled.add(node.name)
            return self.model(map_refs(self.inputs, tensors.__getitem__), map_refs(self.outputs, tensors.__getitem__),
                              name=self.name, **self.extra)

    @cached_property
    def nodes_by_key(self) -> dict[Key, Node]:
        return {node.key: node for node in self.nodes}

    @cached_property
    def readers_by_key(self) -> dict[Key, list[Node]]:
        found: dict[Key, list[Node]] = {node.key: [] for node in self.nodes}
        for node in self.nodes:
            for key in dict.fromkeys(ref[:2] for ref in node.inputs):
                found[key].append(node)
        return found

    @cached_property
    def output_keys(self) -> set[Key]:
        return {ref[:2] for ref in refs_in(self.outputs)}

    @cached_property
    def calls(self) -> Counter[str]:
        """How often each layer is called."""
        return Counter(node.name for node in self.nodes)

    @cached_property
    def shapes(self) -> dict[Ref, Shape]:
        """Of every tensor, None in it for what is open; not of those that follow from a layer that cannot say."""
        return shapes(self)

    def readers(self, node: Node) -> list[Node]:
        """The nodes that read an output of `node`."""
        return self.readers_by_key[node.key]

    def is_output(self, node: Node) -> bool:
        return node.key in self.output_keys

    def shared(self, node: Node) -> bool:
        return self.calls[node.name] > 1

    def node(self, ref: Ref) -> Node:
        return self.nodes_by_key[ref[:2]]

    def edit(self, new: Mapping[Key, Sequence[Node]], moved: Mapping[Ref, Ref]) -> Graph:
        """The graph with other nodes in the place of some, and other tensors read in the place of some.

        Arguments:
            new: for the key of a node the nodes that stand in its place; none where it goes.
            moved: for a tensor the one that all who read it, the model's outputs too, read instead; chains are followed.
        """
        def settled(ref: Ref) -> Ref:
            while ref in moved:
                ref = moved[ref]
            return ref
        end = {ref: settled(ref) for ref in moved}
        nodes = [made.reading(end) for node in self.nodes for made in new.get(node.key, (node,))]
        return replace(self, nodes=_in_order(nodes), outputs=map_refs(self.outputs, settled))

    def reachable(self) -> Graph:
        """The graph without what neither an output needs nor an input is."""
        needed = {ref[:2] for ref in (*refs_in(self.inputs), *refs_in(self.outputs))}
        for node in reversed(self.nodes):
            if node.key in needed:
                needed |= {ref[:2] for ref in node.inputs}
        return replace(self, nodes=tuple(node for node in self.nodes if node.key in needed))

    def free(self, name: str) -> str:
        """`name`, or with a number where a layer has it already."""
        return next(n for n in (name, *(f"{name}_{i}" for i in range(1, len(self.nodes) + 2))) if not self.calls[n])


def functional(model: keras.Model) -> keras.Model:
    """A sequential model as a functional one of the same layers; a functional one as it is."""
    if not isinstance(model, keras.Sequential):
        return model
    if not model.built:
        raise ValueError(f"{model.name} is not built, so it has no graph yet; begin it with keras.Input(shape)")
    return keras.Model(model.inputs, model.outputs, name=model.name)


def _in_order(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Every node behind the nodes that it reads: Keras lists layers, and a shared one has calls far apart."""
    done: dict[Key, Node] = {}
    waiting = list(nodes)
    while waiting:
        later = []
        for node in waiting:
            if all(ref[:2] in done for ref in node.inputs):
                done[node.key] = node
            else:
                later.append(node)
        if len(later) == len(waiting):
            raise ValueError(f"no order of the layers: {', '.join(n.name for n in later[:5])} wait for each other")
        waiting = later
    return tuple(done.values())


def shapes(graph: Graph) -> dict[Ref, Shape]:
    """What each layer says of the shape of its output, from the inputs on."""
    found: dict[Ref, Shape] = {}
    seen: dict[Any, list[Shape]] = {}       # deep nets are one block over and over, and making its layers takes time
    for node in graph.nodes:
        if node.kind is keras.layers.InputLayer:
            found[node.output] = tuple(node.config["batch_shape"])
        elif all(ref in found for ref in node.inputs):
            alike: Any = node.key
            if issubclass(node.kind, keras.layers.Layer) and not node.kwargs:
                alike = node.kind, repr({**node.config, "name": ""}), tuple(found[ref] for ref in node.inputs)
            if alike not in seen:
                seen[alike] = output_shapes(node, found)
            found.update(((*node.key, i), shape) for i, shape in enumerate(seen[alike]))
    return found


def output_shapes(node: Node, known: Mapping[Ref, Shape]) -> list[Shape]:
    """None where the layer cannot say: it must be built first, or nobody ever asked it."""
    layer = node.layer()
    inputs = [known[ref] for ref in node.inputs]
    with contextlib.suppress(Exception):
        made = layer.compute_output_shape(inputs if len(inputs) > 1 else inputs[0])
        return [tuple(shape) for shape in (made if isinstance(made[0], (list, tuple)) else [made])]
    with contextlib.suppress(Exception):    # bare operations, and layers that say it by their call
        args, kwargs = put_tensors([node.args, node.kwargs], lambda ref: keras.KerasTensor(known[ref]))
        return [tuple(spec.shape) for spec in keras.tree.flatten(layer.compute_output_spec(*args, **kwargs))]
    return []
