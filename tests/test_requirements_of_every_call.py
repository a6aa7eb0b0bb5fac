"""The calls that test_model_requirements.py does not make; models that Keras has quantized, in every call."""
import keras
import numpy as np
import pytest
from keras import layers
from test_model_requirements import (CLASSES, PIXELS, RAW, Scaled, make_fixed_batch, make_model,
                                     make_subclassed, make_two_inputs, make_two_outputs,
                                     make_without_activation)

import reskeras
from reskeras.images.preprocessing import Preprocessing

FLOATS = PIXELS.astype("float32")
SCALED = Preprocessing((16, 16), "tf", crop_pct=1.0)
SUFFIXES = (".tflite", ".onnx", ".xml", ".keras", "")


def make_residual(layer=None, **options):
    """A net of two residual blocks, with the names that `remove_blocks` looks for."""
    image, dtype = keras.Input((16, 16, 3), **options), options.get("dtype")
    x = layers.Conv2D(4, 3, padding="same", name="conv2_block1_1_conv", dtype=dtype)(image)
    for i in (2, 3):
        y = layers.Conv2D(4, 3, padding="same", name=f"conv2_block{i}_1_conv", dtype=dtype)(x)
        x = layers.Add(name=f"conv2_block{i}_add", dtype=dtype)([x, y])
    x = layer(x) if layer else x
    x = layers.GlobalAveragePooling2D(dtype=dtype)(x)
    return keras.Model(image, layers.Dense(3, activation="softmax", dtype=dtype)(x), name="residual")


def quantize(model, mode="int8"):
    model.quantize(mode)
    return model


def put_inside(model):
    image = keras.Input((16, 16, 3))
    return keras.Model(image, model(image), name="outer")


@pytest.mark.parametrize("make", [
    lambda: quantize(make_residual()), lambda: quantize(make_residual(), "float8"),
    lambda: put_inside(quantize(make_residual()))])
def test_models_that_keras_has_quantized(make, tmp_path):
    model, page = make(), tmp_path / "page.html"
    image = save_image(tmp_path)
    calls = [lambda suffix=suffix: reskeras.export(model, tmp_path / f"net{suffix}") for suffix in SUFFIXES]
    calls += [
        lambda: reskeras.optimize(model), lambda: reskeras.optimize(model, check=False),
        lambda: reskeras.remove_blocks(model, "conv2_block2"), lambda: reskeras.page(model, page),
        lambda: reskeras.explain(model, image, page, preprocessing=RAW),
        lambda: reskeras.fit(model, (PIXELS, CLASSES), "finetune", steps=1, verbose=0, preprocessing=RAW,
                             size=16, test_size=16)]
    for call in calls:
        with pytest.raises(ValueError, match=r"expected a model in floating point; Keras has quantized it "
                                             r"\(model.quantize\); give it as it was before that") as caught:
            call()
        assert "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["image.png"]


def test_what_can_be_done_with_a_model_that_keras_has_quantized(tmp_path):
    model, file = quantize(make_residual()), tmp_path / "net.keras"
    cost = reskeras.cost(model)
    assert cost.params + cost.non_trainable_params == model.count_params()
    assert cost.macs == reskeras.cost(make_residual()).macs
    expected = reskeras.evaluate(model, (PIXELS, CLASSES), preprocessing=RAW).top1
    assert len(reskeras.predict(model, save_image(tmp_path), preprocessing=RAW)[0]["predictions"]) == 3
    reskeras.save(reskeras.set_metadata(model, RAW), file)
    assert reskeras.evaluate(file, (PIXELS, CLASSES)).top1 == expected
    assert [result.difference for result in reskeras.benchmark([file])] == [0.0]


def save_image(folder):
    keras.utils.save_img(folder / "image.png", PIXELS[0])
    return folder / "image.png"


@pytest.mark.parametrize("make, message", [
    (make_two_inputs, "model='two': expected one input .*it has 2 inputs"),
    (make_two_outputs, "model='two': expected one input .*it has 2 outputs"),
    (make_subclassed, r"net.keras cannot be read as .* \(TypeError: Could not locate class 'Subclassed'"),
    (lambda: make_residual(Scaled(2.0)),
     r"net.keras cannot be read as a Keras file \(TypeError: Could not locate class 'Scaled'")])
def test_benchmark_of_files_that_cannot_be_run(make, message, tmp_path):
    make().save(tmp_path / "net.keras")
    with pytest.raises(ValueError, match=message) as caught:
        reskeras.benchmark([tmp_path / "net.keras"])
    assert "\n" not in str(caught.value) and str(caught.value).count("cannot be read") <= 1


@pytest.mark.parametrize("make", [make_fixed_batch, lambda: make_model(dtype="float64")])
def test_benchmark_of_files_that_can(make, tmp_path):
    make().save(tmp_path / "net.keras")
    (result,) = reskeras.benchmark([tmp_path / "net.keras"])
    assert result.difference == 0 and result.agreement == 1 and result.images_per_second > 0


@pytest.mark.parametrize("make, message", [
    (make_subclassed, "own has no graph: it is subclassed"),
    (make_without_activation, "the layer 'dense.*' has no config .* activation is None"),
    (lambda: make_residual(Scaled(2.0)), "its class Scaled needs a get_config that returns the arguments")])
def test_remove_blocks_of_models_without_a_graph(make, message):
    with pytest.raises(ValueError, match=message):
        reskeras.remove_blocks(make(), "conv2_block2")


@pytest.mark.parametrize("options", [{"batch_size": 4}, {"dtype": "float64"}])
def test_remove_blocks_of_a_fixed_batch_and_of_float64(options):
    model = make_residual(**options)
    removed = reskeras.remove_blocks(model, "conv2_block2")
    (old,), (new,) = model.inputs, removed.inputs
    assert new.shape == old.shape and new.dtype == old.dtype
    inner = keras.Model(model.inputs, model.get_layer("conv2_block1_1_conv").output)
    x = inner(FLOATS[:4])
    y = model.get_layer("conv2_block3_1_conv")(x) + x
    expected = model.layers[-1](model.layers[-2](y))
    np.testing.assert_allclose(removed(FLOATS[:4]), expected, rtol=1e-5)


def test_remove_blocks_of_two_inputs():
    """It rewrites the graph, whatever its inputs are."""
    images = [keras.Input((16, 16, 3), name=name) for name in "ab"]
    x = layers.Add()(images)
    y = layers.Conv2D(3, 3, padding="same", name="conv2_block1_1_conv")(x)
    model = keras.Model(images, layers.Dense(2)(layers.Add(name="conv2_block1_add")([x, y])))
    removed = reskeras.remove_blocks(model, "conv2_block1")
    np.testing.assert_allclose(removed([FLOATS, FLOATS]), model.layers[-1](2 * FLOATS), rtol=1e-5)


def test_models_in_place_of_files_and_names():
    model = make_model()
    for files in (model, [model], [3]):
        with pytest.raises(ValueError, match="files=.*: expected a list of exported files; write a model"):
            reskeras.benchmark(files)
    with pytest.raises(ValueError, match=r"expected a list of exported files, such as \['net.tflite'\]"):
        reskeras.benchmark("net.tflite")
    for models in (model, [model]):
        with pytest.raises(ValueError, match="models=.*: expected a list of the names of nets; published"):
            reskeras.compare(models)
    with pytest.raises(ValueError, match=r"a list of the names of nets, such as \['resnet50d'\]"):
        reskeras.compare("resnet50d")
    with pytest.raises(ValueError, match="expected the path of an exported file; write a model to a file"):
        reskeras.verify(model)
    for images in (model, PIXELS):
        with pytest.raises(ValueError, match="images=.*: expected the path of an image file .*for pixels"):
            reskeras.predict("cifar_resnet20.digits", images)


@pytest.mark.parametrize("batch_size, images, validation", [(4, 8, 6), (2, 8, 0), (8, 8, 0), (4, 7, 3)])
def test_fit_of_a_fixed_batch_is_that_of_any_batch(batch_size, images, validation):
    """Keras fixes the shape of the input alone; the training's own batches are other numbers of images."""
    weights = []
    for make in (make_fixed_batch, make_model):
        keras.utils.set_random_seed(0)
        model = make()
        data = PIXELS[:images], CLASSES[:images]
        options = {"validation_data": (PIXELS[:validation], CLASSES[:validation])} if validation else {}
        # batches in one order; and a step that does not divide the rounding of a small gradient by itself
        reskeras.fit(model, data, "finetune", steps=2, batch_size=batch_size, verbose=0, preprocessing=SCALED,
                     size=16, test_size=16, deterministic=True, overrides={"optimizer": "sgd"}, **options)
        weights.append(model.get_weights())
    for fixed, free in zip(*weights):
        np.testing.assert_allclose(fixed, free, rtol=1e-4, atol=1e-6)
