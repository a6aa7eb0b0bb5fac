"""Another classifier for a trained net, so that it can be trained on other classes."""
from __future__ import annotations

from dataclasses import replace

import keras

from ..model_metadata import get_metadata
from ..model_with_metadata import ModelWithMetadata, set_metadata


def replace_classifier(model: keras.Model, classes: int, activation: str) -> ModelWithMetadata:
    """A model with the layers of `model`, but a new last `Dense` layer with random weights.

    Args:
        model: a functional model that ends in a `Dense` layer, with a layer for its activation or without.
        classes: the number of classes.
        activation: activation of the new layer; that of `model` if its scores are logits.

    Returns:
        A model that knows the preprocessing of `model`, and not the names of its classes.

    Raises:
        ValueError: if `model` does not end in such a layer.
    """
    layers = model.layers
    last = layers[-1]
    is_activation = isinstance(last, (keras.layers.Softmax, keras.layers.Activation))
    head = layers[-2] if is_activation and len(layers) > 1 else last
    is_end = last.output is model.outputs[0] and (head is last or last.input is head.output)
    if not isinstance(head, keras.layers.Dense) or not is_end:
        raise ValueError(f"{model.name} has {model.output_shape[-1]} classes, but the data have {classes}; "
                         "it does not end in a Dense layer that could be replaced: build it with "
                         f"classes={classes}")

    has_logits = head is last and head.get_config()["activation"] == "linear"
    new = keras.layers.Dense.from_config({**head.get_config(), "units": classes,
                                          "activation": "linear" if has_logits else activation})
    metadata = replace(get_metadata(model), labels=(), task="")
    return ModelWithMetadata(model.inputs[0], new(head.input), name=model.name, metadata=metadata)


def set_task(model: keras.Model, kind: str) -> keras.Model:
    """The model, with metadata that say what it has learned.

    Args:
        model: a functional model.
        kind: "multiclass", "binary", "multilabel" or "regression".

    Returns:
        The model itself if it knows that already; names of classes that are for another task are left out.
    """
    metadata = get_metadata(model)
    if metadata.task == ("" if kind == "multiclass" else kind):
        return model
    result = set_metadata(model)
    result.metadata = replace(metadata, task="" if kind == "multiclass" else kind)
    try:
        result.metadata.get_classes(model.output_shape[-1])
    except ValueError:
        result.metadata = replace(result.metadata, labels=())
    return result


def find_final_activation(model: keras.Model) -> str:
    """The activation that a classifier ends in; "linear" for logits."""
    last = next((layer for layer in reversed(model.layers) if layer.output is model.outputs[0]),
                model.layers[-1])
    if isinstance(last, keras.Model):
        return find_final_activation(last)
    if isinstance(last, keras.layers.Softmax):
        return "softmax"
    return getattr(getattr(last, "activation", None), "__name__", "linear")
