"""A net remembers its weights' name, preprocessing and class names, and forgets them where it became another net."""
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
from reskeras.model_metadata import Memory, Net, class_names, recalled, remember
from reskeras.images.labels import decode_predictions
from reskeras.images.get_preprocessing import preprocess, preprocess_input
from reskeras.weights.table import get_weights

ROW = "cifar_resnet20.cifar10"
MEMORY = Memory.of_row(get_weights(ROW))


def functional():
    image = keras.Input((32, 32, 3), name="image")
    x = layers.BatchNormalization(name="bn")(layers.Conv2D(4, 3, name="conv")(image))
    return image, layers.Dense(10, "softmax", name="predictions")(layers.GlobalAveragePooling2D(name="pool")(x))


def net(memory=MEMORY):
    return Net(*functional(), name="net", memory=memory)


def test_it_is_a_plain_functional_model():
    plain, own = keras.Model(*functional(), name="net"), net(memory=None)
    assert isinstance(own, type(plain)) and isinstance(own, keras.Model) and own.memory is None
    assert own.get_config() == plain.get_config()
    own.set_weights(plain.get_weights())
    x = np.random.default_rng(0).random((2, 32, 32, 3), "float32")
    np.testing.assert_array_equal(own(x), plain(x))
    assert [v.path for v in own.variables] == [v.path for v in plain.variables]


def test_through_fit_and_config():
    own = net()
    own.compile("sgd", "sparse_categorical_crossentropy")
    own.fit(np.zeros((4, 32, 32, 3)), np.zeros(4), verbose=0)
    assert own.memory == MEMORY
    for other in (Net.from_config(own.get_config()), keras.models.model_from_json(own.to_json()), copy.deepcopy(own),
                  copy.copy(own), pickle.loads(pickle.dumps(own))):
        assert type(other) is Net and other.memory == MEMORY
        assert preprocess(other) == preprocess(ROW)
        assert decode_predictions(np.eye(10)[[3]], 1, other) == [[("3", "cat", 1.0)]]


IN_A_FRESH_PROCESS = """
import sys
net = keras.saving.load_model(sys.argv[1])
memory = getattr(net, "memory", None)
print(type(net).__name__, memory and (memory.weights, memory.labels, memory.preprocessing.mean))
"""


@pytest.mark.parametrize("imports, remembers", [("import reskeras.model_metadata, keras", True), ("import keras, reskeras.model_metadata", True),
                                                ("import keras", False)])
def test_in_a_fresh_process(imports, remembers, tmp_path):
    """Keras alone opens the file too: then it is a functional model without memory."""
    net().save(tmp_path / "net.keras")
    root = str(pathlib.Path(reskeras.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", imports + IN_A_FRESH_PROCESS, tmp_path / "net.keras"], text=True,
                          capture_output=True, env={**os.environ, "PYTHONPATH": root})
    assert done.returncode == 0, done.stderr[-2000:]
    known = (ROW, "cifar10", MEMORY.preprocessing.mean)
    assert done.stdout == f"Functional {known if remembers else None}\n"


def test_another_net_of_its_layers_is_not_it():
    own = net()
    for other in (keras.Model(own.input, own.output), keras.Model(own.input, own.get_layer("pool").output),
                  keras.models.clone_model(own)):
        assert getattr(other, "memory", None) is None
        with pytest.raises(ValueError, match="remembers no preprocessing"):
            preprocess(other)


def test_through_optimize():
    """Same function, same input, same classes: same memory."""
    own = net()
    assert Graph.of(own).build().memory == MEMORY
    assert type(Graph.of(net(None)).build()) is type(keras.Model(own.input, own.output))
    fast, certificate = reskeras.optimize(own)
    assert fast.memory == MEMORY and certificate.after.layers < certificate.before.layers


def test_the_shape_of_what_it_remembers():
    row = get_weights("resnet50v1_5.a1_in1k")
    whole, inside = Memory.of_row(row), Memory.of_row(row, inside=True, labels=False)
    assert whole.weights == row.name and whole.labels == "imagenet-1k" and inside.labels == ()
    assert inside.preprocessing.pixels == "raw" and inside.preprocessing.size == (224, 224)
    for memory in (whole, inside, Memory(), Memory(labels=("a", "b"))):
        assert Memory.from_config(memory.get_config()) == memory
    assert Memory.from_config({"weights": "x", "later": 1}) == Memory("x")


def test_remember(tmp_path, monkeypatch):
    own = net(memory=None)
    assert remember(own, preprocess=ROW) is own and own.memory.preprocessing == preprocess(ROW) and not own.memory.labels
    remember(own, labels="cifar10")
    assert own.memory.preprocessing == preprocess(ROW) and class_names(own)[3] == "cat"
    (tmp_path / "names.txt").write_text("\n".join(map(str, range(10))))
    (tmp_path / "cifar10").write_text("a set's name is the set, whatever lies about")
    monkeypatch.chdir(tmp_path)
    assert recalled(own, labels="names.txt").labels == tuple(map(str, range(10)))
    assert recalled(own, labels="cifar10").labels == "cifar10"
    remember(own, labels=[f"kind {i}" for i in range(10)])
    assert class_names(own)[9] == "kind 9"
    plain = keras.Model(own.input, own.output, name="plain")
    new = remember(plain, preprocess=own, labels="digits")
    assert type(new) is Net and new.name == "plain" and new.layers == plain.layers and new.memory.labels == "digits"
    assert new.memory.preprocessing == own.memory.preprocessing and own.memory.labels[0] == "kind 0"
    assert class_names(plain) == () == class_names(net(memory=None))


def scaled():
    """A net of the row with its preprocessing inside."""
    image = keras.Input((32, 32, 3))
    x = layers.Rescaling(1 / 255, name="preprocessing")(image)
    x = layers.Dense(10, name="predictions")(layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(x)))
    return Net(image, x, name="scaled", memory=Memory.of_row(get_weights(ROW), inside=True))


def sequential(parts):
    return keras.Sequential([keras.Input((32, 32, 3)), *parts])


def test_a_model_around_a_net_knows_what_it_does():
    own = MEMORY.preprocessing
    for model in (sequential([net()]), sequential([layers.RandomFlip(), net(), layers.Softmax()])):
        memory = recalled(model)
        assert memory == MEMORY and class_names(model)[3] == "cat" and preprocess(model) == own
        assert decode_predictions(np.eye(10)[[3]], 1, model) == [[("3", "cat", 1.0)]]
    tuned = recalled(sequential([net(), layers.Dense(10)]))       # ten classes of another kind
    assert tuned == replace(MEMORY, labels=()) and class_names(sequential([net(), layers.Dense(10)])) == ()
    image = keras.Input((32, 32, 3))
    by_hand = keras.Model(image, net()(preprocess_input(image, ROW)))
    for model in (scaled(), sequential([scaled()]), sequential([sequential([scaled()])]),
                  sequential([*own.layers(), net()]), by_hand,
                  sequential([sequential([layers.RandomFlip(), layers.Rescaling(1 / 255)]), net()])):
        assert recalled(model).scales and recalled(model).preprocessing == own.raw()
        assert recalled(model, preprocess=ROW).preprocessing == own.raw()       # not twice
        assert remember(model, preprocess=ROW).memory.preprocessing == own.raw()


@pytest.mark.parametrize("before", [layers.Lambda(lambda x: x / 255), layers.Conv2D(3, 1), layers.ReLU()])
def test_what_comes_between_is_not_guessed(before):
    model = keras.Sequential([keras.Input((32, 32, 3)), before, net()])
    assert recalled(model) == Memory()
    with pytest.raises(ValueError, match="remembers no preprocessing"):
        preprocess(model)
    assert recalled(model, preprocess=ROW).preprocessing == MEMORY.preprocessing


def test_a_net_that_scales_inside_tells_another_by_its_weights():
    assert recalled(net(None), preprocess=scaled()).preprocessing == MEMORY.preprocessing
    assert recalled(scaled(), preprocess=scaled()).preprocessing == MEMORY.preprocessing.raw()
    unknown = scaled()
    unknown.memory = replace(unknown.memory, weights="")
    with pytest.raises(ValueError, match="scaled: it scales its pixels inside and does not say how; give the weights row"):
        recalled(net(None), preprocess=unknown)


@pytest.mark.parametrize("labels, message", [(["cat", "dog"], "2 names, the net has 10"), ("cifar100", "100 names"),
                                             ("cifar11", "do not come with the package")])
def test_wrong_labels_are_refused(labels, message):
    own = net()
    with pytest.raises(ValueError, match=message):
        remember(own, labels=labels)
    assert own.memory == MEMORY


def test_two_inputs_have_no_one_preprocessing():
    a, b = keras.Input((4,)), keras.Input((4,))
    with pytest.raises(ValueError, match="one input and one output"):
        remember(keras.Model([a, b], layers.Add()([a, b])), labels="digits")
