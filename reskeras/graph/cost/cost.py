"""What any functional Keras model costs: parameters, multiply-accumulates, activations, memory; and what its layers see."""
from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Callable, Sequence

import keras

from .receptive_field import View, fields
from .activation_memory import memory
from .stages import sections
from .execution_plan import Plan, Shape, Step, plan

CONVENTION = "1 MAC = 1 multiplication + 1 addition = 2 FLOPs, in convolutions and dense layers alone"


@dataclass(frozen=True)
class LayerCost:
    """One call of a layer.  `macs`, `activations` and `output` are for one image."""
    name: str
    kind: str
    stage: str
    block: str
    output: Shape                   # without the batch
    params: int                     # trainable; a shared layer's at its first call
    stats: int                      # other numbers
    macs: int
    activations: int                # numbers in the outputs of convolutions and dense layers (arXiv:2003.13678, section 3)
    field: Shape                    # pixels of the image that a cell sees, by axis; () for what has no place in it
    stride: tuple[float, ...]       # pixels from one cell to the next
    whole: bool                     # whether it sees the whole image, through a gate or a norm where `field` says less
    reads: tuple[int, ...]          # numbers of the layers that it reads


@dataclass(frozen=True)
class Total:
    """A stage, or a net: the sums over its layers, and where its last one stands."""
    name: str
    layers: int
    output: Shape
    params: int
    macs: int
    activations: int
    field: Shape
    stride: tuple[float, ...]
    whole: bool


@dataclass(frozen=True)
class Cost:
    """What a net costs: `params` trainable and `stats` other numbers; `macs` for one image.

    One MAC is one multiplication with its addition, in convolutions and dense layers alone (biases, normalization,
    activations, pooling and element-wise products are not counted), as the papers and timm count.  FLOPs are twice that.
    Memory is of activations, at `batch` images: a tensor lives from the layer that makes it to the last that reads it.
    """
    params: int
    stats: int
    macs: int
    batch: int = field(default=1, compare=False)
    peak_bytes: int = field(default=0, compare=False)       # the most that live at once in inference
    total_bytes: int = field(default=0, compare=False)      # of all: what a training step keeps for its backward pass
    layers: tuple[LayerCost, ...] = field(default=(), compare=False, repr=False)
    uncounted: tuple[str, ...] = field(default=(), compare=False, repr=False)   # layers with a kernel whose MACs are unknown

    @property
    def flops(self) -> int:
        """2 x macs: the multiplications and the additions."""
        return 2 * self.macs

    @property
    def activations(self) -> int:
        return sum(layer.activations for layer in self.layers)

    @property
    def stages(self) -> tuple[Total, ...]:
        """The layers added up by stage, in order."""
        names = dict.fromkeys(layer.stage for layer in self.layers)
        return tuple(total(name, [layer for layer in self.layers if layer.stage == name]) for name in names)

    @property
    def last_map(self) -> LayerCost | None:
        """The last layer whose output has a place in the image: what the head reads."""
        return next((layer for layer in reversed(self.layers) if layer.field), None)

    def as_dict(self, per_layer: bool = True) -> dict[str, Any]:
        """Plain numbers and lists, for JSON."""
        sums = {key: getattr(self, key) for key in ("params", "stats", "macs", "flops", "activations", "batch", "peak_bytes",
                                                    "total_bytes")}
        return {**sums, "convention": CONVENTION, "uncounted": list(self.uncounted), "stages": [asdict(s) for s in self.stages],
                **({"layers": [asdict(layer) for layer in self.layers]} if per_layer else {})}


def cost(model: keras.Model, input_shape: tuple[int, ...] | None = None, batch: int = 1) -> Cost:
    """Parameters and MACs of `model` for one image, its activations and their memory, and what its layers see.

    Arguments:
        model: a functional or sequential model, also with shared layers and nested models.
        input_shape: (height, width, channels), where the model leaves them open.
        batch: images, for the memory.
    Raises: ValueError where a size is missing, or where the model has no graph.
    """
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise ValueError(f"batch={batch!r}: expected a whole number of at least 1")
    made = plan(model, input_shape)
    views = fields(made)
    rows = [row(made, step, section, views) for step, section in zip(made.steps, sections(made, views))]
    maker = {tensor: i for i, step in enumerate(made.steps) for tensor in step.makes}
    layers = tuple(LayerCost(**values, reads=tuple(maker[tensor] for tensor in step.reads))
                   for values, step in zip(rows, made.steps))
    peak, kept = memory(made)
    uncounted = tuple(layer.name for step, layer in zip(made.steps, layers) if not layer.macs and _has_kernel(step.layer))
    return Cost(numbers(model.trainable_variables), numbers(model.non_trainable_variables),
                sum(layer.macs for layer in layers), batch, batch * peak, batch * kept, layers, uncounted)


def row(made: Plan, step: Step, section: tuple[str, str], views: Sequence[View | None]) -> dict[str, Any]:
    after, view = made.after(step), views[step.makes[0]]
    macs = _layer_macs(step.layer, made.before(step), after)
    return {"name": step.name, "kind": type(step.layer).__name__, "stage": section[0], "block": section[1],
            "output": after[1:], "macs": macs, "activations": _layer_activations(step.layer, after) if macs else 0,
            "params": numbers(getattr(step.layer, "trainable_variables", [])) if step.first else 0,
            "stats": numbers(getattr(step.layer, "non_trainable_variables", [])) if step.first else 0,
            "field": view.size if view else (), "whole": view is None or view.whole,
            "stride": tuple(plain(s) for s in view.stride) if view else ()}


def plain(stride: Any) -> float:
    return int(stride) if stride == int(stride) else float(stride)


def dense(layer: Any, before: Shape, after: Shape) -> int:
    return math.prod(before[1:]) * after[-1]


def _each_output_cell(layer: Any, before: Shape, after: Shape) -> int:
    return math.prod(layer.kernel.shape) * cells(layer, after)


def _each_input_cell(layer: Any, before: Shape, after: Shape) -> int:
    return math.prod(layer.kernel.shape) * cells(layer, before)


def _separable(layer: Any, before: Shape, after: Shape) -> int:
    return (math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)) * cells(layer, after)


def cells(layer: Any, shape: Shape) -> int:
    return math.prod(shape[2:] if layer.data_format == "channels_first" else shape[1:-1])


MACS: dict[str, Callable[[Any, Shape, Shape], int]] = {
    "Dense": dense, "BaseConv": _each_output_cell, "BaseDepthwiseConv": _each_output_cell, "BaseConvTranspose": _each_input_cell,
    "BaseSeparableConv": _separable}


def _layer_macs(layer: keras.layers.Layer, before: list[Shape], after: Shape) -> int:
    rule = next((MACS[kind.__name__] for kind in type(layer).__mro__ if kind.__name__ in MACS), None)
    return rule(layer, before[0], after) if rule else 0


def _layer_activations(layer: Any, after: Shape) -> int:
    between = math.prod(layer.depthwise_kernel.shape[-2:]) * cells(layer, after) if hasattr(layer, "depthwise_kernel") else 0
    return math.prod(after[1:]) + between       # a separable convolution is two


def _has_kernel(layer: Any) -> bool:
    return any("kernel" in v.name and len(v.shape) > 1 for v in getattr(layer, "trainable_variables", []))


def total(name: str, layers: Sequence[LayerCost]) -> Total:
    """The sums over `layers`, the last one's shape, and the field and stride of the last that has a place in the image."""
    end = next((layer for layer in reversed(layers) if layer.field), layers[-1])
    return Total(name, len(layers), layers[-1].output, sum(x.params for x in layers), sum(x.macs for x in layers),
                 sum(x.activations for x in layers), end.field, end.stride, end.whole)


def numbers(variables: list[keras.Variable]) -> int:
    """How many numbers in all; the state of a random generator is not the net's."""
    return sum(math.prod(v.shape) for v in variables if "seed_generator" not in v.path)
