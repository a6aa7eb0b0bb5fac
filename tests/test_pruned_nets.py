"""Fields of a Spec with a value for each stage or block: what fits, and what the errors say."""
import pytest

import reskeras
from reskeras.spec import Spec
from reskeras.variants import VARIANTS


@pytest.mark.parametrize("fields, message", [
    ({"block": ("basic", "bottlneck")}, "block='bottlneck'.*did you mean 'bottleneck'"),
    ({"block": ("basic",)}, r"block=\('basic',\): expected a word, or a word for each of the 4 stages"),
    ({"block": 3}, "block=3: expected one of 'basic', 'bottleneck'"),
    ({"out_widths": (3,)}, r"out_widths=\(3,\): expected \(\), or one number for each of the 4 stages"),
    ({"inner_widths": (3,)}, r"inner_widths has 1 numbers: expected \(\), or 32, two for each bottleneck"),
    ({"inner_widths": (8,) * 32, "groups": 2}, "inner_widths cannot be combined with groups=2"),
    ({"block": ("basic", *["bottleneck"] * 3), "base_width": 4}, "base_width=4: defined for block='bottlene"),
    ({"final_norm": False}, "final_norm=False: with order='post' nothing comes after the last block")])
def test_errors(fields, message):
    with pytest.raises(ValueError, match=message):
        Spec(**fields)


def test_other_depths_of_a_pruned_net():
    with pytest.raises(ValueError, match="inner_widths has 32 numbers"):
        reskeras.create("ecaresnet50d_pruned", weights=None, depths=(1, 1, 1, 1))


def test_a_list_is_a_tuple():
    spec = Spec(block=["basic", "basic", "bottleneck", "basic"], depths=[1] * 4)
    assert spec.block == spec.blocks == ("basic", "basic", "bottleneck", "basic")
    assert spec.out_channels == (64, 128, 1024, 512) and Spec().out_channels == (256, 512, 1024, 2048)


def test_the_width_multiplies_pruned_channels_too():
    spec = VARIANTS["ecaresnet50d_pruned"].spec
    half = reskeras.create("ecaresnet50d_pruned", weights=None, width=2, input_shape=(64, 64, 3))
    shapes = {layer.name: layer.output.shape[-1] for layer in half.layers}
    assert shapes["conv5_block3_out"] == 2 * spec.out_widths[-1]
    assert shapes["conv2_block1_1_conv"] == 2 * spec.inner_widths[0]
    assert shapes["conv5_block3_2_conv"] == 2 * spec.inner_widths[-1]
