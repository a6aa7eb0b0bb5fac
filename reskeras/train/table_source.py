"""A table of files: a CSV file with the path of each image, and its class, its labels, or numbers to predict.

    table:FILE[?image=COLUMN&label=COLUMN,COLUMN&weight=COLUMN&split=COLUMN]

The first line names the columns.  Those that the query does not name are found by usual names.
"""
from __future__ import annotations

import dataclasses
import os
import re
import urllib.parse
from typing import Any, Sequence

import numpy as np

from ..errors import ArgumentError, list_names, make_printable, nearest
from ..remote_paths import to_url
from .labels import WEIGHT_COLUMNS
from .source import DataSource
from .table_reading import Row, Table, has_image_suffix, read_numbers, read_table, to_number

_NAMES = {
    "image": ("image", "path", "file", "filename", "file_name", "filepath", "file_path", "image_path", "img",
              "image_file", "image_name"),
    "label": ("label", "labels", "class", "classes", "category", "categories", "target", "tags"),
    "weight": WEIGHT_COLUMNS,
    "split": ("split", "subset", "fold")}
_SPLIT_WORDS = {"train": ("train", "training"), "test": ("test", "testing"),
                "validation": ("val", "valid", "validation", "dev")}
_INSTEAD = {"test": "validation", "validation": "test"}     # the rows to take if there are none of a split
_SEPARATOR = re.compile("[;|]")


def is_table(data: Any) -> bool:
    """Whether `data` names a table."""
    return isinstance(data, str) and data.startswith("table:")


def open_table(name: str, rest: str, split: str) -> DataSource:
    """Opens a table of files.

    Args:
        name: what the source is called in messages.
        rest: what follows "table:".
        split: "train", "validation" or "test"; the rows of that split, if the table has a column for it.  If
            there are none for validation, those for tests are taken, and the other way round.

    Returns:
        A source of files.  One label column has the name of a class, or several with ; or | between them, or
        numbers; several label columns have 0 or 1 for the label that each is named after, or numbers.

    Raises:
        FileNotFoundError: if the table or an image does not exist.
        ValueError: for a table that is damaged, or whose columns do not say what is learned.
    """
    path, _, query = rest.partition("?")
    table = read_table(name, path)
    given = _parse_query(name, query)
    chosen = _choose_columns(table, given)
    if column := chosen["split"]:
        table = dataclasses.replace(table, rows=_select_rows(table, column[0], split, "split" in given))
    labels, classes, task = _read_labels(table, chosen["label"])
    images = _find_images(table, chosen["image"][0], path)
    _check_duplicates(table, images, labels)
    weights = None
    if column := chosen["weight"]:
        weights = read_numbers(table, column[0])
        for row, weight in zip(table.rows, weights):
            if weight < 0:
                raise table.error(row, f"the weight {weight:g}: expected a number of at least 0")
        if not weights.any():
            raise ValueError(f"{name}: all numbers of its column {column[0]!r} are 0, so there would be "
                             "nothing to learn")
    return DataSource(name, images, labels, classes, weights=weights, task=task)


def use_classes(source: DataSource, classes: Sequence[str]) -> DataSource:
    """The same images with the classes or labels of another table, of which this one may have a part only.

    Args:
        source: what `open_table` returned.
        classes: the names, in their order.

    Raises:
        ValueError: if this table has others.
    """
    others = [name for name in source.classes if name not in set(classes)]
    if others:
        raise ValueError(f"{source.name}: it has {list_names(others, 5)}, which are not among the classes "
                         f"{list_names(list(classes), 5)}{nearest(others[0], classes)}")
    places = np.array([list(classes).index(name) for name in source.classes], int)
    labels = source.labels
    if source.has_class_numbers:
        labels = places[labels]
    else:
        labels = np.zeros((len(labels), len(classes)), "float32")
        labels[:, places] = source.labels
    return dataclasses.replace(source, labels=labels, classes=tuple(classes))


def _parse_query(name: str, query: str) -> dict[str, list[str]]:
    """The columns that are named after the question mark."""
    chosen: dict[str, list[str]] = {}
    for key, value in urllib.parse.parse_qsl(query, keep_blank_values=True):
        if key not in _NAMES or not value:
            raise ArgumentError("data", name, f"?{'=COLUMN&'.join(_NAMES)}=COLUMN after the file"
                                + ("" if key in _NAMES else nearest(key, _NAMES)))
        chosen[key] = value.split(",") if key == "label" else [value]
    if query and not chosen:
        raise ArgumentError("data", name, f"?{'=COLUMN&'.join(_NAMES)}=COLUMN after the file")
    return chosen


def _choose_columns(table: Table, given: dict[str, list[str]]) -> dict[str, list[str]]:
    """The columns of images, labels, weights and splits: those that were given, else by their usual names."""
    for columns in given.values():
        for column in columns:
            if column not in table.columns:
                raise ValueError(f"{table.name}: it has no column {make_printable(repr(column))}; its "
                                 f"columns are {list_names(table.columns)}{nearest(column, table.columns)}")
    chosen = {key: given.get(key) or [column for column in table.columns if column.lower() in names][:1]
              for key, names in _NAMES.items()}
    if not chosen["image"]:
        chosen["image"] = [column for column in table.columns
                           if all(map(has_image_suffix, table.list_cells(column)))][:1]
    if not chosen["image"]:
        raise ValueError(f"{table.name}: none of its columns, {list_names(table.columns)}, has the path of "
                         f"an image in each row; call it 'image', or add ?image=COLUMN to {table.name}")
    if not chosen["label"]:
        taken = [column for key in ("image", "weight", "split") for column in chosen[key]]
        chosen["label"] = [column for column in table.columns if column not in taken]
    if not chosen["label"]:
        raise ValueError(f"{table.name}: it has no column of labels; call it 'label', or add ?label=COLUMN")
    return chosen


def _select_rows(table: Table, column: str, split: str, is_given: bool) -> list[Row]:
    """The rows of a split.

    Args:
        is_given: whether the caller has named the column.

    Raises:
        ValueError: if there is none, and for a word that is no split.
    """
    known = {word: name for name, words in _SPLIT_WORDS.items() for word in words}
    splits = [known.get(cell.lower()) for cell in table.list_cells(column)]
    if not is_given and column.lower() == "fold" and not any(splits):       # numbers of folds
        return table.rows
    for row, name, cell in zip(table.rows, splits, table.list_cells(column)):
        if name is None:
            raise table.error(row, f"{column}={cell!r}: expected train, val or test{nearest(cell, known)}; "
                              "leave the row out, or name the column of splits: ?split=COLUMN")
    chosen = split if split in splits else _INSTEAD.get(split, split)
    if chosen not in splits:
        raise ValueError(f"{table.name}: its column {column!r} has no row of {split}, only "
                         f"{list_names(sorted(set(filter(None, splits))), 5)}")
    return [row for row, name in zip(table.rows, splits) if name == chosen]


def _read_labels(table: Table, columns: list[str]) -> tuple[np.ndarray, tuple[str, ...], str]:
    """Returns (labels, names of the classes or numbers, task)."""
    if len(columns) > 1:
        values = np.stack([read_numbers(table, column, columns) for column in columns], 1)
        is_flags = bool(((values == 0) | (values == 1)).all())
        return values, tuple(columns), "multilabel" if is_flags else "regression"
    cells = table.list_cells(columns[0])
    if any(_SEPARATOR.search(cell) for cell in cells):
        parts = [list(dict.fromkeys(filter(None, map(str.strip, _SEPARATOR.split(cell))))) for cell in cells]
        names = tuple(_sort_names({name for each in parts for name in each}))
        index = {name: i for i, name in enumerate(names)}
        flags = np.zeros((len(cells), len(names)), "float32")
        for i, each in enumerate(parts):
            flags[i, [index[name] for name in each]] = 1
        return flags, names, "multilabel"
    numbers = [to_number(cell) for cell in cells]
    if any(number is not None and not cell.lstrip("+-").isdecimal() for cell, number in zip(cells, numbers)):
        return read_numbers(table, columns[0], columns)[:, None], (columns[0],), "regression"
    for row, cell in zip(table.rows, cells):
        if not cell:
            raise table.error(row, f"its column {columns[0]!r} is empty; leave the row out, or give it a "
                              "class")
    names = tuple(_sort_names(set(cells)))
    index = {name: i for i, name in enumerate(names)}
    return np.array([index[cell] for cell in cells], "int64"), names, ""


def _sort_names(names: set[str]) -> list[str]:
    """Sorted as numbers if all are whole numbers, else as text, as the folders of `folder:` are."""
    if all(name.isdecimal() and len(name) < 18 for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def _find_images(table: Table, column: str, path: str) -> list[str]:
    """The paths of the images; relative ones are relative to the folder of the table.

    Raises:
        FileNotFoundError: if some do not exist; the message names the first of them.
    """
    url = to_url(path)
    folder = path.rpartition("/")[0] if url else os.path.dirname(os.path.expanduser(path))
    images, missing = [], []
    for row, cell in zip(table.rows, table.list_cells(column)):
        if not cell:
            raise table.error(row, f"its column {column!r} is empty: expected the path of an image")
        if url or to_url(cell):
            images.append(cell if to_url(cell) else f"{folder}/{cell}")
            continue
        image = os.path.normpath(os.path.join(folder, os.path.expanduser(cell)))
        if not os.path.isfile(image) and "\\" in cell:      # a table from Windows
            image = os.path.normpath(os.path.join(folder, cell.replace("\\", "/")))
        if not os.path.isfile(image):
            missing.append((row, image))
        images.append(image)
    if missing:
        row, image = missing[0]
        raise FileNotFoundError(
            f"{table.name}: {len(missing)} of its {len(images)} images do not exist, such as "
            f"{make_printable(image)} in line {row.line}; paths are relative to the folder of the table")
    return images


def _check_duplicates(table: Table, images: list[str], labels: np.ndarray) -> None:
    """Raises: ValueError if an image is in the table twice."""
    first: dict[Any, int] = {}
    for i, (row, image) in enumerate(zip(table.rows, images)):
        before = first.setdefault(image, i)
        if before == i:
            continue
        hint = ("give it a larger weight instead, in a column 'weight'"
                if np.array_equal(labels[before], labels[i]) else
                "with another label; several labels of an image belong in one cell, with ; between them")
        raise table.error(row, f"{image} is in line {table.rows[before].line} too: {hint}")
