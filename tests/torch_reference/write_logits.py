"""Writes files of tests/golden, as README.md there says: python write_logits.py [NET ...], with timm's names.

`tox -e torch-reference` runs it for the nets below; other files there were written the same way.
"""
import json
import pathlib
import sys

import numpy as np
import timm
import torch

TESTS = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))
from golden_rule import images, state_dict  # noqa: E402

GOLDEN = TESTS / "golden"
SIZES = (96, 97)
FOLDERS = {"ecaresnet50d_pruned": GOLDEN, "ecaresnet101d_pruned": GOLDEN / "more", "test_resnet": GOLDEN}


def write(name, folder):
    """Writes the logits of one net, computed in float64.

    Args:
        name: timm's name of it.
        folder: where NAME.npz is written.
    """
    model = timm.create_model(name).eval()
    shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
    manifest = {"timm": name, "timm_version": timm.__version__,
                "params": sum(p.numel() for p in model.parameters()), "state_dict": shapes}
    model.load_state_dict({key: torch.tensor(value) for key, value in state_dict(manifest).items()})
    model.double()
    logits = {}
    for size in SIZES:
        with torch.no_grad():
            output = model(torch.from_numpy(images(size)).double().permute(0, 3, 1, 2))
        logits[f"logits_{size}"] = output.numpy().astype("float32")
    np.savez_compressed(folder / f"{name}.npz", manifest=json.dumps(manifest), **logits)


if __name__ == "__main__":
    for net in sys.argv[1:] or FOLDERS:
        write(net, FOLDERS.get(net, GOLDEN))
