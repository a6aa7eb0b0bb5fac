"""The learning rate while a phase runs: a schedule, or a number that plateaus and callbacks change."""
from __future__ import annotations

import contextlib
from typing import Any, Iterator

import keras

from .checkpoint import TrainState
from .phases import Phase
from .schedule import count_plateaus
from .training import Training


class PhaseRate:
    """The learning rate of a phase.

    Args:
        phase: the phase.
        training: the recipe's training part.
        optimizer: the optimizer that trains the phase.
    """

    def __init__(self, phase: Phase, training: Training, optimizer: Any):
        self._phase, self._training, self._optimizer = phase, training, optimizer
        self._is_number = isinstance(phase.learning_rate, float)

    @contextlib.contextmanager
    def begin_epoch(self, state: TrainState) -> Iterator[None]:
        """A context manager around the callbacks that begin an epoch.

        Before them a new plateau lowers the rate, so that they see it and can change it.  An epoch that is
        resumed goes on with the rate that it had.
        """
        is_resumed, rate = state.step > 0 or state.logs is not None, self.read()
        if not is_resumed:
            self._lower_at_plateau(state)
        yield
        if is_resumed and self._is_number:
            self._optimizer.learning_rate = rate

    def read(self) -> float:
        """The learning rate of the last update."""
        rate = self._optimizer.learning_rate
        if not self._is_number:
            steps = next(v for v in self._optimizer.variables if v.name == "iteration")
            rate = self._phase.learning_rate(steps - 1)
        return float(keras.ops.convert_to_numpy(rate))

    def _lower_at_plateau(self, state: TrainState) -> None:
        if self._training.schedule != "plateau" or self._phase.is_head:
            return
        accuracies = state.history.get("val_accuracy", [])
        values_to_minimize = [-a for a in accuracies] or state.history.get("val_loss") or state.history.get(
            "loss", [])
        plateaus = count_plateaus(values_to_minimize, self._training.patience)
        if state.epoch > self._phase.epochs.start:
            plateaus -= count_plateaus(values_to_minimize[:-1], self._training.patience)
        if plateaus:
            self._optimizer.learning_rate = self.read() * self._training.decay_factor ** plateaus
