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

# arXiv's number -> title, authors and year
PAPERS = {
    "1512.03385": "Deep Residual Learning for Image Recognition (He et al. 2015)",
    "1602.07261": "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning "
                  "(Szegedy et al. 2016)",
    "1603.05027": "Identity Mappings in Deep Residual Networks (He et al. 2016)",
    "1605.07146": "Wide Residual Networks (Zagoruyko and Komodakis 2016)",
    "1611.05431": "Aggregated Residual Transformations for Deep Neural Networks (Xie et al. 2016)",
    "1709.01507": "Squeeze-and-Excitation Networks (Hu et al. 2017)",
    "1812.01187": "Bag of Tricks for Image Classification with Convolutional Neural Networks "
                  "(He et al. 2018)",
    "1903.06586": "Selective Kernel Networks (Li et al. 2019)",
    "1910.03151": "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks "
                  "(Wang et al. 2019)",
    "1912.11370": "Big Transfer (BiT): General Visual Representation Learning (Kolesnikov et al. 2019)",
    "2004.08955": "ResNeSt: Split-Attention Networks (Zhang et al. 2020)",
    "2103.07579": "Revisiting ResNets: Improved Training and Scaling Strategies (Bello et al. 2021)",
    "2106.07597": "MLPerf Tiny Benchmark (Banbury et al. 2021)"}


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
        links = [re.fullmatch(r"\[(.*)\](\(.*\))", paper).groups() for paper in papers]
        lines += ["Paper: " + "; ".join(f"{PAPERS[number]}, [arXiv:{number}]{url}" for number, url in links)
                  + ".", ""]
    lines += [f"## Structure of {example.builder}", "", draw_structure(example.builder, example.spec), "",
              *_describe_changes(example), "", "## Use it", "", make_code(make_snippet(example)), "",
              _describe_weights(example), "", "## Nets", "",
              make_table(("net", "pixels", "parameters (M)", "MACs (G)", "checkpoints", "top-1 (%)",
                          "license"),
                         map(_describe_net, list_nets(family))), "",
              "Cost is that of one image of the net's own size. Accuracy is as published, and the "
              "license is that of the weights, for the checkpoint that `weights=\"imagenet\"` loads.", "",
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
            count, default.top1 if default and default.top1 else "",
            (default.license or "not given") if default else "")
