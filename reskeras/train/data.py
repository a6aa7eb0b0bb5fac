"""Images as batches: read, augmented, shuffled, shared among workers; the same ones again from seed, epoch and place."""
from __future__ import annotations

import contextlib
from typing import Any, Callable, Iterable, Iterator

import numpy as np
import tensorflow as tf

from .augment import Pipeline, folded, parse
from .sources import Source, source

AUTOTUNE = tf.data.AUTOTUNE
BUFFER = 16_384                     # records of a stream that are shuffled among each other
Image = Callable[[tf.Tensor], tf.Tensor]


class Data:
    """A source of images as `tf.data` batches of (images, labels), an epoch at a time.

    Arguments:
        what: as `reskeras.train.sources.source` takes it.
        batch: images per step of all workers together.
        pipeline: the augmentation, for training: shuffled, each epoch its own way, and only whole batches.
        prepare: a function from an image's bytes or pixels to what the net takes, for evaluation: every image once, in order,
            the last batch as small as it is.  One of the two.
        normalize: what becomes of pixels in 0..255 after the augmentation.
        classes: how many; the labels of pipelines with mixup or cutmix are shares of them.
        seed: of order and augmentation.
        worker, workers: this one's number and how many there are; each has its own images, together they have all.
        deterministic: whether batches come in the same order each time; otherwise as they are ready.  What is in an image of an
            epoch is the same either way.
        repeats: how often each drawn image is in an epoch of unchanged length (arXiv:1901.09335).
        limit: how many images may be unreadable before it is an error; they are left out, and `broken` names them.
        without: places of images to leave out, such as `unreadable` of an earlier run: a training that goes on at a step in the
            middle of an epoch has then the batches that it would have had.
    Raises: ValueError for what does not fit together.
    """

    def __init__(self, what: Any, batch: int, pipeline: str | Pipeline | None = None, prepare: Image | None = None, *,
                 normalize: Image | None = None, classes: int | None = None, seed: int = 0, worker: int = 0, workers: int = 1,
                 deterministic: bool = True, repeats: int = 1, limit: int = 100, without: Iterable[int] = (),
                 split: str = "train"):
        if (pipeline is None) == (prepare is None):
            raise ValueError("expected either a pipeline, for training, or prepare, for evaluation")
        if not 0 <= worker < workers:
            raise ValueError(f"worker={worker}: expected a number of 0 to {workers - 1}, for workers={workers}")
        if batch < 1 or batch % workers:
            raise ValueError(f"batch={batch}: expected a multiple of workers={workers}, to which it is dealt out evenly")
        self.source: Source = source(what, split)
        self.pipeline = None if pipeline is None else parse(pipeline)
        self.prepare, self.normalize, self.seed, self.repeats, self.limit = prepare, normalize, seed, repeats, limit
        self.batch, self.worker, self.workers, self.deterministic = batch, worker, workers, deterministic
        self.classes = classes or len(self.source.classes)
        if self.training and self.pipeline and self.pipeline.size is None and not isinstance(self.source.images, np.ndarray):
            raise ValueError(f"{self.pipeline.text!r}: images of a batch have one size; say one, as in resize(224) or crop(224)")
        if self.pipeline and self.pipeline.soft and not self.classes:
            raise ValueError(f"{self.pipeline.text!r} mixes labels: give classes=, how many there are")
        if self.training and self.source.stream is None and len(self.source) < batch:
            raise ValueError(f"batch={batch}: {self.source.name} has {len(self.source)} images, less than one batch")
        if repeats > 1 and self.source.stream is not None:
            raise ValueError(f"repeats={repeats}: {self.source.name} is a stream; repeated augmentation needs files or arrays")
        # traced once for all epochs; RandAugment's graph takes seconds
        self.augmented = tf.function(tf.autograph.experimental.do_not_convert(self.augment))
        self.without = set(without)
        self.lost = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.places = tf.Variable(tf.zeros([limit + 1], tf.int64), trainable=False)

    @property
    def training(self) -> bool:
        return self.pipeline is not None

    @property
    def steps(self) -> int:
        """Batches in an epoch.  Raises: TypeError for a stream."""
        whole, rest = divmod(len(self.source), self.batch)
        return whole + (0 if self.training else int(rest > 0))

    @property
    def unreadable(self) -> list[int]:
        """The places of images that could not be read so far, or are left out."""
        with tf.init_scope():       # also where a function is traced
            return sorted(self.without | set(self.places.numpy()[:int(self.lost)].tolist()))

    @property
    def broken(self) -> list[str]:
        """What those images are called."""
        return [self.source.called(place) for place in self.unreadable]

    def order(self, epoch: int) -> np.ndarray:
        """(place in the source, which repetition) of this worker's images in an epoch."""
        number = len(self.source)
        places = np.arange(number) if not self.training else np.random.default_rng((self.seed, epoch)).permutation(number)
        rounds = np.tile(np.arange(self.repeats), number)[:number]
        order = np.stack([np.repeat(places, self.repeats)[:number], rounds], 1)
        return order[self.worker::self.workers]

    def epoch(self, number: int = 0, start: int = 0) -> tf.data.Dataset:
        """The batches of an epoch from step `start` on, which are the same whether it began there or came from step 0."""
        local = self.batch // self.workers
        known = self.unreadable
        seed = folded(tf.constant([self.seed, 0], tf.int32), number)
        if self.source.stream is None:
            order = self.order(number)
            data = self.fetched(order[~np.isin(order[:, 0], np.array(known, int))][start * local:])
        else:
            places = tf.constant(known, tf.int64)
            data = self.streamed(number).filter(lambda place, *_: tf.reduce_all(place != places)).skip(start * local)
        data = self.read(data, seed)
        data = data.batch(local, drop_remainder=self.training)
        if self.training:
            # whole batches of all workers; what is beyond them stands in for images that cannot be read
            data = data if self.source.stream is not None else data.take(self.steps - start)
            data = data.enumerate(start).map(lambda step, batch: self.finished(step, batch, seed), AUTOTUNE,
                                             deterministic=self.deterministic)
        options = tf.data.Options()
        options.deterministic = self.deterministic
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF    # they are shared already
        return data.with_options(options).prefetch(AUTOTUNE)

    def batches(self, number: int = 0, start: int = 0) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        """The same, one by one.  Raises: as `named`."""
        with self.named():
            yield from self.epoch(number, start)

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """Around whatever reads batches.  Raises: ValueError that names them where more than `limit` images cannot be read."""
        try:
            yield
        except tf.errors.InvalidArgumentError as error:
            if int(self.lost) <= self.limit:
                raise
            raise ValueError(f"{self.source.name}: more than limit={self.limit} images cannot be read: "
                             f"{', '.join(self.broken)}") from error

    def fetched(self, order: np.ndarray) -> tf.data.Dataset:
        """(place, repetition, path or pixels, label) in that order."""
        images, labels = tf.constant(self.source.images), tf.constant(self.source.labels)
        return tf.data.Dataset.from_tensor_slices(order).map(
            lambda line: (line[0], line[1], tf.gather(images, line[0]), tf.gather(labels, line[0])))

    def streamed(self, epoch: int) -> tf.data.Dataset:
        assert self.source.stream is not None
        data = self.source.stream().enumerate().shard(self.workers, self.worker)
        if self.training:
            data = data.shuffle(BUFFER, seed=int(np.random.default_rng((self.seed, epoch)).integers(2 ** 31)))
        return data.map(lambda place, example: (place, tf.zeros([], tf.int64), *example))

    def read(self, data: tf.data.Dataset, seed: tf.Tensor) -> tf.data.Dataset:
        """(image, label); what cannot be read is counted and left out."""
        files = self.source.files

        def image(place: tf.Tensor, repetition: tf.Tensor, x: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, ...]:
            x = tf.io.read_file(x) if files else x
            return tf.constant(True), place, self.augmented(x, folded(folded(seed, place), repetition)), label
        image = tf.autograph.experimental.do_not_convert(image)
        if data.element_spec[2].dtype != tf.string:
            return data.map(image, AUTOTUNE, deterministic=self.deterministic).map(lambda _, place, x, label: (x, label))
        spec = data.map(image).element_spec[2]

        def attempt(place: tf.Tensor, repetition: tf.Tensor, x: tf.Tensor, label: tf.Tensor) -> tf.data.Dataset:
            one = tf.data.Dataset.from_tensors((place, repetition, x, label)).map(image).ignore_errors()
            blank = (tf.constant(False), place, tf.zeros([side or 1 for side in spec.shape], spec.dtype), label)
            return one.concatenate(tf.data.Dataset.from_tensors(blank)).take(1)
        data = data.interleave(tf.autograph.experimental.do_not_convert(attempt), cycle_length=16, num_parallel_calls=AUTOTUNE,
                               deterministic=self.deterministic)
        return data.filter(self.readable).map(lambda _, place, x, label: (x, label))

    def augment(self, x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """An image, as the net is to be given it, but for what is done to batches."""
        if self.pipeline is not None:
            return self.pipeline.image(x, seed)
        assert self.prepare is not None
        return self.prepare(x)

    @tf.autograph.experimental.do_not_convert
    def readable(self, good: tf.Tensor, place: tf.Tensor, x: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        def note() -> tf.Tensor:
            count = self.lost.assign_add(1)
            where = tf.reshape(tf.minimum(count - 1, self.limit), [1, 1])
            kept = self.places.scatter_nd_update(where, place[None])
            enough = tf.debugging.Assert(count <= self.limit, ["more unreadable images than limit =", self.limit, "places in "
                                                               + self.source.name, kept], summarize=self.limit + 1)
            with tf.control_dependencies([enough]):
                return tf.constant(False)
        return tf.cond(good, lambda: tf.constant(True), note)

    @tf.autograph.experimental.do_not_convert
    def finished(self, step: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor], seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """A batch mixed and scaled, its labels whole numbers, or shares where it is mixed."""
        x, y = batch
        assert self.pipeline is not None
        if self.pipeline.soft:
            # no image is at place -1
            own = folded(folded(folded(seed, -1), self.worker), step)
            x, y = self.pipeline.batch(x, tf.one_hot(y, self.classes), own)
        return (self.normalize(x) if self.normalize else x), y
