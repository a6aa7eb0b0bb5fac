"""Errors of arguments: the shell names the option, Python the argument, and the hints serve both."""
import os
import pathlib
import pty
import sys

import keras
import numpy as np
import pytest

import reskeras
from reskeras import cli
from reskeras.blocks.drop_layers import StochasticDepth
from reskeras.commands import export as export_command
from reskeras.commands import train as train_command
from reskeras.commands.evaluate import _check_views
from reskeras.commands.quiet import open_terminal, quiet_tensorflow
from reskeras.errors import ArgumentError
from reskeras.exporters.arguments import check_arguments
from reskeras.quantization.calibration import load_images
from reskeras.exporters.formats import FORMATS, open_file
from reskeras.graph.optimize import optimize_model
from reskeras.images.labels import decode_scores
from reskeras.images.preprocessing import Preprocessing
from reskeras.model_with_metadata import set_metadata
from reskeras.weights.table import list_weights


def run(capsys, *words):
    """(exit code, stdout, stderr) of a command."""
    try:
        code = cli.main(words)
    except SystemExit as error:
        code = error.code
    return (code, *capsys.readouterr())


@pytest.fixture(scope="module")
def net():
    """A small classifier without metadata, with weights as if trained."""
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, activation="relu", bias_initializer="random_normal")(image)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(3, activation="softmax")(x), name="own")


@pytest.mark.parametrize("words, expected", [
    ("cost resnet50 --size 22k", "--size: '22k': expected PIXELS or HEIGHTxWIDTH"),
    ("cost resnet50 --size 1x2x3", "--size: '1x2x3': expected PIXELS or HEIGHTxWIDTH"),
    ("cost resnet50 --size 0", "--size 0: expected"),
    ("cost resnet50 --batch-size x", "--batch-size: 'x': expected a whole number"),
    ("optimize resnet18 --passes fold_bn,,fold_pad", "'fold_bn,,fold_pad': expected names with a comma"),
    ("train resnet18 --validation-split half", "--validation-split: 'half': expected a number"),
    ("train cifar_resnet20 --recipe cifar_he --data digits --validation-data nope",
     "--validation-data nope: expected folder:PATH"),
    ("train cifar_resnet20 --recipe cifar_he --data nope", "--data nope: expected folder:PATH"),
    ("predict x.png --model cifar_resnet20.digits --preprocessing foo",
     "--preprocessing foo: expected the name"),
    ("predict x.png --model cifar_resnet20.digits --preprocessing resnet50.typo",
     "--preprocessing resnet50.typo: expected a tag of resnet50"),
    ("weights show x.y", "x.y: expected the name of published weights"),
    ("compare", "or a `family` such as 'resnext'"),
    ("compare --family resnst", "did you mean 'resnest'?"),
    ("export cifar_resnet20.digits net.tflite --debug-quantization",
     "--debug-quantization: expected int8 as `quantize`"),
    ("list --families resnst14", "did you mean 'resnest14'?"),
    ("weights list --markdown --dataset cifar1", "--dataset cifar1: expected one of"),
    ("weights list --dataset cifar10 --license apache-2.0",
     "--license apache-2.0: expected one of bsd-2-clause, bsd-3-clause, which the checkpoints of dataset "
     "'cifar10' have"),
    ("weights list resnest* --dataset cifar10",
     "--dataset cifar10: expected one of in1k, which the checkpoints of pattern 'resnest*' have"),
    ("weights list resnet50v1_5.a1_in1", "did you mean 'resnet50v1_5.a1_in1k'?")])
def test_the_option_is_named(words, expected, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("x.png").touch()
    code, _, err = run(capsys, *words.split())
    assert code == 2 and expected in err and err.count("\n") == 1
    assert not any(f"{word}=" in err for word in ("name", "data", "preprocessing", "labels", "family"))


def test_the_argument_is_named():
    for call, name in [
            (lambda: reskeras.fit("cifar_resnet20", "digits", "cifar_he", validation_data="no"),
             "validation_data"),
            (lambda: reskeras.fit("cifar_resnet20", "digits:x", "cifar_he"), "data"),
            (lambda: reskeras.predict("cifar_resnet20.digits", "x.png", preprocessing="foo"),
             "preprocessing"),
            (lambda: reskeras.get_preprocessing("foo"), "model"),
            (lambda: reskeras.get_weights("x.y"), "name"),
            (lambda: reskeras.get_weights("resnet50.typo"), "name"),
            (lambda: reskeras.create("resnet50", weights="typo"), "weights")]:
        with pytest.raises(ArgumentError) as caught:
            call()
        assert caught.value.name == name
    with pytest.raises(ArgumentError, match="did you mean 'resnet50v1_5.a1_in1k'?"):
        reskeras.get_weights("resnet50v1_5.a1_in1")
    with pytest.raises(ArgumentError, match="did you mean 'inception'?"):
        reskeras.list_models(family="icp")


def test_hints_serve_both(net, tmp_path):
    with pytest.raises(ArgumentError, match="preprocessing=None: expected the checkpoint"):
        load_images(np.zeros((2, 16, 16, 3), "uint8"), None, (16, 16, 3))
    with pytest.raises(ArgumentError) as caught:
        decode_scores(np.zeros((1, 10)))
    assert "a model that knows them" in str(caught.value) and "labels=[" not in str(caught.value)

    class Fails(keras.layers.Layer):
        def call(self, x):
            if keras.backend.standardize_dtype(x.dtype) == "float64":
                raise RuntimeError("no")
            return x
    failing = keras.Sequential([keras.Input((4,)), Fails()])
    with pytest.warns(UserWarning, match="without a comparison, switch `check` off"):
        optimize_model(failing)
    file = tmp_path / "net.keras"
    net.save(file)
    with pytest.raises(ArgumentError, match="a runtime of Keras files"):
        open_file(file, runtime="typo")


def test_tables_are_of_the_nets_that_fit(capsys):
    code, out, _ = run(capsys, "list", "--families", "resnest*")
    assert code == 0 and "ResNeSt" in out and len(out.splitlines()) == 3
    code, out, _ = run(capsys, "weights", "list", "--markdown", "--dataset", "cifar10")
    assert code == 0 and len(out.splitlines()) == 3
    assert f"akamaster {len(list_weights(dataset='cifar10', source='akamaster'))}" in out


def test_numbers_of_numpy_are_python_numbers(net):
    batch_size, threads = check_arguments(
        net, pathlib.Path("x.tflite"), FORMATS[".tflite"], quantize=None, calibration_data=None, size=None,
        batch_size=np.int64(2), io="int8", calibration_method="minmax", float_layers=(), threads=np.int32(1),
        c_array=False)
    assert type(batch_size) is type(threads) is int
    crops, scales = _check_views(np.int64(1), np.array([224, 256]))
    assert type(crops) is int and [type(side) for side in scales] == [int, int]
    layer = StochasticDepth(np.float32(0.5))
    assert type(layer.get_config()["rate"]) is float


@pytest.mark.parametrize("wrong", [
    {"batch_size": 0}, {"batch_size": True}, {"max_unreadable": -1}, {"crops": True}])
def test_evaluate_checks_its_numbers(wrong):
    with pytest.raises(ArgumentError, match=f"{next(iter(wrong))}="):
        reskeras.evaluate("cifar_resnet20.digits", "digits", **wrong)


def test_progress_is_shown_on_the_terminal_and_not_in_the_log():
    def show():
        with quiet_tensorflow(), open_terminal() as terminal:
            os.write(2, b"of TensorFlow\n")
            if terminal is not None:
                terminal.write("bar\n")
            return terminal is not None

    main, other = pty.openpty()
    sys.stderr.flush()
    before = os.dup(2)
    try:
        os.dup2(other, 2)
        assert show()
    finally:
        os.dup2(before, 2)
    assert os.read(main, 100).split() == [b"bar"]

    with open(os.devnull, "w") as file:
        try:
            os.dup2(file.fileno(), 2)
            assert not show()
        finally:
            os.dup2(before, 2)
            for descriptor in (before, main, other):
                os.close(descriptor)


def test_calibration_shows_its_bar_where_told(net, tmp_path, capsys):
    with open(tmp_path / "log", "w") as file:
        images = np.random.default_rng(0).normal(size=(32, 16, 16, 3)).astype("float32")
        reskeras.export(net, tmp_path / "net.tflite", quantize="int8", calibration_data=images, verbose=file,
                        strict=False, batch_size=np.int64(1), threads=np.int64(1))
    assert "calibrating" in (tmp_path / "log").read_text() and "calibrating" not in capsys.readouterr().err


def test_debug_quantization_knows_preprocessing_and_labels(net, tmp_path, capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 16, 16, 3)).astype("uint8")
    model = set_metadata(keras.models.clone_model(net))
    model.set_weights(net.get_weights())
    table = export_command._format_layer_errors(
        model, "int8", pixels, preprocessing=Preprocessing((16, 16), "torch"), labels=["a", "b", "c"])
    assert "CONV_2D" in table
    with pytest.raises(ArgumentError, match="labels="):
        export_command._format_layer_errors(
            model, "int8", pixels, preprocessing=Preprocessing((16, 16), "torch"), labels=["a"])


def test_verbose_0_prints_nothing(capsys, tmp_path, monkeypatch):
    class History:
        history = {"loss": [0.5], "accuracy": [0.5]}
    monkeypatch.setattr(train_command, "fit", lambda *args, **options: History)
    words = ["train", "cifar_resnet20", "--data", "digits", "--output", str(tmp_path)]
    assert run(capsys, *words, "--verbose", "0") == (0, "", "")
    assert "loss 0.5" in run(capsys, *words)[1]
