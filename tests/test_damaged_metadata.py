"""Metadata from files: every value of another type, or that is not allowed, is a ValueError that names it."""
import copy

import pytest

import reskeras
from reskeras.images.preprocessing import Preprocessing
from reskeras.model_metadata import ModelMetadata
from reskeras.weights.table import get_weights

GOOD = ModelMetadata.from_checkpoint(get_weights("resnet50v1_5.a1_in1k")).get_config()
VALUES = [None, True, 0, -1, 10 ** 400, 1.5, "text", [], ["a"], [[]], [1, 2], {}, {"a": 1}]


def list_paths(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else ()
    for key, part in items:
        yield from list_paths(part, (*path, key))


def put(config, path, value):
    if not path:
        return value
    config = copy.deepcopy(config)
    place = config
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return config


@pytest.mark.parametrize("path", list(list_paths(GOOD)), ids=lambda path: ".".join(path) or "all")
def test_any_value_anywhere(path):
    """What is accepted can be used: it goes through the functions that read it."""
    accepted = []
    for value in VALUES:
        try:
            metadata = ModelMetadata.from_config(put(GOOD, path, value), "net.keras")
        except ValueError as error:
            assert "net.keras" in str(error) and "\n" not in str(error)
        else:
            accepted.append(value)
            ModelMetadata.from_config(metadata.get_config())
            if metadata.preprocessing:
                metadata.preprocessing.as_layers()
    assert len(accepted) < len(VALUES) / 2, accepted


def test_good_metadata_stay():
    assert ModelMetadata.from_config(GOOD).get_config() == GOOD
    assert ModelMetadata.from_config({"of a later version": 1, **GOOD}).get_config() == GOOD
    assert ModelMetadata.from_config({}) == ModelMetadata()


def test_scaling_inside_is_found_in_files_of_earlier_versions():
    raw = reskeras.get_preprocessing("resnet50v1_5.a1_in1k").without_scaling()
    assert ModelMetadata.from_config({"preprocessing": raw.get_config()}).includes_preprocessing


@pytest.mark.parametrize("fields, message", [
    ({"size": (0, 224)}, "size=0: expected a whole number"),
    ({"size": (224,)}, r"size=\(224,\): expected \(height, width\)"),
    ({"test_size": (2.5, 3)}, r"test_size=2\.5: expected a whole number"),
    ({"mean": (float("nan"),) * 3}, "mean=nan: expected a number"),
    ({"std": (1.0, 0.0, 1.0)}, r"std=\(1\.0, 0\.0, 1\.0\): expected numbers other than 0"),
    ({"std": (float("inf"),) * 3}, "std=inf: expected a number"),
    ({"crop_pct": float("nan")}, r"crop_pct=nan: expected a fraction in \(0, 1\]"),
    ({"test_crop_pct": 2.0}, r"test_crop_pct=2\.0: expected a fraction in \(0, 1\]")])
def test_values_that_cannot_prepare_an_image(fields, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(**{"size": (224, 224), **fields})
