"""Checks a `.keras` file before Keras reads it: the files in the archive, the weights, the size of the model.

Keras itself refuses code, links to other files, and the largest decompression bombs (small files that unpack
to very large ones).  It does not refuse a file of a few kilobytes that describes a model of terabytes, or
that unpacks to gigabytes.
"""
from __future__ import annotations

import io
import math
import os
import re
import zipfile
from typing import Any, Iterable, Iterator, Mapping

import keras

from ._keras_private import build_without_values
from .file_reading import check_members, open_regular_file, open_zip, read_array_header, read_member
from .graph.graph import high_recursion_limit
from .json_reader import check_json_type, parse_json
from .weights.hdf5 import open_hdf5

_CONFIG, _WEIGHTS, _NPZ_WEIGHTS = "config.json", "model.weights.h5", "model.weights.npz"
# The name of a file in the archive that would be unpacked outside of the folder of the others
_OUTSIDE_NAME = re.compile(r"[/\\].*|[A-Za-z]:.*|(.*[/\\])?\.\.([/\\].*)?", re.DOTALL)
# Bytes; the largest net of the table has 2 MB.  As Python's objects they take thirty times as much
_MAX_CONFIG = 2 ** 24
# Unpacked, a file may have _MIN_LIMIT bytes, or _MAX_INFLATION times its own bytes if that is more.  Keras
# compresses nothing, but a file may have been compressed later.
_MIN_LIMIT, _MAX_INFLATION = 2 ** 28, 8
# The modules of Keras whose functions a layer may call, such as an activation
_MODEL_FUNCTIONS = ("activations", "constraints", "initializers", "losses", "metrics", "ops", "regularizers")
# The packages whose modules Keras imports when a file names them
_IMPORTED_BY_KERAS = ("keras", "keras_hub", "keras_cv", "keras_nlp")
# How many weights of a model may be missing in its file: Keras does not save the states of random generators,
# and a file of an earlier version lacks those of newer layers
_MAX_UNSAVED = 2 ** 22


def check_keras_file(path: str, custom_objects: Mapping[str, Any]) -> None:
    """Checks a `.keras` file before Keras reads it; no value of a variable is computed or read.

    Args:
        path: the file.
        custom_objects: as for `keras.saving.load_model`.

    Raises:
        ValueError: if Keras could not load it, or if loading would need much more memory than the file's
            size.
        Exception: of any other class, if building the model fails.
    """
    if not path.endswith(".keras"):
        raise ValueError(f"{path}: expected a .keras file; Keras itself loads other formats")
    with open_regular_file(path) as file:
        max_bytes = max(_MIN_LIMIT, _MAX_INFLATION * os.fstat(file.fileno()).st_size)
    with open_zip(path, "a Keras file", max_bytes) as archive:
        for name in archive.namelist():
            if _OUTSIDE_NAME.fullmatch(name):
                raise ValueError(f"the file {name!r} in it would be unpacked outside of the target folder")
        saved_count = _count_saved_numbers(archive, path)
        if archive.getinfo(_CONFIG).file_size > _MAX_CONFIG:
            raise ValueError(f"{_CONFIG} is larger than {_MAX_CONFIG:,} bytes")
        config = parse_json(read_member(archive, _CONFIG), _CONFIG, allows_infinity=True)

    config = check_json_type(config, dict[str, Any], path, _CONFIG)
    _check_functions(config)
    _check_registered(config, custom_objects)
    model_count = _count_numbers(config, custom_objects)
    if model_count > 2 * saved_count + _MAX_UNSAVED:
        raise ValueError(f"its model has {model_count:,} weights, but the file stores only {saved_count:,}")


def _count_saved_numbers(archive: zipfile.ZipFile, path: str) -> int:
    """How many numbers the weights in a file have.  Raises: ValueError for weights that are not allowed."""
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
            raise ValueError(f"its data sets have {sum(sizes):,} numbers, but the file only {len(data):,} "
                             "bytes")
    return sum(sizes)


def _count_numbers(config: dict[str, Any], custom_objects: Mapping[str, Any]) -> int:
    """How many numbers the variables of a model have, without those of its optimizer and metrics."""
    may_need_values = _has_foreign_classes(config)      # Keras changes the config
    model = None
    try:
        with high_recursion_limit(), build_without_values() as variables:
            model = keras.saving.deserialize_keras_object({**config, "compile_config": None}, custom_objects)
    except Exception as error:
        if not may_need_values:
            raise _find_reason(error) from None
        # a class of the user's cannot be built without values: Keras itself comes at least as far
    else:
        if not isinstance(model, keras.Model):
            raise ValueError(f"it describes a {type(model).__name__}, which is not a model")
        variables = model.variables
    return sum(math.prod(variable.shape) for variable in variables)


def _find_reason(error: BaseException) -> BaseException:
    """The original error: Keras wraps it in errors that only print the config of the whole model."""
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


def _check_registered(config: Any, custom_objects: Mapping[str, Any]) -> None:
    """Raises: ValueError for a class or a function of a package that was not imported."""
    objects = dict(custom_objects)
    parts = [part for part in _iterate_objects(config)
             if str(part.get("module")).partition(".")[0] not in _IMPORTED_BY_KERAS]
    missing = [name for name in _list_foreign_names(parts)
               if keras.saving.get_registered_object(name, objects) is None]
    if missing:
        package, _, name = missing[0].partition(">")
        raise ValueError(f"it has {name}, registered as {missing[0]!r}; import the module of {package} "
                         "that registers it before the file is loaded")


def _has_foreign_classes(config: Any) -> bool:
    """Whether a config names a class that is neither Keras' nor ours: a registered class of the user."""
    return bool(_list_foreign_names(_iterate_objects(config)))


def _list_foreign_names(parts: Iterable[dict[str, Any]]) -> list[str]:
    """The registered names of objects that are not ours."""
    names = [str(part.get("registered_name")) for part in parts]
    return [name for name in names if ">" in name and not name.startswith("reskeras>")]


def _iterate_objects(config: Any) -> Iterator[dict[str, Any]]:
    """Yields all objects in a config: the dictionaries that name a class."""
    if isinstance(config, dict) and "class_name" in config:
        yield config
    for part in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        yield from _iterate_objects(part)
