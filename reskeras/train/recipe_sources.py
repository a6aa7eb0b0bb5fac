"""A recipe is written down as a list of citations: a source, and the values that it states."""
from __future__ import annotations

from typing import Any, Mapping

from .recipe import Recipe
from .training import Training

# source, training fields, model fields, field -> what differs from the source
_Citation = tuple[str, Mapping[str, Any], Mapping[str, Any], Mapping[str, str]]

TORCH_SGD = "Torch optim/sgd.lua: dfdx, without the rate"


def make_recipe(name: str, description: str, *citations: _Citation,
                starts_from_weights: bool = False) -> Recipe:
    """Makes a recipe from what its sources state.

    Args:
        name: such as "wrn".
        description: one line: the paper and the data set.
        citations: made by `cite`.
        starts_from_weights: whether it is for a net that is trained already.
    """
    training: dict[str, Any] = {}
    model: dict[str, Any] = {}
    sources: dict[str, str] = {}
    differences: dict[str, str] = {}
    for source, training_fields, model_fields, differs in citations:
        training |= training_fields
        model |= model_fields
        names = [*training_fields, *(f"model.{field}" for field in model_fields)]
        sources |= dict.fromkeys(names, source)
        differences |= differs
    return Recipe(name, description, Training(**training), model, sources, differences,
                  starts_from_weights)


def cite(source: str, model: Mapping[str, Any] | None = None, differs: Mapping[str, str] | None = None,
         **training: Any) -> _Citation:
    """Values of the training and of the model, and the source that states them.

    Args:
        source: a paper with its section, or a file.
        model: fields of the net's Spec.
        differs: where a value is not what the source does: the name of its field, and a sentence.
        **training: fields of `Training`.
    """
    return source, training, model or {}, differs or {}
