"""A SavedModel as a server sees it: its signatures, in a process that has not this package."""
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tiny import policy, tiny, trained
from without_reskeras import START

import reskeras
from reskeras.exporters import saved_model
from reskeras.exporters.options import ExportOptions
from reskeras.images.preprocessing import Preprocessing

LABELS = [f"class {i}" for i in range(7)]
SERVER = START + """
folder = sys.argv[1]
served = tf.saved_model.load(folder).signatures
inputs = np.load(os.path.join(sys.argv[2], "inputs.npz"))
files = [open(os.path.join(sys.argv[2], name), "rb").read() for name in ("a.png", "b.jpg")]
answers = {"serving_default": served["serving_default"](images=tf.constant(inputs["images"])),
           "serving_uint8": served["serving_uint8"](pixels=tf.constant(inputs["pixels"])),
           "serving_bytes": served["serving_bytes"](image_bytes=tf.constant(files))}
print(json.dumps({name: {key: value.numpy().tolist() if value.dtype != tf.string else
                  [[label.decode() for label in row] for row in value.numpy()]
                  for key, value in answer.items()}
                  for name, answer in answers.items()}))
assert "reskeras" not in sys.modules
"""


@pytest.fixture(scope="module")
def net():
    net = trained(tiny("resnext50_32x4d", input_shape=(32, 48, 3)))
    return reskeras.set_metadata(net, Preprocessing((32, 48), "torch", crop_pct=0.9), LABELS)


@pytest.fixture(scope="module")
def served(net, tmp_path_factory):
    """The folder, the inputs and what a server answers."""
    folder = tmp_path_factory.mktemp("served")
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (3, 40, 50, 3), "uint8")
    images = random.standard_normal((3, 32, 48, 3)).astype("float32")
    np.savez(folder / "inputs.npz", pixels=pixels, images=images)
    smooth = np.kron(random.integers(0, 256, (5, 6, 3), "uint8"), np.ones((9, 9, 1), "uint8"))
    (folder / "a.png").write_bytes(tf.io.encode_png(smooth).numpy())
    (folder / "b.jpg").write_bytes(tf.io.encode_jpeg(smooth[::-1, :-3]).numpy())
    report = reskeras.export(net, folder / "net")
    assert report.passed and report.operators["Conv2D"] > 0 and report.compared_values == "log-probabilities"
    out = subprocess.run([sys.executable, "-c", SERVER, str(folder / "net"), str(folder)],
                         capture_output=True, text=True)
    assert out.returncode == 0, out.stderr[-2000:]
    return folder, pixels, images, json.loads(out.stdout.splitlines()[-1])


def logits(scores):
    return np.log(np.maximum(np.asarray(scores, "float64"), 1e-30))


def test_answers_of_every_signature(net, served):
    folder, pixels, images, answers = served
    prepare = reskeras.get_preprocessing(net)
    expected = {"serving_default": net.predict(images, verbose=0),
                "serving_uint8": net.predict(prepare(pixels), verbose=0),
                "serving_bytes": net.predict(prepare([folder / "a.png", folder / "b.jpg"]), verbose=0)}
    for name, scores in expected.items():
        answer = answers[name]
        np.testing.assert_allclose(logits(answer["scores"]), logits(scores), rtol=1e-3, atol=1e-3)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :5]
        assert answer["top_labels"] == [[LABELS[i] for i in row] for row in order]
        np.testing.assert_allclose(answer["top_scores"], np.take_along_axis(scores, order, 1), rtol=1e-3,
                                   atol=1e-6)


def test_no_node_needs_xla(served):
    folder, *_ = served
    text = (folder / "net" / "saved_model.pb").read_bytes()
    assert b"_XlaMustCompile" not in text and b"XlaConv" not in text
    assert not saved_model.find_faults(folder / "net", ExportOptions((None, 32, 48, 3)))


def test_a_graph_that_needs_xla_is_a_fault(tmp_path):
    module = tf.Module()
    module.f = tf.function(lambda x: x + 1, input_signature=[tf.TensorSpec((None,))], jit_compile=True)
    tf.saved_model.save(module, str(tmp_path / "net"), signatures={"serving_default": module.f})
    (fault,) = saved_model.find_faults(tmp_path / "net", ExportOptions((None, 1, 1, 1)))
    assert "must be compiled by XLA" in fault


def test_signatures_follow_what_is_known(tmp_path):
    net = tiny("cifar_resnet20")
    reskeras.export(net, tmp_path / "bare", batch_size=2)
    bare = tf.saved_model.load(str(tmp_path / "bare")).signatures
    assert set(bare) == {"serving_default"}
    assert bare["serving_default"].structured_input_signature[1]["images"].shape == (2, 32, 32, 3)
    assert set(bare["serving_default"].structured_outputs) == {"scores"}
    reskeras.export(net, tmp_path / "told", preprocessing=Preprocessing((32, 32), "tf"), labels=LABELS)
    told = tf.saved_model.load(str(tmp_path / "told")).signatures
    assert set(told) == {"serving_default", "serving_uint8", "serving_bytes"}
    assert set(told["serving_bytes"].structured_outputs) == {"scores", "top_scores", "top_labels"}
    assert told["serving_bytes"].structured_input_signature[1]["image_bytes"].shape.as_list() == [None]
    assert not getattr(net, "metadata", None)         # the caller's net is as it was


def test_mixed_precision_stays(tmp_path):
    with policy("mixed_bfloat16"):
        net = tiny("cifar_resnet20")
    report = reskeras.export(net, tmp_path / "net")
    assert report.first_result.precision == "bfloat16"
    data = pathlib.Path(tmp_path / "net" / "saved_model.pb").read_bytes()
    assert b"DT_BFLOAT16" in data or "Cast" in report.operators
    assert reskeras.export(net, tmp_path / "net.tflite").first_result.precision == "float32"
