"""A model that knows the names of its classes is trained on classes of these names, in any order."""
import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import reskeras
from reskeras import cli
from reskeras.train.sources import from_arrays, open_source
from reskeras.train.tfrecord import write_records

LEVELS = {"cat": (255, 0, 0), "dog": (0, 255, 0), "owl": (0, 0, 255)}
OPTIONS = dict(batch_size=6, epochs=1, size=8, test_size=8, augmentation="resize(8)", learning_rate=0.0,
               head_epochs=0, weight_decay=0.0, verbose=0)


def make_folder(folder, names=tuple(LEVELS), colors=LEVELS):
    for name in names:
        (folder / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (8, 8), colors.get(name, (9, 9, 9))).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Red cats, green dogs, blue owls."""
    return make_folder(tmp_path_factory.mktemp("data") / "photos")


def make_model(names):
    """A model that says which color an image has, by the names."""
    image = keras.Input((8, 8, 3))
    scores = layers.Dense(len(names), activation="softmax", name="predictions")(
        layers.GlobalAveragePooling2D()(image))
    model = keras.Model(image, scores, name="colors")
    kernel = np.array([LEVELS.get(name.lower(), (0, 0, 0)) for name in names], "float32").T / 25
    model.set_weights([kernel, np.zeros(len(names), "float32")])
    return reskeras.set_metadata(model, reskeras.Preprocessing((8, 8), "raw", crop_pct=1.0), names)


@pytest.mark.parametrize("names, kind", [(("owl", "cat", "dog"), "model"), (("Owl", "DOG", "cat"), "file")])
def test_the_same_classes_in_another_order(photos, tmp_path, names, kind):
    """The model keeps its scores and their names; it was right before, and training says so."""
    model = given = make_model(names)
    before = [weight.copy() for weight in model.get_weights()]
    if kind == "file":
        given = str(tmp_path / "colors.keras")
        model.save(given)
    data = f"folder:{photos}"
    history = reskeras.fit(given, data, validation_data=data, **OPTIONS)
    assert history.history["accuracy"] == history.history["val_accuracy"] == [1.0]
    assert reskeras.get_metadata(history.model).labels == names
    for old, new in zip(before, history.model.get_weights()):
        np.testing.assert_array_equal(old, new)
    assert reskeras.evaluate(history.model, data).top1 == 100


class Stop(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise RuntimeError("enough")


def test_a_resumed_run_reads_the_labels_in_the_same_order(photos, tmp_path):
    """It learns from nothing; what it has learned belongs to the right names, before and after the stop."""
    model, data = make_model(("owl", "cat", "dog")), f"folder:{photos}"
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    model.save(tmp_path / "start.keras")
    with pytest.raises(RuntimeError, match="enough"):
        reskeras.fit(str(tmp_path / "start.keras"), data, output=tmp_path / "run", callbacks=[Stop()],
                     **{**OPTIONS, "learning_rate": 0.01, "epochs": 2})
    history = reskeras.fit(resume=tmp_path / "run", verbose=0)
    assert history.history["accuracy"][-1] == 1 and reskeras.evaluate(history.model, data).top1 == 100
    assert reskeras.get_metadata(history.model).labels == ("owl", "cat", "dog")


def test_streams_and_data_without_names(tmp_path):
    """Records have names in labels.txt; arrays have none, so their numbers are those of the scores."""
    pixels = np.repeat(np.array(list(LEVELS.values()), "uint8"), 4, 0)[:, None, None] * np.ones((1, 8, 8, 1),
                                                                                              "uint8")
    labels = np.repeat(np.arange(3), 4)
    write_records(from_arrays("colors", pixels, labels, tuple(LEVELS)), tmp_path / "r", shards=2)
    model = make_model(("owl", "cat", "dog"))
    for data in (f"tfrecord:{tmp_path / 'r'}/train-*", (pixels, (labels + 1) % 3)):
        history = reskeras.fit(model, data, validation_data=data, **OPTIONS)
        assert history.history["accuracy"] == history.history["val_accuracy"] == [1.0]
        assert reskeras.get_metadata(history.model).labels == ("owl", "cat", "dog")


def test_other_classes_of_the_same_number(photos, tmp_path, capsys):
    """A model is refused; a file gets a new classifier, as it does for another number of classes."""
    model, data = make_model(("hen", "fox", "elk")), f"folder:{photos}"
    with pytest.raises(ValueError, match="colors has the classes hen, fox, elk, but folder:.* has cat, dog, "
                                         "owl; .*set_metadata") as error:
        reskeras.fit(model, data, **OPTIONS)
    assert len(str(error.value).splitlines()) == 1
    assert reskeras.get_metadata(model).labels == ("hen", "fox", "elk")
    file = str(tmp_path / "colors.keras")
    model.save(file)
    with pytest.warns(UserWarning, match="its classifier starts at random"):
        history = reskeras.fit(file, data, **OPTIONS)
    assert reskeras.get_metadata(history.model).labels == ("cat", "dog", "owl")
    assert not np.allclose(history.model.get_weights()[0], model.get_weights()[0])
    with pytest.raises(ValueError, match="has the classes hen"):     # a recipe that does not fine-tune
        reskeras.fit(file, data, "cifar_he", augmentation="resize(8)", size=8, test_size=8)
    assert cli.main(["train", file, "--data", data, "--recipe", "cifar_he", "--augmentation", "resize(8)",
                     "--size", "8", "--output", str(tmp_path / "run")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1

    # the way that the message names
    reskeras.set_metadata(model, labels=["cat", "dog", "owl"])
    assert reskeras.get_metadata(reskeras.fit(model, data, **OPTIONS).model).labels == ("cat", "dog", "owl")


def test_some_of_the_classes(photos, tmp_path):
    """A number of classes that is not the model's: a model is refused, a file gets a new classifier."""
    part = make_folder(tmp_path / "part", ("dog", "owl"))
    model, data = make_model(("owl", "cat", "dog")), f"folder:{part}"
    with pytest.raises(ValueError, match="colors has 3 classes, but folder:.* has 2"):
        reskeras.fit(model, data, **OPTIONS)
    model.save(tmp_path / "colors.keras")
    history = reskeras.fit(str(tmp_path / "colors.keras"), data, **OPTIONS)
    assert history.model.output_shape == (None, 2)
    assert reskeras.get_metadata(history.model).labels == ("dog", "owl")


def test_two_folders_for_one_class(tmp_path):
    """Names that differ by capitals alone are no names of two classes."""
    data = make_folder(tmp_path / "data", ("cat", "Cat", "dog"))
    with pytest.raises(ValueError, match="has the classes cat, dog, owl, but"):
        reskeras.fit(make_model(("cat", "dog", "owl")), f"folder:{data}", **OPTIONS)


def test_a_published_checkpoint_for_other_classes(tmp_path):
    """As many classes as the checkpoint has, one of them with another name."""
    names = ["zero", *map(str, range(1, 10))]
    options = {name: value for name, value in OPTIONS.items() if name not in ("size", "test_size")}
    folder = make_folder(tmp_path / "digits", names)
    with pytest.warns(UserWarning, match="starts at random"):
        history = reskeras.fit("cifar_resnet20.digits", f"folder:{folder}",
                               **{**options, "augmentation": "resize(16)", "batch_size": 20})
    assert reskeras.get_metadata(history.model).labels == tuple(sorted(names))


def test_renumbered_sources(photos):
    source = open_source(f"folder:{photos}")
    order = np.array([2, 0, 1])
    new = source.renumber_classes(order)
    assert new.classes == ("dog", "owl", "cat") and list(new.labels[:4]) == [2] * 4
    assert [new.classes[label] for label in new.labels] == [source.classes[label] for label in source.labels]
    assert source.renumber_classes(np.arange(3)) is source
