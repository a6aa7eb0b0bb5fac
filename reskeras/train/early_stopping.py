"""The end of a training without progress, as Keras' EarlyStopping, and its best weights."""
from __future__ import annotations

import types
from typing import Any, Mapping, Sequence

import keras
from keras import ops

from ..errors import ArgumentError
from ..terminal import print_text
from .checkpoint import TrainState
from .training_config import TrainingConfig


class EarlyStopping:
    """Ends a training after some epochs without progress; it counts the epochs that train all layers.

    What it knows follows from the results of the epochs, which a checkpoint contains, so that a resumed run
    goes on counting.

    Args:
        config: what is trained on what.

    Attributes:
        variables: the weights of the best epoch; [] if the recipe does not restore them.

    Raises:
        ArgumentError: for a result of the validation without images to validate on.
    """

    def __init__(self, config: TrainingConfig):
        training, model = self._training, self._model = config.training, config.model
        self._verbose = config.verbose
        monitor = training.early_stopping_monitor
        if training.early_stopping and monitor.startswith("val_") and config.validation is None:
            raise ArgumentError("early_stopping_monitor", monitor, "'loss' or 'accuracy', because there are "
                                "no images to validate on", hint="or give validation_data")
        self.variables = [keras.Variable(ops.convert_to_numpy(v), trainable=False, dtype=v.dtype, name=v.name)
                          for v in model.variables] if training.restore_best_weights else []

    def check_monitor(self, metrics: Sequence[Any]) -> None:
        """Raises: ArgumentError if the monitored result is neither the loss nor one of the metrics."""
        monitor = self._training.early_stopping_monitor
        names = ["loss", *(metric.name for metric in metrics)]
        if self._training.early_stopping and monitor.removeprefix("val_") not in names:
            known = [*(f"val_{name}" for name in names), *names]
            raise ArgumentError("early_stopping_monitor", monitor, f"one of {', '.join(known)}", known)

    def end_epoch(self, state: TrainState, metrics: Sequence[Any], first_epoch: int) -> bool:
        """Counts an epoch whose results are in the history of the state.

        Args:
            state: how far the run is.
            metrics: of the model that trains.
            first_epoch: from which epoch on epochs count.

        Returns:
            Whether the training ends.
        """
        if not self._training.early_stopping or state.epoch < first_epoch:
            return False
        callback = self._replay(state, metrics, first_epoch)
        if callback.best_epoch == state.epoch:
            for best, variable in zip(self.variables, self._model.variables):
                best.assign(ops.convert_to_numpy(variable))     # a copy: JAX would take a shared buffer
        state.is_stopped = bool(callback.model.stop_training)
        if state.is_stopped and self._verbose:
            monitor, patience = callback.monitor, callback.patience
            print_text(f"ended after epoch {state.epoch + 1}, because {monitor} made no progress in "
                       f"{patience} epoch{'s' * (patience > 1)}; its best is {callback.best:.4g}, in epoch "
                       f"{callback.best_epoch + 1}")
        return state.is_stopped

    def restore_best(self) -> bool:
        """Gives the model the weights of its best epoch.  Returns: whether the recipe wants that."""
        for best, variable in zip(self.variables, self._model.variables):
            variable.assign(ops.convert_to_numpy(best))
        return bool(self.variables)

    def _replay(self, state: TrainState, metrics: Sequence[Any],
                first_epoch: int) -> keras.callbacks.EarlyStopping:
        """Keras' callback after all epochs that are done."""
        monitor = self._training.early_stopping_monitor
        callback = keras.callbacks.EarlyStopping(monitor, patience=self._training.early_stopping)
        callback.set_model(types.SimpleNamespace(metrics=metrics, stop_training=False))
        callback.on_train_begin()
        values: Mapping[int, float] = dict(zip(state.epochs, state.history[monitor]))
        for epoch in range(first_epoch, state.epoch + 1):
            callback.on_epoch_end(epoch, {monitor: values[epoch]})
            if epoch + 1 in state.continued_at:     # it had stopped there, and was made longer
                callback.wait, callback.model.stop_training = 0, False
        return callback
