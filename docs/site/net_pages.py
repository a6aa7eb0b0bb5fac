"""The page of a family: papers, structure, what it changes in its parent, its nets, and code that runs."""
from __future__ import annotations

import re

from page_pieces import make_code, make_table
from structure_drawing import draw_structure

from reskeras import catalog
from reskeras.builder import Variant
from reskeras.commands.family_page import find_parent
from reskeras.spec import find_differences
from reskeras.variants import FAMILIES, VARIANTS
from reskeras.weights.table import get_checkpoints, list_checkpoints


def list_nets(family: str) -> list[Variant]:
    """The nets of a family, in the order of the table."""
    return [variant for variant in VARIANTS.values() if variant.family == family]


def split_title(family: str) -> tuple[str, list[str]]:
    """The family's name, and the links to its papers."""
    title, *papers = re.split(r", (?=\[)", FAMILIES[family])
    return title, papers


def choose_example(family: str) -> Variant:
    """The net of a family that its page draws and builds: with published weights, else the first."""
    known = {checkpoint.variant for checkpoint in list_checkpoints()}
    nets = list_nets(family)
    wanted = {"resnet": "resnet50v1_5", "resnetv2": "resnetv2_50", "resnest": "resnest50",
              "senet": "seresnext50_32x4d", "resnet-rs": "resnetrs50"}.get(family)
    return next((net for net in nets if net.name == wanted),
                next((net for net in nets if net.name in known), nets[0]))


def make_snippet(net: Variant) -> str:
    """Code that builds and calls a net with random weights."""
    size = 32 if net.spec.input_size == 32 else 64 if net.family != "inception" else 96
    return ("import numpy as np\nimport reskeras\n\n"
            f"model = reskeras.{net.builder}(weights=None, classes=10, input_shape=({size}, {size}, 3))\n"
            f"print(model(np.zeros((1, {size}, {size}, 3))).shape)      # (1, 10)")


def make_family_page(family: str) -> str:
    """The page as Markdown.

    Args:
        family: a key of `FAMILIES`, such as "resnest".
    """
    title, papers = split_title(family)
    example = choose_example(family)
    lines = [f"# {title}", ""]
    if papers:
        lines += [f"Papers: {', '.join(paper.replace('[', '[arXiv:', 1) for paper in papers)}.", ""]
    lines += [f"## Structure of {example.builder}", "", draw_structure(example.builder, example.spec), "",
              *_describe_changes(example), "", "## Use it", "", make_code(make_snippet(example)), "",
              _describe_weights(example), "", "## Nets", "",
              make_table(("net", "pixels", "parameters (M)", "MACs (G)", "checkpoints", "top-1 (%)"),
                         map(_describe_net, list_nets(family))), "",
              "Cost is that of one image of the net's own size. Accuracy is as published, for the checkpoint "
              "that `weights=\"imagenet\"` loads.", "",
              f"`reskeras page {example.name} -o net.html` draws every layer of the net."]
    return "\n".join(lines) + "\n"


def _describe_changes(net: Variant) -> list[str]:
    parent = find_parent(net)
    if parent is None:
        return ["It was not made from a net of another family."]
    pairs = find_differences(net.spec, parent.spec)
    return [f"## What it changes in {parent.builder}", "",
            make_table(("field of the Spec", net.builder, parent.builder),
                       [(f"`{field}`", f"`{here}`", f"`{there}`") for field, (here, there) in pairs.items()]),
            "", f"In the shell: `reskeras show {net.name} --diff {parent.name}`."]


def _describe_weights(net: Variant) -> str:
    if not get_checkpoints(net.name):
        return "No published weights are known."
    return (f"[Published weights](../checkpoints/{net.name}.md): "
            f"`reskeras.{net.builder}()` loads the default ones.")


def _describe_net(net: Variant) -> tuple[object, ...]:
    cost, checkpoints = catalog.read_costs()[net.name], list(get_checkpoints(net.name).values())
    default = next((checkpoint for checkpoint in checkpoints if checkpoint.is_default), None)
    count = f"[{len(checkpoints)}](../checkpoints/{net.name}.md)" if checkpoints else ""
    return (f"`{net.builder}`", net.spec.input_size, f"{cost.params / 1e6:.2f}", f"{cost.macs / 1e9:.3f}",
            count, default.top1 if default and default.top1 else "")
