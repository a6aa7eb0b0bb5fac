"""Which layers learn: all, the classifier alone, or all but the statistics of batch normalization."""
from __future__ import annotations

import contextlib
from typing import Any, Iterator

import keras

from .model_check import layers_of


class Freezing:
    """A net whose layers are frozen for a while; what was frozen before stays so."""

    def __init__(self, net: keras.Model):
        self.layers = list(layers_of(net))
        self.before = [layer.trainable for layer in self.layers]
        self.now: tuple[bool, bool] = (False, False)

    def freeze(self, head: bool = False, statistics: bool = False) -> None:
        """Arguments:
            head: whether only the classifier, the last layer with weights, learns.
            statistics: whether batch normalization stays in inference mode; its scale and shift learn all the same.
        """
        self.now = head, statistics
        last = [layer for layer in self.layers if layer.weights][-1]
        for layer, before in zip(self.layers, self.before):
            learns = before and (layer is last or not head)
            still = learns and statistics and isinstance(layer, keras.layers.BatchNormalization)
            layer.trainable = learns and not still
            for variable in (layer.gamma, layer.beta) if still else ():
                if variable is not None:
                    variable.trainable = True

    def thaw(self) -> None:
        for layer, before in zip(self.layers, self.before):
            layer.trainable = before

    @contextlib.contextmanager
    def thawed(self) -> Iterator[None]:
        """Inside, layers are as they were: what is saved there is not frozen for whoever loads it."""
        self.thaw()
        try:
            yield
        finally:
            self.freeze(*self.now)


@contextlib.contextmanager
def swapped(variables: list[Any], values: list[Any]) -> Iterator[None]:
    """Inside, the variables have these values; afterwards they have their own again, to the bit."""
    own = [keras.ops.convert_to_numpy(v) for v in variables] if values else []
    for variable, value in zip(variables, values):
        variable.assign(value)
    try:
        yield
    finally:
        for variable, value in zip(variables, own):
            variable.assign(value)
