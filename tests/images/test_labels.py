"""decode_predictions: as keras.applications, with every label set; no guess where several fit."""
import sys

import keras
import numpy as np
import pytest

from reskeras.inputs_outputs import decode_predictions
from reskeras.model_metadata import ModelMetadata
from reskeras.model_with_metadata import ModelWithMetadata
from reskeras.images.labels import get_label_set, list_label_sets
from reskeras.weights.table import get_weights, list_checkpoints

SIZES = {
    "imagenet-1k": 1000,
    "imagenet-12k": 11821,
    "imagenet-21k": 21843,
    "cifar10": 10,
    "cifar100": 100,
    "digits": 10,
}


def test_the_bundled_sets():
    assert set(list_label_sets()) == set(SIZES)
    for name, size in SIZES.items():
        classes = get_label_set(name)
        assert len(classes) == len({i for i, _ in classes}) == size and all(
            n and n == n.strip() for _, n in classes
        )
    imagenet = get_label_set("imagenet-1k")
    synsets = [i for i, _ in imagenet]
    assert all(len(i) == 9 and i[0] == "n" for i in synsets) and synsets == sorted(synsets)
    # Keras' spelling
    assert [imagenet[i] for i in (0, 15, 285, 386, 985, 999)] == [
        ("n01440764", "tench"),
        ("n01558993", "robin"),
        ("n02124075", "Egyptian_cat"),
        ("n02504458", "African_elephant"),
        ("n11939491", "daisy"),
        ("n15075141", "toilet_tissue"),
    ]
    assert get_label_set("cifar10")[3] == ("3", "cat") and get_label_set("cifar100")[99] == ("99", "worm")


def test_the_large_sets():
    """12k's classes are 21k's in the same order; both hold the 1k's, except a few."""
    small, middle, large = (get_label_set(f"imagenet-{n}") for n in ("1k", "12k", "21k"))
    within = set(middle)
    assert [c for c in large if c in within] == list(middle)
    assert len(set(small) & within) == 993 and len(set(small) & set(large)) == 999
    assert large[0] == ("n00004475", "organism") and [s for s, _ in large] == sorted(s for s, _ in large)
    for classes, place in ((large, large.index(("n01443537", "goldfish"))), (middle, 0)):
        scores = np.zeros((1, len(classes)))
        scores[0, place] = 1
        assert decode_predictions(scores, 1) == [[(*classes[place], 1.0)]]      # the number says which
    sets = {w.labels for w in list_checkpoints()} - {""}
    assert sets <= set(list_label_sets()) and all(
        len(get_label_set(w.labels)) == w.classes for w in list_checkpoints() if w.labels
    )


def test_cifar_names_are_keras():
    """The order of keras.datasets' labels, whose names the archives have."""
    assert [n for _, n in get_label_set("cifar10")] == (
        "airplane automobile bird cat deer dog frog horse ship truck".split())
    assert [n for _, n in get_label_set("cifar100")] == sorted(n for _, n in get_label_set("cifar100"))


def test_as_keras_applications():
    import keras
    imagenet_utils = sys.modules[keras.applications.imagenet_utils.decode_predictions.__module__]
    scores = np.random.default_rng(0).random((3, 1000), "float32")
    before = imagenet_utils.CLASS_INDEX
    # it would be downloaded
    imagenet_utils.CLASS_INDEX = {str(i): list(c) for i, c in enumerate(get_label_set("imagenet-1k"))}
    try:
        expected = keras.applications.imagenet_utils.decode_predictions(scores, top=7)
    finally:
        imagenet_utils.CLASS_INDEX = before
    assert decode_predictions(scores, top=7) == expected
    assert len(decode_predictions(scores)[0]) == 5 and isinstance(decode_predictions(scores)[0][0][2], float)


def test_ties_top_and_background():
    assert decode_predictions([[1, 3, 3]], labels=["a", "b", "c"], top=9) == [
        [("1", "b", 3.0), ("2", "c", 3.0), ("0", "a", 1.0)]]
    scores = np.eye(1001)[[0, 1]]
    assert [sample[0][1] for sample in decode_predictions(scores)] == ["background", "tench"]


def model_with_labels(labels):
    image = keras.Input((10,))
    return ModelWithMetadata(
        image, keras.layers.Softmax()(image), name="net", metadata=ModelMetadata(labels=labels)
    )


def test_whose_labels():
    scores = np.eye(10)[[3]]
    found = {
        labels: decode_predictions(scores, top=1, labels=labels)[0][0][1] for labels in ("cifar10", "digits")
    }
    assert found == {"cifar10": "cat", "digits": "3"}
    assert decode_predictions(scores, 1, get_weights("cifar_resnet20.digits")) == [[("3", "3", 1.0)]]
    assert decode_predictions(scores, 1, model_with_labels("cifar10")) == [[("3", "cat", 1.0)]]
    assert decode_predictions(scores, 1, model_with_labels(tuple("abcdefghij"))) == [[("3", "d", 1.0)]]


@pytest.mark.parametrize(
    "scores, options, message",
    [
        (np.zeros(1000), {}, r"\(samples, classes\).*; for one sample give preds\[None\]"),
        (np.zeros((1, 7, 7, 1000)), {}, r"shape \(1, 7, 7, 1000\)"),
        (np.zeros((1, 0)), {}, "shape"),
        (np.zeros((1, 10)), {}, "what the 10 classes are called.*'cifar10'.*'digits'"),
        (np.zeros((1, 100)), {}, "what the 100 classes are called.*'cifar100'"),
        (np.zeros((1, 7)), {}, "the 7 names in order, or a model that knows them"),
        (
            np.zeros((1, 10)),
            dict(labels="cifar100"),
            "labels='cifar100': expected one name for each of the 10 classes, not 100",
        ),
        (np.zeros((1, 10)), dict(labels=["cat", "dog"]), "for each of the 10 classes, not 2"),
        (np.zeros((1, 10)), dict(labels="imagenet-22k"), "do not come with the package"),
        (np.zeros((1, 10)), dict(labels=model_with_labels(())), "net does not know the names of its classes"),
        (np.zeros((1, 10)), dict(labels=object()), "does not know the names of its classes"),
        (np.zeros((1, 1000)), dict(top=0), "top=0"),
    ],
)
def test_clear_errors(scores, options, message):
    with pytest.raises(ValueError, match=message):
        decode_predictions(scores, **options)


@pytest.mark.parametrize("dtype, scores", [("uint8", [0, 200, 10]), ("int8", [-128, 100, 10])])
def test_the_integers_of_a_quantized_net(dtype, scores):
    assert decode_predictions(np.array([scores], dtype), top=1, labels=("a", "b", "c"))[0][0][-1] == max(
        scores
    )
