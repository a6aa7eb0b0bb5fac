"""`reskeras.export`: three formats, four kinds of numbers, and what is left on the disk after an error."""
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import reskeras
from reskeras.exporters import export as exporter
from reskeras.exporters import formats
from reskeras.exporters.tflite import runtime, tflite
from reskeras.exporters.comparison import compute_agreement
from reskeras.exporters.measurements import compute_size_and_hash
from reskeras.images.preprocessing import Preprocessing

IMAGES = np.random.default_rng(1).uniform(size=(40, 12, 10, 3)).astype("float32")


@pytest.fixture(scope="module")
def net():
    """Small, with every kind of layer that a residual net has, and decided about its classes."""
    keras.utils.set_random_seed(3)
    image = keras.Input((12, 10, 3))
    x = layers.Conv2D(8, 3, strides=2, use_bias=False)(layers.ZeroPadding2D(1)(image))
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Add()([x, layers.Conv2D(8, 3, padding="same")(x)])
    head = layers.Dense(4, activation="softmax", kernel_initializer=keras.initializers.RandomNormal(stddev=9))
    net = keras.Model(image, head(layers.GlobalAveragePooling2D()(x)), name="net")
    # an export takes a net whose biases are all zero for untrained
    net.layers[-1].bias.assign([0.1, 0, 0, 0])
    return net


@pytest.mark.parametrize("file, kind", [("net.tflite", None), ("net.keras", None), ("net", None),
                                        ("h.tflite", "float16"),
                                        ("d.tflite", "dynamic"), ("i.tflite", "int8")])
def test_file_equals_keras(net, tmp_path, file, kind):
    path = tmp_path / "new" / file
    calibration = {"calibration_data": IMAGES} if kind == "int8" else {"validation_data": IMAGES}
    report = reskeras.export(net, path, quantize=kind, **calibration)
    runtime = exporter.open_file(path, trust=True)
    found, expected = runtime(IMAGES), net.predict(IMAGES, verbose=0)
    assert compute_agreement(found, expected) == report.top1_agreement >= 0.95
    assert report.compared_values == ("logits" if kind == "int8" else "log-probabilities")
    logarithms = [np.log(np.maximum(scores.astype("float64"), 1e-30)) for scores in (found, expected)]
    if kind != "int8":      # whose 8 bits of a probability have few logarithms
        difference = np.abs(logarithms[0] - logarithms[1]).max() / report.scale
        assert difference == pytest.approx(report.max_relative_difference, abs=1e-6)
    assert report.max_relative_difference <= {None: 1e-5, "float16": 1e-2}.get(kind, 0.2)
    assert (report.bytes, report.sha256) == compute_size_and_hash(path)
    assert report.latency_ms > 0 and report.images == 40
    assert json.loads((path.parent / f"{file}.json").read_text())["sha256"] == report.sha256
    assert sorted(f.name for f in path.parent.iterdir()) == sorted([file, f"{file}.json", f"{file}.npz"])


def interpreter(path):
    reader = runtime.get_interpreter_class()(model_path=str(path))
    reader.allocate_tensors()
    return reader


def test_tflite_has_builtin_operators_and_static_shapes(tmp_path):
    net = reskeras.create("resnext50_32x4d", depths=(1,), widths=(64,), weights=None,
                          input_shape=(None, None, 3), classes=3)
    reskeras.export(net, tmp_path / "net.tflite", size=(32, 40), batch_size=2)
    reader = interpreter(tmp_path / "net.tflite")
    assert reader.get_input_details()[0]["shape_signature"].tolist() == [2, 32, 40, 3]
    assert all(size > 0 for tensor in reader.get_tensor_details() for size in tensor["shape_signature"])
    operators = {op["op_name"] for op in reader._get_ops_details()}
    assert "CONV_2D" in operators
    assert not any("Flex" in op or "SPLIT" in op or op == "CUSTOM" for op in operators)


def test_int8_file_takes_and_gives_int8(net, tmp_path):
    reskeras.export(net, tmp_path / "net.tflite", quantize="int8", calibration_data=IMAGES)
    reader = interpreter(tmp_path / "net.tflite")
    assert reader.get_input_details()[0]["dtype"] == reader.get_output_details()[0]["dtype"] == np.int8


def test_runtime_takes_any_number_of_images(net, tmp_path):
    reskeras.export(net, tmp_path / "net.tflite", batch_size=16)
    run = exporter.open_file(tmp_path / "net.tflite")
    assert run.shape == (16, 12, 10, 3)
    np.testing.assert_allclose(run(IMAGES[:21]), net.predict(IMAGES[:21], verbose=0), atol=1e-6)


def test_saved_model_has_each_variable_once_and_any_batch(net, tmp_path):
    reskeras.export(net, tmp_path / "net", optimize=False)
    names = [name for name, _ in tf.train.list_variables(str(tmp_path / "net" / "variables" / "variables"))]
    stored = [name for name in names if "OBJECT_GRAPH" not in name]
    assert len(stored) == len(net.variables)
    assert exporter.open_file(tmp_path / "net", trust=True).shape == (None, 12, 10, 3)


def test_keras_file_holds_no_optimizer(net, tmp_path):
    trained = keras.models.clone_model(net)
    trained.compile("adam", "mse")
    trained.fit(IMAGES, np.zeros((40, 4)), verbose=0)
    reskeras.export(trained, tmp_path / "net.keras", optimize=False)
    loaded = keras.saving.load_model(tmp_path / "net.keras")
    assert trained.compiled and not loaded.compiled
    np.testing.assert_array_equal(loaded.predict(IMAGES, verbose=0), trained.predict(IMAGES, verbose=0))


@pytest.mark.parametrize("file", ["net.tflite", "net.keras", "net"])
def test_a_failure_keeps_the_earlier_file_and_leaves_no_other(net, tmp_path, monkeypatch, file):
    reskeras.export(net, tmp_path / file)
    before = {f.name: compute_size_and_hash(f) for f in tmp_path.iterdir()}
    true = exporter.open_file

    def wrong(path, *_, trust):
        return formats.BatchRunner(lambda x: true(path, trust=trust).run(x) * 1.01, (1,))
    monkeypatch.setattr(exporter, "open_file", wrong)
    with pytest.raises(RuntimeError, match="differ from Keras by"):
        reskeras.export(net, tmp_path / file)
    assert {f.name: compute_size_and_hash(f) for f in tmp_path.iterdir()} == before
    with pytest.raises(RuntimeError):
        reskeras.export(net, tmp_path / f"other_{file}")
    assert {f.name: compute_size_and_hash(f) for f in tmp_path.iterdir()} == before
    monkeypatch.undo()
    reskeras.export(net, tmp_path / file)
    assert set(before) == {f.name for f in tmp_path.iterdir()}


def test_converter_that_dies_half_way_leaves_nothing(net, tmp_path, monkeypatch):
    def die(model, path, *_):
        path.write_bytes(b"half")
        raise KeyboardInterrupt
    monkeypatch.setattr(tflite, "write", die)
    with pytest.raises(KeyboardInterrupt):
        reskeras.export(net, tmp_path / "net.tflite")
    assert not list(tmp_path.iterdir())


def test_quantization_that_loses_the_classes_is_refused(net, tmp_path, monkeypatch):
    true = exporter.open_file

    def wrong(path, *_, trust):
        return formats.BatchRunner(lambda x: true(path, trust=trust).run(x)[:, ::-1], (1,))
    monkeypatch.setattr(exporter, "open_file", wrong)
    with pytest.raises(RuntimeError, match="of the images keep the class"):
        reskeras.export(net, tmp_path / "net.tflite", quantize="int8", calibration_data=IMAGES)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("file, arguments, message", [
    ("net.pb", {}, "known are .tflite, .onnx, .xml, .mlir, .keras, and no suffix for a SavedModel folder"),
    ("net.onx", {}, "did you mean '.onnx'"),
    ("net.tflit", {}, "did you mean '.tflite'"),
    ("net.keras", {"quantize": "int8"}, "defined for .tflite"),
    ("net.tflite", {"calibration_method": "mse"},
     "calibration_method='mse': expected 'minmax'; other values are defined for int8 alone"),
    ("net.tflite", {"quantize": "int8", "calibration_data": IMAGES, "calibration_method": "mean"},
     "'minmax', 'percentile', 'mse'"),
    ("net.tflite", {"quantize": "int4"}, "did you mean 'int8'"),
    ("net.tflite", {"quantize": "int8"}, "calibration_data=None: expected some hundred images"),
    ("net.tflite", {"quantize": "int8", "calibration_data": IMAGES[:, :5]}, "expected \\(N, 12, 10, 3\\)"),
    ("net.tflite", {"batch_size": 0}, "at least 1"),
    ("net.keras", {"batch_size": 2}, r"'net.keras' holds the net's own shape, \(None, 12"),
    ("net.keras", {"size": 12}, "size=12: expected None, .* fixed in files of other kinds"),
    ("net", {"thresholds": [0.1]}, r"thresholds=\[0.1\]: expected a dictionary, such as"),
    ("net.tflite", {"quantize": "int8", "calibration_data": IMAGES, "float_layers": "head"},
     r"a list of names, \['head'\]"),
    ("net.tflite", {"size": 64}, r"size=\(64, 64\): expected the model\'s own \(12, 10\)"),
    ("net", {"size": 0}, "size=0: expected"), ("net", {"size": True}, "size=True: expected"),
    ("net", {"size": (12,)}, r"size=\(12,\): expected \(height, width\)"),
    ("net", {"size": "12"}, "size='12': expected"),
    ("net", {"size": 12.0}, "size=12.0: expected"), ("net", {"size": (-12, 10)}, "at least 1"),
    ("net", {"threads": 0}, "threads=0: expected a whole number of at least 1"),
    ("net.tflite", {"io": "uint8"},
     "io='uint8': expected 'int8'; other values are defined for int8 alone"),
    ("net", {"validation_data": (IMAGES, np.arange(40))},
     r"classes of the images are 0 to 39; the net's output has the shape \(4,\)"),
])
def test_bad_argument(net, tmp_path, file, arguments, message):
    with pytest.raises(ValueError, match=message):
        reskeras.export(net, tmp_path / file, **arguments)
    assert not list(tmp_path.iterdir())


def test_tflite_of_an_open_size_needs_one(tmp_path):
    image = keras.Input((None, None, 1))
    net = keras.Model(image, layers.GlobalMaxPooling2D()(image))
    with pytest.raises(ValueError, match=r"size=None: expected \(height, width\)"):
        reskeras.export(net, tmp_path / "net.tflite")
    assert reskeras.export(net, tmp_path / "net.tflite", size=8).max_relative_difference == 0
    assert reskeras.export(net, tmp_path / "net").max_relative_difference == 0


def test_int8_of_a_net_of_integers_is_refused_clearly(tmp_path):
    image = keras.Input((12, 10, 3), dtype="uint8")
    net = keras.Model(image, layers.Conv2D(4, 3)(layers.Rescaling(1 / 255)(image)))
    pixels = np.random.default_rng(0).integers(0, 256, (40, 12, 10, 3), "uint8")
    with pytest.raises(ValueError, match="takes images of uint8"):
        reskeras.export(net, tmp_path / "net.tflite", quantize="int8", calibration_data=pixels,
                        preprocessing=Preprocessing((12, 10), "raw"))


class Stateful(layers.Layer):
    """With a state that neither its config nor its weights say."""
    factor = 1.0

    def call(self, x):
        return self.factor * x


@pytest.mark.parametrize("factor", [2.0, 1.002])
@pytest.mark.parametrize("told", [{}, {"labels": list("abcd")}])
def test_a_net_that_cannot_be_read_is_not_passed_off_as_another(tmp_path, factor, told):
    """Compared is the net as it was given; what its copy lacks is no rounding."""
    image, own = keras.Input((12, 10, 3)), Stateful()
    x = own(layers.Conv2D(4, 3, bias_initializer="ones")(image))
    net = keras.Model(image, layers.Dense(4)(layers.Flatten()(x)))
    own.factor = factor
    with pytest.raises(RuntimeError, match="the outputs differ from Keras"):
        reskeras.export(net, tmp_path / "net.tflite", **told)
    assert not list(tmp_path.iterdir())


def test_what_an_earlier_file_was_written_out_to_goes_with_it(net, tmp_path):
    """A C array of other weights would be taken for the file's."""
    pytest.importorskip("tflite_micro")
    reskeras.export(net, tmp_path / "net.tflite", c_array=True)
    reskeras.export(net, tmp_path / "net.tflite")
    assert sorted(f.name for f in tmp_path.iterdir()) == ["net.tflite", "net.tflite.json", "net.tflite.npz"]


def test_path_that_cannot_be_written(net, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="cannot be written"):
        reskeras.export(net, tmp_path / "file" / "net.tflite")
    with pytest.raises(ValueError, match="is a file"):
        reskeras.export(net, tmp_path / "file")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.jpg").write_text("mine")
    with pytest.raises(ValueError, match="folder of other files"):
        reskeras.export(net, tmp_path / "photos")
    assert (tmp_path / "file").read_text() == (tmp_path / "photos" / "mine.jpg").read_text() == "mine"


def test_open_file_that_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        exporter.open_file(tmp_path / "net.tflite")
    for file in ("net.tflite", "net.keras"):
        (tmp_path / file).write_bytes(b"no net at all")
        with pytest.raises(ValueError, match="is not a TFLite file|cannot be read as a Keras file"):
            exporter.open_file(tmp_path / file)


def test_int8_of_an_untrained_classifier(tmp_path):
    """A thousand classes of a thousandth each: one step of 8 bits is more, and the logits still differ."""
    net = reskeras.create("resnet10t", weights=None, input_shape=(64, 64, 3))
    images = np.random.default_rng(0).standard_normal((40, 64, 64, 3)).astype("float32")
    report = reskeras.export(net, tmp_path / "net.tflite", quantize="int8", calibration_data=images)
    assert report.passed and 0 < report.max_relative_difference < 0.1
