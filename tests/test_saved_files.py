"""Files that an earlier version wrote (tests/saved) are read, resumed and verified."""
import json
import pathlib
import shutil
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import reskeras
from reskeras.graph.report import OptimizationReport

FOLDER = pathlib.Path(__file__).parent / "saved" / "before_rename"
LABELS = ("cat", "dog", "o'key")
NETS = ["bottleneck_blur_se", "resnest_dropblock", "bit"]


@pytest.mark.parametrize("name", NETS)
def test_nets(name, tmp_path):
    """A saved net gives the outputs that it gave, and knows its preprocessing and labels; saved again,
    too.
    """
    outputs = np.load(FOLDER / "outputs.npz")
    model = reskeras.load(FOLDER / f"{name}.keras")
    reskeras.save(model, tmp_path / "again.keras")
    for net in (model, reskeras.load(tmp_path / "again.keras")):
        metadata = reskeras.get_metadata(net)
        assert metadata.labels == LABELS and metadata.includes_preprocessing is (name == "bottleneck_blur_se")
        preprocessing = metadata.preprocessing
        assert preprocessing.pixels == ("raw" if metadata.includes_preprocessing else "torch")
        assert (preprocessing.size, preprocessing.test_size) == ((224, 224), (288, 288))
        assert preprocessing.crop_pct == 0.95
        assert reskeras.get_preprocessing(net).size == (32, 32)

        images = outputs["images"].astype("float32") / (1 if metadata.includes_preprocessing else 255)
        np.testing.assert_allclose(net.predict(images, verbose=0), outputs[name], atol=1e-4)


def test_a_config_has_the_keys_that_it_had(tmp_path):
    """So that an earlier version reads what this one writes."""
    saved, written = (json.loads(zipfile.ZipFile(file).read("config.json")) for file in (
        FOLDER / "bit.keras", _saved_again("bit", tmp_path)))
    assert saved["registered_name"] == written["registered_name"] == "reskeras>Net"
    assert saved["config"]["memory"] == written["config"]["memory"]
    assert set(saved["config"]) == set(written["config"]) and saved["class_name"] == written["class_name"]


def _saved_again(name, folder):
    reskeras.save(reskeras.load(FOLDER / f"{name}.keras"), folder / f"{name}.keras")
    return folder / f"{name}.keras"


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """(folder, history) of the interrupted training, gone through to its end."""
    folder = tmp_path_factory.mktemp("saved") / "run"
    shutil.copytree(FOLDER / "run", folder)
    with pytest.MonkeyPatch.context() as patch:     # it would last, and the tests of XLA after it would fail
        patch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)
        return folder, reskeras.fit(resume=folder, strategy="none", verbose=0)


def test_a_training_is_resumed(resumed):
    """It ends where the same training without an interruption ended."""
    folder, history = resumed
    end = np.load(FOLDER / "run_end.npz")
    values = {variable.path: np.asarray(variable) for variable in history.model.variables}
    weights = [name for name in end.files if name in values]
    assert len(weights) > 10
    for name in weights:
        np.testing.assert_allclose(values[name], end[name], rtol=1e-3, atol=1e-3, err_msg=name)
    np.testing.assert_allclose(history.history["loss"], end["loss"], rtol=1e-3)
    np.testing.assert_allclose(history.history["val_accuracy"], end["val_accuracy"], atol=0.01)


def test_a_resumed_run_has_the_keys_that_it_had(resumed):
    before, after = (json.loads((place / "run.json").read_text()) for place in (FOLDER / "run", resumed[0]))
    assert after["arguments"] == before["arguments"] and after["recipe"] == before["recipe"]
    with np.load(FOLDER / "run" / "checkpoint.npz") as old, np.load(resumed[0] / "checkpoint.npz") as new:
        assert set(old.files) == set(new.files)


def test_the_report_of_an_optimization(tmp_path):
    report = OptimizationReport.read(FOLDER / "optimize.json")
    assert report.after.layers < report.before.layers and report.check.passed
    report.write(tmp_path / "again.json")
    saved = json.loads((FOLDER / "optimize.json").read_text())
    assert json.loads((tmp_path / "again.json").read_text()) == saved


def test_an_exported_file_is_verified():
    report = reskeras.verify(FOLDER / "resnest.tflite")
    assert report.passed, report


def test_an_exported_file_knows_its_labels(tmp_path):
    """Also without the report beside it: they are inside."""
    shutil.copy(FOLDER / "resnest.tflite", tmp_path)
    image = np.load(FOLDER / "outputs.npz")["images"][0]
    Image.fromarray(image).save(tmp_path / "image.png")
    result, = reskeras.predict(tmp_path / "resnest.tflite", tmp_path / "image.png", top=3)
    assert {guess["label"] for guess in result["predictions"]} == set(LABELS)
