"""What a model does to pixels before its first weights: whether it scales them, and which net that remembers gets them."""
from __future__ import annotations

import re
from typing import Any, Iterator

import keras

# by class name: layers, and the operations that `preprocess_input` leaves in a functional graph
SCALING = re.compile("Rescaling|Normalization|Multiply|Add|Subtract|Divide|TrueDivide")
HARMLESS = re.compile(r"InputLayer|Resizing|CenterCrop|ResizeAndCrop|ReverseChannels|GetItem|Cast|Random\w+|RandAugment|AugMix")


def opening(model: keras.Model) -> tuple[Any, bool]:
    """(memory, scales): what `model` remembers, else what the net within does that gets the model's own pixels, None where
    no net does or a layer of unknown effect stands before it; and whether pixels are scaled inside.

    The class names are those of the model only if no layer with weights comes after the net that remembers them.
    """
    own, scales = getattr(model, "memory", None), False
    layers = _steps(model)
    for layer in layers:
        kind, inner = type(layer).__name__, getattr(layer, "memory", None)
        if inner is not None:
            inside = opening(layer)[1]
            if own is None:
                own = inner.within(scales, labels=not any(getattr(later, "weights", ()) for later in layers))
            return own, scales or inside or own.scales
        if SCALING.fullmatch(kind):
            scales = True
        elif not HARMLESS.fullmatch(kind):
            break
    return own, scales or own is not None and own.scales


def _steps(model: keras.Model) -> Iterator[Any]:
    """The layers and operations in order, those of models within it too, but for nets that remember."""
    for layer in getattr(model, "operations", model.layers):
        if isinstance(layer, keras.Model) and getattr(layer, "memory", None) is None:
            yield from _steps(layer)
        else:
            yield layer
