"""KerasHub's ResNets: the names of their layers, and the files of a preset.

A preset is a folder, on this machine or on the hub (huggingface.co/keras/resnet_vd_50_ssld_imagenet):

    config.json         the class and the arguments of the net without its classifier, the *backbone*
    model.weights.h5    the weights of the backbone; model.weights.json names the parts of a large one
    task.json           the class and the arguments of the whole net
    task.weights.h5     the weights of the classifier; older versions of KerasHub wrote those of the whole net

Example: our "conv2_block1_3_conv" is "stack0_block0_3_conv" in KerasHub.  The rules are used in both
directions: for a net, each of its layers gives one name, so that a file's names can be turned back.
"""
from __future__ import annotations

import os
import re
from typing import Any, Collection, Iterable

from ..errors import make_printable
from ..json_reader import read_json

CONFIG_FILE, BACKBONE_FILE, PARTS_FILE = "config.json", "model.weights.h5", "model.weights.json"
TASK_CONFIG_FILE, TASK_FILE = "task.json", "task.weights.h5"
BACKBONE_CLASS = "ResNetBackbone"
_MAX_CONFIG = 2 ** 20           # bytes; those of the published presets have a thousandth of it
_BLOCK_LAYER = re.compile(r"stack\d+_block\d+_\d_conv")     # a name that only KerasHub's nets have
# Our layer -> KerasHub's.  A stem of one convolution is conv1_conv, one of three conv1_1_conv ... here.
_RULES = [(re.compile(pattern), name) for pattern, name in (
    (r"conv1_(?P<kind>conv|bn)", "conv1_{kind}"),
    (r"conv1_(?P<number>\d)_(?P<kind>conv|bn)", "conv{number}_{kind}"),
    (r"conv(?P<stage>\d+)_block(?P<block>\d+)_(?P<number>\d)_(?P<kind>conv|bn)",
     "stack{stack}_block{index}_{number}_{kind}"),
    (r"conv(?P<stage>\d+)_block(?P<block>\d+)_preact_(?P<kind>bn)",
     "stack{stack}_block{index}_pre_activation_bn"),
    (r"post_(?P<kind>bn)", "post_bn"),
    (r"predictions", "predictions"))]
# Keras 3 calls the group of a layer by its class
_GROUPS = {"conv": "conv2d", "bn": "batch_normalization", None: "dense"}


def map_kerashub_names(ours: Iterable[str], theirs: Iterable[str]) -> dict[str, str]:
    """KerasHub's names -> ours, for the layers of a net; empty if a file is not of KerasHub.

    Args:
        ours: the names of the net's layers.
        theirs: the names of the layers in the file.
    """
    if not any(map(_BLOCK_LAYER.fullmatch, theirs)):
        return {}
    return {name: layer for layer in ours if (name := _translate(layer)[0])}


def plan_kerashub_groups(layers: Collection[str]) -> dict[str, tuple[str, str]]:
    """Where KerasHub's files have the layers of a net.

    Keras numbers the layers of a class in the order of their depth in the net, and only this number decides
    when the file is read.  In a block the shortcut is as deep as the last convolution, and comes before it.

    Args:
        layers: our names of the layers that have variables.

    Returns:
        Our name -> the group in the file and the name in KerasHub: "conv2_block1_3_conv" ->
        ("layers/conv2d_4", "stack0_block0_3_conv").

    Raises:
        KeyError: for a layer that KerasHub's nets do not have.
    """
    def get_depth(layer: str) -> tuple[float, ...]:
        _, groups = _translate(layer)
        number = float(groups.get("number") or 0)
        if "stage" not in groups:
            return (0, number) if layer.startswith("conv1_") else (2, 0)
        block = f"conv{groups['stage']}_block{groups['block']}"
        if number == 0 and "number" in groups:
            number = 2.5 if f"{block}_3_conv" in layers else 1.5
        return 1, int(groups["stage"]), int(groups["block"]), number

    places: dict[str, tuple[str, str]] = {}
    counts = dict.fromkeys(_GROUPS.values(), 0)
    for layer in sorted(layers, key=get_depth):
        name, groups = _translate(layer)
        if not name:
            raise KeyError(f"{layer} is no layer of KerasHub's ResNets")
        group = _GROUPS[groups.get("kind")]
        places[layer] = f"layers/{group}" + (f"_{counts[group]}" if counts[group] else ""), name
        counts[group] += 1
    return places


def _translate(layer: str) -> tuple[str, dict[str, str]]:
    """KerasHub's name of a layer of ours and the parts of our name; "" if its nets have no such layer."""
    for pattern, name in _RULES:
        if match := pattern.fullmatch(layer):
            groups = match.groupdict()
            stack, index = int(groups.get("stage", 2)) - 2, int(groups.get("block", 1)) - 1
            return name.format(stack=stack, index=index, **groups), groups
    return "", {}


def find_preset_files(folder: str) -> list[str]:
    """The files of weights of a preset, in the order in which KerasHub loads them.

    Raises:
        ValueError: for a folder that is no preset of a ResNet.
        OSError: if its config.json cannot be read.
    """
    path = os.path.join(folder, CONFIG_FILE)
    if not os.path.exists(path):
        raise ValueError(f"{folder} is a folder; expected a regular file, or a preset of KerasHub, which has "
                         f"a file {CONFIG_FILE}")
    config: Any = read_json(path, max_bytes=_MAX_CONFIG)
    name = config.get("class_name") if isinstance(config, dict) else None
    if name != BACKBONE_CLASS:
        found = f"of the class {make_printable(str(name)[:100])!r}" if name else "of another package"
        raise ValueError(f"{folder}: its {CONFIG_FILE} is {found}; expected a preset of KerasHub's "
                         f"{BACKBONE_CLASS}, or the path of a file of weights")
    backbone = next((file for file in (BACKBONE_FILE, PARTS_FILE)
                     if os.path.exists(os.path.join(folder, file))), None)
    if backbone is None:
        raise ValueError(f"{folder}: a preset without {BACKBONE_FILE}")
    task = [TASK_FILE] if os.path.exists(os.path.join(folder, TASK_FILE)) else []
    return [os.path.join(folder, file) for file in (*task, backbone)]
