"""Only regular files are opened; zip files that lie or inflate are refused before they take memory."""
import io
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from reskeras.file_reading import open_npz, open_regular_file, open_zip, read_bytes, read_member, read_text


def write_zip(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def save_array(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def make_array(shape, data=bytes(8000), descr="<f8"):
    """An .npy file that states a shape, whatever it has."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue() + data


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_only_regular_files_are_opened(tmp_path):
    (tmp_path / "a.txt").write_text("text\r\nmore")
    (tmp_path / "link").symlink_to("a.txt")
    assert read_bytes(tmp_path / "link") == b"text\r\nmore" and read_text(tmp_path / "link") == "text\nmore"

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link to pipe").symlink_to("pipe")
    (tmp_path / "loop").symlink_to("loop")
    for path, kind in {"pipe": "a pipe", "link to pipe": "a pipe", "/dev/zero": "a device",
                       ".": "a folder"}.items():
        for read in (open_regular_file, read_bytes, read_text, lambda path: open_zip(path).__enter__()):
            with pytest.raises(ValueError, match=f"is {kind}; expected a regular file"):
                read(tmp_path / path)
    with pytest.raises(OSError, match="loop"):
        read_bytes(tmp_path / "loop")
    with pytest.raises(FileNotFoundError, match="nothing"):
        read_bytes(tmp_path / "nothing")


def test_reads_are_bounded(tmp_path):
    file = tmp_path / "large"
    with file.open("wb") as stream:
        stream.truncate(2 ** 40)        # takes no room on the disk
    with pytest.raises(ValueError, match=r"large has 1,099,511,627,776 bytes; at most 2,147,483,648"):
        read_bytes(file)
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match=r"latin is not a text in UTF-8 \(byte 3"):
        read_text(tmp_path / "latin")


def test_a_good_zip_is_read(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a": b"1" * 5000, "b/c": b""})
    with open_zip(path) as archive:
        assert read_member(archive, "a") == b"1" * 5000 and read_member(archive, "b/c") == b""
    np.savez_compressed(tmp_path / "a.npz", x=np.arange(6.).reshape(2, 3), y=np.array("text"))
    with open_npz(tmp_path / "a.npz") as arrays:
        assert arrays["x"].shape == (2, 3) and arrays["y"] == "text" and arrays.files == ["x", "y"]


def make_attacks(folder):
    """Zip files that must be refused: (name of the file, part of the message)."""
    zeros, lie = make_array((1000,)), make_array((9999,))
    attacks = {
        "empty": ({}, "x is not a file in the archive"), "bzip2": ({"x.npy": zeros}, "method than Deflate"),
        "lzma": ({"x.npy": zeros}, "method than Deflate"),
        "header": ({"x.npy": lie}, r"says shape \(9999,\)"),
        "huge": ({"x.npy": make_array((10 ** 15,))}, "its size is different"),
        "negative": ({"x.npy": make_array((-1000,))}, "its size is different"),
        "twice negative": ({"x.npy": make_array((-1, -1000))}, "cannot be read"),
        "structure": ({"x.npy": make_array((1000,), descr=[("a", "<f4"), ("b", "|O")])}, "Python objects"),
        "objects": ({"x.npy": save_array(np.array([print], object))}, "Python objects"),
        "version 2": ({"x.npy": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + zeros}, "not a plain array"),
        "deep": ({"x.npy": zeros[:10] + b"(" * 118}, "cannot be read"),
        "not an array": ({"x.npy": b"abc"}, "cannot be read"), "nested": ({"x.npy": b"PK\3\4"}, "cannot be"),
    }
    methods = {"bzip2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA}
    for name, (members, message) in attacks.items():
        yield write_zip(folder / name, members, methods.get(name, zipfile.ZIP_DEFLATED)), message

    whole = write_zip(folder / "whole", {"x.npy": zeros}).read_bytes()
    for name, data in {"truncated": whole[:-40], "no zip": zeros, "zero bytes": b"",
                       "flipped": whole[:120] + bytes([whole[120] ^ 1]) + whole[121:]}.items():
        (folder / name).write_bytes(data)
        yield folder / name, "cannot be read as an .npz file"
    with pytest.warns(UserWarning, match="Duplicate"):
        with zipfile.ZipFile(folder / "twice", "w") as archive:
            archive.writestr("x.npy", zeros)
            archive.writestr("x.npy", lie)
    yield folder / "twice", "two of its members have the same name"
    # the flag of encryption, in the directory and before the member
    locked = whole.replace(b"PK\1\2\x14\3\x14\0\0\0", b"PK\1\2\x14\3\x14\0\1\0")
    assert locked != whole
    (folder / "encrypted").write_bytes(locked)
    yield folder / "encrypted", "is encrypted"


def test_bad_zip_files_are_refused(tmp_path):
    for path, message in make_attacks(tmp_path):
        with pytest.raises(ValueError, match=message) as caught, open_npz(path) as arrays:
            arrays["x"]
        assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value), path.name
        assert type(caught.value) is ValueError, path.name


BOUND = 400 * 2 ** 20       # bytes of address space over those that Python and NumPy have


def in_bounded_memory(code, *arguments):
    """Runs code in another process, its memory bounded after NumPy is imported; returns what it prints."""
    limit = ("import resource, sys, numpy, reskeras.file_reading as f; "
             "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize() "
             f"+ {BOUND}; resource.setrlimit(resource.RLIMIT_AS, (size, size))\n")
    return subprocess.run([sys.executable, "-c", limit + code, *map(str, arguments)], check=True, text=True,
                          capture_output=True, timeout=100).stdout


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="bounds memory as Linux does")
def test_bombs_take_no_memory(tmp_path):
    """1.2 GB of zeros; also in a member that states to have 1000 bytes."""
    bomb, liar = tmp_path / "bomb.zip", tmp_path / "liar.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("x.npy", "w") as stream:
            for _ in range(75):
                stream.write(bytes(2 ** 24))
    data = bomb.read_bytes()
    place = data.rindex(b"PK\1\2") + 24         # of the size in the directory
    liar.write_bytes(data[:place] + (1000).to_bytes(4, "little") + data[place + 4:])

    code = """
for path in sys.argv[1:]:
    try:
        with f.open_zip(path) as archive:
            print(len(f.read_member(archive, "x.npy")))
    except ValueError as error:
        print(error)
"""
    first, second = in_bounded_memory(code, bomb, liar).splitlines()
    assert "its members have 1,258,291,200 bytes; at most 1,073,741,824 are expected" in first
    assert "liar.zip cannot be read" in second and "MemoryError" not in second
