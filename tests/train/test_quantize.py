"""fit with quantize="int8": its recipe, ranges from training images, two replicas, resuming to the bit."""
import re
import warnings

import keras
import numpy as np
import pytest
from two_devices import run_on_two_devices

import reskeras
from reskeras import cli
from reskeras.commands.sweep_table import read_table
from reskeras.errors import ArgumentError
from reskeras.images.preprocessing import Preprocessing
from reskeras.quantization.layers import FakeQuantize
from reskeras.quantization.model import is_quantization_aware
from reskeras.train.run_folder import read_run_info

OVERRIDES = {"optimizer": "adam", "learning_rate": 1e-5, "warmup": 0, "weight_decay": 0.0, "batch_size": 512}


def train(**arguments):
    return reskeras.fit("cifar_resnet20.digits", "digits", "digits", quantize="int8", overrides=OVERRIDES,
                        verbose=0, **arguments)


def read_weights(model):
    return [np.asarray(variable) for variable in model.variables]


def test_resumes_to_the_bit(tmp_path):
    expected = read_weights(train(epochs=2, output=tmp_path / "whole", deterministic=True).model)

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(epochs=2, output=tmp_path / "cut", deterministic=True, callbacks=[Stop()])
    resumed = reskeras.fit(resume=tmp_path / "cut", verbose=0).model
    assert is_quantization_aware(resumed) and resumed.metadata.labels
    for ours, theirs in zip(read_weights(resumed), expected):
        np.testing.assert_array_equal(ours, theirs)
    steps = [float(layer.steps) for layer in resumed.layers
             if isinstance(layer, FakeQuantize) and layer.ranges == "average"]
    assert steps and set(steps) == {4.0}        # two epochs of two batches


IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), "uint8"), np.arange(40) % 4


def make_net(bias="ones"):
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dense(4, activation="softmax", bias_initializer=bias, name="predictions")(x)
    return reskeras.set_metadata(keras.Model(image, x), Preprocessing((8, 8), "tf"))


def test_the_recipe_int8_is_the_default(tmp_path, monkeypatch):
    """Also of a model that has fake quantization already, of the command, and of a sweep."""
    aware = reskeras.quantization_aware(make_net(), IMAGES[0])
    reskeras.fit(aware, IMAGES, output=tmp_path / "aware", batch_size=20, epochs=1, verbose=0)
    make_net().save(tmp_path / "net.keras")
    np.savez(tmp_path / "images.npz", images=IMAGES[0], labels=IMAGES[1])
    monkeypatch.chdir(tmp_path)
    options = ["--batch-size", "20", "--epochs", "1", "--verbose", "0"]
    assert cli.main(["train", "net.keras", "--data", "npz:images.npz", "--quantize", "int8", *options]) == 0
    for folder in (tmp_path / "aware", tmp_path / "runs" / "net.int8"):
        run = read_run_info(folder)
        training = run["recipe"]["training"]
        assert run["arguments"]["recipe"] == run["recipe"]["name"] == "int8"
        assert training["learning_rate"] == 1e-5 and training["head_epochs"] == 0
    table = {"nets": ["net.keras"], "data": "npz:images.npz", "quantize": "int8"}
    assert [run.recipe for run in read_table(table)] == ["int8"]
    assert [run.recipe for run in read_table({**table, "quantize": None})] == ["finetune"]


def test_a_run_keeps_the_recipe_that_it_was_started_with(tmp_path):
    options = {"head_epochs": 0, "epochs": 1, "batch_size": 20, "verbose": 0}
    reskeras.fit(make_net(), IMAGES, "finetune", quantize="int8", output=tmp_path / "run", **options)
    reskeras.fit(make_net(), IMAGES, quantize="int8", resume=tmp_path / "run", epochs=2, verbose=0)
    run = read_run_info(tmp_path / "run")
    assert run["recipe"]["name"] == "finetune" and run["recipe"]["training"]["learning_rate"] == 1e-4


@pytest.mark.parametrize("recipe, fields, bias, message", [
    ("finetune", {}, "ones", "recipe finetune does not suit .*: it trains the classifier alone first, with a "
     "rate of 0.001; take the recipe 'int8' .*, or give head_epochs=0"),
    ("cifar_he", {"batch_size": 128}, "ones", "recipe cifar_he .*: its learning rate is 0.1, .* or give l"),
    (None, {}, "zeros", "not trained yet, .* train the net in floats first"),
    ("finetune", {"head_epochs": 0}, "ones", None), ("cifar_he", {"learning_rate": 1e-3}, "ones", None),
    (None, {}, "ones", None)])
def test_what_does_not_suit_is_said(recipe, fields, bias, message):
    """Before the training begins, which these images are too few for."""
    with warnings.catch_warnings(record=True) as caught, pytest.raises(ArgumentError, match="batch_size"):
        warnings.simplefilter("always")
        reskeras.fit(make_net(bias), IMAGES, recipe, quantize="int8", size=8,
                     **{"batch_size": 64, "verbose": 0, **fields})
    texts = [str(warning.message) for warning in caught if warning.category is UserWarning]
    assert len(texts) == (message is not None), texts
    if message:
        assert re.search(message, texts[0])


CHILD = """
from reskeras.quantization.layers import FakeQuantize
for name, options in {"one": {}, "two": dict(strategy=mirrored),
                      "xla": dict(jit_compile=True)}.items():
    net = reskeras.fit("cifar_resnet20.digits", "digits", "digits", quantize="int8", epochs=1, verbose=0,
                       optimizer="sgd", learning_rate=1e-3, warmup=0, weight_decay=0.0, batch_size=512,
                       augmentation="", **options).model
    ranges = [layer for layer in net.layers if isinstance(layer, FakeQuantize) and layer.ranges == "average"]
    found[name + "/steps"] = np.array([np.asarray(layer.steps) for layer in ranges])
    found[name + "/high"] = np.concatenate([np.asarray(layer.maximum) for layer in ranges])
    found[name + "/weights"] = np.concatenate([np.ravel(w) for w in net.trainable_variables])
pixels = np.random.default_rng(0).integers(0, 256, (32, 16, 16, 1), "uint8")
start = reskeras.quantization_aware(reskeras.create("cifar_resnet20.digits"), pixels)
found["start"] = np.concatenate([np.ravel(w) for w in start.trainable_variables])
"""


@pytest.mark.slow
def test_two_replicas_and_xla(tmp_path):
    """Nearly the weights and ranges of one device; a range is the mean of the replicas' ranges."""
    found = run_on_two_devices(CHILD, tmp_path)
    moved = np.abs(found["one/weights"] - found["start"]).max()
    for name, tolerance in (("two", 0.01), ("xla", 0.001)):
        assert set(found[f"{name}/steps"]) == set(found["one/steps"]) == {2.0}
        np.testing.assert_allclose(found[f"{name}/high"], found["one/high"], rtol=tolerance)
        assert np.abs(found[f"{name}/weights"] - found["one/weights"]).max() < 0.3 * moved
