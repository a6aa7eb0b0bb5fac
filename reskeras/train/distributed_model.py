"""Keras' trainer, right under every `tf.distribute` strategy, whatever the replicas' shares, mixed precision and XLA.

Keras 3 fails under MultiWorkerMirroredStrategy (its symbolic build reduces a batch, its logs are reduced along an axis that they
have not), and under MirroredStrategy it compiles the replicas' meeting with XLA, weighs replicas by number instead of samples,
clips and looks for overflow in each replica's own gradients, leaves running statistics to the first replica, and crashes with
gradient accumulation.  Here a replica runs forward and backward alone, compiled if asked for; the gradients of the global batch
are summed; and the optimizer is applied once to the sum, outside of the replicas, as on one device.
"""
from __future__ import annotations

import contextlib
from typing import Any, Callable, Iterator

import keras
import tensorflow as tf
from keras import tree

from .._keras_private import build_symbolically, skip_symbolic_build
from . import skip_branches

SUM = tf.distribute.ReduceOp.SUM
MEANS = ("sum_over_batch_size", "mean")     # reductions of a loss that are a mean over samples
SEED = "seed_generator_state"               # Keras' name of what dropout and its like draw by
GOLDEN = 0x9E3779B9                         # an odd number whose multiples are far from seeds such as 1, 2, 3


class DistributedModel(keras.Model):
    """A functional model that trains, evaluates and predicts under the strategy that its variables were made in.

    As on one device with the same global batch: the loss is the mean over all samples of all replicas, metrics likewise; a
    replica without samples, at the end of the data, counts for nothing.  Batch normalization is one device's where it is
    synchronized; otherwise each replica normalizes by its own samples, and running statistics are their mean by samples.

    Raises, in `compile`: ValueError for what XLA cannot do here, an optimizer of another strategy, a loss that is no mean.
    """

    train_function: Any
    test_function: Any

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, *args: Any, jit_compile: bool = False, **kwargs: Any) -> None:
        """As `keras.Model.compile`.

        Arguments:
            jit_compile: whether forward and backward are compiled by XLA, for each replica.
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
            raise ValueError("jit_compile=True: Keras does not compile this model with XLA here")
        self._differentiate = _maybe_compiled(self, self._forward_and_back)
        self._evaluate = _maybe_compiled(self, self._forward)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if training and (plan := skip_branches.plan_steps(self, alone=self.distribute_strategy.num_replicas_in_sync == 1)):
            return skip_branches.run_steps(self, plan, inputs)
        return super().call(inputs, training=training, mask=mask)

    # One replica

    def _forward(self, x: Any, y: Any, weight: Any, training: bool = False, key: Any = 0) -> tuple[Any, ...]:
        """(loss, output, the layers' part of the loss, {index of a state: its new value}); changes nothing itself, so that XLA
        may compile it.  `key`: of the replica, whose layers draw by it."""
        # a scope does not look through to what a regularizer needs
        known = [(v, tf.convert_to_tensor(v)) for v in self.trainable_weights if v.regularizer]
        seeds = [i for i, v in enumerate(self._states) if training and v.name == SEED]
        known += [(self._states[i], _keyed(tf.convert_to_tensor(self._states[i]), key)) for i in seeds]
        with keras.StatelessScope(known, collect_losses=True) as scope:
            output = self(x, training=True) if training else self._output(x)
            loss = self.compute_loss(x=x, y=y, y_pred=output, sample_weight=weight, training=training)
            added = sum(self.losses, tf.zeros([]))
        new = {str(i): scope.get_current_value(v) for i, v in enumerate(self._states)}
        new |= {str(i): _keyed(new[str(i)], key) for i in seeds}
        return loss, output, added, {i: value for i, value in new.items() if value is not None}

    def _output(self, x: Any) -> Any:
        """The inference of a batch that may be empty: convolutions of oneDNN get its shape wrong."""
        count = samples(x)
        none = tf.maximum(1 - count, 0)
        output = self(tree.map_structure(lambda t: tf.concat([t, tf.zeros([none, *t.shape[1:]], t.dtype)], 0), x), training=False)
        return tree.map_structure(lambda t: t[:count], output)

    def _forward_and_back(self, x: Any, y: Any, weight: Any, share: Any, key: Any) -> tuple[Any, ...]:
        """(loss, output, gradients of the replica's `share` of the global batch's loss, scaled by the optimizer, new states)."""
        with tf.GradientTape() as tape:
            loss, output, added, new = self._forward(x, y, weight, training=True, key=key)
            # Keras' loss is the replica's mean plus what the layers add, both divided by the number of replicas
            rest = added / self.distribute_strategy.num_replicas_in_sync * (1 - share)
            scaled = self.optimizer.scale_loss(loss * share + rest)
        return loss, output, tape.gradient(scaled, self.trainable_weights), new

    def _learn(self, data: Any, together: bool = False) -> list[Any]:
        """One replica's training step: counts its metrics, keeps new states, returns the gradients of the global batch.

        Arguments:
            together: whether each replica takes the samples of all, which has the same gradients; for a few samples that
                leave a replica without one.
        """
        replicas = self.distribute_strategy.num_replicas_in_sync
        context = tf.distribute.get_replica_context()
        own = count = samples(data)
        first, share, key = tf.zeros([], tf.int32), tf.ones([]), tf.zeros([], tf.int64)
        if together:
            counts = context.all_gather(own[None], 0)
            first = tf.reduce_sum(counts[:context.replica_id_in_sync_group])
            data = tree.map_structure(lambda t: None if t is None else context.all_gather(t, 0), data)
        elif replicas > 1:
            number = tf.cast(count, tf.float32)
            share = replicas * number / context.all_reduce(SUM, number)
            key = tf.cast(context.replica_id_in_sync_group, tf.int64) * GOLDEN
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        loss, output, gradients, new = self._differentiate(x, y, weight, share, key)
        mine = tree.map_structure(lambda t: None if t is None else t[first:first + own], (x, y, output, weight))
        self._count(loss, own, *mine)
        known = [i for i, g in enumerate(gradients) if g is not None]
        means = [i for i in new if self._states[int(i)].dtype in ("float32", "float64")]
        sums = [gradients[i] for i in known] + [new[i] * tf.cast(share / replicas, new[i].dtype) for i in means]
        if replicas > 1:
            sums = context.all_reduce(SUM, sums)
        for i, value in {**new, **dict(zip(means, sums[len(known):]))}.items():
            self._states[int(i)].assign(value)
        for i, value in zip(known, sums):
            gradients[i] = value
        return gradients

    def _score(self, data: Any) -> None:
        """One replica's evaluation step: counts its metrics."""
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        loss, output, _, _ = self._evaluate(x, y, weight)
        self._count(loss, samples(x), x, y, output, weight)

    def predict_step(self, data: Any) -> Any:
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self._output(x)

    def _count(self, loss: Any, number: Any, x: Any, y: Any, output: Any, weight: Any) -> None:
        """Counts a replica's samples in its own copy of each metric."""
        self.metrics[0].update_state(loss * self.distribute_strategy.num_replicas_in_sync, sample_weight=number)
        self.compute_metrics(x, y, output, sample_weight=weight)

    # All replicas

    def _train_all(self, data: Any, together: bool = False) -> dict[str, Any]:
        strategy = self.distribute_strategy
        gradients = strategy.run(self._learn, args=(data, together))
        # every replica has the same sum; outside of them the optimizer works as on one device, and writes to all
        sums = [None if g is None else strategy.experimental_local_results(g)[0] for g in gradients]
        self.optimizer.apply(sums, self.trainable_variables)
        return self._read()

    def _train_together(self, data: Any) -> dict[str, Any]:
        return self._train_all(data, together=True)

    def _test_all(self, data: Any) -> dict[str, Any]:
        self.distribute_strategy.run(self._score, args=(data,))
        return self._read()

    def _read(self) -> dict[str, Any]:
        """The metrics of all samples so far: between replicas, a metric's variable is the sum of the replicas' copies."""
        if self.distribute_strategy.num_replicas_in_sync == 1:
            return self.get_metrics_result()
        with self.distribute_strategy.scope():
            return self.get_metrics_result()

    def _looped(self, step: Callable[[Any], Any], few: Callable[[Any], Any] | None = None) -> Callable[[Any], Any]:
        """A step on the next batches of an iterator, as Keras calls it; `few`, where a replica has no sample.

        Raises, when called: RuntimeError inside of a strategy's scope.
        """
        def graph(function: Any) -> Any:
            return function if self.run_eagerly else tf.function(function, reduce_retracing=True, autograph=False)
        run, run_few = graph(step), graph(few or step)

        def function(iterator: Any) -> dict[str, Any]:
            if tf.distribute.has_strategy():
                raise RuntimeError("fit and evaluate are called outside of strategy.scope(); only the model is made inside")
            logs = None
            for _ in range(self.steps_per_execution):
                data = next(iterator, None)
                if data is None and logs is None:
                    raise StopIteration
                if data is not None:
                    data = _present(data)
                    self._build_from(data)
                    logs = run_few(data) if few and self._someone_lacks(data) else run(data)
            assert logs is not None
            return logs
        return function

    def _someone_lacks(self, data: Any) -> bool:
        """Whether a replica, of any worker, has no sample."""
        strategy = self.distribute_strategy
        if strategy.num_replicas_in_sync == 1:
            return False
        lacks = any(samples(local) == 0 for local in strategy.experimental_local_results(tree.flatten(data)[0]))
        if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            return lacks
        each = strategy.experimental_distribute_values_from_function(lambda context: tf.constant(float(lacks)))
        return float(strategy.reduce(SUM, each, axis=None)) > 0

    def _build_from(self, data: Any) -> None:
        local = tree.map_structure(lambda v: self.distribute_strategy.experimental_local_results(v)[0], data)
        with self.distribute_strategy.scope():
            build_symbolically(self, local)

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        with _saying_who_is_lost():
            return super().fit(*args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        with _saying_who_is_lost():
            return super().evaluate(*args, **kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        with _saying_who_is_lost():
            return super().predict(*args, **kwargs)

    def make_train_function(self, force: bool = False) -> None:
        if self.train_function is None or force:
            self.train_function = self._looped(self._train_all, self._train_together)

    def make_test_function(self, force: bool = False) -> None:
        if self.test_function is None or force:
            self.test_function = self._looped(self._test_all)

    @property
    def _states(self) -> list[Any]:
        """What a forward pass may change: running statistics, the layers' random seeds."""
        return [v for layer in self.layers for v in layer.non_trainable_variables]


def _maybe_compiled(model: DistributedModel, function: Callable) -> Callable:
    return tf.function(function, jit_compile=True, autograph=False, reduce_retracing=True) if model.jit_compile else function


@contextlib.contextmanager
def _saying_who_is_lost() -> Iterator[None]:
    """Raises: RuntimeError where TensorFlow found that another worker has gone, or waited for it too long."""
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.DeadlineExceededError, tf.errors.AbortedError) as error:
        raise RuntimeError("another worker was lost, or did not answer in time; start all workers again, and they go on from the "
                           f"last checkpoint (TensorFlow says: {error.message})") from error


def _keyed(seed: Any, key: Any) -> Any:
    """Another seed (2,) for each key; with the same key again, the seed.  Key 0, of the first replica, leaves it."""
    return tf.bitwise.bitwise_xor(seed, tf.cast(tf.stack([key, tf.zeros_like(key)]), seed.dtype))


def samples(data: Any) -> Any:
    """How many, in a batch."""
    return tf.shape(tree.flatten(data)[0])[0]


def _present(data: Any) -> Any:
    """Keras' datasets have an empty optional in the place of None."""
    return tree.map_structure(lambda v: None if isinstance(v, tf.experimental.Optional) else v, data)


def check_loss(loss: Any, strategy: tf.distribute.Strategy) -> None:
    """Raises: ValueError for a loss that is no mean over samples: only of a mean the replicas' shares are known."""
    for one in tree.flatten(loss):
        reduction = getattr(one, "reduction", MEANS[0])
        if strategy.num_replicas_in_sync > 1 and reduction not in MEANS:
            raise ValueError(f"{one.name}: reduction={reduction!r}: expected {MEANS[0]!r}, the mean over the global batch, "
                             f"on {strategy.num_replicas_in_sync} replicas")


def check_optimizer(optimizer: Any, strategy: tf.distribute.Strategy) -> None:
    """Raises: ValueError where it was made in another strategy's scope."""
    steps = getattr(optimizer, "inner_optimizer", optimizer).variables[0]      # a variable from its constructor
    made = getattr(steps.value, "distribute_strategy", None)
    if strategy.num_replicas_in_sync > 1 and made is not strategy:
        raise ValueError(f"optimizer {optimizer.name}: made outside of the model's strategy; make it inside of "
                         "`with model.distribute_strategy.scope():`")


def check_compilable(model: keras.Model, run_eagerly: bool) -> None:
    """Raises: ValueError where XLA would not be active, or could not be."""
    if run_eagerly:
        raise ValueError("jit_compile=True, run_eagerly=True: XLA compiles graphs; choose one of the two")
    if not (unable := [layer.name for layer in model.layers if not layer.supports_jit]):
        unable = [layer.name for layer in model.layers if getattr(layer, "synchronized", False)]
        if not unable or model.distribute_strategy.num_replicas_in_sync == 1:
            return
        raise ValueError(f"jit_compile=True: XLA compiles each replica alone, and {unable[0]} needs the others' samples amid the "
                         "forward pass; choose norm='batch' or 'group', or jit_compile=False")
    raise ValueError(f"jit_compile=True: XLA cannot compile {', '.join(unable)}; choose jit_compile=False")
