"""A CSV file as a table of cells, with the number of each line for messages about it."""
from __future__ import annotations

import csv
import io
import math
import pathlib
import re
from dataclasses import dataclass
from typing import NamedTuple, Sequence

import numpy as np

from ..errors import describe_error, make_printable
from ..file_reading import read_bytes
from ..images.image_files import IMAGE_SUFFIXES
from ..remote_paths import to_url

_MAX_BYTES = 2 ** 28
_LARGEST = float(np.finfo("float32").max)


class Row(NamedTuple):
    """A row of a table, and the number of its line in the file."""

    line: int
    cells: list[str]


@dataclass(frozen=True)
class Table:
    """A table in memory.

    Attributes:
        name: its name in messages.
        columns: their names.
        rows: the cells of each row, with the number of its line.
    """

    name: str
    columns: list[str]
    rows: list[Row]

    def error(self, row: Row, text: str) -> ValueError:
        """An error about a row."""
        return ValueError(f"{self.name}, line {row.line}: {make_printable(text)}")

    def list_cells(self, column: str) -> list[str]:
        """The cells of a column, without spaces around them."""
        index = self.columns.index(column)
        return [row.cells[index].strip() for row in self.rows]


def read_table(name: str, path: str) -> Table:
    """Reads a CSV file, and checks that each row has as many cells as there are columns.

    Args:
        name: what the table is called in messages.
        path: the file, whose cells are separated by commas, semicolons or tabs.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a damaged file; the message names the line.
    """
    file = to_url(path) or pathlib.Path(path).expanduser()
    try:
        text = _decode(name, read_bytes(file, _MAX_BYTES))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{name}: no such file") from error
    head = next((line for line in text.splitlines() if line.strip()), "")
    counts = {delimiter: re.sub('"[^"]*"', "", head).count(delimiter) for delimiter in "\t,;"}
    delimiter = max(counts, key=lambda d: counts[d])
    reader, rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append(Row(reader.line_num, cells))
    except csv.Error as error:
        hint = "a double quote is not closed" if "end of data" in str(error) else describe_error(error)
        raise ValueError(f"{name}, line {reader.line_num}: {hint}") from error
    if not rows:
        raise ValueError(f"{name}: the table is empty")
    table = Table(name, [cell.strip() for cell in rows[0].cells], rows[1:])
    _check_columns(table, rows[0])
    for row in table.rows:
        if len(row.cells) != len(table.columns):
            raise table.error(row, f"it has {len(row.cells)} cells, but there are {len(table.columns)} "
                              f"columns: {', '.join(table.columns[:8])}; put a cell that contains "
                              f"{delimiter!r} in double quotes")
    if not table.rows:
        raise ValueError(f"{name}: it has no row below the names of its columns")
    return table


def _decode(name: str, data: bytes) -> str:
    """The text of a file in UTF-8, with the mark of its beginning or without, or in UTF-16 with it."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[:error.start].count(b"\n") + 1
        raise ValueError(f"{name}, line {line}: not a text in UTF-8; save the table as UTF-8") from error
    if "\0" in text:
        line = text[:text.index("\0")].count("\n") + 1
        raise ValueError(f"{name}, line {line}: it has a zero byte, so it is no text")
    return text


def _check_columns(table: Table, head: Row) -> None:
    """Raises: ValueError for columns without a name or with the same, and a table without a line of names."""
    columns = table.columns
    if any(has_image_suffix(column) for column in columns):
        raise table.error(head, f"the first line must name the columns, such as image,label; it is "
                          f"{', '.join(columns[:4])}")
    if len(columns) < 2:
        raise table.error(head, f"it has one column, {columns[0]!r}: expected the path of an image and its "
                          "label, with a comma, a semicolon or a tab between them")
    twice = [column for column in columns if columns.count(column) > 1]
    if twice or not all(columns):
        raise table.error(head, f"two columns are called {twice[0]!r}" if twice and twice[0]
                          else "a column has no name")


def has_image_suffix(text: str) -> bool:
    """Whether a cell is the path of an image by its name."""
    return text.strip().lower().endswith((*IMAGE_SUFFIXES, ".npy"))


def to_number(text: str) -> float | None:
    """The number of a cell; None if it is none.  `float` would also take "1_000" and Arabic digits."""
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(nan|inf|infinity)", text, re.I | re.A):
        return None
    return float(text)


def read_numbers(table: Table, column: str, labels: Sequence[str] = ()) -> np.ndarray:
    """The numbers of a column, float32.

    Args:
        table: the table.
        column: the name of the column.
        labels: the columns of labels, of which it is one; for a hint.

    Raises:
        ValueError: for a cell that is no finite number; the message names the line.
    """
    values = []
    for row, cell in zip(table.rows, table.list_cells(column)):
        number = to_number(cell)
        if number is None or not math.isfinite(number) or abs(number) > _LARGEST:
            hint = "; write decimals with a point" if re.fullmatch(r"[+-]?\d+,\d+", cell) else ""
            if len(labels) > 1 and number is None:
                hint = hint or "; if this column is no label, name those that are: ?label=COLUMN,COLUMN"
            kind = "a finite number that float32 can hold" if number is not None else "a number"
            raise table.error(row, f"{column}={cell!r}: expected {kind}{hint}")
        values.append(number)
    return np.array(values, "float32")
