"""The epochs of a training run.  Each is one Keras `fit`; it can begin at any batch of the epoch."""
from __future__ import annotations

import math
import warnings
from typing import Any

import keras
import tensorflow as tf

from ..build import save
from ..errors import ArgumentError
from ..graph.graph import high_recursion_limit
from ..terminal import print_text
from . import strategy as strategies
from .averages import describe_unsettled_average
from .callback_checks import ends_quietly, explain_set_rate
from .callback_bridge import CallbackBridge, ignore_end_of_data, restart_early_stopping
from .checkpoint import TrainState
from .compiled_trainer import compile_trainer
from .continuation import find_ended
from .data import ImageDataset
from .early_stopping import EarlyStopping
from .finite import FiniteCheck
from .freezing import LayerFreezer, swap_values
from .input_timer import InputTimer
from .left_out import LeftOutImages
from .optimizers import get_averages
from .phase_rate import PhaseRate
from .phases import Phase, plan_phases
from .run_checkpoint import RunCheckpoint
from .run_folder import BEST_MODEL, BEST_RAW_MODEL, LAST_MODEL, LAST_RAW_MODEL
from .sigterm import StopSignalHandler
from .sizes import StepsOfSizes
from .training_config import TrainingConfig


class TrainingLoop:
    """A training run of one or two phases; each epoch trains, and, if wanted, validates and writes its files.

    Args:
        config: what to train.
        state: where to begin; a new training run by default.
        saved: the arrays and the information of a checkpoint to resume from.

    Raises:
        ValueError: if the checkpoint is of a different model, or XLA was requested and cannot be used.
    """

    def __init__(self, config: TrainingConfig, state: TrainState | None = None,
                 saved: tuple[dict[str, Any], dict[str, Any]] | None = None):
        self.config, self.state = config, state or TrainState()
        self.phases = plan_phases(config.training, config.steps_per_epoch, config.learning_rate,
                                  config.micro_batches, find_ended(config.info))
        self.timer = InputTimer()
        self.finite_check = FiniteCheck(config.model, config.learning_rate, config.run)
        self.left_out = LeftOutImages(config)
        self.trainer: Any = None
        self.epoch_steps = 0
        self.checkpoint = RunCheckpoint(config, self.state, saved)
        self.early_stopping = EarlyStopping(config)
        self.checkpoint.restore_best_weights(self.early_stopping.variables)
        self._freezer, self._steps = LayerFreezer(config.model), StepsOfSizes()
        self._history = keras.callbacks.History()
        self._history.epoch, self._history.history = self.state.epochs, self.state.history
        self.callbacks = keras.callbacks.CallbackList(
            [self._history, *config.callbacks], add_progbar=config.verbose == 1, verbose=1,
            epochs=self.phases[-1].epochs.stop, steps=config.steps_per_epoch)

    def run(self) -> keras.callbacks.History:
        """Trains to the end.

        Returns:
            Keras' History.  Its `model` has the averaged weights if the recipe averages them.  If the run
            was already finished, the model does not change.
        """
        with StopSignalHandler(self.config.run) as self._stop, explain_set_rate(self.config.training):
            try:
                for phase in self.phases:
                    is_left = self.state.epoch < phase.epochs.stop and not self.state.is_stopped
                    if is_left and not self._run_phase(phase):
                        break
            except FloatingPointError as error:
                if not ends_quietly(self.config.callbacks):
                    raise
                warnings.warn(str(error), stacklevel=2)
            finally:
                self._freezer.unfreeze()
        if self.trainer:
            for variable, average in zip(*self._list_averages()):
                variable.assign(average)
            self.callbacks.on_train_end()
        if self.early_stopping.restore_best():
            self._save_model(LAST_MODEL)
        self._history.set_model(self.config.model)
        if self.trainer:
            strategies.wait_for_other_workers(self.config.strategy)
        return self._history

    def _run_phase(self, phase: Phase) -> bool:
        """Trains a phase.  Returns: whether the next phase follows."""
        self.start_phase(phase)
        while self.state.epoch < phase.epochs.stop:
            self._run_epoch(phase)
            if self.trainer.stop_training:
                return phase is not self.phases[-1] and self._stop_phase_early(phase)
        return True

    def start_phase(self, phase: Phase) -> None:
        """Prepares a phase: freezes layers, compiles, restores a checkpoint, and prints the setup."""
        is_first = self.trainer is None
        self._freezer.freeze(phase.is_head, phase.freeze_statistics)
        self._compile(phase)
        self.checkpoint.begin_phase(phase, self.trainer, self._metrics)
        self.callbacks.set_model(self.trainer)
        if is_first:
            self._describe_devices()
            if text := describe_unsettled_average(self.config.training, self.config.steps_per_epoch,
                                                  self.config.micro_batches):
                warnings.warn(text, stacklevel=2)
        self._print(f"training {phase.name}: {sum(math.prod(v.shape) for v in self._trained):,} parameters")

        if is_first:
            self.callbacks.on_train_begin()
            self._history.epoch = self.state.epochs      # restore: on_train_begin has emptied it
            run = self.config.run
            if run and not self.state.epoch and not self.state.step:
                run.write_info(self.config.info | {"strategy": self._devices})
                self._save_model(LAST_MODEL)
                self.checkpoint.save()

    def _compile(self, phase: Phase) -> None:
        config = self.config
        self.trainer, self._metrics, optimizer = compile_trainer(config, phase.learning_rate,
                                                                 self._freezer.layers)
        self.early_stopping.check_monitor(self._metrics)
        self.trainer.saver = self._save_for_callback
        self._trained = self.trainer.trainable_variables
        self._rate = PhaseRate(phase, config.training, optimizer)

    def _run_epoch(self, phase: Phase) -> None:
        config, state = self.config, self.state
        with self._rate.begin_epoch(state):
            self.callbacks.on_epoch_begin(state.epoch)
        if state.logs is None:      # a resumed run has logs if it was saved between training and validation
            self._train_epoch(phase)
            if config.validation is not None or (self.is_stop_requested and self.can_save_alone):
                self.checkpoint.save()
                self.stop_if_requested()

        logs = dict(state.logs or {})
        variables, averages = self._list_averages()
        if averages:
            raw = self._validate_and_save(LAST_RAW_MODEL, BEST_RAW_MODEL, raw=True)
            logs |= {f"{name}_raw": value for name, value in raw.items()}
        with swap_values(variables, averages):
            logs |= self._validate_and_save(LAST_MODEL, BEST_MODEL)
            logs |= self.left_out.count(state)
            # what callbacks save or keep are the weights that were validated
            self.callbacks.on_epoch_end(state.epoch, logs)
            if self.early_stopping.end_epoch(state, self.trainer.metrics, self.phases[-1].epochs.start):
                self.trainer.stop_training = True
        if config.verbose == 2:
            results = ", ".join(f"{name} {value:.4g}" for name, value in logs.items())
            self._print(f"epoch {state.epoch + 1}/{self.phases[-1].epochs.stop}: {results}")
        if config.run:
            config.run.write_log(state.epochs, state.history)
        state.epoch, state.step, state.logs = state.epoch + 1, 0, None
        self.checkpoint.save()
        self.stop_if_requested()

    def _list_averages(self) -> tuple[list[Any], list[Any]]:
        """The variables that are averaged, and their averages; without averages the second list is empty."""
        averages = self.trainer.weight_averages
        if averages is not None:
            return averages.averaged, averages.values
        return self._trained, get_averages(self.trainer.optimizer)

    def _validate_and_save(self, last: str, best: str, raw: bool = False) -> dict[str, float]:
        """Validates the model, saves it as `last`, and as `best` if it is.  Returns: the results."""
        validation = self.config.validation
        results = {} if validation is None else self._evaluate(validation)
        self._save_model(last)
        if self.state.update_best(results, raw, self.config.task.by_loss):
            self._save_model(best)
        return results

    def _train_epoch(self, phase: Phase) -> None:
        """Trains the batches of one epoch, starting at `state.step`."""
        bridge, data = CallbackBridge(self), self.config.data
        try:
            with (data.explain_errors(), ignore_end_of_data(),
                  self._steps.use(self.trainer, data, self.state.epoch)):
                self.timer.begin_epoch(skip_first_step=not getattr(self.trainer, "train_function", None))
                self.trainer.fit(self._make_batches(phase), epochs=1, verbose=0, shuffle=False,
                                 callbacks=[bridge])
        except ValueError as error:     # Keras raises it if there was no batch, and so no metrics
            if self.state.step or not data.has_too_few_readable_images():
                raise
            raise ArgumentError("batch_size", data.batch_size, f"a smaller one, because {data.source.name} "
                                "has too few readable images for one batch; these cannot be read: "
                                f"{data.describe_unreadable()}") from error
        self.finite_check.check_epoch(self.trainer.metrics[0], self.state.epoch)
        self.finite_check.check_weights(self.state.epoch, self.state.step)
        self.state.logs = {name: float(value) for name, value in bridge.logs.items()}
        self.state.logs |= {"learning_rate": self._rate.read()} | self.timer.results()

    def _evaluate(self, validation: ImageDataset) -> dict[str, float]:
        """The results of the validation, as "val_loss" and so on."""
        # make a new dataset for each epoch, so that an unreadable image is counted only once
        batches = self._distribute(self.config.task.make_targets(self.config.make_epoch(validation)))
        with validation.explain_errors(), ignore_end_of_data():
            results = self.trainer.evaluate(batches, verbose=0, return_dict=True,
                                            callbacks=[CallbackBridge(self)])
        return {f"val_{name}": float(value) for name, value in results.items()}

    def _make_batches(self, phase: Phase) -> Any:
        """The batches of the epoch that are not trained yet."""
        state, config = self.state, self.config
        is_last = state.epoch == phase.epochs.stop - 1
        self.epoch_steps = phase.last_epoch_steps if is_last else config.steps_per_epoch
        # `take` also limits a stream: otherwise one worker could run a batch more than the others, and hang
        data = config.make_epoch(config.data, state.epoch, state.step).take(self.epoch_steps - state.step)
        return self._distribute(self.timer.record_times(config.task.make_targets(data, is_training=True)))

    def _distribute(self, data: tf.data.Dataset) -> Any:
        return strategies.distribute_batches(self.config.strategy, data, self.config.data.batch_size)

    def _stop_phase_early(self, phase: Phase) -> bool:
        """If EarlyStopping stopped the phase: resets it, and saves.  Returns: whether it was EarlyStopping.

        Any other callback that stops, such as TerminateOnNaN, stops the whole run.
        """
        if has_stopped := restart_early_stopping(self.config.callbacks):
            self.state.epoch = phase.epochs.stop
            self.checkpoint.save()
        return has_stopped

    # Saving and stopping

    def _save_model(self, name: str) -> None:
        """Saves the model as a file of the run folder."""
        run = self.config.run
        if run is not None and run.is_chief:
            with self._freezer.unfrozen():
                save(self.config.model, run.path(name))

    def _save_for_callback(self, *args: Any, **kwargs: Any) -> None:
        """Saves the model for a callback, as `keras.Model.save`: not compiled, and nothing is frozen."""
        with self._freezer.unfrozen(), high_recursion_limit():
            self.config.model.save(*args, **kwargs)

    @property
    def is_stop_requested(self) -> bool:
        """Whether the process has received a SIGTERM or a Ctrl-C."""
        return self._stop.is_requested

    @property
    def can_save_alone(self) -> bool:
        """Whether this process can save at any step; several workers must save together."""
        return self.config.data.workers == 1

    def stop_if_requested(self) -> None:
        """Ends the process if a signal asked for it.  The caller must have saved the state."""
        if not self.is_stop_requested:
            return
        assert self.config.run is not None
        kept = "" if self.can_save_alone else ", the last checkpoint of all workers is kept"
        self._print(f"{self._stop.word} in epoch {self.state.epoch + 1} after {self.state.step} batches"
                    f"{kept}; to resume: {self.config.run.resume_command}")
        raise self._stop.make_exit()

    def _describe_devices(self) -> None:
        """Prints how the model runs.  Raises: ValueError if XLA was requested but is not used."""
        self._devices = strategies.describe_strategy(self.config.strategy, self.trainer)
        if self.config.jit_compile and self._devices["xla"] == "off":
            raise ArgumentError("jit_compile", True, "False, because the step would run without XLA here")
        lines = [f"{name}: {value}" for name, value in self._devices.items()]
        self._print("\n".join([*lines, self.config.info["learning_rate"]]))

    def _print(self, text: str) -> None:
        if self.config.verbose:
            print_text(text)
