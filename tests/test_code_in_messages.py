"""Every call of this package that a message advises runs, and has the effect that the message promises."""
import ast
import dataclasses
import io
import pathlib
import re
import warnings

import keras
import numpy as np
import pytest
from PIL import Image

import reskeras
from reskeras.quantization.calibration import load_images
from reskeras.images import depth
from reskeras.images.decode import decode_image

PACKAGE = pathlib.Path(reskeras.__file__).parent
CALL = re.compile(r"(?:dataclasses\.replace\()?reskeras\.[\w.]+\((?:[^()]|\([^()]*\))*\)(?:, bits=16\))?")
# file -> the calls in its messages, `{}` for what is put in; each is run below
CALLS = {
    "quantization/calibration": {"reskeras.Preprocessing(({}, {}), 'raw'{}, crop_pct=1.0)",
                              "reskeras.get_preprocessing(model)"},
    "images/depth": {"dataclasses.replace(reskeras.get_preprocessing(model), bits=16)"},
    "images/decode": {"reskeras.set_image_limits(max_pixels=...)"},
    "inputs_outputs": {"reskeras.get_preprocessing({})", "reskeras.set_metadata(model, ...)",
                       "reskeras.set_metadata(model, net, reskeras.get_metadata(net).labels)",
                       "reskeras.resnet50.preprocess_input(x)", "reskeras.resnet_v2.preprocess_input(x)",
                       "reskeras.preprocess_input(x, {})"},
    "catalog": {"reskeras.list_models()"}, "weights/table": {"reskeras.list_weights()"},
    # run in commands/test_evaluation_report.py
    "commands/classifier": {"reskeras.set_metadata(model, task='binary')"},
    # run in test_more_code_in_messages.py
    "commands/predict": {"reskeras.get_preprocessing(model)", "reskeras.create({})", "reskeras.load({})"},
    "train/class_names": {"reskeras.set_metadata(model, labels=[...])"},
    "commands/fusion_report": {"reskeras.optimize(model)"},
    # run by the code of docs/training.md
    "train/labels": {"reskeras.distributable(model)"}, "train/model": {"reskeras.distributable(model)"},
    # the example in a card, run by tests/weights/test_hub.py
    "sharing/model_card": {'reskeras.from_pretrained("hf://{}")',
                           'reskeras.predict(model, ["image.jpg"])'},
    # run by tests/weights/test_trainers_files.py
    "weights/state_dicts": {"reskeras.load_weights(model, path, key=...)",
                            "reskeras.load_weights(model, path, key={})"},
    # run by tests/weights/test_tensorflow_checkpoints.py and test_keys_of_files.py
    "weights/tensorflow_names": {"reskeras.load_weights(model, path, key=...)",
                                 "reskeras.load_weights(model, path, key={})"},
    "weights/load": {"reskeras.load_weights(model, reskeras.get_weights({}))"}}
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), "uint8")


def find_calls(file):
    """The calls in the strings of a module that are no docstrings."""
    tree = ast.parse(file.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inner = {id(value) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for value in node.values}
    texts = ["".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
             if isinstance(node, ast.JoinedStr) else str(node.value) for node in ast.walk(tree)
             if isinstance(node, (ast.JoinedStr, ast.Constant)) and id(node) not in docstrings | inner]
    return {call for text in texts if " " in text for call in CALL.findall(text)}


def run(message, **names):
    """The values of the calls in a message."""
    names |= {"reskeras": reskeras, "dataclasses": dataclasses}
    return [eval(code, names) for code in CALL.findall(str(message))]


def test_every_call_is_run_here():
    found = {file.relative_to(PACKAGE).with_suffix("").as_posix(): find_calls(file)
             for file in PACKAGE.rglob("*.py")}
    assert {name: calls for name, calls in found.items() if calls} == CALLS


@pytest.mark.parametrize("channels", [1, 3])
def test_raw_pixels_stay_as_they_are(channels):
    """A default crop would change an image of 32 x 32 pixels by 18 of 255 on average."""
    pixels = PIXELS[..., :channels]
    with pytest.raises(ValueError, match="like pixels before any preprocessing") as error:
        load_images(pixels.astype("float32"), None, (32, 32, channels))
    (preprocessing,) = run(error.value)
    np.testing.assert_array_equal(preprocessing(pixels), pixels)
    for images in (pixels, pixels.astype("float32")):
        found = load_images(images, preprocessing, (32, 32, channels)).images
        np.testing.assert_array_equal(found, pixels)


def test_pixels_without_a_known_preprocessing_are_taken_as_they_are():
    bands = np.repeat(PIXELS, 4, -1).astype("float32")
    assert load_images(bands, None, (32, 32, 12)).images.max() == 255


def test_images_that_have_not_been_prepared():
    model = reskeras.create("cifar_resnet20.digits")
    preprocessing = reskeras.get_preprocessing(model)
    shape = (*preprocessing.size, len(preprocessing.mean))
    pixels = PIXELS[..., :shape[2]]
    with pytest.raises(ValueError, match="have not been through it") as error:
        load_images(preprocessing(pixels) * 100, preprocessing, shape)
    (advised,) = run(error.value, model=model)
    assert len(load_images(advised(pixels), preprocessing, shape).images) == len(pixels)


def test_the_bits_of_images():
    depth._announce.cache_clear()
    model, file = reskeras.create("cifar_resnet20.digits"), io.BytesIO()
    pixels = np.linspace(0, 4095, 1024).reshape(32, 32).astype("uint16")
    Image.fromarray(pixels).save(file, "PNG")
    with pytest.warns(UserWarning, match="taken for 12 bits") as said:
        decode_image(file.getvalue())
    (advised,) = run(said[0].message, model=model)
    plain = reskeras.get_preprocessing(model)
    np.testing.assert_array_equal(advised(file.getvalue()), plain((pixels >> 8).astype("uint8")[..., None]))
    assert dataclasses.replace(advised, bits=0) == plain


def test_limits_of_images():
    file = io.BytesIO()
    Image.fromarray(PIXELS[0]).save(file, "PNG")
    try:
        reskeras.set_image_limits(max_pixels=100)
        with pytest.raises(ValueError, match="more than the limit of 100") as error:
            decode_image(file.getvalue())
        (code,) = CALL.findall(str(error.value))
        eval(code.replace("...", "1024"))
        np.testing.assert_array_equal(decode_image(file.getvalue()), PIXELS[0])
    finally:
        reskeras.set_image_limits()


def test_preprocessing_of_a_model_without_metadata():
    model = keras.Sequential([keras.Input((224, 224, 3)), keras.layers.GlobalAveragePooling2D()])
    with pytest.raises(ValueError, match="has no metadata of its preprocessing") as error:
        reskeras.get_preprocessing(model)
    named, other, _ = CALL.findall(str(error.value))
    expected = eval(named)
    assert isinstance(expected, reskeras.Preprocessing)
    own = eval(other.replace("...", "preprocessing=expected"))
    assert reskeras.get_preprocessing(own) == expected


def test_three_kinds_of_scaling():
    x = PIXELS[:2].astype("float32")
    with pytest.raises((ValueError, TypeError), match="three kinds") as error:
        reskeras.preprocess_input(x)
    # Keras' functions, and so ours, work in place on floats
    first, second, third = (eval(code, {"reskeras": reskeras, "x": x.copy()})
                            for code in CALL.findall(str(error.value)))
    applications = keras.applications
    np.testing.assert_array_equal(first, applications.resnet50.preprocess_input(x.copy()))
    np.testing.assert_array_equal(second, applications.resnet_v2.preprocess_input(x.copy()))
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(third, (x / 255 - mean) / std, atol=1e-5)


def test_lists_and_optimize():
    assert "resnet50" in reskeras.list_models() and len(reskeras.list_weights()) > 100
    model = reskeras.create("cifar_resnet20", weights=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimized, report = reskeras.optimize(model)
    assert isinstance(optimized, keras.Model) and report.passes
