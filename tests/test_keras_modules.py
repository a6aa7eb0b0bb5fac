"""The modules of `keras.applications` whose nets are here: only the import line of a program changes."""
import importlib
import inspect
import json
import re

import keras
import numpy as np
import pytest
from keras.src.applications import imagenet_utils

import reskeras
from reskeras.images.labels import get_label_set
from reskeras.weights.table import find_checkpoint, get_default_weights

MODULES = {"resnet": ["ResNet50", "ResNet101", "ResNet152"], "resnet50": ["ResNet50"],
           "resnet_v2": ["ResNet50V2", "ResNet101V2", "ResNet152V2"],
           "inception_resnet_v2": ["InceptionResNetV2"]}
NUMBERED = (r"(input_layer|conv2d|batch_normalization|activation|(max|average)_pooling2d|"
            r"custom_scale_layer)(_\d+)?")


def to_resnet_input(x):
    """By hand: BGR, minus the mean."""
    return x[..., ::-1] - np.array([103.939, 116.779, 123.68])


def to_unit_range(x):
    return x / 127.5 - 1


@pytest.mark.parametrize("module", MODULES)
def test_has_all_that_keras_has(module):
    theirs, ours = (importlib.import_module(f"{package}.{module}")
                    for package in ("keras.applications", "reskeras"))
    public = [name for name in dir(theirs) if not name.startswith("_")]
    assert sorted(public) == sorted([*MODULES[module], "decode_predictions", "preprocess_input"])
    for name in MODULES[module]:
        assert getattr(ours, name) is getattr(reskeras, name)
    assert getattr(reskeras, module) is ours
    for name in ("decode_predictions", "preprocess_input"):
        assert inspect.signature(getattr(ours, name)) == inspect.signature(getattr(theirs, name))


@pytest.mark.parametrize("module", MODULES)
def test_pixels_are_equal_to_the_bit_and_fit_the_default_weights(module):
    theirs, ours = (importlib.import_module(f"{package}.{module}").preprocess_input
                    for package in ("keras.applications", "reskeras"))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 7, 5, 3)).astype("uint8")
    for x in (pixels, pixels.astype("float32"), pixels[0].astype("float64")):
        got = ours(x.copy())
        np.testing.assert_array_equal(got, theirs(x.copy()))
        assert got.dtype == theirs(x.copy()).dtype
    tensor = keras.ops.convert_to_tensor(pixels.astype("float32"))
    np.testing.assert_array_equal(ours(tensor), theirs(tensor))
    by_hand = to_resnet_input if module in ("resnet", "resnet50") else to_unit_range
    np.testing.assert_allclose(ours(pixels.astype("float32")), by_hand(pixels.astype("float64")), atol=1e-4)
    for name in MODULES[module]:
        net = getattr(reskeras, name).name
        checkpoint = find_checkpoint(net, get_default_weights(net))
        np.testing.assert_allclose(reskeras.preprocess_input(pixels, checkpoint),
                                   by_hand(pixels.astype("float64")), atol=1e-4)


@pytest.mark.parametrize("module", MODULES)
def test_names_of_classes_are_equal(module, monkeypatch):
    """Keras downloads its names; here it has others."""
    synsets = {str(i): [synset, f"name {i}"] for i, (synset, _) in enumerate(get_label_set("imagenet-1k"))}
    monkeypatch.setattr(imagenet_utils, "CLASS_INDEX", json.loads(json.dumps(synsets)))
    theirs, ours = (importlib.import_module(f"{package}.{module}").decode_predictions
                    for package in ("keras.applications", "reskeras"))
    scores = np.random.default_rng(0).random((2, 1000)).astype("float32")
    assert ours(scores, top=3) == theirs(scores, top=3)
    assert [len(sample) for sample in ours(scores)] == [5, 5]
    assert ours(scores)[0][0][1] == f"name {scores[0].argmax()}"


def test_without_a_net_there_is_no_right_value():
    """The message names the three kinds, and its code runs."""
    x = np.full((4, 4, 3), 255, "uint8")
    with pytest.raises(ValueError, match="model=None: expected the net or checkpoint") as caught:
        reskeras.preprocess_input(x)
    message = str(caught.value)
    code = ["reskeras.resnet50.preprocess_input(x)", "reskeras.resnet_v2.preprocess_input(x)",
            "reskeras.preprocess_input(x, 'resnet50v1_5.a1_in1k')"]
    kinds = [np.asarray(eval(text, {"reskeras": reskeras, "x": x.astype("float32")})) for text in code]
    assert all(text in message for text in code)
    np.testing.assert_allclose(kinds[0][0, 0], [151.061, 138.221, 131.32], atol=1e-3)
    np.testing.assert_allclose(kinds[1][0, 0], [1, 1, 1])
    np.testing.assert_allclose(kinds[2][0, 0], [0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225], atol=1e-5)


def test_layer_names_of_inception_resnet_v2():
    """What the documentation says: Keras numbers most layers by build order; the others' names are equal."""
    keras.utils.clear_session()
    theirs, ours = (
        {layer.name for layer in package.InceptionResNetV2(weights=None, input_shape=(75, 75, 3)).layers}
        for package in (keras.applications, reskeras))
    numbered = {name for name in theirs if re.fullmatch(NUMBERED, name)}
    assert theirs - numbered <= ours and len(numbered) > len(theirs) / 2
