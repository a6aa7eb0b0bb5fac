"""timm's learning rates of the layers with layer_decay=0.75, for tests/golden/training/layer_decay.json.

For each net: {the scale of a group: the beginnings of its parameters' names, without "weight" and "bias"}.
Run by `tox -e torch-reference`.
"""
import collections
import json
import pathlib

import timm
import torch
from timm.optim import param_groups_layer_decay

FILE = pathlib.Path(__file__).parents[1] / "golden" / "training" / "layer_decay.json"
NETS = ("resnet18", "resnet50d", "resnext50_32x4d", "resnetrs50", "ecaresnet26t", "skresnet18", "resnest14d",
        "resnetv2_50", "legacy_seresnet18", "inception_v4")


def describe(name):
    with torch.device("meta"):
        model = timm.create_model(name)
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    scales = collections.defaultdict(set)
    for group in param_groups_layer_decay(model, layer_decay=0.75):
        for parameter in group["params"]:
            scales[group["lr_scale"]].add(names[id(parameter)].rpartition(".")[0])
    return {repr(scale): sorted(scales[scale]) for scale in sorted(scales)}


def main():
    lines = [json.dumps("timm") + ": " + json.dumps(timm.__version__),
             *(f"{json.dumps(name)}: {json.dumps(describe(name))}" for name in NETS)]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
