"""Stochastic depth that saves the time of what it drops (arXiv:1603.09382): a branch that falls is not computed at all.

A layer at a branch's end comes too late to save anything.  So where it decides for the whole batch, what leads to it alone is run
inside of a condition, forward and backward.  The draws and the outputs are those of the net itself; running statistics of a
branch that was left out stay as they were.
"""
from __future__ import annotations

import inspect
from typing import Any

import keras
import tensorflow as tf
from keras import tree

from ..blocks.layers import StochasticDepth

Branch = tuple[keras.layers.Layer, ...]     # in their order; the last is the StochasticDepth


def plan(model: keras.Model, alone: bool) -> list[Branch] | None:
    """The net's layers in their order, one by one or as a branch that can be skipped; None where nothing can be.

    Arguments:
        alone: whether there is one replica; among several, synchronized batch normalization is no part of a condition.
    """
    operations = list(model.operations)
    readers: dict[int, set[Any]] = {}
    for operation in operations:
        if not _simple(operation):
            return None
        if not isinstance(operation, keras.layers.InputLayer):
            for tensor in tree.flatten(operation.input):
                readers.setdefault(id(tensor), set()).add(operation)
    for tensor in model.outputs:
        readers.setdefault(id(tensor), set()).add(model)
    branches: dict[Any, Branch] = {}        # by each of their layers
    for depth in operations:
        if not isinstance(depth, StochasticDepth) or depth.mode != "batch" or not depth.rate or None in depth.output.shape[1:]:
            continue
        own = {depth}
        for operation in reversed(operations[:operations.index(depth)]):
            if not isinstance(operation, keras.layers.InputLayer) and readers.get(id(operation.output), {model}) <= own:
                own.add(operation)
        if len(own) > 1 and (alone or not any(getattr(layer, "synchronized", False) for layer in own)):
            branch = tuple(operation for operation in operations if operation in own)
            branches |= dict.fromkeys(branch, branch)
    if not branches:
        return None
    steps = [branches.get(operation, (operation,)) for operation in operations]
    return [step for step, operation in zip(steps, operations) if operation is step[-1]]


def _simple(operation: Any) -> bool:
    """Whether it is a layer with one output, called once on one argument, as `run` calls it."""
    if not isinstance(operation, keras.layers.Layer):
        return False
    try:
        one = isinstance(operation.output, keras.KerasTensor) and operation.input is not None
    except (AttributeError, ValueError):        # of several calls
        return False
    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY
    needed = [p for p in inspect.signature(operation.call).parameters.values() if p.kind in kinds and p.default is p.empty]
    return one and len(needed) <= 1


def run(model: keras.Model, steps: list[Branch], inputs: Any) -> Any:
    """The model's outputs in training."""
    values = {id(t): x for t, x in zip(tree.flatten(model.inputs), tree.flatten(inputs), strict=True)}
    for step in steps:
        if len(step) > 1:
            values[id(step[-1].output)] = _maybe(step, values)
        else:
            _compute(step, values)
    outputs = [values[id(t)] for t in model.outputs]
    return outputs[0] if len(outputs) == 1 else outputs


def _compute(layers: Branch, values: dict[int, Any]) -> None:
    for layer in layers:
        if not isinstance(layer, keras.layers.InputLayer):
            values[id(layer.output)] = layer(tree.map_structure(lambda t: values[id(t)], layer.input))


def _maybe(branch: Branch, values: dict[int, Any]) -> Any:
    """The branch's output, or zeros without computing it."""
    *layers, depth = branch
    assert isinstance(depth, StochasticDepth)
    states = [v for layer in layers for v in layer.non_trainable_variables]
    size = tf.shape(next(iter(values.values())))[0]

    def kept() -> Any:
        inside = dict(values)
        # what changes inside of a condition leaves it as its result; a scope does not look through to the one around it
        with keras.StatelessScope([(v, tf.convert_to_tensor(v)) for v in states]) as scope:
            _compute(tuple(layers), inside)
        new = [scope.get_current_value(v) for v in states]
        return (depth.scaled(tf.cast(inside[id(depth.input)], depth.compute_dtype)),
                [tf.convert_to_tensor(v if value is None else value) for v, value in zip(states, new)])

    def left_out() -> Any:
        return tf.zeros([size, *depth.output.shape[1:]], depth.compute_dtype), [tf.convert_to_tensor(v) for v in states]

    stays = tf.reshape(depth.draw((1,) * len(depth.output.shape)), [])
    output, new = tf.cond(stays, kept, left_out)
    for variable, value in zip(states, new):
        variable.assign(value)
    return output
