"""One row per checkpoint.  No framework is imported here."""
from __future__ import annotations

import os
import pathlib

FOLDER = pathlib.Path(__file__).parent / "embedded"


def default_tag(row: str) -> str | None:
    """The tag that the row's builder loads when nothing else is asked for."""
    return None


def embedded(row: str, tag: str | os.PathLike[str]) -> pathlib.Path | None:
    """The file of weights that come with the package, if `tag` names any."""
    file = FOLDER / f"{row}.{os.fspath(tag)}.keras"
    return file if file.is_file() else None
