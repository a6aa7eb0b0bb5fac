"""Epoch by epoch: each is a `fit` of its own on the batches of its number, from any step on."""
from __future__ import annotations

import contextlib
import math
import warnings
from dataclasses import asdict, dataclass, field
from typing import Any, Callable, Iterator

import keras
import tensorflow as tf

from ..build import save
from . import checkpoint, strategy
from .input_timer import Clock
from .data import Data
from .freezing import Freezing, swapped
from .losses import loss, metrics
from .optimizers import averages, optimizer
from .phase import Phase
from .recipe import Training
from .run_folder import BEST, CHECKPOINT, LAST, Run
from .schedule import plateaus
from .sigterm import Termination
from .model import ending


@dataclass(frozen=True)
class Job:
    """What is trained on what, and how."""
    net: keras.Model
    training: Training
    data: Data
    validation: Data | None
    strategy: tf.distribute.Strategy | None
    steps: int                      # batches in an epoch
    rate: float                     # after the warm-up
    accumulate: int
    jit: bool
    classes: int
    save_every: int                 # batches between checkpoints; 0 is at the end of an epoch only
    quiet: bool
    callbacks: list[Any]
    run: Run | None
    about: dict[str, Any]           # for run.json


@dataclass
class State:
    """How far it is.  `logs`: what the epoch's training found, where that is over and its validation is not."""
    epoch: int = 0
    step: int = 0
    logs: dict[str, float] | None = None
    best: float = -math.inf
    epochs: list[int] = field(default_factory=list)
    history: dict[str, list[float]] = field(default_factory=dict)
    unreadable: list[int] = field(default_factory=list)


class Session:
    """A training at work.  Raises: ValueError where a classifier, a checkpoint or XLA is not as asked for."""

    def __init__(self, job: Job, state: State | None = None, saved: tuple[dict[str, Any], dict[str, Any]] | None = None):
        self.job, self.state, self.saved = job, state or State(), saved
        self.phases = Phase.all(job.training, job.steps, job.rate, job.accumulate)
        self.freezing, self.clock = Freezing(job.net), Clock()
        self.history = keras.callbacks.History()
        self.history.epoch, self.history.history = self.state.epochs, self.state.history
        self.callbacks = keras.callbacks.CallbackList(
            [self.history, *job.callbacks], add_progbar=not job.quiet, verbose=1, epochs=self.phases[-1].epochs.stop,
            steps=job.steps)
        self.trainer: Any = None
        self.pending: Callable[[], None] | None = None      # restores the metrics of a half epoch, once they are there

    def scope(self) -> Any:
        return self.job.strategy.scope() if self.job.strategy else contextlib.nullcontext()

    def go(self) -> keras.callbacks.History:
        """Trains to the end; afterwards the net has the averaged weights where the recipe averages.  A training that was over
        before leaves the net as it is given."""
        with Termination(self.job.run is not None) as self.termination:
            try:
                for phase in self.phases:
                    if self.state.epoch < phase.epochs.stop and not self.through(phase):
                        break
            finally:
                self.freezing.thaw()
        if self.trainer:
            for variable, average in zip(self.trained, averages(self.trainer.optimizer)):
                variable.assign(average)
            self.callbacks.on_train_end()
        self.history.set_model(self.job.net)
        return self.history

    def through(self, phase: Phase) -> bool:
        """Whether the next phase is to follow: it came to its end, or was stopped early."""
        self.prepare(phase)
        while self.state.epoch < phase.epochs.stop:
            self.epoch(phase)
            if self.trainer.stop_training:
                return phase is not self.phases[-1] and self.stopped_early(phase)
        return True

    def stopped_early(self, phase: Phase) -> bool:
        """Whether it was EarlyStopping that stopped the phase, of which it has seen enough; it begins anew with the next one.

        Any other callback, such as TerminateOnNaN, means the whole training.
        """
        early = [c for c in self.job.callbacks if isinstance(c, keras.callbacks.EarlyStopping) and c.stopped_epoch]
        for callback in early:
            callback.on_train_end()
            callback.on_train_begin()
        if early:
            self.state.epoch = phase.epochs.stop
            self.save()
        return bool(early)

    def prepare(self, phase: Phase) -> None:
        job, first = self.job, self.trainer is None
        self.freezing.freeze(phase.head, phase.statistics)
        with self.scope():
            self.trainer = strategy.distributable(job.net)
            # by this Keras decides whether to scale the loss; a model around layers, or from a file, has it not of them
            self.trainer.dtype_policy = next(layer.dtype_policy for layer in self.freezing.layers if layer.weights)
            self.optimizer = optimizer(job.training, phase.rate, job.accumulate)
            self.found = metrics(job.classes)
            self.trainer.compile(self.optimizer, loss(job.training, ending(job.net)), metrics=self.found, jit_compile=job.jit)
            self.trainer.optimizer.build(self.trainer.trainable_variables)
        self.trained = self.trainer.trainable_variables
        if self.saved:
            arrays, about = self.saved
            assert job.run
            path, self.saved = job.run[CHECKPOINT], None
            begun = self.state.epoch > phase.epochs.start or self.state.step > 0      # else the optimizer is the last phase's
            groups = self.groups(metrics=False)
            checkpoint.restore(groups if begun else {"model": groups["model"]}, arrays, about, path)
            if self.state.step and self.state.logs is None:
                counts = arrays if job.run.chief else {name: value * 0 for name, value in arrays.items()}   # workers' add up
                self.pending = lambda: checkpoint.restore({"metrics": self.metrics()}, counts, about, path)
        self.callbacks.set_model(self.trainer)
        if first:
            self.say_how()
        print(f"training {phase.name}: {sum(math.prod(v.shape) for v in self.trained):,} parameters", flush=True)
        if first:
            self.callbacks.on_train_begin()
            self.history.epoch = self.state.epochs      # which it has just emptied
            if job.run and not self.state.epoch and not self.state.step:
                job.run.begin(job.about | {"strategy": self.described})
                self.keep(LAST)
                self.save()

    def epoch(self, phase: Phase) -> None:
        job, state = self.job, self.state
        self.callbacks.on_epoch_begin(state.epoch)
        if isinstance(phase.rate, float) and not phase.head:
            past = [-a for a in state.history.get("val_accuracy", [])] or state.history.get("loss", [])
            self.optimizer.learning_rate = phase.rate * job.training.factor ** plateaus(past, job.training.patience)
        if state.logs is None:
            self.train(phase)
            if job.validation is not None or self.termination.asked and self.alone:
                self.save()
                self.stop_if_asked()
        logs = dict(state.logs or {})
        with swapped(self.trained, averages(self.trainer.optimizer)):
            if job.validation is not None:
                # anew for each epoch: an image that cannot be read is found, and counted, once
                images = self.spread(_shares(job.validation.epoch(), job.classes))
                with job.validation.named(), _uncounted():
                    found = self.trainer.evaluate(images, verbose=0, return_dict=True, callbacks=[Bridge(self)])
                logs |= {f"val_{name}": float(value) for name, value in found.items()}
            self.keep(LAST)
            if logs.get("val_accuracy", -math.inf) > state.best:
                state.best = logs["val_accuracy"]
                self.keep(BEST)
        self.callbacks.on_epoch_end(state.epoch, logs)
        if job.quiet:
            print(line(state.epoch, self.phases[-1].epochs.stop, logs), flush=True)
        if job.run:
            job.run.log(state.epochs, state.history)
        state.epoch, state.step, state.logs = state.epoch + 1, 0, None
        self.save()
        self.stop_if_asked()

    def train(self, phase: Phase) -> None:
        """One epoch, from the state's step on."""
        bridge = Bridge(self)
        self.clock.begin(cold=not getattr(self.trainer, "train_function", None))
        try:
            with self.job.data.named(), _uncounted():
                self.trainer.fit(self.batches(phase), epochs=1, verbose=0, shuffle=False, callbacks=[bridge])
        except ValueError as error:     # of Keras, which has no metrics then
            data = self.job.data
            if self.state.step or data.source.stream is not None or len(data.source) - len(data.broken) >= data.batch:
                raise
            raise ValueError(f"batch={data.batch}: {data.source.name} has no whole batch of images that can be read; those "
                             f"cannot: {', '.join(data.broken)}") from error
        self.state.logs = {name: float(value) for name, value in bridge.logs.items()} | {
            "learning_rate": self.last_rate(phase)} | self.clock.found

    def last_rate(self, phase: Phase) -> float:
        """Of the update that was the last."""
        steps = next(v for v in self.optimizer.variables if v.name == "iteration")
        rate = self.optimizer.learning_rate if isinstance(phase.rate, float) else phase.rate(steps - 1)
        return float(keras.ops.convert_to_numpy(rate))

    def batches(self, phase: Phase) -> tf.data.Dataset:
        state = self.state
        self.length = phase.rest if state.epoch == phase.epochs.stop - 1 else self.job.steps
        # also of a stream, of which one worker may have a batch more than the others
        data = self.job.data.epoch(state.epoch, state.step).take(self.length - state.step)
        return self.spread(self.clock.stamped(_shares(data, self.job.classes)))

    def spread(self, data: tf.data.Dataset) -> Any:
        return strategy.spread(self.job.strategy, data, self.job.data.batch)

    def metrics(self) -> list[Any]:
        """The variables of the loss' mean and of the metrics; Keras lists the latter only once it has run."""
        means = [metric for metric in self.trainer.metrics if metric.name == "loss"]
        return [v for metric in means + self.found for v in metric.variables]

    def groups(self, metrics: bool = True) -> dict[str, Any]:
        found = {"model": self.job.net.variables, "optimizer": self.trainer.optimizer.variables}
        return found | ({"metrics": self.metrics()} if metrics else {})

    def save(self) -> None:
        """The checkpoint; every worker comes here, the first one writes."""
        if self.job.run is None:
            return
        self.state.unreadable = strategy.union(self.job.strategy, self.job.data.unreadable)
        groups = self.groups()
        arrays = checkpoint.values(groups)
        if self.job.run.chief:
            checkpoint.save(self.job.run[CHECKPOINT], arrays, asdict(self.state) | {"variables": checkpoint.said(groups)})

    def keep(self, name: str) -> None:
        """The net as a file of its own."""
        if self.job.run is not None and self.job.run.chief:
            with self.freezing.thawed():
                save(self.job.net, self.job.run[name])

    @property
    def alone(self) -> bool:
        """Whether it can save at any step; several workers must do it together, at the steps that all know of."""
        return self.job.data.workers == 1

    def stop_if_asked(self) -> None:
        """Ends the process where somebody wants it and the state is saved."""
        if not self.termination.asked:
            return
        assert self.job.run is not None
        print(f"terminated in epoch {self.state.epoch + 1} after {self.state.step} batches"
              + ("" if self.alone else ", with the last common checkpoint") + f"; to go on: {self.job.run.command}", flush=True)
        raise SystemExit(0)

    def say_how(self) -> None:
        """How it computes.  Raises: ValueError where XLA was asked for and is not at work."""
        self.described = strategy.describe(self.job.strategy, self.trainer)
        if self.job.jit and self.described["xla"] == "off":
            raise ValueError("jit=True: XLA was asked for, and the step would run without it here")
        print("\n".join(f"{name}: {value}" for name, value in self.described.items()), flush=True)
        print(self.job.about["learning_rate"], flush=True)


class Bridge(keras.callbacks.Callback):
    """Between the `fit` of one epoch and the callbacks of the whole training."""

    def __init__(self, session: Session):
        super().__init__()
        self.session, self.start = session, session.state.step
        self.logs: dict[str, Any] = {}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self.session.pending:
            self.session.pending()
            self.session.pending = None

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.session.callbacks.on_train_batch_begin(self.start + batch, logs)
        self.session.clock.step_begins()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        session = self.session
        session.state.step = self.start + batch + 1
        session.clock.step_ends(session.job.data.batch)
        session.callbacks.on_train_batch_end(self.start + batch, logs)
        if session.state.step < session.length:     # else the epoch's end is near
            due = session.job.save_every and session.state.step % session.job.save_every == 0
            if due or session.termination.asked and session.alone:
                session.save()
            session.stop_if_asked()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.logs = logs or {}

    def on_test_begin(self, logs: Any = None) -> None:
        self.session.callbacks.on_test_begin(logs)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.session.callbacks.on_test_batch_begin(batch, logs)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.session.callbacks.on_test_batch_end(batch, logs)
        self.session.stop_if_asked()

    def on_test_end(self, logs: Any = None) -> None:
        self.session.callbacks.on_test_end(logs)


@contextlib.contextmanager
def _uncounted() -> Iterator[None]:
    """Without Keras' warning that the data end, where it cannot know how many batches there are."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Your input ran out of data")
        yield


def _shares(data: tf.data.Dataset, classes: int) -> tf.data.Dataset:
    """Labels as shares of classes (N, classes)."""
    def share(x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return x, tf.one_hot(y, classes) if y.dtype.is_integer else y
    return data.map(tf.autograph.experimental.do_not_convert(share))


def line(epoch: int, epochs: int, logs: dict[str, float]) -> str:
    return f"epoch {epoch + 1}/{epochs}: " + ", ".join(f"{name} {value:.4g}" for name, value in logs.items())


def restored(about: dict[str, Any]) -> State:
    return State(**{name: value for name, value in about.items() if name != "variables"})
