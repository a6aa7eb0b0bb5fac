"""Tables as Markdown, as plain text and as comma-separated values."""
from __future__ import annotations

import csv
import io
import pathlib
from typing import Any, Iterable, Sequence

from ..errors import make_printable
from ..terminal import print_text


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the cells are text already."""
    lines = (header, ["---"] * len(header), *rows)
    return "\n".join("| " + " | ".join(map(make_printable, line)) + " |" for line in lines)


def text_table(header: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """A table in plain text: the first column to the left, the others to the right."""
    lines = [[make_printable(cell) for cell in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*lines)]

    def align(line: list[str]) -> str:
        first, *others = (cell.rjust(width) if column else cell.ljust(width)
                          for column, (cell, width) in enumerate(zip(line, widths)))
        return "  ".join([first, *others]).rstrip()
    return "\n".join(map(align, lines))


def to_csv(header: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """A table as comma-separated values; NaN is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([["" if cell != cell else cell for cell in row] for row in rows])
    return text.getvalue()


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], file: pathlib.Path | None, *,
                markdown: bool, csv: bool) -> None:
    """Prints a table, and the path of the file that was written of it.

    Args:
        header: the headings.
        rows: the cells.
        file: what was written; then the table is printed only if a format is asked for.
        markdown: whether the table is printed as Markdown.
        csv: whether it is printed as comma-separated values.
    """
    if markdown:
        print_text(markdown_table(header, rows))
    elif csv:
        print_text(to_csv(header, rows).rstrip("\n"))
    elif file is None:
        print_text(text_table(header, rows))
    if file is not None:
        print_text(file)
