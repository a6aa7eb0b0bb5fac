"""The one HTML writer: a page is a single file, light or dark, readable on a phone and offline.

Every function returns `Html`; everything else that goes in is text, and is escaped.
"""
from __future__ import annotations

import base64
import contextlib
import html
import io
import itertools
import os
import pathlib
import re
import struct
import zlib
from typing import TYPE_CHECKING, Any, Iterable, Mapping, Sequence

import numpy as np

from ..errors import ArgumentError, make_printable
from ..files import write_text
from ..json_writer import to_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#010203"     # what a figure draws in this color is shown in the color of the page's text
_figure_numbers = itertools.count()


class Html(str):
    """Text that is HTML already."""


def tag(name: str, /, *children: Any, **attributes: Any) -> Html:
    """Makes `<name attribute="value">children</name>`.

    Args:
        name: name of the element.
        *children: `Html`, or anything else as escaped text.
        **attributes: a trailing underscore, as in class_, is left out; other underscores become hyphens.
    """
    head = "".join(f' {key.rstrip("_").replace("_", "-")}="{_escape(value, quote=True)}"'
                   for key, value in attributes.items())
    body = "".join(child if isinstance(child, Html) else _escape(child)
                   for child in children)
    return Html(f"<{name}{head}>" + ("" if name in ("img", "input", "meta", "br") else f"{body}</{name}>"))


def _escape(text: Any, quote: bool = False) -> str:
    """Text as HTML; escapes stand for characters that do not show, or that turn the direction of writing."""
    return html.escape("\n".join(map(make_printable, str(text).split("\n"))), quote)


def page(title: str, *children: Any, lead: str = "", style: str = "", script: str = "") -> Html:
    """A whole document.

    Args:
        title: its title and heading.
        *children: its sections.
        lead: a sentence below the heading.
        style: names of files in this folder, such as "tour.css net.css", whose text goes into the page.
        script: the same, such as "table.js net.js".
    """
    head = tag("head", tag("meta", charset="utf-8"),
               tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
               tag("title", title), Html(f"<style>{_read_assets(f'html.css {style}')}</style>"))
    scripts = [Html(f"<script>{_read_assets(script)}</script>")] if script else []
    body = tag("body", tag("h1", title), tag("p", lead, class_="lead"), *children, *scripts)
    return Html(f"<!doctype html>\n<html lang=\"en\">{head}{body}</html>\n")


def _read_assets(names: str) -> str:
    folder = pathlib.Path(__file__).parent
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names.split())


def embed_json(id: str, value: Any) -> Html:
    """Embeds data for the page's script, as JSON from which no text can break out."""
    text = to_json(value, indent=None, separators=(",", ":")).replace("<", "\\u003c")
    return Html(f'<script type="application/json" id="{id}">{text}</script>')


def check_suffix(path: str | os.PathLike[str]) -> None:
    """Raises: ArgumentError if `path` is not the name of an .html file."""
    if pathlib.Path(path).suffix not in (".html", ".htm"):
        raise ArgumentError("output", os.fspath(path), "the name of an .html file")


def write_page(path: str | os.PathLike[str], page: Html) -> pathlib.Path:
    """Writes a page, whole or not at all.

    Returns:
        Its path.

    Raises:
        ArgumentError: for a suffix other than .html.
        OSError: if it cannot be written.
    """
    check_suffix(path)
    write_text(path, page)
    return pathlib.Path(path)


def section(heading: str, *children: Any) -> Html:
    """A part of the page with its heading."""
    return tag("section", tag("h2", heading), *children)


def table(header: Sequence[Any], rows: Iterable[Sequence[Any]], wraps: bool = False) -> Html:
    """A table, which scrolls sideways if the screen is too narrow for it.

    Args:
        header: the headings.
        rows: the cells.
        wraps: whether long texts are broken into lines instead, so that nothing is cut off in print either.
    """
    return tag("div", tag("table", tag("tr", *(tag("th", heading) for heading in header)),
                          *(tag("tr", *(tag("td", cell) for cell in row)) for row in rows),
                          class_="wrap" if wraps else ""), class_="wide")


def sortable_table(header: Sequence[Any], rows: Iterable[Sequence[Any]], id: str) -> Html:
    """A table that is sorted by a click on a heading; the page needs the script table.js.

    Args:
        header: the headings.
        rows: each cell is a text, or a pair (text, value to sort by).
        id: id of the table in the page.
    """
    def make_cell(cell: Any) -> Html:
        return tag("td", cell[0], data_value=cell[1]) if isinstance(cell, tuple) else tag("td", cell)
    head = tag("thead", tag("tr", *(tag("th", heading, scope="col") for heading in header)))
    body = tag("tbody", *(tag("tr", *map(make_cell, row)) for row in rows))
    return tag("div", tag("table", head, body, id=id, class_="sortable"), class_="wide")


def tiles(*facts: tuple[Any, Any]) -> Html:
    """Cards with a value each, and below it what the value is."""
    cards = (tag("div", tag("b", value), tag("span", name, class_="small")) for value, name in facts)
    return tag("div", *cards, class_="tiles")


def confusion_matrix(counts: np.ndarray, labels: Sequence[str], corner: str = "") -> Html:
    """A confusion matrix: a cell is the darker, the larger its share of its row is.

    Args:
        counts: (classes, classes); a row for each true class, a column for each predicted one.
        labels: the names of the classes.
        corner: the text of the upper left cell.
    """
    def make_cell(count: int, total: int) -> Html:
        opacity = 0.12 + 0.6 * count / max(total, 1)
        style = f"background: rgba(var(--hue), {opacity:.2f})" if count else "color: var(--line)"
        return tag("td", count or "·", style=style)
    head = tag("tr", tag("th", corner), *(tag("th", label) for label in labels))
    rows = (tag("tr", tag("th", label), *(make_cell(int(count), int(row.sum())) for count in row))
            for label, row in zip(labels, counts))
    return tag("div", tag("table", head, *rows, class_="heat"), class_="wide")


def picture(pixels: np.ndarray, width: int, alt: str) -> Html:
    """An image inside the page.

    Args:
        pixels: (height, width), (height, width, 1) or (height, width, 3) of uint8.
        width: in pixels of CSS.
        alt: what is in the image, for those who do not see it.
    """
    data = base64.b64encode(encode_png(pixels)).decode()
    return tag("img", src=f"data:image/png;base64,{data}", style=f"width: {width}px", alt=alt)


def encode_png(pixels: np.ndarray) -> bytes:
    """The bytes of a PNG file of an image (height, width[, 1 or 3]) of uint8."""
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(pixels, np.uint8))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">2I5B", width, height, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows, 9)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def use_ink(color: str, size: int = 10) -> contextlib.AbstractContextManager[None]:
    """Inside the block matplotlib draws text and frames in a color, and two sides of a frame only."""
    import matplotlib
    colored = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    style: Any = dict.fromkeys(colored, color)
    style |= {"axes.spines.top": False, "axes.spines.right": False, "font.size": size}
    return matplotlib.rc_context(style)


def figure(drawing: Figure, caption: str = "", titles: Mapping[str, str] | None = None) -> Html:
    """A matplotlib figure as SVG inside the page; what it draws in INK follows the page's light or dark.

    Args:
        drawing: the figure.
        caption: the text below it.
        titles: the `gid` of an artist -> the text that is shown when the pointer rests on it.
    """
    import matplotlib
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "font.family": "sans-serif"}):
        drawing.savefig(file, format="svg", transparent=True, bbox_inches="tight")
    svg = re.sub(r"<metadata>.*?</metadata>|\sxmlns(:\w+)?=\"[^\"]*\"", "", file.getvalue(), flags=re.S)
    svg = svg[svg.index("<svg"):].replace(INK, "currentColor")
    for gid, title in (titles or {}).items():
        svg = svg.replace(f'<g id="{gid}">', f'<g id="{gid}">{tag("title", title)}')
    # an id may occur once in a page, and figures have the same ids
    prefix = f"f{next(_figure_numbers)}-"
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}", svg)
    return tag("figure", Html(svg), *([tag("figcaption", caption)] if caption else []))
