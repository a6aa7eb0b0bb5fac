"""A model as the list of what it does: each call of each layer in the order in which it runs, with every shape known."""
from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any, Callable, Sequence

import keras

from ..graph import Graph, Node, functional
from ..keras_config import Ref, put_tensors, refs_in

Shape = tuple[int, ...]     # of one image: the batch is 1


@dataclass(frozen=True)
class Step:
    """One call of a layer.  Tensors are numbered as they are made, over the whole plan."""
    name: str                   # "backbone/conv1_conv" inside a nested model; "dense#2" for the second call of a shared layer
    layer: keras.layers.Layer
    first: bool                 # whether no earlier step calls this layer: its variables count once
    reads: tuple[int, ...]
    makes: tuple[int, ...]


@dataclass
class Plan:
    """The steps in order, the shape of every tensor, and which tensors are the model's outputs."""
    steps: list[Step] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    outputs: tuple[int, ...] = ()

    def before(self, step: Step) -> list[Shape]:
        return [self.shapes[tensor] for tensor in step.reads]

    def after(self, step: Step) -> Shape:
        return self.shapes[step.makes[0]]


def plan(model: keras.Model, input_shape: Shape | None = None) -> Plan:
    """The steps of a functional or sequential model; those of nested models stand among them.

    Arguments:
        input_shape: without the batch, where the model leaves it open (of several inputs: of those that do).
    Raises: ValueError where a size is missing, or where the model has no graph.
    """
    made = Plan()
    made.outputs = tuple(_unroll(model, None, "", made, set(), input_shape))
    return made


def _unroll(model: keras.Model, inputs: Sequence[int] | None, prefix: str, made: Plan, seen: set[int],
           input_shape: Shape | None = None) -> list[int]:
    """Appends the model's steps to `made`, and gives its output tensors.  Arguments: `inputs` of a nested model."""
    graph, known = Graph.of(model, weights=False), {layer.name: layer for layer in functional(model).operations}
    entries = refs_in(graph.inputs)
    tensors: dict[Ref, int] = dict(zip(entries, inputs)) if inputs is not None else {}
    for node in graph.nodes:
        if (node.name, node.call, 0) in tensors:        # a nested model's input is a tensor outside
            continue
        layer, reads = known[node.name], tuple(tensors[ref] for ref in node.inputs)
        name = prefix + node.name + (f"#{node.call + 1}" if node.call else "")
        if isinstance(layer, keras.layers.InputLayer):
            shapes = [_entry_shape(model, layer, input_shape, alone=len(entries) == 1)]
        elif _has_graph(layer):
            outputs = _unroll(layer, reads, f"{name}/", made, seen)
            tensors.update({(node.name, node.call, i): tensor for i, tensor in enumerate(outputs)})
            continue
        else:
            shapes = _output_shapes(layer, node, lambda ref: made.shapes[tensors[ref]])
        makes = tuple(range(len(made.shapes), len(made.shapes) + len(shapes)))
        made.shapes += shapes
        made.steps.append(Step(name, layer, id(layer) not in seen, reads, makes))
        seen.add(id(layer))
        tensors.update({(node.name, node.call, i): tensor for i, tensor in enumerate(makes)})
    return [tensors[ref] for ref in refs_in(graph.outputs)]


def _has_graph(layer: keras.layers.Layer) -> bool:
    """Whether a layer is a model with layers of its own to count; a subclassed model is one opaque step."""
    return isinstance(layer, keras.Model) and bool(getattr(layer, "inputs", None))


def _entry_shape(model: keras.Model, layer: keras.layers.InputLayer, given: Shape | None, alone: bool) -> Shape:
    own = tuple(layer.batch_shape[1:])
    shape = tuple(given) if given and (alone or None in own) else own
    if None in shape:
        raise ValueError(f"{model.name}: the input is {shape}; give input_shape=(height, width, channels)")
    if len(shape) != len(own) or any(o not in (None, s) for o, s in zip(own[-1:], shape[-1:])):
        raise ValueError(f"{model.name}: input_shape={shape} does not fit the model's input {own}")
    return (1, *shape)


def _output_shapes(layer: Any, node: Node, known: Callable[[Ref], Shape]) -> list[Shape]:
    inputs = [known(ref) for ref in node.inputs]
    if isinstance(layer, keras.layers.Layer):
        with contextlib.suppress(NotImplementedError, TypeError):
            out = layer.compute_output_shape(inputs if len(inputs) > 1 else inputs[0])
            return [tuple(o) for o in out] if isinstance(out[0], (list, tuple)) else [tuple(out)]
    # bare operations as in x + 1, and layers that say it by their call alone
    args, kwargs = put_tensors([node.args, node.kwargs], lambda ref: keras.KerasTensor(known(ref)))
    return [tuple(spec.shape) for spec in keras.tree.flatten(layer.compute_output_spec(*args, **kwargs))]
