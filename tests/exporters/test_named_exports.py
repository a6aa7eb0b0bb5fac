"""Exports of models of several inputs and outputs, of other ranks, and of a fixed batch."""
import json

import keras
import numpy as np
import pytest
from keras import layers

import reskeras
from reskeras.exporters.report import ExportReport

FILES = ("net", "net.tflite", "net.onnx", "net.xml", "net.keras")
RANDOM = np.random.default_rng(0)


def make_two_inputs():
    image, age = keras.Input((16, 16, 3), name="image"), keras.Input((4,), name="age")
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3)(image)))
    mask = layers.Conv2D(2, 1)(x)
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), layers.Dense(4)(age)])
    model = keras.Model({"image": image, "age": age},
                        {"classes": layers.Dense(5, activation="softmax")(x), "mask": mask}, name="two")
    randomize(model)
    return model


def randomize(model):
    """Random statistics, so that a batch normalization that is folded wrongly is seen."""
    random = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])


def make_pyramid():
    model = reskeras.features("cifar_resnet20", (2, 3, 4), input_shape=(16, 16, 3), weights=None)
    randomize(model)
    return model


def make_u_net(backbone):
    """A U-Net: the maps of a backbone, from the coarsest, each enlarged and joined with the next."""
    *skips, x = backbone.outputs
    for skip in reversed(skips):
        x = layers.UpSampling2D(2)(x)
        x = layers.Conv2D(16, 3, padding="same", activation="relu")(layers.Concatenate()([x, skip]))
    return keras.Model(backbone.inputs, {"mask": layers.Conv2D(3, 1, activation="softmax")(x)}, name="u_net")


def make_signal():
    wave = keras.Input((32, 4), name="wave")
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv1D(8, 3)(wave)))
    return keras.Model(wave, layers.Dense(3, name="embedding")(layers.GlobalAveragePooling1D()(x)))


def make_volume():
    volume = keras.Input((6, 6, 6, 1), name="volume")
    x = layers.GlobalAveragePooling3D()(layers.Conv3D(4, 3, activation="relu")(volume))
    return keras.Model(volume, [layers.Dense(3, activation="softmax", name="kind")(x)])


def make_fixed_batch():
    pair = keras.Input((8, 8, 3), batch_size=2, name="pair")
    return keras.Model(pair, [layers.Conv2D(4, 3, name="map")(pair), layers.Flatten(name="flat")(pair)])


def make_double():
    image = keras.Input((8, 8, 3), dtype="float64", name="image")
    x = layers.Conv2D(4, 3, dtype="float64", name="map")(image)
    return keras.Model(image, [x, layers.GlobalMaxPooling2D(dtype="float64", name="top")(x)])


def check(report, path, model_outputs):
    """Each output is in the report, near Keras, and again when it is verified."""
    for result in report.runtimes.values():
        assert list(result.outputs) == model_outputs
        limit = 5e-2 if result.precision == "bfloat16" else 1e-4
        assert all(output.max_relative_difference <= limit for output in result.outputs.values())
    read = ExportReport.read(path.with_name(f"{path.name}.json"))
    assert report.passed and (read.runtimes, read.interface) == (report.runtimes, report.interface)
    assert all(name in report.summary() for name in model_outputs[1:])
    verified = reskeras.verify(path, trust=True)
    assert verified.passed and list(next(iter(verified.runtimes.values())).outputs) == model_outputs


@pytest.mark.parametrize("file", FILES)
def test_two_inputs_and_outputs(file, tmp_path):
    path = tmp_path / file
    report = reskeras.export(make_two_inputs(), path)
    check(report, path, ["classes", "mask"])
    outputs = report.first_result.outputs
    assert outputs["classes"].compared_values == "log-probabilities"
    assert outputs["classes"].top1_agreement == 1
    assert outputs["mask"].compared_values == "outputs" and outputs["mask"].top1_agreement is None
    interface = report.interface
    assert interface.input_structure == {"image": "image", "age": "age"}
    assert interface.outputs["mask"].shape == (None, 14, 14, 2)
    assert find_names(path) == ({"image", "age"}, {"classes", "mask"})


def find_names(path):
    """The names of the inputs and outputs, as the format's own tools read them."""
    if path.suffix == ".tflite":
        from ai_edge_litert.interpreter import Interpreter
        signature = Interpreter(str(path)).get_signature_list()["serving_default"]
        return set(signature["inputs"]), set(signature["outputs"])
    if path.suffix == ".onnx":
        import onnx
        proto = onnx.load(path)
        assert json.loads({p.key: p.value for p in proto.metadata_props}["metadata"])["interface"]
        return {value.name for value in proto.graph.input}, {value.name for value in proto.graph.output}
    if path.suffix == ".xml":
        from reskeras.exporters.openvino import import_openvino
        model = import_openvino().Core().read_model(str(path))
        return tuple({value.get_any_name() for value in values} for values in (model.inputs, model.outputs))
    if path.suffix == ".keras":
        model = keras.models.load_model(path)
        return set(model.input), set(model.output)
    import tensorflow as tf
    loaded = tf.saved_model.load(str(path))
    nested = loaded.call({"image": tf.zeros((1, 16, 16, 3)), "age": tf.zeros((1, 4))})
    assert set(nested) == {"classes", "mask"}
    signature = loaded.signatures["serving_default"]
    return set(signature.structured_input_signature[1]), set(signature.structured_outputs)


@pytest.mark.parametrize("make, outputs, file", [
    (make_pyramid, ["conv2_block3_out", "conv3_block3_out", "conv4_block3_out"], "net.tflite"),
    (make_pyramid, ["conv2_block3_out", "conv3_block3_out", "conv4_block3_out"], "net.keras"),
    (lambda: make_u_net(make_pyramid()), ["mask"], "net.onnx"),
    (make_signal, ["embedding"], "net.tflite"), (make_signal, ["embedding"], "net.onnx"),
    (make_volume, ["kind"], "net.tflite"), (make_volume, ["kind"], "net.xml"),
    (make_fixed_batch, ["map", "flat"], "net.tflite"), (make_fixed_batch, ["map", "flat"], "net"),
    (make_double, ["map", "top"], "net.tflite"), (make_double, ["map", "top"], "net.onnx")])
def test_other_models(make, outputs, file, tmp_path):
    path = tmp_path / file
    report = reskeras.export(make(), path)
    check(report, path, outputs)
    assert report.batch_size == (2 if make is make_fixed_batch else 1)


def test_integers_of_two_inputs(tmp_path):
    data = {"image": RANDOM.normal(size=(40, 16, 16, 3)), "age": RANDOM.normal(size=(40, 4))}
    path = tmp_path / "net.tflite"
    report = reskeras.export(make_two_inputs(), path, quantize="int8", calibration_data=data,
                             validation_data={name: array[:8] for name, array in data.items()})
    assert report.images == 8 and all(output.max_relative_difference < 0.1
                                      for output in report.first_result.outputs.values())
    assert reskeras.verify(path).passed


def test_integers_of_a_pyramid(tmp_path):
    images = RANDOM.normal(size=(40, 16, 16, 3)).astype("float32")
    path = tmp_path / "net.tflite"
    report = reskeras.export(make_pyramid(), path, quantize="int8", calibration_data=images,
                             calibration_method="percentile", thresholds={"difference": 0.3})
    assert report.quantize == "int8" and report.outside_ranges is not None and reskeras.verify(path).passed


def test_a_wrong_output_is_named(tmp_path):
    with pytest.raises(RuntimeError, match="in LiteRT, output 'mask': the outputs differ from Keras"):
        reskeras.export(make_two_inputs(), tmp_path / "net.tflite", thresholds={"difference": 0.0})
    assert not list(tmp_path.iterdir())
    path = tmp_path / "kept.tflite"
    report = reskeras.export(make_two_inputs(), path, thresholds={"difference": 0.0}, strict=False)
    assert not report.passed and not reskeras.verify(path).passed


def test_verify_finds_another_output(tmp_path):
    path = tmp_path / "net.onnx"
    reskeras.export(make_two_inputs(), path)
    reference = path.with_name("net.onnx.npz")
    with np.load(reference) as arrays:
        changed = dict(arrays)
    changed["keras:mask"] = changed["keras:mask"] + 0.01
    np.savez_compressed(reference, **changed)
    report = path.with_name("net.onnx.json")
    values = json.loads(report.read_text())
    values["reference_sha256"] = None
    report.write_text(json.dumps(values))
    (fault,) = reskeras.verify(path).faults
    assert "output 'mask'" in fault


@pytest.mark.parametrize("options, message", [
    ({"labels": ["a", "b"]}, "labels=.*no single output of classes.*classes, mask"),
    ({"preprocessing": "resnet50v1_5.a1_in1k"}, "preprocessing=.*does not take one image"),
    ({"signatures": ["serving_default", "serving_uint8"], "path": "net"}, "signatures=.*_default alone"),
    ({"validation_data": {"image": np.zeros((2, 16, 16, 3))}}, "an array for each input: age .*image"),
    ({"validation_data": {"image": np.zeros((2, 16, 16, 3)), "age": np.zeros((2, 5))}}, "the shape .N, 4."),
    ({"validation_data": {"image": np.zeros((2, 16, 16, 3)), "age": np.zeros((3, 4))}}, "the same number"),
    ({"quantize": "int8", "path": "net.onnx", "calibration_data": {}}, "has several inputs")])
def test_what_such_models_do_not_take(options, message, tmp_path):
    path = tmp_path / options.pop("path", "net.tflite")
    with pytest.raises(ValueError, match=message):
        reskeras.export(make_two_inputs(), path, **options)
    assert not list(tmp_path.iterdir())


def test_an_open_size_needs_a_number(tmp_path):
    image = keras.Input((None, None, 3), name="image")
    model = keras.Model(image, [layers.Conv2D(2, 3, name="a")(image), layers.Conv2D(2, 1, name="b")(image)])
    with pytest.raises(ValueError, match="size=None: .*fixed size"):
        reskeras.export(model, tmp_path / "net.tflite")
    report = reskeras.export(model, tmp_path / "net.tflite", size=(8, 12))
    assert report.interface.inputs["image"].shape == (1, 8, 12, 3)


def make_unit_norm():
    image = keras.Input((8, 8, 3))
    return keras.Model(image, layers.UnitNormalization()(layers.Conv2D(4, 3)(image)))


def test_unit_normalization(tmp_path):
    report = reskeras.export(make_unit_norm(), tmp_path / "net.tflite")
    assert report.passed and "SUM" not in report.operators


def test_a_file_with_faults_is_kept(tmp_path):
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.Lambda(lambda x: keras.ops.sum(x, -1))(layers.Conv2D(4, 3)(image)))
    path = tmp_path / "net.tflite"
    with pytest.raises(RuntimeError, match="SUM: it overflows in half precision"):
        reskeras.export(model, path)
    report = reskeras.export(model, path, strict=False)
    assert path.exists() and not report.passed and "SUM" in report.fault
    assert any("SUM" in fault for fault in reskeras.verify(path).faults)


def test_a_lambda_follows_the_safe_mode_of_the_caller(tmp_path):
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.Lambda(lambda x: 2 * x)(image))
    with pytest.raises(ValueError, match="enable_unsafe_deserialization"):
        reskeras.export(model, tmp_path / "net.keras")
    keras.config.enable_unsafe_deserialization()
    try:
        assert reskeras.export(model, tmp_path / "net.keras").passed
    finally:
        keras.src.saving.serialization_lib.global_state.set_global_attribute("safe_mode_saving", None)


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_full_size(file, tmp_path):
    pyramid = reskeras.features("resnet50", input_shape=(256, 256, 3), weights=None)
    check(reskeras.export(pyramid, tmp_path / f"pyramid{file[3:]}"), tmp_path / f"pyramid{file[3:]}",
          [f"conv{level}_block{last}_out" for level, last in ((2, 3), (3, 4), (4, 6), (5, 3))])
    u_net = make_u_net(reskeras.features("resnet18", input_shape=(256, 256, 3), weights=None))
    check(reskeras.export(u_net, tmp_path / f"u_net{file[3:]}"), tmp_path / f"u_net{file[3:]}", ["mask"])
