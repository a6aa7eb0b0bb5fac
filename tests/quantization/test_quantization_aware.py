"""Models to train for int8: where they round, what they refuse, and their .tflite files."""
import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import reskeras
from reskeras.errors import ArgumentError
from reskeras.exporters.comparison import EXACT
from reskeras.graph.graph import Graph
from reskeras.quantization.layers import FakeQuantize
from reskeras.quantization.parameters import read_parameters
from reskeras.quantization.placement import find_float_layers

layers = keras.layers


def make_images(count, *shape):
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(count, 4, 4, shape[-1])).repeat(shape[0] // 4, 1).repeat(shape[1] // 4, 2)
    return (coarse + 0.2 * rng.normal(size=(count, *shape))).astype("float32")


def make_net():
    """Convolutions with and without groups, a gate, a concatenation, pools, a residual addition."""
    keras.utils.set_random_seed(0)
    x = image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(x)
    x = layers.BatchNormalization(name="bn")(x)
    x = shortcut = layers.ReLU(name="relu")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True, name="mean")(x)
    gate = layers.Conv2D(8, 1, activation="sigmoid", name="gate")(gate)
    x = layers.Multiply(name="scaled")([x, gate])
    x = layers.Conv2D(8, 3, padding="same", groups=2, name="grouped")(x)
    x = layers.Add(name="sum")([x, shortcut])
    x = layers.ReLU(name="out")(x)
    a = layers.DepthwiseConv2D(3, padding="same", activation="relu6", name="depthwise")(x)
    b = layers.AveragePooling2D(2, strides=1, padding="same", name="pool")(layers.Conv2D(4, 1, name="one")(x))
    x = layers.Concatenate(name="joined")([a, b])
    x = layers.GlobalAveragePooling2D(name="avg_pool")(layers.MaxPooling2D(2)(x))
    net = keras.Model(image, layers.Dense(5, activation="softmax", name="scores")(x))
    rng = np.random.default_rng(1)
    for variable in net.variables:
        if variable.name in ("bias", "beta", "moving_mean"):
            variable.assign(rng.normal(0, 0.1, variable.shape))
    return net


@pytest.fixture(scope="module")
def images():
    return make_images(40, 16, 16, 3)


@pytest.fixture(scope="module")
def aware(images):
    return reskeras.quantization_aware(make_net(), images)


@pytest.fixture(scope="module")
def exported(aware, images, tmp_path_factory):
    path = tmp_path_factory.mktemp("aware") / "net.tflite"
    return path, reskeras.export(aware, path, validation_data=images)


def test_computes_nearly_as_the_model(aware, images):
    expected, computed = make_net().predict(images, verbose=0), aware.predict(images, verbose=0)
    assert 0 < np.abs(expected - computed).max() < 0.02


def test_places(aware):
    """One rounding for each operator of integers: after relu, none after what only moves values."""
    graph = Graph.of(aware, weights=False)
    rounded = [node.inputs[0][0] for node in graph.nodes if node.layer_class is FakeQuantize]
    assert sorted(rounded) == sorted([
        aware.inputs[0].name, "stem", "mean",
        "gate_linear", "gate", "scaled", "grouped", "out", "depthwise", "one",
        "pool", "avg_pool", "scores_linear"])
    joined = {node.name for node in graph.nodes if node.layer_class is FakeQuantize
              and node.inputs[0][0] in ("depthwise", "one", "pool")}
    assert joined == {"joined_quantize"}        # one range for all that the concatenation joins
    assert find_float_layers(graph) == []


def test_the_file_has_exactly_these_parameters(aware, exported):
    interpreter = Interpreter(str(exported[0]))
    tensors = {t["name"].split("/")[0].removesuffix("_1"): t["quantization_parameters"]
               for t in interpreter.get_tensor_details() if t["dtype"] == np.int8}
    parameters, checked = read_parameters(aware), 0
    for name, expected in parameters.items():
        if name in tensors and len(tensors[name]["scales"]) == 1:
            assert tensors[name]["scales"][0] == expected.scale, name
            assert tensors[name]["zero_points"][0] == expected.zero_point, name
            checked += 1
    scales = {tuple(t["quantization_parameters"]["scales"]) for t in interpreter.get_tensor_details()}
    kernels = [name for name in parameters if name.endswith("/kernel")]
    assert {tuple(np.ravel(parameters[name].scale)) for name in kernels} <= scales
    assert checked >= 8 and len(kernels) == 6
    assert tensors["gate"]["scales"][0] == np.float32(1 / 256) and tensors["gate"]["zero_points"][0] == -128


def test_the_file_computes_what_the_model_computes(exported):
    _, report = exported
    assert report.passed and report.quantize == "int8" and report.calibration_method is None
    assert report.simulation[EXACT].within_one_step == 1 and report.simulation[EXACT].max_steps < 0.01
    assert report.simulation[EXACT].decided_agreement == 1
    assert report.simulation["reference"].within_one_step > 0.99
    assert not {"QUANTIZE", "DEQUANTIZE"} & set(report.operators)
    assert "rounded alike kernels: 100.0% of the scores" in report.summary()


def test_pixels_go_in(images, tmp_path):
    net = reskeras.set_metadata(make_net(), preprocessing=reskeras.Preprocessing((16, 16), "torch"))
    pixels = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), "uint8")
    aware = reskeras.quantization_aware(net, pixels)
    report = reskeras.export(aware, tmp_path / "net.tflite", io="uint8", validation_data=pixels)
    assert report.simulation[EXACT].within_one_step > 0.99
    (input_,) = Interpreter(str(tmp_path / "net.tflite")).get_input_details()
    assert input_["dtype"] == np.uint8 and input_["quantization"] == (1.0, 0)


def test_saved_and_trained(aware, images, tmp_path):
    path = tmp_path / "aware.keras"
    reskeras.save(aware, path)
    loaded = reskeras.load(path)
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), aware.predict(images, verbose=0))
    loaded.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy", jit_compile=False)
    classes = np.arange(40) % 5
    losses = loaded.fit(images, classes, epochs=8, batch_size=40, verbose=0).history["loss"]
    assert losses[-1] < losses[0] - 0.02
    moved = [layer for layer in loaded.layers if isinstance(layer, FakeQuantize) and layer.ranges == "average"
             and layer.fixed_range is None]
    assert moved and all(float(layer.steps) == 8 for layer in moved)
    report = reskeras.export(loaded, tmp_path / "net.tflite", validation_data=images)
    assert report.simulation[EXACT].within_one_step == 1


@pytest.mark.slow
def test_xla(images):
    """XLA computes the same step."""
    losses = []
    for jit_compile in (False, True):
        aware = reskeras.quantization_aware(make_net(), images)
        aware.compile(keras.optimizers.SGD(1e-2), "sparse_categorical_crossentropy", jit_compile=jit_compile)
        history = aware.fit(images, np.arange(40) % 5, epochs=2, batch_size=40, shuffle=False, verbose=0)
        losses.append(history.history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-2)


def test_a_layer_in_floats(images, tmp_path):
    aware = reskeras.quantization_aware(make_net(), images, float_layers=["grouped"])
    assert find_float_layers(Graph.of(aware, weights=False)) == ["grouped"]
    report = reskeras.export(aware, tmp_path / "net.tflite", validation_data=images)
    assert report.operators["DEQUANTIZE"] == report.operators["QUANTIZE"] == 1
    assert EXACT not in report.simulation and report.simulation["reference"].within_one_step > 0.5


def test_group_normalization_stays_in_floats(images, tmp_path):
    image = keras.Input((16, 16, 3))
    x = layers.ReLU()(layers.GroupNormalization(2)(layers.Conv2D(4, 3)(image)))
    net = keras.Model(image, layers.GlobalAveragePooling2D()(layers.Conv2D(5, 3)(x)))
    aware = reskeras.quantization_aware(net, images)
    assert len(find_float_layers(Graph.of(aware, weights=False))) == 1
    report = reskeras.export(aware, tmp_path / "net.tflite", validation_data=images)
    assert report.operators["DEQUANTIZE"] == 1      # its means are not computed in integers either
    assert report.simulation["reference"].within_one_step > 0.99


def test_coarse_weights(images):
    model, errors = make_net(), []
    for bits, per_channel in ((8, True), (4, True), (4, False)):
        aware = reskeras.quantization_aware(model, images, weight_bits=bits, per_channel=per_channel)
        errors.append(np.abs(aware.predict(images, verbose=0) - model.predict(images, verbose=0)).mean())
    assert errors[0] < errors[1] < errors[2]


def test_refusals(aware, images, tmp_path):
    image = keras.Input((16, 16, 3))
    odd = keras.Model(image, layers.GlobalAveragePooling2D()(layers.Maximum(name="largest")(
        [layers.Conv2D(4, 3, name="a")(image), layers.Conv2D(4, 3, name="b")(image)])))
    path, make = tmp_path / "a.tflite", reskeras.quantization_aware
    for call, text in [
            (lambda: make(aware, images), "it already"),
            (lambda: make(odd, images), "float_layers=.*largest.*Maximum"),
            (lambda: make(odd, images, float_layers=["larges"]), "did you mean 'largest'"),
            (lambda: make(odd, images, float_layers="largest"), r"\['largest'\]"),
            (lambda: make(make_net(), images, float_layers=["bn"]), "folded"),
            (lambda: make(odd, images, ranges="averge"), "did you mean 'average'"),
            (lambda: make(odd, images, weight_bits=1), "at least 2"),
            (lambda: reskeras.export(aware, path, quantize="float16"), "trained for int8"),
            (lambda: reskeras.export(aware, path, calibration_data=images), "validation_data"),
            (lambda: reskeras.export(aware, path, float_layers=["stem"]), "quantization_aware"),
            (lambda: reskeras.fit("cifar_resnet20", "digits", quantize="int9"), "did you mean 'int8'")]:
        with pytest.raises(ArgumentError, match=text):
            call()
    with pytest.raises(ValueError, match="at least 32"):
        reskeras.quantization_aware(make_net(), images[:8])
    with pytest.raises(TypeError, match="expected a keras.Model"):
        reskeras.quantization_aware("resnet50", images)
    reskeras.quantization_aware(odd, images, float_layers=["largest"])
