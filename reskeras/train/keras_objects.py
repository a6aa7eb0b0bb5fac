"""Objects of Keras in the place of a word: a Loss, a Metric, an Optimizer, a LearningRateSchedule.

Such an object is kept as the dictionary that `keras.saving.serialize_keras_object` makes of it, which
run.json can hold, and is made anew when it is needed, also by a resumed run.
"""
from __future__ import annotations

import copy
import json
import sys
from typing import Any, TypeGuard

from .._keras_private import get_wrapped_arguments
from ..errors import ArgumentError, describe_error

_KEYS = {"class_name", "config"}


def is_keras_object(value: Any) -> bool:
    """Whether a value is a Loss, Metric, Optimizer or LearningRateSchedule, also of a class of one's own."""
    keras = sys.modules.get("keras")        # if it is not imported, there is no such object
    return keras is not None and isinstance(value, (
        keras.Loss, keras.Metric, keras.Optimizer, keras.optimizers.schedules.LearningRateSchedule))


def is_serialized(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether a value is what `serialize_object` returns."""
    return isinstance(value, dict) and _KEYS <= value.keys()


def serialize_object(name: str, value: Any) -> dict[str, Any]:
    """The dictionary from which `restore_object` makes an equal object.

    Args:
        name: the argument or field, for an error.
        value: an object of Keras, or what this function returned.

    Raises:
        ArgumentError: for an object that could not be made again, because its class is not registered, or its
            values are no JSON.
    """
    import keras
    if is_serialized(value):
        return dict(value)
    serialized = keras.saving.serialize_keras_object(value)
    try:
        # Keras leaves some arguments out, such as `delta` of Huber
        extra = keras.saving.serialize_keras_object(get_wrapped_arguments(value))
        serialized["config"] = {**serialized["config"], **extra}
        saved: dict[str, Any] = json.loads(json.dumps(serialized, allow_nan=False))
        keras.saving.deserialize_keras_object(copy.deepcopy(saved))     # it changes what it is given
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise ArgumentError(name, type(value).__name__, "an object that Keras can save and make again", hint=(
            "decorate its class with @keras.saving.register_keras_serializable(), and give it a get_config() "
            f"with its arguments ({describe_error(error)[:150]})")) from error
    return saved


def restore_object(name: str, value: Any, kind: type[Any], **config: Any) -> Any:
    """Makes an object of Keras anew.

    Args:
        name: the argument or field, for an error.
        value: what `serialize_object` returned.
        kind: the class that it must derive from, such as `keras.losses.Loss`.
        **config: values of its config to replace.

    Raises:
        ArgumentError: for another object, or a class that is not registered.
    """
    import keras
    try:
        changed = {**copy.deepcopy(value), "config": {**copy.deepcopy(value["config"]), **config}}
        restored = keras.saving.deserialize_keras_object(changed)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise ArgumentError(name, describe_object(value), "an object that can be made again", hint=(
            "import the module that registers its class first, with "
            f"@keras.saving.register_keras_serializable() ({describe_error(error)[:150]})")) from error
    if not isinstance(restored, kind):
        raise ArgumentError(name, describe_object(value), f"an object of a class of keras.{kind.__name__}")
    return restored


def describe_object(value: Any) -> str:
    """The object of a dictionary as a call: "Huber(delta=0.5)", without its name and what is not set."""
    if not is_serialized(value):
        return str(value)
    config = value["config"] if isinstance(value["config"], dict) else {}
    arguments = [f"{key}={_describe_value(v)}" for key, v in config.items()
                 if key not in ("name", "reduction", "dtype") and v is not None and v is not False]
    return f"{value['class_name']}({', '.join(arguments)})"


def _describe_value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return describe_object(value) if is_serialized(value) else repr(value)
