"""What must be true of a `.keras` file before Keras reads it: members, weights, the size of the model.

Keras itself refuses code, links to other files, and the largest bombs.  It does not refuse a file of a few
kilobytes that describes a model of terabytes, or that inflates to gigabytes.
"""
from __future__ import annotations

import io
import math
import os
import re
import zipfile
from typing import Any, Iterator, Mapping

import keras

from ._keras_private import build_without_values
from .file_reading import check_members, open_regular_file, open_zip, read_array_header, read_member
from .graph.graph import high_recursion_limit
from .json_reader import check_json_type, parse_json
from .weights.hdf5 import open_hdf5

_CONFIG, _WEIGHTS, _NPZ_WEIGHTS = "config.json", "model.weights.h5", "model.weights.npz"
# A member that would be extracted outside of the folder that it is extracted to
_OUTSIDE = re.compile(r"[/\\].*|[A-Za-z]:.*|(.*[/\\])?\.\.([/\\].*)?", re.DOTALL)
_MAX_CONFIG = 2 ** 26                           # bytes; the largest net of the table has 2 MB
# Keras compresses nothing, but a file may have been compressed later
_MIN_LIMIT, _MAX_INFLATION = 2 ** 28, 8
# The modules of Keras whose functions a layer may call, such as an activation
_MODEL_FUNCTIONS = ("activations", "constraints", "initializers", "losses", "metrics", "ops", "regularizers")
# The variables that Keras does not save: the states of random generators, and those of layers that a file of
# an earlier version does not have
_MAX_UNSAVED = 2 ** 22


def check_keras_file(path: str, custom_objects: Mapping[str, Any]) -> None:
    """Checks a `.keras` file before Keras reads it; no value of a variable is computed or read.

    Args:
        path: the file.
        custom_objects: as for `keras.saving.load_model`.

    Raises:
        ValueError: if Keras could not load it, or not without much more memory than the file has bytes.
        Exception: of any other class, if building the model fails.
    """
    if not path.endswith(".keras"):
        raise ValueError(f"{path}: expected a .keras file; Keras itself loads other formats")
    with open_regular_file(path) as file:
        max_bytes = max(_MIN_LIMIT, _MAX_INFLATION * os.fstat(file.fileno()).st_size)
    with open_zip(path, "a Keras file", max_bytes) as archive:
        for name in archive.namelist():
            if _OUTSIDE.fullmatch(name):
                raise ValueError(f"its member {name!r} is outside of the archive")
        saved = _count_saved_numbers(archive, path)
        if archive.getinfo(_CONFIG).file_size > _MAX_CONFIG:
            raise ValueError(f"{_CONFIG} is larger than {_MAX_CONFIG:,} bytes")
        config = parse_json(read_member(archive, _CONFIG), _CONFIG, allows_infinity=True)

    config = check_json_type(config, dict[str, Any], path, _CONFIG)
    _check_functions(config)
    try:
        built = _count_numbers(config, custom_objects)
    except Exception as error:
        if _has_foreign_classes(config):
            return      # a class of the user's may need values while it is built
        raise _find_reason(error) from None
    if built > 2 * saved + _MAX_UNSAVED:
        raise ValueError(f"its model has {built:,} numbers, but the file has only {saved:,}")


def _count_saved_numbers(archive: zipfile.ZipFile, path: str) -> int:
    """How many numbers the weights in a file have, after a check of the weights."""
    if _NPZ_WEIGHTS in archive.namelist():
        data = read_member(archive, _NPZ_WEIGHTS)
        with zipfile.ZipFile(io.BytesIO(data)) as weights:
            check_members(weights.infolist(), len(data))
            return sum(math.prod(read_array_header(weights, name)[0]) for name in weights.namelist())

    data = read_member(archive, _WEIGHTS)
    sizes: list[int] = []
    limit = max(_MIN_LIMIT, _MAX_INFLATION * len(data))
    with open_hdf5(io.BytesIO(data), f"{path}: {_WEIGHTS}") as file:
        file.visititems(lambda name, item: sizes.append(item.size) if hasattr(item, "dtype") else None)
        if sum(sizes) > limit:
            raise ValueError(f"its data sets state {sum(sizes):,} numbers, for {len(data):,} bytes")
    return sum(sizes)


def _count_numbers(config: dict[str, Any], custom_objects: Mapping[str, Any]) -> int:
    """How many numbers the variables of a model have, without those of its optimizer and metrics."""
    with high_recursion_limit(), build_without_values():
        model = keras.saving.deserialize_keras_object({**config, "compile_config": None}, custom_objects)
    if not isinstance(model, keras.Model):
        raise ValueError(f"it describes a {type(model).__name__}, which is not a model")
    return sum(math.prod(variable.shape) for variable in model.variables)


def _find_reason(error: BaseException) -> BaseException:
    """The error inside those of Keras that only repeat the config of the whole model."""
    while "could not be deserialized properly" in str(error) and error.__context__:
        error = error.__context__
    return error


def _check_functions(config: Any) -> None:
    """Raises: ValueError if a layer would call a function of Keras that changes Keras itself."""
    for part in _iterate_objects(config):
        package, _, module = str(part.get("module")).partition(".")
        is_function = part["class_name"] == "function" and package == "keras"
        if is_function and module.partition(".")[0] not in _MODEL_FUNCTIONS:
            raise ValueError(f"it calls keras.{module}.{part.get('config')}, which is no part of a model")


def _has_foreign_classes(config: Any) -> bool:
    """Whether a config names a class that is neither Keras' nor ours; it must be registered to be loaded."""
    names = [str(part.get("registered_name")) for part in _iterate_objects(config)]
    return any(">" in name and not name.startswith("reskeras>") for name in names)


def _iterate_objects(config: Any) -> Iterator[dict[str, Any]]:
    """Yields all objects in a config: the dictionaries that name a class."""
    if isinstance(config, dict) and "class_name" in config:
        yield config
    for part in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        yield from _iterate_objects(part)
