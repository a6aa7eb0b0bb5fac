"""The page of a family: its papers, what it changes in its parent, its nets' cost and accuracy, weights."""
from __future__ import annotations

import os
import pathlib
import re
from typing import Any

from .. import catalog
from ..builder import Variant
from ..spec import find_differences
from ..variants import FAMILIES, VARIANTS
from ..weights.table import get_checkpoints
from . import html

# The families from whose nets those of a family were made; Inception's were made from none
PARENTS = {"resnet": ("plain",), "resnetv2": ("resnet",), "bit": ("resnetv2",), "wrn": ("resnet", "resnetv2"),
           "resnext": ("resnet",), "senet": ("resnet", "resnext"), "ecanet": ("resnet", "resnext"),
           "sknet": ("resnet", "resnext"), "resnest": ("resnet",), "resnet-rs": ("resnet", "senet"),
           "mlperf-tiny": ("resnet",)}
HEADER = ("net", "pixels", "parameters (M)", "MACs (G)", "checkpoints", "top-1 (%)", "of")


def find_parent(variant: Variant) -> Variant | None:
    """The net of a parent family that differs in the fewest fields; the first of the table among equals."""
    candidates = [other for other in VARIANTS.values() if other.family in PARENTS.get(variant.family, ())]
    return min(candidates, key=lambda other: len(find_differences(variant.spec, other.spec)), default=None)


def write_family_page(name: str, output: str | os.PathLike[str]) -> pathlib.Path:
    """Writes the page about the family of a net, and about that net in it.

    Args:
        name: name of the net.
        output: the page, an .html file.

    Returns:
        The path of the page.

    Raises:
        ValueError: for an unknown name, or a suffix other than .html.
        OSError: if it cannot be written.
    """
    variant, _, _ = catalog.find_variant(name)
    title, *papers = re.split(r", (?=\[)", FAMILIES[variant.family])
    family = [other for other in VARIANTS.values() if other.family == variant.family]
    search = html.tag("input", type="search", data_filters="nets", placeholder="filter", aria_label="filter")
    return html.write_page(output, html.page(
        title, *([html.tag("p", "Paper: ", *_links(papers))] if papers else []), _changes_section(variant),
        html.section("Nets", html.tag("div", search, class_="tools"),
                     html.sortable_table(HEADER, map(_variant_row, family), "nets"),
                     html.tag("p", "Cost of one image of the net's own size; accuracy as published for the "
                                   "checkpoint "
                                   "that weights=\"imagenet\" loads.", class_="small")),
        html.section(f"Weights of {variant.builder}", *_checkpoint_table(variant)),
        lead=f"{len(family)} nets; {variant.builder} is one of them.", style="tour.css net.css",
        script="table.js"))


def _links(papers: list[str]) -> list[Any]:
    """Links of Markdown, "[1512.03385](https://...)", in HTML."""
    matches = (re.fullmatch(r"\[(.*)\]\((.*)\)", paper) for paper in papers)
    return [part for match in matches if match
            for part in (html.tag("a", f"arXiv:{match[1]}", href=match[2]), " ")]


def _changes_section(variant: Variant) -> html.Html:
    parent = find_parent(variant)
    if parent is None:
        return html.section("What it changes", html.tag("p", "It was not made from a net of another family."))
    pairs = find_differences(variant.spec, parent.spec)
    return html.section("What it changes",
                        html.tag("p", f"{variant.builder} and the nearest net of the family that it comes "
                                      f"from: ",
                                 html.tag("code", f"reskeras show {variant.name} --diff {parent.name}")),
                        html.table(("field", variant.builder, parent.builder),
                                   [(field, *pair) for field, pair in pairs.items()]))


def _variant_row(variant: Variant) -> tuple[Any, ...]:
    cost, checkpoints = catalog.read_costs()[variant.name], list(get_checkpoints(variant.name).values())
    default = next((checkpoint for checkpoint in checkpoints if checkpoint.is_default), None)
    return (variant.builder, variant.spec.input_size, (f"{cost.params / 1e6:.2f}", cost.params),
            (f"{cost.macs / 1e9:.3f}", cost.macs), len(checkpoints) or "",
            default.top1 if default and default.top1 else "", default.tag if default else "")


def _checkpoint_table(variant: Variant) -> list[html.Html]:
    checkpoints = list(get_checkpoints(variant.name).values())
    if not checkpoints:
        return [html.tag("p", "No published weights are known.")]
    rows = [(c.name, c.source, c.dataset, c.license or "not given", c.input_size, c.top1 or "")
            for c in checkpoints]
    return [html.table(("checkpoint", "source", "trained on", "license", "pixels", "top-1 (%)"), rows)]
