"""A folder of images in an object store: each class a folder, as on a disk."""
from __future__ import annotations

import pathlib
from typing import Sequence

import numpy as np

from ..errors import list_names
from ..images.image_files import is_hidden, select_images
from ..remote_paths import find_remote_files
from .source import DataSource


def open_remote_folder(name: str, url: str, splits: Sequence[str], all_splits: Sequence[str]) -> DataSource:
    """Opens URL/CLASS/IMAGE, or URL/train/CLASS/IMAGE beside URL/test or URL/val; the files are only listed.

    Args:
        name: what the source is called in messages.
        url: the folder.
        splits: the names of the folder for the split that is asked for.
        all_splits: the names of the folders for all splits.

    Raises:
        FileNotFoundError: if there are no files.
        ValueError: if there are no folders of classes with images.
        PermissionError, OSError, ImportError: if the store cannot be read.
    """
    url = url.rstrip("/")
    files = [file[len(url):].lstrip("/") for file in find_remote_files(url)]
    if not files:
        raise FileNotFoundError(f"{name}: no such folder, or no files in it")
    paths = [pathlib.PurePosixPath(file) for file in files]
    paths = [path for path in paths if not any(is_hidden(pathlib.Path(part)) for part in path.parts)]
    stray: list[str] = []
    top = {path.parts[0] for path in paths if len(path.parts) > 1}
    if "train" in top:
        chosen = [split for split in splits if split in top]
        if not chosen:
            raise ValueError(f"{name}: it has a folder train, but none named {' or '.join(splits)}")
        stray = [f"{url}/{path}" for path in paths if len(path.parts) == 1]
        stray += [f"{url}/{folder}/" for folder in sorted(top) if folder not in all_splits]
        url = f"{url}/{chosen[0]}"
        paths = [path.relative_to(chosen[0]) for path in paths if path.parts[0] == chosen[0]]

    by_class: dict[str, list[pathlib.PurePosixPath]] = {}
    for path in paths:
        if len(path.parts) > 1:
            by_class.setdefault(path.parts[0], []).append(path)
        else:
            stray.append(f"{url}/{path}")
    images: list[str] = []
    labels: list[int] = []
    for number, label in enumerate(sorted(by_class)):
        selected = select_images(sorted(by_class[label]))
        if not selected:
            raise ValueError(f"{name}: expected a folder for each class with images in it; {label} has none, "
                             f"but {list_names([str(path) for path in by_class[label]], 3)}")
        images += [f"{url}/{path}" for path in selected]
        labels += [number] * len(selected)
        stray += [f"{url}/{path}" for path in sorted(set(by_class[label]) - set(selected))]
    if not images:
        raise ValueError(f"{name}: expected a folder for each class with images in it")
    return DataSource(name, images, np.array(labels, "int64"), tuple(sorted(by_class)), left_out=tuple(stray))
