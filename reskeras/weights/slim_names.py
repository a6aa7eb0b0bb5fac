"""The names of our layers in the checkpoints of TF-Slim (tensorflow/models, research/slim/nets).

Inception-ResNet-v2, ResNet v1 and v2.  In Slim a normalization is a scope inside that of its convolution:
"resnet_v1_50/block1/unit_1/bottleneck_v1/conv1/BatchNorm".
"""
from __future__ import annotations

import re
from typing import Iterable

_NET = re.compile(r"((?:.*/)?(?:InceptionResnetV2|resnet_v[12]_\d+))/(.+?)(/BatchNorm)?")
_BRANCH = re.compile(r"(?:Repeat(?:_\d)?/)?(mixed_\w+|block\d+_\d+)/Branch_(\d)/Conv2d(?:_(\d\w))?_\dx\d",
                     re.IGNORECASE)
# the layers of a branch are called 0a, 0b, 0c, and the strided one at its end 1a: its number is here
_STRIDED = {("mixed_6a", "0"): 0, ("mixed_6a", "1"): 2,
            ("mixed_7a", "0"): 1, ("mixed_7a", "1"): 1, ("mixed_7a", "2"): 2}
_UNIT = r"block(\d)/unit_(\d+)/bottleneck_v[12]/"
_LAYERS = [(re.compile(pattern), convolution, norm) for pattern, convolution, norm in (
    (r"Conv2d_7b_1x1", "conv_7b", "conv_7b_bn"),
    (r"Conv2d_(\d\w)_\dx\d", "conv2d_{0}_conv", "conv2d_{0}_bn"),
    (r"(?:Repeat(?:_\d)?/)?(block\d+_\d+)/Conv2d_1x1", "{0}_conv", ""),
    (r"Logits/Logits|logits", "predictions", ""),
    (r"conv1", "conv1_conv", "conv1_bn"),
    (_UNIT + r"preact", "conv{stage}_block{1}_preact_bn", ""),
    (_UNIT + r"shortcut", "conv{stage}_block{1}_0_conv", "conv{stage}_block{1}_0_bn"),
    (_UNIT + r"conv(\d)", "conv{stage}_block{1}_{2}_conv", "conv{stage}_block{1}_{2}_bn"),
    (r"postnorm", "post_bn", ""))]


def count_slim_blocks(names: Iterable[str]) -> int:
    """How many blocks of 8 x 8 an Inception-ResNet-v2 has, by the names of its variables; at least one."""
    numbers = (re.search(r"InceptionResnetV2/Repeat_2/block8_(\d+)/", name) for name in names)
    return 1 + max((int(match[1]) for match in numbers if match), default=0)


def find_slim_layer(path: str, last_block: int) -> tuple[str, str] | None:
    """Finds our name of a layer in a checkpoint of Slim.

    Args:
        path: the name of a variable without its last part, "InceptionResnetV2/Conv2d_1a_3x3/BatchNorm".
        last_block: the number of the last block of 8 x 8, which Slim calls "Block8": see `count_slim_blocks`.

    Returns:
        The scope of the net, "InceptionResnetV2", and our name, "conv2d_1a_bn"; the name is "" for a layer
        that our nets do not have, such as the auxiliary classifier.  None if the path is not of such a net.
    """
    match = _NET.fullmatch(path)
    if match is None:
        return None
    net, layer, is_norm = match[1], match[2], match[3] is not None
    if layer.startswith("Block8/"):     # the last one is not in the group of the others
        layer = f"block8_{last_block}/{layer.removeprefix('Block8/')}"

    if branch := _BRANCH.fullmatch(layer):
        module, number, letter = branch[1].lower(), branch[2], branch[3] or "0a"
        position = _STRIDED.get((module, number), 9) if letter == "1a" else ord(letter[1]) - ord("a")
        return net, f"{module}_branch{number}_{position}_{'bn' if is_norm else 'conv'}"
    for pattern, convolution, norm in _LAYERS:
        if found := pattern.fullmatch(layer):
            stage = int(found[1]) + 1 if layer.startswith("block") and "/unit_" in layer else 0
            return net, (norm if is_norm else convolution).format(*found.groups(), stage=stage)
    return net, ""
