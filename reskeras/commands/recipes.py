"""`recipes`: how the papers train: all recipes, or every value of one with its source."""
from __future__ import annotations

from typing import Iterable

from ..terminal import print_text
from ..train.learning_rate import scale_learning_rate
from ..train.recipes import format_recipes, get_recipe


def list_all() -> str:
    """The recipes as text, one line for each."""
    return format_recipes()


def show(name: str, *, diff: str | None = None, overrides: Iterable[str] = (),
         model_overrides: Iterable[str] = ()) -> str:
    """A recipe as text, with the source of every value.

    Args:
        name: name of the recipe.
        diff: another recipe: only the values in which the two differ are listed.
        overrides: other values of the training, such as "epochs=10".
        model_overrides: other values of the net, such as "drop_path_rate=0.1".

    Raises:
        ArgumentError: for an unknown name or a wrong value.
        TypeError: for a field that does not exist.
    """
    recipe = get_recipe(name).override(overrides, model_overrides)
    if diff:
        pairs = recipe.differences(get_recipe(diff))
        return "\n".join(f"{field:24} {here!s:56} {there}" for field, (here, there) in pairs.items())
    return f"{recipe.as_text()}\n{scale_learning_rate(recipe.training).reason}"


def print_result(text: str) -> int:
    """Prints the text.  Returns: the exit code."""
    if text:
        print_text(text)
    return 0
