"""The index of a shelf of exported files: one line each, kept up to date."""
from __future__ import annotations

import contextlib
import csv
import os
import pathlib
from typing import Any, Iterator

NAME = "INDEX.tsv"
FIELDS = ("variant", "file", "sha256", "bytes", "data", "accuracy", "command")


def record(shelf: pathlib.Path, entry: dict[str, Any]) -> None:
    """Adds or replaces the line of `entry["file"]`, and drops those of files that are gone.  The file is replaced whole.

    Of several writers at once none loses another's line (where the system has file locks).
    """
    with _locked(shelf):
        lines = [line for line in read(shelf) if line["file"] != entry["file"] and (shelf / line["file"]).exists()]
        lines.append({field: str(entry.get(field, "")) for field in FIELDS})
        new = shelf / f".{NAME}.new"
        with new.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, FIELDS, delimiter="\t", lineterminator="\n")
            writer.writeheader()
            writer.writerows(lines)
        new.replace(shelf / NAME)


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[None]:
    """Alone among the programs that do the same."""
    if os.name != "posix":
        yield
        return
    import fcntl
    held = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):      # a file system without locks
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def read(shelf: pathlib.Path) -> list[dict[str, str]]:
    """The lines of a shelf's index, [] where there is none.  Raises: ValueError for another table."""
    if not (shelf / NAME).is_file():
        return []
    with (shelf / NAME).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, delimiter="\t")
        lines = list(reader)
    for number, fields in enumerate([reader.fieldnames or (), *lines], 1):
        if tuple(fields) != FIELDS or number > 1 and None in lines[number - 2].values():
            raise ValueError(f"{shelf / NAME}, line {number}: expected the columns {', '.join(FIELDS)}")
    return lines
