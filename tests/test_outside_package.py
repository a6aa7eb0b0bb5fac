"""Functions of another package as attention, mixer, normalization, activation and augmentation: trained,
resumed, saved, counted, optimized and exported."""
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

import reskeras
from reskeras import cli
from reskeras.train.augment import parse_augmentation

FOLDER = pathlib.Path(__file__).parent / "outside_package"


@pytest.fixture(scope="module")
def outside():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        import outside_package
        yield outside_package


@pytest.fixture(scope="module")
def fields(outside):
    return {"attention": outside.scale_channels, "mixer": outside.depthwise, "norm": outside.Centering,
            "activation": outside.gated_relu, "depths": (1, 1, 1), "zero_init_residual": True}


@pytest.fixture(scope="module")
def data():
    rng, y = np.random.default_rng(0), np.arange(16) % 2
    return (rng.integers(0, 128, (16, 16, 16, 3)) + 127 * y[:, None, None, None]).astype("uint8"), y


class Stop(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch:
            raise RuntimeError("stopped")


@pytest.fixture(scope="module")
def run(outside, fields, data, tmp_path_factory):
    """A training that ended after its first epoch, and was resumed."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.raises(RuntimeError, match="stopped"):
        reskeras.fit("cifar_resnet20", data, "digits", output=folder, model_overrides=fields, epochs=2,
                     warmup=0, batch_size=8, augmentation=["pad_crop(16, 2)", outside.invert, "flip"],
                     verbose=0, callbacks=[Stop()])
    history = reskeras.fit(resume=folder, data=data, verbose=0)
    assert history.epoch == [0, 1]
    return folder, history.model


def test_it_is_made_of_their_layers(run, outside):
    layers = {layer.name: layer for layer in run[1].layers}
    assert isinstance(layers["conv2_block1_scale"], outside.ChannelScale)
    assert isinstance(layers["conv3_block1_1_depth"], keras.layers.DepthwiseConv2D)
    assert isinstance(layers["conv2_block1_2_bn"], outside.Centering)
    assert layers["conv2_block1_2_bn"].gamma_initializer == "zeros"
    assert layers["conv1_relu"].activation is outside.gated_relu
    assert "conv2_block1_1_conv" not in layers


def test_another_process_loads_it_if_it_imports_the_package(run, data, tmp_path):
    folder, model = run
    x = np.float32(data[0][:4]) / 255
    np.savez(tmp_path / "x.npz", x=x, expected=model.predict(x, verbose=0))
    code = ("import sys, numpy as np, reskeras\n"
            "try:\n    reskeras.load(sys.argv[1])\n"
            "except (ValueError, TypeError) as error:\n    print('unknown:', error)\n"
            "import outside_package\nmodel = reskeras.load(sys.argv[1])\n"
            "file = np.load(sys.argv[2])\n"
            "print('error', float(np.abs(model.predict(file['x'], verbose=0) - file['expected']).max()))\n")
    done = subprocess.run([sys.executable, "-c", code, str(folder / "last.keras"), str(tmp_path / "x.npz")],
                          capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": str(FOLDER)})
    lines = done.stdout.splitlines()
    assert lines[0].startswith("unknown: ") and "import the module of outside_package" in lines[0]
    assert float(lines[-1].split()[1]) < 1e-6


def test_it_is_counted(run):
    cost = reskeras.cost(run[1])
    depth = next(row for row in cost.layers if row.name == "conv2_block1_1_depth")
    assert depth.macs == 16 * 16 * 9 * 16
    assert cost.params == run[1].count_params()


def test_it_is_optimized_and_exported(run, data, tmp_path):
    model = run[1]
    x = np.float32(data[0][:4]) / 255
    optimized, _ = reskeras.optimize(model)
    np.testing.assert_allclose(optimized.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-5)
    for name in ("net.tflite", "net.keras"):
        assert reskeras.export(model, tmp_path / name).passed


def test_the_augmentation_by_value(outside):
    seed = np.array([3, 4], "int32")
    x = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype("float32")
    augmentation = parse_augmentation("outside_package.invert(1)")
    np.testing.assert_array_equal(augmentation.augment_image(x, seed), 255 - x)
    augmentation = parse_augmentation("outside_package.invert(probability=0.0)|flip")
    assert augmentation.augment_image(x, seed).shape == (8, 8, 3)
    recipe = reskeras.get_recipe("digits").override({"augmentation": ["flip", outside.invert]})
    assert recipe.training.augmentation == "flip|outside_package.invert"


def test_from_the_command_line(outside, data, tmp_path):
    np.savez(tmp_path / "images.npz", x=data[0], y=data[1])
    assert cli.main(["train", "cifar_resnet20", "--data", f"npz:{tmp_path}/images.npz", "--recipe", "digits",
                     "--model-overrides", "depths=(1, 1, 1)", "--epochs", "1", "--warmup", "0",
                     "--batch-size", "8", "--augmentation", "outside_package.invert(0.3)|flip", "--verbose",
                     "0", "--output", str(tmp_path / "run")]) == 0
    assert "outside_package.invert(0.3)|flip" in (tmp_path / "run" / "run.json").read_text()


@pytest.mark.parametrize("change, message", [
    ({"activation": lambda x: x}, "activation=.*register_keras_serializable"),
    ({"attention": reskeras.SE}, "attention=.*SE\\(\\)"), ({"mixer": 3}, "mixer=3"), ({"norm": 3}, "norm=3")])
def test_what_could_not_be_loaded_again(change, message):
    with pytest.raises(ValueError, match=message):
        reskeras.create("cifar_resnet20", weights=None, depths=(1, 1, 1), **change)


def test_an_augmentation_that_nothing_has_registered():
    with pytest.raises(ValueError, match="import its module first"):
        parse_augmentation("flip|nobody.blur(3)")
    with pytest.raises(ValueError, match="register_keras_serializable"):
        reskeras.get_recipe("digits").override({"augmentation": ["flip", lambda x, seed: x]})
    with pytest.raises(ValueError, match="expected outside_package.invert"):
        parse_augmentation("outside_package.invert(0.5, 3)")
