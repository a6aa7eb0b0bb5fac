"""A model keeps its checkpoint's name, preprocessing and class names, unless it becomes another model."""
import copy
import os
import pathlib
import pickle
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

import reskeras
from reskeras.graph.graph import Graph
from reskeras.inputs_outputs import decode_predictions, get_preprocessing, preprocess_input
from reskeras.model_metadata import ModelMetadata, get_class_names, get_metadata
from reskeras.model_with_metadata import ModelWithMetadata, set_metadata
from reskeras.weights.table import get_weights

CHECKPOINT = "cifar_resnet20.cifar10"
METADATA = ModelMetadata.from_checkpoint(get_weights(CHECKPOINT))


def functional():
    image = keras.Input((32, 32, 3), name="image")
    x = layers.BatchNormalization(name="bn")(layers.Conv2D(4, 3, name="conv")(image))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return image, layers.Dense(10, "softmax", name="predictions")(x)


def net(metadata=METADATA):
    return ModelWithMetadata(*functional(), name="net", metadata=metadata)


def test_it_is_a_plain_functional_model():
    plain, own = keras.Model(*functional(), name="net"), net(metadata=None)
    assert isinstance(own, type(plain)) and isinstance(own, keras.Model) and own.metadata is None
    assert own.get_config() == plain.get_config()
    own.set_weights(plain.get_weights())
    x = np.random.default_rng(0).random((2, 32, 32, 3), "float32")
    np.testing.assert_array_equal(own(x), plain(x))
    assert [v.path for v in own.variables] == [v.path for v in plain.variables]


def test_through_fit_and_config():
    own = net()
    own.compile("sgd", "sparse_categorical_crossentropy")
    own.fit(np.zeros((4, 32, 32, 3)), np.zeros(4), verbose=0)
    assert own.metadata == METADATA
    for other in (ModelWithMetadata.from_config(own.get_config()), copy.deepcopy(own), copy.copy(own),
                  keras.models.model_from_json(own.to_json()), pickle.loads(pickle.dumps(own))):
        assert type(other) is ModelWithMetadata and other.metadata == METADATA
        assert get_preprocessing(other) == get_preprocessing(CHECKPOINT)
        assert decode_predictions(np.eye(10)[[3]], 1, other) == [[("3", "cat", 1.0)]]


IN_A_FRESH_PROCESS = """
import sys
net = keras.saving.load_model(sys.argv[1])
metadata = getattr(net, "metadata", None)
print(type(net).__name__, metadata and (metadata.weights, metadata.labels, metadata.preprocessing.mean))
"""


@pytest.mark.parametrize("imports, has_metadata", [
    ("import reskeras.model_metadata, keras", True), ("import keras, reskeras.model_metadata", True),
    ("import keras", False)])
def test_in_a_fresh_process(imports, has_metadata, tmp_path):
    """Keras alone opens the file too: then it is a functional model without metadata."""
    net().save(tmp_path / "net.keras")
    root = str(pathlib.Path(reskeras.__file__).parents[1])
    command = [sys.executable, "-c", imports + IN_A_FRESH_PROCESS, tmp_path / "net.keras"]
    done = subprocess.run(command, text=True, capture_output=True, env={**os.environ, "PYTHONPATH": root})
    assert done.returncode == 0, done.stderr[-2000:]
    known = (CHECKPOINT, "cifar10", METADATA.preprocessing.mean)
    assert done.stdout == f"Functional {known if has_metadata else None}\n"


def test_another_net_of_its_layers_is_not_it():
    own = net()
    for other in (keras.Model(own.input, own.output), keras.Model(own.input, own.get_layer("pool").output)):
        assert getattr(other, "metadata", None) is None
        with pytest.raises(ValueError, match="has no metadata of its preprocessing"):
            get_preprocessing(other)


def test_through_optimize():
    """Same function, same input, same classes: same metadata."""
    own = net()
    assert Graph.of(own).build().metadata == METADATA
    assert type(Graph.of(net(None)).build()) is type(keras.Model(own.input, own.output))
    fast, certificate = reskeras.optimize(own)
    assert fast.metadata == METADATA and certificate.after.layers < certificate.before.layers


def test_from_checkpoint_and_config():
    checkpoint = get_weights("resnet50v1_5.a1_in1k")
    whole = ModelMetadata.from_checkpoint(checkpoint)
    inside = ModelMetadata.from_checkpoint(checkpoint, include_preprocessing=True, include_labels=False)
    assert whole.weights == checkpoint.name and whole.labels == "imagenet-1k" and inside.labels == ()
    assert inside.preprocessing.pixels == "raw" and inside.preprocessing.size == (224, 224)
    for metadata in (whole, inside, ModelMetadata(), ModelMetadata(labels=("a", "b"))):
        assert ModelMetadata.from_config(metadata.get_config()) == metadata
    assert ModelMetadata.from_config({"weights": "x", "later": 1}) == ModelMetadata("x")


def test_set_metadata(tmp_path, monkeypatch):
    own = net(metadata=None)
    assert set_metadata(own, preprocessing=CHECKPOINT) is own
    assert own.metadata.preprocessing == get_preprocessing(CHECKPOINT) and not own.metadata.labels
    set_metadata(own, labels="cifar10")
    assert own.metadata.preprocessing == get_preprocessing(CHECKPOINT) and get_class_names(own)[3] == "cat"
    (tmp_path / "names.txt").write_text("\n".join(map(str, range(10))))
    (tmp_path / "cifar10").write_text("a set's name is the set, whatever lies about")
    monkeypatch.chdir(tmp_path)
    assert get_metadata(own).override(labels="names.txt").labels == tuple(map(str, range(10)))
    assert get_metadata(own).override(labels="cifar10").labels == "cifar10"
    set_metadata(own, labels=[f"kind {i}" for i in range(10)])
    assert get_class_names(own)[9] == "kind 9"
    plain = keras.Model(own.input, own.output, name="plain")
    new = set_metadata(plain, preprocessing=own, labels="digits")
    assert type(new) is ModelWithMetadata and new.name == "plain" and new.layers == plain.layers
    assert new.metadata.labels == "digits"
    assert new.metadata.preprocessing == own.metadata.preprocessing and own.metadata.labels[0] == "kind 0"
    assert get_class_names(plain) == () == get_class_names(net(metadata=None))


def scaled():
    """A net of the row with its preprocessing inside."""
    image = keras.Input((32, 32, 3))
    x = layers.Rescaling(1 / 255, name="preprocessing")(image)
    x = layers.Dense(10, name="predictions")(layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(x)))
    metadata = ModelMetadata.from_checkpoint(get_weights(CHECKPOINT), include_preprocessing=True)
    return ModelWithMetadata(image, x, name="scaled", metadata=metadata)


def sequential(parts):
    return keras.Sequential([keras.Input((32, 32, 3)), *parts])


def test_a_model_around_a_net_knows_what_it_does():
    own = METADATA.preprocessing
    for model in (sequential([net()]), sequential([layers.RandomFlip(), net(), layers.Softmax()])):
        metadata = get_metadata(model)
        assert metadata == METADATA and get_class_names(model)[3] == "cat" and get_preprocessing(model) == own
        assert decode_predictions(np.eye(10)[[3]], 1, model) == [[("3", "cat", 1.0)]]
    tuned = get_metadata(sequential([net(), layers.Dense(10)]))       # ten classes of another kind
    assert tuned == replace(METADATA, labels=())
    assert get_class_names(sequential([net(), layers.Dense(10)])) == ()
    image = keras.Input((32, 32, 3))
    by_hand = keras.Model(image, net()(preprocess_input(image, CHECKPOINT)))
    for model in (scaled(), sequential([scaled()]), sequential([sequential([scaled()])]),
                  sequential([*own.as_layers(), net()]), by_hand,
                  sequential([sequential([layers.RandomFlip(), layers.Rescaling(1 / 255)]), net()])):
        metadata, unscaled = get_metadata(model), own.without_scaling()
        assert metadata.includes_preprocessing and metadata.preprocessing == unscaled
        assert metadata.override(preprocessing=CHECKPOINT).preprocessing == unscaled       # not twice
        assert set_metadata(model, preprocessing=CHECKPOINT).metadata.preprocessing == unscaled


@pytest.mark.parametrize("before", [layers.Lambda(lambda x: x / 255), layers.Conv2D(3, 1), layers.ReLU()])
def test_what_comes_between_is_not_guessed(before):
    model = keras.Sequential([keras.Input((32, 32, 3)), before, net()])
    assert get_metadata(model) == ModelMetadata()
    with pytest.raises(ValueError, match="has no metadata of its preprocessing"):
        get_preprocessing(model)
    assert get_metadata(model).override(preprocessing=CHECKPOINT).preprocessing == METADATA.preprocessing


def test_a_net_that_scales_inside_tells_another_by_its_weights():
    assert get_metadata(net(None)).override(preprocessing=scaled()).preprocessing == METADATA.preprocessing
    unscaled = METADATA.preprocessing.without_scaling()
    assert get_metadata(scaled()).override(preprocessing=scaled()).preprocessing == unscaled
    unknown = scaled()
    unknown.metadata = replace(unknown.metadata, weights="")
    with pytest.raises(ValueError, match="preprocessing='scaled': expected a checkpoint.*does not say how"):
        get_metadata(net(None)).override(preprocessing=unknown)


@pytest.mark.parametrize("labels, message", [
    (["cat", "dog"], "one name for each of the 10 classes, not 2"),
    ("cifar100", "of the 10 classes, not 100"),
    ("cifar11", "do not come with the package")])
def test_wrong_labels_are_refused(labels, message):
    own = net()
    with pytest.raises(ValueError, match=message):
        set_metadata(own, labels=labels)
    assert own.metadata == METADATA


def test_two_inputs_have_no_one_preprocessing():
    a, b = keras.Input((4,)), keras.Input((4,))
    with pytest.raises(ValueError, match="one input and one output"):
        set_metadata(keras.Model([a, b], layers.Add()([a, b])), labels="digits")
