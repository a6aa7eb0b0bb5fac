"""Layers that drop parts of a net in training: stochastic depth and DropBlock."""
from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from ..errors import check_choice, check_number, check_whole_number

_register = keras.saving.register_keras_serializable("reskeras")


@_register
class StochasticDepth(layers.Layer):
    """Drops a residual branch with probability `rate` in training; in inference it changes nothing.

    A branch that is kept is divided by 1 - rate, so that inference needs no scaling.  Huang et al. 2016
    (arXiv:1603.09382) scale in inference instead; the expectation is the same.

    Args:
        rate: a probability in [0, 1).
        mode: "sample" decides for each sample, after the branch is computed.  "batch" decides once for the
            whole batch, so that `reskeras.fit` and `reskeras.distributable` need not compute a dropped
            branch.
        seed: a whole number, or None.

    Raises:
        ValueError: for an invalid rate or mode.
    """

    def __init__(self, rate: float, mode: str = "sample", seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        rate = check_number("rate", rate, minimum=0, below=1, expected="a probability in [0, 1)")
        check_choice("mode", mode, ("sample", "batch"))
        self.rate, self.mode, self.seed = rate, mode, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=False):
        if not training or not self.rate:
            return inputs
        samples = ops.shape(inputs)[0] if self.mode == "sample" else 1
        is_kept = self.draw_kept((samples,) + (1,) * (len(inputs.shape) - 1))
        return ops.where(is_kept, self.scale_kept(inputs), ops.zeros_like(inputs))

    def draw_kept(self, shape):
        """Draws random booleans of that shape: whether a branch is kept."""
        # drawn in float32: 1 - rate has few digits in half precision
        return keras.random.uniform(shape, dtype="float32", seed=self.seed_generator) < 1 - self.rate

    def scale_kept(self, inputs):
        """Divides a branch that is kept by the probability to keep it."""
        return inputs / ops.cast(1 - self.rate, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "mode": self.mode, "seed": self.seed}


@_register
class DropBlock2D(layers.Layer):
    """Drops squares of a feature map in training (Ghiasi et al. 2018, arXiv:1810.12890).

    Args:
        rate: the expected fraction of positions that are dropped, in [0, 1).
        block_size: the side of a square in positions; less if the map is smaller.
        seed: a whole number, or None.

    Raises:
        ValueError: for an invalid rate or size.
    """

    def __init__(self, rate: float, block_size: int = 7, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        rate = check_number("rate", rate, minimum=0, below=1, expected="a fraction in [0, 1)")
        block_size = check_whole_number("block_size", block_size)
        self.rate, self.block_size, self.seed = rate, block_size, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=False):
        if not training or not self.rate:
            return inputs
        _, height, width, _ = inputs.shape
        size = min(self.block_size, height or self.block_size, width or self.block_size)

        # Each position is the centre of a dropped square with probability gamma.  The border may cut a
        # square; the paper keeps squares inside.  A position is kept if none of the `area` positions around
        # it is a centre: the area is smaller at the border, and gamma follows from (1 - gamma) ^ area = 1 -
        # rate.
        shape = ops.shape(inputs)
        area = _count_positions_in_reach(size, shape[1]) * _count_positions_in_reach(size, shape[2])
        gamma = 1 - (1 - self.rate) ** (1 / area)
        is_centre = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator) < gamma
        dropped = ops.max_pool(ops.cast(is_centre, "float32"), size, strides=1, padding="same",
                               data_format="channels_last")
        kept = 1 - dropped
        scale = 1 / ops.maximum(ops.mean(kept), 1e-6)
        return inputs * ops.cast(kept * scale, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "block_size": self.block_size, "seed": self.seed}


def _count_positions_in_reach(size: int, length: Any) -> Any:
    """Counts how many of the `size` positions around one lie in a line of `length`, on average."""
    before, after = (size - 1) // 2, size // 2
    beyond = (before * (before + 1) + after * (after + 1)) / 2      # both ends together
    return ops.maximum(size - beyond / ops.cast(length, "float32"), 1.0)
