"""Every source's names and layout, as a synthetic checkpoint, into our nets with a bijection."""
import itertools
import re

import keras
import numpy as np
import pytest
from checkpoints import SMALL, legacy_h5, npz, randomized, same, torch_arrays
from test_name_rules import NAMES
from torch_writer import save_torch

import reskeras
from reskeras.weights.name_rules import KERAS_RULES
from reskeras.weights.table import get_weights

LETTERS = {"1": "a", "2": "b", "3": "c"}


def bit_names(model):
    """Big Transfer's .npz of a net."""
    arrays = {}
    for layer in model.layers:
        for variable in layer.weights:
            arrays[bit_name(layer.name) + f"/{variable.name}"] = variable.numpy()
    head = arrays["resnet/head/conv2d/kernel"]
    return {**arrays, "resnet/head/conv2d/kernel": head[None, None]}


def bit_name(layer):
    whole = {
        "conv1_conv": "root_block/standardized_conv2d",
        "post_bn": "group_norm",
        "predictions": "head/conv2d",
    }
    if layer in whole:
        return f"resnet/{whole[layer]}"
    stage, block, rest = re.fullmatch(r"conv(\d)_block(\d+)_(\w+)", layer).groups()
    unit = f"resnet/block{int(stage) - 1}/unit{int(block):02d}/"
    if rest == "0_conv":
        return unit + "a/proj/standardized_conv2d"
    if rest == "preact_bn":
        return unit + "a/group_norm"
    number, kind = rest.split("_")
    return unit + (
        f"{LETTERS[number]}/standardized_conv2d" if kind == "conv" else f"{'abc'[int(number)]}/group_norm"
    )


def layers_of(model, rename=lambda name: name):
    return {
        rename(layer.name): [(v.name, v.numpy()) for v in layer.weights]
        for layer in model.layers
        if layer.weights
    }


def test_keras_applications(published):
    """Keras' own net and file; the published files are old enough to call the classifier "probs"."""
    theirs = randomized(keras.applications.ResNet50(weights=None))
    old = legacy_h5(layers_of(theirs, lambda name: name.replace("predictions", "probs")))
    name = published("keras/ResNet50.keras_in1k", old)
    same(reskeras.create(name), theirs)
    without = reskeras.create(name, include_top=False, pooling="avg")
    same(without, theirs, but=["predictions"])


def test_keras_applications_without_top(published, capsys):
    theirs = randomized(keras.applications.ResNet50V2(weights=None, include_top=False))
    name = published("keras/ResNet50V2.keras_in1k_notop", legacy_h5(layers_of(theirs)))
    model = reskeras.create(name, classes=7)
    same(model, theirs)
    assert (
        model.output_shape == (None, 7)
        and "classifier of 7 classes starts at random" in capsys.readouterr().err
    )


@pytest.mark.slow
def test_keras_inception_resnet_v2(published):
    """No gamma, and layers numbered as they were made."""
    theirs = keras.applications.InceptionResNetV2(weights=None)
    count = itertools.count(1)
    names = {layer.name: layer.name for layer in theirs.layers}
    order = sorted((n for n in names if re.fullmatch(r"(conv2d|batch_normalization)(_\d+)?", n)),
                   key=lambda n: int((re.search(r"_(\d+)$", n) or [0, 0])[1]))
    names |= {n: f"{n.rpartition('_')[0] if n[-1].isdigit() else n}_{next(count)}" for n in order}
    name = published("keras/InceptionResNetV2.keras_in1k", legacy_h5(layers_of(theirs, names.get)))
    model = reskeras.create(name)
    # the numbered ones have other names here: compare what comes out
    x = np.random.default_rng(0).standard_normal((1, 299, 299, 3)).astype("float32")
    np.testing.assert_allclose(model.predict_on_batch(x), theirs.predict_on_batch(x), rtol=1e-4, atol=1e-7)


def test_keras_resnext(published):
    """A depthwise convolution and a sum over each group are a grouped convolution."""
    small = {**SMALL, "width": 0.5}
    ours = randomized(reskeras.create("keras/ResNeXt50", weights=None, **small))
    assert ours.get_layer("conv2_block1_1_bn").epsilon == pytest.approx(1.001e-5)
    layers = layers_of(ours)
    random = np.random.default_rng(0)
    for layer in [name for name in layers if re.fullmatch(r"conv\d_block\d_2_conv", name)]:
        each, channels = layers[layer][0][1].shape[2:]
        layers[layer] = [
            ("depthwise_kernel", random.standard_normal((3, 3, channels, each)).astype("float32"))
        ]
        layers[layer.replace("_conv", "_gconv")] = [
            ("kernel", np.zeros((1, 1, channels * each, channels), "float32"))
        ]
    name = published("keras/ResNeXt50.keras_in1k", legacy_h5(layers))
    model = reskeras.create(name, **small)
    same(model, ours, but=[name for name in layers if "_2_conv" in name])
    convolution = model.get_layer("conv2_block1_2_conv")
    each, channels = convolution.kernel.shape[2:]
    x = random.standard_normal((1, 9, 9, channels)).astype("float32")
    wide = keras.ops.depthwise_conv(x, layers["conv2_block1_2_conv"][0][1], padding="valid")
    summed = np.asarray(wide).reshape(1, 7, 7, channels // each, each, each).sum(4).reshape(1, 7, 7, channels)
    np.testing.assert_allclose(np.asarray(convolution(x))[:, 1:-1, 1:-1], summed, atol=1e-4)


def test_names_too_long_for_one_attribute(published):
    """Keras cuts their list."""
    ours = randomized(reskeras.create("keras/ResNet50V2", weights=None, **SMALL))
    layers = layers_of(ours) | {
        f"a_layer_without_weights_of_a_very_long_name_{'x' * 300}_{i}": [] for i in range(250)
    }
    same(reskeras.create(published("keras/ResNet50V2.keras_in1k", legacy_h5(layers)), **SMALL), ours)


def test_bit(server):
    small = {"depths": (1, 1), "widths": (64, 128), "width": 0.5}
    ours = randomized(reskeras.create("resnetv2_50x3_bit", weights=None, classes=21843, **small))
    server.files["/bit_models/BiT-M-R50x3.npz"] = npz(bit_names(ours))
    model = reskeras.create("google/R50x3.bit_m", **small)      # its own number of classes
    same(model, ours)
    assert model.output_shape == (None, 21843)
    model = reskeras.create("google/R50x3.bit_m", classes=10, input_shape=(64, 64, 4), **small)
    same(model, ours, but=["predictions", "conv1_conv"])


def test_legacy_nets_pool(published):
    """A checkpoint's own Spec fields come with it, under whatever name it is asked for."""
    small = {"depths": (1, 1, 1, 1), "width": 0.5}
    trained = randomized(reskeras.create("timm/legacy_seresnext50_32x4d", weights=None, **small))
    published("timm/legacy_seresnext50_32x4d.in1k", save_torch(torch_arrays(trained)))
    model = reskeras.create("seresnext50_32x4d", weights="in1k_test", input_shape=(65, 65, 3), **small)
    other = reskeras.create("seresnext50_32x4d", weights=None, input_shape=(65, 65, 3), **small)
    assert [layer.name for layer in model.layers] != [layer.name for layer in other.layers] or any(
        a.get_config() != b.get_config() for a, b in zip(model.layers, other.layers))


def test_what_a_file_lacks_is_named(published):
    small = {**SMALL}
    ours = reskeras.create("keras/ResNet50V2", weights=None, **small)
    layers = layers_of(ours)
    del layers["post_bn"]
    name = published("keras/ResNet50V2.keras_in1k", legacy_h5(layers))
    with pytest.raises(
        ValueError, match="4 variables of the net without a tensor: post_bn.gamma.*weights=None"
    ):
        reskeras.create(name, **small)


def test_every_rule_of_theirs_is_used():
    """Each pattern of a layer's name in other Keras files is that of a layer there."""
    checkpoints = [get_weights(name) for name in ("google/R50x1.bit_s", "tf_keras/ResNetRS50.imagenet-i160")]
    theirs = {
        key.partition(".#")[0]
        for w in checkpoints
        for key in NAMES[w.source](w.source_net.partition("/")[2], w)
    } | {"probs", "fc1000"}
    for pattern, _ in KERAS_RULES:
        assert any(re.fullmatch(pattern, name) for name in theirs), pattern
