"""`Node`: one call of a layer in a graph."""
from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Mapping, Sequence

import keras
import numpy as np

from .._keras_private import flatten_layers
from .keras_config import TensorRef, find_refs, map_argument_refs, set_dtype, tensor_config

NodeKey = tuple[str, int]           # a call of a layer: the layer's name, the number of the call


@dataclass(frozen=True, eq=False)
class Node:
    """One call of a layer.

    Args:
        name: the layer's name.
        call_index: number of earlier calls of the same layer.
        layer_class: the class that makes the layer from `config`.
        config: the layer's config.
        weights: the layer's weights, as `get_weights` gives them; () if the graph was read without weights.
        args: positional arguments of the call in Keras' serialized form, in which a tensor has a name.
        kwargs: keyword arguments of the call, in the same form.
        functions: name -> function for functions that the config only names: a user's activation, a Lambda's
            function.
    """

    name: str
    call_index: int
    layer_class: type[keras.layers.Layer]
    config: dict[str, Any]
    weights: tuple[np.ndarray, ...]
    args: Any
    kwargs: dict[str, Any]
    functions: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def inputs(self) -> tuple[TensorRef, ...]:
        """The tensors that the call reads."""
        return tuple(find_refs([self.args, self.kwargs]))

    @property
    def key(self) -> NodeKey:
        return self.name, self.call_index

    @property
    def output(self) -> TensorRef:
        """The output of a layer that has one."""
        return self.name, self.call_index, 0

    @cached_property
    def type_name(self) -> str:
        """The type of the layer: "Conv2D" (Keras'), "package>Name" (registered), or "" for others.

        A subclass counts as a different layer: it may compute something else, even under the same name.
        A subclass that computes the same has the class attribute `same_function_as`.
        """
        return get_type_name(self.layer_class)

    @property
    def is_training_call(self) -> bool:
        """Whether the layer behaves as in training at inference too (`layer(x, training=True)`)."""
        return bool(self.kwargs.get("training"))

    def make_layer(self, dtype: str | None = None, temporary: bool = False) -> keras.layers.Layer:
        """Makes a new layer of this configuration.

        Args:
            dtype: a new dtype policy for the layer; None keeps the policy.
            temporary: whether the layer's config is not needed later; then weights start with zeros, which
                takes less time.

        Raises:
            ValueError: if the class cannot make a layer from its own config.
        """
        config = set_dtype(copy.deepcopy(self.config), dtype)      # from_config may empty its argument
        if temporary and self.weights:
            config |= {name: "zeros" for name in config if name.endswith("_initializer")}
        try:
            with keras.saving.custom_object_scope(self.functions):
                return self.layer_class.from_config(config)
        except TypeError as error:
            raise ValueError(
                f"the layer {self.name!r} cannot be made again from its config; its class "
                f"{self.layer_class.__name__} needs a get_config that returns the arguments of its __init__, "
                "and an __init__ that gives **kwargs to super().__init__") from error

    def set_layer_weights(self, layer: keras.layers.Layer) -> None:
        """Sets the weights of a layer of this configuration, and what a Normalization computes from them."""
        layer.set_weights(self.weights)
        for inner in flatten_layers(layer):
            if isinstance(inner, keras.layers.Normalization):
                inner.finalize_state()

    def with_config(self, **config: Any) -> Node:
        """The same call of a layer with a different configuration."""
        return replace(self, config={**self.config, **config})

    def with_inputs(self, new_inputs: Mapping[TensorRef, TensorRef]) -> Node:
        """The same layer, called with some tensors replaced."""
        if new_inputs.keys().isdisjoint(self.inputs):
            return self

        def change(ref: TensorRef) -> TensorRef:
            return new_inputs.get(ref, ref)
        return replace(self, args=map_argument_refs(self.args, change),
                       kwargs=map_argument_refs(self.kwargs, change))


def get_type_name(layer_class: type[Any]) -> str:
    """As `Node.type_name`, of the class of a layer."""
    layer_class = vars(layer_class).get("same_function_as", layer_class)
    name: str = layer_class.__name__
    if getattr(keras.layers, name, None) is layer_class:
        return name
    registered: str = keras.saving.get_registered_name(layer_class)
    return registered if ">" in registered else ""


def make_node(layer_class: type[keras.layers.Layer], name: str, inputs: Sequence[TensorRef], like: Node,
              weights: Sequence[np.ndarray] = (), **options: Any) -> Node:
    """Makes a node for a new layer.

    Args:
        layer_class: the layer's class.
        name: the layer's name, which must be unique.
        inputs: the tensors that it is called on.
        like: a node whose dtype policy the layer gets.
        weights: the layer's weights.
        **options: the layer's arguments.
    """
    config = {**layer_class(name=name, **options).get_config(), "dtype": like.config["dtype"]}
    tensors = [tensor_config(ref) for ref in inputs]
    return Node(name, 0, layer_class, config, tuple(weights), tensors if len(tensors) == 1 else [tensors], {})
