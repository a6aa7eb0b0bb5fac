"""Which classic fusion happens where, in a pass of `optimize` or in a runtime: counted in what really runs."""
from __future__ import annotations

import importlib.metadata
from collections import Counter
from dataclasses import dataclass
from typing import Callable

import keras

from ..graph.report import OptimizationReport
from ..graph.graph import Graph
from ..graph.passes.merge_branches import merge_branches
from .runtime_kernels import COUNTED, Kernel, SIZE, read_kernels
from .tables import markdown_table

GRAPH = "Keras graph"           # what the passes change


@dataclass(frozen=True)
class Fusion:
    """One fusion by its name in the literature, and what to count for it."""
    name: str
    counted: str
    counts: Callable[[Kernel], bool]
    by_pass: str = ""               # of `optimize`
    fewer: bool = False             # whether the fusion shows in fewer of what is counted, or in more
    in_name: bool = False           # whether a pass does it in name alone: one layer, which a runtime must still make one kernel


def _all_of(*words: str, no: tuple[str, ...] = ()) -> Callable[[Kernel], bool]:
    return lambda kernel: kernel.does.issuperset(words) and kernel.does.isdisjoint(no)


FUSIONS = (
    Fusion("BN folding", "normalizing multiplications", _all_of("norm"), "fold_bn", fewer=True),
    Fusion("conv + ReLU", "kernels that do both", _all_of("conv", "act", no=("add", "pool")), "fuse_activation",
           in_name=True),
    Fusion("conv + ReLU + pool", "kernels that do all three", _all_of("conv", "act", "pool")),
    Fusion("conv + add + ReLU", "kernels that do all three", _all_of("conv", "add", "act")),
    Fusion("multi-branch (siblings)", "convolutions", _all_of("conv"), "merge_branches", fewer=True),
    Fusion("topology compression", "convolutions that stride", lambda k: "conv" in k.does and k.strides, "push_stride",
           fewer=True),
    Fusion("kernel-1 pooling", "pools of one cell", lambda k: "pool" in k.does and k.window == 1, "push_stride"),
    Fusion("padding", "paddings by themselves", _all_of("pad"), "fold_pad", fewer=True))


@dataclass(frozen=True)
class FusionCount:
    """One fusion in one runtime: what is counted, how often in the model as it is and in the optimized one."""
    fusion: Fusion
    by: str                         # a key of kernels.COUNTED, which says of what the counts are
    before: int | None
    after: int | None               # None: not counted, see `why`
    why: str = ""

    @property
    def cell(self) -> str:
        return "–" if self.why else f"{self.before} → {self.after}"

    def better(self, count: int | None, than: int | None) -> bool:
        return count is not None and than is not None and (count < than if self.fusion.fewer else count > than)


Ran = dict[str, "list[Kernel] | str"]


def count_fusions(model: keras.Model, fast: keras.Model, certificate: OptimizationReport) -> list[FusionCount]:
    """Every classic fusion in every runtime, for `model` as it is and for `fast`, which `reskeras.optimize` made of it.

    Raises: ValueError where `certificate` is another model's.
    """
    _check(model, fast, certificate)
    return _rows(read_kernels(model), read_kernels(fast))


def _check(model: keras.Model, fast: keras.Model, certificate: OptimizationReport) -> None:
    if {model.name, fast.name} != {certificate.model}:
        raise ValueError(f"{model.name}, {fast.name}: the certificate is of {certificate.model!r}; "
                         "expected fast, certificate = reskeras.optimize(model)")


def _rows(before: Ran, after: Ran) -> list[FusionCount]:
    return [make_row(fusion, by, before[by], after[by]) for fusion in FUSIONS for by in before]


def make_row(fusion: Fusion, by: str, before: list[Kernel] | str, after: list[Kernel] | str) -> FusionCount:
    if isinstance(before, str) or isinstance(after, str):
        return FusionCount(fusion, by, None, None, before if isinstance(before, str) else str(after))
    return FusionCount(fusion, by, sum(map(fusion.counts, before)), sum(map(fusion.counts, after)))


def format_report(model: keras.Model, fast: keras.Model, certificate: OptimizationReport) -> str:
    """The table as text, and below it every runtime's own names for the kernels that were counted."""
    _check(model, fast, certificate)
    before, after = read_kernels(model), read_kernels(fast)
    lines = [*_aligned(_cells(_rows(before, after), model, certificate)), "", caption(model), *filter(None, [certificate.refusal])]
    for by, counted in COUNTED.items():
        lines += ["", f"{by}: {counted}", f"  before  {_kernel_names(before[by])}", f"  after   {_kernel_names(after[by])}"]
    return "\n".join(lines)


def markdown(found: list[FusionCount], model: keras.Model, certificate: OptimizationReport) -> str:
    """The table of docs/optimize.md."""
    head, *body = _cells(found, model, certificate)
    return "\n".join([markdown_table(head, body), "", caption(model)])


def _cells(found: list[FusionCount], model: keras.Model, certificate: OptimizationReport) -> list[list[str]]:
    lines = [["fusion", "counted", *COUNTED, "done by"]]
    for fusion in FUSIONS:
        own = {r.by: r for r in found if r.fusion is fusion}
        lines.append([fusion.name, fusion.counted, *(own[by].cell for by in COUNTED), describe_who_fuses(own, model, certificate)])
    return lines


def describe_who_fuses(own: dict[str, FusionCount], model: keras.Model, certificate: OptimizationReport) -> str:
    """Who does a fusion, as the counts say: a pass, a runtime on the model as it is, a runtime once the passes have run."""
    graph, runtimes = own[GRAPH], [r for by, r in own.items() if by != GRAPH]
    name = graph.fusion.by_pass
    ran = None if certificate.refusal else {p.name: p for p in certificate.passes}.get(name)
    alone = [r.by for r in runtimes if r.better(r.before, graph.before)]
    later = [r.by for r in runtimes if r.by not in alone and
             r.better(r.after, r.before if graph.fusion.in_name else graph.after)]
    said = [f"{name} ({len(ran.rewritten)} layers)"] if ran and graph.better(graph.after, graph.before) else []
    said += [f"unasked: {', '.join(alone)}"] if alone else []
    said += [f"after optimize: {', '.join(later)}"] if later else []
    said = said or ["nobody: no runtime here fuses it"]
    if ran and ran.sites and not ran.rewritten:
        said.append(f"{name} found {ran.sites} and rewrote none")
    if name == "merge_branches" and not ran:
        said.append(f"merge_branches, which was not asked for, would take {_count_siblings(model)} convolutions")
    return "; ".join(said)


def _kernel_names(ran: list[Kernel] | str) -> str:
    """How often each kernel ran, by the runtime's own name for it; or why that is not known."""
    if isinstance(ran, str):
        return ran
    return ", ".join(f"{count} {name}" for name, count in sorted(Counter(k.name for k in ran).items()))


def _count_siblings(model: keras.Model) -> int:
    """The convolutions of one tensor that merge_branches would make one."""
    return len(merge_branches(Graph.of(model)).rewritten)


def _aligned(lines: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines)]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(line, widths)).rstrip() for line in lines]


def caption(model: keras.Model) -> str:
    """What was counted, and with which versions."""
    def version(name: str) -> str:
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            return f"{name} not installed"
    size = " x ".join(str(s or SIZE) for s in model.inputs[0].shape[1:])
    return (f"{model.name} ({size}), before → after optimize, one image in float32 on the CPU: {version('tensorflow')}, "
            f"{version('openvino')}.")
