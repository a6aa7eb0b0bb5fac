"""Images as batches: read, augmented, shuffled, divided among workers.

The same seed, epoch and step always give the same batch, whatever else runs before or in parallel.
"""
from __future__ import annotations

import contextlib
from typing import Any, Callable, Iterable, Iterator

import numpy as np
import tensorflow as tf

from ..errors import ArgumentError
from ..images.preprocessing import Preprocessing
from ..images.python_calls import make_graphs_to_send
from .augment import Augmentation, parse_augmentation
from .image_functions import trace_image_functions
from .reading_errors import READING_ERRORS, explain_tensorflow_error
from .pixel_values import check_fits_images
from .seeds import fold_seed
from .source import DataSource
from .source_reading import check_stream, make_paths_absolute, process_images, read_in_order, read_stream
from .sources import open_source
from .unreadable import UnreadableImages

_AUTOTUNE = tf.data.AUTOTUNE
# TensorFlow reserves the memory of a batch before it reads one; if that fails, it ends the process
_MAX_BATCH = 2 ** 20
# Of `make_steps`: more batches at once take longer to begin; TensorFlow would find the best number of images
# anew in each batch
_STEPS_AT_ONCE, _STEP_IMAGES = 2, 16
ImageFunction = Callable[[tf.Tensor], tf.Tensor]


class ImageDataset:
    """A source of images as `tf.data` batches of (images, labels), one epoch at a time.

    If the images have weights, the batches are (images, labels, weights).

    Give either `augmentation`, for training, or `prepare`, for evaluation.

    Args:
        data: the images, as `reskeras.train.sources.open_source` takes them.
        batch_size: number of images in a step, over all workers.
        augmentation: for training: every epoch is shuffled and augmented in its own way, and has whole
            batches only.
        prepare: for evaluation: a function from an image's bytes or pixels to the input of the net.  Every
            image comes once, in order; the last batch may be smaller.
        normalize: a function that is applied to the pixels (0..255) after the augmentation.
        classes: number of classes; with mixup or cutmix the labels are class probabilities.
        seed: the random seed of order and augmentation.
        worker: the number of this worker, from 0 on.
        workers: the number of workers; each one reads a different part of the images.
        deterministic: whether batches come in the same order each time; otherwise as they get ready.  The
            images of an epoch are the same either way.
        augmentation_repeats: how many times each drawn image is used in an epoch; the length of the
            epoch does not change (arXiv:1901.09335).
        max_unreadable: how many images may be unreadable; they are skipped, and listed in `unreadable_names`.
        excluded: indices of images to leave out, such as `unreadable` of an earlier run, so that a run that
            is resumed within an epoch has the same batches.
        split: "train" or "test", for data that have both.

    Raises:
        ArgumentError: for arguments that do not fit together.
    """

    def __init__(self, data: Any, batch_size: int, augmentation: str | Augmentation | None = None,
                 prepare: ImageFunction | None = None, *, normalize: ImageFunction | None = None,
                 classes: int | None = None, seed: int = 0, worker: int = 0, workers: int = 1,
                 deterministic: bool = True, augmentation_repeats: int = 1, max_unreadable: int = 100,
                 excluded: Iterable[int] = (), split: str = "train"):
        if (augmentation is None) == (prepare is None):
            raise ValueError("expected either augmentation, for training, or prepare, for evaluation")
        if not 0 <= worker < workers:
            raise ArgumentError("worker", worker, f"a number from 0 to {workers - 1}, for workers={workers}")
        if batch_size > _MAX_BATCH:
            raise ArgumentError("batch_size", batch_size, f"at most {_MAX_BATCH:,}")
        if batch_size < 1 or batch_size % workers:
            raise ArgumentError("batch_size", batch_size,
                                f"a multiple of workers={workers}, which share it evenly")
        self.source: DataSource = open_source(data, split)
        self.augmentation = None if augmentation is None else parse_augmentation(augmentation)
        if prepare is not None and self.source.is_resized:
            raise ArgumentError("data", self.source.name, "the original images, because these are smaller, "
                                "and results would not be those of the originals")
        if isinstance(prepare, Preprocessing):
            check_fits_images(prepare, self.source)
        self.prepare, self.normalize = prepare, normalize
        self.batch_size, self.worker, self.workers = batch_size, worker, workers
        self.seed, self.deterministic = seed, deterministic
        self.augmentation_repeats, self.max_unreadable = augmentation_repeats, max_unreadable
        self.classes = classes or len(self.source.classes)
        if self.augmentation is not None:
            self._check_training(self.augmentation)

        self._image_functions = trace_image_functions(self.augmentation, prepare)
        self._sent_images: dict[int, Any] = {}      # likewise, of `make_steps`; of each augmentation
        self._unreadable = UnreadableImages(self.source, max_unreadable, excluded)
        self.failure: Exception | None = None       # of Python that reads batches inside of TensorFlow

    def _check_training(self, augmentation: Augmentation) -> None:
        source, text = self.source, augmentation.text
        spec = source.pixel_spec
        if augmentation.size is None and (spec is None or None in spec[0]):
            raise ArgumentError("augmentation", text, "an operation that gives all images one size, such as "
                                "resize(224) or crop(224)")
        if spec is not None and (spec[1] != np.uint8 and not augmentation.has_values):
            raise ArgumentError("data", source.name, "uint8 pixels of 0 to 255 for this augmentation, not "
                                f"{np.dtype(spec[1]).name}", hint="reskeras.fit takes other types, too")
        augmentation.check_channels(source.channels)
        if augmentation.mixes_labels and not self.classes:
            raise ArgumentError("augmentation", text,
                                "no operation that mixes labels, unless classes= gives the number of classes")
        if source.stream is None and len(source) < self.batch_size:
            raise ArgumentError("batch_size", self.batch_size,
                                f"at most {len(source)}, the number of images of {source.name}")
        if source.stream is not None:
            check_stream(source, augmentation, self.augmentation_repeats)

    @property
    def is_training(self) -> bool:
        """Whether the batches are for training."""
        return self.augmentation is not None

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch.  Raises: TypeError for a stream."""
        whole, rest = divmod(len(self.source), self.batch_size)
        return whole + (0 if self.is_training else int(rest > 0))

    @property
    def can_be_unreadable(self) -> bool:
        """Whether the images come from files; pixels can always be read."""
        return self.source.pixel_spec is None

    @property
    def unreadable(self) -> list[int]:
        """The indices of the images that could not be read so far, and of those that are excluded."""
        return self._unreadable.indices

    @property
    def unreadable_names(self) -> list[str]:
        """The names of the images in `unreadable`."""
        return self._unreadable.names

    def describe_unreadable(self) -> str:
        """The names of the images in `unreadable`, and what is wrong with the first ones."""
        return self._unreadable.describe()

    def has_too_few_readable_images(self) -> bool:
        """Whether the images that could be read are too few for one batch; False for a stream."""
        source = self.source
        return source.stream is None and len(source) - len(self.unreadable) < self.batch_size

    def epoch_order(self, epoch: int) -> np.ndarray:
        """The images of this worker in an epoch: (index in the source, repetition number), int64 (N, 2)."""
        number = len(self.source)
        indices = np.arange(number)
        if self.is_training:
            indices = np.random.default_rng((self.seed, epoch)).permutation(number)
        repetitions = np.tile(np.arange(self.augmentation_repeats), number)[:number]
        order = np.stack([np.repeat(indices, self.augmentation_repeats)[:number], repetitions], 1)
        return order[self.worker::self.workers]

    def make_epoch(self, epoch: int = 0, first_step: int = 0) -> tf.data.Dataset:
        """The batches of an epoch from a step on; they are the same as in an epoch that began at step 0.

        Args:
            epoch: its number.
            first_step: batches to leave out.

        Returns:
            Batches of this worker, `batch_size / workers` images each.
        """
        worker_batch, seed = self.batch_size // self.workers, self._begin_epoch(epoch)
        if self.source.stream is None:
            data = read_in_order(self.source, self._find_readable(epoch)[first_step * worker_batch:])
        else:
            excluded = tf.constant(self.unreadable, tf.int64)
            data = self._read_stream(epoch).filter(lambda index, *_: tf.reduce_all(index != excluded))
            data = data.skip(first_step * worker_batch)
        data = process_images(self.source, data, self._image_functions, seed, _AUTOTUNE, self.deterministic)
        if self.can_be_unreadable:
            data = data.filter(self._unreadable.record)
        data = data.batch(worker_batch, drop_remainder=self.is_training)
        data = data.map(lambda _, index, x, target: (index, (x, *target)))
        if not self.is_training:
            data = data.map(lambda index, batch: batch)
        else:
            if self.source.stream is None:
                # whole batches for all workers; left-over images replace unreadable ones
                data = data.take(self.steps_per_epoch - first_step)
            data = data.enumerate(first_step).map(
                lambda step, batch: self._finish_batch(step, *batch, seed, epoch), _AUTOTUNE,
                deterministic=self.deterministic)
        options = tf.data.Options()
        options.deterministic = self.deterministic
        # the images are already divided among the workers
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        return data.with_options(options).prefetch(_AUTOTUNE)

    def count_steps(self, epoch: int) -> int:
        """Batches of this worker in an epoch without the images that are known to be unreadable."""
        images, worker_batch = len(self._find_readable(epoch)), self.batch_size // self.workers
        return min(self.steps_per_epoch, images // worker_batch) if self.is_training else -(
            -images // worker_batch)

    def make_steps(self, epoch: int = 0, first_step: int = 0) -> tf.data.Dataset:
        """The batches of `make_epoch`, each with its number and made by itself, so that machines share them.

        Args:
            epoch: its number.
            first_step: batches to leave out.

        Returns:
            (number of the batch, indices of its images that cannot be read, batch), as they get ready, each
            always the same.  Images that cannot be read are blank, and not replaced as in `make_epoch`.
        """
        worker_batch, seed = self.batch_size // self.workers, self._begin_epoch(epoch)
        order, source = tf.constant(self._find_readable(epoch)), make_paths_absolute(self.source)
        functions = self._sent_images.setdefault(
            id(self.augmentation), trace_image_functions(self.augmentation, self.prepare))

        def make_step(step: tf.Tensor) -> tf.data.Dataset:
            rows = order[step * worker_batch:(step + 1) * worker_batch]
            images = process_images(source, read_in_order(source, rows), functions, seed, _STEP_IMAGES)
            return images.batch(worker_batch, drop_remainder=self.is_training).map(
                lambda is_readable, index, x, target: (
                    step, index[~is_readable],
                    self._finish_batch(step, index, (x, *target), seed, epoch)))
        with make_graphs_to_send():
            return tf.data.Dataset.range(first_step, self.count_steps(epoch)).interleave(
                tf.autograph.experimental.do_not_convert(make_step), cycle_length=_STEPS_AT_ONCE,
                num_parallel_calls=_AUTOTUNE, deterministic=False)

    def _begin_epoch(self, epoch: int) -> tf.Tensor:
        """The random seed of an epoch."""
        return fold_seed(tf.constant([self.seed, 0], tf.int32), epoch)

    def _find_readable(self, epoch: int) -> np.ndarray:
        """`epoch_order` without the images that are known to be unreadable."""
        order = self.epoch_order(epoch)
        return order[~np.isin(order[:, 0], np.array(self.unreadable, int))]

    def iterate_batches(self, epoch: int = 0, first_step: int = 0) -> Iterator[tuple[tf.Tensor, ...]]:
        """The batches of `make_epoch`, one by one.  Raises: as `explain_errors`."""
        with self.explain_errors():
            yield from self.make_epoch(epoch, first_step)

    @contextlib.contextmanager
    def explain_errors(self) -> Iterator[None]:
        """A context manager for code that reads batches.

        Raises:
            ArgumentError: if more than `max_unreadable` images cannot be read; the message names them.
            ValueError: if the files of a stream are damaged or missing.
        """
        try:
            try:
                yield
            except tf.errors.OpError:
                if self.failure is None:
                    raise
                raise self.failure from None        # TensorFlow reports it as an unknown error
        except READING_ERRORS as error:
            raise ValueError(f"{self.source.name} cannot be read any more ({explain_tensorflow_error(error)}"
                             ")") from error
        except tf.errors.InvalidArgumentError as error:
            if self._unreadable.number <= self.max_unreadable:
                raise
            raise ArgumentError("max_unreadable", self.max_unreadable,
                                f"a higher limit, as too many images of {self.source.name} cannot be read: "
                                f"{self.describe_unreadable()}") from error

    def _read_stream(self, epoch: int) -> tf.data.Dataset:
        """This worker's part of a stream, shuffled for training; see `read_stream`."""
        seed = int(np.random.default_rng((self.seed, epoch)).integers(2 ** 31)) if self.is_training else None
        return read_stream(self.source, self.worker, self.workers, seed, self.batch_size)

    @tf.autograph.experimental.do_not_convert
    def _finish_batch(self, step: tf.Tensor, indices: tf.Tensor, batch: tuple[tf.Tensor, ...],
                      seed: tf.Tensor, epoch: int) -> tuple[tf.Tensor, ...]:
        """Flips, mixes and normalizes a batch; its labels become probabilities if images are mixed.

        A mixed image has its parts' weights, mixed in the same way.
        """
        x, y, *weights = batch
        if self.augmentation is not None:
            x = self.augmentation.flip_in_turns(x, indices, self.seed, epoch)
        if self.augmentation is not None and self.augmentation.mixes_labels:
            # no image has index -1, so this seed differs from the seeds of the images
            batch_seed = fold_seed(fold_seed(fold_seed(seed, -1), self.worker), step)
            y = tf.one_hot(y, self.classes) if y.dtype.is_integer else y
            numbers = y.shape[-1]
            columns = [y, *(tf.cast(w, y.dtype)[:, None] for w in weights)]
            x, y = self.augmentation.augment_batch(x, tf.concat(columns, 1), batch_seed)
            y, weights = y[:, :numbers], [y[:, numbers] for _ in weights]
        return (self.normalize(x) if self.normalize else x), y, *weights
