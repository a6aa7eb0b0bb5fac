"""Finding a net by name: rows, other packages' names, and the right spelling of a guess."""
from __future__ import annotations

import csv
import difflib
import functools
import pathlib
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from . import variants
from .spec import InceptionSpec, Spec, override
from .builder import Variant
from .weights.table import Checkpoint, get_default_weights, get_source_nets, list_checkpoints
from .weights.table import find_checkpoint as weights_of

if TYPE_CHECKING:
    import keras

COSTS_FILE = pathlib.Path(__file__).with_name("costs.csv")


def create(name: str, /, **kwargs: Any) -> keras.Model:
    """Builds the net that `name` names.

    Arguments:
        name: a row ("resnet50v1_5"), a row with a checkpoint ("cifar_resnet20.digits"), or another package's name for the
            structure ("timm/resnet50", "torchvision/resnet50", "keras/ResNet50", "akamaster/resnet20").
        **kwargs: as every builder takes, see `reskeras.builder.Variant`.
    Raises: ValueError that names the nearest spelling for a name that nobody has; whatever the builder raises.
    """
    row, tag, fields = find_variant(name)
    if tag:
        if "weights" in kwargs:
            raise ValueError(f"{name!r} names weights ({tag!r}), and so does weights={kwargs['weights']!r}; give one")
        kwargs["weights"] = tag
    asked = kwargs.get("weights", get_default_weights(row.name))
    if fields and asked is not None:    # the source's net is not quite the row, nor are its weights the row's
        asked = kwargs["weights"] = weights_of(row.name, asked, name.partition(".")[0])
        if isinstance(asked, Checkpoint) and any(asked.spec_fields.get(k) != v for k, v in fields.items()):
            raise ValueError(f"{name.partition('.')[0]!r} has {fields}, and {asked.name} is {asked.source_net}'s, which has not; "
                             f"create({asked.name!r}) builds that")
    return row(**{**fields, **kwargs})


def find_variant(name: str) -> tuple[Variant, str, dict[str, Any]]:
    """The row, the tag of its weights ("" if none) and the Spec fields that `name` stands for.  Raises: ValueError."""
    if not isinstance(name, str):
        raise ValueError(f"name={name!r}: expected a string such as 'resnet50d'")
    known = get_source_names()
    if name in variants.VARIANTS:
        return variants.VARIANTS[name], "", {}
    if name in known:
        return variants.VARIANTS[known[name][0]], "", known[name][1]
    stem, dot, tag = name.partition(".")
    if dot and tag and (stem in variants.VARIANTS or stem in known):
        row, _, fields = find_variant(stem)
        return row, tag, fields
    raise ValueError(f"unknown net {name!r}{_suggest_spelling(name, {row: row for row in variants.VARIANTS})}; "
                     f"reskeras.list_models() names all {len(variants.VARIANTS)}")


@functools.cache
def get_source_names() -> dict[str, tuple[str, dict[str, Any]]]:
    """ "timm/resnet50" -> (row, Spec fields), for every name of another package."""
    known: dict[str, tuple[str, dict[str, Any]]] = {s: (row.name, {}) for row in variants.VARIANTS.values() for s in row.sources}
    return get_source_nets() | known | variants.SOURCES_WITH_OTHER_FIELDS


def list_builders() -> dict[str, str]:
    """Builder -> row."""
    return {row.builder: row.name for row in variants.VARIANTS.values()}


def get_builder(name: str) -> Variant:
    """The builder of that name.  Raises: AttributeError that names the nearest."""
    rows = list_builders()
    if name in rows:
        return variants.VARIANTS[rows[name]]
    spelling = {row: b for b, row in rows.items()} | {b: b for b in rows}
    raise AttributeError(f"module 'reskeras' has no attribute {name!r}{_suggest_spelling(name, spelling)}")


def _suggest_spelling(name: str, spelling: dict[str, str]) -> str:
    """"; did you mean 'x'?": x by the letters and digits alone, as another package's name, as a beginning, or by likeness."""
    known = {_letters_and_digits(k): v for k, v in spelling.items()}
    for source, (row, _) in get_source_names().items():
        known.setdefault(_letters_and_digits(source.split("/")[1]), spelling[row])
        known.setdefault(_letters_and_digits(source), spelling[row])
    whole = name.partition(".")[0]
    forms = [_letters_and_digits(whole), _letters_and_digits(whole.rpartition("/")[2])]     # with and without another package's name
    exact = [form for form in forms if form in known]
    beginnings = [min(longer, key=len) for form in forms
                  if len(form) > 4 and (longer := [k for k in known if k.startswith(form)])]
    endings = [k for form in forms if len(form) > 8 for k in known if k.endswith(form)]
    ours = list(map(_letters_and_digits, spelling))
    near = exact or beginnings or endings or difflib.get_close_matches(forms[1], ours, n=1, cutoff=0.85) or \
        difflib.get_close_matches(forms[1], known, n=1, cutoff=0.6)
    return f"; did you mean {known[near[0]]!r}?" if near else ""


def _letters_and_digits(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


@dataclass(frozen=True)
class VariantCost:
    """What a row costs at its own input size and class count: trainable parameters, multiply-accumulates."""
    params: int
    macs: int


@functools.cache
def read_costs() -> dict[str, VariantCost]:
    """Row -> Size, from the file that the tests recompute."""
    with COSTS_FILE.open(newline="") as file:
        return {line["row"]: VariantCost(int(line["params"]), int(line["macs"])) for line in csv.DictReader(file)}


def list_models(pattern: str | None = None, *, family: str | None = None, max_params: float | None = None,
                max_macs: float | None = None) -> list[str]:
    """The rows, in the order of the table.

    Arguments:
        pattern: a shell pattern of row names, such as "resnest*".
        family: one of the families, such as "resnext".
        max_params: most trainable parameters.
        max_macs: most multiply-accumulates for one image of the row's own size.
    Raises: ValueError for an unknown family; the message names the nearest.
    """
    families = sorted({row.family for row in variants.VARIANTS.values()})
    if family is not None and family not in families:
        near = difflib.get_close_matches(family, families, n=1, cutoff=0.3)
        raise ValueError(f"family={family!r}: expected one of {', '.join(families)}"
                         + (f"; did you mean {near[0]!r}?" if near else ""))
    return [name for name, row in variants.VARIANTS.items()
            if (pattern is None or fnmatchcase(name, pattern.lower())) and family in (None, row.family)
            and (max_params is None or read_costs()[name].params <= max_params)
            and (max_macs is None or read_costs()[name].macs <= max_macs)]


def apply_fields(row: Variant, fields: dict[str, Any]) -> Spec | InceptionSpec:
    return override(row.spec, fields)


def format_variants(names: list[str]) -> str:
    """The family table: for each family its source, its nets, and the range of their sizes."""
    lines = ["| family | nets | parameters (M) | MACs (G) |", "|---|---|---|---|"]
    for family, title in variants.FAMILIES.items():
        rows = [variants.VARIANTS[name] for name in names if variants.VARIANTS[name].family == family]
        if rows:
            listed = ", ".join(f"`{row.builder}`" for row in rows)
            lines.append(f"| **{title}** ({len(rows)}) | {listed} | {_format_cost_ranges(rows)} |")
    return "\n".join(lines)


def format_families() -> str:
    """One line for each family: how many nets, for example which, the range of their sizes, how many published checkpoints."""
    lines = ["| family | nets | for example | parameters (M) | MACs (G) | checkpoints |", "|---|---|---|---|---|---|"]
    for family, title in variants.FAMILIES.items():
        rows = [row for row in variants.VARIANTS.values() if row.family == family]
        shown = ", ".join(f"`{row.builder}`" for row in dict.fromkeys((rows[0], rows[len(rows) // 2], rows[-1])))
        published = sum(variants.VARIANTS[w.variant].family == family for w in list_checkpoints())
        lines.append(f"| **{title}** | {len(rows)} | {shown} | {_format_cost_ranges(rows)} | {published} |")
    return "\n".join(lines)


def _format_cost_ranges(rows: list[Variant]) -> str:
    """Two cells: from the fewest to the most millions of parameters, and billions of multiply-accumulates."""
    own = [read_costs()[row.name] for row in rows]
    return f"{_format_range([size.params / 1e6 for size in own])} | {_format_range([size.macs / 1e9 for size in own])}"


def _format_range(values: list[float]) -> str:
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} - {high}"


def format_checkpoints() -> str:
    """The table of published weights: for each family its checkpoints, their sources and licences, the defaults' accuracy."""
    lines = ["| family | checkpoints | licences | nets that `weights=\"imagenet\"` loads, with top-1 (%) |", "|---|---|---|---|"]
    for family, title in variants.FAMILIES.items():
        rows = [w for w in list_checkpoints() if variants.VARIANTS[w.variant].family == family]
        by_source = Counter(w.source for w in rows)
        licences = Counter(w.license or "not given" for w in rows)
        defaults = [f"`{variants.VARIANTS[w.variant].builder}` {w.top1 or '?'}" for w in rows if w.is_default]
        if rows:
            lines.append(f"| **{title}** | {_format_counts(by_source)} | {_format_counts(licences)} | {', '.join(defaults) or 'none'} |")
    return "\n".join(lines)


def _format_counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counter.most_common())
