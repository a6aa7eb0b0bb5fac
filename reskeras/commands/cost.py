"""What a net costs, told to a person."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Sequence

from .open_model import Net, get_image_shape, open_model

if TYPE_CHECKING:
    import keras

    from ..graph.cost.cost import Cost, LayerCost, StageCost

HEADER = ("output", "parameters", "MACs", "activations", "field", "stride")


def bill(what: Net | keras.Model, size: int | None = None, batch: int = 1) -> Cost:
    """The cost of the net that `what` names; nothing is downloaded, and a named net takes no memory.

    Arguments: those of `reskeras.commands.open_model.opened`; `batch` is of the memory.
    Raises: as `opened` and `reskeras.cost`.
    """
    model = open_model(what, size, values=False)
    from ..graph.cost.cost import measure_cost
    return measure_cost(model, get_image_shape(model, size), batch)


def text(found: Cost, per_layer: bool = False) -> str:
    """A summary, the table of the stages, and with `per_layer` that of the layers."""
    from ..graph.cost.cost import CONVENTION
    image, last = found.layers[0].output, found.last_map
    lines = [f"image         {times(image)}",
             f"parameters    {found.params:,} trained, {found.stats:,} other",
             f"operations    {found.macs:,} MACs, {found.flops:,} FLOPs ({CONVENTION})",
             f"activations   {found.activations:,} (outputs of convolutions and dense layers)",
             f"memory        {megabytes(found.peak_bytes)} of activations at once in inference, {megabytes(found.total_bytes)} "
             f"kept in training, at batch {found.batch}"]
    if last:
        lines.append(f"sees          {seen(last)} pixels, one cell every {times(last.stride)}, in {last.name}")
    if found.uncounted:
        lines.append(f"not counted   MACs of {', '.join(found.uncounted)}")
    if any(stage.field and stage.whole for stage in found.stages):
        lines.append("+ all         a gate or a norm sees the whole image too")
    lines += ["", columns(("stage", "layers", *HEADER), [(s.name, s.layers, *figures(s)) for s in found.stages])]
    if per_layer:
        rows = [(layer.name, layer.kind, *figures(layer)) for layer in found.layers]
        lines += ["", columns(("layer", "kind", *HEADER), rows)]
    return "\n".join(lines)


def figures(part: LayerCost | StageCost) -> tuple[str, ...]:
    return (times(part.output), f"{part.params:,}", f"{part.macs:,}", f"{part.activations:,}", seen(part), times(part.stride))


def times(numbers: Sequence[float]) -> str:
    """ "56 x 56 x 256"; "32" for an all equal field or stride."""
    equal = len(numbers) == 2 and numbers[0] == numbers[1]
    return f"{numbers[0]:g}" if equal else " x ".join(f"{n:g}" for n in numbers)


def seen(part: LayerCost | StageCost) -> str:
    """The receptive field, and whether a gate sees the rest; "all" for what has no place in the image."""
    return times(part.field) + (" + all" if part.whole else "") if part.field else "all"


def megabytes(number: int) -> str:
    return f"{number / 1e6:,.1f} MB" if number >= 1e6 else f"{number / 1e3:,.1f} kB"


def columns(header: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    """A table in plain text, its first column to the left."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return "\n".join("  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip()
                     for row in cells)
