"""`optimize_model`: the same function with less work, by passes over the graph, and a check."""
from __future__ import annotations

import warnings
from functools import partial
from typing import Callable, Sequence

import keras
import numpy as np

from ..errors import ArgumentError, check_choice, make_printable
from .equivalence import EquivalenceCheck, EquivalenceChecker, check_copy, fix_input_sizes
from .graph import Graph
from .pass_result import Pass, PassResult
from .passes.drop_noops import drop_noops
from .passes.fold_bn import fold_bn
from .passes.fold_pad import fold_pad
from .passes.fuse_activation import fuse_activation
from .passes.inline import inline
from .passes.merge_branches import merge_branches
from .passes.push_stride import push_stride
from .passes.rewrite_groups import rewrite_groups
from .passes.standardize_kernels import standardize_kernels
from .passes.static_shapes import static_shapes
from .report import GraphSize, OptimizationReport, PassReport, measure_latency, measure_top1_agreement
from .shape_inference import Shape

PASSES: dict[str, Callable[..., PassResult]] = {
    "inline": inline, "drop_noops": drop_noops, "standardize_kernels": standardize_kernels,
    "fold_bn": fold_bn, "push_stride": push_stride, "fold_pad": fold_pad, "fuse_activation": fuse_activation,
    "merge_branches": merge_branches, "rewrite_groups": rewrite_groups,
    "groups_to_concat": partial(rewrite_groups, form="concat"),
    "groups_to_sum": partial(rewrite_groups, form="sum"), "static_shapes": static_shapes}
# without merge_branches: it saves no multiplication and adds slices; `examples/benchmarks/inference.py
# --base` measures it
DEFAULT_PASSES = ("inline", "drop_noops", "standardize_kernels", "fold_bn", "push_stride", "fold_pad",
                  "fuse_activation")
TARGET_PASSES: dict[str | None, tuple[str, ...]] = {
    None: DEFAULT_PASSES, "saved_model": DEFAULT_PASSES, "openvino": DEFAULT_PASSES,
    "tflite": (*DEFAULT_PASSES, "static_shapes")}


def optimize_model(model: keras.Model, *, passes: Sequence[str | Pass] | None = None,
                   target: str | None = None, check: bool = True, images: np.ndarray | None = None,
                   latency: bool = False,
                   input_shape: Shape | None = None) -> tuple[keras.Model, OptimizationReport]:
    """Makes a model for inference that computes the same function with less work.

    If the check fails, nothing is optimized: `model` itself is returned, with a warning, and the report
    names the first pass that changed the result.  The layers of the new model keep their trainable flags,
    but it is not compiled.

    Args:
        model: a functional or sequential model, which is not changed; nested models are replaced by their
            layers.
        passes: names or functions Graph -> PassResult, in order; those of the target by default.
        target: None, "saved_model", "tflite" (one image per call, fixed sizes) or "openvino".
        check: whether both models are compared in float64 on random inputs.
        images: images as the model takes them, to measure how many of them keep their class; only for a model
            of one output.
        latency: whether one call on one image is timed before and after.
        input_shape: (height, width, channels), if the model leaves them open; used for the
            multiply-accumulates (224 pixels by default) and for the fixed sizes.

    Returns:
        The new model and the report of what each pass did.

    Raises:
        ArgumentError: for an unknown pass or target, or for images if the model has several outputs.
        ValueError: if the model has no graph.
        TypeError: if `model` is not a Keras model.
    """
    before = Graph.of(model)
    if images is not None and len(model.outputs) > 1:
        outputs = ", ".join(model.output_names)
        raise ArgumentError("images", images, f"None for a model of several outputs ({outputs})",
                            hint="`images` works only with a model of one output")

    results = _run_passes(before, _select_passes(passes, target, input_shape))
    after = results[-1][1].graph if results else before
    result, refusal = _check_passes(model, before, results) if check else (None, "")
    if refusal:     # the warning points to the line that calls reskeras.optimize
        warnings.warn(f"{make_printable(model.name)} stays as it is: {refusal}", stacklevel=3)

    optimized = model if refusal else after.build()
    return optimized, OptimizationReport(
        model=model.name, passes=_report_passes(before, results, input_shape), check=result, refusal=refusal,
        top1_agreement=None if images is None else measure_top1_agreement(model, optimized, images),
        latency_ms=measure_latency(model, optimized, input_shape) if latency else None)


def optimize_without_check(model: keras.Model, target: str | None, input_shape: Shape | None,
                           last_passes: Sequence[Pass] = ()) -> keras.Model:
    """The model after the passes of a target, without the slow parts of `optimize_model`.

    These are the comparison of the two models and the counting of their multiply-accumulates.

    Args:
        model: a functional or sequential model.
        target: as for `optimize_model`.
        input_shape: (height, width, channels), for the fixed sizes.
        last_passes: passes after those of the target.

    Returns:
        A new model.

    Raises:
        ValueError: if the model has no graph.
    """
    before = Graph.of(model)
    passes: list[str | Pass] = [*TARGET_PASSES[target], *last_passes]
    results = _run_passes(before, _select_passes(passes, target, input_shape))
    return (results[-1][1].graph if results else before).build()


def _select_passes(passes: Sequence[str | Pass] | None, target: str | None,
                   input_shape: Shape | None) -> list[tuple[str, Pass]]:
    """The name and the function of each pass, in order.

    Raises:
        ArgumentError: for a pass or a target that does not exist.
    """
    check_choice("target", target, TARGET_PASSES)
    selected: list[tuple[str, Pass]] = []
    given = TARGET_PASSES[target] if passes is None else [passes] if isinstance(passes, str) else passes
    for name in given:
        if callable(name):      # a function of the user
            selected.append((getattr(name, "__name__", "own"), name))
        elif name == "static_shapes":
            selected.append((name, partial(static_shapes, input_shape=input_shape)))
        elif name in PASSES:
            selected.append((name, PASSES[name]))
        else:
            raise ArgumentError("passes", name, f"one of {', '.join(PASSES)}", PASSES)
    return selected


def _run_passes(graph: Graph, passes: list[tuple[str, Pass]]) -> list[tuple[str, PassResult]]:
    """The result of each pass, with its name."""
    results: list[tuple[str, PassResult]] = []
    for name, run_pass in passes:
        result = run_pass(graph)
        results.append((name, result))
        graph = result.graph
    return results


def _report_passes(graph: Graph, results: list[tuple[str, PassResult]],
                   input_shape: Shape | None) -> tuple[PassReport, ...]:
    """The report of each pass, from the graph before the first one and the results."""
    reports: list[PassReport] = []
    before = GraphSize.of(graph, input_shape)
    for name, result in results:
        after = GraphSize.of(result.graph, input_shape) if result.rewritten else before
        reports.append(PassReport(name, result.rewritten, dict(result.declined), before, after))
        before = after
    return tuple(reports)


def _check_passes(model: keras.Model, before: Graph,
                  results: list[tuple[str, PassResult]]) -> tuple[EquivalenceCheck | None, str]:
    """The check of the last graph and, if it fails, the first pass whose graph differs, with the reason."""
    last = results[-1][1].graph if results else before
    checker = EquivalenceChecker(fix_input_sizes(before, last))
    try:
        checker.run_reference()     # before the passes are checked: an error here is not the fault of a pass
        check_copy(model, before)
    except Exception as error:      # a layer that does not run in float64, an input of strings
        return None, (f"the two models cannot be compared ({_shorten(error)}); "
                      "to optimize without a comparison, switch `check` off")

    check, reason = _check_graph(checker, last)
    for name, result in results if reason else ():
        if why := _check_graph(checker, result.graph)[1]:
            return check, f"{name} is refused: {why}"
    return check, reason


def _check_graph(checker: EquivalenceChecker, graph: Graph) -> tuple[EquivalenceCheck | None, str]:
    try:
        check = checker.check(graph)
    except Exception as error:      # any error of the backend about the new layers
        return None, f"its graph does not run ({_shorten(error)})"
    return check, "" if check.passed else f"its graph differs by {check}"


def _shorten(error: Exception, length: int = 300) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= length else f"{text[:length]} ..."
