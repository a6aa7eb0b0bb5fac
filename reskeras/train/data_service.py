"""Batches that the machines of a tf.data service make, the same and in the same order as without it.

The service gives each batch to one of its workers.  It sends them in any order, and never those of a worker
that is lost.  So each batch has its number: here they are put in order, what comes twice is left out, and
what does not come is made by this process.
"""
from __future__ import annotations

import collections
import queue
import secrets
import socket
import threading
import time
import warnings
from dataclasses import dataclass
from typing import Any, Iterable, Iterator

import numpy as np
import tensorflow as tf

from ..errors import ArgumentError, describe_error, list_names
from ..images.python_calls import SENT_CALL
from .cancellable_calls import make_cancellable, make_cancellation
from .data import ImageDataset
from .reading_errors import explain_tensorflow_error

# A batch is lost if a later one came so many seconds ago, or if more than 8 later ones take so much memory
_PATIENCE, _KEPT, _MAX_BYTES = 30.0, 8, 2 ** 30
_POLL = 1.0             # seconds
_NOTHING = object()
_START = 20.0           # seconds that the dispatcher may need to start
_PYTHON = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}      # operations that call Python of this process


def connect_data_service(address: Any, datasets: Iterable[ImageDataset | None]) -> DataService | None:
    """The service at an address; None for the address None or "none".

    Args:
        address: "HOST:PORT" or "grpc://HOST:PORT" of the dispatcher.
        datasets: what it will read.

    Raises:
        ArgumentError: for an address of another form, and if nothing answers there; for images that other
            processes cannot read.
    """
    if address in (None, "none"):
        return None
    host, port = split_address("data_service", address)
    for images in datasets:
        if images is not None:
            _check_images(images, address)
    wait_for_dispatcher("data_service", host, port)
    return DataService(f"{host}:{port}")


def split_address(argument: str, address: Any) -> tuple[str, int]:
    """(host, port) of "HOST:PORT" or "grpc://HOST:PORT".

    Args:
        argument: the name of the argument that has the address, for the error.
        address: what is split.

    Raises:
        ArgumentError: for another form.
    """
    host, _, port = address.removeprefix("grpc://").rpartition(":") if isinstance(address, str) else [""] * 3
    if not (host and port.isdecimal() and 0 < int(port) < 2 ** 16):
        raise ArgumentError(argument, address, "HOST:PORT, the address of a tf.data service's dispatcher")
    return host, int(port)


def wait_for_dispatcher(argument: str, host: str, port: int) -> None:
    """Waits until something answers at an address.

    Args:
        argument: the name of the argument that has the address, for the error.
        host: the name or address of a machine.
        port: of the dispatcher.

    Raises:
        ArgumentError: if nothing answers in time.
    """
    deadline = time.monotonic() + _START
    while True:
        try:
            return socket.create_connection((host.strip("[]"), port), timeout=5).close()
        except (OSError, UnicodeError) as error:
            if time.monotonic() > deadline:
                raise ArgumentError(
                    argument, f"{host}:{port}", f"the address of a dispatcher ({describe_error(error)})",
                    hint=f"start one there: reskeras data-service dispatcher --port {port}") from error
        time.sleep(0.5)


def _check_images(images: ImageDataset, address: str) -> None:
    """Raises: ArgumentError for images that other processes cannot read."""
    name, reason = images.source.name, ""
    if not images.source.has_files:
        reason = f"{name} has no image files, which other processes could read"
    elif _calls_own_python(images.make_steps()):
        reason = f"{name} is read or augmented by Python that other processes do not have"
    if reason:
        raise ArgumentError("data_service", address, f"'none', because {reason}", hint="give image files, "
                            "folder:PATH or table:FILE, under a path that all machines have")


@dataclass(frozen=True)
class DataService:
    """A tf.data service whose workers read, augment and batch images.

    Attributes:
        address: of its dispatcher, "HOST:PORT".
    """

    address: str

    def make_epoch(self, images: ImageDataset, epoch: int = 0, first_step: int = 0) -> tf.data.Dataset:
        """The batches of `ImageDataset.make_epoch`, made by the service.

        Args:
            images: what is read.
            epoch: its number.
            first_step: batches to leave out.
        """
        def read() -> Iterator[tuple[Any, ...]]:
            try:
                yield from self._read_in_order(images, epoch, first_step)
            except Exception as error:
                images.failure = error
                raise
        data = tf.data.Dataset.from_generator(
            read, output_signature=images.make_epoch(epoch, first_step).element_spec)
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        return data.with_options(options).prefetch(1)

    def _read_in_order(self, images: ImageDataset, epoch: int, step: int) -> Iterator[tuple[Any, ...]]:
        """The batches from a step on.

        An image that cannot be read moves all images behind it forward, so a new job follows then.
        """
        local = _LocalBatches(images, epoch)
        while step < (stop := images.count_steps(epoch)):
            unreadable = images.unreadable
            with _Job(self.address, images.make_steps(epoch, step)) as job:
                while step < stop and images.unreadable == unreadable:
                    found = job.find(step)
                    if found is not None and not len(found[0]):
                        local.stop()
                        batch = found[1]
                    elif (batch := local.make(step)) is None:
                        return
                    elif found is not None:
                        self._check_files(images, found[0])
                    yield batch
                    step += 1

    def _check_files(self, images: ImageDataset, indices: Any) -> None:
        """Raises: ValueError for images that a worker could not read, and this process can."""
        names = [images.source.image_name(i) for i in np.setdiff1d(indices, images.unreadable)]
        if names:
            raise ValueError(f"a worker of the data service at {self.address} cannot read "
                             f"{list_names(names, 3)}, but this machine can; give all machines the same "
                             "files under the same path")


class _LocalBatches:
    """Batches of an epoch that this process makes, one by one."""

    def __init__(self, images: ImageDataset, epoch: int):
        self._images, self._epoch = images, epoch
        self._iterator: Any = None
        self._next = 0

    def make(self, step: int) -> Any:
        """The batch with a number; None behind the last one."""
        if self._iterator is None or self._next != step:
            self._iterator, self._next = iter(self._images.make_epoch(self._epoch, step)), step
        self._next += 1
        return next(self._iterator, None)

    def stop(self) -> None:
        """Makes no more ahead."""
        self._iterator = None


class _Job:
    """What the service makes of a dataset, as it comes; a context manager."""

    def __init__(self, address: str, steps: tf.data.Dataset):
        self._address = address
        # a worker does not notice that the dispatcher is another one, and sends what it was making before
        self._token = secrets.randbits(62)
        self._steps = steps.map(lambda *element: (tf.constant(self._token, tf.int64), *element))
        self._arrivals: queue.Queue[Any] = queue.Queue(maxsize=2)
        self._arrived: dict[int, Any] = {}
        self._batch_bytes = 0
        # seconds of waiting: in all, until the last batch came, and until each came that had the highest
        # number so far
        self._waited = self._last = 0.0
        self._highest: collections.deque[tuple[float, int]] = collections.deque()
        self._is_silent = self._has_ended = False
        self._cancellation, self._is_closed = make_cancellation(), threading.Event()

    def __enter__(self) -> _Job:
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._is_closed.set()
        self._cancellation.start_cancel()       # or the thread would wait for ever for a worker that is lost

    def find(self, step: int) -> Any:
        """(indices of images that cannot be read, batch) of a step; None if it is lost."""
        while step not in self._arrived and not self._has_ended and not self._is_overdue(step):
            start = time.monotonic()
            try:
                arrival = self._arrivals.get(timeout=0.01 if self._is_silent else _POLL)
            except queue.Empty:
                arrival = _NOTHING
            self._waited += time.monotonic() - start
            if arrival is not _NOTHING:
                self._receive(arrival, step)
            elif self._is_silent:
                return None
            elif self._waited - self._last > _PATIENCE:
                self._warn(f"has sent no batch for {_PATIENCE:g} seconds")
                self._is_silent = True
        return self._arrived.pop(step, None)

    def _receive(self, arrival: Any, step: int) -> None:
        """Keeps what came: a batch of this step or a later one, an error, or None at the end."""
        if arrival is None or isinstance(arrival, Exception):
            self._has_ended = True
            if arrival is not None:
                reason = explain_tensorflow_error(arrival) if isinstance(
                    arrival, tf.errors.OpError) else describe_error(arrival)
                self._warn(f"failed ({reason})")
            return
        if int(arrival[0]) != self._token:
            self._has_ended, self._is_silent = True, False
            self._warn("sends batches of another epoch or training (start its workers again)")
            return
        self._is_silent, self._last = False, self._waited
        number, unreadable, batch = int(arrival[1]), arrival[2].numpy(), arrival[3]
        if number >= step:
            self._arrived[number] = unreadable, batch
        if not self._highest or number > self._highest[-1][1]:
            self._highest.append((self._waited, number))
        self._batch_bytes = sum(part.dtype.size * int(tf.size(part)) for part in batch)

    def _is_overdue(self, step: int) -> bool:
        """Whether a step should have come, as the service begins them in order."""
        late = self._waited - _PATIENCE
        while len(self._highest) > 1 and self._highest[1][0] < late:
            self._highest.popleft()
        if self._highest and self._highest[0][0] < late and step < self._highest[0][1]:
            return True
        return len(self._arrived) > _KEPT and len(self._arrived) * self._batch_bytes > _MAX_BYTES

    def _warn(self, what: str) -> None:
        if not self._is_silent:
            warnings.warn(f"the data service at {self._address} {what}; this process makes the batches "
                          "instead", stacklevel=2)

    def _read(self) -> None:
        """Runs in a thread: puts what comes into the queue, and at the end None, or the error."""
        service = tf.data.experimental.service
        try:
            with tf.device("CPU"):
                # uncompressed: the processors have more to do than the network
                iterator = iter(self._steps.apply(service.distribute(
                    service.ShardingPolicy.DYNAMIC, f"grpc://{self._address}", compression=None)))
                get_next = make_cancellable(iterator.get_next, self._cancellation)
                while True:
                    self._put(get_next())
        except tf.errors.OutOfRangeError:
            self._put(None)
        except (tf.errors.OpError, ValueError, RuntimeError) as error:
            self._put(error)

    def _put(self, arrival: Any) -> None:
        while not self._is_closed.is_set():
            try:
                return self._arrivals.put(arrival, timeout=1)
            except queue.Full:
                pass


def _calls_own_python(data: tf.data.Dataset) -> bool:
    """Whether a dataset needs Python of this process."""
    graph = tf.compat.v1.GraphDef.FromString(tf.raw_ops.DatasetToGraphV2(
        input_dataset=tf.data.experimental.to_variant(data)).numpy())
    functions = (function.node_def for function in graph.library.function)
    nodes = (node for part in (graph.node, *functions) for node in part if node.op in _PYTHON)
    return any(node.attr["token"].s != SENT_CALL.encode() for node in nodes)
