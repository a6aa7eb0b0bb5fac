"""The serialized form of a Keras graph: layer configs, arguments of calls, lists of tensors.

Only this file knows that form.
"""
from __future__ import annotations

from types import FunctionType
from typing import Any, Callable, Iterator

import keras

from .._keras_private import flatten_layers, get_lambda_output_shape

# A tensor: the layer that made it, the number of its call, the number of its output
TensorRef = tuple[str, int, int]


def tensor_config(ref: TensorRef) -> dict[str, Any]:
    """Serializes a tensor as Keras does in the arguments of a call."""
    return {"class_name": "__keras_tensor__", "config": {"keras_history": list(ref)}}


def is_tensor_config(value: Any) -> bool:
    """Whether a serialized argument is a tensor."""
    return isinstance(value, dict) and value.get("class_name") == "__keras_tensor__"


def find_refs(value: Any) -> Iterator[TensorRef]:
    """Yields every tensor in the serialized arguments of a call."""
    if is_tensor_config(value):
        name, call_index, output = value["config"]["keras_history"]
        yield name, call_index, output
    elif isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from find_refs(item)


def deserialize_arguments(value: Any, find_tensor: Callable[[TensorRef], Any]) -> Any:
    """Makes the arguments of a call from their serialized form.

    Args:
        value: the serialized arguments.
        find_tensor: name of a tensor -> what replaces it.
    """
    if is_tensor_config(value):
        return find_tensor(next(find_refs(value)))
    if isinstance(value, dict):
        if "class_name" in value:
            return keras.saving.deserialize_keras_object(value)
        return {k: deserialize_arguments(v, find_tensor) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [deserialize_arguments(v, find_tensor) for v in value]
    return value


def map_argument_refs(value: Any, change: Callable[[TensorRef], TensorRef]) -> Any:
    """The serialized arguments of a call, with its tensors replaced."""
    if is_tensor_config(value):
        return tensor_config(change(next(find_refs(value))))
    if isinstance(value, dict):
        return {k: map_argument_refs(v, change) for k, v in value.items()}
    return [map_argument_refs(v, change) for v in value] if isinstance(value, (list, tuple)) else value


def _is_ref(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 3 and isinstance(value[0], str)


def map_refs(value: Any, function: Callable[[TensorRef], Any]) -> Any:
    """Replaces each tensor in a model's inputs or outputs.

    Args:
        value: Keras' nesting of [name, call, output]; a single tensor is not in a list.
        function: tensor -> what replaces it.
    """
    if _is_ref(value):
        return function((value[0], value[1], value[2]))
    if isinstance(value, dict):
        return {k: map_refs(value[k], function) for k in sorted(value)}     # in Keras' order
    mapped = [map_refs(v, function) for v in value]
    return tuple(mapped) if isinstance(value, tuple) else mapped


def list_refs(value: Any) -> list[TensorRef]:
    """The tensors in a model's inputs or outputs, in order."""
    refs: list[TensorRef] = []
    map_refs(value, refs.append)
    return refs


def find_custom_functions(layer: Any, config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Finds the functions of a layer, and of the layers inside it, that its config only names.

    Keras would mistake a function with the name of a Keras function for that one, so it gets a name made from
    the layer's.  So does the function of a Lambda, which Keras saves as bytecode without the objects that it
    uses.

    Args:
        layer: a layer or an operation.
        config: its config.

    Returns:
        The config with these names, and name -> function for all functions that are not Keras'.
    """
    layers = flatten_layers(layer) if isinstance(layer, keras.layers.Layer) else [layer]
    custom = [value for each in layers for value in vars(each).values()
              if isinstance(value, FunctionType) and value.__module__[:6] != "keras."]
    functions: dict[str, Any] = {function.__name__: function for function in custom}

    for name, value in config.items():
        function = getattr(layer, name, None) if isinstance(value, str) and value in functions else None
        if function is not None and function is functions[value]:
            key = f"{layer.name}/{name}"
            config, functions = {**config, name: _function_config(key)}, {**functions, key: function}

    if type(layer) is keras.layers.Lambda:
        output_shape = get_lambda_output_shape(layer)
        for name, function in (("function", layer.function), ("output_shape", output_shape)):
            if isinstance(function, FunctionType):
                key = f"{layer.name}/{name}"
                config, functions = {**config, name: key}, {**functions, key: function}
    return config, functions


def _function_config(name: str) -> dict[str, Any]:
    """The config that Keras writes for a function that it does not know."""
    return {"module": "builtins", "class_name": "function", "config": name, "registered_name": "function"}


def set_dtype(config: dict[str, Any], dtype: str | None) -> dict[str, Any]:
    """Sets the dtype policy in the config of a layer and of the layers inside it.

    Integer types stay: those of an input or a cast.

    Args:
        config: the config of a layer; it is not changed.
        dtype: the name of a policy; None changes nothing.
    """
    if dtype is None:
        return config

    def change(value: Any) -> Any:
        if isinstance(value, dict):
            return change_all(value)
        return [change(v) for v in value] if isinstance(value, list) else value

    def change_all(values: dict[str, Any]) -> dict[str, Any]:
        return {k: dtype if k == "dtype" and "float" in str(v) else change(v) for k, v in values.items()}
    return change_all(config)
