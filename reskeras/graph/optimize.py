"""The same function with less work: passes over the graph, and a proof of what they made."""
from __future__ import annotations

import warnings
from functools import partial
from typing import Callable, Sequence

import keras
import numpy as np

from ..spec import nearest
from .report import Certificate, PassReport, Size, milliseconds, top1_agreement
from .graph import Graph, Shape
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
from .equivalence import Proof, Reference, copied, sized
from .pass_result import Pass, Rewritten

PASSES: dict[str, Callable[..., Rewritten]] = {
    "inline": inline, "drop_noops": drop_noops, "standardize_kernels": standardize_kernels, "fold_bn": fold_bn,
    "push_stride": push_stride, "fold_pad": fold_pad, "fuse_activation": fuse_activation, "merge_branches": merge_branches,
    "rewrite_groups": rewrite_groups, "groups_to_concat": partial(rewrite_groups, form="concat"),
    "groups_to_sum": partial(rewrite_groups, form="sum"), "static_shapes": static_shapes}
# merge_branches stays out: it saves no multiplication and adds slices; `examples/benchmarks/inference.py --base` measures it
ALWAYS = ("inline", "drop_noops", "standardize_kernels", "fold_bn", "push_stride", "fold_pad", "fuse_activation")
TARGETS: dict[str | None, tuple[str, ...]] = {
    None: ALWAYS, "saved_model": ALWAYS, "openvino": ALWAYS, "tflite": (*ALWAYS, "static_shapes")}


def optimize(model: keras.Model, *, passes: Sequence[str | Pass] | None = None, for_target: str | None = None,
             proof: bool = True, images: np.ndarray | None = None, latency: bool = False,
             input_shape: Shape | None = None) -> tuple[keras.Model, Certificate]:
    """A model for inference that computes the same function with less work, and the account of it; `model` stays as it is.

    Where the proof fails, the pass that is to blame is refused: `model` itself comes back, with a warning, and the
    certificate says why.  The new model is for inference: layers keep their trainable flags, but it is not compiled.

    Arguments:
        model: a functional or sequential model; nested ones are resolved.
        passes: names or functions Graph -> Rewritten, in order; those of the target by default.
        for_target: None, "saved_model", "tflite" (one image per call, fixed sizes) or "openvino".
        proof: whether both models are compared in float64.
        images: for the share of images that keep their class, as the model takes them.
        latency: whether one call on one image is timed before and after.
        input_shape: (height, width, channels), where the model leaves them open and something must know: multiply-accumulates
            (224 pixels by default), fixed sizes.
    Raises: ValueError where the model has no graph, for an unknown pass or target, or for images where it has several outputs.
    """
    before = after = Graph.of(model)
    if images is not None and len(model.outputs) > 1:
        raise ValueError(f"images: {model.name} has the outputs {', '.join(model.output_names)}; expected one, with the classes")
    steps: list[tuple[str, Rewritten]] = []
    reports: list[PassReport] = []
    size = Size.of(before, input_shape)
    for name, rewrite in chosen(passes, for_target, input_shape):
        result = rewrite(after)
        made = Size.of(result.graph, input_shape) if result.done else size
        reports.append(PassReport(name, result.done, dict(result.declined), size, made))
        steps.append((name, result))
        size, after = made, result.graph
    proven, refused = proved(model, before, steps) if proof else (None, "")
    if refused:
        warnings.warn(f"{model.name} stays as it is: {refused}", stacklevel=2)
    fast = model if refused else after.build()
    return fast, Certificate(
        model=model.name, passes=tuple(reports), proof=proven, refused=refused,
        top1_agreement=None if images is None else top1_agreement(model, fast, images),
        latency_ms=milliseconds(model, fast, input_shape) if latency else None)


def chosen(passes: Sequence[str | Pass] | None, target: str | None, input_shape: Shape | None) -> list[tuple[str, Pass]]:
    if target not in TARGETS:
        raise ValueError(f"for_target={target!r}: expected one of {', '.join(map(repr, TARGETS))}{nearest(target, TARGETS)}")
    found: list[tuple[str, Pass]] = []
    for each in TARGETS[target] if passes is None else [passes] if isinstance(passes, str) else passes:
        if callable(each):
            found.append((getattr(each, "__name__", "own"), each))
        elif each in PASSES:
            found.append((each, partial(PASSES[each], input_shape=input_shape) if each == "static_shapes" else PASSES[each]))
        else:
            raise ValueError(f"passes: no pass is named {each!r}{nearest(each, PASSES)}; known are {', '.join(PASSES)}")
    return found


def proved(model: keras.Model, before: Graph, steps: list[tuple[str, Rewritten]]) -> tuple[Proof | None, str]:
    """The proof of the last graph and, where it does not hold, the first pass to blame and why."""
    last = steps[-1][1].graph if steps else before
    reference = Reference(sized(before, last))
    try:
        reference.runs      # now: what goes wrong with the net itself is no pass' fault
        copied(model, before)
    except Exception as error:      # somebody's layer that knows no float64, an input of strings
        return None, f"there is no proof ({_brief(error)}); proof=False does without"
    proof, reason = _attempt(reference, last)
    for name, result in steps if reason else ():
        if why := _attempt(reference, result.graph)[1]:
            return proof, f"{name} is refused: {why}"
    return proof, reason


def _attempt(reference: Reference, graph: Graph) -> tuple[Proof | None, str]:
    try:
        proof = reference.prove(graph)
    except Exception as error:      # whatever the backend has against the new layers
        return None, f"its graph does not run ({_brief(error)})"
    return proof, "" if proof.holds else f"its graph differs by {proof}"


def _brief(error: Exception, length: int = 300) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= length else f"{text[:length]} ..."
