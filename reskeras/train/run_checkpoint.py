"""The checkpoint of a training run: which variables it has, and when they are restored."""
from __future__ import annotations

from dataclasses import asdict
from typing import Any, Callable

import keras

from . import strategy as strategies
from .checkpoint import (TrainState, describe_variables, has_rate, read_values, restore_variables,
                         save_checkpoint)
from .phases import Phase
from .run_folder import CHECKPOINT_FILE
from .training_config import TrainingConfig


class RunCheckpoint:
    """Saves and restores the variables and the state of a training run.

    Args:
        config: what is trained.
        state: how far the run is.
        saved: the arrays and the information of a checkpoint to resume from.
    """

    def __init__(self, config: TrainingConfig, state: TrainState,
                 saved: tuple[dict[str, Any], dict[str, Any]] | None = None):
        self._config, self._state, self._saved = config, state, saved
        self._best_weights: list[Any] = []
        self._restore_pending_metrics: Callable[[], None] | None = None

    def restore_best_weights(self, variables: list[Any]) -> None:
        """Takes the variables of `EarlyStopping`, and restores them if a run is resumed.

        Raises:
            ValueError: if the checkpoint is of a different model.
        """
        self._best_weights = variables
        if self._saved and variables and self._config.run:
            path = self._config.run.path(CHECKPOINT_FILE)
            restore_variables(self._group_best_weights(), *self._saved, path)

    def begin_phase(self, phase: Phase, trainer: keras.Model, metrics: list[Any]) -> None:
        """Takes the model that trains a phase; restores a checkpoint if the run is resumed in this phase.

        Args:
            phase: the phase.
            trainer: the compiled model.
            metrics: its metrics beside the loss.

        Raises:
            ValueError: if the checkpoint is of a different model.
        """
        self._trainer, self._metrics = trainer, metrics
        if self._saved:
            self._restore(phase, *self._saved)
            self._saved = None

    def save(self) -> None:
        """Saves the state.  Every worker must call this method; only the first worker writes."""
        config = self._config
        if config.run is None:
            return
        self._state.unreadable = strategies.gather_union(config.strategy, config.data.unreadable)
        groups = self._group_variables() | {"metrics": self._list_metric_variables()}
        groups |= self._group_best_weights()
        arrays = read_values(groups)
        if config.run.is_chief:
            save_checkpoint(config.run.path(CHECKPOINT_FILE), arrays,
                            asdict(self._state) | {"variables": describe_variables(groups)})

    def _restore(self, phase: Phase, arrays: dict[str, Any], info: dict[str, Any]) -> None:
        assert self._config.run
        run, groups = self._config.run, self._group_variables()
        path = run.path(CHECKPOINT_FILE)
        if not (self._state.epoch > phase.epochs.start or self._state.step):
            # the saved optimizer and averages belong to the previous phase
            groups = {"model": groups["model"]}
        elif not has_rate(info):
            groups["optimizer"] = [v for v in groups["optimizer"] if v.name != "learning_rate"]
        restore_variables(groups, arrays, info, path)
        if self._state.step and self._state.logs is None:
            # a metric is the sum of the replicas' copies; each gets its part of the value that is assigned
            self._restore_pending_metrics = lambda: restore_variables(
                {"metrics": self._list_metric_variables()}, arrays, info, path)

    def restore_metrics(self) -> None:
        """Restores the metrics of an unfinished epoch; Keras creates them only after `fit` has begun."""
        if self._restore_pending_metrics:
            self._restore_pending_metrics()
            self._restore_pending_metrics = None

    def _group_variables(self) -> dict[str, Any]:
        groups = {"model": self._config.model.variables, "optimizer": self._trainer.optimizer.variables}
        averages = self._trainer.weight_averages
        return groups | ({"averages": averages.variables} if averages else {})

    def _group_best_weights(self) -> dict[str, Any]:
        return {"best_weights": self._best_weights} if self._best_weights else {}

    def _list_metric_variables(self) -> list[Any]:
        """The variables of the mean loss and of the metrics, which Keras lists only after they have run."""
        means = [metric for metric in self._trainer.metrics if metric.name == "loss"]
        return [v for metric in means + self._metrics for v in metric.variables]
