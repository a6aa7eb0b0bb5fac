"""Damages PNG, JPEG and TFRecord files, with right checksums over wrong content."""
from __future__ import annotations

import pathlib
import random
import struct
import tempfile
import zlib

from mutations import choose_integer, mutate_bytes


def mutate_png(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """One chunk, with its right checksum."""
    chunks, place = [], 8
    while place + 12 <= len(data):
        size = int.from_bytes(data[place:place + 4], "big")
        chunks.append([data[place + 4:place + 8], data[place + 8:place + 8 + size]])
        place += size + 12
    chunk = rng.choice(chunks)
    kind = rng.choice(("header", "content", "drop", "twice", "text", "pixels"))
    if kind == "header":
        head = bytearray(chunks[0][1])
        place = rng.choice((0, 4, 8, 9, 10, 11, 12))
        new = choose_integer(rng) if place < 8 else bytes([rng.choice((0, 1, 2, 3, 4, 6, 7, 8, 16, 255))])
        head[place:place + len(new)] = new
        chunks[0][1] = bytes(head)
    elif kind == "content":
        chunk[1] = mutate_bytes(chunk[1], rng)[1]
    elif kind == "drop":
        chunks.remove(chunk)
    elif kind == "twice":
        chunks.insert(rng.randrange(len(chunks)), list(chunk))
    elif kind == "text":
        bomb = zlib.compress(bytes(rng.choice((10, 50_000_000))))
        name = rng.choice((b"zTXt", b"iCCP", b"eXIf", b"acTL", b"tRNS", b"PLTE"))
        chunks.insert(1, [name, b"a\0\0" + bomb])
    else:
        pixels = [c for c in chunks if c[0] == b"IDAT"]
        if pixels:
            pixels[0][1] = zlib.compress(mutate_bytes(zlib.decompress(pixels[0][1]), rng)[1])
    body = [struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
            for name, content in chunks]
    return f"PNG {kind}", data[:8] + b"".join(body)


def mutate_jpeg(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """The content of one segment: sizes, tables, EXIF data."""
    markers, place = [], 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        markers.append(place)
        if data[place + 1] == 0xDA:
            break
        place += 2 + int.from_bytes(data[place + 2:place + 4], "big")
    start = rng.choice(markers)
    size = 2 + int.from_bytes(data[start + 2:start + 4], "big")
    segment = bytearray(data[start:start + size])
    for _ in range(rng.choice((1, 1, 3))):
        value = rng.choice((0, 1, 0x11, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        segment[rng.randrange(1, len(segment))] = value
    times = rng.choice((1, 1, 1, 0, 2, 50))
    changed = data[:start] + bytes(segment) * times + data[start + size:]
    return f"JPEG segment {segment[1]:02x}, {times} times", changed


def mutate_tfrecord(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """One record, with its right checksums."""
    records, place = [], 0
    while place + 16 <= len(data):
        size = int.from_bytes(data[place:place + 8], "little")
        records.append(data[place + 12:place + 12 + size])
        place += 16 + size
    index = rng.randrange(len(records))
    what, records[index] = (mutate_bytes if rng.random() < 0.5 else _mutate_example)(records[index], rng)
    return f"record, {what}", _write_records(records)


def _write_records(records: list[bytes]) -> bytes:
    import tensorflow as tf
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "records")
        with tf.io.TFRecordWriter(str(file)) as writer:
            for record in records:
                writer.write(record)
        return file.read_bytes()


def _mutate_example(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """The fields of a record."""
    import tensorflow as tf
    example = tf.train.Example.FromString(data)
    feature = example.features.feature
    kind = rng.choice(("label", "no label", "labels", "type", "no image", "images"))
    if kind == "label":
        label = rng.choice((-1, 0, 11, 10 ** 9, 2 ** 62, -2 ** 63))
        feature["image/class/label"].int64_list.value[:] = [label]
    elif kind == "labels":
        feature["image/class/label"].int64_list.value.extend([1, 2])
    elif kind == "images":
        feature["image/encoded"].bytes_list.value.append(b"x")
    elif kind == "type":
        feature["image/class/label"].float_list.value[:] = [1.0]
    else:
        del feature["image/class/label" if kind == "no label" else "image/encoded"]
    return kind, example.SerializeToString()
