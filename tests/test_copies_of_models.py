"""Copies of a model keep its preprocessing and the names of its classes, however they are made."""
import copy
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

import reskeras
from reskeras.images.preprocessing import Preprocessing

LABELS = ("cat", "dog", "owl")
PREPROCESSING = Preprocessing((32, 32), "torch")


@pytest.fixture(scope="module")
def net():
    model = reskeras.create("cifar_resnet20", weights=None, depths=(1, 1, 1), classes=3,
                            input_shape=(32, 32, 3))
    return reskeras.set_metadata(model, PREPROCESSING, LABELS)


def save_and_load(model, path):
    model.save(path)
    return keras.saving.load_model(path)


COPIES = {
    "clone": lambda model, folder: keras.models.clone_model(model),
    "clone with a function": lambda model, folder: keras.models.clone_model(
        model, clone_function=lambda layer: type(layer).from_config(layer.get_config())),
    "recursive clone": lambda model, folder: keras.models.clone_model(model, recursive=True),
    "clone of a clone": lambda model, folder: keras.models.clone_model(keras.models.clone_model(model)),
    "h5": lambda model, folder: save_and_load(model, folder / "net.h5"),
    "keras": lambda model, folder: save_and_load(model, folder / "net.keras"),
    "json": lambda model, folder: keras.models.model_from_json(model.to_json()),
    "deepcopy": lambda model, folder: copy.deepcopy(model),
    "copy": lambda model, folder: copy.copy(model),
    "pickle": lambda model, folder: pickle.loads(pickle.dumps(model))}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_keeps_metadata(net, kind, tmp_path):
    made = COPIES[kind](net, tmp_path)
    assert reskeras.get_metadata(made) == reskeras.get_metadata(net)
    assert reskeras.get_metadata(made).labels == LABELS
    assert reskeras.get_preprocessing(made) == PREPROCESSING
    assert [layer.name for layer in made.layers] == [layer.name for layer in net.layers]


@pytest.mark.parametrize("kind", ["recursive clone", "clone", "h5"])
def test_a_net_within_a_model_keeps_metadata(net, kind, tmp_path):
    image = keras.Input((32, 32, 3))
    for outer in (keras.Model(image, net(layers.Rescaling(1 / 255)(image))),
                  keras.Sequential([image, layers.Rescaling(1 / 255), net])):
        metadata = reskeras.get_metadata(COPIES[kind](outer, tmp_path))
        assert metadata == reskeras.get_metadata(outer) and metadata.labels == LABELS


def test_weights_of_an_h5_file(net, tmp_path):
    x = np.random.default_rng(0).random((2, 32, 32, 3), "float32")
    np.testing.assert_array_equal(save_and_load(net, tmp_path / "net.h5")(x), net(x))


def test_a_clone_with_other_classes_has_no_labels(net):
    def replace_head(layer):
        if layer.name == "predictions":
            return layers.Dense(5, name="predictions")
        return type(layer).from_config(layer.get_config())

    metadata = reskeras.get_metadata(keras.models.clone_model(net, clone_function=replace_head))
    assert metadata.preprocessing == PREPROCESSING and metadata.labels == ()


def test_a_clone_at_another_size(net):
    made = keras.models.clone_model(net, input_tensors=keras.Input((64, 64, 3)))
    assert reskeras.get_preprocessing(made).size == (64, 64)
    assert reskeras.get_metadata(made).labels == LABELS


def test_only_a_clone_takes_metadata(net):
    """Not another model on the net's outputs, nor one that was given its own."""
    image = keras.Input((32, 32, 3))
    scores = net(image)
    assert not hasattr(scores, "_reskeras_metadata")
    cloned = keras.models.clone_model(net)
    assert not hasattr(cloned.output, "_reskeras_metadata")
    silent = keras.models.clone_model(reskeras.create("cifar_resnet20", weights=None, depths=(1, 1, 1)))
    assert reskeras.get_metadata(silent) == reskeras.ModelMetadata()


def test_other_functional_models_are_those_of_keras(tmp_path):
    image = keras.Input((4,))
    model = keras.Model(image, layers.Dense(2)(image))
    model.compile("sgd", keras.losses.MeanSquaredError())
    for name in ("net.keras", "net.h5"):        # an .h5 file takes the optimizer from the model
        made = save_and_load(model, tmp_path / name)
        assert type(made) is type(model) and isinstance(made.optimizer, keras.optimizers.SGD)


def test_keras_alone_opens_the_h5_file(tmp_path):
    image, path = keras.Input((32, 32, 3)), tmp_path / "net.h5"
    scores = layers.Dense(3)(layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image)))
    reskeras.set_metadata(keras.Model(image, scores), PREPROCESSING, LABELS).save(path)
    code = f"import keras, sys; model = keras.saving.load_model({str(path)!r}); " \
           "print(type(model).__name__, len(model.layers), 'reskeras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["Functional", "4", "False"], done.stderr[-2000:]
