"""What `optimize` did to a model, and the check that the model still computes the same."""
from __future__ import annotations

import math
import os
import statistics
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np

from ..files import write_text
from ..json_reader import read_json
from ..json_writer import to_json
from .cost.cost import count_layer_macs, find_mac_rule
from .equivalence import EquivalenceCheck
from .graph import Graph
from .node import Node
from .passes.static_shapes import static_shapes
from .shape_inference import Shape

# Attribute -> key of the JSON file, if the two differ: so files of earlier versions stay readable
KEYS = {"check": "proof", "refusal": "refused", "passed": "holds", "is_ill_conditioned": "ill_conditioned",
        "sites": "found"}
DEFAULT_SHAPE = (224, 224, 3)


@dataclass(frozen=True)
class GraphSize:
    """The size of a graph.

    Args:
        layers: number of layers; a shared one counts once.
        params: how many numbers the weights have, statistics included.
        macs: multiply-accumulates for one image; None if a shape is not known.
    """

    layers: int
    params: int
    macs: int | None

    @classmethod
    def of(cls, graph: Graph, input_shape: Shape | None = None) -> GraphSize:
        """Counts the layers, parameters and MACs of a graph.

        Args:
            graph: a graph with its weights.
            input_shape: (height, width, channels), if the graph leaves them open; 224 x 224 x 3 by default.
        """
        weights = {node.name: node.weights for node in graph.nodes}
        params = sum(w.size for values in weights.values() for w in values)
        fixed = static_shapes(graph, input_shape or DEFAULT_SHAPE, batch_size=1).graph
        return cls(len(weights), params, _count_macs(fixed))


def _count_macs(graph: Graph) -> int | None:
    """The multiply-accumulates of all layers, those of nested models too; None if a shape is not known."""
    total = 0
    for node in graph.nodes:
        macs: int | None = 0
        if issubclass(node.layer_class, keras.Model) and "layers" in node.config:
            shape = graph.shapes.get(node.inputs[0])
            inner = Graph.of(node.make_layer())
            macs = _count_macs(static_shapes(inner, shape and shape[1:], batch_size=1).graph)
        elif find_mac_rule(node.layer_class):
            macs = _count_node_macs(graph, node)
        if macs is None:
            return None
        total += macs
    return total


def _count_node_macs(graph: Graph, node: Node) -> int | None:
    before, after = graph.shapes.get(node.inputs[0]), graph.shapes.get(node.output)
    if before is None or after is None or None in before[1:] or None in after[1:]:
        return None
    kernels = 2 if "pointwise_initializer" in node.config else 1      # a separable convolution has two
    numbers = sum(kernel.size for kernel in node.weights[:kernels])
    input_shape, output_shape = (tuple(s or 0 for s in shape) for shape in (before, after))
    return count_layer_macs(node.layer_class, numbers, input_shape, output_shape,
                            node.config.get("data_format") == "channels_first")


@dataclass(frozen=True)
class PassReport:
    """What one pass did.

    Args:
        name: the name of the pass.
        rewritten: names of the layers that it rewrote.
        declined: layer name -> reason, for each layer that it could have rewritten but did not.
        before: the size of the graph before the pass.
        after: the size of the graph after the pass.
    """

    name: str
    rewritten: tuple[str, ...]
    declined: dict[str, str]
    before: GraphSize
    after: GraphSize

    @property
    def sites(self) -> int:
        """The number of layers that the pass examined."""
        return len(self.rewritten) + len(self.declined)


@dataclass(frozen=True)
class OptimizationReport:
    """What `optimize` did to a model.

    Args:
        model: the name of the model.
        passes: what each pass did, in order.
        check: the comparison of the two models; None if there was none.
        refusal: why the model was returned unchanged; "" if it was optimized.
        top1_agreement: share of the images of `optimize(images=)` that keep their class, in [0, 1].
        latency_ms: milliseconds of one call on one image, before and after.
        versions: the version of Keras, and the backend.
    """

    model: str
    passes: tuple[PassReport, ...]
    check: EquivalenceCheck | None
    refusal: str
    top1_agreement: float | None = None
    latency_ms: tuple[float, float] | None = None
    versions: dict[str, str] = field(
        default_factory=lambda: {"keras": keras.__version__, "backend": keras.backend.backend()})

    @property
    def before(self) -> GraphSize | None:
        """The size of the model; None if no pass ran."""
        return self.passes[0].before if self.passes else None

    @property
    def after(self) -> GraphSize | None:
        """The size of the returned model; None if no pass ran."""
        return self.before if self.refusal else self.passes[-1].after if self.passes else None

    @property
    def max_relative_difference(self) -> float | None:
        """The largest difference in float64 over the largest output; None without a check."""
        return self.check.max_relative_difference if self.check else None

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes the report as JSON.  Raises: OSError if the file cannot be written."""
        write_text(path, to_json(self.get_config()) + "\n")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> OptimizationReport:
        """Reads a report that `write` has written.

        Args:
            path: the path of the JSON file.

        Raises:
            ValueError: for a file that is not such a report.
            OSError: if it cannot be read.
        """
        try:
            return cls.from_config(read_json(path))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not a report of an optimization "
                             f"({type(error).__name__}: {error})") from error

    def get_config(self) -> dict[str, Any]:
        """The report as JSON has it, see `KEYS`."""
        config = {KEYS.get(name, name): value for name, value in asdict(self).items()}
        for values, report in zip(config["passes"], self.passes):
            values[KEYS["sites"]] = report.sites
        if self.check:
            # JSON has no infinity
            finite = {name: value if value is None or math.isfinite(value) else None
                      for name, value in config[KEYS["check"]].items()}
            config[KEYS["check"]] = finite | {KEYS[name]: getattr(self.check, name)
                                              for name in ("passed", "is_ill_conditioned")}
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> OptimizationReport:
        """The inverse of `get_config`."""
        passes = tuple(PassReport(values["name"], tuple(values["rewritten"]), dict(values["declined"]),
                                  GraphSize(**values["before"]), GraphSize(**values["after"]))
                       for values in config["passes"])
        check = None
        if values := config[KEYS["check"]]:
            largest, in_float32 = (math.inf if values[name] is None else values[name]
                                   for name in ("max_relative_difference", "float32_difference"))
            check = EquivalenceCheck(largest, in_float32, values["sensitivity"])
        latency = config["latency_ms"] and tuple(config["latency_ms"])
        return cls(config["model"], passes, check, config[KEYS["refusal"]], config["top1_agreement"], latency,
                   dict(config["versions"]))

    def __str__(self) -> str:
        lines = [f"{self.model}: {self.refusal or 'optimized'}"]
        for p in self.passes:
            lines.append(f"  {p.name:20} {len(p.rewritten):4} of {p.sites:4} rewritten   "
                         f"layers {p.before.layers} -> {p.after.layers}   "
                         f"MACs {_format_macs(p.before.macs)} -> {_format_macs(p.after.macs)}")
            reasons: dict[str, list[str]] = {}
            for name, why in p.declined.items():
                reasons.setdefault(why, []).append(name)
            for why, names in reasons.items():
                more = " ..." if len(names) > 3 else ""
                lines.append(f"    left {len(names)}: {', '.join(names[:3])}{more}: {why}")
        lines.append(f"  equivalence check: {self.check or 'none'}")
        if self.top1_agreement is not None:
            lines.append(f"  images that keep their class: {self.top1_agreement:.2%}")
        if self.latency_ms:
            lines.append("  one image: {:.1f} ms -> {:.1f} ms".format(*self.latency_ms))
        return "\n".join(lines)


def _format_macs(macs: int | None) -> str:
    return "?" if macs is None else f"{macs / 1e9:.3f} G"


def measure_top1_agreement(before: keras.Model, after: keras.Model, images: np.ndarray) -> float:
    """The share of `images` (as the models take them) to which both models give the same class, in [0, 1]."""
    a, b = (model.predict(images, verbose=0).reshape(len(images), -1).argmax(1) for model in (before, after))
    return float((a == b).mean())


def measure_latency(before: keras.Model, after: keras.Model, input_shape: Shape | None,
                    calls: int = 15) -> tuple[float, float]:
    """Measures how long each of two models takes for one random image, or one random tensor for each input.

    Args:
        before: a model.
        after: a model with the same inputs; the two run in turns.
        input_shape: (height, width, channels), if the models leave them open; 224 x 224 x 3 by default.
        calls: number of calls of each model.

    Returns:
        The median milliseconds of one call, for each model.
    """
    def random(tensor: keras.KerasTensor) -> np.ndarray:
        wanted = input_shape or DEFAULT_SHAPE
        shape = [(w or 224) if own is None else own for own, w in zip(tensor.shape[1:], wanted)]
        return np.random.default_rng(0).standard_normal((1, *shape)).astype("float32")
    image = keras.tree.map_structure(random, before.input)

    times: tuple[list[float], list[float]] = ([], [])
    for model in (before, after):
        model.predict_on_batch(image)
    for _ in range(calls):
        for model, model_times in zip((before, after), times):
            start = time.perf_counter()
            model.predict_on_batch(image)
            model_times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[0]), statistics.median(times[1])
