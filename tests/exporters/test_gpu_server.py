"""SavedModels for servers with GPUs, as a server sees them: in a process that has not this package."""
import json
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import tiny, trained
from without_reskeras import START

import reskeras
from reskeras.cli import main
from reskeras.errors import ArgumentError
from reskeras.exporters import gpu_server
from reskeras.images.preprocessing import Preprocessing

SHAPE = (12, 16, 3)
# What TensorFlow Serving does: it reads the record by the field numbers of its messages, which are
# those of tensorflow-serving-api 2.21, and calls the signature that the request names.
SERVER = START + """
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tensorflow.core.framework import tensor_pb2

pool = descriptor_pool.DescriptorPool()
file = descriptor_pb2.FileDescriptorProto(name="apis.proto", package="serving", syntax="proto3")
STRING, MESSAGE, BYTES, ONE, MANY = 9, 11, 12, 1, 3
def add(container, name, *fields):
    message = container.add(name=name)
    for field, number, kind, label, type_name in fields:
        message.field.add(name=field, number=number, type=kind, label=label, type_name=type_name or None)
    return message
types = file.message_type
add(types, "ModelSpec", ("name", 1, STRING, ONE, ""), ("signature_name", 3, STRING, ONE, ""))
request = add(types, "PredictRequest", ("model_spec", 1, MESSAGE, ONE, ".serving.ModelSpec"),
              ("inputs", 2, MESSAGE, MANY, ".serving.PredictRequest.InputsEntry"))
entry = add(request.nested_type, "InputsEntry", ("key", 1, STRING, ONE, ""), ("value", 2, BYTES, ONE, ""))
entry.options.map_entry = True
add(types, "PredictLog", ("request", 1, MESSAGE, ONE, ".serving.PredictRequest"))
add(types, "PredictionLog", ("predict_log", 6, MESSAGE, ONE, ".serving.PredictLog"))
pool.Add(file)
PredictionLog = message_factory.GetMessageClass(pool.FindMessageTypeByName("serving.PredictionLog"))

folder, inputs = sys.argv[1:]
signatures = tf.saved_model.load(folder).signatures
answers = []
requests = os.path.join(folder, "assets.extra", "tf_serving_warmup_requests")
for record in tf.data.TFRecordDataset(requests).as_numpy_iterator():
    request = PredictionLog.FromString(record).predict_log.request
    (name, value), = request.inputs.items()
    pixels = tf.make_ndarray(tensor_pb2.TensorProto.FromString(value))
    scores = signatures[request.model_spec.signature_name](**{name: tf.constant(pixels)})["scores"]
    answers.append([list(pixels.shape), str(pixels.dtype), float(pixels.min()), float(pixels.max()),
                    scores.numpy().tolist()])
pixels = np.load(inputs)
scores = signatures["serving_default"](pixels=tf.constant(pixels))["scores"]
print(json.dumps([answers, scores.numpy().tolist()]))
assert "reskeras" not in sys.modules
"""


@pytest.fixture(scope="module")
def net():
    layers = keras.layers
    net = keras.Sequential([
        keras.Input(SHAPE), layers.Conv2D(8, 3, padding="same", use_bias=False), layers.BatchNormalization(),
        layers.ReLU(), layers.GlobalAveragePooling2D(), layers.Dense(7, activation="softmax")])
    net = trained(keras.Model(net.inputs[0], net.outputs[0]))
    return reskeras.set_metadata(net, Preprocessing(SHAPE[:2], "torch", crop_pct=0.9))


def test_a_server_warms_up_and_answers_as_keras(net, tmp_path):
    report = reskeras.export(net, tmp_path / "net", target="gpu", batch_sizes=(1, 4), layout="tf-serving")
    assert report.passed and report.target == "gpu"
    pixels = np.random.default_rng(0).integers(0, 256, (4, *SHAPE), "uint8")
    np.save(tmp_path / "pixels.npy", pixels)
    out = subprocess.run([sys.executable, "-c", SERVER, tmp_path / "net" / "1", tmp_path / "pixels.npy"],
                         capture_output=True, text=True)
    assert out.returncode == 0, out.stderr[-2000:]
    answers, scores = json.loads(out.stdout.splitlines()[-1])

    prepare = reskeras.get_preprocessing(net)
    def expect(pixels):
        return net.predict(np.asarray(prepare.normalize(pixels.astype("float32")), "float32"), verbose=0)
    np.testing.assert_allclose(scores, expect(pixels), rtol=1e-3, atol=1e-5)
    assert [answer[:4] for answer in answers] == [[[n, *SHAPE], "uint8", 128, 128] for n in (1, 4)]
    for count, answer in zip((1, 4), answers):
        gray = np.full((count, *SHAPE), 128, "uint8")
        np.testing.assert_allclose(answer[4], expect(gray), rtol=1e-3, atol=1e-5)

    text = (tmp_path / "net" / "batching_parameters.txt").read_text()
    assert re.findall(r"allowed_batch_sizes: (\d+)", text) == ["1", "4"]
    assert "max_batch_size { value: 4 }" in text
    assert reskeras.verify(tmp_path / "net", trust=True).passed
    # replaced by another, without the folder of the first
    reskeras.export(net, tmp_path / "net", target="gpu", batch_sizes=[2], dtype="float16")
    assert (tmp_path / "net" / "saved_model.pb").exists() and not (tmp_path / "net" / "1").exists()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(net, dtype, tmp_path):
    report = reskeras.export(net, tmp_path / "net", dtype=dtype)
    assert report.first_result.precision == dtype and report.passed
    assert report.max_relative_difference > 1e-6
    loaded = tf.saved_model.load(str(tmp_path / "net"))
    served = loaded.signatures["serving_default"]
    assert served.structured_input_signature[1]["images"].dtype == tf.float32
    assert served.structured_outputs["scores"].dtype == tf.float32
    assert {variable.dtype for variable in loaded.variables_} == {tf.dtypes.as_dtype(dtype)}
    assert keras.backend.standardize_dtype(net.weights[0].dtype) == "float32"      # the caller's own


def test_triton_by_the_shell(tmp_path):
    assert main(["export", "cifar_resnet20.digits", str(tmp_path / "digits"), "--target", "gpu",
                 "--batch-sizes", "2", "--dtype", "float16", "--layout", "triton"]) == 0
    config = (tmp_path / "digits" / "config.pbtxt").read_text()
    assert "max_batch_size: 2" in config and "dims: [ 16, 16, 1 ]" in config and "dims: [ 10 ]" in config
    assert (tmp_path / "digits" / "1" / "model.savedmodel" / "saved_model.pb").exists()
    assert not (tmp_path / "digits" / "batching_parameters.txt").exists()


def test_default_batch_sizes_are_those_of_a_fixed_batch(tmp_path):
    fixed = keras.Sequential([keras.Input((8, 8, 3), batch_size=2), keras.layers.Conv2D(4, 3),
                              keras.layers.GlobalAveragePooling2D()])
    reskeras.export(fixed, tmp_path / "net", target="gpu", preprocessing=Preprocessing((8, 8), "tf"))
    assert "max_batch_size { value: 2 }" in (tmp_path / "net" / "batching_parameters.txt").read_text()
    with pytest.raises(ArgumentError, match="batch_sizes"):
        reskeras.export(fixed, tmp_path / "net", target="gpu", batch_sizes=(1, 2),
                        preprocessing=Preprocessing((8, 8), "tf"))


def test_damaged_requests_are_found(net, tmp_path):
    reskeras.export(net, tmp_path / "net", target="gpu", batch_sizes=[1])
    assert gpu_server.find_warmup_faults(tmp_path / "net", (1,)) == []
    assert "has batches of [1] images" in gpu_server.find_warmup_faults(tmp_path / "net", (1, 8))[0]


@pytest.mark.parametrize("path, options, words", [
    ("net", {"batch_sizes": (1, 2)}, "'gpu' as `target`"),
    ("net", {"layout": "triton"}, "'gpu' as `target`"),
    ("net", {"target": "gpu", "layout": "tritn"}, "triton"),
    ("net", {"target": "gpu", "batch_sizes": (0,)}, "at least 1"),
    ("net", {"target": "gpu", "batch_sizes": 8}, "a list of whole numbers"),
    ("net", {"target": "gpu", "batch_size": 8}, "batch_sizes"),
    ("net", {"target": "gpu", "signatures": ["serving_default"]}, "has one"),
    ("net.tflite", {"target": "gpu"}, "phone"),
    ("net.onnx", {"dtype": "float16"}, "'float16' as `quantize`"),
    ("net", {"dtype": "float64"}, "bfloat16"),
])
def test_refusals(net, path, options, words, tmp_path):
    with pytest.raises(ArgumentError, match=words):
        reskeras.export(net, tmp_path / path, **options)
    assert not list(tmp_path.iterdir())


def test_a_model_that_takes_no_pixels(net, tmp_path):
    bare = tiny("cifar_resnet20")
    with pytest.raises(ArgumentError, match="takes pixels and prepares them inside"):
        reskeras.export(bare, tmp_path / "net", target="gpu")
    image, age = keras.Input((8, 8, 3)), keras.Input((1,))
    two = keras.Model([image, age], keras.layers.Concatenate()([keras.layers.Flatten()(image), age]))
    for options in ({"target": "gpu"}, {"dtype": "float16"}):
        with pytest.raises(ArgumentError, match="not of one image and one output"):
            reskeras.export(two, tmp_path / "net", **options)
