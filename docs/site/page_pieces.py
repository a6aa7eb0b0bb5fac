"""Pieces of Markdown that several generated pages share."""
from __future__ import annotations

from typing import Iterable, Sequence


def make_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; a cell's "|" does not end it."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |"
                     for line in lines)


def make_code(code: str, language: str = "python") -> str:
    """A block of code."""
    return f"```{language}\n{code.strip()}\n```"
