"""Classes of the data that are called by numbers: a number is the name of a class, not its place."""
import numpy as np
import pytest
from test_class_order import LEVELS, OPTIONS, make_folder, make_model

import reskeras
from reskeras.train.class_names import find_class_order
from reskeras.train.sources import from_arrays

COLORS = {str(i): color for i, color in enumerate(LEVELS.values())}


def test_numbers_in_another_order(tmp_path):
    data = f"folder:{make_folder(tmp_path / 'data', tuple(COLORS), COLORS)}"
    model = make_model(("owl", "cat", "dog"))
    model = reskeras.set_metadata(model, labels=["2", "0", "1"])
    history = reskeras.fit(model, data, validation_data=data, **OPTIONS)
    assert history.history["accuracy"] == history.history["val_accuracy"] == [1.0]
    assert reskeras.evaluate(history.model, data).top1 == 100


def test_numbers_in_place_of_names(tmp_path):
    """`evaluate` refuses them, too."""
    data = f"folder:{make_folder(tmp_path / 'data', tuple(COLORS), COLORS)}"
    for call in (lambda: reskeras.fit(make_model(tuple(LEVELS)), data, **OPTIONS),
                 lambda: reskeras.evaluate(make_model(tuple(LEVELS)), data)):
        with pytest.raises(ValueError, match="cat, dog, owl"):
            call()


def test_label_sets():
    """Synsets and names, also if several classes have the same name, in the label set's own order."""
    model = make_model(tuple(map(str, range(1000))))
    reskeras.set_metadata(model, labels="imagenet-1k")
    known = reskeras.get_metadata(model).get_classes(1000)
    pixels = np.zeros((1, 8, 8, 3), "uint8")
    for classes in zip(*known):
        source = from_arrays("data", pixels, np.zeros(1, int), tuple(classes))
        np.testing.assert_array_equal(find_class_order(model, source), np.arange(1000))


def test_the_message_names_the_classes_that_differ(tmp_path):
    """The first ones of many may be the same."""
    names = [f"class{i}" for i in range(9)]
    data = f"folder:{make_folder(tmp_path / 'data', names[:8] + ['new'])}"
    with pytest.raises(ValueError, match="class0, .* and 6 more, but folder:.* has new; to keep"):
        reskeras.fit(make_model(names), data, **OPTIONS)
