"""`show`: one net of the table, what it is made of, and how it differs from another net."""
from __future__ import annotations

import os
from typing import Any

from .. import catalog
from ..spec import find_differences
from ..terminal import print_text
from ..variants import FAMILIES
from ..weights.table import find_checkpoint


def show(name: str, *, diff: str | None = None, page: str | os.PathLike[str] | None = None) -> str:
    """Describes a net.

    Args:
        name: name of the net, with a checkpoint's tag or without, or another package's name for it.
        diff: another net: only the fields in which the two differ are listed.
        page: an .html file: a page about the family of the net is written instead.

    Returns:
        The description as text, or the path of the page.

    Raises:
        ValueError: for an unknown name, or an unknown suffix of `page`.
        OSError: if the page cannot be written.
    """
    variant, tag, fields = catalog.find_variant(name)
    if tag:
        find_checkpoint(variant.name, tag)      # an unknown one is an error
    if page:
        from .family_page import write_family_page
        return str(write_family_page(name, page))

    spec = catalog.apply_fields(variant, fields)
    if diff:
        other, _, other_fields = catalog.find_variant(diff)
        pairs = find_differences(spec, catalog.apply_fields(other, other_fields))
        return "\n".join(f"{field:24} {here!s:32} {there}" for field, (here, there) in pairs.items())

    cost, side = catalog.read_costs()[variant.name], variant.spec.input_size
    other_names = [source for source, (own, _) in catalog.list_source_names().items() if own == variant.name]
    values: dict[str, Any] = vars(spec)
    return "\n".join([
        f"{variant.builder}: {variant.name}, {FAMILIES[variant.family]}",
        f"{cost.params:,} parameters, {cost.macs:,} multiply-accumulates at {side} x {side} pixels",
        f"also known as: {', '.join(other_names) or 'nothing else'}",
        *(f"{field:24} {value}" for field, value in values.items())])


def print_result(description: str) -> int:
    """Prints the description.  Returns: the exit code."""
    if description:
        print_text(description)
    return 0
