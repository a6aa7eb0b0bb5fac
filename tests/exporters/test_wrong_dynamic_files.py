"""A dynamic file whose weights lost their values is refused, also where outputs are no classes."""
import keras
import numpy as np
import pytest
from keras import layers

import reskeras
from reskeras.cli import main

IMAGES = np.random.default_rng(0).normal(0, 1, (8, 16, 16, 3)).astype("float32")
HEADS = {"map": lambda x: layers.Conv2D(8, 3)(x),
         "value": lambda x: layers.Dense(1)(layers.GlobalAveragePooling2D()(x)),
         "segmentation": lambda x: layers.Conv2D(3, 1, activation="softmax")(x)}


def make_net(head):
    """A trained net whose second kernels have a weight of 1000, which reads a channel that is always 0.

    Keras computes with the other weights.  One scale for all weights of a filter makes zeros of them.
    """
    keras.utils.set_random_seed(0)
    image = x = keras.Input((16, 16, 3))
    for _ in range(2):
        x = layers.Conv2D(16, 3, padding="same", activation="relu", bias_initializer="random_normal")(x)
    net = keras.Model(image, head(x), name="net")
    first, second = (layer for layer in net.layers[1:3])
    kernel, bias = first.get_weights()
    kernel[..., 0], bias[0] = 0, -1
    first.set_weights([kernel, bias])
    kernel, bias = second.get_weights()
    kernel[:, :, 0] = 1000
    second.set_weights([kernel, bias])
    return net


@pytest.mark.parametrize("head", HEADS)
def test_a_wrong_dynamic_file_is_refused(tmp_path, head):
    net, path = make_net(HEADS[head]), tmp_path / "net.tflite"
    with pytest.raises(RuntimeError, match="net.tflite: in LiteRT the outputs differ from Keras by .* "
                                           "relative, more than 0.1; nothing was written"):
        reskeras.export(net, path, quantize="dynamic", validation_data=IMAGES)
    assert not list(tmp_path.iterdir())

    report = reskeras.export(net, path, quantize="dynamic", validation_data=IMAGES, strict=False)
    assert not report.passed and report.max_relative_difference > 0.9
    assert main(["verify", str(path)]) == 1
    assert reskeras.export(net, path, quantize="float16", validation_data=IMAGES).passed


def test_a_wrong_dynamic_file_is_refused_on_random_images_and_in_the_shell(tmp_path, capsys):
    net = make_net(HEADS["map"])
    net.save(tmp_path / "net.keras")
    command = ["export", str(tmp_path / "net.keras"), str(tmp_path / "net.tflite"), "--quantize", "dynamic"]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert "the outputs differ from Keras by" in error and error.count("\n") == 1
    assert not (tmp_path / "net.tflite").exists()
