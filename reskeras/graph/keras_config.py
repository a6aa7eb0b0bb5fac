"""The serialised form of a Keras graph: how layer configs, arguments of calls and lists of tensors are written down.

The only file that knows it.
"""
from __future__ import annotations

from types import FunctionType
from typing import Any, Callable, Iterator

import keras

Ref = tuple[str, int, int]      # a tensor: the layer that made it, the number of its call, the number of its output


def tensor(ref: Ref) -> dict[str, Any]:
    """A tensor as an argument of a call is serialised."""
    return {"class_name": "__keras_tensor__", "config": {"keras_history": list(ref)}}


def is_tensor(value: Any) -> bool:
    return isinstance(value, dict) and value.get("class_name") == "__keras_tensor__"


def tensors_in(value: Any) -> Iterator[Ref]:
    """Every tensor named in the serialised arguments of a call."""
    if is_tensor(value):
        name, call, output = value["config"]["keras_history"]
        yield name, call, output
    elif isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from tensors_in(item)


def put_tensors(value: Any, find: Callable[[Ref], Any]) -> Any:
    """The serialised arguments of a call with a tensor for each name of one."""
    if is_tensor(value):
        return find(next(tensors_in(value)))
    if isinstance(value, dict):
        if "class_name" in value:
            return keras.saving.deserialize_keras_object(value)
        return {k: put_tensors(v, find) for k, v in value.items()}
    return [put_tensors(v, find) for v in value] if isinstance(value, (list, tuple)) else value


def map_tensors(value: Any, change: Callable[[Ref], Ref]) -> Any:
    """The serialised arguments of a call, reading other tensors."""
    if is_tensor(value):
        return tensor(change(next(tensors_in(value))))
    if isinstance(value, dict):
        return {k: map_tensors(v, change) for k, v in value.items()}
    return [map_tensors(v, change) for v in value] if isinstance(value, (list, tuple)) else value


def _is_ref(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 3 and isinstance(value[0], str)


def map_refs(value: Any, function: Callable[[Ref], Any]) -> Any:
    """Keras' nesting of [name, call, output], a single one alone, with something else for each of them."""
    if _is_ref(value):
        return function((value[0], value[1], value[2]))
    if isinstance(value, dict):
        return {k: map_refs(value[k], function) for k in sorted(value)}     # as Keras counts them
    made = [map_refs(v, function) for v in value]
    return tuple(made) if isinstance(value, tuple) else made


def refs_in(value: Any) -> list[Ref]:
    found: list[Ref] = []
    map_refs(value, found.append)
    return found


def functions_of(layer: Any, config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A layer's config, and by the names in it the functions that are not Keras' own; of the layers inside it too.

    One that is called as one of Keras', which would be taken for it, is named after the layer; so is a Lambda's, which Keras
    writes down as bytecode without what it refers to.
    """
    inner = layer._flatten_layers() if isinstance(layer, keras.layers.Layer) else [layer]
    given = [f for each in inner for f in vars(each).values() if isinstance(f, FunctionType) and f.__module__[:6] != "keras."]
    found: dict[str, Any] = {f.__name__: f for f in given}
    for name, value in config.items():
        own = getattr(layer, name, None) if isinstance(value, str) and value in found else None
        if own is not None and own is found[value]:
            key = f"{layer.name}/{name}"
            config, found = {**config, name: function(key)}, {**found, key: own}
    if type(layer) is keras.layers.Lambda:
        for name, own in (("function", layer.function), ("output_shape", layer._output_shape)):
            if isinstance(own, FunctionType):
                config, found = {**config, name: f"{layer.name}/{name}"}, {**found, f"{layer.name}/{name}": own}
    return config, found


def function(name: str) -> dict[str, Any]:
    """A function as Keras writes down one that it does not know."""
    return {"module": "builtins", "class_name": "function", "config": name, "registered_name": "function"}


def with_dtype(config: dict[str, Any], dtype: str | None) -> dict[str, Any]:
    """A layer's config, of another dtype policy where one is given; layers inside it too.

    What is of integers stays so: an input, a cast.
    """
    if dtype is None:
        return config

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: dtype if k == "dtype" and "float" in str(v) else changed(v) for k, v in value.items()}
        return [changed(v) for v in value] if isinstance(value, list) else value
    return changed(config)
