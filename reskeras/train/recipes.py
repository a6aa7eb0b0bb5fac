"""THE RECIPES: how each paper trains, with the place where it gives each value.  Imports no framework.

If a paper leaves something open, the source says what was chosen.  A recipe is written for the paper's
batch size over all devices; `recipe.scale_learning_rate` computes the learning rate for others.  An
augmentation is a string of operations, see `reskeras.train.augment`.
"""
from __future__ import annotations

import functools
from typing import Callable, Iterable

from ..errors import ArgumentError
from .cifar_recipes import CIFAR_COSINE, CIFAR_HE, DIGITS, PREACT, STOCHASTIC_DEPTH, WRN
from .finetune_recipes import BIT_LARGE, BIT_MEDIUM, BIT_SMALL, FINETUNE, INT8
from .imagenet_recipes import (BAG_OF_TRICKS, FB_RESNET_TORCH, HE2015, NVIDIA_90, NVIDIA_250, RESNEST,
                               RESNEXT, TV2)
from .recipe import Recipe
from .fast_recipes import (CIFAR_FAST, FFCV_EPOCHS, FFCV_RN18, FFCV_RN50, MLPERF_LARS, MOSAIC_HOT,
                           MOSAIC_MEDIUM, MOSAIC_MILD, make_ffcv)
from .resnet_rs import RESNET_RS, RESNET_RS_SCALING, scale_resnet_rs
from .rsb_recipes import RSB_A1, RSB_A2, RSB_A3

RECIPES = {recipe.name: recipe for recipe in (
    FINETUNE, HE2015, FB_RESNET_TORCH, CIFAR_HE, PREACT, WRN, RESNEXT, STOCHASTIC_DEPTH, BAG_OF_TRICKS,
    RESNEST, RESNET_RS, RSB_A1, RSB_A2, RSB_A3, TV2, NVIDIA_90, NVIDIA_250, FFCV_RN18, FFCV_RN50,
    MOSAIC_MILD, MOSAIC_MEDIUM, MOSAIC_HOT, MLPERF_LARS, CIFAR_COSINE, CIFAR_FAST,
    BIT_SMALL, BIT_MEDIUM, BIT_LARGE, INT8, DIGITS)}

# of recipes with several trainings: the name of each after the slash, and what makes its recipe
_TABLES: dict[str, tuple[Iterable[str], Callable[[str], Recipe]]] = {
    "resnet_rs": (RESNET_RS_SCALING, scale_resnet_rs),
    "ffcv_rn18": (FFCV_EPOCHS, functools.partial(make_ffcv, 18)),
    "ffcv_rn50": (FFCV_EPOCHS, functools.partial(make_ffcv, 50))}


def list_recipes() -> list[str]:
    """The names of the recipes.

    Returns:
        The names, in the order of the table.

    Example:
        >>> reskeras.list_recipes()[:2]
        ['finetune', 'he2015']
    """
    return list(RECIPES)


def get_recipe(name: str | Recipe) -> Recipe:
    """The recipe of a name.

    Args:
        name: such as "wrn", in any case; "RESNET_RS/152@256" is a model of ResNet-RS' scaling table,
            "FFCV_RN50/16" FFCV's training of 16 epochs.

    Returns:
        The recipe; a `Recipe` is returned as it is.

    Raises:
        ArgumentError: for an unknown name; the message suggests the nearest name.

    Example:
        >>> reskeras.get_recipe("wrn").training.epochs
        200
    """
    if isinstance(name, Recipe):
        return name
    stem, slash, config = str(name).partition("/")
    recipe = RECIPES.get(stem.lower().replace("-", "_"))
    if recipe is None:
        raise ArgumentError("recipe", name, f"one of {', '.join(RECIPES)}", RECIPES)
    if not slash:
        return recipe
    if recipe.name not in _TABLES:
        raise ArgumentError("recipe", name, f"{recipe.name!r}: it has no scaling table, "
                            f"{', '.join(map(repr, _TABLES))} have one")
    configs, make = _TABLES[recipe.name]
    if config not in configs:
        known = [f"{recipe.name}/{config}" for config in configs]
        raise ArgumentError("recipe", name, f"one of {', '.join(known)}", known)
    return make(config)


def choose_recipe(recipe: str | Recipe | None, quantize: str | None) -> str | Recipe:
    """The recipe of a training for which none may have been given.

    Args:
        recipe: the one that was given, or None.
        quantize: the argument of `fit`.
    """
    if recipe is not None:
        return recipe
    return FINETUNE.name if quantize is None else INT8.name


def format_recipes() -> str:
    """The recipes as text, one line for each: name, length, batch size, description."""
    lines = []
    for recipe in RECIPES.values():
        training = recipe.training
        length = f"{training.steps:,} steps" if training.steps else f"{training.epochs} epochs"
        lines.append(f"{recipe.name:18} {f'{length}, batch size {training.batch_size}':34} "
                     f"{recipe.description}")
    return "\n".join(lines)
