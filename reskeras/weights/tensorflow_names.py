"""Which tensors of a TensorFlow checkpoint are the net's, and of which layers: "layer.#index" for each.

    name-based      "conv2d_5/kernel", and "conv2d_5/kernel/ExponentialMovingAverage" for its average;
                    Slim's "InceptionResnetV2/Repeat/block35_1/Branch_0/Conv2d_1x1/weights"
    object-based    "layer_with_weights-3/kernel/.ATTRIBUTES/VARIABLE_VALUE"; a table in the checkpoint says
                    the variable's own name, "conv1_conv/kernel"

Other tensors (steps, variables of the optimizer, auxiliary classifiers) are left out; a message lists them.
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Mapping

from ..errors import ArgumentError, make_printable
from .convert import join_names
from .slim_names import count_slim_blocks, find_slim_layer
from .state_dicts import AVERAGED_ENTRIES

AVERAGE, VARIABLES = "ExponentialMovingAverage", "variables"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
# the variables of a layer in Keras' order
_VARIABLES = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")
_OTHER_NAMES = {"weights": "kernel", "biases": "bias", "_kernel": "kernel"}
# what Keras 2 and Keras 3 call the layers of a net, which they number in the order of `model.layers`
_NUMBERED_OBJECT = re.compile(r"(?:(.*)/)?(?:layer_with_weights|layer|_operations|_layers)[-/](\d+)")


@dataclass(frozen=True)
class _Variable:
    net: str            # what stands before the names of a net: a scope, or the path of an object
    layer: str
    name: str           # "kernel"
    position: int       # of the layer in its net, -1 if the checkpoint does not say it
    is_average: bool
    tensor: Any


@dataclass(frozen=True)
class ChosenVariables:
    """The variables of a checkpoint that are the net's.

    Attributes:
        tensors: by "layer.#index".
        layers: the names of these layers in Keras' order, if the checkpoint says it.
        messages: what the user should know.
        is_slim_resnet: whether it is one of Slim's ResNets, whose stages stride in their last block.
    """

    tensors: dict[str, Any]
    layers: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    is_slim_resnet: bool = False


def choose_variables(variables: list[_Variable], others: list[str], key: str | None) -> ChosenVariables:
    """Chooses the variables of one net, averaged ones where there are any.

    Args:
        variables: what `find_variables` returned.
        others: likewise.
        key: "ExponentialMovingAverage" or "variables" for averages or not; or what stands before the names of
            the net, such as "model", if the checkpoint has several nets.

    Raises:
        ArgumentError: for an unknown `key`, or if there are several nets of equal size.
    """
    nets: dict[str, list[_Variable]] = {}
    for variable in variables:
        nets.setdefault(variable.net, []).append(variable)
    has_average = any(variable.is_average for variable in variables)
    net, messages = _choose_net(nets, key, has_average)
    others = others + [f"{v.net}/{v.layer}/{v.name}" for other in nets if other != net for v in nets[other]]

    chosen: dict[tuple[str, str], _Variable] = {}
    for variable in nets[net]:
        before = chosen.get((variable.layer, variable.name))
        if before is None or variable.is_average == (key != VARIABLES):
            chosen[variable.layer, variable.name] = variable
    if has_average and key is None and any(v.is_average for v in nets[net]):
        messages.append(f"the averaged weights {AVERAGE!r} are loaded; reskeras.load_weights(model, path, "
                        f"key={VARIABLES!r}) loads the others")
    if others:
        messages.append(f"{len(others)} other tensors do not belong to the net: {join_names(others)}")

    tensors: dict[str, Any] = {}
    for layer in dict.fromkeys(layer for layer, _ in chosen):
        names = [name for name in _VARIABLES if (layer, name) in chosen]
        tensors |= {f"{layer}.#{i}": chosen[layer, name].tensor for i, name in enumerate(names)}
    positions = {v.layer: v.position for v in chosen.values()}
    layers = () if -1 in positions.values() else tuple(sorted(positions, key=positions.__getitem__))
    is_slim = re.search(r"(^|/)resnet_v[12]_\d+$", net) is not None
    return ChosenVariables(tensors, layers, tuple(messages), is_slim)


def _choose_net(nets: Mapping[str, list[_Variable]], key: str | None,
                has_average: bool) -> tuple[str, list[str]]:
    """The net that has most variables, or that `key` names; and messages for the user."""
    known = sorted(make_printable(net[:100]) for net in nets if net)
    matching = [net for net in nets if key and f"/{net}".endswith(f"/{key}")]
    if key is not None and key != VARIABLES and not matching and not (key == AVERAGE and has_average):
        known += [AVERAGE, VARIABLES] if has_average else []
        raise ArgumentError("key", key, "what stands before the names of the net's variables" + (
            f", such as {known[0]!r}" if known else "; in this checkpoint nothing does"), known)
    candidates = matching or list(nets)
    largest = max(len(nets[net]) for net in candidates)
    best = [net for net in candidates if len(nets[net]) == largest]
    averaged = [net for net in best if net.rpartition("/")[2] in AVERAGED_ENTRIES]
    if len(averaged) == 1 and len(best) == 2:
        other = next(net for net in best if net not in averaged)
        return averaged[0], [f"the averaged weights {averaged[0]!r} are loaded; reskeras.load_weights(model, "
                             f"path, key={other!r}) loads the others"]
    if len(best) > 1:
        raise ArgumentError("key", key, f"one of {', '.join(map(repr, known[:10]))}", known, hint=(
            "the checkpoint has several such nets; reskeras.load_weights(model, path, key=...) chooses one"))
    return best[0], []


def find_variables(tensors: Mapping[str, Any], graph: Mapping[str, str]) -> tuple[list[_Variable], list[str]]:
    """Finds the variables of layers in a checkpoint.

    Args:
        tensors: the tensors by TensorFlow's names.
        graph: the variables' own names, see `TensorFlowCheckpoint`.

    Returns:
        The variables, and the names of the other tensors.

    Raises:
        ValueError: if there are no variables.
    """
    last_block = count_slim_blocks(tensors)
    variables, others = [], []
    for name, tensor in tensors.items():
        variable = (_find_object_variable(name, tensor, graph) if graph else
                    _find_named_variable(name, tensor, last_block))
        if variable is None:
            others.append(name.removesuffix(_VALUE))
        else:
            variables.append(variable)
    if not variables:
        raise ValueError(f"it has no variables of layers; it has {join_names(others) or 'no tensors'}")
    return variables, others


def _find_named_variable(name: str, tensor: Any, last_block: int) -> _Variable | None:
    plain = name.removesuffix(f"/{AVERAGE}")
    path, _, last = plain.rpartition("/")
    variable = _OTHER_NAMES.get(last, last)
    if not path or variable not in _VARIABLES:
        return None
    scope, _, layer = path.rpartition("/")
    net, layer = find_slim_layer(path, last_block) or (scope, layer)
    return _Variable(net, layer, variable, -1, plain != name, tensor) if layer else None


def _find_object_variable(name: str, tensor: Any, graph: Mapping[str, str]) -> _Variable | None:
    path, _, last = name.removesuffix(_VALUE).rpartition("/")
    variable = _OTHER_NAMES.get(last, last)
    if not path or variable not in _VARIABLES or not name.endswith(_VALUE) or ".OPTIMIZER_SLOT/" in name:
        return None
    match = _NUMBERED_OBJECT.fullmatch(path)
    own_name = graph.get(name, "").rpartition("/")[0].rpartition("/")[2]
    if match is None:
        net, _, layer = path.rpartition("/")
        return _Variable(net, own_name or layer, variable, -1, False, tensor)
    return _Variable(match[1] or "", own_name or f"layer_{match[2]}", variable, int(match[2]), False, tensor)
