"""The page of a family: its papers, what a net of it changes in its parent, its nets' cost and accuracy, its weights."""
from __future__ import annotations

import os
import pathlib
import re
from typing import Any

from .. import catalog
from ..spec import find_differences
from ..builder import Variant
from ..variants import FAMILIES, VARIANTS
from ..weights.table import Checkpoint, list_checkpoints
from . import html

# Of which family's nets each one's are made; Inception's are of their own.
PARENTS = {"resnet": ("plain",), "resnetv2": ("resnet",), "bit": ("resnetv2",), "wrn": ("resnet", "resnetv2"),
           "resnext": ("resnet",), "senet": ("resnet", "resnext"), "ecanet": ("resnet", "resnext"),
           "sknet": ("resnet", "resnext"), "resnest": ("resnet",), "resnet-rs": ("resnet", "senet"), "mlperf-tiny": ("resnet",)}


def find_parent(row: Variant) -> Variant | None:
    """The net of the parents' families with the fewest other fields, the first of the table among equals; None for none."""
    known = [other for other in VARIANTS.values() if other.family in PARENTS.get(row.family, ())]
    return min(known, key=lambda other: len(find_differences(row.spec, other.spec)), default=None)


def write_family_page(name: str, output: str | os.PathLike[str]) -> pathlib.Path:
    """Writes the page of the family of the net that `name` names, and of that net in it.

    Returns: its path.
    Raises: ValueError for an unknown name or another suffix than .html, OSError where it cannot be written.
    """
    row, _, _ = catalog.find_variant(name)
    title, *papers = re.split(r", (?=\[)", FAMILIES[row.family])
    nets = [other for other in VARIANTS.values() if other.family == row.family]
    search = html.tag("input", type="search", data_filters="nets", placeholder="filter", aria_label="filter")
    return html.write_page(output, html.page(
        title, *(html.tag("p", "Paper: ", *_linked(papers)),) * bool(papers), _ancestry(row),
        html.section("Nets", html.tag("div", search, class_="tools"),
                     html.sortable_table(("net", "pixels", "parameters (M)", "MACs (G)", "checkpoints", "top-1 (%)", "of"),
                                   map(_variant_row, nets), "nets"),
                     html.tag("p", "Cost of one image of the net's own size; accuracy as published of the checkpoint that "
                                   "weights=\"imagenet\" loads.", class_="small")),
        html.section(f"Weights of {row.builder}", *_checkpoint_table(row)),
        lead=f"{len(nets)} nets; {row.builder} among them.", style="tour.css net.css", script="table.js"))


def _linked(papers: list[str]) -> list[Any]:
    links = (re.fullmatch(r"\[(.*)\]\((.*)\)", paper) for paper in papers)
    return [part for link in links if link for part in (html.tag("a", f"arXiv:{link[1]}", href=link[2]), " ")]


def _ancestry(row: Variant) -> html.Html:
    other = find_parent(row)
    if other is None:
        return html.section("What it changes", html.tag("p", "It is made of no other family's nets."))
    pairs = find_differences(row.spec, other.spec)
    return html.section("What it changes",
                        html.tag("p", f"{row.builder} against the nearest net that it comes from: ",
                                 html.tag("code", f"reskeras show {row.name} --diff {other.name}")),
                        html.table(("field", row.builder, other.builder), [(field, *pair) for field, pair in pairs.items()]))


def _variant_row(row: Variant) -> tuple[Any, ...]:
    size, own = catalog.read_costs()[row.name], [w for w in list_checkpoints() if w.variant == row.name]
    best: Checkpoint | None = next((w for w in own if w.is_default), None)
    return (row.builder, row.spec.input_size, (f"{size.params / 1e6:.2f}", size.params), (f"{size.macs / 1e9:.3f}", size.macs),
            len(own) or "", best.top1 if best and best.top1 else "", best.tag if best else "")


def _checkpoint_table(row: Variant) -> list[html.Html]:
    own = [w for w in list_checkpoints() if w.variant == row.name]
    if not own:
        return [html.tag("p", "Nobody has published any that we know of.")]
    lines = [(w.name, w.source, w.dataset, w.license or "not given", w.input_size, w.top1 or "") for w in own]
    return [html.table(("checkpoint", "source", "trained on", "licence", "pixels", "top-1 (%)"), lines)]
