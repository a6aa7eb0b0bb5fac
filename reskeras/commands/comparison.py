"""The points of a comparison: nets with their published accuracy and their cost, and the Pareto front."""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Iterable, Sequence

from .. import catalog
from ..errors import ArgumentError, nearest
from ..variants import VARIANTS
from ..weights.checkpoint import Checkpoint
from ..weights.table import get_checkpoints
from .keras_nets import KerasNet, find_keras_net
from .published_costs import PUBLISHED_NETS

IMAGENET = "imagenet-1k"
# instead of a family: other nets, for which papers give the figures, and those that Keras builds
LITERATURE, KERAS = "literature", "keras.applications"
FREE_FIELDS = {"pixels", "bn_epsilon"}      # fields of a checkpoint's Spec that change no cost
COSTS = {"macs": ("MACs (G)", 1e9), "params": ("parameters (M)", 1e6), "latency_ms": ("latency (ms)", 1.0)}


@dataclass(frozen=True)
class Point:
    """A net with one checkpoint's published accuracy, and its cost at the image size of that accuracy."""

    name: str
    family: str
    tag: str                    # of the checkpoint; "" for other families
    size: int                   # pixels on a side
    data: str                   # what it was trained on
    top1: float                 # percent
    params: int
    macs: float
    source: str
    latency_ms: float | None = None
    best: tuple[str, ...] = ()  # the costs on whose Pareto front it is


def find_points(models: Iterable[str], family: str | None, labels: str, literature: bool,
                latency: bool) -> list[Point]:
    """The nets that have a published accuracy, then the literature's if wanted, each with its cost.

    The arguments are those of `reskeras.compare`.
    """
    if literature and labels != IMAGENET:
        raise ArgumentError("literature", literature, f"False with the labels {labels}, because the nets of "
                            f"the literature were validated on {IMAGENET}")
    nets: list[Checkpoint | KerasNet] = [_find_measured_net(name, labels) for name in models]
    if family:
        nets += _find_family_checkpoints(family, labels)
    if not nets:
        raise ArgumentError("models", list(models),
                            "the names of nets, or a `family` such as 'resnext'",
                            hint="there is nothing to compare")

    points = [_make_point(net) for net in dict.fromkeys(nets)]
    if latency:
        points = [replace(point, latency_ms=time_one_image(point)) for point in points]
    if literature:
        points += [Point(net.name, LITERATURE, "", net.size, "in1k", net.top1, net.params, net.macs,
                         net.source)
                   for net in PUBLISHED_NETS]

    fronts = {key: find_pareto_front([getattr(p, key) for p in points], [p.top1 for p in points])
              for key in COSTS}
    return [replace(point, best=tuple(key for key, members in fronts.items() if i in members))
            for i, point in enumerate(points)]


def _find_measured_net(name: str, labels: str) -> Checkpoint | KerasNet:
    """The checkpoint that `name` means: its own, or the net's default one if its accuracy is published.

    Raises:
        ValueError: for an unknown name, or if no accuracy is published.
    """
    if keras_net := find_keras_net(name):
        if labels != IMAGENET:
            raise ValueError(f"{name}: no accuracy on {labels} is published; there is one on {IMAGENET}")
        return keras_net
    variant, tag, _ = catalog.find_variant(name)
    checkpoints = get_checkpoints(variant.name)
    if tag and tag not in checkpoints:
        raise ValueError(f"{variant.name} has no checkpoint {tag!r}{nearest(tag, checkpoints)}")
    measured = _with_accuracy([checkpoints[tag]] if tag else checkpoints.values(), labels)
    if not measured:
        others = ", ".join(sorted({c.labels for c in checkpoints.values() if c.top1}))
        raise ValueError(f"{name}: no accuracy on {labels} is published"
                         + (f"; the checkpoints that have one are on {others}" if others else ""))
    return measured[0]


def _find_family_checkpoints(family: str, labels: str) -> list[Checkpoint]:
    """One checkpoint for each net of a family that has a published accuracy."""
    catalog.check_family(family, "all")
    names = catalog.list_models() if family == "all" else catalog.list_models(family=family)
    measured = [_with_accuracy(get_checkpoints(name).values(), labels) for name in names]
    if not any(measured):
        raise ArgumentError("family", family, f"a family with a published accuracy on {labels}",
                            hint="no net of it has one")
    return [checkpoints[0] for checkpoints in measured if checkpoints]


def _with_accuracy(checkpoints: Iterable[Checkpoint], labels: str) -> list[Checkpoint]:
    """Keeps the checkpoints with an accuracy on `labels`, the net's default first."""
    return sorted((c for c in checkpoints if c.top1 and c.labels == labels), key=lambda c: not c.is_default)


def _make_point(net: Checkpoint | KerasNet) -> Point:
    if isinstance(net, KerasNet):
        return Point(net.name, KERAS, "", net.size, net.data, net.top1, net.params, net.macs, net.source)
    variant = VARIANTS[net.variant]
    size = net.top1_size or net.input_size
    stored = catalog.read_costs()[net.variant]
    params, macs = stored.params, stored.macs
    if (size != variant.spec.input_size or net.classes != variant.spec.classes
            or set(net.spec_fields) - FREE_FIELDS):
        from .cost import cost
        measured = cost(net.name, size)
        params, macs = measured.params, measured.macs
    assert net.top1 is not None
    return Point(variant.builder, variant.family, net.tag, size, net.dataset, net.top1,
                 params, macs,
                 net.id)


def time_one_image(point: Point) -> float:
    """Milliseconds of one image here: the median of single calls of the compiled net, with random weights."""
    import numpy as np

    from ..exporters.keras_file import make_array_function
    from ..exporters.measurements import measure_latency
    from .open_model import open_model
    name = point.name if point.family == KERAS else f"{catalog.list_builders()[point.name]}.{point.tag}"
    net = open_model(name, point.size)
    shape = (1, point.size, point.size, net.input_shape[-1])
    images = np.random.default_rng(0).normal(size=shape).astype("float32")
    return measure_latency(make_array_function(net), images)["median"]


def find_pareto_front(costs: Sequence[float | None], top1: Sequence[float]) -> set[int]:
    """The indices of the points for which no other one has both at most the cost and at least the accuracy.

    Args:
        costs: costs of the points; those without a cost are not on the front.
        top1: their accuracy.
    """
    known = [(cost, -accuracy, i) for i, (cost, accuracy) in enumerate(zip(costs, top1)) if cost is not None]
    front: set[int] = set()
    best, best_cost = float("-inf"), float("-inf")
    for cost, negative, i in sorted(known):
        if -negative > best or (-negative == best and cost == best_cost):
            front.add(i)
            best, best_cost = -negative, cost
    return front
