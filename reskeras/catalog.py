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
from .weights.table import Weights, default_tag, nets, table
from .weights.table import find as weights_of

if TYPE_CHECKING:
    import keras

COSTS = pathlib.Path(__file__).with_name("costs.csv")


def create(name: str, /, **kwargs: Any) -> keras.Model:
    """Builds the net that `name` names.

    Arguments:
        name: a row ("resnet50v1_5"), a row with a checkpoint ("cifar_resnet20.digits"), or another package's name for the
            structure ("timm/resnet50", "torchvision/resnet50", "keras/ResNet50", "akamaster/resnet20").
        **kwargs: as every builder takes, see `reskeras.builder.Variant`.
    Raises: ValueError that names the nearest spelling for a name that nobody has; whatever the builder raises.
    """
    row, tag, fields = find(name)
    if tag:
        if "weights" in kwargs:
            raise ValueError(f"{name!r} names weights ({tag!r}), and so does weights={kwargs['weights']!r}; give one")
        kwargs["weights"] = tag
    asked = kwargs.get("weights", default_tag(row.name))
    if fields and asked is not None:    # the source's net is not quite the row, nor are its weights the row's
        asked = kwargs["weights"] = weights_of(row.name, asked, name.partition(".")[0])
        if isinstance(asked, Weights) and any(asked.fields.get(k) != v for k, v in fields.items()):
            raise ValueError(f"{name.partition('.')[0]!r} has {fields}, and {asked.name} is {asked.net}'s, which has not; "
                             f"create({asked.name!r}) builds that")
    return row(**{**fields, **kwargs})


def find(name: str) -> tuple[Variant, str, dict[str, Any]]:
    """The row, the tag of its weights ("" if none) and the Spec fields that `name` stands for.  Raises: ValueError."""
    if not isinstance(name, str):
        raise ValueError(f"name={name!r}: expected a string such as 'resnet50d'")
    known = sources()
    if name in variants.ROWS:
        return variants.ROWS[name], "", {}
    if name in known:
        return variants.ROWS[known[name][0]], "", known[name][1]
    stem, dot, tag = name.partition(".")
    if dot and tag and (stem in variants.ROWS or stem in known):
        row, _, fields = find(stem)
        return row, tag, fields
    raise ValueError(f"unknown net {name!r}{guess(name, {row: row for row in variants.ROWS})}; "
                     f"reskeras.list_models() names all {len(variants.ROWS)}")


@functools.cache
def sources() -> dict[str, tuple[str, dict[str, Any]]]:
    """ "timm/resnet50" -> (row, Spec fields), for every name of another package."""
    known: dict[str, tuple[str, dict[str, Any]]] = {s: (row.name, {}) for row in variants.ROWS.values() for s in row.sources}
    return nets() | known | variants.ALMOST


def builders() -> dict[str, str]:
    """Builder -> row."""
    return {row.builder: row.name for row in variants.ROWS.values()}


def builder(name: str) -> Variant:
    """The builder of that name.  Raises: AttributeError that names the nearest."""
    rows = builders()
    if name in rows:
        return variants.ROWS[rows[name]]
    spelling = {row: b for b, row in rows.items()} | {b: b for b in rows}
    raise AttributeError(f"module 'reskeras' has no attribute {name!r}{guess(name, spelling)}")


def guess(name: str, spelling: dict[str, str]) -> str:
    """"; did you mean 'x'?": x by the letters and digits alone, as another package's name, as a beginning, or by likeness."""
    known = {plain(k): v for k, v in spelling.items()}
    for source, (row, _) in sources().items():
        known.setdefault(plain(source.split("/")[1]), spelling[row])
        known.setdefault(plain(source), spelling[row])
    whole = name.partition(".")[0]
    forms = [plain(whole), plain(whole.rpartition("/")[2])]     # with and without another package's name
    exact = [form for form in forms if form in known]
    beginnings = [min(longer, key=len) for form in forms
                  if len(form) > 4 and (longer := [k for k in known if k.startswith(form)])]
    endings = [k for form in forms if len(form) > 8 for k in known if k.endswith(form)]
    ours = list(map(plain, spelling))
    near = exact or beginnings or endings or difflib.get_close_matches(forms[1], ours, n=1, cutoff=0.85) or \
        difflib.get_close_matches(forms[1], known, n=1, cutoff=0.6)
    return f"; did you mean {known[near[0]]!r}?" if near else ""


def plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


@dataclass(frozen=True)
class Size:
    """What a row costs at its own input size and class count: trainable parameters, multiply-accumulates."""
    params: int
    macs: int


@functools.cache
def sizes() -> dict[str, Size]:
    """Row -> Size, from the file that the tests recompute."""
    with COSTS.open(newline="") as file:
        return {line["row"]: Size(int(line["params"]), int(line["macs"])) for line in csv.DictReader(file)}


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
    families = sorted({row.family for row in variants.ROWS.values()})
    if family is not None and family not in families:
        near = difflib.get_close_matches(family, families, n=1, cutoff=0.3)
        raise ValueError(f"family={family!r}: expected one of {', '.join(families)}"
                         + (f"; did you mean {near[0]!r}?" if near else ""))
    return [name for name, row in variants.ROWS.items()
            if (pattern is None or fnmatchcase(name, pattern.lower())) and family in (None, row.family)
            and (max_params is None or sizes()[name].params <= max_params)
            and (max_macs is None or sizes()[name].macs <= max_macs)]


def spec_of(row: Variant, fields: dict[str, Any]) -> Spec | InceptionSpec:
    return override(row.spec, fields)


def markdown(names: list[str]) -> str:
    """The family table: for each family its source, its nets, and the range of their sizes."""
    lines = ["| family | nets | parameters (M) | MACs (G) |", "|---|---|---|---|"]
    for family, title in variants.FAMILIES.items():
        rows = [variants.ROWS[name] for name in names if variants.ROWS[name].family == family]
        if rows:
            listed = ", ".join(f"`{row.builder}`" for row in rows)
            lines.append(f"| **{title}** ({len(rows)}) | {listed} | {_spreads(rows)} |")
    return "\n".join(lines)


def families_markdown() -> str:
    """One line for each family: how many nets, for example which, the range of their sizes, how many published checkpoints."""
    lines = ["| family | nets | for example | parameters (M) | MACs (G) | checkpoints |", "|---|---|---|---|---|---|"]
    for family, title in variants.FAMILIES.items():
        rows = [row for row in variants.ROWS.values() if row.family == family]
        shown = ", ".join(f"`{row.builder}`" for row in dict.fromkeys((rows[0], rows[len(rows) // 2], rows[-1])))
        published = sum(variants.ROWS[w.row].family == family for w in table())
        lines.append(f"| **{title}** | {len(rows)} | {shown} | {_spreads(rows)} | {published} |")
    return "\n".join(lines)


def _spreads(rows: list[Variant]) -> str:
    """Two cells: from the fewest to the most millions of parameters, and billions of multiply-accumulates."""
    own = [sizes()[row.name] for row in rows]
    return f"{_spread([size.params / 1e6 for size in own])} | {_spread([size.macs / 1e9 for size in own])}"


def _spread(values: list[float]) -> str:
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} - {high}"


def weights_markdown() -> str:
    """The table of published weights: for each family its checkpoints, their sources and licences, the defaults' accuracy."""
    lines = ["| family | checkpoints | licences | nets that `weights=\"imagenet\"` loads, with top-1 (%) |", "|---|---|---|---|"]
    for family, title in variants.FAMILIES.items():
        rows = [w for w in table() if variants.ROWS[w.row].family == family]
        by_source = Counter(w.source for w in rows)
        licences = Counter(w.licence or "not given" for w in rows)
        defaults = [f"`{variants.ROWS[w.row].builder}` {w.top1 or '?'}" for w in rows if w.default]
        if rows:
            lines.append(f"| **{title}** | {counts(by_source)} | {counts(licences)} | {', '.join(defaults) or 'none'} |")
    return "\n".join(lines)


def counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counter.most_common())
