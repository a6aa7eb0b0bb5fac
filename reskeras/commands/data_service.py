"""`data-service`: the processes of a tf.data service, which read and augment the images of trainings."""
from __future__ import annotations

import dataclasses
import functools
import socket
import tempfile
import time
from typing import Any, Callable

import numpy as np
import tensorflow as tf

from ..errors import ArgumentError, check_whole_number, describe_error
from ..file_reading import read_bytes
from ..images.preprocessing import Preprocessing
from ..images.python_calls import answer_calls
from ..images.values import decode_values
from ..terminal import print_text
from ..train.augment import parse_augmentation
from ..train.data_service import split_address, wait_for_dispatcher

# milliseconds: how often a worker says that it is there, and how long one may say nothing
_HEARTBEAT, _SILENCE = 5_000, 20_000


def run_dispatcher(port: int = 5000) -> None:
    """Runs the process that gives each worker its part, until it is ended.

    Args:
        port: to which trainings and workers connect.

    Raises:
        ArgumentError: if the port is taken.
    """
    _check_port(port)
    service = tf.data.experimental.service
    # what is sent to the workers is kept in files, and not in memory
    with tempfile.TemporaryDirectory() as folder:
        config = service.DispatcherConfig(port=port, work_dir=folder, worker_timeout_ms=_SILENCE)
        _run(lambda: service.DispatchServer(config), f"dispatcher at {socket.gethostname()}:{port}")


def run_worker(dispatcher: str, port: int = 5001, host: str | None = None) -> None:
    """Runs a process that makes batches, until it is ended.

    Args:
        dispatcher: "HOST:PORT" of the dispatcher.
        port: to which trainings connect.
        host: the name or address of this machine for trainings; by default the address with which it reaches
            the dispatcher.

    Raises:
        ArgumentError: if the port is taken, or the dispatcher does not answer.
    """
    _check_port(port)
    service, address = tf.data.experimental.service, split_address("dispatcher", dispatcher)
    wait_for_dispatcher("dispatcher", *address)
    host = host or _find_own_host(*address)
    config = service.WorkerConfig(
        dispatcher_address=f"{address[0]}:{address[1]}", worker_address=f"{host}:{port}", port=port,
        heartbeat_interval_ms=_HEARTBEAT)
    answer = answer_calls({"decode_values": decode_values, "read_bytes": _read_bytes,
                           "decode_large": _decode_large, "decode_or_prepare": _decode_or_prepare})
    _run(lambda: (service.WorkerServer(config), answer),
         f"worker at {host}:{port} of the dispatcher at {dispatcher}")


def print_result(result: None) -> int:
    """Prints nothing.  Returns: the exit code."""
    return 0


def _read_bytes(path: bytes) -> bytes:
    return read_bytes(path.decode())


_make_augmentation = functools.lru_cache(parse_augmentation)


def _decode_large(data: bytes, seed: np.ndarray, text: str, bits: int, mean: list[float]) -> np.ndarray:
    augmentation = dataclasses.replace(_make_augmentation(text), bits=bits, mean=tuple(mean))
    return augmentation.decode_large(data, seed)


def _decode_or_prepare(data: bytes, **settings: Any) -> tuple[np.ndarray, np.ndarray]:
    return Preprocessing(**settings).decode_or_prepare(data)


def _check_port(port: Any) -> None:
    """Raises: ArgumentError for a port that is taken, which TensorFlow would share."""
    check_whole_number("port", port, 1, 2 ** 16 - 1)
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        raise ArgumentError("port", port, f"a free port ({describe_error(error)})") from error


def _find_own_host(host: str, port: int) -> str:
    """The address with which this machine reaches another one; nothing is sent."""
    family, kind, *_, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(address)
        own = str(probe.getsockname()[0])
    return f"[{own}]" if ":" in own else own


def _run(start: Callable[[], Any], text: str) -> None:
    """Starts a server, says so, and waits for a signal: its own `join` would not notice any."""
    server = start()
    print_text(text)
    while server is not None:
        time.sleep(1)
