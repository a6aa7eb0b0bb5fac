"""The private names of Keras by which a net is built faster; `build.py` uses them.

What they skip has no effect: the layers, their names, configs and attributes, and their initial values are
the same (`tests/test_build_speed.py`).  They have no public counterpart.  With a version of Keras that lacks
one of these names, nets are built without it.

No framework is imported before a function here is called.
"""
from __future__ import annotations

import contextlib
import gc
import importlib
import inspect
import threading
import types
from typing import Any, Callable, Iterator, Sequence

from ._keras_private import build_without_values

_ATOMS = frozenset({type(None), bool, int, float, str})     # these contain no variable or layer
_lock = threading.Lock()
_builds = 0                                 # how many builds run now, in all threads
_originals: list[tuple[Any, str, Any]] = []


@contextlib.contextmanager
def build_faster() -> Iterator[None]:
    """Inside the block, layers are made with fewer checks; afterwards Keras is as it was.

    * Keras searches each value that is set as an attribute of a layer for variables and layers, about ninety
      values per layer.  Numbers, strings and tuples of them are not searched.
    * It reads the signatures of a layer's functions for each layer.  They are read once per function.
    * It asks whether each input is a tensor of the backend before it asks whether it is a `KerasTensor`; in
      TensorFlow the first question is slow.  Here the second question comes first.
    * Python looks for garbage again and again while the number of objects grows; there is none.
    """
    global _builds
    has_collector = gc.isenabled()
    gc.disable()
    try:
        with _lock:
            _builds += 1
            if _builds == 1:
                _replace_functions()
        yield
    finally:
        with _lock:
            _builds -= 1
            if not _builds:
                for owner, name, original in _originals:
                    setattr(owner, name, original)
                _originals.clear()
        if has_collector:
            gc.enable()


def _replace_functions() -> None:
    """Puts the fast functions in the place of Keras', which are private or inherited from private classes.

    Under JAX and PyTorch the attributes of a layer have rules of their own, and nothing is replaced.
    """
    import keras
    if keras.config.backend() != "tensorflow":
        return
    layer_class, symbolic = keras.layers.Layer, keras.KerasTensor
    set_attribute = layer_class.__setattr__

    def set_quickly(self: Any, name: str, value: Any) -> None:
        (object.__setattr__ if _is_atomic(value) else set_attribute)(self, name, value)

    _replace(layer_class, "__setattr__", set_quickly)

    with contextlib.suppress(ImportError, AttributeError):
        tracker = importlib.import_module("keras.src.utils.tracking").Tracker
        track = tracker.track
        _replace(tracker, "track", lambda self, value: value if _is_atomic(value) else track(self, value))

        module = importlib.import_module("keras.src.layers.layer")
        is_tensor = module.is_backend_tensor_or_symbolic

        def is_symbolic_or_tensor(x: Any, allow_none: bool = False) -> bool:
            return isinstance(x, symbolic) or is_tensor(x, allow_none=allow_none)

        _replace(module, "is_backend_tensor_or_symbolic", is_symbolic_or_tensor)
        signatures = _Signatures()
        _replace(module, "inspect", signatures)
        _replace(importlib.import_module("keras.src.ops.operation"), "inspect", signatures)


def _is_atomic(value: Any) -> bool:
    """Whether a value is certain to contain no variable and no layer."""
    kind = type(value)
    return kind in _ATOMS or kind is tuple and all(type(item) in _ATOMS for item in value)


class _Signatures:
    """In the place of the module `inspect`: reads the signature of each function once."""

    def __init__(self) -> None:
        self._read: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(inspect, name)

    def signature(self, function: Any) -> inspect.Signature:
        """What `inspect.signature` returns."""
        key = "signature", inspect.ismethod(function), getattr(function, "__func__", function)
        return self._get(key, inspect.signature, function)

    def getfullargspec(self, function: Any) -> inspect.FullArgSpec:
        """What `inspect.getfullargspec` returns."""
        return self._get(("argspec", False, function), inspect.getfullargspec, function)

    def _get(self, key: Any, read: Callable[[Any], Any], function: Any) -> Any:
        if not isinstance(key[2], types.FunctionType):
            return read(function)
        if key not in self._read:
            self._read[key] = read(function)
        return self._read[key]


def _replace(owner: Any, name: str, new: Any) -> None:
    """Sets an attribute of a class or module, and remembers the private one that was there."""
    _originals.append((owner, name, getattr(owner, name)))
    setattr(owner, name, new)


@contextlib.contextmanager
def postpone_values(is_wanted: bool = True) -> Iterator[list[Any]]:
    """Inside the block new variables get no values yet, where that is possible: `fill_variables` does it.

    Then a value that a file replaces need not be drawn, and equal values are made once.  It is possible with
    TensorFlow, in eager mode and outside of a `tf.distribute` strategy.

    Args:
        is_wanted: if False, variables get their values at once.

    Yields:
        A list that has these variables after the block.
    """
    import keras
    if not is_wanted or keras.config.backend() != "tensorflow" or not _can_postpone():
        yield []
        return
    with build_without_values() as variables:
        yield variables


def _can_postpone() -> bool:
    """Whether variables are made here and now; a `StatelessScope` of the caller is private to ask for."""
    import tensorflow as tf
    try:
        scope = importlib.import_module("keras.src.backend.common.stateless_scope")
        is_stateless = scope.in_stateless_scope()
    except (ImportError, AttributeError):
        return False
    return bool(tf.executing_eagerly() and not tf.distribute.has_strategy() and not is_stateless)


def set_value(variable: Any, value: Any) -> None:
    """Assigns a value; a variable without one is made with it, for which Keras has only a private method.

    Args:
        variable: a variable of Keras.
        value: an array of its shape.
    """
    import keras
    if _has_value(variable):
        variable.assign(value)
    else:
        with _use_name_scope(variable):
            variable._initialize(keras.ops.convert_to_tensor(value, variable.dtype))


def fill_variables(variables: Sequence[Any]) -> None:
    """Gives variables that have no value the one of their initializer, which is a private attribute.

    All zeros and all ones of one shape share their memory until one of them changes.
    """
    import keras
    constants = (keras.initializers.Zeros, keras.initializers.Ones)
    cache: dict[Any, Any] = {}
    for variable in variables:
        if _has_value(variable):
            continue
        initializer = variable._initializer
        with _use_name_scope(variable):
            if type(initializer) not in constants:
                variable._deferred_initialize()
                continue
            key = type(initializer), tuple(variable.shape), variable.dtype
            if key not in cache:
                cache[key] = initializer(tuple(variable.shape), dtype=variable.dtype)
            variable._initialize(cache[key])
        variable._initializer = None


def _use_name_scope(variable: Any) -> Any:
    """The scope of TensorFlow's names of the layer that has a variable; checkpoints have these names."""
    import tensorflow as tf
    layer = variable.path.rpartition("/")[0]
    return tf.name_scope(f"{layer}/") if layer else contextlib.nullcontext()


def _has_value(variable: Any) -> bool:
    """Whether a variable has a value; its public `value` would draw one."""
    return getattr(variable, "_value", variable) is not None
