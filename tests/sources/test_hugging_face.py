"""Data sets of Hugging Face give the same batches and the same weights as arrays of the same images."""
import numpy as np
import pytest
from PIL import Image

import reskeras
from reskeras.cli import main
from reskeras.images.preprocessing import Preprocessing
from reskeras.train.data import ImageDataset
from reskeras.train.sources import open_source
from reskeras.train.training_data import split_source

datasets = pytest.importorskip("datasets")

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 12, 3), "uint8")
LABELS, NAMES = np.arange(12) % 3, ("cat", "dog", "owl")


def make(image="image", label="label", count=12):
    features = datasets.Features({image: datasets.Image(), label: datasets.ClassLabel(names=NAMES),
                                  "number": datasets.Value("int64")})
    columns = {image: [Image.fromarray(x) for x in IMAGES[:count]], label: LABELS[:count],
               "number": range(count)}
    return datasets.Dataset.from_dict(columns, features)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "animals"
    datasets.DatasetDict(train=make(), test=make(count=6)).save_to_disk(folder)
    return folder


@pytest.mark.parametrize("data", [make, lambda: make("img", "labels"), lambda: make("photo", "kind"),
                                  lambda: datasets.DatasetDict(train=make())])
def test_batches_are_those_of_arrays(data):
    """In the same order, in training too: the images are read by their numbers."""
    source = open_source(data())
    assert source.classes == NAMES and source.channels == 3
    for epoch in (0, 1):
        batches = [list(ImageDataset(each, 4, "resize((8, 12))|flip", seed=3).iterate_batches(epoch))
                   for each in (source, (IMAGES, LABELS))]
        for (x, y), (u, v) in zip(*batches, strict=True):
            np.testing.assert_array_equal(x, u)
            np.testing.assert_array_equal(y, v)


def test_weights_after_three_steps_in_the_shell(saved, tmp_path):
    options = dict(size=(8, 12), augmentation="resize((8, 12))|flip", batch_size=4, epochs=1,
                   learning_rate=0.1, schedule="constant")
    net = reskeras.CifarResNet20(weights=None, depths=(1,), widths=(16,), strides=(1,), classes=3,
                                 input_shape=(8, 12, 3))
    net.save(tmp_path / "net.keras")
    expected = reskeras.fit(tmp_path / "net.keras", (IMAGES, LABELS), "cifar_he", strategy="none", verbose=0,
                            deterministic=True, **options).model
    command = ["train", str(tmp_path / "net.keras"), "--recipe", "cifar_he", "--data", f"hf:{saved}",
               "--validation-data", f"hf:{saved}", "--output", str(tmp_path / "run"), "--strategy", "none",
               "--verbose", "0", "--deterministic"]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    assert main(command) == 0
    trained = reskeras.load(tmp_path / "run" / "last.keras")
    for own, other in zip(trained.get_weights(), expected.get_weights()):
        np.testing.assert_allclose(own, other, atol=1e-5)
    assert reskeras.get_metadata(trained).labels == NAMES
    evaluation = reskeras.evaluate(trained, f"hf:{saved}:test")
    assert evaluation.images == 6
    assert evaluation.top1 == reskeras.evaluate(trained, (IMAGES[:6], LABELS[:6])).top1


def test_lists_of_classes_and_weights_are_those_of_arrays():
    features = datasets.Features({"image": datasets.Image(), "weight": datasets.Value("float32"),
                                  "labels": datasets.Sequence(datasets.ClassLabel(names=NAMES))})
    lists, weights = [[0, 2], [], [1], [2, 1, 0]], np.array([1, 0.5, 2, 0], "float32")
    data = datasets.Dataset.from_dict({"image": [Image.fromarray(x) for x in IMAGES[:4]], "weight": weights,
                                       "labels": lists}, features)
    source = open_source(data)
    expected = [[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]]
    np.testing.assert_array_equal(source.labels, expected)
    np.testing.assert_array_equal(source.weights, weights)
    assert source.classes == NAMES
    options = dict(size=8, augmentation="resize(8)", batch_size=2, epochs=1, schedule="constant", verbose=0,
                   strategy="none", deterministic=True, task="multilabel", warmup=0,
                   model_overrides={"depths": (1,), "widths": (16,), "strides": (1,)})
    own, other = (reskeras.fit("cifar_resnet20", each, "cifar_he", **options).history["loss"]
                  for each in (data, (IMAGES[:4], np.array(expected), weights)))
    np.testing.assert_allclose(own, other, rtol=1e-5)
    with pytest.raises(ValueError, match="the weight -1 of image 3"):
        open_source(data.remove_columns("weight").add_column("weight", [1, 1, 1, -1]))
    without = {name: feature for name, feature in features.items() if name != "weight"}
    for labels in (None, [-1]):     # datasets takes both for a class that is not known
        unknown = datasets.Dataset.from_dict({"image": [Image.fromarray(IMAGES[0])], "labels": [labels]},
                                             datasets.Features(without))
        with pytest.raises(ValueError, match=r"the labels (None|\[-1\]) .*expected a list of classes"):
            open_source(unknown)


def test_arrays_are_taken_by_value():
    values = np.random.default_rng(1).normal(size=(6, 4, 4, 5)).astype("float32")
    features = datasets.Features({"image": datasets.Array3D((4, 4, 5), "float32"),
                                  "label": datasets.Value("int64")})
    data = datasets.Dataset.from_dict({"image": values, "label": [0, 1, 2, 0, 1, 2]}, features)
    assert open_source(data).value_channels == 5
    prepare = Preprocessing((4, 4), "values", (1,) * 5, (2,) * 5, crop_pct=1.0)
    own = np.concatenate([x for x, _ in ImageDataset(data, 4, prepare=prepare).iterate_batches()])
    np.testing.assert_allclose(own, (values - 1) / 2, atol=1e-6)


def test_validation_split_reads_the_other_images():
    prepare = Preprocessing((8, 12), crop_pct=1.0)
    parts = [split_source(open_source(data), 0.25, 0) for data in (make(), (IMAGES, LABELS))]
    for own, other in zip(*parts, strict=True):
        batches = [ImageDataset(part, 3, prepare=prepare).iterate_batches() for part in (own, other)]
        for (x, _), (u, _) in zip(*batches, strict=True):
            np.testing.assert_allclose(x, u, atol=1e-5)


def test_what_is_wrong_is_said(saved, capsys):
    with pytest.raises(ValueError, match="it has no split train, only test"):
        open_source(datasets.DatasetDict(test=make()))
    with pytest.raises(ValueError, match="expected a column image .*; it has number .*rename_column"):
        open_source(make().select_columns(["number"]))
    with pytest.raises(ValueError, match="a datasets.Dataset or .*without streaming=True"):
        open_source(make().to_iterable_dataset())
    assert main(["evaluate", "cifar_resnet20.digits", "--data", f"hf:{saved}:none"]) == 2
    assert "it has no split none, only train, test" in capsys.readouterr().err
