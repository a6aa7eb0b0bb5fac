"""`pack`: writes the images of a data set into a packed store, from which trainings read pixels."""
from __future__ import annotations

import os
import pathlib
from typing import Any

from ..terminal import print_text
from ..train.packed_images import write_packed_images
from ..train.sources import open_source


def pack(data: Any, output: str | os.PathLike[str], *, size: int | None = None,
         split: str = "train") -> pathlib.Path:
    """Writes a packed store, the folder of "packed:FOLDER".

    Args:
        data: image files, or pixels of 8 bits, as `reskeras.fit` takes them; not a stream.
        output: a new folder, or a packed store to replace.
        size: pixels of the shorter side; smaller images stay as they are.  By default all do.
        split: "train", "validation" or "test", if the data have several.

    Returns:
        The path of the folder.

    Raises:
        ArgumentError: for images that cannot be packed.
        FileExistsError: if the folder exists and is not a packed store.
        ValueError: for a file that is not an image; nothing is written.
        OSError: if the files cannot be read or written.
    """
    return write_packed_images(open_source(data, split), output, size)


def print_result(folder: pathlib.Path) -> int:
    """Prints the folder and its size.  Returns: the exit code."""
    size = sum(file.stat().st_size for file in folder.iterdir())
    print_text(f"{folder}: {size / 2 ** 20:,.1f} MiB; train with --data packed:{folder}")
    return 0
