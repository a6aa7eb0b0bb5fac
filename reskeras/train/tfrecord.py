"""TFRecord files in the layout of ImageNet's: image/encoded, image/class/label from 1 on, image/class/synset ..."""
from __future__ import annotations

import glob
import io
import os
import pathlib
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from ..images.decode import decode

if TYPE_CHECKING:
    from .sources import Source

LABELS = "labels.txt"           # beside the files: "1:tench" and so on, as TF-Slim writes it


def files(pattern: str) -> list[str]:
    """The files of a pattern, in order.  Raises: FileNotFoundError."""
    found = sorted(f for f in glob.glob(os.path.expanduser(pattern)) if pathlib.Path(f).is_file())
    if not found:
        raise FileNotFoundError(f"tfrecord:{pattern}: no such files")
    return found


def classes(pattern: str) -> tuple[str, ...]:
    """What the file of labels beside them says, () where there is none."""
    path = pathlib.Path(files(pattern)[0]).with_name(LABELS)
    if not path.is_file():
        return ()
    return tuple(line.partition(":")[2] for line in path.read_text(encoding="utf-8").splitlines())


def read(pattern: str) -> tf.data.Dataset:
    """(bytes, label from 0 on) of each record; files are read beside each other, in an order that never changes."""
    names = files(pattern)
    features = {"image/encoded": tf.io.FixedLenFeature([], tf.string), "image/class/label": tf.io.FixedLenFeature([], tf.int64)}

    def example(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        found = tf.io.parse_single_example(record, features)
        return found["image/encoded"], found["image/class/label"] - 1
    data = tf.data.Dataset.from_tensor_slices(names)
    data = data.interleave(tf.data.TFRecordDataset, cycle_length=min(16, len(names)), num_parallel_calls=tf.data.AUTOTUNE,
                           deterministic=True)
    return data.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def write(source: Source, folder: str | os.PathLike[str], name: str = "train", shards: int = 16, seed: int = 0) -> list[str]:
    """Writes images to `folder/name-00000-of-00016` and so on, shuffled, and the classes' names beside them.

    Arguments:
        source: files, which are copied as they are, or pixels, which become PNG; no stream.
        shards: how many files.
    Returns: their paths.
    Raises: ValueError for a file that is no image, which it names: nothing is then written; OSError.
    """
    if shards < 1 or shards > len(source):
        raise ValueError(f"shards={shards}: expected 1 to {len(source)}, the number of images")
    target = pathlib.Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(seed).permutation(len(source))
    paths = [target / f"{name}-{i:05d}-of-{shards:05d}" for i in range(shards)]
    unfinished = [path.with_name(f".{path.name}.{os.getpid()}") for path in paths]
    try:
        for shard, path in enumerate(unfinished):
            with tf.io.TFRecordWriter(str(path)) as writer:
                for index in order[shard::shards]:
                    writer.write(_example_of(source, int(index)).SerializeToString())
        for new, path in zip(unfinished, paths):
            new.replace(path)
    finally:
        for new in unfinished:
            new.unlink(missing_ok=True)
    if source.classes:
        lines = "".join(f"{i}:{label}\n" for i, label in enumerate(source.classes, 1))
        (target / LABELS).write_text(lines, encoding="utf-8")
    return [str(path) for path in paths]


def _example_of(source: Source, index: int) -> tf.train.Example:
    if source.files:
        encoded = pathlib.Path(source.images[index]).read_bytes()
        try:
            height, width, channels = decode(encoded).shape
        except ValueError as error:
            raise ValueError(f"{source.images[index]}: {error}") from error
    else:
        from PIL import Image
        pixels = source.images[index]
        height, width, channels = pixels.shape
        file = io.BytesIO()
        Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(file, "PNG")
        encoded = file.getvalue()
    label = int(source.labels[index])
    text = source.classes[label] if source.classes else str(label)
    form = b"JPEG" if encoded.startswith(b"\xff\xd8\xff") else b"PNG" if encoded.startswith(b"\x89PNG") else b""
    values: dict[str, int | bytes] = {
        "image/encoded": encoded, "image/format": form, "image/filename": pathlib.Path(source.called(index)).name.encode(),
        "image/height": height, "image/width": width, "image/channels": channels,
        "image/colorspace": b"Grayscale" if channels == 1 else b"RGB", "image/class/label": label + 1,
        "image/class/synset": text.encode(), "image/class/text": text.encode()}
    return tf.train.Example(features=tf.train.Features(feature={key: feature(value) for key, value in values.items()}))


def feature(value: int | bytes) -> tf.train.Feature:
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
