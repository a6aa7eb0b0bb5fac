"""A Keras functional model as a graph that can be read.  The only file that knows Keras' serialised form."""
from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from typing import Any, Iterator

import keras


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
    """One call of a layer: `inputs` and `outputs` are names of tensors, (layer name, call number, output number)."""
    name: str
    layer: keras.layers.Layer
    inputs: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Graph:
    nodes: tuple[Node, ...]

    @classmethod
    def of(cls, model: keras.Model) -> Graph:
        """The graph of a functional or sequential model, in topological order.  Raises: ValueError for a subclassed one."""
        if isinstance(model, keras.Sequential):
            model = keras.Model(model.inputs, model.outputs, name=model.name)
        with deep():
            config = model.get_config()
        if "layers" not in config or "output_layers" not in config:
            raise ValueError(f"{model.name}: a subclassed model has no graph to read; expected a functional keras.Model")
        nodes = []
        for entry in config["layers"]:
            layer = model.get_layer(entry["name"])
            for call in entry["inbound_nodes"] or [{"args": ()}]:
                nodes.append(Node(entry["name"], layer, tuple(tensors_in(call["args"]))))
        return cls(tuple(nodes))


def tensors_in(value: Any) -> Iterator[tuple[str, int, int]]:
    """Every tensor named in the serialised arguments of a call."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            name, call, output = value["config"]["keras_history"]
            yield name, call, output
        else:
            for item in value.values():
                yield from tensors_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)
