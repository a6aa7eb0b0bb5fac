"""`cost`: parameters, operations, memory and receptive field of a net, by stage or layer."""
from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Sequence

from ..errors import check_whole_number
from ..json_writer import to_json
from ..terminal import print_text
from .open_model import ModelName, Size, get_image_shape, open_model
from .tables import text_table

if TYPE_CHECKING:
    import keras

    from ..graph.cost.cost import Cost, LayerCost, StageCost

HEADER = ("output", "parameters", "MACs", "activations", "field", "stride")


def cost(model: ModelName | keras.Model, size: Size | None = None, batch_size: int = 1,
         scaling: int | None = None, bandwidth: float = 10.0) -> Cost:
    """Counts what a net costs for one image: parameters, multiply-accumulates (MACs), activations, and the
    receptive field.

    Nothing is downloaded, and a net that is given by its name takes no memory.

    Args:
        model: the name of a net ("resnet50d"), with a checkpoint or without, which decides the head and the
            size of the images; "keras/VGG16" or another net of keras.applications; a `.keras` file; or a
            functional or sequential keras.Model, even with shared layers and nested models.
        size: size of the images: pixels on a side, or (height, width).  By default the model's own.
        batch_size: images at once, for the memory; with `scaling` those of each device.
        scaling: a number of devices; how long they take to add up their gradients, and half as many, is in
            `Cost.scaling`.
        bandwidth: for `scaling`, GB that a device sends per second, while it receives as many.

    Returns:
        A `Cost` with the sums, `stages` and `layers`; one MAC is one multiplication with its addition.

    Raises:
        ArgumentError: for an unknown name, or if a size is missing.
        ValueError: for a model that has no graph, or a file that cannot be read.
        FileNotFoundError: if there is no such file.

    Example:
        >>> reskeras.cost("resnet50v1_5").macs
        4089184256
    """
    batch_size = check_whole_number("batch_size", batch_size)
    net = open_model(model, size, has_values=False)     # an unknown name is told before Keras is imported
    from ..graph.cost.cost import measure_cost
    from ..graph.cost.scaling import predict_scaling
    predict_scaling(0, batch_size, 2 if scaling is None else scaling, bandwidth)    # checks the arguments
    measured = measure_cost(net, get_image_shape(net, size), batch_size)
    if scaling is None:
        return measured
    return replace(measured, scaling=predict_scaling(measured.params, batch_size, scaling, bandwidth))


def print_result(cost: Cost, json: bool = False, per_layer: bool = False) -> int:
    """Prints the cost as text or JSON.  Returns: the exit code."""
    print_text(to_json(cost.as_dict(per_layer)) if json else _format_cost(cost, per_layer))
    return 0


def _format_cost(cost: Cost, per_layer: bool = False) -> str:
    """A summary, the table of the stages, and with `per_layer` the table of the layers."""
    from ..graph.cost.cost import CONVENTION
    image, last = cost.layers[0].output, cost.last_map
    lines = [f"image         {format_size(image)}",
             f"parameters    {cost.params:,} trainable, {cost.non_trainable_params:,} not trainable",
             f"operations    {cost.macs:,} MACs, {cost.flops:,} FLOPs ({CONVENTION})",
             f"activations   {cost.activations:,} (outputs of convolutions and dense layers)",
             f"memory        {format_bytes(cost.peak_bytes)} of activations at once in inference, "
             f"{format_bytes(cost.total_bytes)} kept in training, at batch size {cost.batch_size}"]
    if last:
        lines.append(f"sees          a receptive field of {format_receptive_field(last)} pixels, a stride of "
                     f"{format_size(last.stride)}, in {last.name}")
    if cost.uncounted:
        lines.append(f"not counted   MACs of {', '.join(cost.uncounted)}")
    if any(stage.receptive_field and stage.has_global_context for stage in cost.stages):
        lines.append("+ all         a gate or a normalization sees the whole image too")

    lines += ["", text_table(("stage", "layers", *HEADER),
                             [(s.name, s.layers, *format_figures(s)) for s in cost.stages])]
    if cost.scaling:
        lines += ["", text_table(
            ("devices", "each sends and receives", "ms", "as long as the step at"),
            [(str(e.devices), format_bytes(e.sent_bytes), f"{e.milliseconds:,.1f}",
              f"{e.balanced_rate:,.0f} images/s") for e in cost.scaling])]
    if per_layer:
        rows = [(layer.name, layer.kind, *format_figures(layer)) for layer in cost.layers]
        lines += ["", text_table(("layer", "kind", *HEADER), rows)]
    return "\n".join(lines)


def format_figures(part: LayerCost | StageCost) -> tuple[str, ...]:
    """The figures of a layer or a stage as text, in the order of HEADER."""
    return (format_size(part.output), f"{part.params:,}", f"{part.macs:,}", f"{part.activations:,}",
            format_receptive_field(part), format_size(part.stride))


def format_size(numbers: Sequence[float]) -> str:
    """ "56 x 56 x 256"; "32" for a receptive field or a stride that is the same in both directions."""
    is_square = len(numbers) == 2 and numbers[0] == numbers[1]
    return f"{numbers[0]:g}" if is_square else " x ".join(f"{n:g}" for n in numbers)


def format_receptive_field(part: LayerCost | StageCost) -> str:
    """The receptive field, with "+ all" if a gate sees the rest; "all" for what has no place in the image.
    """
    if not part.receptive_field:
        return "all"
    return format_size(part.receptive_field) + (" + all" if part.has_global_context else "")


def format_bytes(number: int) -> str:
    """Bytes in MB, or in kB if they are less than one MB."""
    return f"{number / 1e6:,.1f} MB" if number >= 1e6 else f"{number / 1e3:,.1f} kB"
