"""TFRecord files in ImageNet's layout: image/encoded, image/class/label from 1 on, image/class/synset ...

Other programs number the classes from 0 on.  `open_records` finds the label of the first class, 0 or 1;
`read_records` subtracts it from all labels.
"""
from __future__ import annotations

import functools
import glob
import io
import os
import pathlib
from dataclasses import replace
from typing import Iterator

import numpy as np
import tensorflow as tf

from ..errors import ArgumentError, to_whole_number
from ..file_reading import open_regular_file, read_bytes, read_text
from ..files import atomic_write, write_text
from ..images.decode import decode_image
from ..remote_paths import copy_to_local, exists, find_remote_files, join_path, to_url
from .reading_errors import explain_tensorflow_error
from .source import DataSource, SourcePart, reduce_labels

_LABELS_FILE = "labels.txt"           # beside the files: lines such as "1:tench", as TF-Slim writes them


def _find_files(pattern: str) -> list[str]:
    """The files of a shell pattern, sorted.  Raises: FileNotFoundError if there are none."""
    if to_url(pattern):
        files = find_remote_files(to_url(pattern))
    else:
        files = sorted(f for f in glob.glob(os.path.expanduser(pattern)) if pathlib.Path(f).is_file())
    if not files:
        raise FileNotFoundError(f"tfrecord:{pattern}: no such files")
    return files


def read_class_names(pattern: str) -> tuple[str, ...]:
    """The names of the classes, from the file labels.txt beside the records; () if there is none.

    Raises:
        ValueError: if a line of labels.txt is not a number, a colon and a name.
    """
    path = join_path(os.path.dirname(_find_files(pattern)[0]), _LABELS_FILE)
    if not exists(path):
        return ()
    lines = read_text(path).splitlines()
    names = tuple(line.partition(":")[2] for line in lines)
    for line, name in zip(lines, names):
        if not name.strip():
            raise ValueError(f"{path}: {line[:40]!r}: expected a number, a colon and the name of a class")
    return names


def open_records(name: str, pattern: str, label_offset: int | None = None) -> DataSource:
    """The images of TFRecord files; every record is read once, to check it.

    Args:
        name: what the source is called in messages.
        pattern: a shell pattern of files.
        label_offset: 0 or 1, the label of the first class in the files; by default 0 if a record has the
            label 0, else 1.

    Raises:
        FileNotFoundError: if there are no such files.
        ValueError: for a file that is empty, damaged or not a TFRecord file; the message names it.
        OSError: if a file cannot be read.
    """
    files = _find_files(pattern)
    parts = _scan_files(files)
    if label_offset is None:
        label_offset = int(min(part.lowest for part in parts) > 0)
    parts = tuple(replace(part, lowest=part.lowest - label_offset, highest=part.highest - label_offset)
                  for part in parts)
    return DataSource(name, classes=read_class_names(pattern), label_offset=label_offset, known_parts=parts,
                      stream=functools.partial(read_records, pattern, label_offset))


def read_records(pattern: str, label_offset: int = 1) -> tf.data.Dataset:
    """(bytes of the image, label from 0 on) of each record.

    Several files are read at once, in an order that never changes.

    Args:
        pattern: a shell pattern of files.
        label_offset: the label of the first class in the files.
    """
    files = _find_files(pattern)

    def parse(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        encoded, label = _parse(record)
        return encoded, label - label_offset
    data = tf.data.Dataset.from_tensor_slices(files)
    read_file = _read_remote if to_url(pattern) else tf.data.TFRecordDataset
    data = data.interleave(read_file, cycle_length=min(16, len(files)),
                           num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return data.map(parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


@tf.autograph.experimental.do_not_convert
def _read_remote(file: tf.Tensor) -> tf.data.Dataset:
    """The records of a remote file, which has a local copy while it is read."""
    def read(url: bytes) -> Iterator[bytes]:
        with copy_to_local(url.decode()) as local:
            yield from tf.data.TFRecordDataset(str(local)).as_numpy_iterator()
    return tf.data.Dataset.from_generator(read, output_signature=tf.TensorSpec([], tf.string), args=(file,))


def _parse(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """(bytes of the image, label as in the file) of a record."""
    example = tf.io.parse_single_example(record, {"image/encoded": tf.io.FixedLenFeature([], tf.string),
                                                  "image/class/label": tf.io.FixedLenFeature([], tf.int64)})
    return example["image/encoded"], example["image/class/label"]


def _scan_files(files: list[str]) -> tuple[SourcePart, ...]:
    """Reads all records, whose checksums TensorFlow compares.

    Returns:
        For each file: how many images, and the lowest and highest label as written in the file.

    Raises:
        ValueError, OSError: as `open_records`.
    """
    if any(map(to_url, files)):
        return tuple(replace(part, name=file) for file in files for part in _scan_remote(file))
    for file in files:
        _check_lengths(file)
    data = tf.data.Dataset.from_tensor_slices(files).map(
        lambda file: reduce_labels(tf.data.TFRecordDataset(file).map(lambda record: _parse(record)[1])),
        num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    parts: list[SourcePart] = []
    try:
        for file, (images, lowest, highest) in zip(files, data.as_numpy_iterator()):
            parts.append(SourcePart(file, int(images), int(lowest), int(highest)))
    except (tf.errors.OpError, UnicodeDecodeError) as error:    # of the first file that has no result
        raise ValueError(f"{files[len(parts)]}: it has records that are damaged, or are not images with a "
                         f"label ({explain_tensorflow_error(error)})") from error
    return tuple(parts)


def _scan_remote(file: str) -> tuple[SourcePart, ...]:
    with copy_to_local(file) as local:
        return _scan_files([str(local)])


def _check_lengths(path: str) -> None:
    """Checks that the records fit into the file, by the length that is written at the start of each record.

    TensorFlow would allocate as much memory as a wrong length says.

    Raises:
        ValueError: if the records do not fit, or the file is empty.
        OSError: if the file cannot be read.
    """
    with open_regular_file(path) as file:
        descriptor = file.fileno()
        size, position = os.fstat(descriptor).st_size, 0
        if not size:
            raise ValueError(f"{path}: the file is empty; write it again, or leave it out")
        while position < size:
            os.lseek(descriptor, position, os.SEEK_SET)
            # a record is 8 bytes of length, 4 bytes of checksum, the data, 4 bytes of checksum
            position += int.from_bytes(os.read(descriptor, 8), "little") + 16
        if position > size:
            raise ValueError(f"{path}: its last record is cut off, or it is not a TFRecord file")


def write_records(source: DataSource, folder: str | os.PathLike[str], name: str = "train", shards: int = 16,
                  seed: int = 0) -> list[str]:
    """Writes images, shuffled, to `folder/name-00000-of-00016` and so on, and the class names beside them.

    Args:
        source: image files, which are copied as they are, or pixels, which become PNG files; not a stream.
        folder: where to write; it is created if it does not exist.
        name: the beginning of the files' names.
        shards: how many files.
        seed: the random seed of the order.

    Returns:
        The paths of the files.

    Raises:
        ArgumentError: for more shards than images.
        ValueError: for a file that is not an image; the message names it, and nothing is written.
        OSError: if the files cannot be written.
    """
    if not 1 <= (to_whole_number(shards) or 0) <= len(source):
        raise ArgumentError("shards", shards, f"1 to {len(source)}, the number of images")
    if source.value_channels or not source.has_files and not isinstance(source.images, np.ndarray):
        raise ValueError(f"{source.name}: TFRecord files are written of image files and of gray or RGB "
                         "pixels of 8 bits; other images are kept in .npy or .npz files")
    order = np.random.default_rng(seed).permutation(len(source))
    names = [f"{name}-{i:05d}-of-{shards:05d}" for i in range(shards)]
    paths = [join_path(folder, each) for each in names]
    # all files that are written beside `first` are moved to their final paths at the end of the block
    with atomic_write(paths[0]) as first:
        for shard, each in enumerate(names):
            with tf.io.TFRecordWriter(str(first.with_name(each))) as writer:
                for index in order[shard::shards]:
                    writer.write(_make_example(source, int(index)).SerializeToString())
        if source.classes:
            lines = "".join(f"{i}:{label}\n" for i, label in enumerate(source.classes, 1))
            write_text(first.with_name(_LABELS_FILE), lines)
    return [str(path) for path in paths]


def _make_example(source: DataSource, index: int) -> tf.train.Example:
    encoded, (height, width, channels) = _encode(source, index)
    label = int(source.labels[index])
    text = source.classes[label] if source.classes else str(label)
    is_jpeg, is_png = encoded.startswith(b"\xff\xd8\xff"), encoded.startswith(b"\x89PNG")
    file_name = pathlib.Path(source.image_name(index)).name
    values: dict[str, int | bytes] = {
        "image/encoded": encoded, "image/format": b"JPEG" if is_jpeg else b"PNG" if is_png else b"",
        "image/filename": file_name.encode(),
        "image/height": height, "image/width": width, "image/channels": channels,
        "image/colorspace": b"Grayscale" if channels == 1 else b"RGB", "image/class/label": label + 1,
        "image/class/synset": text.encode(), "image/class/text": text.encode()}
    features = {key: _make_feature(value) for key, value in values.items()}
    return tf.train.Example(features=tf.train.Features(feature=features))


def _encode(source: DataSource, index: int) -> tuple[bytes, tuple[int, ...]]:
    """The bytes of an image file, and the image's shape (height, width, channels)."""
    if source.has_files:
        encoded = read_bytes(source.images[index])
        try:
            return encoded, decode_image(encoded).shape
        except ValueError as error:
            raise ValueError(f"{source.images[index]}: {error}") from error

    from PIL import Image
    pixels = source.images[index]
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
    return file.getvalue(), pixels.shape


def _make_feature(value: int | bytes) -> tf.train.Feature:
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
