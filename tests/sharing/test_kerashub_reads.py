"""KerasHub and reskeras read each other's files, to the bit, and compute the same (tox -e kerashub)."""
import h5py
import keras
import numpy as np
import pytest
from kerashub_nets import CLASSES, DEEP, FIELDS, NETS, SIZES

import reskeras

# KerasHub also stores an optimizer, which our presets do not have
pytestmark = pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
keras_hub = pytest.importorskip("keras_hub")
WRITTEN = [variant for variant in NETS if variant != "resnetv2_18"]     # KerasHub has no preset of that one
SMALL = {"classifier_activation": None, "dtype": "float64", "input_shape": (None, None, 3), **FIELDS}


def randomize(model):
    """Gives random values to a net, so that every block matters."""
    for layer in model.layers:
        for variable in layer.weights:
            random = np.random.default_rng(sum(f"{layer.name}.{variable.name}".encode()))
            shape = tuple(variable.shape)
            if variable.name in ("gamma", "moving_variance"):
                value = random.uniform(0.5, 1.5, shape)
            elif variable.name == "kernel":
                value = random.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]))
            else:
                value = 0.1 * random.normal(size=shape)
            variable.assign(value)
    return model


def build_theirs(arguments, dtype="float64"):
    backbone = randomize(keras_hub.models.ResNetBackbone(**arguments, dtype=dtype))
    net = keras_hub.models.ResNetImageClassifier(backbone, CLASSES)
    randomize(keras.Model(net.get_layer("pooler").output, net.output))
    return net


def assert_equal(first, second, sides=(64, 65, 75)):
    """The logits of both nets are equal."""
    for side in sides:
        x = np.random.default_rng(side).normal(size=(2, side, side, 3)).astype(first.compute_dtype)
        a, b = (np.asarray(net(x, training=False)) for net in (first, second))
        assert np.abs(a - b).max() <= (1e-10 if x.dtype == "float64" else 1e-5) * np.abs(a).max()


def read_values(path):
    """The variables of a file by their paths, without those of the optimizer that KerasHub adds."""
    values = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: values.update(
            {name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return {name: value for name, value in values.items() if not name.startswith("optimizer/")}


def assert_same_files(first, second):
    for name in ("model.weights.h5", "task.weights.h5"):
        ours, theirs = read_values(first / name), read_values(second / name)
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            assert ours[key].dtype == value.dtype
            np.testing.assert_array_equal(ours[key], value)


@pytest.mark.parametrize("variant", NETS)
def test_their_files(variant, tmp_path):
    """A preset, a file of weights and a .keras file of KerasHub."""
    net = build_theirs({**NETS[variant], **SIZES})
    net.save_to_preset(str(tmp_path / "preset"))
    net.save_weights(tmp_path / "whole.weights.h5")
    net.save(tmp_path / "whole.keras")
    for weights in ("preset", "whole.weights.h5", "whole.keras"):
        ours = reskeras.create(variant, weights=tmp_path / weights, **SMALL)
        assert_equal(net, ours)
    if variant in WRITTEN:
        reskeras.save_weights(ours, tmp_path / "again", naming="kerashub")
        assert_same_files(tmp_path / "again", tmp_path / "preset")


@pytest.mark.parametrize("variant", WRITTEN)
def test_our_files(variant, tmp_path):
    """KerasHub opens our preset, and writes it again."""
    ours = randomize(reskeras.create(variant, weights=None, classes=CLASSES, drop_path_rate=0.2, **SMALL))
    reskeras.save_weights(ours, tmp_path / "preset", naming="kerashub")
    net = keras_hub.models.ImageClassifier.from_preset(str(tmp_path / "preset"), dtype="float64")
    assert_equal(ours, net)
    net.save_to_preset(str(tmp_path / "again"))
    assert_same_files(tmp_path / "preset", tmp_path / "again")
    backbone = keras_hub.models.ResNetBackbone(**NETS[variant], **SIZES, dtype="float64")
    backbone.load_weights(tmp_path / "preset" / "model.weights.h5")
    for a, b in zip(backbone.get_weights(), net.backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_many_layers(tmp_path):
    """More than ten blocks in a stage, and a hundred convolutions: Keras sorts names as text."""
    arguments = {**DEEP, "block_type": "bottleneck_block_vd", "stackwise_num_filters": [64, 4, 4, 4],
                 "stackwise_num_blocks": [3, 12, 48, 3], "stackwise_num_strides": [1, 2, 2, 2]}
    net = build_theirs(arguments)
    net.save_to_preset(str(tmp_path / "preset"))
    ours = reskeras.ResNet200VD(weights=tmp_path / "preset", **{**SMALL, "widths": (64, 4, 4, 4), "depths": (
        3, 12, 48, 3), "strides": (1, 2, 2, 2)})
    assert_equal(net, ours, sides=(65,))
    reskeras.save_weights(ours, tmp_path / "again", naming="kerashub")
    assert_same_files(tmp_path / "again", tmp_path / "preset")


@pytest.mark.parametrize("preset, variant", [
    ("resnet_18_imagenet", "resnet18"), ("resnet_50_imagenet", "resnet50v1_5"),
    ("resnet_101_imagenet", "resnet101v1_5"), ("resnet_152_imagenet", "resnet152v1_5"),
    ("resnet_vd_50_imagenet", "resnet50d"),
    ("resnet_vd_18_imagenet", "resnet18_vd"), ("resnet_vd_34_imagenet", "resnet34_vd"),
    ("resnet_vd_101_imagenet", "resnet101d"), ("resnet_vd_152_imagenet", "resnet152d"),
    ("resnet_vd_200_imagenet", "resnet200_vd")])
def test_parameters_of_the_presets(preset, variant):
    """KerasHub's own counts: of ResNetVD with the classifier, of the others without it.

    For the presets of ResNet v2 it says the counts of v1, which has more normalizations.
    """
    metadata = keras_hub.models.ResNetBackbone.presets[preset]["metadata"]
    with keras.StatelessScope(initialize_variables=False):
        model = reskeras.create(variant, weights=None, include_top="_vd_" in preset)
    assert model.count_params() == metadata["params"]


def test_the_rows_are_all_presets():
    repos = {reskeras.get_weights(name).repo for name in reskeras.list_weights(source="kerashub")}
    assert repos == {f"keras/{preset}" for preset in keras_hub.models.ResNetBackbone.presets}


def test_full_size(tmp_path):
    """ResNet18_vd and a preset of float32, as KerasHub publishes it."""
    sizes = {"stackwise_num_filters": [64, 128, 256, 512], "stackwise_num_blocks": [2, 2, 2, 2],
             "stackwise_num_strides": [1, 2, 2, 2]}
    net = build_theirs({**NETS["resnet18_vd"], **sizes}, "float32")
    net.save_to_preset(str(tmp_path / "preset"))
    ours = reskeras.ResNet18VD(weights=tmp_path / "preset", **{**SMALL, "dtype": "float32", "widths": (
        64, 128, 256, 512), "depths": (2, 2, 2, 2), "strides": (1, 2, 2, 2)})
    assert_equal(net, ours, sides=(224, 225))


def test_pre_activation_with_average_shortcuts_is_broken_there():
    """Why no net of the table has both in KerasHub: its shortcut then does not stride."""
    with pytest.raises(ValueError, match="(?i)shape"):
        keras_hub.models.ResNetBackbone(**NETS["resnet50d"], **SIZES, use_pre_activation=True,
                                        image_shape=(64, 64, 3))
