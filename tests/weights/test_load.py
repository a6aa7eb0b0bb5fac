"""Fine-tuning: other classes, channels or heads than a published checkpoint has; the messages about it."""
import dataclasses
import functools
import hashlib
import itertools
import os
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
from checkpoints import SMALL, randomized, safetensors, same, torch_arrays
from safetensors.numpy import save

import reskeras
from reskeras.weights.adaptation import adapt_channels
from reskeras.weights.checkpoint import Checkpoint
from reskeras.weights.table import find_checkpoint, get_weights

# one net for each stem: its checkpoint, how small, its first convolution, pixels
STEMS = {
    "conv7": ("timm/resnet50.am_in1k", SMALL, "conv1_conv", 64),
    "deep": ("timm/resnet34d.ra2_in1k", SMALL, "conv1_1_conv", 64),
    "tiered": ("timm/resnet26t.ra2_in1k", SMALL, "conv1_1_conv", 64),
    "bare": ("timm/resnetv2_50.a1h_in1k", SMALL, "conv1_conv", 64),
    "inception": (
        "timm/inception_resnet_v2.tf_ens_adv_in1k",
        {"depths": (1, 1, 2), "width": 0.25},
        "conv2d_1a_conv",
        75,
    ),
    "inception v4": ("timm/inception_v4.tf_in1k", {"depths": (1, 1, 1), "width": 0.25}, "conv1_conv", 75),
    "resnet-rs": ("timm/resnetrs50.tf_in1k", SMALL, "conv1_1_conv", 64),
    "big transfer": ("timm/resnetv2_50x1_bit.goog_in21k_ft_in1k", SMALL, "conv1_conv", 64),
    "cifar": ("test/cifar.test", {"depths": (1, 1, 1)}, "conv1_conv", 32),
}
CIFAR = Checkpoint(
    "cifar_resnet20",
    "test",
    "test/cifar.test",
    "safetensors",
    repo="test/cifar",
    file="model.safetensors",
    input_size=32,
    labels="cifar10",
    classes=10,
    dataset="cifar10",
)


@functools.cache
def trained_net(stem):
    """What the checkpoint of the stem holds, and its file."""
    weights = CIFAR if stem == "cifar" else get_weights(STEMS[stem][0])
    net = randomized(
        reskeras.create(weights.variant, weights=None, classes=weights.classes, **STEMS[stem][1])
    )
    return net, safetensors(net)


def build(stem, server, add_checkpoints, **arguments):
    """The net of the stem with its checkpoint, and what that holds."""
    name, small, _, size = STEMS[stem]
    if stem == "cifar":
        add_checkpoints(CIFAR)
    weights = get_weights(name)
    if weights.sha256:  # of the real file
        weights = dataclasses.replace(
            weights, tag="test", id=f"{weights.source_net}.test", sha256="", is_default=False
        )
        add_checkpoints(weights)
    trained, server.files[f"/{weights.repo}/{weights.file}"] = trained_net(stem)
    return reskeras.create(weights.name, **{"input_shape": (size, size, 3), **small, **arguments}), trained


@pytest.mark.parametrize("stem, channels", list(itertools.product(STEMS, (1, 4, 5))))
def test_channels(server, add_checkpoints, capsys, stem, channels):
    name, small, first, size = STEMS[stem]
    model, trained = build(stem, server, add_checkpoints, input_shape=(size, size, channels))
    same(model, trained, but=[first])
    old, new = trained.get_layer(first).kernel.numpy(), model.get_layer(first).kernel.numpy()
    expected = (
        old.sum(2, keepdims=True) if channels == 1 else old[:, :, [0, 1, 2, 0, 1][:channels]] * (3 / channels)
    )
    np.testing.assert_allclose(new, expected, rtol=1e-6)
    said = capsys.readouterr().err.splitlines()
    assert sum(f"of 3 channels, is adapted to {channels}" in line for line in said) == 1
    assert model.input_shape == (None, size, size, channels)


def test_one_channel_sees_what_three_equal_ones_did(server, add_checkpoints):
    gray, trained = build(
        "conv7", server, add_checkpoints, input_shape=(64, 64, 1), classifier_activation=None
    )
    colour, _ = build("conv7", server, add_checkpoints, classifier_activation=None)
    x = np.random.default_rng(0).standard_normal((2, 64, 64, 1)).astype("float32")
    np.testing.assert_allclose(
        gray.predict_on_batch(x), colour.predict_on_batch(np.repeat(x, 3, -1)), rtol=1e-3, atol=1e-3
    )


def test_as_timm_adapts():
    """A kernel of 3 channels for 7, by hand; and of 1 for 3."""
    kernel = np.arange(2 * 3).reshape(2, 3, 1, 1).astype("float32")
    expected = np.concatenate([kernel] * 3, 1)[:, :7] * 3 / 7
    np.testing.assert_allclose(adapt_channels(kernel, 7, 1), expected)
    np.testing.assert_allclose(adapt_channels(kernel[:, :1], 3, 1).sum(1), kernel[:, 0])
    assert adapt_channels(kernel, 2, 1).dtype == np.float32


@pytest.mark.parametrize("stem", STEMS)
def test_other_classes(server, add_checkpoints, capsys, stem):
    model, trained = build(stem, server, add_checkpoints, classes=7)
    same(model, trained, but=["predictions"])
    kernel = model.get_layer("predictions").kernel.numpy()
    assert model.output_shape == (None, 7) and kernel.std() > 0
    assert capsys.readouterr().err.count("the classifier of 7 classes starts at random") == 1
    if stem == "cifar":
        build(stem, server, add_checkpoints, classes=7)
        assert "starts at random" not in capsys.readouterr().err      # once


def test_the_same_number_of_classes_keeps_the_classifier(server, add_checkpoints, capsys):
    model, trained = build("conv7", server, add_checkpoints, classes=1000)
    same(model, trained)
    assert "random" not in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [{}, {"pooling": "avg"}, {"input_shape": (None, None, 3)}])
def test_without_the_classifier(server, add_checkpoints, arguments):
    model, trained = build("conv7", server, add_checkpoints, include_top=False, **arguments)
    same(model, trained, but=["predictions"])


def test_features(server, add_checkpoints):
    build("conv7", server, add_checkpoints)
    maps = reskeras.features(STEMS["conv7"][0], levels=(2, 5), input_shape=(64, 64, 3), **SMALL)
    assert maps.strides == (4, 32)


def test_background_class(server, add_checkpoints):
    """A file of 1001 classes, as TensorFlow's are."""
    checkpoint = dataclasses.replace(
        get_weights("timm/resnet50.am_in1k"), tag="test", id="timm/resnet50.test", label_offset=1
    )
    trained = randomized(reskeras.create("resnet50v1_5", weights=None, classes=1001, **SMALL))
    server.files["/timm/resnet50.am_in1k/model.safetensors"] = safetensors(trained)
    with pytest.raises(ValueError, match="the file has 1001 classes, but 1000 are expected"):
        reskeras.create("timm/resnet50.am_in1k", **SMALL)
    add_checkpoints(checkpoint)
    model = reskeras.create("timm/resnet50.test", **SMALL)
    same(model, trained, but=["predictions"])
    for mine, theirs in zip(model.get_layer("predictions").weights, trained.get_layer("predictions").weights):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy()[..., 1:])


def test_before_an_input_tensor(server, add_checkpoints):
    image = keras.Input((64, 64, 7))
    model, trained = build("conv7", server, add_checkpoints, input_shape=None,
                           input_tensor=keras.layers.Conv2D(4, 1, name="adapter")(image))
    assert model.inputs[0].shape[-1] == 7 and model.get_layer("conv1_conv").kernel.shape[2] == 4


def test_on_an_input_of_the_callers(server, add_checkpoints):
    """keras.applications' tutorials give one: it is the net's own input, and the net remembers as ever."""
    image = keras.Input((64, 64, 3), name="mine")
    model, trained = build("conv7", server, add_checkpoints, input_shape=None, input_tensor=image)
    same(model, trained)
    assert model.metadata.weights == "resnet50v1_5.am_in1k" and model.input.name == "mine"
    adapted, _ = build(
        "conv7", server, add_checkpoints, input_shape=None, input_tensor=keras.layers.Rescaling(2.0)(image)
    )
    assert getattr(adapted, "metadata", None) is None


@pytest.mark.parametrize("fault", ["missing", "left over", "another net"])
def test_nothing_is_half_loaded(server, add_checkpoints, monkeypatch, fault):
    from reskeras.weights import load
    model, trained = build("conv7", server, add_checkpoints)
    arrays = torch_arrays(trained)
    if fault == "missing":
        del arrays["layer4.0.bn3.running_var"]
    elif fault == "left over":
        arrays["layer5.weight"] = np.zeros(3, "float32")
    else:
        arrays = torch_arrays(reskeras.create("resnet18", weights=None, width=0.25))
    checkpoint = dataclasses.replace(
        CIFAR,
        variant="resnet50v1_5",
        tag=f"broken_{fault[0]}",
        id="test/broken.x",
        repo="test/broken",
        classes=1000,
    )
    server.files["/test/broken/model.safetensors"] = save(arrays)
    with pytest.raises(ValueError, match="does not fit.*weights=None"):
        load.load_weights(model, checkpoint)
    same(model, trained)


def test_a_changed_net_says_so(server, add_checkpoints):
    with pytest.raises(
        ValueError, match="conv2_block1_se_reduce.*if the net should differ from the checkpoint, "
        "use weights=None .random weights"
    ):
        build("conv7", server, add_checkpoints, attention="se")


def test_a_path_stays_strict(tmp_path):
    """Only a published checkpoint says what its classes are; other widths fit no file."""
    (tmp_path / "w.safetensors").write_bytes(
        safetensors(reskeras.create("resnet18", weights=None, width=0.25))
    )
    for arguments in ({"classes": 10, "width": 0.25}, {"width": 0.5}):
        with pytest.raises(ValueError, match="unequal shapes"):
            reskeras.create("resnet18", weights=tmp_path / "w.safetensors", **arguments)


AFTERWARDS = """
import sys, keras, reskeras, hashlib
from reskeras.model_metadata import get_metadata
model = keras.saving.load_model(sys.argv[1])
nets = [layer for layer in model.layers if isinstance(layer, keras.Model)] or [model]
frozen = [v for layer in nets[0].layers if not layer.trainable for v in layer.weights]
print(len(frozen), hashlib.sha256(b"".join(v.numpy().tobytes() for v in frozen)).hexdigest())
print(get_metadata(model).weights, get_metadata(model).labels, reskeras.get_preprocessing(model).mean)
"""


@pytest.mark.parametrize("form", ["head of the net", "net in a Sequential"])
def test_frozen_backbone(server, add_checkpoints, tmp_path, form):
    """trainable=False leaves the statistics bit-identical, after fit and after loading in a new process."""
    if form == "head of the net":
        model, trained = build("conv7", server, add_checkpoints, classes=10, classifier_activation=None)
        for layer in model.layers:
            layer.trainable = layer.name == "predictions"
        backbone, head = model, model.get_layer("predictions")
    else:
        backbone, trained = build("conv7", server, add_checkpoints, include_top=False, pooling="avg")
        backbone.trainable = False
        model = keras.Sequential([keras.Input((64, 64, 3)), backbone, keras.layers.Dense(10, name="new")])
        head = model.get_layer("new")
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = head.kernel.numpy()
    random = np.random.default_rng(0)
    model.fit(random.standard_normal((8, 64, 64, 3)), np.arange(8), epochs=2, batch_size=4, verbose=0)
    assert (head.kernel.numpy() != before).any()
    same(backbone, trained, but=["predictions"])
    frozen = [v.numpy() for layer in backbone.layers if not layer.trainable for v in layer.weights]
    assert len(frozen) == len(trained.weights) - 2 and any("moving_mean" in v.path for v in trained.weights)
    model.save(tmp_path / "tuned.keras")
    again = reskeras.load(tmp_path / "tuned.keras")
    same(again if backbone is model else again.get_layer(backbone.name), trained, but=["predictions"])
    done = subprocess.run(
        [sys.executable, "-c", AFTERWARDS, tmp_path / "tuned.keras"],
        text=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    digest = hashlib.sha256(b"".join(v.tobytes() for v in frozen)).hexdigest()
    mean = get_weights("resnet50v1_5.am_in1k").mean
    assert done.stdout.splitlines() == [f"{len(frozen)} {digest}", f"resnet50v1_5.am_in1k () {mean}"]


def test_the_default_is_named(server, add_checkpoints, capsys):
    checkpoint = get_weights("resnet34d")
    trained, server.files[f"/{checkpoint.repo}/{checkpoint.file}"] = trained_net("deep")
    same(reskeras.ResNet34D(input_shape=(64, 64, 3), **SMALL), trained)
    same(reskeras.create("timm/resnet34d", weights="imagenet", **SMALL), trained)
    assert capsys.readouterr().err.count("weights='imagenet' means timm/resnet34d.ra2_in1k (apache-2.0)") == 1


def test_no_commercial_use(server):
    name = "timm/resnet50.fb_swsl_ig1b_ft_in1k"
    server.files[f"/{name}/model.safetensors"] = trained_net("conv7")[1]
    with pytest.warns(
        UserWarning, match="resnet50v1_5.fb_swsl_ig1b_ft_in1k are licensed cc-by-nc-4.0, "
        "which forbids commercial use"
    ):
        reskeras.create(name, **SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reskeras.create(name, **SMALL)      # once


def test_no_license(server):
    trained = reskeras.create("resnet50v1_5", weights=None, include_top=False, **SMALL)
    server.files["/timm/resnet50.bamboo/model.safetensors"] = safetensors(trained)
    with pytest.warns(UserWarning, match="without a license"):
        model = reskeras.create("timm/resnet50.bamboo", **SMALL)
    same(model, trained)
    assert model.output_shape == (None, 1000)


def test_another_mean(server):
    """A checkpoint trained on pixels in -1..1 has that inside the model too."""
    name = "timm/resnetv2_50.a1h_in1k"
    server.files[f"/{name}/model.safetensors"] = trained_net("bare")[1]
    layer = reskeras.create(name, include_preprocessing=True, **SMALL).get_layer("preprocessing")
    np.testing.assert_allclose(layer.scale, 1 / 127.5)


def test_embedded():
    for model in (reskeras.create("cifar_resnet20.digits"), reskeras.CifarResNet20(weights="digits")):
        assert model.input_shape == (None, 16, 16, 1) and model.output_shape == (None, 10)
    assert find_checkpoint("cifar_resnet20", "digits").labels == "digits"
    assert reskeras.create("cifar_resnet20.digits", input_shape=(32, 32, 3)).count_params() > 0
