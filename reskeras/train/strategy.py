"""Many devices: which strategy, a model that is right under it, and a line that says what runs."""
from __future__ import annotations

import json
import os
from typing import Any, Callable, Iterable

import keras
import tensorflow as tf

from ..spec import nearest
from .distributed_model import Distributable

TIMEOUT = 600.0     # seconds
EXAMPLE = '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, "task": {"type": "worker", "index": 0}}'


def choose(strategy: str | tf.distribute.Strategy | None = "auto", timeout: float = TIMEOUT) -> tf.distribute.Strategy | None:
    """The strategy to train with; None is one device without one.

    Arguments:
        strategy: "none"; "mirrored", all GPUs of this machine, or its (logical) CPUs where there is none; "multi_worker", the
            machines in the environment variable TF_CONFIG; "tpu"; "auto", which is multi_worker where TF_CONFIG names
            several machines, mirrored where there are several GPUs, else none; or a strategy, which stays as it is.
        timeout: seconds for which a worker waits for the others in one step before it gives up.
    Raises: ValueError for another name, a missing or wrong TF_CONFIG; RuntimeError for "tpu" where there is none.
    """
    if strategy is None or isinstance(strategy, tf.distribute.Strategy):
        return strategy
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy={strategy!r}: expected one of {', '.join(STRATEGIES)}, or a tf.distribute.Strategy"
                         f"{nearest(strategy, STRATEGIES)}")
    return STRATEGIES[strategy](timeout)


def auto(timeout: float) -> tf.distribute.Strategy | None:
    if len(workers()) > 1:
        return multi_worker(timeout)
    return mirrored(timeout) if len(tf.config.list_logical_devices("GPU")) > 1 else None


def mirrored(timeout: float) -> tf.distribute.Strategy:
    gpus = tf.config.list_logical_devices("GPU")
    devices = [device.name for device in gpus or tf.config.list_logical_devices("CPU")]
    # among CPUs TensorFlow's default is collectives, whose groups a process can make only once
    return tf.distribute.MirroredStrategy(devices, None if gpus else tf.distribute.ReductionToOneDevice())


def multi_worker(timeout: float) -> tf.distribute.Strategy:
    if not workers():
        raise ValueError("strategy='multi_worker': the environment variable TF_CONFIG names no workers; expected such as "
                         f"{EXAMPLE}")
    options = tf.distribute.experimental.CommunicationOptions(timeout_seconds=timeout)
    return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)


def tpu(timeout: float) -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(os.environ.get("TPU_NAME", "local"))
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except Exception as error:      # of many kinds, by what is missing
        raise RuntimeError("strategy='tpu': no TPU can be reached from this machine (TensorFlow says: "
                           f"{str(error).splitlines()[0]}); on a TPU VM install tensorflow-tpu, elsewhere set TPU_NAME; or "
                           "choose 'auto'") from error


STRATEGIES: dict[str, Callable[[float], tf.distribute.Strategy | None]] = {
    "auto": auto, "none": lambda timeout: None, "mirrored": mirrored, "multi_worker": multi_worker, "tpu": tpu}

KINDS = {"mirrored": tf.distribute.MirroredStrategy, "multi_worker": tf.distribute.MultiWorkerMirroredStrategy,
         "tpu": tf.distribute.TPUStrategy}


def workers() -> list[str]:
    """The addresses of TF_CONFIG's workers, the chief first.  Raises: ValueError where it is not as TensorFlow reads it."""
    text = os.environ.get("TF_CONFIG", "")
    try:
        cluster = json.loads(text or "{}").get("cluster", {})
        return [address for kind in ("chief", "worker") for address in cluster.get(kind, [])]
    except (ValueError, AttributeError) as error:
        raise ValueError(f"TF_CONFIG={text!r}: expected such as {EXAMPLE}") from error


def place(strategy: tf.distribute.Strategy | None) -> tuple[int, int]:
    """(this worker's number, how many there are)."""
    resolver = getattr(strategy, "cluster_resolver", None)
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) or not resolver or not resolver.task_type:
        return 0, 1
    chiefs = len(resolver.cluster_spec().as_dict().get("chief", []))
    return resolver.task_id + (chiefs if resolver.task_type == "worker" else 0), max(1, len(workers()))


def union(strategy: tf.distribute.Strategy | None, numbers: Iterable[int]) -> list[int]:
    """The numbers of all workers, each of which calls this with its own."""
    own = tf.constant([-1, *numbers], tf.int64)         # an empty tensor cannot be gathered
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        own = strategy.gather(strategy.experimental_distribute_values_from_function(lambda context: own), axis=0)
    return sorted(set(own.numpy().tolist()) - {-1})


def distributable(model: keras.Model) -> Distributable:
    """A model on the same inputs and outputs, sharing the variables, to be compiled and fitted under any strategy.

    Arguments:
        model: a functional model, made inside of `strategy.scope()`; it is trained as its copy is, and is what to save.
    Raises: TypeError for a model that is not functional.
    """
    if isinstance(model, Distributable):
        return model
    if not getattr(model, "inputs", None):
        raise TypeError(f"{model.name}: expected a functional model, with inputs and outputs")
    with model.distribute_strategy.scope():
        same = Distributable(model.inputs, model.outputs[0] if len(model.outputs) == 1 else model.outputs, name=model.name)
    same.dtype_policy = model.dtype_policy
    return same


def spread(strategy: tf.distribute.Strategy | None, dataset: tf.data.Dataset, batch: int) -> Any:
    """This worker's own batches, dealt out to its replicas.

    Arguments:
        dataset: the batches of this worker, of `batch` / workers samples each; others have theirs.
        batch: samples per step of all workers together.
    Returns: what `fit` and `evaluate` take.
    Raises: ValueError for a batch that the replicas cannot share evenly.
    """
    local = per_replica(strategy, batch)
    return dataset if strategy is None else strategy.distribute_datasets_from_function(lambda context: dataset.rebatch(local))


def per_replica(strategy: tf.distribute.Strategy | None, batch: int) -> int:
    """Samples of each replica.  Raises: ValueError for a batch that the replicas cannot share evenly."""
    replicas = strategy.num_replicas_in_sync if strategy else 1
    if batch % replicas:
        raise ValueError(f"batch={batch}: expected a multiple of the {replicas} replicas, to which it is dealt out evenly")
    return batch // replicas


def describe(strategy: tf.distribute.Strategy | None, model: keras.Model) -> dict[str, Any]:
    """What runs, for the log of a run's start: "policy", "strategy", "replicas", "workers", "xla", "devices"."""
    policies = sorted({layer.dtype_policy.name for layer in model.layers if layer.weights})
    kind = next((name for name, of in KINDS.items() if isinstance(strategy, of)), type(strategy).__name__) if strategy else "none"
    devices = ["CPU:0" if not tf.config.list_logical_devices("GPU") else "GPU:0"]
    if strategy is not None:
        devices = [short(device) for device in strategy.extended.worker_devices]
    return {"policy": "+".join(policies), "strategy": kind, "replicas": strategy.num_replicas_in_sync if strategy else 1,
            "workers": place(strategy)[1], "xla": "per replica" if model.compiled and model.jit_compile else "off",
            "devices": devices}


def short(device: str) -> str:
    """"GPU:1" of "/job:worker/replica:0/task:0/device:GPU:1"."""
    return device.rpartition("device:")[2]
