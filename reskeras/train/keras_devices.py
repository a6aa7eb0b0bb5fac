"""The devices of JAX and PyTorch, for which TensorFlow only reads the images."""
from __future__ import annotations

import contextlib
import os
from typing import Any, Iterator

import keras
import tensorflow as tf

from ..errors import ArgumentError

_EXAMPLE = "keras.distribution.set_distribution(keras.distribution.DataParallel())"


def check_strategy(strategy: Any) -> None:
    """Checks that no strategy of TensorFlow is asked for with another backend.

    Args:
        strategy: as `fit` takes it.

    Raises:
        ArgumentError: for anything but "auto", "none" and None; for several processes.
    """
    backend = keras.config.backend()
    if strategy not in (None, "auto", "none"):
        hint = (f"for several devices call {_EXAMPLE} before the net is made" if backend == "jax" else
                "several devices need KERAS_BACKEND=jax or tensorflow")
        name = strategy if isinstance(strategy, str) else type(strategy).__name__
        raise ArgumentError("strategy", name, f"'auto' or 'none' with KERAS_BACKEND={backend}", hint=hint)
    if backend == "jax":
        import jax
        if jax.process_count() > 1:
            raise ArgumentError("strategy", strategy, "one process with KERAS_BACKEND=jax, on any number of "
                                "devices", hint="several machines need KERAS_BACKEND=tensorflow and "
                                "strategy='multi_worker'")


def hide_gpus_from_tensorflow() -> None:
    """Keeps TensorFlow from taking the memory of the GPUs if it is not the backend, but reads the images."""
    if keras.config.backend() == "tensorflow":
        return
    with contextlib.suppress(RuntimeError):      # it has them already
        tf.config.set_visible_devices([], "GPU")


def make_deterministic() -> None:
    """Makes the same run give the same weights to the bit.

    Raises:
        ArgumentError: for JAX on a GPU, where a setting from before the start of the process decides.
    """
    if keras.config.backend() == "torch":
        import torch
        torch.use_deterministic_algorithms(True)
    elif keras.config.backend() == "jax" and "gpu" in keras.distribution.list_devices()[0]:
        if "xla_gpu_deterministic_ops" not in os.environ.get("XLA_FLAGS", ""):
            raise ArgumentError("deterministic", True, "the flag xla_gpu_deterministic_ops in the "
                                "environment variable XLA_FLAGS with KERAS_BACKEND=jax on a GPU")


def count_devices() -> int:
    """How many devices share a batch: those of Keras' distribution, else one."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return 1
    mesh = distribution.device_mesh
    return int(mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)])


def describe_devices(model: keras.Model) -> dict[str, Any]:
    """What runs, as `describe_strategy` says it for TensorFlow."""
    distribution = keras.distribution.distribution()
    policies = sorted({layer.dtype_policy.name for layer in model.layers if layer.weights})
    if keras.config.backend() == "torch":
        devices = [str(model.weights[0].value.device)]
    else:
        devices = (keras.distribution.list_devices()[:1] if distribution is None
                   else list(map(str, distribution.device_mesh.devices.flatten())))
    return {"policy": "+".join(policies),
            "strategy": "none" if distribution is None else type(distribution).__name__,
            "replicas": count_devices(), "workers": 1,
            "xla": "on" if keras.config.backend() == "jax" else "off", "devices": devices}


@contextlib.contextmanager
def without_gradients() -> Iterator[None]:
    """Inside the block PyTorch records nothing for gradients."""
    if keras.config.backend() == "torch":
        import torch
        with torch.no_grad():
            yield
    else:
        yield
