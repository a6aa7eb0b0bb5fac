"""Every source's names and layout, as a synthetic checkpoint, into our nets with a bijection."""
import dataclasses
import hashlib
import importlib.machinery
import importlib.util
import itertools
import json
import pathlib
import re
import sys
import types
from urllib.parse import urlsplit

import keras
import numpy as np
import pytest
from checkpoints import SMALL, legacy_h5, npz, randomized, same, torch_arrays

import reskeras
from reskeras.variants import ROWS
from reskeras.weights.rules import THEIRS, our_layer
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
    whole = {"conv1_conv": "root_block/standardized_conv2d", "post_bn": "group_norm", "predictions": "head/conv2d"}
    if layer in whole:
        return f"resnet/{whole[layer]}"
    stage, block, rest = re.fullmatch(r"conv(\d)_block(\d+)_(\w+)", layer).groups()
    unit = f"resnet/block{int(stage) - 1}/unit{int(block):02d}/"
    if rest == "0_conv":
        return unit + "a/proj/standardized_conv2d"
    if rest == "preact_bn":
        return unit + "a/group_norm"
    number, kind = rest.split("_")
    return unit + (f"{LETTERS[number]}/standardized_conv2d" if kind == "conv" else f"{'abc'[int(number)]}/group_norm")


class FakeTensor:
    def __init__(self, array):
        self.array = array

    def detach(self):
        return self

    def numpy(self):
        return self.array


@pytest.fixture
def torch(monkeypatch):
    """A stand-in for PyTorch whose load returns `torch.content` and notes how it was called."""
    module = types.ModuleType("torch")
    module.__spec__ = importlib.machinery.ModuleSpec("torch", None)
    module.calls = []
    module.load = lambda file, **how: module.calls.append(how) or module.content
    monkeypatch.setitem(sys.modules, "torch", module)
    return module


def tensors(model, prefix=""):
    return {prefix + key: FakeTensor(array) for key, array in torch_arrays(model).items()}


@pytest.fixture
def published(server, rows):
    """Puts bytes where a row of the table has its file, and the row's checksum right."""
    def put(name, data):
        row = get_weights(name)
        server.files[urlsplit(row.url).path] = data
        sha256, md5 = hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest()
        digests = {"sha256": sha256, "sha256_prefix": sha256[:8], "md5": md5}
        right = {field: value for field, value in digests.items() if getattr(row, field)}
        tag = f"{row.tag}_test"
        rows(dataclasses.replace(row, tag=tag, id=f"{row.net}.{tag}", default=False, **right))
        return f"{row.net}.{tag}"
    return put


def layers_of(model, rename=lambda name: name):
    return {rename(layer.name): [(v.name, v.numpy()) for v in layer.weights] for layer in model.layers if layer.weights}


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
    assert model.output_shape == (None, 7) and "classifier of 7 classes starts at random" in capsys.readouterr().err


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
        layers[layer] = [("depthwise_kernel", random.standard_normal((3, 3, channels, each)).astype("float32"))]
        layers[layer.replace("_conv", "_gconv")] = [("kernel", np.zeros((1, 1, channels * each, channels), "float32"))]
    name = published("keras/ResNeXt50.keras_in1k", legacy_h5(layers))
    model = reskeras.create(name, **small)
    same(model, ours, but=[name for name in layers if "_2_conv" in name])
    convolution = model.get_layer("conv2_block1_2_conv")
    each, channels = convolution.kernel.shape[2:]
    x = random.standard_normal((1, 9, 9, channels)).astype("float32")
    wide = keras.ops.depthwise_conv(x, layers["conv2_block1_2_conv"][0][1], padding="valid")
    summed = np.asarray(wide).reshape(1, 7, 7, channels // each, each, each).sum(4).reshape(1, 7, 7, channels)
    np.testing.assert_allclose(np.asarray(convolution(x))[:, 1:-1, 1:-1], summed, atol=1e-4)


def rs_name(layer):
    """tf_keras' name in resnet_rs.py for our layer, in the third net of a session."""
    if match := re.fullmatch(r"conv1_(\d)_(conv|bn)", layer):
        return f"stem_3_stem_{match[2].replace('bn', 'batch_norm')}_{match[1]}"
    if match := re.fullmatch(r"pool1_(conv|bn)", layer):
        return f"stem_3_stem_{match[1].replace('bn', 'batch_norm')}_4"
    if not (match := re.fullmatch(r"conv(\d)_block(\d+)_(?:(\d)_(conv|bn)|se_(\w+))", layer)):
        return layer
    stage, block, number, kind, se = match.groups()
    start = f"BlockGroup{stage}__block_{int(block) - 1}_"
    if se:
        return f"{start}_se_se_{se}"
    if number == "0":
        return f"{start}_projection_{kind.replace('bn', 'batch_norm')}"
    return start + ("batch_norm_1" if (number, kind) == ("1", "bn") else f"_{kind.replace('bn', 'batch_norm')}_{number}")


def test_tf_keras_resnet_rs(published):
    """1x1 convolutions where ours may be dense layers, and names long enough that Keras cuts their list."""
    small = {"depths": (3, 4, 2, 2), "width": 0.25}
    ours = randomized(reskeras.create("resnetrs420", weights=None, **small))
    layers = layers_of(ours, rs_name)
    layers = {name: [(v, a[None, None] if "_se_" in name and a.ndim == 2 else a) for v, a in variables]
              for name, variables in layers.items()}
    layers |= {f"a_layer_without_weights_of_a_very_long_name_{'x' * 300}_{i}": [] for i in range(250)}
    name = published("tf_keras/ResNetRS420.imagenet-i320", legacy_h5(layers))
    same(reskeras.create(name, **small), ours)


def test_bit(server):
    small = {"depths": (1, 1), "widths": (64, 128), "width": 0.5}
    ours = randomized(reskeras.create("resnetv2_50x3_bit", weights=None, classes=21843, **small))
    server.files["/bit_models/BiT-M-R50x3.npz"] = npz(bit_names(ours))
    model = reskeras.create("google/R50x3.bit_m", **small)      # its own number of classes
    same(model, ours)
    assert model.output_shape == (None, 21843)
    model = reskeras.create("google/R50x3.bit_m", classes=10, input_shape=(64, 64, 4), **small)
    same(model, ours, but=["predictions", "conv1_conv"])


@pytest.mark.parametrize("name, wrap", [
    ("akamaster/resnet20.cifar10", lambda net: {"state_dict": tensors(net, "module."), "best_prec1": 91.73}),
    ("chenyaofo/resnet20.cifar100", tensors), ("torchvision/resnet50.imagenet1k_v2", tensors),
    ("resnest/resnest50.release_in1k", tensors), ("timm/legacy_seresnet50.in1k", tensors)])
def test_torch_files(published, torch, name, wrap):
    weights = get_weights(name)
    small = {"depths": (1,) * len(ROWS[weights.row].spec.depths), "width": 0.5}
    ours = randomized(reskeras.create(weights.net, weights=None, classes=weights.classes, **small))
    torch.content = wrap(ours)
    model = reskeras.create(published(name, b"a pickle"), **small)
    same(model, ours)
    assert torch.calls == [{"map_location": "cpu", "weights_only": True}]
    assert model.input_shape == (None, weights.input_size, weights.input_size, 3)


def test_without_torch(server, monkeypatch):
    """Said before anything is downloaded."""
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'reskeras\[torch\]'"):
        reskeras.create("torchvision/resnet18.imagenet1k_v1")
    assert server.log == []


def test_legacy_nets_pool(published, torch):
    """A checkpoint's own Spec fields come with it, under whatever name it is asked for."""
    small = {"depths": (1, 1, 1, 1), "width": 0.5}
    torch.content = tensors(randomized(reskeras.create("timm/legacy_seresnext50_32x4d", weights=None, **small)))
    published("timm/legacy_seresnext50_32x4d.in1k", b"a pickle")
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
    with pytest.raises(ValueError, match="4 variables of the net without a tensor: post_bn.gamma.*weights=None"):
        reskeras.create(name, **small)


def test_every_rule_of_theirs_is_used():
    """Each pattern of a layer's name in other Keras files has a net whose layer it is, and leads to that."""
    listed = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "names.json").read_text())["layers"]
    layers = [n for n in listed["resnetv2_50x1_bit"] if re.search("_(conv|bn)$|predictions", n)]
    theirs = {"probs": "predictions", "fc1000": "predictions", **{bit_name(n): n for n in layers},
              **{rs_name(n): n for n in listed["resnetrs50"] if re.search("_(conv|bn|reduce|expand)$", n)}}
    for name, ours in theirs.items():
        assert our_layer(name) == ours
    for pattern, _ in THEIRS:
        assert any(re.fullmatch(pattern, name) for name in theirs), pattern
