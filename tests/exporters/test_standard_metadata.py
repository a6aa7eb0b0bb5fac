"""TFLite's standard metadata, for MediaPipe and Android Studio; one signature alone of a SavedModel."""
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from tiny import tiny

import reskeras
from reskeras.exporters.formats import open_file
from reskeras.exporters.tflite import flatbuffer
from reskeras.images.preprocessing import Preprocessing

LABELS = ["cat", "dog", "a\nb", "käse", "e", "f", "g"]
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), "uint8")


class Table:
    """A table of a flat buffer, read by the numbers of the public schema alone."""

    def __init__(self, data, position):
        from flatbuffers.table import Table as Raw
        self.raw = Raw(data, position)

    @classmethod
    def root(cls, data):
        return cls(data, int.from_bytes(data[:4], "little"))

    def place(self, number):
        offset = self.raw.Offset(4 + 2 * number)
        return offset and offset + self.raw.Pos

    def number(self, number, size):
        place = self.place(number)
        return int.from_bytes(self.raw.Bytes[place:place + size], "little") if place else 0

    def table(self, number):
        return Table(self.raw.Bytes, self.raw.Indirect(self.place(number)))

    def text(self, number):
        return self.raw.String(self.place(number)).decode()

    def vector(self, number):
        start, length = self._vector(number)
        return [Table(self.raw.Bytes, self.raw.Indirect(start + 4 * i)) for i in range(length)]

    def floats(self, number):
        start, length = self._vector(number)
        return np.frombuffer(self.raw.Bytes, "<f4", length, start)

    def _vector(self, number):
        offset = self.raw.Offset(4 + 2 * number)
        return (self.raw.Vector(offset), self.raw.VectorLen(offset)) if offset else (0, 0)


def read(path):
    """The standard metadata of a file: the model's, its input's, its output's."""
    model = flatbuffer.read_model(path)
    buffers = {model.Metadata(i).Name(): model.Buffers(model.Metadata(i).Buffer()).DataAsNumpy().tobytes()
               for i in range(model.MetadataLength())}
    data = buffers[b"TFLITE_METADATA"]
    assert data[4:8] == b"M001"
    root = Table.root(data)
    graph, = root.vector(3)
    return root, graph.vector(2)[0], graph.vector(3)[0]


def normalization(tensor):
    """(mean, deviation) of an input."""
    unit, = tensor.vector(4)
    assert unit.number(0, 1) == 1
    return unit.table(1).floats(0), unit.table(1).floats(1)


@pytest.fixture(scope="module")
def net():
    return reskeras.set_metadata(tiny("cifar_resnet20"), Preprocessing((32, 32), "torch"), LABELS)


def test_float_file(net, tmp_path):
    """Mean and deviation in pixels, and the labels in a file that is packed behind the model."""
    reskeras.export(net, tmp_path / "net.tflite")
    root, image, scores = read(tmp_path / "net.tflite")
    assert root.text(0) == net.name and root.text(7) == "1.0.0"
    mean, deviation = normalization(image)
    np.testing.assert_allclose(mean, [123.675, 116.28, 103.53], rtol=1e-6)
    np.testing.assert_allclose(deviation, [58.395, 57.12, 57.375], rtol=1e-6)
    content = image.table(3)
    assert content.number(0, 1) == 2 and content.table(1).number(0, 1) == 1     # an image in RGB
    assert [content.table(1).table(1).number(i, 4) for i in range(2)] == [32, 32]
    np.testing.assert_allclose(image.table(5).floats(0), (255 - mean) / deviation, rtol=1e-5)
    file, = scores.vector(6)
    assert file.text(0) == "labels.txt" and file.number(2, 1) == 2      # of an axis of the tensor
    with zipfile.ZipFile(tmp_path / "net.tflite") as archive:
        assert archive.namelist() == ["labels.txt"] and archive.infolist()[0].compress_type == 0
        assert archive.read("labels.txt").decode().splitlines() == ["cat", "dog", "a b", *LABELS[3:]]
    assert flatbuffer.read_metadata(tmp_path / "net.tflite")["labels"] == LABELS     # ours is there as before


def test_file_of_bytes(net, tmp_path):
    """Nothing is left to be done to the pixels."""
    reskeras.export(net, tmp_path / "net.tflite", quantize="int8", io="uint8", calibration_data=PIXELS,
                    strict=False)
    _, image, _ = read(tmp_path / "net.tflite")
    mean, deviation = normalization(image)
    assert mean.tolist() == [0, 0, 0] and deviation.tolist() == [1, 1, 1]
    assert image.table(5).floats(0).tolist() == [255] * 3 and image.table(5).floats(1).tolist() == [0] * 3


@pytest.mark.parametrize("arguments", [{}, {"quantize": "int8", "io": "uint8", "calibration_data": PIXELS}])
def test_mediapipe_answers_as_keras(tmp_path, arguments):
    """Its image classifier takes pixels, and finds the normalization and the labels in the file."""
    mediapipe = pytest.importorskip("mediapipe")
    vision = pytest.importorskip("mediapipe.tasks.python.vision")
    from mediapipe.tasks.python import BaseOptions
    prepare = Preprocessing((32, 32), "tf", crop_pct=1.0)   # the classifier has one mean for all channels
    net = reskeras.set_metadata(tiny("cifar_resnet20"), prepare, list("abcdefg"))
    reskeras.export(net, tmp_path / "net.tflite", **arguments)
    options = vision.ImageClassifierOptions(
        base_options=BaseOptions(model_asset_path=str(tmp_path / "net.tflite")), max_results=7)
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for pixels, scores in zip(PIXELS[:4], net.predict(prepare(PIXELS[:4]), verbose=0)):
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
            classes = classifier.classify(image).classifications[0].categories
            found = {each.category_name: each.score for each in classes}
            assert found == pytest.approx(dict(zip("abcdefg", scores)), abs=0.02 if arguments else 1e-3)


def test_what_is_not_known_is_left_out(tmp_path):
    reskeras.export(tiny("cifar_resnet20"), tmp_path / "net.tflite")
    _, image, scores = read(tmp_path / "net.tflite")
    assert not image.vector(4) and not scores.vector(6) and not zipfile.is_zipfile(tmp_path / "net.tflite")
    net = tiny("cifar_resnet20")
    reskeras.export(net, tmp_path / "bgr.tflite", preprocessing=Preprocessing((32, 32), "caffe"))
    assert read(tmp_path / "bgr.tflite")[1].table(3).table(1).number(0, 1) == 0     # the schema has no BGR


def test_equal_labels_are_equal_bytes():
    from reskeras.exporters.tflite.standard_metadata import append_labels
    assert append_labels(b"model", LABELS) == append_labels(b"model", LABELS)
    assert append_labels(b"model", ()) == b"model"


def test_one_signature_alone(net, tmp_path):
    """As converters to Core ML want it: one function, numbers only."""
    report = reskeras.export(net, tmp_path / "net", signatures=["serving_default"])
    signatures = tf.saved_model.load(str(tmp_path / "net")).signatures
    assert list(signatures) == ["serving_default"] and report.passed
    assert list(signatures["serving_default"].structured_outputs) == ["scores"]
    open_file(tmp_path / "net", trust=True)
    reskeras.export(net, tmp_path / "net", signatures=["serving_default", "serving_uint8"])
    signatures = tf.saved_model.load(str(tmp_path / "net")).signatures
    assert sorted(signatures) == ["serving_default", "serving_uint8"]
    assert "top_labels" in signatures["serving_uint8"].structured_outputs


@pytest.mark.parametrize("file, signatures, message", [
    ("net", ["serving_defalt"], "did you mean 'serving_default'"),
    ("net", ["serving_uint8"], "expected serving_default among them"),
    ("net", "serving_default", r"a list of names, \['serving_default'\]"),
    ("net.tflite", ["serving_default"], "they are defined for a SavedModel")])
def test_signatures_that_cannot_be(net, tmp_path, file, signatures, message):
    with pytest.raises(ValueError, match=message):
        reskeras.export(net, tmp_path / file, signatures=signatures)


def test_a_signature_whose_preprocessing_is_not_known(tmp_path):
    with pytest.raises(ValueError, match="preprocessing=None: .* because serving_bytes prepares them"):
        reskeras.export(tiny("cifar_resnet20"), tmp_path / "net",
                        signatures=["serving_default", "serving_bytes"])
    assert not list(tmp_path.iterdir())
