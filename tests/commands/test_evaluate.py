"""`reskeras.commands.evaluate`: accuracies that are counted elsewhere too, classes by name, crops, what
cannot be read.
"""
import json
import pathlib

import keras
import numpy as np
import pytest
from keras import layers

import reskeras
from reskeras import cli
from reskeras.model_metadata import ModelMetadata
from reskeras.model_with_metadata import ModelWithMetadata
from reskeras.commands.evaluate import map_classes, evaluate, get_published_accuracy
from reskeras.commands.html import encode_png
from reskeras.train.source import DataSource
from reskeras.train.sources import from_arrays
from reskeras.images.labels import get_label_set
from reskeras.inputs_outputs import get_preprocessing
from reskeras.images.preprocessing import Preprocessing
from reskeras.weights.table import get_weights

SAVED_MODELS = pathlib.Path(__file__).parents[2] / "saved_models"
NET = "cifar_resnet20.digits"
GREY = Preprocessing((16, 16), "torch", (0.0,), (1.0,), "bilinear", 0.8)


@pytest.fixture(scope="module")
def digits():
    pytest.importorskip("sklearn")
    from reskeras.commands.digits import load_digits
    return load_digits()[2]


@pytest.fixture(scope="module")
def expected(digits):
    scores = reskeras.create(NET).predict(digits.images, verbose=0)
    order = np.argsort(-scores, 1)
    return 100 * np.mean(order[:, 0] == digits.labels), 100 * np.mean(
        (order[:, :5] == digits.labels[:, None]).any(1))


@pytest.mark.parametrize("batch_size", [32, 100, 1000])
def test_digits(digits, expected, batch_size):
    result = evaluate(NET, "digits", batch_size=batch_size)
    assert (result.top1, result.top5) == pytest.approx(expected) and result.images == len(digits) == 364
    assert result.images_per_s > 0 and result.size == (16, 16)
    assert result.skipped == [] and result.published is None
    assert evaluate(reskeras.create(NET), (digits.pixels, digits.labels)).top1 == result.top1


def test_a_file_of_one_image_at_a_time(digits, expected):
    pytest.importorskip("ai_edge_litert")
    some = (digits.pixels[:40], digits.labels[:40])
    files = sorted(SAVED_MODELS.glob(f"{NET}*.tflite"))
    assert files
    for file in files:
        assert evaluate(file, some, preprocessing=NET, labels="digits").top1 == evaluate(NET, some).top1


@pytest.mark.parametrize("depth, error", [(32, 7.2), pytest.param(44, 6.7, marks=pytest.mark.slow)])
def test_akamaster(depth, error, external_file):
    net = reskeras.create(f"akamaster/resnet{depth}",
                          weights=external_file(f"akamaster_resnet{depth}.safetensors"))
    result = evaluate(net, f"npz:{external_file('cifar10_test_first1000.npz')}",
                     preprocessing=f"cifar_resnet{depth}.cifar10", labels="cifar10",
                     batch_size=128)
    assert result.images == 1000 and round(100 - result.top1, 1) == error and result.top5 > 98


@pytest.fixture
def folder(tmp_path, digits):
    for c in range(10):
        (tmp_path / str(c)).mkdir()
    for i in range(60):
        (tmp_path / str(digits.labels[i]) / f"{i}.png").write_bytes(encode_png(digits.pixels[i]))
    return tmp_path


def test_folder(folder, digits, capsys):
    result = evaluate(NET, f"folder:{folder}")
    assert result.images == 60 and result.top1 == evaluate(NET, (digits.pixels[:60], digits.labels[:60])).top1
    assert cli.main(["evaluate", NET, "--data", f"folder:{folder}", "--batch-size", "7", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["top1"] == result.top1 and printed["images"] == 60 and printed["model"] == NET
    assert cli.main(["evaluate", NET, "--data", f"folder:{folder}"]) == 0
    assert f"top-1 {result.top1:.2f} %" in capsys.readouterr().out


def test_what_cannot_be_read_is_named(folder):
    bad = folder / "3" / "bad.png"
    bad.write_bytes(b"no image")
    result = evaluate(NET, f"folder:{folder}")
    assert result.images == 60 and result.skipped == [str(bad)] and str(bad) in str(result)
    with pytest.raises(ValueError, match="max_unreadable=0: .*cannot be read: .*bad.png"):
        evaluate(NET, f"folder:{folder}", max_unreadable=0)


def test_a_class_that_the_net_lacks_is_refused(folder, capsys):
    (folder / "eleven").mkdir()
    (folder / "eleven" / "a.png").write_bytes(b"")
    assert cli.main(["evaluate", NET, "--data", f"folder:{folder}"]) == 2
    assert "the net does not have 1 of its 11 classes, such as 'eleven'" in capsys.readouterr().err


def named(*classes):
    return DataSource("photos", classes=classes)


def test_classes_by_wordnet_id_and_name():
    metadata = ModelMetadata(labels="imagenet-1k")
    names = get_label_set("imagenet-1k")
    source = named("n01440764", "Great_white_shark", names[9][1])
    assert list(map_classes(source, metadata, 1000)) == [0, 2, 9]
    # one for the background
    assert list(map_classes(named("n01440764", "n01443537"), metadata, 1001)) == [1, 2]
    assert list(map_classes(named(), metadata, 1001)) == list(range(1, 1001))
    with pytest.raises(ValueError, match="did you mean 'tench'"):
        map_classes(named("tensh", "goldfish"), metadata, 1000)
    twice = [name for _, name in names if [n for _, n in names].count(name) > 1]
    if twice:
        with pytest.raises(ValueError, match="use WordNet ids"):
            map_classes(named(twice[0]), metadata, 1000)
    with pytest.raises(ValueError, match="give `labels`"):
        map_classes(named("cat"), ModelMetadata(), 3)


def test_a_class_beyond_the_net_is_an_error(digits):
    with pytest.raises(ValueError, match=r"label 10 is not one of 0 \.\.\. 9"):
        evaluate(NET, (digits.pixels[:2], [0, 10]))


def centred():
    """A net of which each pixel moves the scores, so that they differ by crop."""
    image = keras.Input((16, 16, 1))
    net = ModelWithMetadata(image, layers.Dense(7, name="predictions")(layers.Flatten()(image)),
                            name="corners",
              metadata=ModelMetadata(preprocessing=GREY, labels=tuple("abcdefg")))
    net.set_weights([np.random.default_rng(0).normal(size=w.shape) for w in net.weights])
    return net


def test_ten_crops():
    """As by hand: the image resized to 20 pixels, ten views of 16, the mean of the softmax."""
    net = centred()
    x = np.random.default_rng(1).integers(0, 256, (30, 20, 20, 1)).astype("uint8")
    views = [v for i, j in ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2)) for v in (x[:, i:i + 16, j:j + 16],)]
    views += [v[:, :, ::-1] for v in views]
    mean = sum(keras.ops.softmax(net.predict(v.astype("float32") / 255, verbose=0)) for v in views)
    y = np.argmax(mean, 1)
    result = evaluate(net, (x, y), crops=10, batch_size=8)
    assert result.top1 == 100 and result.crops == 10 and result.top5 is not None
    single = evaluate(net, (x, y))
    assert single.top1 == pytest.approx(100 * np.mean(net.predict(x[:, 2:18, 2:18] / 255.,
                                                                  verbose=0).argmax(1) == y))
    assert single.top1 < 100
    with pytest.raises(ValueError, match="nothing to crop"):
        evaluate(NET, (x, y), crops=10)
    with pytest.raises(ValueError, match="expected 1 or 10"):
        evaluate(net, (x, y), crops=5)


def test_scales():
    """As by hand: the square at each scale, the mean of the softmax; alone, a scale is a single crop of that
    size.
    """
    image = keras.Input((None, None, 1))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="relu")(image))
    net = ModelWithMetadata(image, layers.Dense(7, name="predictions")(x),
                            metadata=ModelMetadata(preprocessing=GREY, labels=tuple("abcdefg")))
    net.set_weights([np.random.default_rng(0).normal(size=w.shape) for w in net.weights])
    x = np.random.default_rng(1).integers(0, 256, (30, 20, 24, 1)).astype("uint8")
    seen = [Preprocessing((s, s), "torch", (0.0,), (1.0,), "bilinear", 1.0)(x) for s in (20, 28, 40)]
    # else one class wins all
    net.layers[-1].bias.assign_sub(np.mean([net.predict(v, verbose=0).mean(0) for v in seen], 0))
    by_scale = [keras.ops.softmax(net.predict(v, verbose=0)) for v in seen]
    y = np.argmax(sum(by_scale), 1)
    result = evaluate(net, (x, y), scales=(20, 28, 40), batch_size=8)
    assert result.top1 == 100 and result.scales == (20, 28, 40) and "20, 28, 40 pixels" in str(result)
    alone = [evaluate(net, (x, y), scales=[s]).top1 for s in (20, 28, 40)]
    assert alone == [pytest.approx(100 * np.mean(np.argmax(one, 1) == y))
                     for one in by_scale] and min(alone) < 100
    with pytest.raises(ValueError, match="crops=10: expected 1 if scales are given"):
        evaluate(net, (x, y), scales=[20], crops=10)
    with pytest.raises(ValueError, match=r"takes images of \(16, 16\) pixels only"):
        evaluate(centred(), (x, y), scales=[20])
    assert evaluate(NET, "digits", scales=(16, 20)).top1 > 95        # by name it is built for any size


def test_the_published_figure_is_the_row_s():
    row = get_weights("resnet50v1_5.a1_in1k")
    result = get_published_accuracy(ModelMetadata.from_checkpoint(row))
    assert result == {"name": row.name, "top1": row.top1, "top5": row.top5, "size": row.top1_size,
                     "labels": "imagenet-1k"}
    assert get_published_accuracy(ModelMetadata()) is None
    assert get_published_accuracy(ModelMetadata.from_checkpoint(get_weights(NET))) is None


def test_a_net_that_says_nothing_is_refused(digits):
    image = keras.Input((8, 8, 1))
    silent = keras.Model(image, layers.Dense(10)(layers.Flatten()(image)))
    with pytest.raises(ValueError, match="does not say how its images are prepared"):
        evaluate(silent, "digits")
    named = from_arrays("named", digits.pixels, digits.labels, tuple("abcdefghijk"))
    with pytest.raises(ValueError, match="give `labels`"):
        evaluate(silent, named, preprocessing=get_preprocessing(NET))
    # ten classes without names are the ten of the data
    assert evaluate(silent, "digits", preprocessing=get_preprocessing(NET)).images == 364
