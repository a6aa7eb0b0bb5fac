"""What one replica does with its part of a batch: forward and backward pass, new states, and its metrics."""
from __future__ import annotations

from typing import Any, Callable, NamedTuple

import keras
import tensorflow as tf
from keras import tree

from .._keras_private import get_output_loss_metrics
from .finite import is_step_applied, keep_if_skipped, run_unless_skipped
from .replica_seeds import SEED_NAME, make_replica_key, mix_key

_SUM = tf.distribute.ReduceOp.SUM


class _Results(NamedTuple):
    """Of a forward pass.

    Attributes:
        loss: the loss of the replica, divided by the number of replicas, as Keras does.
        output: the outputs of the model, in its structure.
        layer_loss: the part of the loss that the layers add, such as regularization, not divided.
        states: {index among the states: its new value}.
        output_losses: the loss of each output, if there are several.
        metrics: {index among the variables of the layers' metrics: its new value}.
    """

    loss: Any
    output: Any
    layer_loss: Any
    states: dict[str, Any]
    output_losses: list[Any]
    metrics: dict[str, Any]


class ReplicaStep:
    """The steps of one replica of a compiled model; they run inside of `strategy.run`.

    The forward and the backward pass assign no variables, so that XLA may compile them; what they change is
    assigned afterwards.

    Args:
        model: a compiled functional model.
    """

    def __init__(self, model: keras.Model):
        self._model = model
        self._replicas = model.distribute_strategy.num_replicas_in_sync

        def compile_if_requested(function: Callable[..., Any]) -> Callable[..., Any]:
            if not model.jit_compile:
                return function
            return tf.function(function, jit_compile=True, autograph=False, reduce_retracing=True)
        self._differentiate = compile_if_requested(self._forward_and_back)
        self._evaluate = compile_if_requested(self._forward)

    def train(self, data: Any, uses_all_samples: bool = False, only_gradients: bool = False) -> list[Any]:
        """Updates the replica's metrics, assigns new states, and returns the global gradients.

        Args:
            data: the replica's part of a batch.
            uses_all_samples: whether each replica computes the samples of all, with the same gradients; used
                if there are too few samples to give each replica one.
            only_gradients: whether metrics and states stay as they are.
        """
        context = tf.distribute.get_replica_context()
        replica_count = count = count_samples(data)
        first, share, replica_key = tf.zeros([], tf.int32), tf.ones([], tf.float64), tf.zeros([], tf.int64)
        counts_layer_metrics = tf.constant(True)
        if uses_all_samples:
            def gather(t: Any) -> Any:
                # a worker with one replica gathers only what an operation on its device has made
                return context.all_gather(tf.identity(t), 0)
            counts = gather(replica_count[None])
            first = tf.reduce_sum(counts[:context.replica_id_in_sync_group])
            data = tree.map_structure(lambda t: None if t is None else gather(t), data)
            # the layers have seen the samples of all, on each replica
            counts_layer_metrics = tf.equal(context.replica_id_in_sync_group, 0)
        elif self._replicas > 1:
            total = context.all_reduce(_SUM, tf.cast(count, tf.float32))
            share = self._replicas * tf.cast(count, tf.float64) / tf.cast(total, tf.float64)
            replica_key = make_replica_key(context)
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        gradients, results = self._differentiate(x, y, weight, share, replica_key)

        states = self._list_states()
        trained = [i for i, g in enumerate(gradients) if g is not None]
        averaged = [] if only_gradients else [
            i for i in results.states if states[int(i)].dtype in ("float32", "float64")]
        sums = [gradients[i] for i in trained]
        sums += [results.states[i] * tf.cast(share / self._replicas, states[int(i)].dtype) for i in averaged]
        if self._replicas > 1:
            sums = context.all_reduce(_SUM, sums)
        for i, value in zip(trained, sums):
            gradients[i] = value
        if only_gradients:
            return gradients
        # loss scaling skips a step whose gradients overflow: then the running statistics stay as they are
        is_applied = is_step_applied(self._model.optimizer, sums[:len(trained)])
        for i, value in {**results.states, **dict(zip(averaged, sums[len(trained):]))}.items():
            state = states[int(i)]
            state.assign(keep_if_skipped(is_applied, state, value) if i in averaged else value)

        last = first + replica_count
        local = tree.map_structure(lambda t: None if t is None else t[first:last],
                                   (x, y, results.output, weight))
        self._update_metrics(results, is_applied, replica_count, counts_layer_metrics, *local)
        return gradients

    def test(self, data: Any) -> None:
        """Updates the replica's metrics with samples that are not trained on; there may be none."""
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        results, count = self._evaluate(x, y, weight), count_samples(x)
        self._update_metrics(results, None, count, count > 0, x, y, results.output, weight)

    def _forward(self, x: Any, y: Any, weight: Any, training: bool = False, replica_key: Any = 0) -> _Results:
        """Runs a forward pass.  Random layers use the replica's `replica_key`."""
        model, states = self._model, self._list_states()
        output_metrics, layer_metrics = get_output_loss_metrics(model), self._list_layer_metrics()
        # inside of the scope a regularizer needs its variable as a plain tensor
        values = [(v, tf.convert_to_tensor(v)) for v in model.trainable_weights if v.regularizer]
        seeds = [i for i, v in enumerate(states) if training and v.name == SEED_NAME]
        values += [(states[i], mix_key(tf.convert_to_tensor(states[i]), replica_key)) for i in seeds]
        # from zero on, so that this step alone is in them
        values += [(v, tf.zeros(v.shape, v.dtype)) for m in output_metrics for v in m.variables]
        with keras.StatelessScope(values, collect_losses=True) as scope:
            output = model(x, training=True) if training else infer(model, x)
            loss = model.compute_loss(x=x, y=y, y_pred=output, sample_weight=weight, training=training)
            layer_loss = sum((tf.cast(part, loss.dtype) for part in model.losses), tf.zeros([], loss.dtype))
            output_losses = [tf.convert_to_tensor(metric.result()) for metric in output_metrics]
        changed = {str(i): scope.get_current_value(v) for i, v in enumerate(states)}
        changed |= {str(i): mix_key(changed[str(i)], replica_key) for i in seeds}
        metrics = {str(i): scope.get_current_value(v) for i, v in enumerate(layer_metrics)}
        return _Results(loss, output, layer_loss, _without_none(changed), output_losses,
                        _without_none(metrics))

    def _forward_and_back(self, x: Any, y: Any, weight: Any, share: Any,
                          replica_key: Any) -> tuple[list[Any], _Results]:
        """Runs a forward and a backward pass.

        Args:
            share: the replica's fraction of the global batch, times the number of replicas.

        Returns:
            (gradients of the replica's part of the scaled global loss, results of the forward pass).
        """
        with tf.GradientTape() as tape:
            results = self._forward(x, y, weight, True, replica_key)
            share = tf.cast(share, results.loss.dtype)
            # Keras' loss is the replica's mean plus the layers' part, both divided by the number of replicas
            rest = results.layer_loss / self._replicas * (1 - share)
            scaled = self._model.optimizer.scale_loss(results.loss * share + rest)
        return tape.gradient(scaled, self._model.trainable_weights), results

    def _update_metrics(self, results: _Results, is_applied: Any, number: Any, counts_layer_metrics: Any,
                        x: Any, y: Any, output: Any, weight: Any) -> None:
        """Counts a replica's samples in its copy of each metric, if the step counts."""
        model = self._model

        def update() -> None:
            model.metrics[0].update_state(results.loss * self._replicas, sample_weight=number)
            for metric, loss in zip(get_output_loss_metrics(model), results.output_losses):
                metric.update_state(loss, sample_weight=number)
            variables = self._list_layer_metrics()
            for i, value in results.metrics.items():
                variable = variables[int(i)]
                variable.assign(tf.where(counts_layer_metrics, value, tf.convert_to_tensor(variable)))
            model.compute_metrics(x, y, output, sample_weight=weight)
        run_unless_skipped(update, is_applied, results.loss)

    def _list_states(self) -> list[Any]:
        """The variables that a forward pass may change: running statistics, the layers' random seeds."""
        return [v for layer in self._model.layers for v in layer.non_trainable_variables]

    def _list_layer_metrics(self) -> list[Any]:
        """The variables of metrics that layers update when they are called."""
        return [v for layer in self._model.layers for v in layer.metrics_variables]


def infer(model: keras.Model, x: Any) -> Any:
    """Predicts a batch that may be empty: adds a row, because oneDNN cannot convolve an empty batch."""
    count = count_samples(x)
    missing = tf.maximum(1 - count, 0)
    padded = tree.map_structure(
        lambda t: tf.concat([t, tf.zeros([missing, *t.shape[1:]], t.dtype)], 0), x)
    return tree.map_structure(lambda t: t[:count], model(padded, training=False))


def count_samples(data: Any) -> Any:
    """The number of samples in a batch, a tensor."""
    return tf.shape(tree.flatten(data)[0])[0]


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
