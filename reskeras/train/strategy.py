"""Many devices: which strategy, a model that trains correctly under it, and a description of what runs."""
from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any, Callable, Iterable

import keras
import tensorflow as tf

from ..errors import ArgumentError, describe_error
from . import keras_devices

if TYPE_CHECKING:
    from .distributed_model import DistributedModel
    from .keras_trainer import KerasTrainer

_TIMEOUT = 600.0     # seconds
_EXAMPLE = ('{"cluster": {"worker": ["host0:12345", "host1:12345"]}, '
            '"task": {"type": "worker", "index": 0}}')


def choose_strategy(strategy: str | tf.distribute.Strategy | None = "auto",
                    timeout: float = _TIMEOUT) -> tf.distribute.Strategy | None:
    """The strategy to train with; None trains on one device.

    Args:
        strategy: "none"; "mirrored", all GPUs of this machine, or its (logical) CPUs if there is none;
            "multi_worker", the machines in the environment variable TF_CONFIG; "tpu", untested; "auto", which
            is multi_worker if TF_CONFIG names several machines, mirrored if there are several GPUs, otherwise
            none; or a strategy, which is returned as it is.  With JAX and PyTorch "auto" and "none" only:
            JAX trains on the devices of `keras.distribution`.
        timeout: seconds that a worker waits for the others in one step before it gives up.

    Raises:
        ArgumentError: for an unknown name.
        ValueError: if "multi_worker" finds a missing or wrong TF_CONFIG.
        RuntimeError: if "tpu" finds no TPU.
    """
    if keras.config.backend() != "tensorflow":
        keras_devices.check_strategy(strategy)
        return None
    if strategy is None or isinstance(strategy, tf.distribute.Strategy):
        return strategy
    if strategy not in _STRATEGIES:
        raise ArgumentError("strategy", strategy, f"one of {', '.join(_STRATEGIES)}, or a "
                            "tf.distribute.Strategy",
                            _STRATEGIES)
    return _STRATEGIES[strategy](timeout)


def find_strategy(model: Any, strategy: Any) -> tf.distribute.Strategy | None:
    """The strategy that is asked for, or that of a model.

    Args:
        model: a model, or anything else from which a model will be built.
        strategy: as in `choose_strategy`.

    Raises:
        ArgumentError: if a model was built in the scope of another one; as `choose_strategy`.
    """
    if not isinstance(model, keras.Model) or keras.config.backend() != "tensorflow":
        return choose_strategy(strategy)
    model_strategy = model.distribute_strategy
    is_default = model_strategy is tf.distribute.get_strategy() and not tf.distribute.has_strategy()
    model_strategy = None if is_default else model_strategy
    if strategy != "auto" and choose_strategy(strategy) is not model_strategy:
        name = strategy if isinstance(strategy, str) else type(strategy).__name__
        raise ArgumentError("strategy", name, f"the strategy in whose scope {model.name} was built",
                            hint="build it inside of the scope and give the strategy as an object, or give "
                            "the net's name")
    return model_strategy


def _choose_automatically(timeout: float) -> tf.distribute.Strategy | None:
    if len(_list_workers()) > 1:
        return _make_multi_worker(timeout)
    return _make_mirrored(timeout) if len(tf.config.list_logical_devices("GPU")) > 1 else None


def _make_mirrored(timeout: float) -> tf.distribute.Strategy:
    gpus = tf.config.list_logical_devices("GPU")
    devices = [device.name for device in gpus or tf.config.list_logical_devices("CPU")]
    # among CPUs TensorFlow's default is collectives, whose groups a process can make only once
    return tf.distribute.MirroredStrategy(devices, None if gpus else tf.distribute.ReductionToOneDevice())


def _make_multi_worker(timeout: float) -> tf.distribute.Strategy:
    if not _list_workers():
        raise ArgumentError("strategy", "multi_worker", "workers in the environment variable TF_CONFIG, for "
                            f"example {_EXAMPLE}")
    options = tf.distribute.experimental.CommunicationOptions(timeout_seconds=timeout)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    except (ValueError, TypeError, KeyError, tf.errors.InvalidArgumentError, tf.errors.UnknownError) as error:
        raise ValueError(f"TF_CONFIG={os.environ['TF_CONFIG']!r} cannot be used ({describe_error(error)}); "
                         f"expected for example {_EXAMPLE}") from error


def _make_tpu(timeout: float) -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(os.environ.get("TPU_NAME", "local"))
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except Exception as error:      # of many kinds, by what is missing
        raise RuntimeError("strategy='tpu': no TPU can be reached from this machine (TensorFlow says: "
                           f"{str(error).splitlines()[0]}); on a TPU VM install tensorflow-tpu, elsewhere "
                           "set TPU_NAME; or choose 'auto'") from error


_STRATEGIES: dict[str, Callable[[float], tf.distribute.Strategy | None]] = {
    "auto": _choose_automatically, "none": lambda timeout: None, "mirrored": _make_mirrored,
    "multi_worker": _make_multi_worker, "tpu": _make_tpu}

_STRATEGY_CLASSES = {
    "mirrored": tf.distribute.MirroredStrategy, "multi_worker": tf.distribute.MultiWorkerMirroredStrategy,
    "tpu": tf.distribute.TPUStrategy}


def _list_workers() -> list[str]:
    """The addresses of TF_CONFIG's workers, the chief first.

    Raises:
        ValueError: if TensorFlow could not read it.
    """
    text = os.environ.get("TF_CONFIG", "")
    try:
        cluster = json.loads(text or "{}").get("cluster", {})
        return [address for kind in ("chief", "worker") for address in cluster.get(kind, [])]
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"TF_CONFIG={text!r}: expected for example {_EXAMPLE}") from error


def find_worker(strategy: tf.distribute.Strategy | None) -> tuple[int, int]:
    """Returns (the number of this worker, how many there are)."""
    resolver = getattr(strategy, "cluster_resolver", None)
    is_multi_worker = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    if not is_multi_worker or not resolver or not resolver.task_type:
        return 0, 1
    chiefs = len(resolver.cluster_spec().as_dict().get("chief", []))
    number = resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)
    return number, max(1, len(_list_workers()))


def gather_union(strategy: tf.distribute.Strategy | None, numbers: Iterable[int]) -> list[int]:
    """The numbers of all workers together, sorted; each worker calls this with its own."""
    mine = tf.constant([-1, *numbers], tf.int64)         # an empty tensor cannot be gathered
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        values = strategy.experimental_distribute_values_from_function(lambda context: mine)
        mine = strategy.gather(values, axis=0)
    return sorted(set(mine.numpy().tolist()) - {-1})


def wait_for_other_workers(strategy: tf.distribute.Strategy | None) -> None:
    """Waits until all workers have come here; one that ends earlier looks lost to those that read from it.

    Whoever has the first answer gives the second, so that all that may fail is to read the second.  Nothing
    is lost either if another worker fails, or comes too late.
    """
    if find_worker(strategy)[1] > 1:
        with contextlib.suppress(tf.errors.OpError):
            for _ in range(2):
                gather_union(strategy, [])


def distributable(model: keras.Model) -> DistributedModel | KerasTrainer:
    """A model with the same inputs, outputs and variables, to be compiled and fitted under any strategy.

    Training it trains `model`, which is the one to save.  With JAX and PyTorch it trains by Keras' own
    trainer, with JAX on the devices of `keras.distribution`.

    Args:
        model: a functional model, made inside of `strategy.scope()`.

    Returns:
        A Keras model with the same methods.

    Raises:
        TypeError: for a model that is not functional.

    Example:
        >>> with strategy.scope():
        ...     net = reskeras.ResNet50(weights=None, classes=10)
        ...     trainer = reskeras.distributable(net)
        ...     trainer.compile("sgd", "sparse_categorical_crossentropy")
        >>> trainer.fit(images, labels)
        >>> net.save("net.keras")
    """
    if not getattr(model, "inputs", None):
        raise TypeError(f"{model.name}: expected a functional model, with inputs and outputs")
    if keras.config.backend() != "tensorflow":
        from .keras_trainer import make_keras_trainer
        return make_keras_trainer(model)
    # here: it changes methods of Keras that only the backend TensorFlow has
    from .distributed_model import DistributedModel
    if isinstance(model, DistributedModel):
        return model
    with model.distribute_strategy.scope():
        trainer = DistributedModel(model.input, model.output, name=model.name,
                                   metadata=getattr(model, "metadata", None))
    trainer.dtype_policy = model.dtype_policy
    return trainer


def distribute_batches(strategy: tf.distribute.Strategy | None, dataset: tf.data.Dataset,
                       batch_size: int) -> Any:
    """The batches of this worker, divided among its replicas.

    Args:
        strategy: None for one device.
        dataset: the batches of this worker, of `batch_size / workers` samples each; other workers have
            theirs.
        batch_size: samples per step of all workers together.

    Returns:
        What `fit` and `evaluate` take.

    Raises:
        ArgumentError: for a batch that the replicas cannot share evenly.
    """
    replica_batch = get_replica_batch_size(strategy, batch_size)
    if strategy is None:
        return dataset
    return strategy.distribute_datasets_from_function(lambda context: dataset.rebatch(replica_batch))


def get_replica_batch_size(strategy: tf.distribute.Strategy | None, batch_size: int) -> int:
    """Samples per step of each replica.

    Raises:
        ArgumentError: for a batch that the replicas cannot share evenly.
    """
    replicas = strategy.num_replicas_in_sync if strategy else keras_devices.count_devices()
    if batch_size % replicas:
        raise ArgumentError("batch_size", batch_size, f"a multiple of the {replicas} replicas, which share "
                            "it evenly")
    return batch_size // replicas


def describe_strategy(strategy: tf.distribute.Strategy | None, model: keras.Model) -> dict[str, Any]:
    """What runs: "policy", "strategy", "replicas", "workers", "xla", "devices"; for run.json and the log."""
    if keras.config.backend() != "tensorflow":
        return keras_devices.describe_devices(model)
    policies = sorted({layer.dtype_policy.name for layer in model.layers if layer.weights})
    kind, devices = "none", ["CPU:0" if not tf.config.list_logical_devices("GPU") else "GPU:0"]
    if strategy is not None:
        names = (name for name, cls in _STRATEGY_CLASSES.items() if isinstance(strategy, cls))
        kind = next(names, type(strategy).__name__)
        # "GPU:1" of "/job:worker/replica:0/task:0/device:GPU:1"
        devices = [device.rpartition("device:")[2] for device in strategy.extended.worker_devices]
    return {"policy": "+".join(policies), "strategy": kind,
            "replicas": strategy.num_replicas_in_sync if strategy else 1, "workers": find_worker(strategy)[1],
            "xla": "per replica" if model.compiled and model.jit_compile else "off", "devices": devices}
