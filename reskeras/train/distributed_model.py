"""Keras' training step, corrected for every `tf.distribute` strategy, with mixed precision and XLA.

Keras 3 fails under MultiWorkerMirroredStrategy: the symbolic build reduces a batch, and the logs are reduced
along an axis that they do not have.  Under MirroredStrategy, Keras

* compiles the exchange between replicas with XLA,
* weights replicas equally instead of by their samples,
* clips gradients and checks for overflow in each replica separately,
* takes the running statistics of the first replica only,
* fails with gradient accumulation.

Here each replica only runs the forward and backward pass (by XLA on request), see `replica_step.py`.  The
gradients of the global batch are summed, and the optimizer is applied once to the sum, outside of the
replicas, as on one device.
"""
from __future__ import annotations

import contextlib
import os
import tempfile
from typing import Any, Callable, Iterator

import keras
import tensorflow as tf
from keras import tree

from .._keras_private import build_symbolically, get_functional_module, skip_symbolic_build
from ..errors import ArgumentError
from ..model_with_metadata import ModelWithMetadata
from . import skip_branches
from .distillation import LearnsFromTeacher
from .distribution_errors import check_compilable, check_loss, check_optimizer, explain_lost_worker
from .replica_step import ReplicaStep, count_samples, infer

_SUM = tf.distribute.ReduceOp.SUM


@skip_symbolic_build
class DistributedModel(LearnsFromTeacher, ModelWithMetadata):
    """A functional model that trains, evaluates and predicts under the strategy of its variables.

    The results are those of one device with the same global batch.  The loss is the mean over all samples of
    all replicas, and so are the metrics; a replica without samples, at the end of the data, is ignored.
    Synchronized batch normalization equals one device.  Otherwise each replica normalizes by its own samples,
    and the running statistics are the mean of theirs, weighted by samples.

    This is the model that callbacks see.  Saved, it is the functional model that it trains.

    Attributes:
        saver: what `save` calls instead of Keras; a training run saves the net in its own way.
    """

    train_function: Any
    test_function: Any
    weight_averages: Any = None     # a `WeightAverages`, which is updated after each step
    sharpness: Any = None           # a `SharpnessAwareness`, which computes other gradients
    saver: Callable[..., None] | None = None

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, *args: Any, jit_compile: bool = False,
                **kwargs: Any) -> None:
        """As `keras.Model.compile`.

        Args:
            jit_compile: whether XLA compiles forward and backward, for each replica.

        Raises:
            ValueError: if XLA cannot compile the model, the optimizer belongs to a different strategy, or the
                loss is not a mean.
        """
        check_loss(loss, self.distribute_strategy)
        if jit_compile:
            check_compilable(self, kwargs.get("run_eagerly", False))
        with self.distribute_strategy.scope():
            super().compile(optimizer, loss, *args, jit_compile=jit_compile, **kwargs)
            check_optimizer(self.optimizer, self.distribute_strategy)
            if not self.optimizer.built:
                self.optimizer.build(self.trainable_variables)
        if jit_compile and not self.jit_compile:
            raise ArgumentError("jit_compile", True, "False, because Keras cannot compile this model here")
        self._replica_step = ReplicaStep(self)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        is_alone = self.distribute_strategy.num_replicas_in_sync == 1
        if training and len(self.inputs) == 1 and (steps := skip_branches.plan_steps(self, is_alone)):
            return skip_branches.run_steps(self, steps, inputs)
        return super().call(inputs, training=training, mask=mask)

    # All replicas

    def _train_all(self, data: Any, uses_all_samples: bool = False) -> dict[str, Any]:
        strategy = self.distribute_strategy
        gradients = strategy.run(self._replica_step.train, args=(data, uses_all_samples))
        # all replicas have the same sum; outside of them the optimizer updates the variables of all replicas
        sums = [None if g is None else strategy.experimental_local_results(g)[0] for g in gradients]
        if self.sharpness is not None:
            sums = self.sharpness.replace_gradients(self, sums, lambda: strategy.run(
                self._replica_step.train, args=(data, uses_all_samples, True)))
        self.optimizer.apply(sums, self.trainable_variables)
        if self.weight_averages is not None:
            self.weight_averages.update(self.optimizer)
        return self._read_metrics()

    def _train_on_all_samples(self, data: Any) -> dict[str, Any]:
        return self._train_all(data, uses_all_samples=True)

    def _test_all(self, data: Any) -> dict[str, Any]:
        self.distribute_strategy.run(self._replica_step.test, args=(data,))
        return self._read_metrics()

    def predict_step(self, data: Any) -> Any:
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return infer(self, x)

    def _read_metrics(self) -> dict[str, Any]:
        """Returns the metrics of all samples so far.

        Outside of the replicas, a metric's variable is the sum of the replicas' copies.
        """
        if self.distribute_strategy.num_replicas_in_sync == 1:
            return self.get_metrics_result()
        with self.distribute_strategy.scope():
            return self.get_metrics_result()

    def _make_step_function(self, step: Callable[[Any], Any],
                            step_on_all_samples: Callable[[Any], Any] | None = None) -> Callable[[Any], Any]:
        """Returns a function that runs a step on the next batches of an iterator; Keras calls it.

        Args:
            step: a step on one batch.
            step_on_all_samples: the step for a batch that leaves a replica without a sample.

        Returns:
            A function of an iterator; it raises RuntimeError inside of a strategy's scope.
        """
        def trace(function: Any) -> Any:
            return function if self.run_eagerly else tf.function(function, reduce_retracing=True,
                                                                 autograph=False)
        run, run_on_all_samples = trace(step), trace(step_on_all_samples or step)

        def function(iterator: Any) -> dict[str, Any]:
            if tf.distribute.has_strategy():
                raise RuntimeError("call fit and evaluate outside of strategy.scope(); create only the "
                                   "model inside of it")
            logs = None
            for _ in range(self.steps_per_execution):
                data = next(iterator, None)
                if data is None and logs is None:
                    raise StopIteration
                if data is not None:
                    data = _replace_empty_optionals(data)
                    self._build_from(data)
                    has_empty_replica = step_on_all_samples and self._has_empty_replica(data)
                    logs = run_on_all_samples(data) if has_empty_replica else run(data)
            assert logs is not None
            return logs
        return function

    def _has_empty_replica(self, data: Any) -> bool:
        """Whether a replica, of any worker, has no sample."""
        strategy = self.distribute_strategy
        if strategy.num_replicas_in_sync == 1:
            return False
        parts = strategy.experimental_local_results(tree.flatten(data)[0])
        is_empty = any(count_samples(part) == 0 for part in parts)
        if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            return is_empty
        each = strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(float(is_empty)))
        return float(strategy.reduce(_SUM, each, axis=None)) > 0

    def _build_from(self, data: Any) -> None:
        """Builds loss and metrics, if not built yet, from the first local replica's part of a batch."""
        local = tree.map_structure(lambda v: self.distribute_strategy.experimental_local_results(v)[0], data)
        with self.distribute_strategy.scope():
            build_symbolically(self, local)

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        with explain_lost_worker():
            return super().fit(*args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        with explain_lost_worker():
            return super().evaluate(*args, **kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        with explain_lost_worker():
            return super().predict(*args, **kwargs)

    def make_train_function(self, force: bool = False) -> None:
        if self.train_function is None or force:
            self.train_function = self._make_step_function(self._train_all, self._train_on_all_samples)

    def make_test_function(self, force: bool = False) -> None:
        if self.test_function is None or force:
            self.test_function = self._make_step_function(self._test_all)

    # Saving, by callbacks such as ModelCheckpoint

    def save(self, filepath: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """As `keras.Model.save`; of several workers only the first keeps the file."""
        with self._keep_only_first(filepath) as path:
            (self.saver or super().save)(path, *args, **kwargs)

    def save_weights(self, filepath: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """As `keras.Model.save_weights`; of several workers only the first keeps the file."""
        with self._keep_only_first(filepath) as path:
            super().save_weights(path, *args, **kwargs)

    def get_compile_config(self) -> Any:
        """As `keras.Model.get_compile_config`; None if a training run saves the net in its own way."""
        return None if self.saver else super().get_compile_config()

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """As `keras.Model.compile_from_config`; a clone of a compiled model is compiled too."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    @contextlib.contextmanager
    def _keep_only_first(self, path: str | os.PathLike[str]) -> Iterator[str]:
        """The path to write to.  Every worker must write, as variables may be exchanged between them."""
        if self.distribute_strategy.extended.should_checkpoint:
            yield os.fspath(path)
        else:
            with tempfile.TemporaryDirectory() as folder:
                yield os.path.join(folder, os.path.basename(path))


# As of `ModelWithMetadata`: a saved file has Keras' own class name, and is loaded as a functional model, with
# its metadata if there is any.
DistributedModel.__name__, DistributedModel.__module__ = "Functional", get_functional_module()


def _replace_empty_optionals(data: Any) -> Any:
    # Keras' datasets have an empty optional instead of None
    return tree.map_structure(lambda v: None if isinstance(v, tf.experimental.Optional) else v, data)
