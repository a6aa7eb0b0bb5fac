"""Writes tests/golden/pytorch_names.json: names and shapes of the tensors of timm's and torchvision's nets.

`tox -e timm-reference` runs it.  For each net: the number of tensors, and the beginning of the SHA-256 of the
lines "name shape", sorted; without counters and the constant kernels of blurs.
"""
import hashlib
import json
import pathlib

import timm
import torch
import torchvision

ROOT = pathlib.Path(__file__).parents[2]
FILE = ROOT / "tests" / "golden" / "pytorch_names.json"
# every net of the two packages that a net of the table could be
NAMES = [
    *(f"timm/{name}" for name in timm.list_models() if timm.models.is_model_in_modules(
        name, ("resnet", "resnetv2", "senet", "sknet", "resnest", "inception_v4", "inception_resnet_v2"))),
    *(f"torchvision/{name}" for name in torchvision.models.list_models(module=torchvision.models)
      if "res" in name)]


def describe(shapes):
    """As in the module's docstring.

    Args:
        shapes: name -> shape.
    """
    lines = sorted(f"{name} {tuple(shape)}" for name, shape in shapes.items()
                   if name.rpartition(".")[2] not in ("num_batches_tracked", "filt"))
    return [len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]]


def main():
    found = {}
    for name in NAMES:
        package, _, net = name.partition("/")
        with torch.device("meta"):
            model = timm.create_model(net) if package == "timm" else torchvision.models.get_model(net)
        found[name] = describe({key: tensor.shape for key, tensor in model.state_dict().items()})
    versions = {"timm": timm.__version__, "torchvision": torchvision.__version__.partition("+")[0]}
    lines = [json.dumps(name) + ": " + json.dumps(value) for name, value in {**versions, **found}.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
