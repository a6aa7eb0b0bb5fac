import pathlib
import runpy
import sys

import keras
import numpy as np
import pytest
from tiny import images, tiny, trained

from reskeras.graph.remove_blocks import list_blocks, remove_blocks

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"


def branch_free(model, block):
    """Keras' own way to the same: the block's output is what its shortcut gives."""
    add = next(layer for layer in model.layers if layer.name in (f"{block}_add", f"{block}_out") and
               isinstance(layer, keras.layers.Add))
    short = next(t for t in add.input if t is not add.input[1])
    return keras.Model(model.input, short), keras.Model(model.input, add.output)


@pytest.mark.parametrize("row", ["resnet50", "resnet50v1_5", "resnetv2_50", "cifar_resnet20",
                                 "seresnext26d_32x4d"])
def test_a_block_is_its_shortcut(row):
    """The addition of a block gives what the shortcut gives; nothing else changes before it."""
    model = trained(tiny(row))
    x = images(model)
    assert list_blocks(model)[0] == "conv2_block1"
    for block in ("conv2_block1", "conv2_block2"):
        short, _ = branch_free(model, block)
        cut = remove_blocks(model, block)
        after = next(layer for layer in cut.layers if layer.name == short.layers[-1].name)
        np.testing.assert_array_equal(keras.Model(cut.input, after.output)(x), short(x))
        assert not any(layer.name.startswith(f"{block}_1_") or layer.name.startswith(f"{block}_2_")
                       for layer in cut.layers)
        assert np.abs(np.asarray(cut(x)) - np.asarray(model(x))).max() > 0


def test_all_at_once():
    """Without the branches of the identity blocks nothing of them is left."""
    model = trained(tiny("cifar_resnet56b", depths=(3, 3, 3)))
    cut = remove_blocks(model, [b for b in list_blocks(model) if not b.endswith("block1")])
    assert list_blocks(cut) == ["conv2_block1", "conv3_block1", "conv4_block1"]
    assert remove_blocks(model, []).count_params() == model.count_params() > cut.count_params()


def test_unknown_block():
    with pytest.raises(ValueError, match="no residual block 'conv2_blok1'; did you mean 'conv2_block1'"):
        remove_blocks(tiny("cifar_resnet20"), ["conv2_blok1"])
    with pytest.raises(ValueError, match="it has $"):
        remove_blocks(tiny("plainnet18"), ["conv2_block1"])


def test_example(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lesion_study.py", "--draws", "1", "--limit", "20", "--output",
                                      str(tmp_path / "plot.png")])
    runpy.run_path(str(EXAMPLES / "lesion_study.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("  0 of 7 blocks removed") and len(lines) == 8
    assert (tmp_path / "plot.png").stat().st_size > 1000
