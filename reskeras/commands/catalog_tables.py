"""Tables of nets and checkpoints in Markdown, which the README and the documentation contain."""
from __future__ import annotations

from collections import Counter
from typing import Iterable

from ..builder import Variant
from ..catalog import read_costs
from ..variants import FAMILIES, VARIANTS
from ..weights.table import list_checkpoints


def format_variants(names: list[str]) -> str:
    """A table in Markdown: for each family its paper, its nets, and the range of their costs."""
    lines = ["| family | nets | parameters (M) | MACs (G) |", "|---|---|---|---|"]
    for family, title in FAMILIES.items():
        members = [VARIANTS[name] for name in names if VARIANTS[name].family == family]
        if members:
            builders = ", ".join(f"`{variant.builder}`" for variant in members)
            lines.append(f"| **{title}** ({len(members)}) | {builders} | {_format_cost_ranges(members)} |")
    return "\n".join(lines)


def format_families(names: Iterable[str] = tuple(VARIANTS)) -> str:
    """A table in Markdown: for each family its nets, examples, range of costs and number of checkpoints.

    Args:
        names: the nets to count; a family without any is left out.
    """
    counted = set(names)
    lines = ["| family | nets | for example | parameters (M) | MACs (G) | checkpoints |",
             "|---|---|---|---|---|---|"]
    for family, title in FAMILIES.items():
        members = [v for v in VARIANTS.values() if v.family == family and v.name in counted]
        if not members:
            continue
        examples = dict.fromkeys((members[0], members[len(members) // 2], members[-1]))
        builders = ", ".join(f"`{variant.builder}`" for variant in examples)
        published = sum(w.variant in {v.name for v in members} for w in list_checkpoints())
        lines.append(f"| **{title}** | {len(members)} | {builders} | {_format_cost_ranges(members)} | "
                     f"{published} |")
    return "\n".join(lines)


def _format_cost_ranges(members: list[Variant]) -> str:
    """Formats two cells: millions of parameters and billions of multiply-accumulates, as ranges."""
    costs = [read_costs()[variant.name] for variant in members]
    params, macs = [cost.params / 1e6 for cost in costs], [cost.macs / 1e9 for cost in costs]
    return f"{_format_range(params)} | {_format_range(macs)}"


def _format_range(values: list[float]) -> str:
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} - {high}"


def format_checkpoints(names: Iterable[str] | None = None) -> str:
    """A table in Markdown: for each family its checkpoints, sources, licenses, and the defaults' accuracy.

    Args:
        names: the checkpoints to count; all by default.
    """
    counted = [c for c in list_checkpoints() if names is None or c.name in set(names)]
    lines = ["| family | checkpoints | licenses | nets with default weights (`weights=\"imagenet\"`), "
             "with top-1 (%) |",
             "|---|---|---|---|"]
    for family, title in FAMILIES.items():
        checkpoints = [w for w in counted if VARIANTS[w.variant].family == family]
        sources = Counter(w.source for w in checkpoints)
        licenses = Counter(w.license or "not given" for w in checkpoints)
        defaults = [f"`{VARIANTS[w.variant].builder}` {w.top1 or '?'}"
                    for w in checkpoints if w.is_default]
        if checkpoints:
            lines.append(f"| **{title}** | {_format_counts(sources)} | {_format_counts(licenses)} | "
                         f"{', '.join(defaults) or 'none'} |")
    return "\n".join(lines)


def _format_counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counter.most_common())
