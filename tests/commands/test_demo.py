"""The main job end to end at a small size, and the net that comes with the package, proved on the fixed test
images.
"""
import csv
import hashlib
import json
import pathlib
import re
from html.parser import HTMLParser

import numpy as np
import pytest

import reskeras
from reskeras.exporters.formats import open_file
from reskeras.commands import demo as job
from reskeras.commands import html
from reskeras.commands.digits import augment_digits, load_digits
from reskeras.weights.table import EMBEDDED_FOLDER

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
SAVED_MODELS = pathlib.Path(__file__).parents[2] / "saved_models"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    output = tmp_path_factory.mktemp("demo") / "new" / "demo"
    return job.demo(output, fast=True, quiet=True), output


def test_demo_writes_every_artefact(run):
    result, output = run
    assert {f.name for f in output.iterdir()} == {
        f"{file}{kind}" for file in ("digits.keras", "saved_model", "digits.tflite", "digits.int8.tflite")
        for kind in ("", ".json", ".npz")} | {"samples", "report.html"}
    for name, file in result["files"].items():
        saved = json.loads((output / f"{file.name}.json").read_text())
        assert saved["bytes"] == result["reports"][name].bytes
    assert len(list((output / "samples").glob("*.png"))) == 10


def test_demo_learns_and_its_files_agree(run):
    result, _ = run
    assert set(result["accuracy"]) == {"trained net", "Keras", "SavedModel", "TFLite", "TFLite int8"}
    assert min(result["accuracy"].values()) > 0.5       # chance is 0.1
    agreement = result["agreement"]
    assert agreement["Keras"] == 1 and agreement["TFLite"] > 0.99 and agreement["TFLite int8"] > 0.9
    assert len(result["predictions"]) == 10 and not any("error" in p for p in result["predictions"])
    assert len(result["history"]["val_accuracy"]) == job.FAST_EPOCHS


class Tags(HTMLParser):
    """Counts tags, and fails where they do not nest."""

    def __init__(self):
        super().__init__()
        self.open, self.count = [], {}

    def handle_starttag(self, name, attributes):
        self.count[name] = self.count.get(name, 0) + 1
        if name not in ("meta", "img", "br"):
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name


def test_report_is_one_page_without_network(run):
    result, output = run
    text = (output / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|//\w|<script|<link|@import|url\((?!#)",
                         re.sub(r"base64,[\w+/=]+", "", text))
    assert 10_000 < len(text) < 300_000
    tags = Tags()
    tags.feed(text)
    assert not tags.open and tags.count["svg"] == 2 and tags.count["img"] >= 10 and tags.count["table"] == 3
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    for report in result["reports"].values():
        assert f"{report.latency_ms:.2f} ms" in text
    assert "prefers-color-scheme" in text and "width=device-width" in text


def test_html_escapes_text():
    page = html.page("a < b", html.tag("p", "<script>", title='"'), html.table(["&"], [["<td>"]]))
    for escaped in ("a &lt; b", '<p title="&quot;">&lt;script&gt;</p>', "&lt;td&gt;", "<th>&amp;</th>"):
        assert escaped in page


def test_split_is_fixed_and_stratified():
    parts = load_digits()
    assert [len(p) for p in parts] == [1255, 178, 364]
    for part, share in zip(parts, (0.7, 0.1, 0.2)):
        counts = np.bincount(part.labels, minlength=10)
        np.testing.assert_allclose(counts, 179.7 * share, atol=4)
        assert part.images.shape[1:] == (16, 16, 1) and part.images.min() == 0 and part.images.max() == 1
    digest = hashlib.sha256(parts[2].pixels.tobytes() + parts[2].labels.astype("int8").tobytes()).hexdigest()
    assert digest.startswith("137abb42466fcee0")
    assert not {p.tobytes() for p in parts[0].pixels} & {p.tobytes() for p in parts[2].pixels}


def test_augmentation_moves_images_a_little_and_differently():
    import tensorflow as tf
    images = load_digits()[0].images[:64]
    tf.random.set_seed(0)
    moved = augment_digits(tf.constant(images)).numpy()
    assert moved.shape == images.shape and moved.min() >= 0 and moved.max() <= 1
    distance = np.abs(moved - images).mean((1, 2, 3))
    assert distance.min() > 0 and np.median(distance) < 0.2 and len(np.unique(distance)) == 64
    assert abs(moved.mean() - images.mean()) < 0.03


def test_missing_extra_says_what_to_install(monkeypatch, tmp_path):
    import importlib.util
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name,
                        *a: None if name == "sklearn" else find_spec(name, *a))
    with pytest.raises(ImportError, match=r'needs scikit-learn: pip install "reskeras\[demo\]"'):
        job.demo(tmp_path / "demo")
    assert not list(tmp_path.iterdir())


def test_output_that_cannot_be_written_is_said_before_the_training(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        job.demo(tmp_path / "file" / "demo")
    with pytest.raises(ValueError, match="only a full run"):
        job.demo(tmp_path / "demo", fast=True, keep=True)


def index():
    with (SAVED_MODELS / "INDEX.tsv").open(newline="") as file:
        return [line for line in csv.DictReader(file, delimiter="\t")
                if line["command"] == "reskeras demo --keep"]


@pytest.mark.parametrize("row", index(), ids=lambda row: row["file"])
def test_embedded_net_has_the_accuracy_of_the_index(row):
    file = SAVED_MODELS / row["file"]
    assert hashlib.sha256(file.read_bytes()).hexdigest() == row["sha256"]
    assert file.stat().st_size == int(row["bytes"])
    test = load_digits()[2]
    accuracy = (open_file(file)(test.images).argmax(1) == test.labels).mean()
    assert accuracy == pytest.approx(float(row["accuracy"]), abs=1.5 / len(test)) and accuracy >= 0.985


def test_embedded_net_is_package_data_and_has_a_name():
    name = "cifar_resnet20.digits"
    assert (EMBEDDED_FOLDER / f"{name}.keras").read_bytes() == (SAVED_MODELS / f"{name}.keras").read_bytes()
    assert (EMBEDDED_FOLDER / f"{name}.keras").stat().st_size < 1_400_000
    net, test = reskeras.create(name, input_shape=(16, 16, 1)), load_digits()[2]
    np.testing.assert_allclose(net.predict(test.images, verbose=0),
                               open_file(EMBEDDED_FOLDER / f"{name}.keras")(test.images), atol=1e-5)


def test_embedded_int8_file_is_verified():
    """Its answers here are those of the machine that exported it."""
    result = reskeras.verify(SAVED_MODELS / "cifar_resnet20.digits.int8.tflite")
    assert result.passed, result.faults
