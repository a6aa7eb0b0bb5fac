"""Regex tables: layer name -> the names that other packages give it.  No framework is imported here.

In a rule {0}, {1} ... are the groups of the pattern and {0:-1} a group less one: others count stages and blocks from 0.
"|" stands between the names of several sources; the first that the file has is taken, and since every tensor must be
used exactly once, a wrong guess cannot load.
"""
from __future__ import annotations

import re

VARIABLES = {"kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias",
             "moving_mean": "running_mean", "moving_variance": "running_var"}
IGNORED = ("num_batches_tracked", "filt", "total_ops", "total_params")   # no weights: counters, the blur kernel
HEAD = "predictions"

BLOCK = r"conv(\d+)_block(\d+)_"
OLD, NEW = "layer{0:-1}.{1:-1}.", "stages.{0:-2}.blocks.{1:-1}."    # timm's resnet.py, its resnetv2.py
BRANCH = r"_branch(\d)_(\w+)_(conv|bn)"
BRANCHES = ".branch{0}.{1}.{2}|{m}.branch{0}_{1}.{2}|{m}.branch{0}.{2}"

RULES: list[tuple[str, str]] = [
    # stems: timm, its legacy senet.py, its resnetv2.py
    (r"conv1_conv", "conv1|layer0.conv1|stem.conv|features.0.conv"),
    (r"conv1_bn", "bn1|layer0.bn1|features.0.bn"),
    (r"conv1_1_conv", "conv1.0|layer0.conv1|stem.conv1"), (r"conv1_1_bn", "conv1.1|layer0.bn1|stem.norm1"),
    (r"conv1_2_conv", "conv1.3|layer0.conv2|stem.conv2"), (r"conv1_2_bn", "conv1.4|layer0.bn2|stem.norm2"),
    (r"conv1_3_conv", "conv1.6|layer0.conv3|stem.conv3"), (r"conv1_3_bn", "bn1|layer0.bn3"),
    (r"pool1_conv", "maxpool.0"), (r"pool1_bn", "maxpool.1"),
    # shortcuts: behind an average pool everything moves up by one
    (BLOCK + "0_conv", f"{OLD}downsample.0|{OLD}downsample.1|{NEW}downsample.conv"),
    (BLOCK + "0_bn", f"{OLD}downsample.2|{OLD}downsample.1"),
    # residual branches; split attention and SK keep theirs one level deeper; resnetv2.py counts norms from the block's first
    (BLOCK + r"(\d)_conv", f"{OLD}conv{{2}}|{OLD}conv{{2}}.conv|{NEW}conv{{2}}"),
    (BLOCK + r"(\d)_bn", f"{OLD}bn{{2}}|{OLD}conv{{2}}.bn0|{OLD}conv{{2}}.bn|{NEW}norm{{2:+1}}"),
    (BLOCK + "preact_bn", f"{NEW}norm1"),
    (BLOCK + r"(\d)_path(\d)_(conv|bn)", f"{OLD}conv{{2}}.paths.{{3:-1}}.{{4}}"),
    (BLOCK + r"(\d)_sk_reduce_conv", f"{OLD}conv{{2}}.attn.fc_reduce"),
    (BLOCK + r"(\d)_sk_reduce_bn", f"{OLD}conv{{2}}.attn.bn"),
    (BLOCK + r"(\d)_sk_select_conv", f"{OLD}conv{{2}}.attn.fc_select"),
    (BLOCK + r"(\d)_split_reduce_conv", f"{OLD}conv{{2}}.fc1"),
    (BLOCK + r"(\d)_split_reduce_bn", f"{OLD}conv{{2}}.bn1"),
    (BLOCK + r"(\d)_split_select_conv", f"{OLD}conv{{2}}.fc2"),
    (BLOCK + "se_reduce", f"{OLD}se.fc1|{OLD}se_module.fc1"),
    (BLOCK + "se_expand", f"{OLD}se.fc2|{OLD}se_module.fc2"),
    (BLOCK + "eca_conv", f"{OLD}se.conv"),
    # heads: timm, legacy senet.py and Inception-v4, akamaster, resnetv2.py, Inception-ResNet-v2
    (r"post_bn", "norm"), (HEAD, "fc|last_linear|linear|head.fc|classif"),
    # timm's inception_v4.py counts its modules through
    (r"conv(2|3)_(conv|bn)", "features.{0:-1}.{1}"),
    (r"mixed_3a_branch1_0_(conv|bn)", "features.3.conv.{0}"), (r"mixed_5a_branch0_0_(conv|bn)", "features.5.conv.{0}"),
    (r"mixed_4a" + BRANCH, "features.4" + BRANCHES.format("{0}", "{1}", "{2}", m="features.4")),
    (r"reduction_a" + BRANCH, "features.10" + BRANCHES.format("{0}", "{1}", "{2}", m="features.10")),
    (r"reduction_b" + BRANCH, "features.18" + BRANCHES.format("{0}", "{1}", "{2}", m="features.18")),
]
RULES += [(rf"inception_{kind}(\d+)" + BRANCH, "features.{0:+%d}" % before + BRANCHES.format(
    "{1}", "{2}", "{3}", m="features.{0:+%d}" % before)) for kind, before in (("a", 5), ("b", 10), ("c", 18))]
# timm's inception_resnet_v2.py; the last block8 stands alone
RULES += [(r"(conv2d_\d\w)_(conv|bn)", "{0}.{1}"), (r"conv_7b", "conv2d_7b.conv"), (r"conv_7b_bn", "conv2d_7b.bn"),
          (r"(mixed_\d\w)" + BRANCH, "{0}.branch{1}.{2}.{3}|{0}.branch{1}.{3}")]
for _kind, _repeat in (("35", "repeat.{0:-1}"), ("17", "repeat_1.{0:-1}"), ("8", "repeat_2.{0:-1}")):
    RULES.append((rf"block{_kind}_(\d+)_conv", _repeat + ".conv2d|block8.conv2d"))
    RULES.append((rf"block{_kind}_(\d+)" + BRANCH, "|".join(
        f"{m}.branch{{1}}{end}.{{3}}" for m in (_repeat, "block8") for end in (".{2}", ""))))

# The other way, for files in Keras' layout whose names are not ours: the file's layer -> ours.
CONV = r"standardized_conv2d(?:_\d+)?"      # some of the files number them
BIT, UNIT, OF_UNIT = "resnet/", r"resnet/block(\d)/unit(\d+)/", "conv{0:+1}_block{1:+0}_"
GROUP, BLOCKS = r"BlockGroup(\d)__block_(\d+)_", "conv{0}_block{1:+1}_"
THEIRS: list[tuple[str, str]] = [
    (r"probs|fc1000", HEAD),    # keras.applications' files are older than its names
    # tf_keras' resnet_rs.py, which numbers the stems of a session
    (r"stem_\d+_stem_conv_4", "pool1_conv"), (r"stem_\d+_stem_batch_norm_4", "pool1_bn"),
    (r"stem_\d+_stem_conv_(\d)", "conv1_{0}_conv"), (r"stem_\d+_stem_batch_norm_(\d)", "conv1_{0}_bn"),
    (GROUP + "_projection_conv", BLOCKS + "0_conv"), (GROUP + "_projection_batch_norm", BLOCKS + "0_bn"),
    (GROUP + r"_conv_(\d)", BLOCKS + "{2}_conv"), (GROUP + r"_?batch_norm_(\d)", BLOCKS + "{2}_bn"),
    (GROUP + "_se_se_(reduce|expand)", BLOCKS + "se_{2}"),
    # Big Transfer's .npz: a unit is a pre-activation block, its norms come before its convolutions a, b, c
    (BIT + "root_block/" + CONV, "conv1_conv"), (BIT + "group_norm", "post_bn"), (BIT + "head/conv2d", HEAD),
    (UNIT + "a/proj/" + CONV, OF_UNIT + "0_conv"), (UNIT + "a/group_norm", OF_UNIT + "preact_bn"),
    *((UNIT + f"{letter}/{CONV}", f"{OF_UNIT}{i}_conv") for i, letter in enumerate("abc", 1)),
    *((UNIT + f"{letter}/group_norm", f"{OF_UNIT}{i}_bn") for i, letter in enumerate("bc", 1)),
]
PLACES = {"kernel": 0, "gamma": 0, "bias": 1, "beta": 1}    # of a layer's variables in a file that has their names

COMPILED_THEIRS = [(re.compile(pattern), name) for pattern, name in THEIRS]
COMPILED = [(re.compile(pattern), names.split("|")) for pattern, names in RULES]


class Group(str):
    """A matched group; the format specs "-1" and "+1" do sums with it."""

    def __format__(self, spec: str) -> str:
        return str(int(self) + int(spec)) if spec else str(self)


def foreign_names(layer: str, variable: str) -> list[str]:
    """The names that `variable` of `layer` may have in other packages' files, preferred first."""
    leaf = VARIABLES.get(variable, variable)
    for pattern, names in COMPILED:
        if match := pattern.fullmatch(layer):
            groups = [Group(g) for g in match.groups()]
            return [f"{name.format(*groups)}.{leaf}" for name in names]
    return []


def our_layer_name(theirs: str) -> str:
    """Our name of a layer in a file of Keras' layout; its own, where no rule has it."""
    for pattern, name in COMPILED_THEIRS:
        if match := pattern.fullmatch(theirs):
            return name.format(*map(Group, match.groups()))
    return theirs
