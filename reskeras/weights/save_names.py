"""Which of the names in name_rules.py a source gives a layer: the way from our names to PyTorch's files.

name_rules.py has every name that a layer may have in a file.  Here one of them is chosen, by the source's
file that builds the net (its *layout*) and by the Spec.

Example: our "conv2_block1_0_conv" is "layer1.0.downsample.0" or "layer1.0.downsample.1".  In a ResNet-D an
average pool comes before it, which PyTorch counts as number 0.
"""
from __future__ import annotations

import re
from typing import Collection

from ..spec import SK, AnySpec, Spec, SplitAttention
from .name_rules import get_pytorch_names

# The layouts are timm's files of these names; torchvision's resnet.py has the names of timm's resnet.py.
# Each has a pattern of how the names in it begin.
LAYOUTS = {
    "resnet": r"(conv1|bn1|maxpool|layer[1-9]\d*|fc)\.",
    "senet": r"(layer\d+|last_linear)\.",
    "resnetv2": r"(stem|stages|norm|head)\.",
    "inception_v4": r"(features|last_linear)\.",
    "inception_resnet_v2": r"(conv2d_\d\w|mixed_\d\w|repeat(_\d)?|block8|classif)\.",
}
_RESIDUAL_LAYER = re.compile(r"conv\d+_block\d+_(\d)_(conv|bn)")
_BRANCH_LAYER = re.compile(r"(\w+)_branch(\d)_(\d)(\w*)_(conv|bn)")
_REPEATED_BLOCK = re.compile(r"block(35|17|8)_(\d+)_.*")


def get_layout(source: str) -> str:
    """The layout of another package's net, a key of `LAYOUTS`.

    Args:
        source: its name there, such as "timm/legacy_seresnet50".
    """
    name = source.partition("/")[2]
    if name.startswith("legacy_"):
        return "senet"
    return next((layout for layout in ("resnetv2", "inception_v4", "inception_resnet_v2")
                 if name.startswith(layout)), "resnet")


def choose_pytorch_name(layer: str, variable: str, layout: str, spec: AnySpec,
                        layers: Collection[str]) -> str:
    """The name that a source gives a variable of ours.

    Args:
        layer: our name of the layer, "conv2_block1_1_conv".
        variable: Keras' name of the variable, "kernel".
        layout: a key of `LAYOUTS`.
        spec: what the net is made of.
        layers: our names of all layers of the net.

    Returns:
        A name such as "layer1.0.conv1.weight".

    Raises:
        KeyError: if the layout has no name for this layer.
    """
    names = [name for name in get_pytorch_names(layer, variable) if re.match(LAYOUTS[layout], name)]
    names = [name for name in names if (".se_module." in name) <= (layout == "senet") and
             (".se." in name) <= (layout != "senet")]
    if isinstance(spec, Spec):
        end = _get_end_in_block(layer, layout, spec)
    else:
        end = _get_end_in_branch(layer, layout, layers)
    chosen = names if len(names) == 1 else [n for n in names if re.search(end, n.rpartition(".")[0])]
    if len(chosen) != 1:
        raise KeyError(f"{layer}.{variable} is not a layer of {layout}.py")
    return chosen[0]


def _get_end_in_block(layer: str, layout: str, spec: Spec) -> str:
    """A pattern for the end of the name of a convolution or normalization in a residual block."""
    match = _RESIDUAL_LAYER.fullmatch(layer)
    if not match or layout == "resnetv2":
        return "$"

    number, kind = match.groups()
    if number == "0":
        position = (kind == "bn") + (spec.shortcut == "avg")    # an average pool is number 0
        return rf"\.downsample\.{position}$"
    if isinstance(spec.mixer, SK):
        return rf"\.conv{number}\.{kind}$"
    if isinstance(spec.mixer, SplitAttention) and number == "2":
        return r"\.conv2\.conv$" if kind == "conv" else r"\.conv2\.bn0$"
    return rf"\.{kind}{number}$"


def _get_end_in_branch(layer: str, layout: str, layers: Collection[str]) -> str:
    """A pattern for the name of a layer of an Inception net."""
    start, end = "", "$"
    if match := _BRANCH_LAYER.fullmatch(layer):
        module, branch, number, letter, kind = match.groups()
        has_others = any(other.startswith(f"{module}_branch{branch}_1") for other in layers)
        if number == "0" and not has_others:
            end = rf"\.branch{branch}\.{kind}$"
        elif module.startswith("inception_c") and branch in "12":       # these two branches end in two layers
            end = rf"\.branch{branch}_{number}{letter}\.{kind}$"
        else:
            end = rf"\.branch{branch}\.{number}{letter}\.{kind}$"

    if match := _REPEATED_BLOCK.fullmatch(layer):       # the last block8 is not in the group of the others
        has_next = any(other.startswith(f"block8_{int(match[2]) + 1}_") for other in layers)
        start = "^block8" if match[1] == "8" and not has_next else "^repeat"
    return f"{start}.*{end}"
