"""The rules for the names of our layers in other packages' files.  No framework is imported here.

    file -> readers.py (tensors by name) -> name_rules.py (which name is which variable)
         -> convert.py (renames Keras layers, matches, transposes) -> load.py assigns

Example: the kernel of our layer "conv2_block1_1_conv" is "layer1.0.conv1.weight" in timm's file.  The pattern
`conv(\\d+)_block(\\d+)_(\\d)_conv` gives the groups 2, 1, 1; with them, the name "layer{0:-1}.{1:-1}.conv{2}"
becomes "layer1.0.conv1"; and a kernel is a "weight" in PyTorch.  weights/__init__.py has the rest.  Files in
Keras' layout have rules the other way, which give our names to their layers.

In a rule, {0}, {1} ... are the groups of the pattern; {0:-1} is the first group minus one, since other
packages count stages and blocks from 0.  "|" separates the names that several sources use; the first name
that the file has is used, unless a layer before has it already.  As every tensor must be used exactly once
(see convert.py), a wrong guess cannot load.
"""
from __future__ import annotations

import re

HEAD = "predictions"        # our classifier
# what files have besides weights: counters, and the constant kernel of a blur
IGNORED_VARIABLES = ("num_batches_tracked", "filt", "total_ops", "total_params")
_PYTORCH_VARIABLES = {"kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias",
                      "moving_mean": "running_mean", "moving_variance": "running_var"}

# ---- our layer -> its names in PyTorch's files

_BLOCK = r"conv(\d+)_block(\d+)_"
_V1 = "layer{0:-1}.{1:-1}."                 # a block in timm's resnet.py, as in torchvision
_V2 = "stages.{0:-2}.blocks.{1:-1}."        # a block in timm's resnetv2.py
_BRANCH = r"_branch(\d)_(\w+)_(conv|bn)"


def _name_branch(module: str, branch: str, position: str, kind: str) -> str:
    """The names of a layer in a branch of an Inception module; the last one is for branches of one layer."""
    return "|".join((f"{module}.branch{branch}.{position}.{kind}",
                     f"{module}.branch{branch}_{position}.{kind}",
                     f"{module}.branch{branch}.{kind}"))


PYTORCH_RULES: list[tuple[str, str]] = [
    # stems: timm, its legacy senet.py, its resnetv2.py
    (r"conv1_conv", "conv1|layer0.conv1|stem.conv|features.0.conv"),
    (r"conv1_bn", "bn1|layer0.bn1|features.0.bn"),
    (r"conv1_1_conv", "conv1.0|layer0.conv1|stem.conv1"),
    (r"conv1_1_bn", "conv1.1|layer0.bn1|stem.norm1"),
    (r"conv1_2_conv", "conv1.3|layer0.conv2|stem.conv2"),
    (r"conv1_2_bn", "conv1.4|layer0.bn2|stem.norm2"),
    (r"conv1_3_conv", "conv1.6|layer0.conv3|stem.conv3"),
    (r"conv1_3_bn", "bn1|layer0.bn3"),
    (r"pool1_conv", "maxpool.0"),
    (r"pool1_bn", "maxpool.1"),

    # shortcuts: after an average pool, the other layers have the next number
    (_BLOCK + "0_conv", f"{_V1}downsample.0|{_V1}downsample.1|{_V2}downsample.conv|{_V1}shortcut.0"),
    (_BLOCK + "0_bn", f"{_V1}downsample.2|{_V1}downsample.1|{_V1}shortcut.1"),

    # residual branches; split attention and SK have one level more; resnetv2.py and kuangliu's
    # preact_resnet.py count the norms of a block from the one before its first convolution
    (_BLOCK + r"(\d)_conv", f"{_V1}conv{{2}}|{_V1}conv{{2}}.conv|{_V2}conv{{2}}"),
    (_BLOCK + r"(\d)_bn",
     f"{_V1}bn{{2}}|{_V1}conv{{2}}.bn0|{_V1}conv{{2}}.bn|{_V2}norm{{2:+1}}|{_V1}bn{{2:+1}}"),
    (_BLOCK + "preact_bn", f"{_V2}norm1|{_V1}bn1"),
    (_BLOCK + r"(\d)_path(\d)_(conv|bn)", f"{_V1}conv{{2}}.paths.{{3:-1}}.{{4}}"),
    (_BLOCK + r"(\d)_sk_reduce_conv", f"{_V1}conv{{2}}.attn.fc_reduce"),
    (_BLOCK + r"(\d)_sk_reduce_bn", f"{_V1}conv{{2}}.attn.bn"),
    (_BLOCK + r"(\d)_sk_select_conv", f"{_V1}conv{{2}}.attn.fc_select"),
    (_BLOCK + r"(\d)_split_reduce_conv", f"{_V1}conv{{2}}.fc1"),
    (_BLOCK + r"(\d)_split_reduce_bn", f"{_V1}conv{{2}}.bn1"),
    (_BLOCK + r"(\d)_split_select_conv", f"{_V1}conv{{2}}.fc2"),
    (_BLOCK + "se_reduce", f"{_V1}se.fc1|{_V1}se_module.fc1"),
    (_BLOCK + "se_expand", f"{_V1}se.fc2|{_V1}se_module.fc2"),
    (_BLOCK + "eca_conv", f"{_V1}se.conv"),

    # heads: timm, legacy senet.py and Inception-v4, akamaster and kuangliu, resnetv2.py, Inception-ResNet-v2
    (r"post_bn", "norm"),
    (HEAD, "fc|last_linear|linear|head.fc|classif"),

    # timm's inception_v4.py numbers all its modules in one sequence
    (r"conv(2|3)_(conv|bn)", "features.{0:-1}.{1}"),
    (r"mixed_3a_branch1_0_(conv|bn)", "features.3.conv.{0}"),
    (r"mixed_5a_branch0_0_(conv|bn)", "features.5.conv.{0}"),
    (r"mixed_4a" + _BRANCH, _name_branch("features.4", "{0}", "{1}", "{2}")),
    (r"reduction_a" + _BRANCH, _name_branch("features.10", "{0}", "{1}", "{2}")),
    (r"reduction_b" + _BRANCH, _name_branch("features.18", "{0}", "{1}", "{2}")),
    (r"inception_a(\d+)" + _BRANCH, _name_branch("features.{0:+5}", "{1}", "{2}", "{3}")),
    (r"inception_b(\d+)" + _BRANCH, _name_branch("features.{0:+10}", "{1}", "{2}", "{3}")),
    (r"inception_c(\d+)" + _BRANCH, _name_branch("features.{0:+18}", "{1}", "{2}", "{3}")),

    # timm's inception_resnet_v2.py
    (r"(conv2d_\d\w)_(conv|bn)", "{0}.{1}"),
    (r"conv_7b", "conv2d_7b.conv"),
    (r"conv_7b_bn", "conv2d_7b.bn"),
    (r"(mixed_\d\w)" + _BRANCH, "{0}.branch{1}.{2}.{3}|{0}.branch{1}.{3}"),
]
for _kind, _repeat in (("35", "repeat.{0:-1}"), ("17", "repeat_1.{0:-1}"), ("8", "repeat_2.{0:-1}")):
    # in these files the last block8 is not in a group
    PYTORCH_RULES.append((rf"block{_kind}_(\d+)_conv", f"{_repeat}.conv2d|block8.conv2d"))
    PYTORCH_RULES.append((rf"block{_kind}_(\d+)" + _BRANCH, "|".join(
        f"{module}.branch{{1}}{end}.{{3}}" for module in (_repeat, "block8") for end in (".{2}", ""))))

# ---- the other way, for files in Keras' layout with other names than ours: the file's layer -> our layer

_BIT_CONV = r"standardized_conv2d(?:_\d+)?"         # some of the files number these layers
_BIT_UNIT, _BIT_BLOCK = r"resnet/block(\d)/unit(\d+)/", "conv{0:+1}_block{1:+0}_"
_RS_GROUP, _RS_BLOCK = r"BlockGroup(\d)__block_(\d+)_", "conv{0}_block{1:+1}_"

KERAS_RULES: list[tuple[str, str]] = [
    # keras.applications' files are older than its layer names
    (r"probs|fc1000", HEAD),

    # tf_keras' resnet_rs.py, which numbers the stems that one process makes
    (r"stem_\d+_stem_conv_4", "pool1_conv"),
    (r"stem_\d+_stem_batch_norm_4", "pool1_bn"),
    (r"stem_\d+_stem_conv_(\d)", "conv1_{0}_conv"),
    (r"stem_\d+_stem_batch_norm_(\d)", "conv1_{0}_bn"),
    (_RS_GROUP + "_projection_conv", _RS_BLOCK + "0_conv"),
    (_RS_GROUP + "_projection_batch_norm", _RS_BLOCK + "0_bn"),
    (_RS_GROUP + r"_conv_(\d)", _RS_BLOCK + "{2}_conv"),
    (_RS_GROUP + r"_?batch_norm_(\d)", _RS_BLOCK + "{2}_bn"),
    (_RS_GROUP + "_se_se_(reduce|expand)", _RS_BLOCK + "se_{2}"),

    # Big Transfer's .npz: a unit is a pre-activation block, its norms come before its convolutions a, b, c
    ("resnet/root_block/" + _BIT_CONV, "conv1_conv"),
    ("resnet/group_norm", "post_bn"),
    ("resnet/head/conv2d", HEAD),
    (_BIT_UNIT + "a/proj/" + _BIT_CONV, _BIT_BLOCK + "0_conv"),
    (_BIT_UNIT + "a/group_norm", _BIT_BLOCK + "preact_bn"),
    (_BIT_UNIT + "a/" + _BIT_CONV, _BIT_BLOCK + "1_conv"),
    (_BIT_UNIT + "b/" + _BIT_CONV, _BIT_BLOCK + "2_conv"),
    (_BIT_UNIT + "c/" + _BIT_CONV, _BIT_BLOCK + "3_conv"),
    (_BIT_UNIT + "b/group_norm", _BIT_BLOCK + "1_bn"),
    (_BIT_UNIT + "c/group_norm", _BIT_BLOCK + "2_bn"),
]
# variable -> its index in the layer, for files with names of variables
VARIABLE_INDICES = {"kernel": 0, "gamma": 0, "bias": 1, "beta": 1}

_COMPILED_PYTORCH_RULES = [(re.compile(pattern), names.split("|")) for pattern, names in PYTORCH_RULES]
_COMPILED_KERAS_RULES = [(re.compile(pattern), name) for pattern, name in KERAS_RULES]


class _Group(str):
    """A matched group of a pattern; the format specs "-1" and "+1" calculate with it."""

    def __format__(self, spec: str) -> str:
        return str(int(self) + int(spec)) if spec else str(self)


def get_pytorch_names(layer: str, variable: str) -> list[str]:
    """The names that a variable of ours may have in PyTorch's files, the most usual first.

    Args:
        layer: our name of the layer, "conv2_block1_1_conv".
        variable: Keras' name of the variable, "kernel".

    Returns:
        Names such as "layer1.0.conv1.weight"; an empty list for a layer that no rule matches.
    """
    last = _PYTORCH_VARIABLES.get(variable, variable)
    for pattern, names in _COMPILED_PYTORCH_RULES:
        if match := pattern.fullmatch(layer):
            groups = [_Group(group) for group in match.groups()]
            return [f"{name.format(*groups)}.{last}" for name in names]
    return []


def rename_keras_layer(name: str) -> str:
    """Our name for a layer in a file of Keras' layout; its name in the file if no rule matches.

    Args:
        name: a name such as "BlockGroup2__block_0__conv_1".

    Returns:
        A name such as "conv2_block1_1_conv".
    """
    for pattern, our_name in _COMPILED_KERAS_RULES:
        if match := pattern.fullmatch(name):
            return our_name.format(*map(_Group, match.groups()))
    return name
