"""Which layers are trained: all, only the classifier, or all but the statistics of batch normalization."""
from __future__ import annotations

import contextlib
from typing import Any, Iterator

import keras

from ..quantization.layers import FakeQuantize
from .model_check import iterate_layers


class LayerFreezer:
    """Freezes layers of a model and restores them; what was frozen before stays frozen.

    Args:
        model: the model.
    """

    def __init__(self, model: keras.Model):
        self.layers = list(iterate_layers(model))
        self._was_trainable = [layer.trainable for layer in self.layers]
        self._options = False, False

    def freeze(self, only_head: bool = False, freeze_statistics: bool = False) -> None:
        """Freezes layers.

        Args:
            only_head: whether only the classifier, the last layer with weights, is trained.
            freeze_statistics: whether batch normalization stays in inference mode; its scale and shift are
                trained all the same.
        """
        self._options = only_head, freeze_statistics
        head = [layer for layer in self.layers if layer.weights and not isinstance(layer, FakeQuantize)][-1]
        for layer, was_trainable in zip(self.layers, self._was_trainable):
            is_trained = was_trainable and (layer is head or not only_head)
            keeps_statistics = (is_trained and freeze_statistics
                                and isinstance(layer, keras.layers.BatchNormalization))
            layer.trainable = is_trained and not keeps_statistics
            for variable in (layer.gamma, layer.beta) if keeps_statistics else ():
                if variable is not None:
                    variable.trainable = True

    def unfreeze(self) -> None:
        """Restores what was trainable before."""
        for layer, was_trainable in zip(self.layers, self._was_trainable):
            layer.trainable = was_trainable

    @contextlib.contextmanager
    def unfrozen(self) -> Iterator[None]:
        """Inside the block nothing is frozen, so that a model saved there is not frozen when loaded."""
        self.unfreeze()
        try:
            yield
        finally:
            self.freeze(*self._options)


@contextlib.contextmanager
def swap_values(variables: list[Any], values: list[Any]) -> Iterator[None]:
    """Inside the block, the variables have these values; afterwards their own again, to the bit.

    Args:
        variables: the variables.
        values: their values inside the block, or [] to change nothing.
    """
    previous = [keras.ops.convert_to_numpy(v) for v in variables] if values else []
    for variable, value in zip(variables, values):
        # a copy: with JAX both would have one buffer, which the next step would take from both
        variable.assign(keras.ops.convert_to_numpy(value))
    try:
        yield
    finally:
        for variable, value in zip(variables, previous):
            variable.assign(value)
