"""A model as a list of steps: each call of each layer, in the order of running, with all shapes."""
from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any, Callable, Sequence

import keras

from ..graph import Graph, to_functional
from ..node import Node
from ..keras_config import TensorRef, deserialize_arguments, list_refs

Shape = tuple[int, ...]     # the shape for one image: the batch is 1


@dataclass(frozen=True)
class LayerCall:
    """One step of a plan: one call of a layer.

    Attributes:
        name: the layer's name; "backbone/conv1_conv" in a nested model, "dense#2" for the second call of a
            shared layer.
        layer: the layer.
        is_first_call: whether no earlier step calls this layer: its variables count once.
        inputs: numbers of the tensors that it reads; they are numbered as they are made, over the whole plan.
        outputs: numbers of the tensors that it makes.
    """

    name: str
    layer: keras.layers.Layer
    is_first_call: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass
class ExecutionPlan:
    """The steps in order, the shape of every tensor, and which tensors are the model's outputs."""

    steps: list[LayerCall] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    outputs: tuple[int, ...] = ()

    def input_shapes(self, step: LayerCall) -> list[Shape]:
        """The shapes of the tensors that a step reads."""
        return [self.shapes[tensor] for tensor in step.inputs]

    def output_shape(self, step: LayerCall) -> Shape:
        """The shape of the first tensor that a step makes."""
        return self.shapes[step.outputs[0]]


def make_execution_plan(model: keras.Model, input_shape: Shape | None = None) -> ExecutionPlan:
    """Lists the steps of a functional or sequential model, including those of nested models.

    Args:
        model: any functional or sequential model.
        input_shape: shape without the batch, for the inputs whose size the model leaves open.

    Returns:
        The steps and the shape of every tensor.

    Raises:
        ValueError: if a size is missing, or if the model has no graph.
        TypeError: if `model` is not a Keras model.
    """
    plan = ExecutionPlan()
    plan.outputs = tuple(_append_steps(model, None, "", plan, set(), input_shape))
    return plan


def _append_steps(model: keras.Model, inputs: Sequence[int] | None, prefix: str, plan: ExecutionPlan,
                  called_layers: set[int], input_shape: Shape | None = None) -> list[int]:
    """Appends the steps of `model` to the plan, and returns the numbers of its output tensors.

    Args:
        inputs: the tensors that a nested model is called on; None for the outermost model.
        prefix: the beginning of the names of a nested model's steps.
        called_layers: ids of the layers that earlier steps call.
    """
    graph = Graph.of(model, weights=False)
    operations = {operation.name: operation for operation in to_functional(model).operations}
    entries = list_refs(graph.inputs)
    tensors: dict[TensorRef, int] = dict(zip(entries, inputs)) if inputs is not None else {}

    for node in graph.nodes:
        if (node.name, node.call_index, 0) in tensors:      # a nested model's input is a tensor outside
            continue
        layer, read = operations[node.name], tuple(tensors[ref] for ref in node.inputs)
        name = prefix + node.name + (f"#{node.call_index + 1}" if node.call_index else "")

        if _has_graph(layer):
            outputs: Sequence[int] = _append_steps(layer, read, f"{name}/", plan, called_layers)
        else:
            if isinstance(layer, keras.layers.InputLayer):
                shapes = [_choose_input_shape(model, layer, input_shape, is_only_input=len(entries) == 1)]
            else:
                shapes = _infer_output_shapes(layer, node, lambda ref: plan.shapes[tensors[ref]])
            outputs = range(len(plan.shapes), len(plan.shapes) + len(shapes))
            plan.shapes += shapes
            plan.steps.append(LayerCall(name, layer, id(layer) not in called_layers, read, tuple(outputs)))
            called_layers.add(id(layer))
        tensors.update({(node.name, node.call_index, i): tensor for i, tensor in enumerate(outputs)})
    return [tensors[ref] for ref in list_refs(graph.outputs)]


def _has_graph(layer: keras.layers.Layer) -> bool:
    """Whether a layer is a model whose layers are counted; a subclassed model is one opaque step."""
    return isinstance(layer, keras.Model) and bool(getattr(layer, "inputs", None))


def _choose_input_shape(model: keras.Model, layer: keras.layers.InputLayer, input_shape: Shape | None,
                        is_only_input: bool) -> Shape:
    """The model's input shape, or `input_shape` if the model leaves its size open.

    Raises:
        ValueError: if neither fits.
    """
    model_shape = tuple(layer.batch_shape[1:])
    shape = tuple(input_shape) if input_shape and (is_only_input or None in model_shape) else model_shape
    if None in shape:
        raise ValueError(f"{model.name}: the size of the input {shape} is open; "
                         "give input_shape=(height, width, channels)")
    has_other_channels = model_shape[-1:] not in ((None,), shape[-1:])
    if len(shape) != len(model_shape) or has_other_channels:
        raise ValueError(f"{model.name}: input_shape={shape} does not fit the model's input {model_shape}")
    return (1, *shape)


def _infer_output_shapes(layer: Any, node: Node, find_shape: Callable[[TensorRef], Shape]) -> list[Shape]:
    inputs = [find_shape(ref) for ref in node.inputs]
    if isinstance(layer, keras.layers.Layer):
        with contextlib.suppress(NotImplementedError, TypeError):
            shape = layer.compute_output_shape(inputs if len(inputs) > 1 else inputs[0])
            return [tuple(s) for s in shape] if isinstance(shape[0], (list, tuple)) else [tuple(shape)]
    # bare operations such as x + 1, and layers whose shape only a call tells
    args, kwargs = deserialize_arguments([node.args, node.kwargs],
                                         lambda ref: keras.KerasTensor(find_shape(ref)))
    return [tuple(spec.shape) for spec in keras.tree.flatten(layer.compute_output_spec(*args, **kwargs))]
