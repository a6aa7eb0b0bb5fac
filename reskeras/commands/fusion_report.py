"""Which classic fusion happens where, in a pass of `optimize` or in a runtime: counted in what really runs.
"""
from __future__ import annotations

import importlib.metadata
from collections import Counter
from dataclasses import dataclass
from typing import Callable

import keras

from ..graph.graph import Graph
from ..graph.passes.merge_branches import merge_branches
from ..graph.report import OptimizationReport
from .runtime_kernels import COUNTED, SIZE, Kernel, read_kernels
from .tables import markdown_table

GRAPH = "Keras graph"           # what the passes change
Kernels = dict[str, "list[Kernel] | str"]       # by runtime; a reason if it has none


@dataclass(frozen=True)
class Fusion:
    """One fusion by its name in the literature, and what to count for it."""

    name: str
    counted: str
    counts: Callable[[Kernel], bool]
    by_pass: str = ""               # the pass of `optimize` that does it
    shows_in_fewer: bool = False    # whether the fusion makes what is counted less, or more
    # whether the pass only makes one layer, which a runtime must still make one kernel
    in_name_only: bool = False


def _does_all(*purposes: str, no: tuple[str, ...] = ()) -> Callable[[Kernel], bool]:
    return lambda kernel: kernel.does.issuperset(purposes) and kernel.does.isdisjoint(no)


FUSIONS = (
    Fusion("BN folding", "normalizing multiplications", _does_all("norm"), "fold_bn", shows_in_fewer=True),
    Fusion("conv + ReLU", "kernels that do convolution and ReLU",
           _does_all("conv", "act", no=("add", "pool")), "fuse_activation", in_name_only=True),
    Fusion("conv + ReLU + pool", "kernels that do all three", _does_all("conv", "act", "pool")),
    Fusion("conv + add + ReLU", "kernels that do all three", _does_all("conv", "add", "act")),
    Fusion("multi-branch (siblings)", "convolutions", _does_all("conv"), "merge_branches",
           shows_in_fewer=True),
    Fusion("topology compression", "convolutions that stride", lambda k: "conv" in k.does and k.is_strided,
           "push_stride", shows_in_fewer=True),
    Fusion("kernel-1 pooling", "1x1 pools", lambda k: "pool" in k.does and k.window == 1,
           "push_stride"),
    Fusion("padding", "separate padding layers", _does_all("pad"), "fold_pad", shows_in_fewer=True))


@dataclass(frozen=True)
class FusionCount:
    """One fusion in one runtime: how often it happens before and after `optimize`."""

    fusion: Fusion
    runtime: str                    # a key of COUNTED, which says of what the counts are
    before: int | None
    after: int | None               # None: not counted, see `reason`
    reason: str = ""

    @property
    def cell(self) -> str:
        """The counts in the table."""
        return "–" if self.reason else f"{self.before} → {self.after}"

    def is_better(self, count: int | None, other: int | None) -> bool:
        """Whether one count shows more of the fusion than another one."""
        if count is None or other is None:
            return False
        return count < other if self.fusion.shows_in_fewer else count > other


def count_fusions(model: keras.Model, optimized: keras.Model,
                  report: OptimizationReport) -> list[FusionCount]:
    """Counts every classic fusion in every runtime, for a model and for what `reskeras.optimize` made of it.

    Raises:
        ValueError: if `report` is another model's.
    """
    _check_report(model, optimized, report)
    return _count_all(read_kernels(model), read_kernels(optimized))


def _check_report(model: keras.Model, optimized: keras.Model, report: OptimizationReport) -> None:
    if {model.name, optimized.name} != {report.model}:
        raise ValueError(f"{model.name}, {optimized.name}: the report is of {report.model!r}; "
                         "expected optimized, report = reskeras.optimize(model)")


def _count_all(before: Kernels, after: Kernels) -> list[FusionCount]:
    return [count_fusion(fusion, runtime, before[runtime], after[runtime]) for fusion in FUSIONS
            for runtime in before]


def count_fusion(fusion: Fusion, runtime: str, before: list[Kernel] | str,
                 after: list[Kernel] | str) -> FusionCount:
    """How often a fusion happens in a runtime, by its kernels before and after `optimize`."""
    if isinstance(before, str) or isinstance(after, str):
        return FusionCount(fusion, runtime, None, None, before if isinstance(before, str) else str(after))
    return FusionCount(fusion, runtime, sum(map(fusion.counts, before)), sum(map(fusion.counts, after)))


def format_report(model: keras.Model, optimized: keras.Model, report: OptimizationReport) -> str:
    """The table as text, and below it every runtime's own names for the kernels that were counted."""
    _check_report(model, optimized, report)
    before, after = read_kernels(model), read_kernels(optimized)
    lines = [*_align(_make_cells(_count_all(before, after), model, report)), "", make_caption(model)]
    if report.refusal:
        lines.append(report.refusal)
    for runtime, counted in COUNTED.items():
        lines += ["", f"{runtime}: {counted}", f"  before  {_format_kernels(before[runtime])}",
                  f"  after   {_format_kernels(after[runtime])}"]
    return "\n".join(lines)


def format_markdown(counts: list[FusionCount], model: keras.Model, report: OptimizationReport) -> str:
    """The table of docs/optimize.md."""
    header, *rows = _make_cells(counts, model, report)
    return "\n".join([markdown_table(header, rows), "", make_caption(model)])


def _make_cells(counts: list[FusionCount], model: keras.Model, report: OptimizationReport) -> list[list[str]]:
    rows = [["fusion", "counted", *COUNTED, "done by"]]
    for fusion in FUSIONS:
        by_runtime = {count.runtime: count for count in counts if count.fusion is fusion}
        rows.append([fusion.name, fusion.counted, *(by_runtime[runtime].cell for runtime in COUNTED),
                     describe_who_fuses(by_runtime, model, report)])
    return rows


def describe_who_fuses(by_runtime: dict[str, FusionCount], model: keras.Model,
                       report: OptimizationReport) -> str:
    """Says who does a fusion, by the counts: a pass, or a runtime without or after the passes.

    Args:
        by_runtime: the counts of the fusion.
        model: as it was before `optimize`.
        report: the report of `optimize`.
    """
    graph, runtimes = by_runtime[GRAPH], [count for runtime, count in by_runtime.items() if runtime != GRAPH]
    name = graph.fusion.by_pass
    done = None if report.refusal else {p.name: p for p in report.passes}.get(name)
    without = [count.runtime for count in runtimes if count.is_better(count.before, graph.before)]
    afterwards = [count.runtime for count in runtimes if count.runtime not in without and
                  count.is_better(count.after, count.before if graph.fusion.in_name_only else graph.after)]

    parts = []
    if done and graph.is_better(graph.after, graph.before):
        parts.append(f"{name} ({len(done.rewritten)} layers)")
    if without:
        parts.append(f"without optimize: {', '.join(without)}")
    if afterwards:
        parts.append(f"after optimize: {', '.join(afterwards)}")
    parts = parts or ["not done by any of these runtimes"]
    if done and done.sites and not done.rewritten:
        parts.append(f"{name} found {done.sites} and rewrote none")
    if name == "merge_branches" and not done:
        parts.append(f"merge_branches, which is not a default pass, would merge {_count_siblings(model)} "
                     f"convolutions")
    return "; ".join(parts)


def _format_kernels(kernels: list[Kernel] | str) -> str:
    """How often each kernel ran, by the runtime's own name for it; or why that is not known."""
    if isinstance(kernels, str):
        return kernels
    counts = Counter(kernel.name for kernel in kernels)
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _count_siblings(model: keras.Model) -> int:
    """The convolutions of one tensor that merge_branches would make one."""
    return len(merge_branches(Graph.of(model)).rewritten)


def _align(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths)).rstrip() for row in rows]


def make_caption(model: keras.Model) -> str:
    """What was counted, and with which versions."""
    def get_version(name: str) -> str:
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            return f"{name} not installed"
    size = " x ".join(str(side or SIZE) for side in model.inputs[0].shape[1:])
    return (f"{model.name} ({size}), before → after optimize, one image in float32 on the CPU: "
            f"{get_version('tensorflow')}, {get_version('openvino')}.")
