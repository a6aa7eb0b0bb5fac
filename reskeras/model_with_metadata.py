"""A functional model with metadata, which a saved file keeps, and `set_metadata`, which makes one."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras

from ._keras_private import call_while_cloning, get_functional_module
from .graph.graph import high_recursion_limit
from .graph.model_requirements import check_input_and_output
from .graph.passes.inline import inline_nested_models
from .model_metadata import METADATA_KEY, ModelMetadata, find_metadata, get_metadata

_MARK = "_reskeras_metadata"    # an attribute of the outputs of a model that is being cloned


class ModelWithMetadata(keras.Model):
    """A functional model with `metadata`, which may be None; otherwise a keras.Model like any other.

    Copies have the metadata too: those of `copy`, `pickle` and `keras.models.clone_model`, and those in
    `.keras` and `.h5` files.
    """

    extra_config_keys = (METADATA_KEY,)      # config that `Graph.build` passes to the rebuilt model

    def __init__(self, *args: Any, metadata: ModelMetadata | None = None, **kwargs: Any):
        saved = kwargs.pop(METADATA_KEY, None)       # Keras passes the keys of a saved config as arguments
        super().__init__(*args, **kwargs)
        if saved is not None:
            metadata = ModelMetadata.from_config(saved)
        self.metadata = metadata or self._take_metadata_of_clone()

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return config if self.metadata is None else {**config, METADATA_KEY: self.metadata.get_config()}

    def __reduce__(self) -> tuple[Any, ...]:
        # Keras would find another class by this class name (see below)
        function, arguments = super().__reduce__()
        return _unpickle, (function.__name__, arguments)

    def _mark_outputs(self, outputs: list[Any]) -> None:
        """Gives the new outputs of a model that is being cloned what `_take_metadata_of_clone` looks for."""
        for output in outputs:
            setattr(output, _MARK, (self.metadata, self.output_shape))

    def _take_metadata_of_clone(self) -> ModelMetadata | None:
        """The metadata of the model that this one is a clone of, without labels if the classes differ."""
        found = [vars(output).pop(_MARK, None) for output in getattr(self, "outputs", ())]
        if len(found) != 1 or found[0] is None:
            return None
        metadata, shape = found[0]
        if metadata is not None and shape[-1] != self.output_shape[-1]:
            return replace(metadata, labels=())
        return metadata


def _unpickle(function: str, arguments: tuple[Any, ...]) -> Any:
    return getattr(ModelWithMetadata, function)(*arguments)


# A saved file contains our registered name, but Keras' own class name and module.  So Keras without this
# package opens a net made of Keras layers as a functional model without metadata, and tools that read the
# class name recognize it.
ModelWithMetadata.__name__, ModelWithMetadata.__module__ = "Functional", get_functional_module()
keras.saving.register_keras_serializable("reskeras", "Net")(ModelWithMetadata)
call_while_cloning(ModelWithMetadata, ModelWithMetadata._mark_outputs)


class _FunctionalReader:
    """Reads the config of a functional model.

    `.h5` files have no registered name for the model itself, only Keras' class name.  So this class is
    registered by that name; a config without metadata becomes a functional model of Keras, as without it.
    """

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> keras.Model:
        model_class = ModelWithMetadata if METADATA_KEY in config else keras.Model
        return model_class.from_config(config, custom_objects=custom_objects)


keras.saving.get_custom_objects()["Functional"] = _FunctionalReader


def set_metadata(model: keras.Model, preprocessing: Any = None, labels: Any = None,
                 task: str | None = None) -> ModelWithMetadata:
    """Tells a model how its images are prepared and what its classes are called.

    `reskeras.predict`, `evaluate`, `explain` and `export` use both, and a saved file keeps them.

    Args:
        model: a functional model.  One that `reskeras` built is changed in place; for other models, a new one
            with the same layers is returned; compile it again.
        preprocessing: a checkpoint or its name, a `Preprocessing`, or a model that has metadata; scaling is
            left out if `model` scales pixels itself.  Default: the model's current preprocessing.
        labels: a label set such as "cifar10", the names of the classes in order, or a text file with one name
            per line.  Default: the model's current labels.
        task: what the outputs are: "multiclass", scores of classes of which an image has one; "binary", one
            output, the score of the second of two classes; "multilabel", scores of labels of which an image
            may have several; "regression", numbers, whose names are the labels.  Default: the model's
            current task, "multiclass" if none is known.

    Returns:
        A functional model with the attribute `metadata`, which a saved file keeps.

    Raises:
        ArgumentError: if the model has several inputs or outputs, or no graph of layers, or if
            `preprocessing` is a model without known preprocessing.
        ValueError: if the number of labels is not the number of the model's classes.

    Example:
        >>> model = reskeras.set_metadata(model, preprocessing="resnet50v1_5.a1_in1k", labels=["cat", "dog"])
    """
    check_input_and_output(model)
    metadata = get_metadata(model).override(preprocessing, labels, task)
    if labels is not None or task is not None:
        metadata.get_classes(model.output_shape[-1])

    if isinstance(model, ModelWithMetadata):
        result = model
    else:
        with high_recursion_limit():
            result = ModelWithMetadata(model.inputs[0], model.outputs[0], name=model.name)
    result.metadata = metadata
    return result


def inline_with_metadata(model: keras.Model) -> keras.Model:
    """A model of layers alone, which can be folded and named, with the metadata of what was nested in it.

    Args:
        model: a functional or sequential model of one input and one output.

    Returns:
        A new model, for inference; or `model` itself if nothing is nested in it.
    """
    flat, metadata = inline_nested_models(model), replace(get_metadata(model), weights="")
    if flat is not model and find_metadata(flat) is None and metadata != ModelMetadata():
        flat = set_metadata(flat)
        flat.metadata = metadata
    return flat
