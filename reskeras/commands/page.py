"""The page of a net: its graph, its layers and what they cost, before and after `optimize`, in one HTML file."""
from __future__ import annotations

import math
import os
import pathlib
import re
from typing import TYPE_CHECKING, Any

from . import html
from .cost import figures, megabytes, seen, times
from .open_model import Net, get_image_shape, open_model
from .shortcut_drawing import find_shortcuts

if TYPE_CHECKING:
    import keras

    from ..graph.cost.cost import Cost

COLUMNS = ("name", "kind", "group", "words", "stage", "block", "output", "size", "params", "macs", "activations", "field",
           "stride", "reads")
HEADINGS = ("layer", "kind", "stage", "output", "parameters", "MACs", "activations", "field", "stride")
GROUPS = {"conv": "convolution", "dense": "dense", "norm": "normalization", "act": "activation", "pool": "pooling, padding",
          "join": "addition, product, concatenation", "other": "other"}
# What a kind's name has in it decides its colour; the first that fits.
MARKS = (("GlobalAverage", "pool"), ("Conv", "conv"), ("Dense", "dense"), ("Norm", "norm"), ("Pool", "pool"), ("Padding", "pool"),
         ("Softmax", "act"), ("Activation", "act"), ("ReLU", "act"), ("Add", "join"), ("Multiply", "join"),
         ("Concatenate", "join"))


def page(what: Net | keras.Model, output: str | os.PathLike[str], size: int | None = None) -> pathlib.Path:
    """Writes the page of the net that `what` names to `output`.

    Arguments:
        what, size: as in `reskeras.commands.open_model.opened`.
        output: an .html file.
    Returns: its path.
    Raises: as `opened` and `reskeras.cost`; ValueError for another suffix, OSError where it cannot be written.
    """
    model = open_model(what, size, initializer="ones")       # the page shows no weights, and random ones take their time
    return html.write_page(output, build_page(model, size))


def build_page(model: keras.Model, size: int | None = None) -> html.Html:
    """The page of a model."""
    from ..graph.cost.cost import CONVENTION, measure_cost
    from ..graph.optimize import optimize_model
    shape = get_image_shape(model, size)
    fast, _ = optimize_model(model, proof=False)
    before, after = measure_cost(model, shape), measure_cost(fast, shape)
    last = before.last_map
    return html.page(
        model.name,
        html.tiles((f"{before.params / 1e6:.2f} M", "parameters"), (f"{before.macs / 1e9:.3f} G", "MACs"),
                   (f"{before.activations / 1e6:.2f} M", "activations"),
                   *([(seen(last), "pixels seen by a cell"), (times(last.stride), "pixels from cell to cell")] if last else []),
                   (megabytes(before.peak_bytes), "of activations at once"),
                   (f"{len(before.layers)} → {len(after.layers)}", "layers, as built and optimized")),
        html.tag("div", html.section("The net", *_graph_pane()), html.section("Layers", *_layers_pane()), class_="both"),
        html.section("Stages", html.table(("stage", "layers", "output", "parameters", "MACs", "activations", "field", "stride"),
                                          [(s.name, s.layers, *figures(s)) for s in before.stages])),
        html.section("As built and optimized", html.table(("", "as built", "optimized"), _comparison_rows(before, after)),
                     _small("Optimized: for inference, the same function in exact arithmetic; reskeras.optimize proves it.")),
        _small(f"{CONVENTION}. Activations are the outputs of convolutions and dense layers. The receptive field is of the layers "
              "on the way, beyond the border too; \"+ all\" where a gate or a norm sees the whole image. Memory is of one "
              "image's activations, each from the layer that makes it to the last that reads it."),
        html.tag("div", id="tip", role="status", hidden=""),
        html.embed_json("net", {"columns": COLUMNS, "blocks": len({layer.block for layer in before.layers}),
                          "versions": [_version_data(model, before), _version_data(fast, after)]}),
        lead=f"One image of {' x '.join(map(str, before.layers[0].output))}.", style="net.css", script="table.js net.js")


def _small(text: str) -> html.Html:
    return html.tag("p", text, class_="small")


def _graph_pane() -> list[html.Html]:
    button = {"type": "button"}
    colours = [html.tag("span", html.tag("i", class_=group), name) for group, name in GROUPS.items()]
    return [
        html.tag("div", html.tag("button", "as built", data_version=0, aria_pressed="true", **button),
                 html.tag("button", "optimized", data_version=1, aria_pressed="false", **button),
                 html.tag("button", "open all", id="expand", **button), html.tag("button", "close all", id="collapse", **button),
                 class_="tools"),
        html.tag("div", id="graph", class_="pane"),
        html.tag("div", html.tag("span", _stroke("identity"), "identity shortcut"),
                 html.tag("span", _stroke("projection"), "projection shortcut"), *colours, class_="key")]


def _stroke(kind: str) -> html.Html:
    line = html.tag("path", d="M0 5H34", class_=kind)
    return html.tag("svg", line, width=34, height=10)


def _layers_pane() -> list[html.Html]:
    return [
        html.tag("div", html.tag("input", id="search", type="search", placeholder="search layers ( / )", aria_label="search"),
                 html.tag("select", id="stage", aria_label="stage"), html.tag("select", id="kind", aria_label="kind"),
                 html.tag("span", id="left", class_="small", role="status"), class_="tools"),
        html.tag("div", html.tag("table", html.tag("thead", html.tag("tr", *(html.tag("th", h, scope="col") for h in HEADINGS))),
                                 html.tag("tbody"), id="layers", class_="sortable"), class_="pane")]


def _comparison_rows(before: Cost, after: Cost) -> list[tuple[Any, ...]]:
    """The sums, and how many layers of each colour there are."""
    rows: list[tuple[Any, ...]] = [(name, *(f"{getattr(c, key):,}" for c in (before, after)))
                                   for name, key in (("parameters", "params"), ("MACs", "macs"), ("activations", "activations"))]
    rows += [(name, *(megabytes(getattr(c, key)) for c in (before, after)))
             for name, key in (("memory at once", "peak_bytes"), ("memory of all activations", "total_bytes"))]
    counts = [(name, *(sum(_group_of(layer.kind) == group for layer in c.layers) for c in (before, after)))
              for group, name in GROUPS.items()]
    return rows + [(f"layers: {name}", *numbers) for name, *numbers in counts if any(numbers)]


def _version_data(model: keras.Model, found: Cost) -> dict[str, Any]:
    """What the page's script draws."""
    words = _described(model)
    layers = [(layer.name, layer.kind, _group_of(layer.kind), words.get(re.sub(r"#\d+", "", layer.name), ""), layer.stage,
               layer.block, " x ".join(map(str, layer.output)), math.prod(layer.output), layer.params, layer.macs,
               layer.activations, seen(layer), times(layer.stride), layer.reads) for layer in found.layers]
    return {"layers": layers, "shortcuts": {block: vars(s) for block, s in find_shortcuts(found.layers).items()}}


def _group_of(kind: str) -> str:
    return next((group for mark, group in MARKS if mark in kind), "other")


def _described(model: keras.Model, prefix: str = "") -> dict[str, str]:
    """Layer -> what it does, such as "3x3, stride 2, 32 groups"; inside nested models too."""
    found = {}
    for layer in model.layers:
        found[prefix + layer.name] = describe_layer(layer)
        if hasattr(layer, "layers"):
            found |= _described(layer, f"{prefix}{layer.name}/")
    return found


def describe_layer(layer: Any) -> str:
    parts = []
    window = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if window:
        parts.append("x".join(map(str, window if isinstance(window, (tuple, list)) else (window,))))
    for name, text in (("strides", "stride"), ("stride", "stride"), ("dilation_rate", "dilation")):
        value = getattr(layer, name, 1)
        value = value[0] if isinstance(value, (tuple, list)) else value
        if isinstance(value, int) and value > 1:
            parts.append(f"{text} {value}")
    if getattr(layer, "groups", 1) > 1:
        parts.append(f"{layer.groups} groups")
    activation = getattr(getattr(layer, "activation", None), "__name__", "linear")
    if activation != "linear":
        parts.append(activation)
    if getattr(layer, "rate", 0):
        parts.append(f"rate {layer.rate:g}")
    return ", ".join(parts)
