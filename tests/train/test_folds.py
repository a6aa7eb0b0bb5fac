"""Folds are those of scikit-learn; what cannot be divided is an error."""
import numpy as np
import pytest
from sklearn.model_selection import KFold, StratifiedKFold

from reskeras.train.folds import assign_folds, assign_stratified_folds, split_folds
from reskeras.train.source import DataSource


@pytest.mark.parametrize("folds, seed, sizes", [(5, 0, (20, 7, 5)), (3, 4, (3, 3, 50)), (2, 1, (9, 2, 4))])
def test_stratified(folds, seed, sizes):
    labels = np.random.default_rng(seed).permutation(np.repeat((4, 0, 2), sizes))
    found = assign_stratified_folds(labels, folds, seed)
    splits = StratifiedKFold(folds, shuffle=True, random_state=seed).split(labels, labels)
    for number, (_, validation) in enumerate(splits):
        np.testing.assert_array_equal(np.flatnonzero(found == number), validation)


def test_without_classes():
    found = assign_folds(11, 4, 3)
    for number, (_, validation) in enumerate(KFold(4, shuffle=True, random_state=3).split(np.zeros(11))):
        np.testing.assert_array_equal(np.flatnonzero(found == number), validation)


def test_each_image_validates_once():
    source = DataSource("images", [f"{i}.png" for i in range(10)], np.arange(10) % 2, ("a", "b"))
    parts = split_folds(source, 5, 0)
    assert sorted(path for _, validation in parts for path in validation.images) == sorted(source.images)
    for train, validation in parts:
        assert not {*train.images} & {*validation.images} and len(train) == 8
        assert sorted(validation.labels) == [0, 1]


def test_what_cannot_be_divided():
    source = DataSource("images", np.zeros((5, 8, 8, 3), "uint8"), np.array([0, 0, 0, 1, 1]), ("cat", "dog"))
    with pytest.raises(ValueError, match="folds=3: expected at most 2, because class 'dog'"):
        split_folds(source, 3, 0)
    with pytest.raises(ValueError, match="folds"):
        split_folds(source, 1, 0)
    with pytest.raises(ValueError, match="stream"):
        split_folds(DataSource("records", stream=lambda: None), 2, 0)
