"""What a functional Keras model costs: parameters, multiply-accumulates, activations, memory."""
from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Sequence

import keras

from ...errors import check_whole_number
from .activation_memory import measure_activation_memory
from .execution_plan import ExecutionPlan, LayerCall, Shape, make_execution_plan
from .receptive_field import ReceptiveField, compute_receptive_fields
from .scaling import ExchangeCost
from .stages import StageAndBlock, assign_stages

CONVENTION = "1 MAC = 1 multiplication + 1 addition = 2 FLOPs, in convolutions and dense layers alone"

# Attribute -> key of `Cost.as_dict`, if the two differ: so files of earlier versions stay readable
KEYS = {"non_trainable_params": "stats", "receptive_field": "field", "has_global_context": "whole",
        "inputs": "reads", "batch_size": "batch"}


@dataclass(frozen=True)
class LayerCost:
    """The cost of one call of a layer, for one image.

    Attributes:
        name: the layer's name; "backbone/conv1_conv" in a nested model, "dense#2" for the second call of a
            shared layer.
        kind: the class of the layer, such as "Conv2D".
        stage: such as "conv2".
        block: such as "conv2_block1".
        output: shape of the output, without the batch.
        params: how many trainable numbers; those of a shared layer count at its first call.
        non_trainable_params: other numbers, such as moving statistics.
        macs: multiply-accumulates.
        activations: numbers in the output of a convolution or dense layer (arXiv:2003.13678, section 3).
        receptive_field: pixels of the image that a position of the output sees, by axis; () if the output is
            not a map.
        stride: pixels from one position to the next, by axis.
        has_global_context: whether each position also sees the whole image, through a gate or a norm; True if
            the output is not a map.
        inputs: indices in `Cost.layers` of the layers whose outputs it reads.
    """

    name: str
    kind: str
    stage: str
    block: str
    output: Shape
    params: int
    non_trainable_params: int
    macs: int
    activations: int
    receptive_field: Shape
    stride: tuple[float, ...]
    has_global_context: bool
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class StageCost:
    """The cost of a stage, for one image.

    Attributes:
        name: such as "conv2".
        layers: number of layers.
        output: shape of the last layer's output, without the batch.
        params: trainable numbers of all layers.
        macs: multiply-accumulates of all layers.
        activations: numbers in the outputs of the convolutions and dense layers.
        receptive_field: that of the last layer that gives a map; so are `stride` and `has_global_context`.
    """

    name: str
    layers: int
    output: Shape
    params: int
    macs: int
    activations: int
    receptive_field: Shape
    stride: tuple[float, ...]
    has_global_context: bool


@dataclass(frozen=True)
class Cost:
    """What a net costs.

    One MAC is one multiplication with its addition, in convolutions and dense layers alone (biases,
    normalization, activations, pooling and element-wise products are not counted), as the papers and timm
    count.  FLOPs are twice that.  The memory is that of activations: a tensor lives from the layer that makes
    it to the last one that reads it.

    Attributes:
        params: trainable numbers.
        non_trainable_params: other numbers, such as the moving statistics of batch normalization.
        macs: multiply-accumulates for one image.
        batch_size: number of images at once, for the memory.
        peak_bytes: the most bytes of activations that live at once in inference.
        total_bytes: bytes of all activations: what a training step keeps for its backward pass.
        layers: the cost of every call of a layer, in order.
        uncounted: names of layers that have a kernel, but whose MACs are unknown.
        scaling: the exchange of the gradients for 2 and more devices, if it was asked for.
    """

    params: int
    non_trainable_params: int
    macs: int
    batch_size: int = field(default=1, compare=False)
    peak_bytes: int = field(default=0, compare=False)
    total_bytes: int = field(default=0, compare=False)
    layers: tuple[LayerCost, ...] = field(default=(), compare=False, repr=False)
    uncounted: tuple[str, ...] = field(default=(), compare=False, repr=False)
    scaling: tuple[ExchangeCost, ...] = field(default=(), compare=False, repr=False)

    @property
    def flops(self) -> int:
        """2 x macs: the multiplications and the additions."""
        return 2 * self.macs

    @property
    def activations(self) -> int:
        """Numbers in the outputs of convolutions and dense layers, for one image."""
        return sum(layer.activations for layer in self.layers)

    @property
    def stages(self) -> tuple[StageCost, ...]:
        """The layers added up by stage, in order."""
        names = dict.fromkeys(layer.stage for layer in self.layers)
        return tuple(_sum_stage(name, [layer for layer in self.layers if layer.stage == name])
                     for name in names)

    @property
    def last_map(self) -> LayerCost | None:
        """The last layer that gives a feature map, which the head reads; None if no layer does."""
        return next((layer for layer in reversed(self.layers) if layer.receptive_field), None)

    def as_dict(self, per_layer: bool = True) -> dict[str, Any]:
        """Plain numbers and lists, for JSON.

        Args:
            per_layer: whether the layers are listed too.
        """
        names = ("params", "non_trainable_params", "macs", "flops", "activations", "batch_size", "peak_bytes",
                 "total_bytes")
        sums = _with_keys({name: getattr(self, name) for name in names})
        layers = {"layers": [_with_keys(asdict(layer)) for layer in self.layers]} if per_layer else {}
        scaling = {"scaling": [asdict(exchange) for exchange in self.scaling]} if self.scaling else {}
        return {**sums, "convention": CONVENTION, "uncounted": list(self.uncounted),
                "stages": [_with_keys(asdict(stage)) for stage in self.stages], **layers, **scaling}


def _with_keys(values: dict[str, Any]) -> dict[str, Any]:
    return {KEYS.get(name, name): value for name, value in values.items()}


def measure_cost(model: keras.Model, input_shape: tuple[int, ...] | None = None, batch_size: int = 1) -> Cost:
    """Counts the parameters, the MACs and the activations of a model, for one image.

    Args:
        model: a functional or sequential model; it may have shared layers and nested models.
        input_shape: (height, width, channels), if the model leaves them open.
        batch_size: number of images at once, for the memory.

    Returns:
        The cost of the model, its stages and its layers.

    Raises:
        ArgumentError: for a batch size that is not a whole number of at least 1.
        ValueError: if a size is missing, or if the model has no graph.
        TypeError: if `model` is not a Keras model.
    """
    batch_size = check_whole_number("batch_size", batch_size)
    plan = make_execution_plan(model, input_shape)

    fields = compute_receptive_fields(plan)
    maker = {tensor: i for i, step in enumerate(plan.steps) for tensor in step.outputs}
    layers = tuple(_measure_layer(plan, step, stage, fields, maker)
                   for step, stage in zip(plan.steps, assign_stages(plan, fields)))

    peak, total = measure_activation_memory(plan)
    uncounted = tuple(layer.name for step, layer in zip(plan.steps, layers)
                      if not layer.macs and _has_kernel(step.layer))
    return Cost(params=count_numbers(model.trainable_variables),
                non_trainable_params=count_numbers(model.non_trainable_variables),
                macs=sum(layer.macs for layer in layers), batch_size=batch_size, peak_bytes=batch_size * peak,
                total_bytes=batch_size * total, layers=layers, uncounted=uncounted)


def _measure_layer(plan: ExecutionPlan, step: LayerCall, stage: StageAndBlock,
                   fields: Sequence[ReceptiveField | None], maker: dict[int, int]) -> LayerCost:
    layer, output, receptive_field = step.layer, plan.output_shape(step), fields[step.outputs[0]]
    macs = _count_macs(layer, plan.input_shapes(step), output)

    def count(variables: str) -> int:
        return count_numbers(getattr(layer, variables, [])) if step.is_first_call else 0
    return LayerCost(
        name=step.name, kind=type(layer).__name__, stage=stage[0], block=stage[1], output=output[1:],
        params=count("trainable_variables"), non_trainable_params=count("non_trainable_variables"),
        macs=macs, activations=_count_activations(layer, output) if macs else 0,
        receptive_field=receptive_field.size if receptive_field else (),
        stride=tuple(map(_plain_number, receptive_field.stride)) if receptive_field else (),
        has_global_context=receptive_field is None or receptive_field.has_global_context,
        inputs=tuple(maker[tensor] for tensor in step.inputs))


def _plain_number(stride: Any) -> float:
    return int(stride) if stride == int(stride) else float(stride)


# Keras' base class of a layer with multiply-accumulates -> how often each number of its kernel is used
MAC_RULES = {"Dense": "features", "BaseConv": "output positions", "BaseDepthwiseConv": "output positions",
             "BaseSeparableConv": "output positions", "BaseConvTranspose": "input positions"}


def find_mac_rule(layer_class: type) -> str | None:
    """The rule of `MAC_RULES` for a class or its subclass; None for a layer without multiply-accumulates."""
    names = (base.__name__ for base in layer_class.__mro__)
    return next((MAC_RULES[name] for name in names if name in MAC_RULES), None)


def count_layer_macs(layer_class: type, kernel_numbers: int, input_shape: Shape, output_shape: Shape,
                     channels_first: bool = False) -> int:
    """Counts the multiply-accumulates of one call of a layer.  No other code of the package counts them.

    Args:
        layer_class: the class of the layer; subclasses of Keras' convolutions and of Dense count as these.
        kernel_numbers: how many numbers the kernel of a convolution has; for a separable one, both kernels.
        input_shape: shape with the batch, which does not count.
        output_shape: shape with the batch.
        channels_first: whether the channels stand before the height and the width.

    Returns:
        The MACs for one image; 0 for a layer of a different class.
    """
    rule = find_mac_rule(layer_class)
    if rule is None:
        return 0
    if rule == "features":
        return math.prod(input_shape[1:]) * output_shape[-1]
    shape = input_shape if rule == "input positions" else output_shape
    return kernel_numbers * _count_positions(shape, channels_first)


def _count_macs(layer: Any, inputs: list[Shape], output: Shape) -> int:
    if find_mac_rule(type(layer)) is None:
        return 0
    is_separable = hasattr(layer, "depthwise_kernel")
    kernels = [layer.depthwise_kernel, layer.pointwise_kernel] if is_separable else [layer.kernel]
    numbers = sum(math.prod(kernel.shape) for kernel in kernels)
    return count_layer_macs(type(layer), numbers, inputs[0], output, _has_channels_first(layer))


def _count_activations(layer: Any, output: Shape) -> int:
    between = 0
    if hasattr(layer, "depthwise_kernel"):      # a separable convolution is two
        channels = math.prod(layer.depthwise_kernel.shape[-2:])
        between = channels * _count_positions(output, _has_channels_first(layer))
    return math.prod(output[1:]) + between


def _count_positions(shape: Shape, channels_first: bool) -> int:
    return math.prod(shape[2:] if channels_first else shape[1:-1])


def _has_channels_first(layer: Any) -> bool:
    return getattr(layer, "data_format", None) == "channels_first"


def _has_kernel(layer: Any) -> bool:
    return any("kernel" in v.name and len(v.shape) > 1 for v in getattr(layer, "trainable_variables", []))


def _sum_stage(name: str, layers: Sequence[LayerCost]) -> StageCost:
    """The sums over `layers`, and the receptive field of the last one."""
    end = next((layer for layer in reversed(layers) if layer.receptive_field), layers[-1])
    return StageCost(name, len(layers), layers[-1].output, sum(layer.params for layer in layers),
                     sum(layer.macs for layer in layers), sum(layer.activations for layer in layers),
                     end.receptive_field, end.stride, end.has_global_context)


def count_numbers(variables: list[keras.Variable]) -> int:
    """Counts the numbers of all variables, without the states of random generators."""
    return sum(math.prod(v.shape) for v in variables if "seed_generator" not in v.path)
