"""INDEX.tsv: the list of the exported files in a folder, one line each."""
from __future__ import annotations

import csv
import io
import pathlib
from typing import Any

from ..files import locked, write_text

INDEX_NAME = "INDEX.tsv"
FIELDS = ("variant", "file", "sha256", "bytes", "data", "accuracy", "command")


def update_index(folder: pathlib.Path, entry: dict[str, Any]) -> None:
    """Adds or replaces the line of one file, and drops those of files that no longer exist.

    When several programs do so at once, no program loses the line of another (if the system has file locks).

    Args:
        folder: an existing folder.
        entry: the FIELDS of the line, "file" at least; others become empty.
    Raises:
        ValueError: the folder has an INDEX.tsv with other columns.
        OSError: it cannot be written.
    """
    with locked(folder):
        lines = [line for line in read_index(folder)
                 if line["file"] != entry["file"] and (folder / line["file"]).exists()]
        lines.append({field: str(entry.get(field, "")) for field in FIELDS})

        text = io.StringIO()
        writer = csv.DictWriter(text, FIELDS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        write_text(folder / INDEX_NAME, text.getvalue())


def read_index(folder: pathlib.Path) -> list[dict[str, str]]:
    """The lines of a folder's INDEX.tsv, [] if there is none.  Raises: ValueError for other columns."""
    path = folder / INDEX_NAME
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, delimiter="\t")
        lines = list(reader)
    for number, fields in enumerate([reader.fieldnames or (), *lines], 1):
        if tuple(fields) != FIELDS or number > 1 and None in lines[number - 2].values():
            raise ValueError(f"{path}, line {number}: expected the columns {', '.join(FIELDS)}")
    return lines
