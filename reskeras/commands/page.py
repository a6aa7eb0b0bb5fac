"""`page`: a net as one HTML page: its graph, its layers and what they cost, before and after `optimize`."""
from __future__ import annotations

import math
import os
import pathlib
import re
from typing import TYPE_CHECKING, Any

from ..terminal import print_text
from . import html
from .cost import format_bytes, format_figures, format_receptive_field, format_size
from .open_model import ModelName, Size, get_image_shape, open_model
from .shortcut_drawing import find_shortcuts

if TYPE_CHECKING:
    import keras

    from ..graph.cost.cost import Cost

# What the page's script gets of each layer, and what the table of the layers shows
COLUMNS = ("name", "kind", "group", "description", "stage", "block", "output", "size", "params", "macs",
           "activations",
           "field", "stride", "reads")
HEADINGS = ("layer", "kind", "stage", "output", "parameters", "MACs", "activations", "field", "stride")

# Groups of layers, each with its color; a layer belongs to the first group whose mark is in its class name
GROUPS = {"conv": "convolution", "dense": "dense", "norm": "normalization", "act": "activation",
          "pool": "pooling, padding", "join": "addition, product, concatenation", "other": "other"}
MARKS = (("GlobalAverage", "pool"), ("Conv", "conv"), ("Dense", "dense"), ("Norm", "norm"), ("Pool", "pool"),
         ("Padding", "pool"), ("Softmax", "act"), ("Activation", "act"), ("ReLU", "act"), ("Add", "join"),
         ("Multiply", "join"), ("Concatenate", "join"))


def page(model: ModelName | keras.Model, output: str | os.PathLike[str] = "net.html", *,
         size: Size | None = None) -> pathlib.Path:
    """Writes a page about a net: its graph, its layers and what they cost, before and after `optimize`.

    Args:
        model: as in `reskeras.cost`.
        output: the page, an .html file.
        size: size of the images: pixels on a side, or (height, width).  By default the model's own.

    Returns:
        The path of the page.

    Raises:
        ArgumentError: for an unknown name, or if a size is missing.
        ValueError: for a model that has no graph, or an `output` with a suffix other than .html.
        OSError: if a file cannot be read or written.

    Example:
        >>> reskeras.page("resnest50", "resnest50.html")
        PosixPath('resnest50.html')
    """
    html.check_suffix(output)
    net = open_model(model, size,
                     initializer="ones")       # the page shows no weights, and random ones take time
    return html.write_page(output, build_page(net, size))


def print_result(page: pathlib.Path) -> int:
    """Prints the path of the page.  Returns: the exit code."""
    print_text(page)
    return 0


def build_page(model: keras.Model, size: Size | None = None) -> html.Html:
    """The page of a model."""
    from ..graph.cost.cost import CONVENTION, measure_cost
    from ..graph.optimize import optimize_model
    shape = get_image_shape(model, size)
    optimized, _ = optimize_model(model, check=False)
    before, after = measure_cost(model, shape), measure_cost(optimized, shape)
    versions = [_version_data(model, before), _version_data(optimized, after)]
    blocks = len({layer.block for layer in before.layers})
    return html.page(
        model.name,
        _summary(before, after),
        html.tag("div", html.section("The net", *_graph_pane()), html.section("Layers", *_layers_pane()),
                 class_="both"),
        html.section("Stages", html.table(
            ("stage", "layers", "output", "parameters", "MACs", "activations", "field", "stride"),
            [(stage.name, stage.layers, *format_figures(stage)) for stage in before.stages])),
        html.section("As built and optimized",
                     html.table(("", "as built", "optimized"), _comparison_rows(before, after)),
                     _small("Optimized: for inference, the same function in exact arithmetic; "
                            "reskeras.optimize checks it.")),
        _small(f"{CONVENTION}. Activations are the outputs of convolutions and dense layers. The receptive "
               f"field is that "
               "of the layers on the path, also beyond the border; \"+ all\" if a gate or a normalization "
               "sees the "
               "whole image. Memory is that of one image's activations, each from the layer that makes it to "
               "the last "
               "layer that reads it."),
        html.tag("div", id="tip", role="status", hidden=""),
        html.embed_json("net", {"columns": COLUMNS, "blocks": blocks, "versions": versions}),
        lead=f"One image of {' x '.join(map(str, before.layers[0].output))}.", style="net.css",
        script="table.js net.js")


def _summary(before: Cost, after: Cost) -> html.Html:
    """The figures on top of the page."""
    last = before.last_map
    view = [(format_receptive_field(last), "receptive field (pixels)"),
            (format_size(last.stride), "stride (pixels)")] if last else []
    return html.tiles(
        (f"{before.params / 1e6:.2f} M", "parameters"), (f"{before.macs / 1e9:.3f} G", "MACs"),
        (f"{before.activations / 1e6:.2f} M", "activations"), *view,
        (format_bytes(before.peak_bytes), "of activations at once"),
        (f"{len(before.layers)} → {len(after.layers)}", "layers, as built and optimized"))


def _small(text: str) -> html.Html:
    return html.tag("p", text, class_="small")


def _graph_pane() -> list[html.Html]:
    """Makes the place where the script draws the graph, with its buttons above and its legend below."""
    def button(text: str, **attributes: Any) -> html.Html:
        return html.tag("button", text, type="button", **attributes)
    colors = [html.tag("span", html.tag("i", class_=group), name) for group, name in GROUPS.items()]
    return [
        html.tag("div", button("as built", data_version=0, aria_pressed="true"),
                 button("optimized", data_version=1, aria_pressed="false"),
                 button("open all", id="expand"), button("close all", id="collapse"), class_="tools"),
        html.tag("div", id="graph", class_="pane"),
        html.tag("div", html.tag("span", _stroke("identity"), "identity shortcut"),
                 html.tag("span", _stroke("projection"), "projection shortcut"), *colors, class_="key")]


def _stroke(kind: str) -> html.Html:
    line = html.tag("path", d="M0 5H34", class_=kind)
    return html.tag("svg", line, width=34, height=10)


def _layers_pane() -> list[html.Html]:
    """The table of the layers, which the script fills, with the fields that filter it."""
    head = html.tag("thead", html.tag("tr", *(html.tag("th", heading, scope="col") for heading in HEADINGS)))
    return [
        html.tag("div", html.tag("input", id="search", type="search", placeholder="search layers ( / )",
                                 aria_label="search"),
                 html.tag("select", id="stage", aria_label="stage"),
                 html.tag("select", id="kind", aria_label="kind"),
                 html.tag("span", id="left", class_="small", role="status"), class_="tools"),
        html.tag("div", html.tag("table", head, html.tag("tbody"), id="layers", class_="sortable"),
                 class_="pane")]


def _comparison_rows(before: Cost, after: Cost) -> list[tuple[Any, ...]]:
    """The sums, and how many layers each group has."""
    costs = (before, after)
    rows: list[tuple[Any, ...]] = [
        (name, *(f"{getattr(cost, key):,}" for cost in costs))
        for name, key in (("parameters", "params"), ("MACs", "macs"), ("activations", "activations"))]
    rows += [(name, *(format_bytes(getattr(cost, key)) for cost in costs))
             for name,
             key in (("memory at once", "peak_bytes"), ("memory of all activations", "total_bytes"))]
    for group, name in GROUPS.items():
        numbers = [sum(_group_of(layer.kind) == group for layer in cost.layers) for cost in costs]
        if any(numbers):
            rows.append((f"layers: {name}", *numbers))
    return rows


def _version_data(model: keras.Model, cost: Cost) -> dict[str, Any]:
    """What the page's script draws of one version of the net."""
    descriptions = _describe_layers(model)
    layers = []
    for layer in cost.layers:
        name = re.sub(r"#\d+", "", layer.name)      # of a shared layer's second call, too
        layers.append((layer.name, layer.kind, _group_of(layer.kind), descriptions.get(name, ""), layer.stage,
                       layer.block,
                       " x ".join(map(str, layer.output)), math.prod(layer.output), layer.params, layer.macs,
                       layer.activations, format_receptive_field(layer), format_size(layer.stride),
                       layer.inputs))
    shortcuts = {block: vars(shortcut) for block, shortcut in find_shortcuts(cost.layers).items()}
    return {"layers": layers, "shortcuts": shortcuts}


def _group_of(kind: str) -> str:
    """The group of a layer by the name of its class."""
    return next((group for mark, group in MARKS if mark in kind), "other")


def _describe_layers(model: keras.Model, prefix: str = "") -> dict[str, str]:
    """Says what each layer does, such as "3x3, stride 2, 32 groups"; the layers of nested models too."""
    descriptions = {}
    for layer in model.layers:
        descriptions[prefix + layer.name] = describe_layer(layer)
        if hasattr(layer, "layers"):
            descriptions |= _describe_layers(layer, f"{prefix}{layer.name}/")
    return descriptions


def describe_layer(layer: Any) -> str:
    """What a layer does, in a few words: its window, stride, dilation, groups, activation and rate."""
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
