"""Keras' training step, corrected for every `tf.distribute` strategy, with mixed precision and XLA.

Keras 3 fails under MultiWorkerMirroredStrategy: the symbolic build reduces a batch, and the logs are reduced
along an axis that they do not have.  Under MirroredStrategy, Keras

* compiles the exchange between replicas with XLA,
* weights replicas equally instead of by their samples,
* clips gradients and checks for overflow in each replica separately,
* takes the running statistics of the first replica only,
* fails with gradient accumulation.

Here each replica only runs the forward and backward pass (by XLA on request).  The gradients of the global
batch are summed, and the optimizer is applied once to the sum, outside of the replicas, as on one device.
"""
from __future__ import annotations

from typing import Any, Callable

import keras
import tensorflow as tf
from keras import tree

from .._keras_private import build_symbolically, skip_symbolic_build
from ..errors import ArgumentError
from . import skip_branches
from .distribution_errors import check_compilable, check_loss, check_optimizer, explain_lost_worker
from .finite import is_step_applied, keep_if_skipped, run_unless_skipped
from .replica_seeds import SEED_NAME, make_replica_key, mix_key

_SUM = tf.distribute.ReduceOp.SUM


@skip_symbolic_build
class DistributedModel(keras.Model):
    """A functional model that trains, evaluates and predicts under the strategy of its variables.

    The results are those of one device with the same global batch.  The loss is the mean over all samples of
    all replicas, and so are the metrics; a replica without samples, at the end of the data, is ignored.
    Synchronized batch normalization equals one device.  Otherwise each replica normalizes by its own samples,
    and the running statistics are the mean of theirs, weighted by samples.
    """

    train_function: Any
    test_function: Any

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
        self._differentiate = _compile_if_requested(self, self._forward_and_back)
        self._evaluate = _compile_if_requested(self, self._forward)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        is_alone = self.distribute_strategy.num_replicas_in_sync == 1
        if training and (steps := skip_branches.plan_steps(self, is_alone)):
            return skip_branches.run_steps(self, steps, inputs)
        return super().call(inputs, training=training, mask=mask)

    # One replica

    def _forward(self, x: Any, y: Any, weight: Any, training: bool = False,
                 replica_key: Any = 0) -> tuple[Any, ...]:
        """Returns (loss, output, the regularization losses of the layers, {index of a state: its new value}).

        Assigns no variables, so XLA may compile it.  Random layers use the replica's `replica_key`.
        """
        # inside of the scope a regularizer needs its variable as a plain tensor
        values = [(v, tf.convert_to_tensor(v)) for v in self.trainable_weights if v.regularizer]
        seeds = [i for i, v in enumerate(self._states) if training and v.name == SEED_NAME]
        values += [(self._states[i], mix_key(tf.convert_to_tensor(self._states[i]), replica_key))
                   for i in seeds]
        with keras.StatelessScope(values, collect_losses=True) as scope:
            output = self(x, training=True) if training else self._infer(x)
            loss = self.compute_loss(x=x, y=y, y_pred=output, sample_weight=weight, training=training)
            layer_loss = sum(self.losses, tf.zeros([]))
        states = {str(i): scope.get_current_value(v) for i, v in enumerate(self._states)}
        states |= {str(i): mix_key(states[str(i)], replica_key) for i in seeds}
        return loss, output, layer_loss, {i: value for i, value in states.items() if value is not None}

    def _infer(self, x: Any) -> Any:
        """Predicts a batch that may be empty: adds a row, because oneDNN cannot convolve an empty batch."""
        count = _count_samples(x)
        missing = tf.maximum(1 - count, 0)
        padded = tree.map_structure(
            lambda t: tf.concat([t, tf.zeros([missing, *t.shape[1:]], t.dtype)], 0), x)
        return tree.map_structure(lambda t: t[:count], self(padded, training=False))

    def _forward_and_back(self, x: Any, y: Any, weight: Any, share: Any, replica_key: Any) -> tuple[Any, ...]:
        """Runs a forward and a backward pass.

        Args:
            share: the replica's fraction of the global batch, times the number of replicas.

        Returns:
            (loss, output, gradients of the replica's part of the scaled global loss, new states).
        """
        with tf.GradientTape() as tape:
            loss, output, layer_loss, states = self._forward(x, y, weight, True, replica_key)
            # Keras' loss is the replica's mean plus the layers' part, both divided by the number of replicas
            rest = layer_loss / self.distribute_strategy.num_replicas_in_sync * (1 - share)
            scaled = self.optimizer.scale_loss(loss * share + rest)
        return loss, output, tape.gradient(scaled, self.trainable_weights), states

    def _train_replica(self, data: Any, uses_all_samples: bool = False) -> list[Any]:
        """Runs one replica's step: updates its metrics, assigns new states, returns the global gradients.

        Args:
            uses_all_samples: whether each replica computes the samples of all, with the same gradients; used
                if there are too few samples to give each replica one.
        """
        replicas = self.distribute_strategy.num_replicas_in_sync
        context = tf.distribute.get_replica_context()
        replica_count = count = _count_samples(data)
        first, share, replica_key = tf.zeros([], tf.int32), tf.ones([]), tf.zeros([], tf.int64)
        if uses_all_samples:
            counts = context.all_gather(replica_count[None], 0)
            first = tf.reduce_sum(counts[:context.replica_id_in_sync_group])
            data = tree.map_structure(lambda t: None if t is None else context.all_gather(t, 0), data)
        elif replicas > 1:
            number = tf.cast(count, tf.float32)
            share = replicas * number / context.all_reduce(_SUM, number)
            replica_key = make_replica_key(context)
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        loss, output, gradients, states = self._differentiate(x, y, weight, share, replica_key)

        trained = [i for i, g in enumerate(gradients) if g is not None]
        averaged = [i for i in states if self._states[int(i)].dtype in ("float32", "float64")]
        sums = [gradients[i] for i in trained]
        sums += [states[i] * tf.cast(share / replicas, states[i].dtype) for i in averaged]
        if replicas > 1:
            sums = context.all_reduce(_SUM, sums)
        # loss scaling skips a step whose gradients overflow: then the running statistics stay as they are
        is_applied = is_step_applied(self.optimizer, sums[:len(trained)])
        for i, value in {**states, **dict(zip(averaged, sums[len(trained):]))}.items():
            state = self._states[int(i)]
            state.assign(keep_if_skipped(is_applied, state, value) if i in averaged else value)
        for i, value in zip(trained, sums):
            gradients[i] = value

        last = first + replica_count
        local = tree.map_structure(lambda t: None if t is None else t[first:last], (x, y, output, weight))
        self._update_metrics(loss, is_applied, replica_count, *local)
        return gradients

    def _test_replica(self, data: Any) -> None:
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        loss, output, _, _ = self._evaluate(x, y, weight)
        self._update_metrics(loss, None, _count_samples(x), x, y, output, weight)

    def predict_step(self, data: Any) -> Any:
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self._infer(x)

    def _update_metrics(self, loss: Any, is_applied: Any, number: Any, x: Any, y: Any, output: Any,
                        weight: Any) -> None:
        """Counts a replica's samples in its copy of each metric, if the step counts."""
        def update() -> None:
            self.metrics[0].update_state(loss * self.distribute_strategy.num_replicas_in_sync,
                                         sample_weight=number)
            self.compute_metrics(x, y, output, sample_weight=weight)
        run_unless_skipped(update, is_applied, loss)

    # All replicas

    def _train_all(self, data: Any, uses_all_samples: bool = False) -> dict[str, Any]:
        strategy = self.distribute_strategy
        gradients = strategy.run(self._train_replica, args=(data, uses_all_samples))
        # all replicas have the same sum; outside of them the optimizer updates the variables of all replicas
        sums = [None if g is None else strategy.experimental_local_results(g)[0] for g in gradients]
        self.optimizer.apply(sums, self.trainable_variables)
        return self._read_metrics()

    def _train_on_all_samples(self, data: Any) -> dict[str, Any]:
        return self._train_all(data, uses_all_samples=True)

    def _test_all(self, data: Any) -> dict[str, Any]:
        self.distribute_strategy.run(self._test_replica, args=(data,))
        return self._read_metrics()

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
        is_empty = any(_count_samples(part) == 0 for part in parts)
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

    @property
    def _states(self) -> list[Any]:
        """The variables that a forward pass may change: running statistics, the layers' random seeds."""
        return [v for layer in self.layers for v in layer.non_trainable_variables]


def _compile_if_requested(model: DistributedModel, function: Callable[..., Any]) -> Callable[..., Any]:
    if not model.jit_compile:
        return function
    return tf.function(function, jit_compile=True, autograph=False, reduce_retracing=True)


def _count_samples(data: Any) -> Any:
    return tf.shape(tree.flatten(data)[0])[0]


def _replace_empty_optionals(data: Any) -> Any:
    # Keras' datasets have an empty optional instead of None
    return tree.map_structure(lambda v: None if isinstance(v, tf.experimental.Optional) else v, data)
