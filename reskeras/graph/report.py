"""What `optimize` did to a model, and how it is known to be the same function."""
from __future__ import annotations

import json
import math
import os
import pathlib
import statistics
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np

from .graph import Graph, Shape
from .passes.static_shapes import static_shapes
from .equivalence import Proof
from .layer_traits import TRANSPOSED


@dataclass(frozen=True)
class Size:
    """Layers, parameters (statistics too) and, where every shape is known, multiply-accumulates of one image."""
    layers: int
    params: int
    macs: int | None

    @classmethod
    def of(cls, graph: Graph, input_shape: Shape | None = None) -> Size:
        """Of an image of 224 x 224 where neither the graph nor `input_shape` says."""
        weights = {node.name: node.weights for node in graph.nodes}
        params = sum(w.size for values in weights.values() for w in values)
        fixed = static_shapes(graph, input_shape or (224, 224, 3), batch=1).graph
        return cls(len(weights), params, macs(fixed))


def macs(graph: Graph) -> int | None:
    """Of convolutions and dense layers, those of nested models too; None where a shape is not known."""
    total = 0
    for node in graph.nodes:
        if issubclass(node.kind, keras.Model) and "layers" in node.config:
            given = graph.shapes.get(node.inputs[0])
            inside = macs(static_shapes(Graph.of(node.layer()), given and given[1:], batch=1).graph)
            if inside is None:
                return None
            total += inside
        kernels = [w.size for w in node.weights if w.ndim > (1 if node.word == "Dense" else 2)]
        if kernels and ("kernel_size" in node.config or node.word == "Dense"):
            shape = graph.shapes.get(node.inputs[0] if node.word in TRANSPOSED else node.output)
            if shape is None or None in shape[1:]:
                return None
            first = node.config.get("data_format") == "channels_first"
            total += sum(kernels) * math.prod(s or 0 for s in (shape[2:] if first else shape[1:-1]))
    return total


@dataclass(frozen=True)
class PassReport:
    """What one pass did: the layers that it rewrote, and why it left others."""
    name: str
    rewritten: tuple[str, ...]
    declined: dict[str, str]
    before: Size
    after: Size

    @property
    def found(self) -> int:
        return len(self.rewritten) + len(self.declined)


@dataclass(frozen=True)
class Certificate:
    """Per pass the sites found, rewritten and declined; the proof (None where it was not asked for)."""
    model: str
    passes: tuple[PassReport, ...]
    proof: Proof | None
    refused: str                            # why the model came back as it was, else ""
    top1_agreement: float | None = None     # share of the given images that keep their class
    latency_ms: tuple[float, float] | None = None   # of one call on one image, before and after
    versions: dict[str, str] = field(default_factory=lambda: {"keras": keras.__version__, "backend": keras.backend.backend()})

    @property
    def before(self) -> Size | None:
        return self.passes[0].before if self.passes else None

    @property
    def after(self) -> Size | None:
        return self.before if self.refused else self.passes[-1].after if self.passes else None

    @property
    def max_relative_difference(self) -> float | None:
        return self.proof.max_relative_difference if self.proof else None

    def write(self, path: str | os.PathLike[str]) -> None:
        """As JSON."""
        pathlib.Path(path).write_text(json.dumps(self.get_config(), indent=2) + "\n", encoding="utf-8")

    def get_config(self) -> dict[str, Any]:
        config = asdict(self)
        for own, report in zip(config["passes"], self.passes):
            own["found"] = report.found
        if self.proof:
            # JSON has no infinity
            finite = {k: v if v is None or math.isfinite(v) else None for k, v in config["proof"].items()}
            config["proof"] = finite | {"holds": self.proof.holds, "ill_conditioned": self.proof.ill_conditioned}
        return config

    def __str__(self) -> str:
        rows = [f"{self.model}: {self.refused or 'optimized'}"]
        for p in self.passes:
            rows.append(f"  {p.name:20} {len(p.rewritten):4} of {p.found:4} rewritten   layers {p.before.layers} -> "
                        f"{p.after.layers}   MACs {_amount(p.before.macs)} -> {_amount(p.after.macs)}")
            reasons: dict[str, list[str]] = {}
            for name, why in p.declined.items():
                reasons.setdefault(why, []).append(name)
            rows += [f"    left {len(names)}: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}: {why}"
                     for why, names in reasons.items()]
        rows.append(f"  proof: {self.proof or 'not asked for'}")
        if self.top1_agreement is not None:
            rows.append(f"  images that keep their class: {self.top1_agreement:.2%}")
        if self.latency_ms:
            rows.append("  one image: {:.1f} ms -> {:.1f} ms".format(*self.latency_ms))
        return "\n".join(rows)


def _amount(macs: int | None) -> str:
    return "?" if macs is None else f"{macs / 1e9:.3f} G"


def top1_agreement(before: keras.Model, after: keras.Model, images: np.ndarray) -> float:
    a, b = (model.predict(images, verbose=0).reshape(len(images), -1).argmax(1) for model in (before, after))
    return float((a == b).mean())


def milliseconds(before: keras.Model, after: keras.Model, input_shape: Shape | None, calls: int = 15) -> tuple[float, float]:
    """The median call of each on one random image, or one random tensor for each input, in turns."""
    def random(tensor: keras.KerasTensor) -> np.ndarray:
        shape = [(g or 224) if o is None else o for o, g in zip(tensor.shape[1:], input_shape or (224, 224, 3))]
        return np.random.default_rng(0).standard_normal((1, *shape)).astype("float32")
    image = keras.tree.map_structure(random, before.input)
    times: tuple[list[float], list[float]] = ([], [])
    for model in (before, after):
        model.predict_on_batch(image)
    for _ in range(calls):
        for model, own in zip((before, after), times):
            start = time.perf_counter()
            model.predict_on_batch(image)
            own.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[0]), statistics.median(times[1])
