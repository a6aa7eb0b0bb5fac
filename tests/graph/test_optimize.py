"""The whole: the check, the pass to blame, the report, and what is left of every family."""
import csv
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers
from small import chain, randomized
from tiny import policy, tiny, trained

import reskeras
from reskeras.graph.cost.cost import measure_cost
from reskeras.graph.equivalence import EquivalenceCheck, check_equivalence
from reskeras.graph.graph import Graph
from reskeras.graph.optimize import optimize_model
from reskeras.graph.pass_result import PassResult
from reskeras.graph.passes.fold_bn import fold_bn
from reskeras.graph.report import GraphSize, OptimizationReport
from reskeras.variants import VARIANTS

FACTS = pathlib.Path(__file__).parents[1] / "facts"
SAVED = pathlib.Path(__file__).parents[1] / "saved" / "before_rename" / "optimize.json"

Conv, BN = layers.Conv2D, layers.BatchNormalization


def small():
    return chain(Conv(4, 3, name="conv"), BN(epsilon=1e-2), layers.ReLU(), layers.GlobalAveragePooling2D(),
                 layers.Dense(3))


def wrong(graph):
    """Forgets the epsilon."""
    changed = {n.key: (n.with_config(epsilon=0.0),)
               for n in graph.nodes if n.type_name == "BatchNormalization"}
    return fold_bn(graph.edit(changed, {}))


def test_a_wrong_pass_is_refused_and_named():
    model = small()
    with pytest.warns(UserWarning, match="wrong is refused"):
        fast, report = reskeras.optimize(model, passes=["fuse_activation", wrong, "drop_noops"])
    assert fast is model and "wrong is refused: its graph differs by" in report.refusal
    assert not report.check.passed and report.after == report.before
    unchecked, report = reskeras.optimize(model, passes=[wrong], check=False)
    assert report.check is None and unchecked is not model


def test_a_pass_whose_graph_does_not_run_is_refused():
    def broken(graph):
        changed = {n.key: (n.with_config(units=5),) for n in graph.nodes if n.type_name == "Dense"}
        return PassResult(graph.edit(changed, {}), ("dense",))
    model = small()
    with pytest.warns(UserWarning, match="broken is refused: its graph does not run"):
        assert reskeras.optimize(model, passes=["fold_bn", broken])[0] is model


@keras.saving.register_keras_serializable("tests")
class OnlyFloat32(layers.Layer):
    def call(self, x):
        if x.dtype == "float64":
            raise TypeError("no doubles")
        return x

    def compute_output_shape(self, shape):
        return shape


def test_a_net_that_knows_no_float64_has_no_check():
    model = chain(Conv(4, 1), BN(), OnlyFloat32())
    with pytest.warns(UserWarning, match="two models cannot be compared .*no doubles.*switch `check` off"):
        assert reskeras.optimize(model)[0] is model
    assert not any(isinstance(layer, BN) for layer in reskeras.optimize(model, check=False)[0].layers)


class Settable(layers.Layer):
    """With a state that neither its config nor its weights say."""
    factor = 1.0

    def call(self, x):
        return self.factor * x


def test_a_model_that_its_graph_does_not_say_has_no_check():
    model = chain(Conv(4, 1), BN(), Settable(name="own"))
    model.get_layer("own").factor = 2.0
    with pytest.warns(UserWarning, match="the two models cannot be compared .*a state of its own"):
        assert reskeras.optimize(model)[0] is model
    model.get_layer("own").factor = 1.0
    assert reskeras.optimize(model)[1].check.passed


def test_outputs_that_are_not_finite_prove_nothing():
    image = keras.Input((8, 8, 4))
    model = randomized(keras.Model(image, keras.ops.log(layers.ReLU()(BN()(Conv(4, 3)(image))) - 1)))
    with pytest.warns(UserWarning, match="the two models cannot be compared .*not finite"):
        assert reskeras.optimize(model, passes=[wrong])[0] is model


def test_an_overflow_of_single_precision_is_reported(tmp_path):
    """The net's own: cifar_resnet1202 of random weights has one."""
    model = chain(Conv(4, 3), BN(), layers.Rescaling(1e20), layers.Rescaling(1e20))
    report = reskeras.optimize(model)[1]
    assert report.check.passed and report.check.float32_difference == float("inf")
    report.write(tmp_path / "report.json")
    stored = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert stored["proof"]["float32_difference"] is None


def test_chaos_proves_nothing():
    """After sixty doublings of every difference nothing is left of the input."""
    image = keras.Input((8, 8, 3))
    x = layers.Activation("sigmoid")(BN()(Conv(4, 3)(image)))
    for _ in range(60):
        x = layers.Multiply()([x, layers.Rescaling(-4.0, offset=4.0)(x)])
    with pytest.warns(UserWarning, match="wrong is refused: .*ill-conditioned"):
        reskeras.optimize(randomized(keras.Model(image, x)), passes=[wrong])


def test_a_shared_softmax_at_the_end():
    image, softmax = keras.Input((8, 8, 4)), layers.Softmax()
    x = layers.ReLU()(BN()(Conv(4, 3)(image)))
    model = randomized(keras.Model(image, [softmax(x), softmax(Conv(3, 1)(x))]))
    assert reskeras.optimize(model)[1].check.passed


def test_an_ill_conditioned_net_is_not_blamed_on_a_pass():
    """Of the logistic map, 4 x (1 - x), every step doubles a difference."""
    image = keras.Input((8, 8, 3))
    x = layers.Activation("sigmoid")(BN()(Conv(4, 3)(image)))
    for _ in range(28):
        x = layers.Multiply()([x, layers.Rescaling(-4.0, offset=4.0)(x)])
    model = randomized(keras.Model(image, x))
    reference = Graph.of(model)
    check = check_equivalence(reference, fold_bn(reference).graph)
    assert check.max_relative_difference > 1e-9 and check.is_ill_conditioned and check.passed
    assert "ill-conditioned" in str(check) and f"(allowed {check.allowed:.0e})" in str(check)
    assert 1e-9 < check.allowed <= 1e-4
    # an error of algebra is larger than that
    assert not check_equivalence(reference, wrong(reference).graph).passed
    assert not EquivalenceCheck(1e-8, 1e-8, sensitivity=1e-12).passed


def test_saturated_outputs_hide_nothing():
    model = chain(Conv(4, 3), BN(), layers.ReLU(), layers.Flatten(), layers.Rescaling(1e4),
                  layers.Dense(3, activation="softmax"))
    with pytest.warns(UserWarning, match="is refused"):
        reskeras.optimize(model, passes=[wrong])
    separate = chain(Conv(4, 3), BN(), layers.ReLU(), layers.Flatten(), layers.Rescaling(1e4),
                     layers.Dense(3), layers.Softmax())
    with pytest.warns(UserWarning, match="is refused"):
        reskeras.optimize(separate, passes=[wrong])


def test_report(tmp_path):
    model = small()
    images = np.random.default_rng(0).standard_normal((5, 8, 8, 4)).astype("float32")
    fast, report = reskeras.optimize(model, images=images, latency=True)
    fold = {report.name: report for report in report.passes}["fold_bn"]
    assert fold.sites == 1 and len(fold.rewritten) == 1 and fold.after.layers == fold.before.layers - 1
    assert report.before.params == model.count_params() and report.after.params == fast.count_params()
    assert report.before.macs == measure_cost(model).macs == 3 * 3 * 4 * 4 * 36 + 4 * 3
    assert report.before.layers == len(model.layers) and report.after.layers == len(fast.layers) == 4
    assert report.top1_agreement == 1 and all(t > 0 for t in report.latency_ms)
    report.write(tmp_path / "report.json")
    stored = json.loads((tmp_path / "report.json").read_text())
    assert stored["proof"]["holds"] and stored["passes"][3]["rewritten"] == list(fold.rewritten)
    assert "fold_bn" in str(report) and "1 of    1 rewritten" in str(report)


def nested(calls):
    own, image = keras.Input((8, 8, 4)), keras.Input((8, 8, 4))
    net = keras.Model(own, layers.ReLU()(BN()(Conv(4, 3, padding="same")(own))))
    x = image
    for _ in range(calls):
        x = net(x)
    return randomized(keras.Model(image, layers.Dense(3)(layers.Flatten()(x))))


def channels_first():
    image = keras.Input((3, 8, 9))
    return keras.Model(image, layers.SeparableConv2D(5, 3, data_format="channels_first")(image))


@pytest.mark.parametrize("make", [lambda: nested(1), lambda: nested(2), channels_first],
                         ids=["nested", "shared", "channels first"])
def test_macs_are_those_of_cost(make):
    """Also where they are inside a nested model, before the passes see its layers."""
    model = make()
    report = optimize_model(model, check=False)[1]
    assert report.before.macs == report.after.macs == measure_cost(model).macs > 0


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50_32x4d"])
def test_macs_of_a_graph_are_the_published_ones(name):
    """The report and `cost` count as torchvision 0.29 does, in 10^9 multiply-accumulates."""
    with (FACTS / "torchvision.csv").open(newline="") as file:
        published = {line["name"]: float(line["gmacs"]) for line in csv.DictReader(file)}
    model = reskeras.create(f"torchvision/{name}", weights=None, input_shape=(224, 224, 3))
    macs = GraphSize.of(Graph.of(model)).macs
    assert macs == measure_cost(model).macs
    assert macs / 1e9 == pytest.approx(published[name], abs=0.0006)


def test_report_of_an_earlier_version():
    report, stored = OptimizationReport.read(SAVED), json.loads(SAVED.read_text())
    assert json.loads(json.dumps(report.get_config())) == stored
    assert report.check.passed and not report.refusal
    assert sum(p.sites for p in report.passes) == sum(p["found"] for p in stored["passes"]) > 0


def test_a_file_that_is_no_report(tmp_path):
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(ValueError, match="is not a report of an optimization"):
        OptimizationReport.read(tmp_path / "other.json")


def test_arguments():
    with pytest.raises(ValueError,
                       match="passes='fold_bm': expected one of inline, .*; did you mean 'fold_bn'"):
        reskeras.optimize(small(), passes=["fold_bm"])
    with pytest.raises(ValueError, match="target='tflight': expected one of .* did you mean 'tflite'"):
        reskeras.optimize(small(), target="tflight")
    assert reskeras.optimize(small(), passes=())[1].after is None


def test_several_inputs_and_outputs():
    a, b = keras.Input((4,), name="a"), keras.Input((6,), name="b")
    model = keras.Model({"a": a, "b": b}, [layers.Dense(2, name="left")(a), layers.Dense(3, name="right")(b)])
    assert all(t > 0 for t in reskeras.optimize(model, latency=True)[1].latency_ms)
    with pytest.raises(ValueError,
                       match="images=.* expected None for a model of several outputs \\(left, right\\)"):
        reskeras.optimize(model, images=np.zeros((2, 4), "float32"))


def test_for_tflite_is_static():
    model = tiny("resnest50", input_shape=(None, None, 3))
    fast, report = reskeras.optimize(model, target="tflite", size=(64, 96))
    assert fast.input_shape == (1, 64, 96, 3) and report.check.passed


def test_mixed_precision_and_memory_survive():
    model = reskeras.create("cifar_resnet20.digits")
    fast, report = reskeras.optimize(model)
    assert fast.metadata == model.metadata and report.check.passed
    with policy("mixed_bfloat16"):
        half = tiny("seresnet18")
    fast, report = reskeras.optimize(half)
    policies, expected = ({layer.dtype_policy.name for layer in net.layers} for net in (fast, half))
    assert policies == expected
    assert report.check.passed


# Normalizations that stay, per family: of pre-activation nets those behind an addition or a pool
LEFT = {
    "resnet50": 0, "resnet50v1_5": 0, "resnet50d": 0, "resnet10t": 0, "resnet18_option_a": 0, "plainnet18": 0,
    "resnetaa50d": 0, "resnetblur18": 0, "wide_resnet50_2": 0, "resnext50_32x4d": 0, "seresnet18": 0,
    "seresnet18v1": 0, "senet154": 0,
    "seresnext26t_32x4d": 0, "ecaresnet50t": 0, "skresnet18": 0, "skresnext50_32x4d": 0, "resnest50": 0,
    "resnest50_fast_4s2x40d": 0, "resnest50_fast_1s4x24d": 0, "resnetrs50": 0, "inception_v4": 0,
    "inception_resnet_v2": 0,
    "cifar_resnet20": 0, "mlperf_tiny_resnet8": 0,
    "resnet50v2": 5 + 1, "resnetv2_50d": 5 + 1, "cifar_preresnet164": 3 + 1, "cifar_wide_resnet16_4": 3 + 1,
    "resnetv2_50x1_bit": 0, "resnet50_gn": 0}


def left(model):
    return sum(isinstance(layer, BN) for layer in model.layers)


@pytest.mark.parametrize("row", [pytest.param(row, marks=() if row in LEFT else pytest.mark.slow)
                                 for row in VARIANTS])
def test_every_row(row):
    """Fewer layers, the same function, the same names of outputs, and the model itself as it was."""
    model = trained(tiny(row, input_shape=(None, None, 3)))
    before = [w.copy() for w in model.get_weights()]
    fast, report = reskeras.optimize(model)
    assert report.check.passed and not report.check.is_ill_conditioned, report.check
    assert fast.output_names == model.output_names
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)
    spec = VARIANTS[row].spec
    if row in LEFT:
        assert left(fast) == LEFT[row]
    elif getattr(spec, "order", "post") != "pre":
        assert left(fast) == 0
    assert not any(isinstance(layer, (layers.Dropout,)) for layer in fast.layers)
    assert report.after.macs <= report.before.macs


KERAS = {"ResNet50": 0, "ResNet50V2": 17, "InceptionResNetV2": 0, "MobileNetV2": 0, "DenseNet121": 62,
         "EfficientNetB0": 0, "Xception": 0}


@pytest.mark.parametrize("name",
                         [pytest.param(name, marks=() if name in ("ResNet50",
                                                                  "MobileNetV2") else pytest.mark.slow)
                                  for name in KERAS])
def test_keras_applications(name):
    model = randomized(getattr(keras.applications, name)(weights=None, input_shape=(96, 96, 3), classes=5))
    fast, report = reskeras.optimize(model)
    assert report.check.passed and not report.check.is_ill_conditioned, report.check
    assert left(fast) == KERAS[name]


def test_command(tmp_path):
    """`reskeras optimize` writes a file that loads and computes the same."""
    run = [sys.executable, "-m", "reskeras.cli", "optimize", "cifar_resnet20.digits", "-o",
           str(tmp_path / "fast.keras"), "--report", str(tmp_path / "report.json")]
    done = subprocess.run(run, capture_output=True, text=True,
                          env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    assert done.returncode == 0, done.stderr
    assert "fold_bn" in done.stdout and "equivalence check:" in done.stdout
    fast, net = reskeras.load(tmp_path / "fast.keras"), reskeras.create("cifar_resnet20.digits")
    x = np.random.default_rng(0).random((4, *net.input_shape[1:])).astype("float32")
    np.testing.assert_allclose(fast.predict(x, verbose=0), net.predict(x, verbose=0), atol=1e-5)
    assert json.loads((tmp_path / "report.json").read_text())["refused"] == ""
    refused = subprocess.run([*run[:5], "-o", str(tmp_path / "fast.tflite")], capture_output=True, text=True)
    assert refused.returncode == 2 and "ends in .keras" in refused.stderr
    assert not (tmp_path / "fast.tflite").exists()
