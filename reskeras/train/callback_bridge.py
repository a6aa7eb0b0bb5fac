"""The callbacks of a training run: they see all its epochs as one `fit`, although each has its own `fit`."""
from __future__ import annotations

import contextlib
import warnings
from typing import Any, Iterator

import keras


class CallbackBridge(keras.callbacks.Callback):
    """Passes the events of one epoch's `fit` or `evaluate` on to the callbacks of the whole training.

    It counts batches from the step at which the epoch was resumed, measures the waiting time for input, saves
    the checkpoints within an epoch, and ends the process if a signal requested it.

    Args:
        loop: the `TrainingLoop`.
    """

    def __init__(self, loop: Any):
        super().__init__()
        self.loop, self.first_step = loop, loop.state.step
        self.logs: dict[str, Any] = {}
        self._is_stopped = loop.trainer.stop_training       # `fit` forgets it

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.loop.checkpoint.restore_metrics()
        self.loop.trainer.stop_training = self._is_stopped
        self.loop.finite_check.begin_epoch(self.loop.trainer.optimizer)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.loop.callbacks.on_train_batch_begin(self.first_step + batch, logs)
        self.loop.timer.begin_step()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        loop, step = self.loop, self.first_step + batch
        if keras.config.backend() == "jax":     # else the variables get their values at the end of the epoch
            loop.trainer.jax_state_sync()
        loop.finite_check.check_step(loop.trainer.optimizer, logs, loop.state.epoch, step)
        loop.state.step = step + 1
        loop.timer.end_step(loop.config.data.batch_size)
        loop.callbacks.on_train_batch_end(step, logs)
        if loop.state.step < loop.epoch_steps:      # else the end of the epoch saves
            save_every = loop.config.save_every
            is_due = save_every and loop.state.step % save_every == 0
            if is_due or loop.is_stop_requested and loop.can_save_alone:
                loop.finite_check.check_weights(loop.state.epoch, loop.state.step)
                loop.checkpoint.save()
            loop.stop_if_requested()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.logs = logs or {}

    def on_test_begin(self, logs: Any = None) -> None:
        self.loop.callbacks.on_test_begin(logs)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.loop.callbacks.on_test_batch_begin(batch, logs)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.loop.callbacks.on_test_batch_end(batch, logs)
        self.loop.stop_if_requested()

    def on_test_end(self, logs: Any = None) -> None:
        self.loop.callbacks.on_test_end(logs)


@contextlib.contextmanager
def ignore_end_of_data() -> Iterator[None]:
    """Inside the block Keras does not warn if the data end and their length was not known."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Your input ran out of data")
        yield


def restart_early_stopping(callbacks: list[keras.callbacks.Callback]) -> bool:
    """Restarts each EarlyStopping callback that has stopped the training.  Returns: whether there was one."""
    stopped = [c for c in callbacks if isinstance(c, keras.callbacks.EarlyStopping) and c.stopped_epoch]
    for callback in stopped:
        callback.on_train_end()
        callback.on_train_begin()
    return bool(stopped)
