"""A functional model with metadata, which a saved file keeps, and `set_metadata`, which makes one."""
from __future__ import annotations

from typing import Any

import keras

from ._keras_private import get_functional_module
from .errors import ArgumentError
from .graph.graph import high_recursion_limit
from .model_metadata import METADATA_KEY, ModelMetadata, get_metadata


class ModelWithMetadata(keras.Model):
    """A functional model with `metadata`, which may be None; otherwise a keras.Model like any other."""

    extra_config_keys = (METADATA_KEY,)      # config that `Graph.build` passes to the rebuilt model

    def __init__(self, *args: Any, metadata: ModelMetadata | None = None, **kwargs: Any):
        saved = kwargs.pop(METADATA_KEY, None)       # Keras passes the keys of a saved config as arguments
        super().__init__(*args, **kwargs)
        self.metadata = metadata if saved is None else ModelMetadata.from_config(saved)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return config if self.metadata is None else {**config, METADATA_KEY: self.metadata.get_config()}

    def __reduce__(self) -> tuple[Any, ...]:
        # Keras would find another class by this class name (see below)
        function, arguments = super().__reduce__()
        return _unpickle, (function.__name__, arguments)


def _unpickle(function: str, arguments: tuple[Any, ...]) -> Any:
    return getattr(ModelWithMetadata, function)(*arguments)


# A saved file contains our registered name, but Keras' own class name and module.  So Keras without this
# package opens a net made of Keras layers as a functional model without metadata, and tools that read the
# class name recognize it.
ModelWithMetadata.__name__, ModelWithMetadata.__module__ = "Functional", get_functional_module()
keras.saving.register_keras_serializable("reskeras", "Net")(ModelWithMetadata)


def set_metadata(model: keras.Model, preprocessing: Any = None, labels: Any = None) -> ModelWithMetadata:
    """Tells a model how its images are prepared and what its classes are called.

    `reskeras.predict`, `evaluate`, `explain` and `export` use both, and a saved file keeps them.

    Args:
        model: a functional model.  One that `reskeras` built is changed in place; for other models, a new one
            with the same layers is returned; compile it again.
        preprocessing: a checkpoint or its name, a `Preprocessing`, or a model that has metadata; scaling is
            left out if `model` scales pixels itself.  Default: the model's current preprocessing.
        labels: a label set such as "cifar10", the names of the classes in order, or a text file with one name
            per line.  Default: the model's current labels.

    Returns:
        A functional model with the attribute `metadata`, which a saved file keeps.

    Raises:
        ArgumentError: if the model has several inputs or outputs, or if `preprocessing` is a model without
            known preprocessing.
        ValueError: if the number of labels is not the number of the model's classes.

    Example:
        >>> model = reskeras.set_metadata(model, preprocessing="resnet50v1_5.a1_in1k", labels=["cat", "dog"])
    """
    if len(getattr(model, "inputs", None) or ()) != 1 or len(model.outputs) != 1:
        raise ArgumentError("model", model.name, "a functional model with one input and one output")
    metadata = get_metadata(model).override(preprocessing, labels)
    if labels is not None:
        metadata.get_classes(model.output_shape[-1])

    if isinstance(model, ModelWithMetadata):
        result = model
    else:
        with high_recursion_limit():
            result = ModelWithMetadata(model.inputs[0], model.outputs[0], name=model.name)
    result.metadata = metadata
    return result
