"""`evaluate` finds the classes of the data by their names; the number of a class is not its name."""
import json

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import reskeras
from reskeras import cli
from reskeras.commands.evaluate import evaluate
from reskeras.images.preprocessing import Preprocessing

RAW = Preprocessing((32, 32), "raw", crop_pct=1.0)
PER_CLASS = 2


def write_folders(top, names):
    """Writes gray images: those of the class `names[c]` have a brightness of 20 c ... 20 c + 19."""
    for c, name in enumerate(names):
        (top / name).mkdir(parents=True)
        for j in range(PER_CLASS):
            Image.fromarray(np.full((32, 32, 3), 20 * c + j, "uint8")).save(top / name / f"{j}.png")
    return f"folder:{top}"


def make_oracle(outputs):
    """A net that is always right: for an image of class c the score of the index `outputs[c]` is 1."""
    table = np.zeros((256, len(outputs)), "float32")
    for c, index in enumerate(outputs):
        table[20 * c:20 * c + 20, index] = 1
    image = keras.Input((32, 32, 3))
    mean = layers.GlobalAveragePooling2D()(image)
    gray = layers.Lambda(lambda x: keras.ops.cast(keras.ops.round(x[:, 0]), "int32"), output_shape=())(mean)
    scores = layers.Embedding(256, len(outputs), name="table")
    model = keras.Model(image, scores(gray), name="oracle")
    scores.set_weights([table])
    return model


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """Folders 0 ... 11, the classes as Keras sorts them, and a net whose scores are in that order."""
    top = tmp_path_factory.mktemp("numbered") / "data"
    data = write_folders(top, [str(c) for c in range(12)])
    keras_data = keras.utils.image_dataset_from_directory(str(top), image_size=(32, 32), shuffle=False,
                                                          verbose=False)
    names = keras_data.class_names
    assert names[:3] == ["0", "1", "10"]
    model = make_oracle([names.index(str(c)) for c in range(12)])
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    assert model.evaluate(keras_data, verbose=0)[1] == 1
    return data, model, names


def test_without_names_the_order_of_the_folders_counts_and_is_said_once(numbered):
    data, model, names = numbered
    result = evaluate(model, data, preprocessing=RAW)
    assert result.top1 == 100 and result.images == 12 * PER_CLASS
    assert result.assumed_classes == tuple(names)
    assert str(result).count("they were taken to be, in order: 0, 1, 10, 11, 2, 3, ") == 1


def test_names_that_are_numbers_are_names(numbered):
    data, model, names = numbered
    result = evaluate(model, data, preprocessing=RAW, labels=names)
    assert result.top1 == 100 and not result.assumed_classes and "taken to be" not in str(result)
    assert evaluate(model, data, preprocessing=RAW, labels=names[::-1]).top1 < 20


def test_a_number_is_no_name_of_a_class_that_has_one(numbered):
    data, model, names = numbered
    with pytest.raises(ValueError, match=r"does not have 12 of its 12 classes, such as '0'; the net's "
                                         r"classes are called a0, a1, a10, \.\.\.; .*as `labels`"):
        evaluate(model, data, preprocessing=RAW, labels=["a" + name for name in names])


def test_without_names_another_number_of_classes_is_an_error(numbered, tmp_path):
    _, model, _ = numbered
    with pytest.raises(ValueError, match="its 12 classes are called, and the data have 3: give `labels`"):
        evaluate(model, write_folders(tmp_path / "3", ["0", "1", "2"]), preprocessing=RAW)


def test_the_folder_of_a_training_is_evaluated(tmp_path, capsys):
    data = write_folders(tmp_path / "three", ["1", "2", "3"])
    trained = reskeras.fit("cifar_resnet20", data, "CIFAR_HE", verbose=0, steps=2, batch_size=6,
                           model_overrides={"depths": (1, 1, 1)})
    assert trained.model.metadata.labels == ("1", "2", "3")
    assert evaluate(trained.model, data).images == 3 * PER_CLASS
    trained.model.save(tmp_path / "net.keras")
    assert cli.main(["evaluate", str(tmp_path / "net.keras"), "--data", data, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["assumed_classes"] == []


def test_the_same_spelling_comes_before_a_similar_one(tmp_path):
    names = ["Cat", "cat", "a b", "a_b"]
    data = write_folders(tmp_path / "data", names)
    assert evaluate(make_oracle(range(4)), data, preprocessing=RAW, labels=names).top1 == 100


def test_two_classes_of_one_name(tmp_path):
    data = write_folders(tmp_path / "data", ["cat", "dog"])
    with pytest.raises(ValueError, match="name of 2 of the net's classes; give each class its own name"):
        evaluate(make_oracle([0, 2, 1]), data, preprocessing=RAW, labels=["cat", "cat", "dog"])
