"""The one HTML writer: a page that is a single file, light and dark, readable on a phone and without a network.

Every function returns `Html`; whatever else goes in is text, and is escaped.
"""
from __future__ import annotations

import base64
import contextlib
import html
import io
import itertools
import json
import os
import pathlib
import re
import struct
import zlib
from typing import TYPE_CHECKING, Any, Iterable, Iterator, Mapping, Sequence

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#010203"     # what a figure draws in this colour takes the colour of the page's text
STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #667085; --line: #e4e7ec; --paper: #ffffff; --card: #f8f9fb;
  --hue: 37, 99, 235 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --soft: #98a2b3; --line: #2c3440; --paper: #12161c; --card: #1a2028; --hue: 96, 165, 250 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 54rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .3rem } h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem }
.lead, figcaption, .small { color: var(--soft) } figcaption, .small { font-size: .85rem }
.wide { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100% }
th, td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer }
[aria-sort=ascending] button::after { content: " \\2191" } [aria-sort=descending] button::after { content: " \\2193" }
th { color: var(--soft); font-weight: 500; font-size: .85rem } th:first-child, td:first-child { text-align: left }
.heat { table-layout: fixed; max-width: 34rem }
.heat th, .heat td { text-align: center; padding: .35rem 0; border: 1px solid var(--paper) }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem } .tiles > * { background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; padding: .7rem .9rem; margin: 0 }
.tiles b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums }
.pair { display: flex; flex-wrap: wrap; column-gap: 1.5rem } .pair > * { flex: 1 1 17rem }
.tiles figure { width: 7.5rem } figure { margin: .8rem 0 } figure svg { width: 100%; height: auto }
img { image-rendering: pixelated; display: block }
code { font: .9em ui-monospace, monospace; background: var(--card); padding: .1em .3em; border-radius: .25em;
  overflow-wrap: anywhere }
"""
_numbers = itertools.count()


class Html(str):
    """Text that is HTML already."""


def tag(name: str, /, *children: Any, **attributes: Any) -> Html:
    """`<name attribute="value">children</name>`; a trailing underscore, as in class_, is dropped, others are hyphens."""
    head = "".join(f' {k.rstrip("_").replace("_", "-")}="{html.escape(str(v))}"' for k, v in attributes.items())
    body = "".join(c if isinstance(c, Html) else html.escape(str(c), quote=False) for c in children)
    return Html(f"<{name}{head}>" + ("" if name in ("img", "input", "meta", "br") else f"{body}</{name}>"))


def page(title: str, *children: Any, lead: str = "", style: str = "", script: str = "") -> Html:
    """A whole document.

    Arguments:
        style, script: files beside this one, such as "net.css net.js", that go into the page.
    """
    head = tag("head", tag("meta", charset="utf-8"),
               tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
               tag("title", title), Html(f"<style>{STYLE}{beside(style)}</style>"))
    scripts = [Html(f"<script>{beside(script)}</script>")] if script else []
    body = tag("body", tag("h1", title), tag("p", lead, class_="lead"), *children, *scripts)
    return Html(f"<!doctype html>\n<html lang=\"en\">{head}{body}</html>\n")


def beside(names: str) -> str:
    return "\n".join(pathlib.Path(__file__).with_name(name).read_text(encoding="utf-8") for name in names.split())


def embed_json(id: str, value: Any) -> Html:
    """Data for the page's script: JSON that no text in it can break out of."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    return Html(f'<script type="application/json" id="{id}">{text}</script>')


def write_page(path: str | os.PathLike[str], page: Html) -> pathlib.Path:
    """Writes a page: whole, or not at all.  Raises: ValueError for another suffix than .html, OSError."""
    file = pathlib.Path(path)
    if file.suffix not in (".html", ".htm"):
        raise ValueError(f"{os.fspath(path)!r}: a page is an .html file")
    with replaced(file) as new:
        new.write_text(page, encoding="utf-8")
    return file


@contextlib.contextmanager
def replaced(file: pathlib.Path) -> Iterator[pathlib.Path]:
    """A path beside `file` to write to, which takes its place if the block succeeds.  Raises: OSError that names `file`."""
    new = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield new
        new.replace(file)
    except OSError as error:
        raise OSError(error.errno, f"{file} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


def section(heading: str, *children: Any) -> Html:
    return tag("section", tag("h2", heading), *children)


def table(header: Sequence[Any], rows: Iterable[Sequence[Any]]) -> Html:
    return tag("div", tag("table", tag("tr", *(tag("th", h) for h in header)),
                          *(tag("tr", *(tag("td", cell) for cell in row)) for row in rows)), class_="wide")


def sortable_table(header: Sequence[Any], rows: Iterable[Sequence[Any]], id: str) -> Html:
    """A table that sorts by a click (with table.js); a cell is a text, or (text, what it is sorted by)."""
    def cell(what: Any) -> Html:
        return tag("td", what[0], data_value=what[1]) if isinstance(what, tuple) else tag("td", what)
    return tag("div", tag("table", tag("thead", tag("tr", *(tag("th", h, scope="col") for h in header))),
                          tag("tbody", *(tag("tr", *map(cell, row)) for row in rows)), id=id, class_="sortable"), class_="wide")


def tiles(*facts: tuple[Any, Any]) -> Html:
    """(value, what it is), each on a card."""
    cards = (tag("div", tag("b", value), tag("span", name, class_="small")) for value, name in facts)
    return tag("div", *cards, class_="tiles")


def confusion_matrix(counts: np.ndarray, labels: Sequence[str], corner: str = "") -> Html:
    """A confusion matrix: rows are the truth; the fuller a cell, the darker."""
    def cell(n: int, whole: int) -> Html:
        shade = f"background: rgba(var(--hue), {0.12 + 0.6 * n / max(whole, 1):.2f})" if n else "color: var(--line)"
        return tag("td", n or "·", style=shade)
    rows = (tag("tr", tag("th", label), *(cell(int(n), int(row.sum())) for n in row)) for label, row in zip(labels, counts))
    return tag("div", tag("table", tag("tr", tag("th", corner), *(tag("th", label) for label in labels)), *rows, class_="heat"),
               class_="wide")


def picture(pixels: np.ndarray, width: int, alt: str) -> Html:
    """An image (H, W), (H, W, 1) or (H, W, 3) of bytes, `width` CSS pixels wide, inside the page."""
    return tag("img", src="data:image/png;base64," + base64.b64encode(encode_png(pixels)).decode(), style=f"width: {width}px", alt=alt)


def encode_png(pixels: np.ndarray) -> bytes:
    """The bytes of a PNG file of an image (H, W), (H, W, 1) or (H, W, 3) of uint8."""
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(pixels, np.uint8))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">2I5B", width, height, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def use_ink(ink: str, size: int = 10) -> contextlib.AbstractContextManager[None]:
    """What matplotlib draws inside has that ink, letters of `size` points, and two sides of its frame."""
    import matplotlib
    style: Any = {k: ink for k in ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")}
    return matplotlib.rc_context(style | {"axes.spines.top": False, "axes.spines.right": False, "font.size": size})


def figure(drawing: Figure, caption: str = "", titles: Mapping[str, str] | None = None) -> Html:
    """A matplotlib figure as inline SVG; what it draws in INK follows the page's light or dark.

    Arguments:
        titles: gid of an artist -> what shows where the pointer rests on it.
    """
    import matplotlib
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "font.family": "sans-serif"}):
        drawing.savefig(file, format="svg", transparent=True, bbox_inches="tight")
    svg = re.sub(r"<metadata>.*?</metadata>|\sxmlns(:\w+)?=\"[^\"]*\"", "", file.getvalue(), flags=re.S)
    svg = svg[svg.index("<svg"):].replace(INK, "currentColor")
    for gid, title in (titles or {}).items():
        svg = svg.replace(f'<g id="{gid}">', f'<g id="{gid}">{tag("title", title)}')
    prefix = f"f{next(_numbers)}-"                          # ids are the page's, not the figure's
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}", svg)
    return tag("figure", Html(svg), *([tag("figcaption", caption)] if caption else []))
