"""KerasHub's ResNets: the names of their layers, and the files of a preset.

A preset is a folder, on this machine or on the hub (huggingface.co/keras/resnet_vd_50_ssld_imagenet):

    config.json         the class and the arguments of the net without its classifier, the *backbone*
    model.weights.h5    the weights of the backbone; model.weights.json names the parts of a large one
    task.json           the class and the arguments of the whole net
    task.weights.h5     the weights of the classifier; in files of KerasHub before 0.18 those of the whole net

Example: our "conv2_block1_3_conv" is "stack0_block0_3_conv" in KerasHub.  The rules are used in both
directions: for a net, each of its layers gives one name, so that a file's names can be turned back.
"""
from __future__ import annotations

import os
import re
from typing import Any, Iterable

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
    (r"conv(?P<stage>\d+)_block(?P<block>\d+)_preact_bn", "stack{stack}_block{index}_pre_activation_bn"),
    (r"post_bn", "post_bn"),
    (r"predictions", "predictions"))]


def get_kerashub_name(layer: str) -> str:
    """KerasHub's name of a layer of ours; "" for a layer that its nets do not have.

    Args:
        layer: our name, such as "conv2_block1_1_conv".
    """
    for pattern, name in _RULES:
        if match := pattern.fullmatch(layer):
            groups = match.groupdict()
            return name.format(stack=int(groups.get("stage", 2)) - 2, index=int(groups.get("block", 1)) - 1,
                               **groups)
    return ""


def map_kerashub_names(ours: Iterable[str], theirs: Iterable[str]) -> dict[str, str]:
    """KerasHub's names -> ours, for the layers of a net; empty if a file is not of KerasHub.

    Args:
        ours: the names of the net's layers.
        theirs: the names of the layers in the file.
    """
    if not any(map(_BLOCK_LAYER.fullmatch, theirs)):
        return {}
    return {name: layer for layer in ours if (name := get_kerashub_name(layer))}


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
