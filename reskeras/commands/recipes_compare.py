"""`recipes compare`: what each recipe computes, beside the accuracy that its source gives."""
from __future__ import annotations

import os
import pathlib
from dataclasses import dataclass, replace
from typing import Any, Mapping

from ..catalog import find_variant
from ..errors import ArgumentError
from ..train.recipe_results import (CIFAR, DIGITS, IMAGENET, RESULTS, TRAINING_IMAGES, RecipeResult,
                                    count_images, count_passes, count_training_operations, read_macs)
from ..train.recipes import get_recipe
from .comparison import find_pareto_front
from .tables import print_table

HEADER = ("recipe", "net", "data", "epochs", "size", "MACs (G)", "PFLOP", "top-1 (%)", "Pareto front",
          "source")

# fields of a recipe's model part that change no multiply-accumulates
_NO_MACS = {"drop_path_rate", "drop_path_mode", "dropout_rate", "block_dropout_rate", "drop_block_rate",
            "zero_init_residual", "initializer", "bn_momentum"}


@dataclass(frozen=True)
class RecipeCost:
    """What the training of a net by a recipe computes, and what it reaches.

    Attributes:
        recipe: the recipe's name.
        net: the net's name.
        data: the training images.
        epochs: how often each image is seen.
        sizes: height and width of the training images in pixels; several, if they grow.
        macs: multiply-accumulates for one image, on average over the training.
        pflop: 10^15 operations of the whole training: images x MACs x 3 x 2, because the backward pass costs
            twice as much as the forward pass, and a multiply-accumulate is two operations.
        top1: the published accuracy in percent; None if none is known for this net.
        source: where it is from.
        is_best: whether no other training on these images is as accurate for less.
    """

    recipe: str
    net: str
    data: str
    epochs: float
    sizes: tuple[Any, ...]
    macs: float
    pflop: float
    top1: float | None
    source: str
    is_best: bool = False


@dataclass(frozen=True)
class RecipeComparison:
    """The trainings of a comparison, and the file with its chart if one was written."""

    costs: list[RecipeCost]
    file: pathlib.Path | None = None


def compare_recipes(net: str | None = None, *,
                    output: str | os.PathLike[str] | None = None) -> RecipeComparison:
    """Compares what the recipes compute for a training, and what they reach.

    Args:
        net: a net, such as "resnet50v1_5": the cost of training it by every recipe for its data.  By
            default each recipe has the nets for which its source gives an accuracy.
        output: an .html page (chart and table) or a .png chart to write.

    Returns:
        A `RecipeComparison`, in the order of the table of recipes.  Recipes that continue from trained
        weights are left out: what they compute is only a part of what their accuracy cost.

    Raises:
        ArgumentError: for an unknown net, or an unsupported suffix of `output`.
        ImportError: if a chart is wanted and matplotlib is not installed.
        OSError: if the file cannot be written.

    Example:
        >>> reskeras.compare_recipes().costs[0].recipe
        'he2015'
    """
    if output and pathlib.Path(output).suffix not in (".html", ".png"):
        raise ArgumentError("output", os.fspath(output), "the name of an .html or a .png file")
    costs = _mark_best([_make_cost(result) for result in RESULTS] if net is None else _measure_net(net))
    if not output:
        return RecipeComparison(costs)
    from .chart import PNG_INK, write_png
    from .recipes_chart import draw_recipes, write_recipes_page
    if pathlib.Path(output).suffix == ".png":
        return RecipeComparison(costs, write_png(draw_recipes(costs, PNG_INK), output))
    return RecipeComparison(costs, write_recipes_page(costs, *make_rows(costs), output))


def _make_cost(result: RecipeResult, macs: dict[Any, int] | None = None) -> RecipeCost:
    """The line of a result.

    Args:
        macs: multiply-accumulates at each size; by default those of recipe_macs.csv.
    """
    recipe, data_images = get_recipe(result.recipe), TRAINING_IMAGES[result.data]
    images = count_images(recipe, data_images)
    macs = macs or {size: read_macs()[result.recipe, result.net, size] for size in images}     # type: ignore
    number = sum(images.values())
    return RecipeCost(result.recipe, result.net, result.data, number / data_images, tuple(images),
                      sum(count * macs[size] for size, count in images.items()) / number,
                      count_training_operations(images, macs, count_passes(recipe)) / 1e15, result.top1,
                      result.source)


def _measure_net(name: str) -> list[RecipeCost]:
    """The cost of training a net by every recipe for the images that it is for."""
    variant, _, _ = find_variant(name)
    data = CIFAR if variant.spec.input_size <= 64 else IMAGENET
    known = {(result.recipe, result.net): result for result in RESULTS}
    recipes = dict.fromkeys(result.recipe for result in RESULTS
                            if result.data in (data, *((DIGITS,) if data == CIFAR else ())))
    measured: dict[str, dict[Any, int]] = {}        # of each kind of net at each size, which is built once
    costs = []
    for recipe in recipes:
        result = known.get((recipe, variant.name))
        if result is None:
            of_recipe = next(other.data for other in RESULTS if other.recipe == recipe)
            result = RecipeResult(recipe, variant.name, of_recipe, None, "")
        fields = {name: value for name, value in get_recipe(recipe).model.items() if name not in _NO_MACS}
        macs = measured.setdefault(repr(fields), {})
        sizes = [size for size in count_images(get_recipe(recipe), TRAINING_IMAGES[result.data])
                 if size not in macs]
        if sizes:
            macs |= measure_macs(variant.name, fields, _list_sizes(data) if not macs else sizes)
        costs.append(_make_cost(result, macs))
    return costs


def _list_sizes(data: str) -> list[Any]:
    """The sizes at which some recipe trains on a data set."""
    return list(dict.fromkeys(size for result in RESULTS if result.data == data for size in count_images(
        get_recipe(result.recipe), TRAINING_IMAGES[data])))


def measure_macs(net: str, fields: Mapping[str, Any], sizes: list[Any]) -> dict[Any, int]:
    """Counts the multiply-accumulates of a net, without memory for its weights.

    Args:
        net: the net's name.
        fields: of its Spec, such as a recipe's model part.
        sizes: sizes of the images.

    Returns:
        {size: multiply-accumulates for one image}.
    """
    import keras

    from ..catalog import create
    from ..graph.cost.cost import measure_cost
    from ..train.image_size import to_sides
    with keras.StatelessScope(initialize_variables=False):
        model = create(net, weights=None, input_shape=(None, None, 3), **fields)
    return {size: measure_cost(model, (*to_sides(size), 3)).macs for size in sizes}


def _mark_best(costs: list[RecipeCost]) -> list[RecipeCost]:
    """Marks the Pareto front of each data set."""
    best: set[int] = set()
    for data in TRAINING_IMAGES:
        indices = [i for i, cost in enumerate(costs) if cost.data == data and cost.top1 is not None]
        front = find_pareto_front([costs[i].pflop for i in indices],
                                  [costs[i].top1 or 0.0 for i in indices])
        best |= {indices[i] for i in front}
    return [replace(cost, is_best=i in best) for i, cost in enumerate(costs)]


def make_rows(costs: list[RecipeCost]) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of the table."""
    return list(HEADER), [
        [c.recipe, c.net, c.data, f"{c.epochs:.4g}", _describe_sizes(c.sizes), f"{c.macs / 1e9:.3f}",
         f"{c.pflop:,.4g}" if c.pflop < 1e4 else f"{c.pflop:,.0f}", "" if c.top1 is None else f"{c.top1:.2f}",
         "yes" if c.is_best else "", c.source] for c in costs]


def _describe_sizes(sizes: tuple[Any, ...]) -> str:
    from ..train.image_size import describe_size
    return describe_size(sizes[0]) + (f" to {describe_size(sizes[-1])}" if len(sizes) > 1 else "")


def print_result(comparison: RecipeComparison, markdown: bool = False, csv: bool = False) -> int:
    """Prints the table (not if only a file was requested), then the file's path.  Returns: the exit code."""
    print_table(*make_rows(comparison.costs), comparison.file, markdown=markdown, csv=csv)
    return 0
