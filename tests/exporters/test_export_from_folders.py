"""Exports whose images, paths or options are out of the ordinary: the command and `reskeras.export`."""
import os
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image

import reskeras
from reskeras.cli import main
from reskeras.images import decode, transform
from reskeras.images.preprocessing import Preprocessing

RAW = Preprocessing((16, 16), "raw", crop_pct=1.0)
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), "uint8")


def make_net(channels=3):
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, channels))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(layers.Rescaling(1 / 255)(image)))
    return keras.Model(image, layers.Dense(3, activation="softmax")(x), name="net")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A net, and two classes of twenty images with a broken one that comes first."""
    place = tmp_path_factory.mktemp("place")
    reskeras.save(reskeras.set_metadata(make_net(), RAW, list("abc")), place / "net.keras")
    for i, pixels in enumerate(PIXELS):
        (place / "photos" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / "photos" / "ab"[i % 2] / f"{i:02}.png")
    (place / "photos" / "a" / "0.png").write_bytes(b"no image")
    return place


@pytest.fixture()
def one_without_memory(monkeypatch):
    """Resizing fails for a lack of memory where the first pixel is that of the first image."""
    resize = transform.resize_and_crop

    def fail(pixels, *geometry):
        if not tf.is_symbolic_tensor(pixels) and np.array_equal(np.asarray(pixels)[0], PIXELS[0]):
            raise MemoryError
        return resize(pixels, *geometry)
    monkeypatch.setattr(transform, "resize_and_crop", fail)


def test_the_command_calibrates_on_a_folder_with_a_bad_file(place, tmp_path, capfd):
    path = tmp_path / "net.tflite"
    assert main(["export", str(place / "net.keras"), str(path), "--quantize", "int8", "--calibration-data",
                 str(place / "photos")]) == 0
    out, err = capfd.readouterr()
    assert "passed" in out and path.exists()
    assert re.search("1 images could not be read and are left out: .*0.png: not a readable JPEG", out + err)


def test_export_calibrates_on_a_folder_with_a_bad_file(place, tmp_path):
    net = reskeras.load(place / "net.keras")
    with pytest.warns(UserWarning, match="1 images could not be read and are left out: .*0.png: not a read"):
        report = reskeras.export(net, tmp_path / "net.tflite", quantize="int8",
                                 calibration_data=place / "photos")
    assert report.passed and report.images == 40
    with pytest.raises(ValueError, match="0.png: not a readable"):      # a list is meant as it is
        reskeras.export(net, tmp_path / "net.tflite", quantize="int8",
                        calibration_data=sorted((place / "photos" / "a").iterdir()))


def test_too_little_memory_for_one_image_of_the_calibration(place, tmp_path, one_without_memory):
    net = reskeras.load(place / "net.keras")
    with pytest.warns(UserWarning, match="2 images could not be read .*00.png: not enough memory to resize"):
        report = reskeras.export(net, tmp_path / "net.tflite", quantize="int8",
                                 calibration_data=place / "photos")
    assert report.passed and report.images == 39


def test_too_little_memory_for_one_image_of_training_and_evaluation(place, tmp_path, monkeypatch, capfd):
    """A scan of 16 bits, which Pillow decodes in training, too."""
    decode_pixels = decode._decode

    def fail(image, *arguments):
        if image.width == 17:
            raise MemoryError
        return decode_pixels(image, *arguments)
    monkeypatch.setattr(decode, "_decode", fail)
    for i, pixels in enumerate(PIXELS[:6]):
        (tmp_path / "abc"[i % 3]).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "abc"[i % 3] / f"{i}.png")
    Image.fromarray(np.full((16, 17), 9999, "uint16")).save(tmp_path / "a" / "scan.png")
    net = reskeras.load(place / "net.keras")
    evaluation = reskeras.evaluate(net, f"folder:{tmp_path}")
    assert evaluation.images == 6 and [name[-8:] for name in evaluation.skipped] == ["scan.png"]
    (result,) = (r for r in reskeras.predict(net, tmp_path / "a") if "error" in r)
    assert result["error"] == "not enough memory to decode it"
    history = reskeras.fit(net, f"folder:{tmp_path}", "finetune", epochs=1, batch_size=2, verbose=2, size=16,
                           test_size=16)
    assert np.isfinite(history.history["loss"]).all()
    said = "".join(capfd.readouterr())
    assert "scan.png" in said and "not enough memory to decode it" in said


def test_pixels_for_a_net_of_four_bands(tmp_path):
    """No preprocessing says that such a net takes pixels, so it cannot be asked for: a warning."""
    bands = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 4)).astype("float32")
    with pytest.warns(UserWarning, match="reach from 0 to 255, like pixels before any preprocessing; if"):
        report = reskeras.export(make_net(4), tmp_path / "net.tflite", quantize="int8",
                                 calibration_data=bands)
    assert report.passed
    with pytest.raises(ValueError, match="like pixels before any preproc.*give reskeras.Preprocessing"):
        reskeras.export(make_net(), tmp_path / "net.tflite", quantize="int8",
                        calibration_data=bands[..., :3])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
@pytest.mark.parametrize("pipe, path", [
    ("net.onnx", "net.onnx"), ("net.xml", "net.xml"), ("net.bin", "net.xml"), ("net", "net"),
    ("net/saved_model.pb", "net")])
def test_a_pipe_is_neither_read_nor_written(pipe, path, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if pipe == "net.bin":
        (tmp_path / "net.xml").write_text("<net/>")
    (tmp_path / pipe).parent.mkdir(exist_ok=True)
    os.mkfifo(pipe)
    for call in (lambda: reskeras.benchmark([path], trust=True), lambda: reskeras.verify(path, trust=True),
                 lambda: reskeras.predict(path, place / "photos", trust=True)):
        with pytest.raises((ValueError, FileNotFoundError),
                           match="not a regular file|not the folder|no such file|unknown net"):
            call()
    if pipe != "net/saved_model.pb":
        with pytest.raises(ValueError, match=f"{pipe} is a pipe or a device; give the path of a file"):
            reskeras.export(reskeras.load(place / "net.keras"), path)


def test_a_saved_model_for_coremltools(place, tmp_path):
    """coremltools takes a SavedModel of one signature, without strings, whose input has a known size."""
    reskeras.export(reskeras.load(place / "net.keras"), tmp_path / "net", batch_size=1,
                    signatures=["serving_default"])
    loaded = tf.saved_model.load(str(tmp_path / "net"))
    (serve,) = loaded.signatures.values()
    assert list(loaded.signatures) == ["serving_default"]
    (image,) = serve.structured_input_signature[1].values()
    assert image.shape.as_list() == [1, 16, 16, 3] and image.dtype == tf.float32
    assert {name: output.dtype for name, output in serve.structured_outputs.items()} == {"scores": tf.float32}
    graph = serve.graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    types = {attribute.type for node in nodes for attribute in node.attr.values() if attribute.type}
    assert tf.string.as_datatype_enum not in types


def test_the_help_says_who_takes_a_cameras_bytes(capsys):
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    shell = " ".join(capsys.readouterr().out.split())
    assert "quantized prepared values (int8), a camera's bytes, normalized inside (uint8)" in shell
    python = " ".join(reskeras.export.__doc__.split())
    assert '"int8" and "float32" take images as the net takes them: quantized prepared values' in python
    assert '"uint8" takes a camera\'s bytes' in python
