"""Models that a public call cannot use end in one sentence that says what to do, and doing so works."""
import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import reskeras
from reskeras.images.preprocessing import Preprocessing

RAW = Preprocessing((16, 16), "raw", crop_pct=1.0)
PIXELS = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3)).astype("uint8")
CLASSES = np.arange(8) % 3


def classify(image, classes=3, **options):
    x = layers.Conv2D(4, 3, activation="relu", **options)(image)
    return layers.Dense(classes, activation="softmax", **options)(
        layers.GlobalAveragePooling2D(**options)(x))


def make_model(**options):
    image = keras.Input((16, 16, 3), **options)
    return keras.Model(image, classify(image, **options), name="plain")


def make_two_inputs():
    images = keras.Input((16, 16, 3)), keras.Input((16, 16, 3))
    return keras.Model(images, classify(layers.Concatenate()(images)), name="two")


def make_two_outputs():
    image = keras.Input((16, 16, 3))
    return keras.Model(image, [classify(image), classify(image, 2)], name="two")


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="own")
        self.body, self.head = layers.Conv2D(4, 3), layers.Dense(3)

    def call(self, x, training=None):
        return self.head(keras.ops.mean(self.body(x), (1, 2)))


def make_subclassed():
    model = Subclassed()
    model(np.zeros((1, 16, 16, 3), "float32"))
    return model


def make_without_input():
    return keras.Sequential([layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(3)])


def make_without_activation():
    model = make_model()
    model.layers[-1].activation = None
    return model


class Scaled(layers.Layer):
    """Without get_config; Keras writes one of its own, which `__init__` does not take."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, x):
        return x * self.factor


class ScaledByFunction(Scaled):
    """Keras cannot write a config for an argument that is an object."""


def make_with_layer(layer):
    image = keras.Input((16, 16, 3))
    return keras.Model(image, classify(layer(image)), name="custom")


def make_fixed_batch():
    image = keras.Input(batch_shape=(4, 16, 16, 3))
    return keras.Model(image, classify(image), name="fixed")


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """Public calls that take a model, by name."""
    folder = tmp_path_factory.mktemp("files")
    Image.fromarray(PIXELS[0]).save(folder / "image.png")
    return {
        "predict": lambda model: reskeras.predict(model, folder / "image.png", preprocessing=RAW),
        "evaluate": lambda model: reskeras.evaluate(model, (PIXELS, CLASSES), preprocessing=RAW),
        "explain": lambda model: reskeras.explain(model, folder / "image.png", folder / "page.html",
                                                  preprocessing=RAW),
        "export": lambda model: reskeras.export(model, folder / "net.tflite", strict=False),
        "fit": lambda model: reskeras.fit(model, (PIXELS, CLASSES), "finetune", steps=1, batch_size=4,
                                          verbose=0, preprocessing=RAW, size=16, test_size=16),
        "set_metadata": lambda model: reskeras.set_metadata(model, RAW),
        "optimize": reskeras.optimize, "cost": reskeras.cost, "features": reskeras.features,
        "page": lambda model: reskeras.page(model, folder / "net.html"),
        "save": lambda model: reskeras.save(model, folder / "saved.keras")}


IMAGES = ("predict", "evaluate", "explain", "export", "fit", "set_metadata")
ONE_IMAGE = tuple(name for name in IMAGES if name != "export")     # which takes any inputs and outputs
GRAPHS = ("optimize", "cost", "page", "features")
NEED_CONFIGS = ("explain", "export", "optimize", "cost", "page", "features", "fit", "save")


@pytest.mark.parametrize("make, names, message", [
    (make_two_inputs, ONE_IMAGE, "model='two': expected one input .*and one output; it has 2 inputs; give"),
    (make_two_outputs, ONE_IMAGE,
     r"model='two': .*; it has 2 outputs; .* keras.Model\(model.inputs, model.out"),
    (make_subclassed, IMAGES + GRAPHS, r"own.* is subclassed.* keras.Model\(images, model.call\(images\)\)"),
    (Subclassed, IMAGES + GRAPHS, r"own.* is subclassed"),
    (make_without_input, IMAGES + GRAPHS, r"not built, .* begin with keras.Input\(\(height, width, chan"),
    (make_without_activation, NEED_CONFIGS,
     "the layer 'dense.*' has no config .* is None.* set layer.activation = keras.activations.linear"),
    (lambda: make_with_layer(ScaledByFunction(keras.Variable(2.0))), ("optimize", "export", "fit"),
     "has no get_config; define one"),
    (lambda: make_with_layer(Scaled(2.0)), ("optimize", "export"),
     "its class Scaled needs a get_config that returns the arguments"),
    (make_fixed_batch, ("predict", "evaluate", "explain"),
     "it takes 4 at a time; build it with keras.Input")])
def test_one_sentence(make, names, message, calls):
    for name in names:
        with pytest.raises(ValueError, match=message) as caught:
            calls[name](make())
        assert "\n" not in str(caught.value), name


def test_the_advice_for_subclassed_models(calls):
    model, images = make_subclassed(), keras.Input((16, 16, 3))
    functional = keras.Model(images, model.call(images))
    x = PIXELS.astype("float32")
    np.testing.assert_allclose(functional(x), model(x), rtol=1e-5)
    assert calls["evaluate"](functional).images == 8
    assert calls["cost"](functional).params == model.count_params()


def test_the_advice_for_two_outputs(calls):
    model = make_two_outputs()
    assert calls["evaluate"](keras.Model(model.inputs, model.outputs[0])).images == 8


def test_the_advice_for_an_activation_of_none(calls):
    model = make_without_activation()
    model.layers[-1].activation = keras.activations.linear
    calls["save"](model)
    assert calls["evaluate"](model).images == 8


def test_export_of_a_fixed_number_of_images(tmp_path):
    report = reskeras.export(make_fixed_batch(), tmp_path / "net.tflite", strict=False)
    assert report.passed
    with pytest.raises(ValueError, match="batch_size=2: expected 4, with which the net was built"):
        reskeras.export(make_fixed_batch(), tmp_path / "net.tflite", batch_size=2)


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_export_of_float64(suffix, tmp_path):
    report = reskeras.export(make_model(dtype="float64"), tmp_path / f"net{suffix}")
    assert report.passed


def test_a_model_that_keras_has_quantized(calls):
    model = make_model()
    model.quantize("int8")
    assert calls["evaluate"](model).images == 8
    for name in ("export", "explain"):
        with pytest.raises(ValueError, match="expected a model in floating point; Keras has quantized it"):
            calls[name](model)
