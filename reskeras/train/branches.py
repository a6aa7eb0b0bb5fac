"""Runs one of many functions, and costs no more than that one."""
from __future__ import annotations

from typing import Callable, Sequence

import tensorflow as tf


class Branches:
    """Functions of which one is run at a time.

    `tf.switch_case` does the same, but becomes part of the graph around it, where the operations of all
    branches are visited, if not computed: that takes 3 ms for the 30 branches of RandAugment.

    Args:
        functions: they take the same tensors, and return one of the first tensor's shape and type.  They use
            no other tensors.
    """

    def __init__(self, functions: Sequence[Callable[..., tf.Tensor]]) -> None:
        self._functions = functions
        self._traced: dict[tuple[tf.TensorSpec, ...], list[tf.types.experimental.ConcreteFunction]] = {}

    def __len__(self) -> int:
        return len(self._functions)

    def run(self, which: tf.Tensor, *tensors: tf.Tensor) -> tf.Tensor:
        """The result of function number `which`; of the last one if there is no such number."""
        if tf.executing_eagerly():
            last = len(self._functions) - 1
            return self._functions[int(which) if 0 <= int(which) < last else last](*tensors)
        specs = tuple(tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in tensors)
        if specs not in self._traced:
            self._traced[specs] = [tf.function(function, autograph=False).get_concrete_function(*specs)
                                   for function in self._functions]
        result, = tf.raw_ops.StatelessCase(branch_index=which, input=tensors, Tout=[tensors[0].dtype],
                                           branches=self._traced[specs])
        return tf.ensure_shape(result, tensors[0].shape)
