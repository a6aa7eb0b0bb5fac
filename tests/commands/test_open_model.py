"""The first argument of every function: a name, a file or a model; anything else is one clear error."""
import pathlib

import numpy as np
import pytest
from tiny import tiny

import reskeras
from reskeras.commands.html import encode_png
from reskeras.commands.open_model import check_size, open_model, open_trained_model
from reskeras.errors import ArgumentError
from reskeras.weights.table import EMBEDDED_FOLDER

DIGITS = "cifar_resnet20.digits"
FILE = EMBEDDED_FOLDER / f"{DIGITS}.keras"


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    file = tmp_path_factory.mktemp("image") / "image.png"
    file.write_bytes(encode_png(np.random.default_rng(0).integers(0, 256, (8, 8, 1)).astype("uint8")))
    return file


@pytest.fixture(scope="module")
def digits():
    """A net with weights by its name, as a file, and as a model."""
    return [DIGITS, FILE, reskeras.load(FILE)]


def compute_outputs(model):
    """The outputs of a model of digits for two images, as lists, which compare as one value."""
    return np.asarray(model(np.random.default_rng(1).normal(size=(2, 16, 16, 1)).astype("float32"))).tolist()


def call_optimize(model, image, folder):
    optimized, report = reskeras.optimize(model, check=False, size=16)
    return report.passes[-1].after, compute_outputs(optimized)


def call_evaluate(model, image, folder):
    data = np.random.default_rng(2).integers(0, 256, (20, 8, 8, 1)).astype("uint8"), [*range(10)] * 2
    result = reskeras.evaluate(model, data, preprocessing=DIGITS)
    return result.images, result.top1, result.top5, result.size


def call_export(model, image, folder):
    report = reskeras.export(model, folder / "n.keras", preprocessing=DIGITS)
    # only a model that was opened by its name knows the name of its weights
    metadata = {key: value for key, value in report.metadata.items() if key != "weights"}
    outputs = compute_outputs(reskeras.load(folder / "n.keras"))
    return report.weights_sha256, report.operators, metadata, outputs


# function -> what it makes of a model: contents, without the names of models and the times
CALLS = {
    "cost": lambda model, image, folder: reskeras.cost(model, 16),
    "optimize": call_optimize,
    "page": lambda model, image, folder: reskeras.page(model, folder / "p.html", size=16).read_text(),
    "predict": lambda model, image, folder: reskeras.predict(
        model, image, preprocessing=DIGITS)[0]["predictions"],
    "evaluate": call_evaluate,
    "explain": lambda model, image, folder: reskeras.explain(
        model, image, folder / "e.html", preprocessing=DIGITS).read_text(),
    "export": call_export}


@pytest.mark.parametrize("name", CALLS)
def test_a_name_a_file_or_a_model(name, digits, image, tmp_path):
    results = [CALLS[name](model, image, tmp_path) for model in digits]
    assert results[0] and all(result == results[0] for result in results)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("model", [7, None, ["resnet18"]])
def test_anything_else_is_an_error(name, model, image, tmp_path):
    with pytest.raises(ArgumentError, match="model=.*: expected the name of a net, the path of a file, or a "
                                            "keras.Model"):
        CALLS[name](model, image, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_size_of_a_name():
    assert open_model("cifar_resnet20", 16, has_values=False).input_shape == (None, 16, 16, 3)
    assert open_model("cifar_resnet20", (16, 24), has_values=False).input_shape == (None, 16, 24, 3)
    assert open_model(DIGITS, has_values=False).input_shape == (None, 16, 16, 1)
    assert open_trained_model(DIGITS, any_size=True).input_shape == (None, None, None, 1)
    assert check_size(None) is None and check_size(np.int64(8)) == (8, 8)
    for wrong in (0, -1, True, 2.5, "8", (8,), (8, 0), (8, 8, 3)):
        with pytest.raises(ArgumentError, match="size="):
            check_size(wrong)


def test_a_model_is_returned_as_it_is(tmp_path):
    net = tiny("resnet18")
    assert open_model(net, 5) is net and open_trained_model(net) is net
    with pytest.raises(FileNotFoundError, match="net.keras: no such file"):
        open_model(pathlib.Path("net.keras"))
