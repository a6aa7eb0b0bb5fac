"""Presets of KerasHub and its files of weights, against its own outputs in tests/golden/kerashub.json."""
import io
import json
import shutil

import h5py
import numpy as np
import pytest
from golden_rule import images
from kerashub_nets import CLASSES, FIELDS, NETS, PIXELS
from kerashub_presets import GOLDEN, make_values, write_layout, write_preset

import reskeras

LOGITS = {"classifier_activation": None, "dtype": "float64", "input_shape": (None, None, 3)}


def assert_equal(model, golden):
    for size in PIXELS:
        found = np.asarray(model(images(size).astype("float64"), training=False))
        expected = np.array(golden[f"logits_{size}"])
        assert np.abs(found - expected).max() <= 1e-9 * np.abs(expected).max()


@pytest.mark.parametrize("variant", NETS)
def test_a_preset_and_its_whole_file(variant, tmp_path):
    """A folder; and task.weights.h5 as older versions wrote it, with a net inside the net."""
    golden = write_preset(tmp_path / "preset", variant)
    model = reskeras.create(variant, weights=tmp_path / "preset", **FIELDS, **LOGITS)
    assert model.output_shape == (None, CLASSES)        # as the files say
    assert_equal(model, golden)

    with h5py.File(tmp_path / "task.weights.h5", "w") as file:
        write_layout(file, golden["task.weights.h5"])
        write_layout(file, golden["model.weights.h5"], "layers/res_net_backbone/")
    model = reskeras.create(variant, weights=str(tmp_path / "task.weights.h5"), **FIELDS, **LOGITS)
    assert_equal(model, golden)


def test_the_backbone_alone(tmp_path):
    write_preset(tmp_path, "resnet50d")
    whole = reskeras.create("resnet50d", weights=tmp_path, **FIELDS)
    for weights in (tmp_path, tmp_path / "model.weights.h5"):
        model = reskeras.create("resnet50d", weights=weights, include_top=False, **FIELDS)
        for layer in model.layers:
            values = whole.get_layer(layer.name).get_weights()
            for ours, value in zip(layer.get_weights(), values, strict=True):
                np.testing.assert_array_equal(ours, value)
    (tmp_path / "task.weights.h5").unlink()
    with pytest.raises(ValueError, match="2 variables of the net without a tensor: predictions.kernel"):
        reskeras.create("resnet50d", weights=tmp_path, **FIELDS)


def test_parts(tmp_path):
    """Large backbones are in several files, which model.weights.json names."""
    golden = write_preset(tmp_path, "resnet18_vd")
    layout = golden["model.weights.h5"]
    places = {}
    for number, part in enumerate((layout[:9], layout[9:])):
        name = f"model_{number:05}.weights.h5"
        with h5py.File(tmp_path / name, "w") as file:
            write_layout(file, part)
        places |= {f"/{group}": name for group, _, _ in part}
    (tmp_path / "model.weights.h5").unlink()
    (tmp_path / "model.weights.json").write_text(json.dumps({"weight_map": places}))
    assert_equal(reskeras.create("resnet18_vd", weights=tmp_path, **FIELDS, **LOGITS), golden)


def test_published(published):
    """The rows of the table: the whole net, and the net without its classifier."""
    layout = GOLDEN["resnet18_vd"]["model.weights.h5"]
    backbone, whole = io.BytesIO(), io.BytesIO()
    with h5py.File(whole, "w") as file:
        write_layout(file, [["layers/dense/vars", "predictions", [[24, 1000], [1000]]]])
        write_layout(file, layout, "layers/res_net_backbone/")
    with h5py.File(backbone, "w") as file:
        write_layout(file, layout)
    model = reskeras.create(published("kerashub/resnet_vd_18.kerashub_in1k", whole.getvalue()), **FIELDS)
    name = published("kerashub/resnet_vd_18.kerashub_in1k_notop", backbone.getvalue())
    features = reskeras.create(name, include_top=False, **FIELDS)
    for layer in features.layers:
        for ours, value in zip(layer.get_weights(), model.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(ours, value)
    kernel = make_values("predictions", [[24, 1000], [1000]])[0]
    np.testing.assert_array_equal(model.get_layer("predictions").get_weights()[0], kernel)
    assert reskeras.get_metadata(model).preprocessing.interpolation == "bilinear"


def damage_config(folder, text):
    (folder / "config.json").write_text(text)


def put_layer_twice(folder):
    with h5py.File(folder / "model.weights.h5", "a") as file:
        file.copy(file["layers/conv2d"], file["layers"], "conv2d_99")


ATTACKS = {
    "no config.json": (lambda f: (f / "config.json").unlink(),
                       "is a folder; expected a regular file, or a"),
    "timm's config.json": (lambda f: damage_config(f, '{"architecture": "resnet18"}'), "of another package"),
    "another class": (lambda f: damage_config(f, '{"class_name": "BertBackbone"}'),
                      "'BertBackbone'.*ResNet"),
    "a class of control characters": (lambda f: damage_config(f, '{"class_name": "\\u001b[2J"}'), "class"),
    "a list": (lambda f: damage_config(f, "[]"), "of another package"),
    "no JSON": (lambda f: damage_config(f, "{"), "config.json"),
    "a config of 2 MB": (lambda f: damage_config(f, " " * 2 ** 21 + "{}"), "config.json"),
    "a config that is a folder": (lambda f: ((f / "config.json").unlink(), (f / "config.json").mkdir()),
                                  "config.json is a folder"),
    "no weights": (lambda f: (f / "model.weights.h5").unlink(), "a preset without model.weights.h5"),
    "weights cut": (lambda f: (f / "task.weights.h5").write_bytes((f / "task.weights.h5").read_bytes()[:900]),
                    "task.weights.h5 cannot be read"),
    "a layer twice": (put_layer_twice, "model.weights.h5 cannot be read.*the same name"),
}


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("preset")
    write_preset(folder, "resnet18")
    return folder


@pytest.mark.parametrize("attack", ATTACKS)
def test_damaged_presets_change_nothing(attack, preset, tmp_path):
    damage, message = ATTACKS[attack]
    folder = shutil.copytree(preset, tmp_path / "copy")
    damage(folder)
    model = reskeras.create("resnet18", weights=None, classes=CLASSES, **FIELDS)
    before = model.get_weights()
    with pytest.raises(ValueError, match=message) as error:
        reskeras.load_weights(model, folder)
    assert str(error.value).startswith(str(folder)) and str(error.value).isprintable()
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("net", ["resnet18_vd", "resnetv2_18", "resnet18d", "seresnet18"])
def test_another_net(net, preset):
    with pytest.raises(ValueError, match="does not fit"):
        reskeras.create(net, weights=preset, **FIELDS)
