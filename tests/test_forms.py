"""ResNeXt's three forms (arXiv:1611.05431, Figure 3) have equal outputs with the same weights."""
import re

import numpy as np
import pytest
from tiny import images, tiny, trained

from reskeras.blocks.grouped_conv import GroupedConv2D

PATH = re.compile(r"(.+)_path(\d+)_([123])_(conv|bn)")


def share(net, grouped):
    """Fills `net` from the grouped net: a path has the channels of its group."""
    groups = max(getattr(layer, "groups", 1) for layer in grouped.layers)
    for layer in filter(lambda layer: layer.weights, net.layers):
        match = PATH.fullmatch(layer.name)
        source = grouped.get_layer(f"{match[1]}_{match[3]}_{match[4]}" if match else layer.name)
        values = source.get_weights()
        if match:
            # the last 1x1 reads a group's channels, all else makes them
            axis = -2 if match[3] == "3" else -1
            values = [np.split(v, groups, axis)[int(match[2]) - 1] for v in values]
        layer.set_weights(values)


@pytest.mark.parametrize("form", ["concat", "sum"])
@pytest.mark.parametrize("variant, fields", [
    ("resnext50_4x24d", {}), ("resnext50_8x14d", dict(shortcut="avg")), ("resnet50v1_5", {}),
    ("resnext50_2x40d", dict(attention="se", stride_on="1x1")),
    ("resnext50_2x40d", dict(output_stride=8, shortcut="none"))], ids=str)
def test_equal_outputs(variant, fields, form):
    logits = dict(fields, classifier_activation=None)
    grouped, net = trained(tiny(variant, **logits)), tiny(variant, form=form, **logits)
    assert not any(isinstance(layer, GroupedConv2D) for layer in net.layers)
    assert net.count_params() == grouped.count_params()
    share(net, grouped)
    x = images(grouped, 4)
    expected = grouped(x, training=False)
    assert np.abs(net(x, training=False) - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("variant", ["resnet18", "resnetv2_50", "resnest50", "skresnext50_32x4d"])
def test_other_blocks_have_one_form(variant):
    with pytest.raises(ValueError, match="form='sum'"):
        tiny(variant, form="sum")


@pytest.mark.parametrize("ignored", [dict(antialias="blur"), dict(drop_block_rate=0.1),
                                     dict(block_dropout_rate=0.1)], ids=str)
def test_paths_refuse_what_they_would_ignore(ignored):
    with pytest.raises(ValueError, match=f"form='concat'.*{[*ignored][0]}"):
        tiny("resnext50_2x40d", form="concat", **ignored)
