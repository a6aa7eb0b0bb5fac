"""`save_weights(naming="kerashub")` writes what KerasHub writes, as tests/golden/kerashub.json has it."""
import json

import h5py
import numpy as np
import pytest
from kerashub_nets import CLASSES, FIELDS
from kerashub_presets import write_preset

import reskeras
from reskeras.cli import main
from reskeras.images.preprocessing import Preprocessing

NETS = ["resnet18", "resnet50v1_5", "resnetv2_50", "resnet18_vd", "resnet50d"]      # KerasHub has presets
PREPROCESSING = Preprocessing(size=(48, 48), mean=(0.5,) * 3, std=(0.25,) * 3, interpolation="bicubic")
SMALL = {"weights": None, "classes": CLASSES, **FIELDS}


def read_layout(path):
    """The variables of a file by the names of their groups, and the layers' names."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update(
            {name: item[()]} if isinstance(item, h5py.Dataset) else {name: item.attrs.get("name", "")}))
    return found


def assert_contains(found, expected):
    """Everything that we write is as in KerasHub's file, which also has names, types and defaults."""
    if isinstance(found, dict):
        assert found.keys() <= expected.keys() and expected.keys() - found.keys() <= {
            "name", "trainable", "dtype", "antialias", "pad_to_aspect_ratio", "bounding_box_format"}
        for key, value in found.items():
            assert_contains(value, expected[key])
    elif isinstance(found, list):
        assert len(found) == len(expected)
        for a, b in zip(found, expected):
            assert_contains(a, b)
    else:
        assert found == pytest.approx(expected) if isinstance(found, float) else found == expected


@pytest.mark.parametrize("variant", NETS)
def test_equals_kerashub(variant, tmp_path):
    golden = write_preset(tmp_path / "theirs", variant)
    model = reskeras.create(variant, weights=tmp_path / "theirs", dtype="float32", classifier_activation=None,
                            drop_path_rate=0.1, **FIELDS)
    model = reskeras.set_metadata(model, preprocessing=PREPROCESSING)
    for _ in range(2):      # the second preset replaces the first
        reskeras.save_weights(model, tmp_path / "ours", naming="kerashub")
    names = {file.name for file in (tmp_path / "ours").iterdir()}
    assert names == {name for name in golden if "." in name} | {"metadata.json"}
    for name in names - {"metadata.json"}:
        if name.endswith(".json"):
            assert_contains(json.loads((tmp_path / "ours" / name).read_text()), golden[name])
            continue
        ours, theirs = read_layout(tmp_path / "ours" / name), read_layout(tmp_path / "theirs" / name)
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            np.testing.assert_array_equal(ours[key], value)


def test_a_net_without_classifier_and_with_softmax(tmp_path):
    model = reskeras.ResNet18VD(**SMALL)
    reskeras.save_weights(model, tmp_path / "whole", naming="kerashub")
    task = json.loads((tmp_path / "whole" / "task.json").read_text())
    assert (task["config"]["activation"], task["config"]["preprocessor"]) == ("softmax", None)
    features = reskeras.ResNet18VD(**SMALL, include_top=False, name="resnet18_vd")
    reskeras.save_weights(features, tmp_path / "features", naming="kerashub")
    assert {file.name for file in (tmp_path / "features").iterdir()} == {
        "config.json", "metadata.json", "model.weights.h5"}


def test_in_the_shell(tmp_path, capsys):
    reskeras.save(reskeras.ResNet18VD(**SMALL), tmp_path / "net.keras")
    command = ["weights", "convert", str(tmp_path / "net.keras")]
    assert main([*command, str(tmp_path / "preset"), "--naming", "kerashub"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'preset'}\n"
    again = reskeras.ResNet18VD(weights=tmp_path / "preset", **FIELDS)
    for a, b in zip(again.get_weights(), reskeras.load(tmp_path / "net.keras").get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert main([*command, str(tmp_path / "net.safetensors"), "--naming", "kerashub"]) == 2
    assert "net.safetensors: expected the name of a folder" in capsys.readouterr().err


def make_foreign_folder(folder):
    folder.mkdir()
    (folder / "photo.png").write_bytes(b"mine")


ERRORS = {
    "a net of Keras": (lambda: reskeras.ResNet50(**SMALL), None, "has the net 'resnet50'"),
    "an attention": (lambda: reskeras.SEResNet18(**SMALL), None, "has the net 'seresnet18'"),
    "a narrow net": (lambda: reskeras.ResNet18(**{**SMALL, "widths": (32, 16, 24)}), None, "64 in the"),
    "BGR": (lambda: reskeras.set_metadata(reskeras.ResNet18(**SMALL), preprocessing="resnet50.keras_in1k"),
            None, "no images in BGR"),
    "a folder with other files": (lambda: reskeras.ResNet18(**SMALL), make_foreign_folder, "'photo.png'"),
    "a file": (lambda: reskeras.ResNet18(**SMALL), lambda path: path.write_bytes(b"mine"), "there is a file"),
}


@pytest.mark.parametrize("error", ERRORS)
def test_errors_write_nothing(error, tmp_path):
    make_model, prepare, message = ERRORS[error]
    path = tmp_path / "preset"
    if prepare:
        prepare(path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(ValueError, match=message):
        reskeras.save_weights(make_model(), path, naming="kerashub")
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    assert path.exists() == bool(prepare)
