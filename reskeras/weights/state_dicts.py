"""Which tensors of a PyTorch file are the net's: trainers put them into a dict of their own, under a prefix.

A file of weights may have {"state_dict": {"module.conv1.weight": ...}, "epoch": 90, "model_ema": {...}}.
`choose_tensors` finds the dict of tensors, and `remove_prefix` what stands before the names of the net.
"""
from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Iterable, Mapping, Sequence, TypeVar

import keras

from ..errors import ArgumentError, make_printable
from .convert import is_keras_key, join_names, list_variables
from .torch_files import HOW_TO_SAVE, TorchTensor, is_unread_tensor, is_whole_net

# Entries of a file that have weights, the likeliest first; averaged weights are those that trainers report
AVERAGED_ENTRIES = ("state_dict_ema", "model_ema", "ema_state_dict", "model_ema_state_dict", "ema_model",
                    "ema")
_LAST = ("state_dict", "model", "model_state_dict", "model_state", "net", "network", "weights")
# torch.compile puts it before the names of what it compiles
_COMPILED = "_orig_mod."
_Tensor = TypeVar("_Tensor")


@dataclass(frozen=True)
class ChosenTensors:
    """The dict of tensors of a PyTorch file that has the net's weights.

    Attributes:
        tensors: the tensors by their names.
        key: what is left of the user's `key` to choose the prefix of their names.
        entry: the entry of the file that `key` names, "" if it names none.
        entries: all entries that have tensors.
        messages: what the user should know.
    """

    tensors: dict[str, TorchTensor]
    key: str | None = None
    entry: str = ""
    entries: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()


def choose_tensors(content: Any, key: str | None) -> ChosenTensors:
    """Chooses the dict of tensors that has the net's weights.

    Args:
        content: what `read_torch_file` returned.
        key: the entry that has it, "state_dict", or with the prefix in it, "state_dict.encoder_q"; by default
            the averaged weights, then the usual names.

    Raises:
        ValueError: if there are no tensors, if the file has a net as an object of its class, if there are
            several dicts of tensors, and none has a usual name, or for tensors that cannot be read.
    """
    if is_whole_net(content):
        raise ValueError(_describe_object(content))
    if not isinstance(content, dict):
        raise ValueError("it has no tensors by name")
    entries = {name: value for name, value in content.items()
               if isinstance(name, str) and isinstance(value, dict) and _has_tensors(value)}
    for name in sorted(entries, key=len, reverse=True):
        if isinstance(key, str) and f"{key}.".startswith(f"{name}."):
            return ChosenTensors(_take_tensors(entries[name]), key[len(name) + 1:] or None, name,
                                 tuple(entries))
    if _has_tensors(content):
        return ChosenTensors(_take_tensors(content), key, entries=tuple(entries))
    if not entries:
        nets = [value for name, value in content.items()
                if name in AVERAGED_ENTRIES + _LAST and is_whole_net(value)]
        entries_text = f"; it has {join_names([repr(name) for name in content])}" if content else ""
        raise ValueError(_describe_object(nets[0]) if nets else f"it has no tensors by name{entries_text}")

    usual = [name for name in AVERAGED_ENTRIES + _LAST if name in entries]
    if not usual and len(entries) > 1:
        raise ValueError("it has several dicts of tensors; reskeras.load_weights(model, path, key=...) "
                         f"chooses one of {join_names([repr(name) for name in entries])}")
    chosen = (usual or list(entries))[0]
    others = [name for name in usual if name not in AVERAGED_ENTRIES]
    if chosen not in AVERAGED_ENTRIES or not others:
        return ChosenTensors(_take_tensors(entries[chosen]), key, entries=tuple(entries))
    return ChosenTensors(_take_tensors(entries[chosen]), key, entries=tuple(entries), messages=(
        f"the averaged weights {chosen!r} are loaded; reskeras.load_weights(model, path, key={others[0]!r}) "
        "loads the others",))


def _has_tensors(content: dict[Any, Any]) -> bool:
    return any(isinstance(name, str) and (isinstance(value, TorchTensor) or is_unread_tensor(value))
               for name, value in content.items())


def _take_tensors(content: dict[Any, Any]) -> dict[str, TorchTensor]:
    """The tensors of a dict by their names.  Raises: ValueError if one of them cannot be read."""
    others = [name for name, value in content.items() if isinstance(name, str) and is_unread_tensor(value)]
    if others:
        raise ValueError(f"{len(others)} of its tensors are sparse, quantized or of float8, which cannot be "
                         f"read: {join_names(others)}; PyTorch's `.to_dense()`, `.dequantize()` and "
                         "`.float()` make plain ones")
    return {name: value for name, value in content.items()
            if isinstance(name, str) and isinstance(value, TorchTensor)}


def _describe_object(net: Any) -> str:
    if net.function.name.partition(".")[0] in sys.stdlib_module_names:
        return (f"PyTorch would call Python's {make_printable(net.function.name[:200])} to open it, which "
                "weights do not need: it may be made to harm, so open it nowhere")
    return (f"it has a net as an object of the class {make_printable(net.function.name[:200])}, which only "
            f"the net's own code can open; {HOW_TO_SAVE}")


def remove_prefix(model: keras.Model, tensors: Mapping[str, _Tensor],
                  key: str | None = None, entry: str = "",
                  entries: Sequence[str] = ()) -> tuple[dict[str, _Tensor], list[str]]:
    """Removes what stands before the net's names in a file, such as "module." or "backbone.".

    The prefix is the one under which most variables of the net have a tensor.  If there is one, tensors with
    other prefixes do not belong to the net.

    Args:
        model: the net.
        tensors: the tensors of a file, by their names.
        key: the last part of the prefix, such as "encoder_q", needed if several fit equally.
        entry: the entry of the file that the user chose, for errors.
        entries: the entries that `key` can choose, for errors.

    Returns:
        The net's tensors by the names without the prefix, and messages for the user.

    Raises:
        ArgumentError: for an unknown `key`, or if several prefixes fit equally.
    """
    if any(map(is_keras_key, tensors)):
        if key is not None:
            raise ArgumentError("key", key, "None, because only files of PyTorch and TensorFlow have entries "
                                "and prefixes")
        return dict(tensors), []
    compiled = {name.replace(_COMPILED, ""): tensor for name, tensor in tensors.items()}
    tensors = compiled if len(compiled) == len(tensors) else dict(tensors)
    half = len(list_variables(model)) / 2
    prefixes = {p: count for p, count in _count_variables(model, tensors).items() if count >= half}
    start = f"{entry}." if entry else ""
    if key is not None:
        matching = [p for p in prefixes if f".{p}".endswith(f".{key}.")]
        if not matching:
            known = _list_known(prefixes, start) + [make_printable(e[:100]) for e in entries if not entry]
            raise ArgumentError("key", f"{start}{key}" if start else key, (
                "an entry of the file that has tensors, or the prefix of its names"
                + (f", such as {', '.join(map(repr, known[:6]))}" if known else
                   "; this one has neither, so leave `key` out")), known)
        prefixes = {p: prefixes[p] for p in matching}
    largest = max(prefixes.values(), default=0)
    best = [prefix for prefix, count in prefixes.items() if count == largest]
    if "" in best or not best:
        return dict(tensors), []
    if len(best) > 1:
        names = _list_known(best, start)
        raise ArgumentError("key", f"{start}{key}" if key else entry or None, (
            f"one of {', '.join(map(repr, names[:10]))}"), names, hint=(
            "the file has several such nets; reskeras.load_weights(model, path, key=...) chooses one"))

    prefix = best[0]
    chosen = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()
              if name.startswith(prefix)}
    others = [name for name in tensors if not name.startswith(prefix)]
    return chosen, [f"the names of its tensors begin with {make_printable(prefix[:100])!r}" + (
        f"; {len(others)} other tensors do not belong to the net: {join_names(others)}" if others else "")]


def _list_known(prefixes: Iterable[str], start: str) -> list[str]:
    """The values of `key` that choose these prefixes."""
    return sorted(start + make_printable(prefix.removesuffix(".")[:100]) for prefix in prefixes if prefix)


def _count_variables(model: keras.Model, names: Mapping[str, Any]) -> dict[str, int]:
    """How many variables of the net have a tensor under each prefix."""
    variables = {name: i for i, (_, _, keys) in enumerate(list_variables(model))
                 for name in keys if not is_keras_key(name)}
    longest = max(map(len, variables), default=0)
    matched: dict[str, set[int]] = defaultdict(set)
    for name in names:
        start = max(0, len(name) - longest)
        starts = [i + 1 for i in range(start - 1, len(name)) if i >= 0 and name[i] == "."]
        for i in ([0] if start == 0 else []) + starts:
            if name[i:] in variables:
                matched[name[:i]].add(variables[name[i:]])
    return {prefix: len(found) for prefix, found in matched.items()}
