"""`verify` on the machine that will run the file: without TensorFlow, Keras or ONNX's own package."""
import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from tiny import tiny

import reskeras
from reskeras.exporters import reference_outputs
from reskeras.exporters.comparison import RuntimeResult, compare_outputs
from reskeras.exporters.report import ExportReport
from reskeras.exporters.thresholds import Threshold, choose_threshold, find_fault
from reskeras.exporters.verify import verify_file

BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        blocked = ("keras", "tensorflow", "jax", "torch", "onnx", "tf2onnx", "h5py", "tqdm")
        if name.partition(".")[0] in blocked:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Blocked())
from reskeras.cli import main
code = main(["verify", *sys.argv[1:]])
assert not {"keras", "tensorflow"} & set(sys.modules)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify")
    net = reskeras.create("cifar_resnet20.digits")
    images = np.random.default_rng(0).uniform(size=(40, *net.input_shape[1:])).astype("float32")
    reskeras.export(net, folder / "net.tflite")
    reskeras.export(net, folder / "int8.tflite", quantize="int8", calibration_data=images,
                    thresholds={"difference": 0.2})
    return folder


def without_frameworks(*arguments):
    return subprocess.run([sys.executable, "-c", BLOCKED, *map(str, arguments)], capture_output=True,
                          text=True)


def test_verify_needs_neither_tensorflow_nor_keras(folder):
    pytest.importorskip("ai_edge_litert")
    out = without_frameworks(folder / "net.tflite", folder / "int8.tflite", "--json")
    assert out.returncode == 0, out.stderr
    first, second = json.loads(out.stdout)
    assert first["passed"] and second["passed"] and first["images"] == 4
    assert first["runtimes"]["LiteRT"]["max_relative_difference"] <= 1e-4
    assert first["difference_from_export"] <= 1e-6 and first["operators"]["CONV_2D"] > 5
    assert first["runtimes"]["LiteRT"]["latency_ms"]["median"] > 0 and "ai-edge-litert" in first["versions"]


def test_a_file_that_was_changed_fails(folder, tmp_path):
    for suffix in ("", ".json", ".npz"):
        shutil.copy(folder / f"net.tflite{suffix}", tmp_path / f"net.tflite{suffix}")
    data = bytearray((tmp_path / "net.tflite").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "net.tflite").write_bytes(data)
    found = verify_file(tmp_path / "net.tflite")
    assert not found.passed and "sha256" in found.faults[0]
    out = subprocess.run([sys.executable, "-m", "reskeras.cli", "verify", str(tmp_path / "net.tflite")],
                         capture_output=True,
                         text=True)
    assert out.returncode == 1 and "sha256" in out.stdout


def copy_as_of_older_version(folder, place):
    """Its reports do not have the hash of the images, which may be any then."""
    for suffix in ("", ".json", ".npz"):
        shutil.copy(folder / f"net.tflite{suffix}", place / f"net.tflite{suffix}")
    held = json.loads((place / "net.tflite.json").read_text())
    del held["reference_sha256"]
    (place / "net.tflite.json").write_text(json.dumps(held))


def test_outputs_of_another_machine_fail(folder, tmp_path):
    """As if the exporting machine, or Keras, had answered otherwise."""
    copy_as_of_older_version(folder, tmp_path)
    held = dict(np.load(tmp_path / "net.tflite.npz"))
    for name, fault in (("exported", "the outputs differ by"), ("keras", "differ from Keras by")):
        np.savez(tmp_path / "net.tflite.npz", **{**held, name: held[name][:, ::-1]})
        found = verify_file(tmp_path / "net.tflite")
        assert not found.passed and fault in found.faults[0] and len(found.faults) == 1


def test_what_is_missing_is_named(folder, tmp_path):
    shutil.copy(folder / "net.tflite", tmp_path / "net.tflite")
    with pytest.raises(FileNotFoundError, match="net.tflite.json: no such file; reskeras.export writes it"):
        verify_file(tmp_path / "net.tflite")
    (tmp_path / "net.tflite.json").write_text("{}")
    (tmp_path / "net.tflite.npz").write_text("no")
    with pytest.raises(ValueError, match="is not the report of an export"):
        verify_file(tmp_path / "net.tflite")
    shutil.copy(folder / "net.tflite.json", tmp_path / "net.tflite.json")
    with pytest.raises(ValueError, match="net.tflite.npz cannot be read as an .npz file"):
        verify_file(tmp_path / "net.tflite")


@pytest.mark.parametrize("change", [
    {"runtimes": {}}, {"runtimes": []}, {"thresholds": {}},
    {"thresholds": {"LiteRT": {"difference": "much"}}},
    {"measure": "size"}, {"scale": "large"}])
def test_a_report_that_says_nothing_is_an_error(folder, tmp_path, change):
    for suffix in ("", ".json", ".npz"):
        shutil.copy(folder / f"net.tflite{suffix}", tmp_path / f"net.tflite{suffix}")
    held = json.loads((tmp_path / "net.tflite.json").read_text())
    (tmp_path / "net.tflite.json").write_text(json.dumps(held | change))
    with pytest.raises(ValueError, match="net.tflite.json is not the report of an export"):
        verify_file(tmp_path / "net.tflite")


def test_damaged_images_are_an_error(folder, tmp_path):
    """Whatever NumPy, zipfile and zlib call it."""
    copy_as_of_older_version(folder, tmp_path)
    path, random = tmp_path / "net.tflite.npz", np.random.default_rng(0)
    whole = path.read_bytes()
    held = dict(np.load(path))
    for change in ({"images": held["images"][:0]}, {"images": held["images"][:, :3]}, {"low": np.zeros(3)},
                   {"keras": held["keras"][:2]}, {"exported": held["exported"] * 1j}, {"step": "no"},
                   {"images": held["images"].astype("float32")}, {"logits": np.zeros(())}):
        np.savez(path, **{**held, **change})
        with pytest.raises(ValueError, match="net.tflite.npz (cannot be read|holds no images|has outputs)"):
            verify_file(tmp_path / "net.tflite")
    for place in random.integers(0, len(whole), 150):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << random.integers(8)]) + whole[place + 1:])
        try:
            reference_outputs.read_reference_outputs(path)
        except ValueError as error:
            assert "net.tflite.npz " in str(error) and "\n" not in str(error)


def test_a_file_that_fell_short_fails_again(folder, tmp_path):
    """Its few images say less than those of the export."""
    net = reskeras.create("cifar_resnet20.digits")
    report = reskeras.export(net, tmp_path / "net.tflite", thresholds={"agreement": 1.5}, strict=False)
    found = verify_file(tmp_path / "net.tflite")
    assert not report.passed and not found.passed and f"at its export {report.fault}" in found.faults


def test_json_has_no_infinity(folder, tmp_path):
    """Where the outputs are not finite, which `strict=False` keeps, and where the file is another."""
    def refuse(name):
        raise ValueError(name)
    image = keras.Input((4, 4, 3))
    net = keras.Model(image, keras.layers.Rescaling(float("inf"))(image))
    report = reskeras.export(net, tmp_path / "net.tflite", strict=False)
    text = (tmp_path / "net.tflite.json").read_text()
    assert json.loads(text, parse_constant=refuse)["runtimes"]["LiteRT"]["max_relative_difference"] is None
    assert ExportReport.read(tmp_path / "net.tflite.json") == report and "not finite" in report.fault
    for suffix in (".json", ".npz"):
        shutil.copy(folder / f"net.tflite{suffix}", tmp_path / f"net.tflite{suffix}")
    assert json.loads(verify_file(tmp_path / "net.tflite").to_json(),
                      parse_constant=refuse)["difference_from_export"] is None


def test_report_file_is_read_back(folder):
    held = ExportReport.read(folder / "int8.tflite.json")
    assert held.passed and held.judge() == held
    assert held.quantize == "int8" and held.weights_sha256 and held.threads == 1
    assert held.thresholds == {"LiteRT": Threshold(difference=0.2)} and held.keras["latency_ms"]["p90"] > 0
    assert held.first_result.mean_relative_difference <= held.first_result.max_relative_difference


def test_thresholds():
    scores = np.eye(4, dtype="float32")[[0, 1, 2, 3] * 5] * 8
    near = scores + 0.01
    result = compare_outputs(near, scores, "float32", "outputs", classes=np.array([0, 1, 2, 0] * 5))
    assert result.accuracy == 0.75 and result.top1_agreement == 1
    assert "more than 0.0001" in find_fault(result, choose_threshold("float32", True))
    assert not find_fault(result, choose_threshold("float16", True))

    int8 = compare_outputs(near, scores, "int8", "outputs")
    turned = compare_outputs(scores[:, ::-1], scores, "int8", "outputs")
    assert "keep the class" in find_fault(turned, choose_threshold("int8", True))
    assert not find_fault(int8, choose_threshold("int8", True))
    assert "more than 0.1" in find_fault(turned, choose_threshold("int8", False))
    flat = compare_outputs(scores / 4, scores, "int8", "outputs")      # each image keeps its class
    assert not find_fault(flat, choose_threshold("int8", True))
    nonsense = compare_outputs(scores + 5, scores, "int8", "outputs")
    assert nonsense.decided_agreement == 1
    assert "relative on average, more than 0.5" in find_fault(nonsense, choose_threshold("int8", True))
    assert choose_threshold("int8", True, {"agreement": 0.5}) == Threshold(agreement=0.5)
    with pytest.raises(ValueError, match="did you mean 'agreement'"):
        choose_threshold("int8", True, {"agreemnt": 0.5})


def test_a_saturated_softmax_hides_nothing():
    logits = np.array([[100.0, 0.0, 50.0]], "float32")
    off = logits + [[0, 0, 5]]
    expected, found = (np.exp(z - z.max()) / np.exp(z - z.max()).sum() for z in (logits, off))
    assert compare_outputs(found, expected, "float32", "outputs").max_relative_difference < 1e-10
    assert compare_outputs(found, expected, "float32", "log-probabilities").max_relative_difference > 0.01
    exact = compare_outputs(found, expected, "float32", "log-probabilities",
                            scale=100).max_relative_difference
    assert exact == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_never_passes(bad):
    expected = np.ones((2, 3), "float32")
    found = np.where(np.eye(2, 3), bad, expected)
    for compared_values in ("outputs", "log-probabilities"):
        for precision in ("float32", "int8"):
            result = compare_outputs(found.astype("float32"), expected / 3, precision, compared_values)
            assert isinstance(result, RuntimeResult)
            assert "not finite" in find_fault(result, choose_threshold(precision, True))


def test_untrained_nets_are_told_from_trained_ones():
    from reskeras.exporters.prepare import is_trained
    net = tiny("cifar_resnet20")
    assert not is_trained(net) and is_trained(reskeras.create("cifar_resnet20.digits"))
