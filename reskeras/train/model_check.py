"""The model part of a recipe, read from a built net: what is missing there is said, not trained without."""
from __future__ import annotations

import math
from typing import Any, Callable, Iterable, Iterator

import keras

from ..blocks.layers import DropBlock2D, StochasticDepth
from .recipe import Recipe


def layers_of(model: keras.Model) -> Iterator[Any]:
    """The layers, those of models within it too."""
    for layer in model.layers:
        yield from layers_of(layer) if isinstance(layer, keras.Model) else [layer]


def _largest(rates: Iterable[float]) -> float:
    return max(rates, default=0.0)


def order(layers: list[Any]) -> str:
    names = " ".join(layer.name for layer in layers)
    return "pre" if "_preact_bn" in names else "relu_only_pre" if "_preact_relu" in names else "post"


def _zero_init(layers: list[Any]) -> bool:
    starts = (layer.gamma_initializer for layer in layers if isinstance(layer, keras.layers.BatchNormalization))
    return any(isinstance(start, keras.initializers.Zeros) for start in starts)


def initializer(layers: list[Any]) -> Any:
    first = next((layer for layer in layers if hasattr(layer, "kernel_initializer")), None)
    return first and _words(first.kernel_initializer)


def _words(initializer: Any) -> str:
    """An initializer's class and distribution, "HeNormal"."""
    return type(keras.initializers.get(initializer)).__name__


FIELDS: dict[str, Callable[[list[Any]], Any]] = {      # None: nothing there to tell it by
    "drop_path_rate": lambda layers: _largest(one.rate for one in layers if isinstance(one, StochasticDepth)),
    "drop_path_mode": lambda layers: next((one.mode for one in layers if isinstance(one, StochasticDepth)), None),
    "drop_block_rate": lambda layers: _largest(one.rate for one in layers if isinstance(one, DropBlock2D)),
    "block_dropout_rate": lambda layers: _largest(one.rate for one in _dropouts(layers) if one.name != "top_dropout"),
    "dropout_rate": lambda layers: _largest(one.rate for one in _dropouts(layers) if one.name == "top_dropout"),
    "zero_init_residual": _zero_init, "initializer": initializer, "order": order}


def _dropouts(layers: list[Any]) -> list[Any]:
    return [layer for layer in layers if isinstance(layer, keras.layers.Dropout)]


def check(model: keras.Model, recipe: Recipe) -> None:
    """Raises: ValueError that names the fields in which the net is not what the recipe's model part says."""
    layers, wrong = list(layers_of(model)), []
    for field, expected in recipe.model.items():
        if field not in FIELDS:
            raise ValueError(f"{field}={expected!r} cannot be read from a built model; give the name of the net, which is built "
                             f"with it, instead of {model.name!r}")
        found = FIELDS[field](layers)
        if found is not None and not same(found, _words(expected) if field == "initializer" else expected):
            wrong.append(f"{field}={found!r}, expected {expected!r}")
    if wrong:
        fields = ", ".join(line.partition("=")[0] for line in wrong)
        raise ValueError(f"{model.name} is not what the recipe {recipe.name} trains: {'; '.join(wrong)}. Build it with these, "
                         f"give its name instead, or say with model_set that {fields} should be what the net has")


def same(found: Any, expected: Any) -> bool:
    if isinstance(found, float) and isinstance(expected, (int, float)):
        return math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-12)
    return found == expected
