"""Stochastic depth that does not compute the branches it drops, which saves time (arXiv:1603.09382).

A layer at the end of a branch comes too late to save anything.  So if it decides for the whole batch, the
layers that lead only to it run inside of a condition, forward and backward.  The draws and the outputs are
those of the net itself; the running statistics of a branch that is dropped stay as they were.
"""
from __future__ import annotations

import inspect
from typing import Any

import keras
import tensorflow as tf
from keras import tree

from ..blocks.drop_layers import StochasticDepth

# one layer, or a branch in its order, with the StochasticDepth at the end
LayerGroup = tuple[keras.layers.Layer, ...]


def plan_steps(model: keras.Model, is_alone: bool) -> list[LayerGroup] | None:
    """The layers of a net in their order, one by one, or several as a branch that can be skipped.

    Args:
        model: a functional model.
        is_alone: whether there is one replica; among several, synchronized batch normalization cannot be
            conditional.

    Returns:
        The steps; None if no branch can be skipped.
    """
    operations = list(model.operations)
    if not all(_is_simple(operation) for operation in operations):
        return None
    readers = _find_readers(model)
    branches: dict[Any, LayerGroup] = {}        # layer -> its branch
    for depth in operations:
        is_skippable = (isinstance(depth, StochasticDepth) and depth.mode == "batch" and depth.rate
                        and None not in depth.output.shape[1:])
        if not is_skippable:
            continue
        members = {depth}
        for operation in reversed(operations[:operations.index(depth)]):
            is_input = isinstance(operation, keras.layers.InputLayer)
            if not is_input and readers.get(id(operation.output), {model}) <= members:
                members.add(operation)
        is_conditional = is_alone or not any(getattr(layer, "synchronized", False) for layer in members)
        if len(members) > 1 and is_conditional:
            branch = tuple(operation for operation in operations if operation in members)
            branches |= dict.fromkeys(branch, branch)
    if not branches:
        return None
    steps = [branches.get(operation, (operation,)) for operation in operations]
    return [step for step, operation in zip(steps, operations) if operation is step[-1]]


def _find_readers(model: keras.Model) -> dict[int, set[Any]]:
    """Maps the id of a tensor to the layers that read it, and the model if it is an output."""
    readers: dict[int, set[Any]] = {}
    for operation in model.operations:
        if not isinstance(operation, keras.layers.InputLayer):
            for tensor in tree.flatten(operation.input):
                readers.setdefault(id(tensor), set()).add(operation)
    for tensor in model.outputs:
        readers.setdefault(id(tensor), set()).add(model)
    return readers


def _is_simple(operation: Any) -> bool:
    """Whether it is a layer with one output, called once on one argument, as `run_steps` calls it."""
    if not isinstance(operation, keras.layers.Layer):
        return False
    try:
        has_one_output = isinstance(operation.output, keras.KerasTensor) and operation.input is not None
    except (AttributeError, ValueError):        # it is called several times
        return False
    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY
    parameters = inspect.signature(operation.call).parameters.values()
    required = [p for p in parameters if p.kind in kinds and p.default is p.empty]
    return has_one_output and len(required) <= 1


def run_steps(model: keras.Model, steps: list[LayerGroup], inputs: Any) -> Any:
    """Computes the outputs of a model in training mode.

    Args:
        model: the model.
        steps: as `plan_steps` returns them.
        inputs: its inputs.
    """
    values = {id(t): x for t, x in zip(tree.flatten(model.inputs), tree.flatten(inputs), strict=True)}
    for step in steps:
        if len(step) > 1:
            values[id(step[-1].output)] = _run_or_skip(step, values)
        else:
            _run_layers(step, values)
    outputs = tree.map_structure(lambda t: values[id(t)], model.output)
    is_single = isinstance(outputs, (list, tuple)) and len(outputs) == 1
    return outputs[0] if is_single else outputs


def _run_layers(layers: LayerGroup, values: dict[int, Any]) -> None:
    for layer in layers:
        if not isinstance(layer, keras.layers.InputLayer):
            values[id(layer.output)] = layer(tree.map_structure(lambda t: values[id(t)], layer.input))


def _run_or_skip(branch: LayerGroup, values: dict[int, Any]) -> Any:
    """The output of a branch, or zeros without computing it."""
    *layers, depth = branch
    assert isinstance(depth, StochasticDepth)
    states = [v for layer in layers for v in (*layer.non_trainable_variables, *layer.metrics_variables)]
    batch = tf.shape(next(iter(values.values())))[0]

    def run() -> Any:
        inner_values = dict(values)
        # new states leave the condition as its result; a scope does not look through to the one around it
        with keras.StatelessScope([(v, tf.convert_to_tensor(v)) for v in states]) as scope:
            _run_layers(tuple(layers), inner_values)
        new_states = [scope.get_current_value(v) for v in states]
        return (depth.scale_kept(tf.cast(inner_values[id(depth.input)], depth.compute_dtype)),
                [tf.convert_to_tensor(v if value is None else value) for v, value in zip(states, new_states)])

    def skip() -> Any:
        zeros = tf.zeros([batch, *depth.output.shape[1:]], depth.compute_dtype)
        return zeros, [tf.convert_to_tensor(v) for v in states]

    is_kept = tf.reshape(depth.draw_kept((1,) * len(depth.output.shape)), [])
    output, new_states = tf.cond(is_kept, run, skip)
    for variable, value in zip(states, new_states):
        variable.assign(value)
    return output
