"""The nets of kuangliu/pytorch-cifar: files as its program writes them, and what its nets compute."""
import numpy as np
import pytest
import sources
from golden_rule import images
from torch_writer import save_torch

import reskeras

SHORT = (2, 1, 1, 1)


@pytest.mark.parametrize("name, arguments, size", [
    ("resnet18", {}, 32), ("resnet34", {}, 33), ("resnet50", {"kind": "bottleneck"}, 32),
    ("preactresnet18", {"kind": "preact"}, 33)])
def test_equals_the_source(name, arguments, size, tmp_path):
    """One block in most stages; the numbers of all blocks are in tests/facts/variants.csv."""
    parameters, x = sources.Parameters(), images(size)
    expected = np.asarray(sources.kuangliu(parameters, x, **arguments, depths=SHORT))
    tensors = {f"module.{key}": array for key, array in parameters.items()}
    checkpoint = {"net": tensors, "acc": 95.1, "epoch": 199}
    (tmp_path / "ckpt.pth").write_bytes(save_torch(checkpoint))
    model = reskeras.create(f"kuangliu/{name}", weights=tmp_path / "ckpt.pth", input_shape=(size, size, 3),
                            classifier_activation=None, depths=SHORT)
    outputs = np.asarray(model(x, training=False))
    assert np.abs(outputs - expected).max() <= 3e-5 * np.abs(expected).max()
