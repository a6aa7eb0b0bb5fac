"""keras.io's transfer learning as a file, its layers that stay float, and nets that are called twice."""
import keras
import numpy as np
import pytest
from keras import layers

import reskeras
from reskeras.commands.grad_cam import compute_grad_cam
from reskeras.exporters.formats import open_file
from reskeras.graph.graph import Graph
from reskeras.graph.passes.inline import inline
from reskeras.images.preprocessing import Preprocessing

RAW = Preprocessing((32, 32), "raw", crop_pct=1.0)
PIXELS = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3)).astype("float32")


def make_backbone():
    keras.utils.set_random_seed(0)
    return reskeras.CifarResNet20(weights=None, depths=(1, 1, 1), include_top=False, input_shape=(32, 32, 3))


@pytest.fixture(scope="module")
def transfer():
    """Rescaling, a frozen backbone without its top, pooling, a new classifier."""
    backbone = make_backbone()
    backbone.trainable = False
    image = keras.Input((32, 32, 3))
    x = backbone(layers.Rescaling(1 / 255)(image), training=False)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Dense(5, activation="softmax", name="scores")(x))


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("n.xml", "folder")]


@pytest.mark.parametrize("name", ["n.tflite", "n.onnx", *SLOW])
def test_transfer_learning_in_every_format(transfer, tmp_path, name):
    assert reskeras.export(transfer, tmp_path / name, preprocessing=RAW, labels=list("abcde")).passed
    found = open_file(tmp_path / name, trust=True).run(PIXELS[:1])
    np.testing.assert_allclose(found, transfer(PIXELS[:1]), rtol=1e-3, atol=1e-5)


def read_types(path):
    """Shape of each constant of at least two axes in a .tflite file -> the types of the constants of it."""
    from ai_edge_litert.interpreter import Interpreter
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    types = {}
    for tensor in interpreter.get_tensor_details():
        types.setdefault(tuple(int(n) for n in tensor["shape"]), set()).add(np.dtype(tensor["dtype"]).name)
    return types


@pytest.mark.parametrize("float_layers", [(), ("scores",), ("scores", "conv1_conv")])
def test_float_layers_are_float_in_the_file(transfer, tmp_path, float_layers):
    """The kernel's own type; those of all other kernels are int8."""
    reskeras.export(transfer, tmp_path / "n.tflite", quantize="int8", calibration_data=PIXELS, strict=False,
                    preprocessing=RAW, float_layers=list(float_layers))
    types = read_types(tmp_path / "n.tflite")
    kernels = {"scores": (5, 64), "conv1_conv": (16, 3, 3, 3)}
    for layer, shape in kernels.items():
        assert types[shape] == {"float32" if layer in float_layers else "int8"}, layer
    assert types[(32, 3, 3, 16)] == types[(64, 3, 3, 32)] == {"int8"}


@pytest.fixture(scope="module")
def twice():
    """One backbone for two views of an image."""
    backbone, image = make_backbone(), keras.Input((32, 32, 3))
    views = [layers.GlobalAveragePooling2D()(backbone(layers.Rescaling(scale)(image)))
             for scale in (1 / 255, 1 / 128)]
    return keras.Model(image, layers.Dense(5, activation="softmax", name="scores")(layers.Average()(views)))


@pytest.mark.parametrize("name", ["n.tflite", "n.onnx", *SLOW])
def test_a_net_that_is_called_twice_is_exported(twice, tmp_path, name):
    assert reskeras.export(twice, tmp_path / name, preprocessing=RAW).passed
    found = open_file(tmp_path / name, trust=True).run(PIXELS[:1])
    np.testing.assert_allclose(found, twice(PIXELS[:1]), rtol=1e-3, atol=1e-5)


def test_layers_of_a_net_that_is_called_twice(twice, tmp_path):
    """Those outside of it stay float; those inside are not the model's own, which a sentence says."""
    options = dict(quantize="int8", calibration_data=PIXELS, preprocessing=RAW, strict=False)
    reskeras.export(twice, tmp_path / "n.tflite", float_layers=["scores"], **options)
    types = read_types(tmp_path / "n.tflite")
    assert types[(5, 64)] == {"float32"} and types[(16, 3, 3, 3)] == {"int8"}
    with pytest.raises(ValueError, match="float_layers='conv1_conv': expected layers of the net"):
        reskeras.export(twice, tmp_path / "n.tflite", float_layers=["conv1_conv"], **options)


def test_grad_cam_and_optimize_say_what_to_do(twice):
    with pytest.raises(ValueError, match="called several times.*give a model that calls it once"):
        compute_grad_cam(twice, PIXELS[:1])
    _, report = reskeras.optimize(twice)
    assert report.check.passed
    (reason,) = inline(Graph.of(twice)).declined.values()
    assert "it is shared" in reason and "keras.models.clone_model" in reason


def test_the_way_out(twice):
    """A copy for each call: then everything is seen, with the same numbers."""
    inner = next(layer for layer in twice.layers if isinstance(layer, keras.Model))
    image, views = keras.Input((32, 32, 3)), []
    for scale in (1 / 255, 1 / 128):
        copy = keras.models.clone_model(inner)
        copy.set_weights(inner.get_weights())
        copy.name = f"view{len(views)}"
        views.append(layers.GlobalAveragePooling2D()(copy(layers.Rescaling(scale)(image))))
    head = twice.get_layer("scores")
    model = keras.Model(image, layers.Dense.from_config(head.get_config())(layers.Average()(views)))
    model.layers[-1].set_weights(head.get_weights())
    np.testing.assert_allclose(model(PIXELS[:2]), twice(PIXELS[:2]), rtol=1e-4, atol=1e-6)
    optimized, report = reskeras.optimize(model)
    assert report.check.passed and not any(isinstance(layer, keras.Model) for layer in optimized.layers)
    seen = compute_grad_cam(model, PIXELS[:1])
    assert seen.cams and "conv4_block1" in seen.layer
