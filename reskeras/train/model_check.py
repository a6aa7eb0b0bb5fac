"""Whether a built model has the fields that a recipe's model part sets; if it does not, it is an error."""
from __future__ import annotations

import math
from typing import Any, Callable, Iterable, Iterator

import keras

from ..blocks.drop_layers import DropBlock2D, StochasticDepth
from ..blocks.spatial import ANTIALIAS
from .recipe import Recipe


def iterate_layers(model: keras.Model) -> Iterator[Any]:
    """The layers of a model, and those of models within it."""
    for layer in model.layers:
        yield from iterate_layers(layer) if isinstance(layer, keras.Model) else [layer]


def _find_largest(rates: Iterable[float]) -> float:
    return max(rates, default=0.0)


def _find_order(layers: list[Any]) -> str:
    names = " ".join(layer.name for layer in layers)
    return "pre" if "_preact_bn" in names else "relu_only_pre" if "_preact_relu" in names else "post"


def _find_antialias(layers: list[Any]) -> str | None:
    """By the names of the layers that subsample after a convolution."""
    endings = {layer.name.rpartition("_")[2] for layer in layers if "_block" in layer.name}
    return next((name for name in ANTIALIAS if name in endings), None)


def _find_zero_init(layers: list[Any]) -> bool:
    initializers = (layer.gamma_initializer for layer in layers
                    if isinstance(layer, keras.layers.BatchNormalization))
    return any(isinstance(initializer, keras.initializers.Zeros) for initializer in initializers)


def _find_bn_momentum(layers: list[Any]) -> Any:
    return next((layer.momentum for layer in layers if isinstance(layer, keras.layers.BatchNormalization)),
                None)


def _find_initializer(layers: list[Any]) -> Any:
    first = next((layer for layer in layers if hasattr(layer, "kernel_initializer")), None)
    return first and _name_initializer(first.kernel_initializer)


def _name_initializer(initializer: Any) -> str:
    """The class of an initializer, which says its distribution too: "HeNormal"."""
    return type(keras.initializers.get(initializer)).__name__


def _list_depths(layers: list[Any]) -> list[StochasticDepth]:
    return [layer for layer in layers if isinstance(layer, StochasticDepth)]


def _list_dropout_rates(layers: list[Any], is_top: bool) -> list[float]:
    return [layer.rate for layer in layers
            if isinstance(layer, keras.layers.Dropout) and (layer.name == "top_dropout") == is_top]


# field -> its value in a model; None: it cannot be told
MODEL_FIELDS: dict[str, Callable[[list[Any]], Any]] = {
    "drop_path_rate": lambda layers: _find_largest(layer.rate for layer in _list_depths(layers)),
    "drop_path_mode": lambda layers: next((layer.mode for layer in _list_depths(layers)), None),
    "drop_block_rate": lambda layers: _find_largest(la.rate for la in layers if isinstance(la, DropBlock2D)),
    "block_dropout_rate": lambda layers: _find_largest(_list_dropout_rates(layers, is_top=False)),
    "dropout_rate": lambda layers: _find_largest(_list_dropout_rates(layers, is_top=True)),
    "bn_momentum": _find_bn_momentum, "zero_init_residual": _find_zero_init,
    "initializer": _find_initializer, "order": _find_order,
    "antialias": _find_antialias}


def check_model_matches_recipe(model: keras.Model, recipe: Recipe) -> None:
    """Checks the fields of the recipe's model part against the layers of a model.

    Raises:
        ValueError: if they differ; the message names the fields and their values.
    """
    layers, differences = list(iterate_layers(model)), {}
    for field, expected in recipe.model.items():
        if field not in MODEL_FIELDS:
            raise ValueError(f"{field}={expected!r} cannot be read from a built model; give the name of the "
                             f"net, which is then built with it, instead of {model.name!r}")
        value = MODEL_FIELDS[field](layers)
        expected_value = _name_initializer(expected) if field == "initializer" else expected
        if value is not None and not _is_equal(value, expected_value):
            differences[field] = f"{field}={value!r}, expected {expected!r}"
    if differences:
        raise ValueError(f"{model.name} is not what the recipe {recipe.name} trains: "
                         f"{'; '.join(differences.values())}. Build it with these values, or give its name "
                         f"instead, or set {', '.join(differences)} in model_overrides to the model's values")


def _is_equal(value: Any, expected: Any) -> bool:
    if isinstance(value, float) and isinstance(expected, (int, float)):
        return math.isclose(value, expected, rel_tol=1e-6, abs_tol=1e-12)
    return value == expected
