"""`reskeras.tasks.predict`: image files of every kind to classes, and what becomes of those that are none."""
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from reskeras.tasks.html import png
from reskeras.tasks.predict import predict, prepare, read
from reskeras.weights.table import FOLDER

NET = "cifar_resnet20.digits"
NO_IMAGE = "no readable PNG, JPEG, GIF or BMP image"


@pytest.fixture(scope="module")
def test_digits():
    pytest.importorskip("sklearn")
    from reskeras.tasks.digits import digits
    return digits()[2]


@pytest.fixture(scope="module")
def files(tmp_path_factory, test_digits):
    folder = tmp_path_factory.mktemp("digits")
    for c in range(10):
        image = test_digits.pixels[np.flatnonzero(test_digits.labels == c)[1]]
        (folder / f"{c}.png").write_bytes(png(image))
    return [folder / f"{c}.png" for c in range(10)]


@pytest.mark.parametrize("model", [NET, "keras", "tflite"])
def test_digits_are_named(files, model):
    files_of = {"keras": FOLDER / f"{NET}.keras", "tflite": FOLDER.parents[2] / "saved_models" / f"{NET}.int8.tflite"}
    results = predict(files, files_of.get(model, model), top=3)
    assert [r["image"] for r in results] == [str(f) for f in files]
    assert sum(r["predictions"][0]["label"] == str(c) for c, r in enumerate(results)) >= 9
    for r in results:
        first, second, third = (p["score"] for p in r["predictions"])
        assert 1.05 >= first >= second >= third >= 0


def test_one_path_and_more_classes_than_there_are(files):
    (result,) = predict(str(files[3]), NET, top=99)
    assert len(result["predictions"]) == 10 and sum(p["score"] for p in result["predictions"]) == pytest.approx(1, abs=1e-5)
    assert result["predictions"][0]["label"] == "3" and json.loads(json.dumps(result)) == result


def test_every_kind_of_file_is_the_same_image(files, tmp_path):
    grey = tf.constant(read(files[5]))
    large = tf.cast(tf.repeat(tf.repeat(grey, 8, 0), 8, 1), tf.uint8)
    rgb, white = tf.image.grayscale_to_rgb(large), tf.fill(large.shape, tf.constant(255, tf.uint8))
    kinds = {"g.png": tf.io.encode_png(large), "rgb.png": tf.io.encode_png(rgb),
             "ga.png": tf.io.encode_png(tf.concat([large, white], -1)), "rgba.png": tf.io.encode_png(tf.concat([rgb, white], -1)),
             "sixteen.png": tf.io.encode_png(tf.cast(large, tf.uint16) * 257),
             "g.jpg": tf.io.encode_jpeg(large, quality=98), "rgb.jpg": tf.io.encode_jpeg(rgb, quality=98),
             "rgb.bmp": bmp(rgb.numpy())}
    for name, data in kinds.items():
        (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.numpy())
    results = predict([tmp_path / name for name in kinds], NET)
    for r in results:
        assert "error" not in r and r["predictions"][0]["label"] == "5", r
    tops = [r["predictions"][0]["score"] for r in results]
    assert max(tops) - min(tops) < 0.02


def bmp(pixels):
    """24 bits, top row first; rows of a multiple of four bytes."""
    height, width, _ = pixels.shape
    head = np.array([40, width, -height], "<i4").tobytes() + np.array([1, 24], "<u2").tobytes() + bytes(24)
    return b"BM" + np.array([54 + pixels.size, 0, 54], "<u4").tobytes() + head + pixels[..., ::-1].tobytes()


def test_files_that_are_no_images_are_named_and_skipped(files, tmp_path):
    cut, text, empty, folder = (tmp_path / n for n in ("cut.png", "text.png", "empty.jpg", "folder"))
    cut.write_bytes(files[0].read_bytes()[:60])
    text.write_text("no image")
    empty.touch()
    folder.mkdir()
    results = predict([cut, files[1], text, empty, folder, tmp_path / "missing.png"], NET)
    assert [r.get("error") for r in results] == [
        NO_IMAGE, None, NO_IMAGE, NO_IMAGE, "is a directory", "no such file or directory"]
    assert [r["image"] for r in results] == [str(p) for p in (cut, files[1], text, empty, folder, tmp_path / "missing.png")]


def small(path, channels=1, activation="softmax", rescale=False):
    image = keras.Input((None, None, channels))
    x = layers.Rescaling(1 / 255, name="preprocessing")(image) if rescale else image
    x = layers.GlobalAveragePooling2D()(x)
    net = keras.Model(image, layers.Dense(3, activation=activation, name="predictions")(x))
    net.get_layer("predictions").set_weights([np.tile([[0.0, 1.0, 2.0]], (channels, 1)), np.zeros(3)])
    net.save(path)
    return path


def test_grey_and_rgb_nets_logits_and_preprocessing_layers(files, tmp_path):
    value = float(prepare(read(files[8]), (None, None, 1)).mean())
    for name, channels, activation, rescale in (("a", 1, "softmax", False), ("b", 1, None, False), ("c", 1, "softmax", True),
                                                ("d", 3, "softmax", False)):
        (result,) = predict(files[8], small(tmp_path / f"{name}.keras", channels, activation, rescale))
        expected = np.exp(np.array([0, 1, 2]) * value * channels)
        assert [p["label"] for p in result["predictions"]] == ["2", "1", "0"]
        np.testing.assert_allclose([p["score"] for p in result["predictions"]], (expected / expected.sum())[::-1], rtol=1e-4)


@pytest.mark.parametrize("model, message", [
    ("cifar_resnet20", "no weights of that name come with the package.*cifar_resnet20.digits"),
    ("cifar_resnet20.letters", "no weights of that name"),
    ("cifar_resnt20.digits", "did you mean 'cifar_resnet20'"),
])
def test_name_without_weights(files, model, message):
    with pytest.raises(ValueError, match=message):
        predict(files[0], model)


def test_model_that_cannot_classify_images(files, tmp_path):
    with pytest.raises(FileNotFoundError, match="net.keras: no such file"):
        predict(files[0], tmp_path / "net.keras")
    (tmp_path / "net.tflite").write_bytes(b"no net")
    with pytest.raises(ValueError, match="no readable TFLite"):
        predict(files[0], tmp_path / "net.tflite")
    with pytest.raises(ValueError, match="images of 1 or 3 channels"):
        predict(files[0], small(tmp_path / "five.keras", 5))
    image = keras.Input((8, 8, 1))
    keras.Model(image, layers.ReLU()(image)).save(tmp_path / "map.keras")
    with pytest.raises(ValueError, match="one number per class"):
        predict(files[0], tmp_path / "map.keras")
    with pytest.raises(ValueError, match="top=0"):
        predict(files[0], NET, top=0)
