"""`list`: the nets, with their parameters and multiply-accumulates."""
from __future__ import annotations

from typing import Any

from .. import catalog
from ..errors import ArgumentError
from ..json_writer import to_json
from ..terminal import print_text
from ..variants import VARIANTS
from .catalog_tables import format_families, format_variants


def list_variants(pattern: str | None = None) -> list[str]:
    """The names of the nets that fit a shell pattern, such as "resnest*"; all nets without one.

    Raises:
        ArgumentError: if no net has such a name.
    """
    names = catalog.list_models(pattern)
    if not names:
        raise ArgumentError("pattern", pattern, "the name of a net, or a pattern such as 'resnest*'",
                            catalog.list_models())
    return names


def print_result(names: list[str], markdown: bool = False, families: bool = False,
                 json: bool = False) -> int:
    """Prints a line for each net, JSON, or a table of the documentation.  Returns: the exit code."""
    if json:
        print_text(to_json([_describe(name) for name in names]))
    elif families:
        print_text(format_families(names))
    elif markdown:
        print_text(format_variants(names))
    else:
        for name in names:
            cost = catalog.read_costs()[name]
            print_text(f"{name:28} {cost.params / 1e6:8.2f} M parameters {cost.macs / 1e9:8.3f} G MACs   "
                       f"{VARIANTS[name].family}")
    return 0


def _describe(name: str) -> dict[str, Any]:
    """What the table says of a net."""
    variant, cost = VARIANTS[name], catalog.read_costs()[name]
    return {"name": name, "builder": variant.builder, "family": variant.family,
            "parameters": cost.params, "macs": cost.macs, "input_size": variant.spec.input_size}
