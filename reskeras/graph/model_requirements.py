"""What a model must be so that it can be used: functional, one input of images, layers that have a config.

Every public call that takes a model makes these checks first, so that another model ends in a sentence that
says what to do.
"""
from __future__ import annotations

from typing import Any

import keras

from .._keras_private import flatten_layers
from ..errors import ArgumentError, describe_error

_IMAGES = "one input (batch, height, width, channels) and one output"


def check_image_model(model: keras.Model) -> None:
    """Checks that a model has one input of images and one output.

    Args:
        model: any Keras model.

    Raises:
        ArgumentError: if it has not; the message says what to do.
    """
    check_input_and_output(model, _IMAGES)
    shape = tuple(model.inputs[0].shape)
    if len(shape) != 4:
        raise ArgumentError("model", model.name, _IMAGES, hint=f"its input has the shape {shape[1:]}")


def check_input_and_output(model: keras.Model, expected: str = "one input and one output") -> None:
    """Checks that a model has a graph of layers, from one input to one output.

    Args:
        model: any Keras model.
        expected: what is expected, for the error.

    Raises:
        ArgumentError: if it has not; the message says what to do.
    """
    if not getattr(model, "inputs", None):
        raise ArgumentError("model", model.name, expected, hint=explain_missing_graph(model))
    inputs, outputs = len(model.inputs), len(model.outputs)
    if inputs != 1:
        raise ArgumentError("model", model.name, expected, hint=(
            f"it has {inputs} inputs; give the part of it that takes the images, "
            "keras.Model(images, output)"))
    if outputs != 1:
        raise ArgumentError("model", model.name, expected, hint=(
            f"it has {outputs} outputs; give one of them, keras.Model(model.inputs, model.outputs[0])"))


def explain_missing_graph(model: keras.Model) -> str:
    """Says why a model has no graph of layers, and how to make one that has: a phrase for an error.

    Args:
        model: a subclassed model, or a sequential model that is not built.
    """
    if isinstance(model, keras.Sequential):
        return ("it is not built, so its layers and the shape of its images are not known; let it begin "
                "with keras.Input((height, width, channels))")
    return ("it is subclassed, so its layers cannot be read; give the functional model of its layers, "
            "keras.Model(images, model.call(images)) with images = keras.Input((height, width, channels))")


def check_layers(model: keras.Model) -> None:
    """Checks that each layer of a model has a config, without which a model is neither saved nor rewritten.

    Args:
        model: any Keras model.

    Raises:
        ValueError: names the layer, and says what to do.
    """
    for layer in getattr(model, "operations", None) or model.layers:
        if isinstance(layer, keras.Model):
            check_layers(layer)
            continue
        try:
            layer.get_config()
        except Exception as error:
            raise ValueError(f"{model.name}: the layer {layer.name!r} has no config "
                             f"({_explain(layer, error)})") from error


def _explain(layer: Any, error: Exception) -> str:
    """Why a layer has no config, and what to do."""
    if hasattr(layer, "activation") and layer.activation is None:
        return ("its activation is None, which Keras cannot save; set layer.activation = "
                "keras.activations.linear")
    if isinstance(error, NotImplementedError):
        return (f"its class {type(layer).__name__} has no get_config; define one that returns the arguments "
                "of its __init__")
    return describe_error(error)


def check_floating_point(model: keras.Model) -> None:
    """Checks that Keras has not quantized a model (`model.quantize`): its kernels are neither trained nor
    rewritten, and converters cannot read them.

    Args:
        model: any Keras model.

    Raises:
        ArgumentError: if Keras has quantized a layer of it, at any depth.
    """
    # not by the variables: a layer of one's own may have a mask of bytes
    if any(getattr(getattr(layer, "dtype_policy", None), "quantization_mode", None) is not None
           for layer in flatten_layers(model)):
        raise ArgumentError("model", model.name, "a model in floating point", hint=(
            "Keras has quantized it (model.quantize); give it as it was before that.  A .tflite file of int8 "
            "is made of it by reskeras.export with 'int8' as `quantize`"))
