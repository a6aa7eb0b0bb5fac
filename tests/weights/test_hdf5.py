"""An HDF5 file is read only if all that it contains is inside of it, and no larger than it states."""
import io
import os
import struct
import threading
import time
import zlib

import h5py
import numpy as np
import pytest

from reskeras.weights import hdf5
from reskeras.weights.hdf5 import open_hdf5


def test_plain_files_are_read(tmp_path):
    path = tmp_path / "a.h5"
    random = np.random.default_rng(0).standard_normal((300, 70)).astype("float32")
    with h5py.File(path, "w") as file:
        file["group/numbers"] = random
        file["flags"], file["scalar"], file["empty"] = np.ones(3, bool), np.float64(2), np.zeros((0, 3))
        for name, how in {"chunked": {"chunks": (7, 70)}, "gzip": {"compression": "gzip"},
                          "all": {"compression": 9, "shuffle": True, "fletcher32": True}}.items():
            file.create_dataset(name, data=random, **how)
        file.create_dataset("resizable", data=random, maxshape=(None, None), compression="gzip")
        file.create_dataset("never written", (5,), "f4")
        file.attrs["name"], file.attrs["names"] = "a text", np.asarray([b"some", b"texts"])
        file.attrs["number"], file.attrs["one"] = 3, ["text"]
    for source in (path, str(path), io.BytesIO(path.read_bytes())):
        with open_hdf5(source) as file:
            for name in ("group/numbers", "chunked", "gzip", "all", "resizable"):
                np.testing.assert_array_equal(file[name], random)
            assert file.attrs["name"] == "a text" and file["scalar"][()] == 2


def add_external_storage(file, other):
    file.create_dataset("x", (10,), "u1", external=[(other, 0, 10)])


def add_external_storage_deep(file, other):
    file.create_group("a/b").create_dataset("x", (10,), "u1", external=[(other, 0, 10)])


def add_external_link(file, other):
    file["x"] = h5py.ExternalLink(other, "/x")


def add_soft_link(file, other):
    file["y"] = np.zeros(3)
    file["x"] = h5py.SoftLink("/y")


def add_virtual_dataset(file, other):
    layout = h5py.VirtualLayout((10,), "u1", maxshape=(None,))
    layout[:h5py.h5s.UNLIMITED] = h5py.VirtualSource(other, "x", (10,), maxshape=(None,))[:h5py.h5s.UNLIMITED]
    file.create_virtual_dataset("x", layout)


def add_cycle(file, other):
    file.create_group("a/b")
    file["a/b/a"] = file["a"]


def add_second_name(file, other):
    file["y"] = np.zeros(3)
    file["x"] = file["y"]


def add_texts(file, other):
    file["x"] = ["a", "b"]


def add_fixed_texts(file, other):
    file["x"] = np.asarray([b"a", b"b"])


def add_ragged(file, other):
    file.create_dataset("x", (3,), h5py.vlen_dtype("i4"))


def add_references(file, other):
    file.create_dataset("x", (3,), h5py.ref_dtype)


def add_compound(file, other):
    file["x"] = np.zeros(3, [("a", "f4"), ("b", "i4")])


def add_complex(file, other):
    file["x"] = np.zeros(3, "complex64")


def add_enum(file, other):
    file.create_dataset("x", (3,), h5py.enum_dtype({"a": 1}))


def add_subarray(file, other):
    pairs = h5py.h5t.array_create(h5py.h5t.NATIVE_FLOAT, (2,))
    h5py.h5d.create(file.id, b"x", pairs, h5py.h5s.create_simple((3,)))


def add_committed_type(file, other):
    file["x"] = np.dtype("f4")


def add_lzf(file, other):
    file.create_dataset("x", (30,), compression="lzf")


def add_huge_chunk(file, other):
    file.create_dataset("x", (3,), maxshape=(None,), chunks=(2 ** 27,))


def add_bomb_in_chunk(file, other):
    x = file.create_dataset("x", (30,), "f4", chunks=(30,), compression="gzip")
    x.id.write_direct_chunk((0,), zlib.compress(bytes(10 ** 6)))


def add_many_texts(file, other):
    """Which could all be the largest."""
    file.attrs["texts"] = ["text" * 16000] + ["a"] * 10_000


def add_object_attribute(file, other):
    file.attrs.create("x", file.ref, dtype=h5py.ref_dtype)


ATTACKS = {
    add_external_storage: "the bytes of /x are in another file",
    add_external_storage_deep: "the bytes of /a/b/x are in another file",
    add_external_link: "/x is a link to another", add_soft_link: "/x is a link to another",
    add_virtual_dataset: "the bytes of /x are in another file", add_cycle: "/a/b/a is an object that has two",
    add_second_name: "is an object that has two names",
    **dict.fromkeys([add_texts, add_fixed_texts, add_ragged, add_references, add_compound, add_complex,
                     add_enum, add_subarray],
                    "/x does not consist of numbers"),
    add_committed_type: "/x is neither a group", add_lzf: "/x is compressed by a different method than gzip",
    add_huge_chunk: "/x has chunks of 536,870,912 bytes",
    add_bomb_in_chunk: "/x has a chunk that does not unpack to 120 bytes",
    add_many_texts: "the texts of the attribute texts of / can have more than",
    add_object_attribute: "the attribute x of / is neither",
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_other_content_is_refused(tmp_path, attack):
    """The other file is a pipe: whoever opens it waits for ever."""
    other = tmp_path / "pipe"
    os.mkfifo(other)
    path = tmp_path / "bad.h5"
    with h5py.File(path, "w", libver="latest") as file:
        attack(file, str(other))

    caught = []
    thread = threading.Thread(target=lambda: caught.append(catch(path)), daemon=True)
    thread.start()
    thread.join(20)
    assert caught and type(caught[0]) is ValueError, caught
    assert str(caught[0]).startswith(f"{path} cannot be read as an HDF5 file")
    assert ATTACKS[attack] in str(caught[0])


def catch(path):
    try:
        with open_hdf5(path):
            return None
    except BaseException as error:
        return error


def test_damaged_files_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["group/numbers"] = np.arange(1000)
    data = (tmp_path / "a.h5").read_bytes()
    for name, damaged in {"truncated": data[:-100], "empty": b"", "other": b"text" * 99}.items():
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(ValueError, match=f"{name} cannot be read as an HDF5 file"), \
                open_hdf5(tmp_path / name) as file:
            np.asarray(file["group/numbers"])
    with pytest.raises(ValueError, match="is a folder; expected a regular file"), open_hdf5(tmp_path):
        pass
    with pytest.raises(FileNotFoundError), open_hdf5(tmp_path / "nothing.h5"):
        pass


def test_many_objects_take_no_time(tmp_path):
    """8,000 attributes of one object, and as many objects of one group."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as file:
        for i in range(8_000):
            file.attrs[str(i)] = i
            file.create_group(str(i))
    start = time.process_time()
    with open_hdf5(path):
        pass
    assert time.process_time() - start < 10


def test_too_many_objects_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5, "_MAX_OBJECTS", 100)
    monkeypatch.setattr(hdf5, "_MAX_CHUNKS", 10)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for i in range(100):
            file.create_group(str(i))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("x", data=np.zeros(100), chunks=(5,))
    for name, message in {"a.h5": "more than 100 objects", "b.h5": "/x has 20 chunks; at most 10"}.items():
        with pytest.raises(ValueError, match=message), open_hdf5(tmp_path / name):
            pass


def test_lists_of_texts_are_read_if_they_are_short(tmp_path, monkeypatch):
    """Keras lists the names of layers so; only the heap that has the texts counts, not the whole file."""
    monkeypatch.setattr(hdf5, "_MAX_TEXT", 2 ** 23)
    names = [f"layer {i}" for i in range(200)]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.ones(1_000_000)
        file.attrs["names"], file.attrs["none"] = names, h5py.Empty(h5py.string_dtype())
    with open_hdf5(tmp_path / "a.h5") as file:
        assert list(file.attrs["names"]) == names


def test_many_texts_that_are_the_same_megabyte(tmp_path):
    """4 GB, if they were read, of a file of one."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["x" * 1_000_000] + ["a"] * 3900
    data = bytearray(path.read_bytes())
    place = data.find(struct.pack("<I", 1_000_000))        # of the first reference: size, heap and index
    data[place:place + 16 * 3901] = data[place:place + 16] * 3901
    path.write_bytes(data)
    with pytest.raises(ValueError, match="layer_names of / can have more than"), open_hdf5(path):
        pass
