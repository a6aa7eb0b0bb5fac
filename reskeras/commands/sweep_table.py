"""The table of a sweep: which nets, recipes, overrides and seeds, and the arguments that all runs share."""
from __future__ import annotations

import contextlib
import dataclasses
import inspect
import itertools
import os
import pathlib
import re
import tomllib
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Mapping

from ..catalog import find_variant
from ..errors import ArgumentError, check_whole_number, unknown_argument
from ..file_reading import read_text
from ..remote_paths import exists
from ..train.arguments import FitArguments
from ..train.fit import fit
from ..train.model import find_spec
from ..train.recipes import choose_recipe, get_recipe
from ..train.sources import has_records, open_source
from ..train.training import training_fields

AXES = ("nets", "recipes", "overrides", "seeds")
# arguments of `fit` that belong to a single run, or that the axes are
_OWN = {"model", "recipe", "seed", "overrides", "model_overrides", "output", "resume", "callbacks", "verbose"}
EXAMPLE = 'nets = ["cifar_resnet20"]'


@dataclass(frozen=True)
class Run:
    """One training of a sweep.

    Attributes:
        net: a net's name or a .keras file.
        recipe: a recipe's name.
        overrides: the name of the overrides; "" for none.
        seed: the seed.
        arguments: of `fit`, with all of these.
    """

    net: str
    recipe: str
    overrides: str
    seed: int
    arguments: Mapping[str, Any]

    @property
    def configuration(self) -> tuple[str, str, str]:
        """What seeds have in common."""
        return self.net, self.recipe, self.overrides

    @property
    def name(self) -> str:
        """The name of its folder."""
        parts = [*self.configuration, f"seed{self.seed}"]
        return ".".join(re.sub(r"[^\w.-]+", "-", part) for part in parts if part)


def read_table(table: Any) -> list[Run]:
    """The trainings of a table.

    Args:
        table: a mapping, or the path of a TOML file with the same keys.

    Raises:
        ArgumentError: for a table without nets, an unknown net or recipe, or a value of a wrong type.
        TypeError: for an unknown key or field; the message suggests the nearest one.
        ValueError: for a file that is not TOML.
        OSError: if the file cannot be read.
    """
    if isinstance(table, (str, os.PathLike)):
        try:
            table = tomllib.loads(read_text(pathlib.Path(table)))
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{os.fspath(table)}: no such file") from error
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{os.fspath(table)}: {error}; expected TOML, such as {EXAMPLE}") from error
    if not isinstance(table, Mapping):
        raise ArgumentError("table", table, f"the path of a TOML file, or a mapping, such as {{{EXAMPLE!r}}}")
    shared = [name for name in inspect.signature(fit).parameters
              if name not in _OWN and name not in {field.name for field in training_fields()}]
    for key, value in table.items():
        if key not in (*AXES, *shared):
            is_field = key in {field.name for field in training_fields()}
            raise unknown_argument(key, value, (*AXES, *shared), "the table of a sweep", (
                "a field of the recipe belongs into overrides, such as [overrides.short]" if is_field else
                f"{key} is an argument of sweep itself" if key in ("output", "verbose", "metric") else ""))
    if table.get("data") is None:
        raise ArgumentError("data", None, 'images to train on, such as data = "folder:photos"')
    default_recipe = choose_recipe(None, table.get("quantize"))
    nets, recipes = (_list_of(table, axis, _check_text, default)
                     for axis, default in (("nets", ()), ("recipes", (default_recipe,))))
    seeds = _list_of(table, "seeds", _check_seed, (0,))
    named = _check_overrides(table.get("overrides", {}))

    for net in nets:
        if not net.endswith(".keras"):
            find_variant(net)
        elif not exists(net):
            raise FileNotFoundError(f"{net}: no such file, which nets names")
    own = {field.name for field in dataclasses.fields(FitArguments)}
    runs = []
    for net, recipe, (name, fields), seed in itertools.product(nets, recipes, named.items(), seeds):
        model = fields.get("model", {})
        training = {field: value for field, value in fields.items() if field != "model"}
        with _name_overrides(name):     # an error now, not after hours
            get_recipe(recipe).override(training, model, find_spec(net))
        arguments = {**{key: value for key, value in table.items() if key not in AXES}, "model": net,
                     "recipe": recipe, "seed": seed, "overrides": training, "model_overrides": model}
        FitArguments(**{key: value for key, value in arguments.items() if key in own})
        runs.append(Run(net, recipe, name, seed, arguments))
    _check_names(runs)
    return runs


@contextlib.contextmanager
def _name_overrides(name: str) -> Iterator[None]:
    """Makes errors about a field inside the block name the overrides that have it."""
    try:
        yield
    except ArgumentError as error:
        if not name:
            raise
        raise ArgumentError(f"overrides.{name}.{error.name}", error.value,
                            error.reason.removeprefix("expected ")) from error


def check_data(table: Mapping[str, Any]) -> None:
    """Opens the data that all runs share once, before the first one is trained.  Raises: as `open_source`."""
    for name, split in (("data", "train"), ("validation_data", "validation")):
        data = table.get(name)
        if isinstance(data, str):
            open_source(data, split, name, table.get("label_offset") if has_records(data) else None)


def _list_of(table: Mapping[str, Any], axis: str, check: Callable[[str, Any], Any],
             default: tuple[Any, ...]) -> list[Any]:
    values = table.get(axis, default)
    if not isinstance(values, (list, tuple)) or not values:
        raise ArgumentError(axis, values, f"a list of at least one value, such as {EXAMPLE}")
    return [check(axis, value) for value in values]


def _check_text(axis: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ArgumentError(axis, value, f"names, such as {EXAMPLE}")
    return value


def _check_seed(axis: str, value: Any) -> int:
    return check_whole_number(axis, value, 0)


def _check_overrides(named: Any) -> Mapping[str, Mapping[str, Any]]:
    """The named overrides; one without a name if there are none."""
    if not isinstance(named, Mapping) or not all(isinstance(fields, Mapping) for fields in named.values()):
        raise ArgumentError("overrides", named, "a table of fields for each name, such as "
                            "[overrides.short] with epochs = 2")
    for name, fields in named.items():
        if not isinstance(fields.get("model", {}), Mapping):
            raise ArgumentError(f"overrides.{name}.model", fields["model"], "fields of the net, such as "
                                "model.drop_path_rate = 0.1")
    return named or {"": {}}


def _check_names(runs: list[Run]) -> None:
    names = [run.name for run in runs]
    for run in runs:
        if names.count(run.name) > 1:
            raise ArgumentError("table", run.name, "each net, recipe, override and seed once, whose names "
                                "differ in more than signs")
