"""Code in messages that is no call of this package: Keras' own, commands of the shell, attributes."""
import ast
import pathlib
import re
import shlex

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image
from test_messages import iterate_messages

import reskeras
from reskeras.commands.parser import make_parser
from reskeras.graph.model_requirements import check_image_model

PACKAGE = pathlib.Path(reskeras.__file__).parent
KERAS = re.compile(r"\bkeras\.(?!io\b)[\w.]+(?:\((?:[^()]|\([^()]*\))*\))?")
SHELL = re.compile(r"reskeras (?!\{\})[a-z]+(?: [a-z-]+| \{\})*(?: --[a-z-]+ \{\})*")
PIP = re.compile(r"pip install ([\w-]+|\{\}|\"reskeras\[(?:\w+|\{\})\]\")")
EXTRAS = pathlib.Path(__file__).parents[1] / "setup.cfg"
# what messages say of Keras; each is run below, or names a class or module that exists
KERAS_CODE = {
    "keras.config.set_image_data_format('channels_last')", "keras.Input((224, 224, 3))",
    "keras.Input(shape)", "keras.Model(images, model.call(images))",
    "keras.Input((height, width, channels))", "keras.activations.linear", "keras.Model(images, output)",
    "keras.Model(model.inputs, model.outputs[0])", "keras.callbacks.EarlyStopping('val_loss')",
    "keras.Model(net.inputs, net.outputs)",
    "keras.models.clone_model(net)",     # run by tests/exporters/test_nested_float_layers.py
    # run by test_objects_of_keras
    "keras.optimizers.Lion(1e-4)", "keras.losses.Huber(0.5)", "keras.metrics.AUC()",
    "keras.saving.register_keras_serializable()", "keras.saving.register_keras_serializable({})",
    'keras.saving.register_keras_serializable("your_package")'}


def find(pattern):
    return {match for file in PACKAGE.rglob("*.py") for text in iterate_messages(ast.parse(file.read_text()))
            if " " in text for match in pattern.findall(text)}


def test_every_code_of_keras_is_known_here():
    found = find(KERAS)
    assert {code for code in found if "(" in code} <= KERAS_CODE
    for name in found - KERAS_CODE:
        value = keras
        for part in name.rstrip(".").split(".")[1:]:
            value = getattr(value, part, None) or getattr(value, part.removesuffix("s"), None)
            assert value is not None, name


def test_objects_of_keras():
    assert keras.optimizers.Lion(1e-4).learning_rate == 1e-4
    assert keras.losses.Huber(0.5) and keras.metrics.AUC()

    @keras.saving.register_keras_serializable("your_package")
    class Own(keras.Loss):
        pass
    assert keras.saving.get_registered_name(Own) == "your_package>Own"


def test_extras_and_packages_of_pip_exist():
    known = set(re.findall(r"^(\w+) =", EXTRAS.read_text().partition("[options.extras_require]")[2], re.M))
    found = find(PIP)
    assert found
    for name in found:
        extra = re.fullmatch(r'"reskeras\[(\w+)\]"', name)
        assert not extra or extra[1] in known, name
        assert extra or name in ("{}", '"reskeras[{}]"', "pillow-heif", "tensorboard", "tensorflow"), name
    from reskeras.exporters.formats import FORMATS
    for each in FORMATS if not isinstance(FORMATS, dict) else FORMATS.values():
        extra = getattr(each, "extra", "")
        assert not extra or extra in known


def test_commands_of_the_shell_are_parsed():
    """As they are written, with a word for each value."""
    parser, found = make_parser(), find(SHELL)
    commands = [line for line in found if line.split()[1] in
                {word for action in parser._actions for word in (action.choices or ())}]
    assert len(commands) >= 4
    for line in commands:
        words = shlex.split(line.replace("{}", "resnet18"))[1:]
        try:
            parser.parse_known_args(words)
        except SystemExit as error:     # a sentence may name the command without all that it needs
            assert len(words) < 3, (line, error)


# ---- advice of Keras' code: it is taken from the message, and does away with the error

def find_code(error):
    return KERAS.findall(str(error))


def test_one_of_two_outputs():
    image = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(image)
    model = keras.Model(image, [layers.Dense(2)(x), layers.Dense(3)(x)])
    with pytest.raises(ValueError, match="has 2 outputs") as error:
        reskeras.set_metadata(model)
    (code,) = find_code(error.value)
    part = eval(code, {"keras": keras, "model": model})
    assert reskeras.set_metadata(part, labels=["a", "b"]).output_shape == (None, 2)


def test_one_of_two_inputs():
    images, mask = keras.Input((8, 8, 3)), keras.Input((8, 8, 1))
    output = layers.Conv2D(4, 3)(images)
    model = keras.Model([images, mask], layers.Concatenate()([output, layers.Conv2D(4, 3)(mask)]))
    with pytest.raises(ValueError, match="has 2 inputs") as error:
        reskeras.set_metadata(model)
    (code,) = find_code(error.value)
    part = eval(code, {"keras": keras, "images": images, "output": output})
    assert reskeras.set_metadata(part).output_shape == (None, 6, 6, 4)


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.head = layers.Dense(2)

    def call(self, images):
        return self.head(keras.ops.mean(images, (1, 2)))


def test_a_subclassed_model():
    model = Own()
    model(np.zeros((1, 8, 8, 3), "float32"))
    with pytest.raises(ValueError, match="subclassed") as error:
        reskeras.optimize(model)
    of_layers, begins = find_code(error.value)
    names = {"keras": keras, "model": model, "height": 8, "width": 8, "channels": 3}
    names["images"] = eval(begins, names)
    functional = eval(of_layers, names)
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype("float32")
    np.testing.assert_allclose(functional(x), model(x), rtol=1e-6)
    check_image_model(functional)
    assert reskeras.optimize(functional)[1].passes


def test_a_model_that_is_not_built():
    model = keras.Sequential([layers.Conv2D(4, 3), layers.GlobalAveragePooling2D()])
    with pytest.raises(ValueError, match="not built") as error:
        reskeras.optimize(model)
    (code,) = find_code(error.value)
    names = {"keras": keras, "height": 8, "width": 8, "channels": 3}
    built = keras.Sequential([eval(code, names), *model.layers])
    assert reskeras.optimize(built)[1].passes


def test_an_activation_of_none(tmp_path):
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling2D()(image)))
    layer = model.layers[-1]
    layer.activation = None
    with pytest.raises(ValueError, match="its activation is None") as error:
        reskeras.export(model, tmp_path / "n.keras")
    advice = re.search(r"set (layer\.activation = [\w.]+)", str(error.value))[1]
    exec(advice, {"keras": keras, "layer": layer})
    assert reskeras.export(model, tmp_path / "n.keras").passed


class NoConfig(layers.Layer):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, x):
        return x * self.factor


class WithConfig(layers.Layer):
    """As the message advises: the arguments of its __init__, whose **kwargs are given on."""

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return x * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def test_a_layer_without_a_config():
    image = keras.Input((8, 8, 3))
    with pytest.raises(ValueError, match="get_config") as error:
        reskeras.optimize(keras.Model(image, layers.Conv2D(2, 3)(NoConfig(2)(image))))
    assert "returns the arguments of its __init__" in str(error.value)
    model = keras.Model(image, layers.Conv2D(2, 3)(WithConfig(2)(image)))
    assert reskeras.optimize(model)[1].check.passed


def test_a_tensor_of_keras():
    with pytest.raises((TypeError, ValueError), match="a Keras tensor") as error:
        reskeras.ResNet18(weights=None, input_tensor=np.zeros((1, 224, 224, 3)))
    (code,) = find_code(error.value)
    assert reskeras.ResNet18(weights=None, input_tensor=eval(code)).input_shape == (None, 224, 224, 3)


def test_the_image_data_format():
    try:
        keras.config.set_image_data_format("channels_first")
        with pytest.raises(ValueError, match="is not supported") as error:
            reskeras.CifarResNet20(weights=None, depths=(1, 1, 1))
        (code,) = find_code(error.value)
        eval(code)
        assert reskeras.CifarResNet20(weights=None, depths=(1, 1, 1)).built
    finally:
        keras.config.set_image_data_format("channels_last")


def test_a_fixed_number_of_images(tmp_path):
    image = keras.Input(batch_shape=(4, 8, 8, 3))
    model = keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(image)))
    photo = tmp_path / "photo.png"
    Image.new("RGB", (8, 8)).save(photo)
    options = {"preprocessing": reskeras.Preprocessing((8, 8), "raw"), "labels": ["a", "b"], "top": 1}
    with pytest.raises(ValueError, match="takes 4 at a time") as error:
        reskeras.predict(model, photo, **options)
    (code,) = find_code(error.value)
    again = eval(code, {"keras": keras, "shape": (8, 8, 3)})
    built = keras.Model(again, layers.Dense(2)(layers.GlobalAveragePooling2D()(again)))
    built.set_weights(model.get_weights())
    assert reskeras.predict(built, photo, **options)


def test_pixels_in_memory():
    model, pixels = reskeras.create("cifar_resnet20.digits"), np.zeros((1, 16, 16, 1), "uint8")
    with pytest.raises((TypeError, ValueError), match="for pixels in memory") as error:
        reskeras.predict(model, pixels)
    code = re.search(r"model\.predict\(reskeras\.get_preprocessing\(model\)\(pixels\)\)", str(error.value))[0]
    assert eval(code, {"reskeras": reskeras, "model": model, "pixels": pixels}).shape == (1, 10)

    with pytest.raises(ValueError, match="for pixels in memory") as error:
        reskeras.predict("cifar_resnet20.digits", pixels)
    opening = re.search(r"where model = (reskeras\.create\('cifar_resnet20\.digits'\))", str(error.value))[1]
    names = {"reskeras": reskeras, "pixels": pixels}
    assert eval(code, {**names, "model": eval(opening, names)}).shape == (1, 10)
    with pytest.raises(ValueError, match=r"where model = reskeras\.load\('n\.keras'\)"):
        reskeras.predict("n.keras", pixels)
    with pytest.raises(ValueError, match="write pixels in memory to .png files first"):
        reskeras.predict("n.tflite", pixels)


def test_images_of_other_channels():
    """The message's argument builds the net for them; by its name it is built so at once."""
    model = reskeras.create("cifar_resnet20", weights=None, classes=2)
    images = np.zeros((4, 32, 32, 4), "float32"), [0, 1, 0, 1]
    with pytest.raises(ValueError, match="of 3 channels, but those of arrays have 4") as error:
        reskeras.fit(model, images, epochs=1)
    shape = re.search(r"build it with input_shape=(\(.+?\)), or give its name", str(error.value))[1]
    again = reskeras.create("cifar_resnet20", weights=None, classes=2, input_shape=eval(shape))
    assert again.input_shape == (None, 32, 32, 4)


def test_a_net_that_is_called_twice_in_explain(tmp_path):
    net = reskeras.create("cifar_resnet20.digits")
    image = keras.Input((16, 16, 1))
    model = keras.Model(image, layers.Average()([net(image), net(layers.Rescaling(0.5)(image))]))
    Image.new("L", (16, 16)).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match="give a model that calls it once, such as") as error:
        reskeras.explain(model, tmp_path / "x.png", tmp_path / "x.html", preprocessing=net)
    code = re.search(r"model\.get_layer\('.+?'\)", str(error.value))[0]
    assert reskeras.explain(eval(code), tmp_path / "x.png", tmp_path / "x.html").exists()

    features = reskeras.create("cifar_resnet20", weights=None, include_top=False, pooling="avg")
    image = keras.Input((32, 32, 3))
    joined = layers.Add()([features(image), features(layers.Rescaling(0.5)(image))])
    classifier = keras.Model(image, layers.Dense(3, activation="softmax")(joined))
    with pytest.raises(ValueError, match="a model that calls it once$"):
        reskeras.explain(classifier, tmp_path / "x.png", tmp_path / "x.html",
                         preprocessing="cifar_resnet20.cifar10")


# ---- a model made of the tensors of a net

def test_a_model_of_the_tensors_of_a_net(tmp_path):
    """Keras makes it without asking the net, so it has no metadata; the message names the way."""
    net = reskeras.create("cifar_resnet20.digits")
    model = keras.Model(net.inputs, net.outputs)
    with pytest.raises(ValueError, match="does not keep") as error:
        reskeras.get_preprocessing(model)
    code = re.search(r"reskeras\.set_metadata\(model, net, reskeras\.get_metadata\(net\)\.labels\)",
                     str(error.value))[0]
    again = eval(code, {"reskeras": reskeras, "model": model, "net": net})
    assert reskeras.get_preprocessing(again) == reskeras.get_preprocessing(net)
    assert reskeras.get_metadata(again).labels == "digits"
    again.save(tmp_path / "n.keras")
    assert reskeras.get_metadata(reskeras.load(tmp_path / "n.keras")).labels == "digits"
    with pytest.raises(ValueError, match="give net as `preprocessing`"):
        reskeras.evaluate(model, "digits")
    digits = reskeras.evaluate(model, "digits", preprocessing=net, labels="digits")
    assert digits.top1 == reskeras.evaluate(net, "digits").top1
