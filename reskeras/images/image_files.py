"""Which files of a folder are images, and which are left out."""
from __future__ import annotations

import os
import pathlib
from dataclasses import dataclass
from typing import TypeVar

# In lower case.  `decode.py` finds out the format by the content of a file, not by its suffix.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".png", ".apng", ".bmp", ".gif", ".webp", ".tif",
                  ".tiff", ".heic", ".heif", ".hif")
_Path = TypeVar("_Path", bound=pathlib.PurePath)

# What macOS and Windows add to folders and zip files of photos
_SYSTEM_NAMES = ("__MACOSX", "Thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class ImageFiles:
    """The files of a folder, sorted.

    Attributes:
        images: the files whose suffix is that of an image; if there are none, the .npy files.
        others: the other files, without those of the operating system.
    """

    images: list[pathlib.Path]
    others: list[pathlib.Path]


def find_image_files(folder: str | os.PathLike[str]) -> ImageFiles:
    """Finds the image files in a folder, at any depth.

    Hidden files and folders, such as .DS_Store and .ipynb_checkpoints, are left out.  So are __MACOSX and the
    files ._NAME: every zip file that was made on a Mac has them, and they are not images.

    Returns:
        The images, and the other files.  A broken link counts as a file; a folder or a pipe does not.
    """
    top = pathlib.Path(folder)
    files = [path for path in sorted(top.rglob("*")) if not _is_inside_hidden(path, top)
             and (path.is_file() or not path.exists())]
    images = select_images(files)
    is_image = set(images)
    return ImageFiles(images, [file for file in files if file not in is_image])


def select_images(files: list[_Path]) -> list[_Path]:
    """The images among the files of a folder, by their names; if there are none, the .npy files."""
    return [file for file in files if _has_image_suffix(file)] or [
        file for file in files if file.suffix.lower() == ".npy"]


def _has_image_suffix(path: pathlib.PurePath) -> bool:
    """Whether a file is an image by its name."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def is_hidden(path: pathlib.Path) -> bool:
    """Whether a file or folder belongs to the operating system or to a program, and not to a data set."""
    return path.name.startswith(".") or path.name in _SYSTEM_NAMES


def _is_inside_hidden(path: pathlib.Path, top: pathlib.Path) -> bool:
    return any(map(is_hidden, map(pathlib.Path, path.relative_to(top).parts)))
