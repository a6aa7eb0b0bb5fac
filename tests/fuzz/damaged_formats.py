"""Damages a file with knowledge of its format: members of zip files, headers, objects of HDF5.

A file with a wrong checksum is refused at once, so these write the right ones over wrong content.
"""
from __future__ import annotations

import io
import pathlib
import random
import struct
import zipfile
from typing import Callable

from damaged_graphs import mutate_onnx, mutate_tflite
from damaged_images import mutate_jpeg, mutate_png, mutate_tfrecord
from mutations import choose_integer, mutate_bytes, mutate_json_value, mutate_text

Mutator = Callable[[bytes, random.Random], tuple[str, bytes]]


def mutate_file(name: str, data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Damages a file, half of the time with knowledge of its format.

    Args:
        name: its name, whose ending says the format.
        data: its content.
        rng: decides what is done.

    Returns:
        What was done, and the new content.
    """
    suffix = "." + name.split(".", 1)[-1] if "." in name else name
    suffix = suffix if suffix in _MUTATORS else pathlib.Path(name).suffix
    mutator = _MUTATORS.get(suffix, mutate_bytes)
    if mutator is not mutate_text and rng.random() < 0.5:
        mutator = mutate_bytes
    try:
        what, changed = mutator(data, rng)
    except Exception:       # what was chosen cannot be written; an error of a chosen value that is too large
        what, changed = mutate_bytes(data, rng)
    return f"{name}: {what}", changed


def _mutate_json(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    return rng.choice((mutate_json_value, mutate_text))(data, rng)


# ---- zip: .npz, .keras, .pth


def _mutate_zip(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    index = rng.randrange(len(members))
    name, content = members[index]
    kind = rng.choice(("content", "content", "content", "content", "drop", "rename", "twice", "swap", "size"))
    if kind == "content":
        # the few small members, which describe the others, as often as those
        named = [i for i, (n, _) in enumerate(members) if n.endswith((".json", ".pkl", "about.npy"))]
        index = rng.choice(named) if named and rng.random() < 0.5 else index
        name, content = members[index]
        kind, content = mutate_file(name, content, rng)
        members[index] = name, content
    elif kind == "drop":
        del members[index]
    elif kind == "rename":
        members[index] = rng.choice(("../" + name, "/tmp/" + name, name + "x", "a" * 5000, "")), content
    elif kind == "twice":
        members.append((name, mutate_bytes(content, rng)[1]))
    elif kind == "swap":
        other = rng.randrange(len(members))
        members[index], members[other] = (name, members[other][1]), (members[other][0], content)
    stream = io.BytesIO()
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(stream, "w", method) as archive:
        for member, content in members:
            archive.writestr(member, content)
    changed = stream.getvalue()
    if kind == "size":      # the central directory states another size
        place = changed.rfind(b"PK\x01\x02") + rng.choice((20, 24, 42))
        changed = changed[:place] + choose_integer(rng) + changed[place + 4:]
    return f"zip {kind} of {name[:40]}", changed


def _mutate_npy(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """The header of an array: type, order, shape."""
    end = data.index(b"\n") + 1
    types = (b"|O", b"<c8", b"<U9", b"<f8", b"|V0", b"<f2", b"<i4", b"|b1", b"<M8[s]")
    shapes = (b"'shape': (0, ", b"'shape': (-1, ", b"'shape': (99999999999, ")
    changes = [(b"<f4", rng.choice(types)), (b"'shape': (", rng.choice(shapes)),
               (b"False", b"True"), (b"{", b"{" * 3000), (b"}", b", 'a': 1}")]
    old, new = rng.choice(changes)
    header = data[10:end].replace(old, new).rstrip() + b"\n"
    return "array header", data[:8] + struct.pack("<H", len(header) & 0xFFFF) + header + data[end:]


# ---- safetensors


def _mutate_safetensors(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    size = int.from_bytes(data[:8], "little")
    what, header = rng.choice((mutate_json_value, mutate_text))(data[8:8 + size], rng)
    return f"header, {what}", len(header).to_bytes(8, "little") + header + data[8 + size:]


# ---- HDF5


def _mutate_hdf5(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    import h5py
    import numpy as np
    stream = io.BytesIO(data)
    with h5py.File(stream, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name = rng.choice(names)
        datasets = [n for n in names if isinstance(file[n], h5py.Dataset)]
        array = rng.choice(datasets)
        kind = rng.choice(("drop", "rename", "group", "shape", "type", "values", "attribute", "link", "twice",
                           "external", "huge", "deep", "gzip", "region"))
        value = file[array][()]
        if kind == "drop":
            del file[name]
        elif kind == "rename":
            file.move(name, name + rng.choice(("x", "/deeper", "\u202e")))
        elif kind == "attribute":
            owner = file[rng.choice([n for n in names if len(file[n].attrs)] or names)]
            label = rng.choice(list(owner.attrs) or ["name"])
            owner.attrs[label] = rng.choice((1, 1.5, "x", b"\xff", np.zeros(3), ["a", "b"], "\x1b[2J",
                                             np.float32(np.nan), h5py.Empty("f4"), np.zeros((0,), "S1")))
        elif kind == "link":
            del file[name]
            file[name] = rng.choice((h5py.SoftLink("/"), h5py.ExternalLink("/etc/passwd", "/"),
                                     h5py.SoftLink("/nothing")))
        elif kind == "twice":
            file[f"{name}_other"] = file[rng.choice(names)]
        elif kind == "deep":
            file.create_group("/".join("a" * 1500))
        elif kind == "group":
            del file[name]
            file.create_group(name)
        else:
            del file[array]
            if kind == "shape":
                shapes = (-1,), (1, -1), (*value.shape, 1), value.shape[::-1]
                file[array] = value.reshape(rng.choice(shapes))
            elif kind == "type":
                file[array] = value.astype(rng.choice(("S8", "c8", "i4", "f2", "f8", "bool", "u1")))
            elif kind == "values":
                file[array] = np.full_like(value, rng.choice((np.nan, np.inf, 3e38, 0)))
            elif kind == "external":
                place = [("/etc/passwd", 0, value.nbytes)]
                file.create_dataset(array, value.shape, value.dtype, external=place)
            elif kind == "huge":
                file.create_dataset(array, rng.choice(((2 ** 40,), (2 ** 20, 2 ** 20), (0,), ())), "f4")
            elif kind == "gzip" and value.ndim:
                file.create_dataset(array, data=value, compression=rng.choice(("gzip", "lzf")))
            elif kind == "region":
                file.create_dataset(array, (3,), h5py.regionref_dtype)
    return f"HDF5 {kind}", stream.getvalue()


_MUTATORS: dict[str, Mutator] = {
    ".npz": _mutate_zip, ".keras": _mutate_zip, ".pth": _mutate_zip, ".npy": _mutate_npy,
    ".safetensors": _mutate_safetensors, ".weights.h5": _mutate_hdf5, ".h5": _mutate_hdf5,
    ".tflite": mutate_tflite, ".onnx": mutate_onnx, ".png": mutate_png, ".jpg": mutate_jpeg,
    ".tfrecord": mutate_tfrecord, ".json": _mutate_json, ".xml": mutate_text, ".csv": mutate_text}
