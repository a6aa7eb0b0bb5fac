"""Opens HDF5 files whose objects are all inside the file, so that reading one opens no other file.

HDF5 can take the bytes of a data set from another file (external storage, virtual data sets, external links).
In this way a file from a stranger could read any file of this machine, or wait for ever for a pipe.
"""
from __future__ import annotations

import contextlib
import functools
import io
import math
import os
import re
import zlib
from typing import IO, Any, Iterator

import h5py
import numpy as np
from h5py import h5a, h5d, h5i, h5l, h5o, h5p, h5t, h5z

from ..errors import name_damaged_file
from ..file_reading import Path, open_regular_file

# What compresses a data set, in the order in which h5py and h5repack apply it
_FILTERS = (h5z.FILTER_SHUFFLE, h5z.FILTER_DEFLATE, h5z.FILTER_FLETCHER32)
# A chunk has at most so many bytes, or as many as its data set if that is larger
_MIN_CHUNK_LIMIT = 2 ** 24
_MAX_CHUNKS = 2 ** 16           # of a data set
_MAX_TEXT = 2 ** 29             # bytes of all texts of an attribute, and of all attributes together
_MAX_PATH = 2000                # letters; long names of nested groups would take much more than the file
_MAX_OBJECTS = 2 ** 17          # of a file: ten times what a net of a thousand layers and its optimizer have


@contextlib.contextmanager
def open_hdf5(source: Path | IO[bytes], name: str = "") -> Iterator[h5py.File]:
    """Opens an HDF5 file to read, after it has checked everything in the file.

    It may contain groups, data sets of numbers, and attributes of numbers and texts.  Every object has
    one name, and none is a link to another file or to another object.

    Args:
        source: the path of a regular file, or a binary stream.
        name: what an error calls a stream.

    Returns:
        A context manager, which gives the open file.  All errors that libraries raise inside the block become
        ValueErrors that name the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a damaged file, or a file that contains something else; a folder, a pipe or a device.
        OSError: if it cannot be read.
    """
    with contextlib.ExitStack() as stack:
        if isinstance(source, (str, os.PathLike)):
            name, stream = os.fspath(source), stack.enter_context(open_regular_file(source))
        else:
            stream = source
        stack.enter_context(name_damaged_file(name, "an HDF5 file"))
        file = stack.enter_context(h5py.File(stream, "r"))
        _check_objects(file, _TextLimit(stream))
        yield file


def _check_objects(file: h5py.File, texts: _TextLimit) -> None:
    """Raises: ValueError for the first object that `open_hdf5` does not allow.

    Every object is checked before it is opened.
    """
    root = h5o.open(file.id, b"/")
    seen = {h5o.get_info(root).addr}
    waiting = [("", root)]
    while waiting:
        path, group = waiting.pop()
        _check_attributes(path or "/", group, texts)
        if _has_filters(group):     # the names could be larger than the file
            raise ValueError(f"{path or '/'} is a group with compressed names")
        for link in group:
            name = f"{path}/{link.decode('utf-8', 'replace')}"
            if len(name) > _MAX_PATH:
                raise ValueError(f"{name[:100]}... has more than {_MAX_PATH:,} letters")
            if group.links.get_info(link).type != h5l.TYPE_HARD:
                raise ValueError(f"{name} is a link to another file or object")
            info = h5o.get_info(group, link)
            if info.addr in seen:
                raise ValueError(f"{name} is an object that has two names")
            seen.add(info.addr)
            if len(seen) > _MAX_OBJECTS:
                raise ValueError(f"it has more than {_MAX_OBJECTS:,} objects")

            if info.type == h5o.TYPE_GROUP:
                waiting.append((name, h5o.open(group, link)))
            elif info.type == h5o.TYPE_DATASET:
                _check_dataset(name, h5o.open(group, link), texts)
            else:
                raise ValueError(f"{name} is neither a group nor a data set")


def _has_filters(group: Any) -> bool:
    plan = group.get_create_plist()
    h5i.inc_ref(plan)           # both objects close it
    return bool(h5p.PropDCID(plan.id).get_nfilters())       # only this class of h5py's has the method


def _check_dataset(name: str, dataset: Any, texts: _TextLimit) -> None:
    properties = dataset.get_create_plist()
    # check this before the shape is read: for the shape of a virtual data set HDF5 opens other files
    if properties.get_layout() == h5d.VIRTUAL or properties.get_external_count():
        raise ValueError(f"the bytes of {name} are in another file")
    if not _is_number(dataset.get_type()):
        raise ValueError(f"{name} does not consist of numbers")
    _check_attributes(name, dataset, texts)
    if properties.get_layout() == h5d.CHUNKED:
        _check_chunks(name, dataset, properties)


def _is_number(hdf5_type: Any) -> bool:
    """Whether a type of HDF5 is a number; h5py saves bool as an enumeration, bfloat16 as opaque bytes."""
    if isinstance(hdf5_type, h5t.TypeEnumID):
        return bool(hdf5_type.dtype.kind == "b")
    is_bfloat16 = isinstance(hdf5_type, h5t.TypeOpaqueID) and hdf5_type.get_size() == 2
    return is_bfloat16 or isinstance(hdf5_type, (h5t.TypeIntegerID, h5t.TypeFloatID))


def _check_attributes(name: str, item: Any, texts: _TextLimit) -> None:
    """Raises: ValueError for an attribute that could be larger in memory than in the file."""
    keys: list[bytes] = []
    h5a.iterate(item, keys.append)      # all names at once: HDF5 would sort them again for each index
    for key in keys:
        attribute = h5a.open(item, key)
        hdf5_type = attribute.get_type()
        if isinstance(hdf5_type, h5t.TypeStringID):
            if not hdf5_type.is_variable_str():
                if attribute.shape and hdf5_type.get_size() > _MAX_PATH:    # a list of names
                    raise ValueError(f"{name} lists names of more than {_MAX_PATH:,} letters")
                continue
            if attribute.shape is None:
                continue
            if not texts.has_room_for(math.prod(attribute.shape)):
                raise ValueError(f"the texts of the attribute {key.decode('utf-8', 'replace')} of {name} "
                                 f"can have more than {_MAX_TEXT:,} bytes")
            texts.add(attribute)
        elif not _is_number(hdf5_type):
            raise ValueError(f"the attribute {key.decode('utf-8', 'replace')} of {name} is neither numbers "
                             "nor texts")


class _TextLimit:
    """Limits the size of texts of variable length.

    HDF5 keeps such texts in "global heaps" of the file.  Many texts can be the same megabytes of a heap, so a
    small file can need much memory.  HDF5 tells the size of a text only after it has copied the text, so an
    upper limit of the size is used here: the size of the largest heap.
    """

    def __init__(self, stream: IO[bytes]):
        self._stream = stream
        self._file_size = stream.seek(0, io.SEEK_END)
        self._total = 0

    def has_room_for(self, count: int) -> bool:
        """Whether `count` texts have at most _MAX_TEXT bytes, if each has the size of the largest heap."""
        return count * self._file_size <= _MAX_TEXT or count * self._largest_heap <= _MAX_TEXT

    def add(self, attribute: Any) -> None:
        """Reads the texts of an attribute.

        Raises:
            ValueError: if one of a list is too long for a name, or those of all attributes are too large.
        """
        values = np.empty(attribute.shape, attribute.dtype)
        attribute.read(values)
        if attribute.shape and any(len(text) > _MAX_PATH for text in values.flat):
            raise ValueError(f"it lists names of more than {_MAX_PATH:,} letters")
        self._total += sum(map(len, values.flat))
        if self._total > _MAX_TEXT:
            raise ValueError(f"the texts of its attributes have more than {_MAX_TEXT:,} bytes")

    @functools.cached_property
    def _largest_heap(self) -> int:
        largest, start, data = 0, 0, b""
        self._stream.seek(0)
        while block := self._stream.read(2 ** 22):
            start, data = start + max(0, len(data) - 15), data[-15:] + block
            for match in re.finditer(rb"GCOL\x01...(.{8})", data, re.DOTALL):
                size = int.from_bytes(match[1], "little")
                if start + match.start() + size <= self._file_size:     # else HDF5 refuses it
                    largest = max(largest, size)
        return largest


def _check_chunks(name: str, dataset: Any, properties: Any) -> None:
    """Checks that a data set has few chunks, and that no compressed chunk unpacks to more than its size.

    HDF5 itself has no limit.
    """
    filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
    if filters != [f for f in _FILTERS if f in filters]:
        raise ValueError(f"{name} is compressed by a different method than gzip")
    itemsize = dataset.get_type().get_size()
    size = math.prod(properties.get_chunk()) * itemsize
    if size > max(math.prod(dataset.shape) * itemsize, _MIN_CHUNK_LIMIT):
        raise ValueError(f"{name} has chunks of {size:,} bytes, which is more than its own size")
    count = dataset.get_num_chunks()
    if count > _MAX_CHUNKS:
        raise ValueError(f"{name} has {count:,} chunks; at most {_MAX_CHUNKS:,} are expected")
    if h5z.FILTER_DEFLATE not in filters:
        return

    chunks: list[Any] = []
    dataset.chunk_iter(chunks.append)
    # a chunk that gzip would not shrink is stored without it, and has this bit set in its mask
    is_skipped = 1 << filters.index(h5z.FILTER_DEFLATE)
    for chunk in chunks:
        if not chunk.filter_mask & is_skipped:
            # gzip adds at most a thousandth to what it cannot compress
            if chunk.size > size + size // 1000 + 1024:
                raise ValueError(f"{name} has a compressed chunk of {chunk.size:,} bytes; a whole chunk has "
                                 f"only {size:,} bytes")
            data = dataset.read_direct_chunk(chunk.chunk_offset)[1]
            if len(zlib.decompressobj().decompress(data, size + 1)) != size:
                raise ValueError(f"{name} has a chunk that does not unpack to {size:,} bytes")
