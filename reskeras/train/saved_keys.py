"""The keys of run.json that differ from the names in the code: one table, used to write and to read.

Run folders keep these keys, so that a training run that an earlier version started can be resumed.
"""
from __future__ import annotations

from typing import Any, Mapping

from .recipe import parse_overrides

INFO_KEYS = {"strategy_argument": "asked_strategy"}
ARGUMENT_KEYS = {
    "validation_data": "validation", "dtype": "policy", "jit_compile": "jit", "micro_batches": "accumulate",
    "overrides": "set", "model_overrides": "model_set", "preprocessing": "preprocess",
    "max_unreadable": "limit"}
TRAINING_KEYS = {
    "batch_size": "batch", "learning_rate": "rate", "base_batch_size": "rate_batch",
    "learning_rate_scaling": "scaling", "decay_factor": "factor", "warmup_start": "warmup_rate",
    "augmentation": "augment", "augmentation_repeats": "repeats",
    "ema_momentum": "ema", "head_learning_rate": "head_rate"}

# What earlier versions did without saying so, because these fields did not exist
_BEFORE = {"learning_rate_in_velocity": True, "ema_rule": "keras"}


def to_saved_info(info: Mapping[str, Any]) -> dict[str, Any]:
    """What the code knows of a run, with the keys of run.json."""
    saved = _rename_keys(info, INFO_KEYS)
    saved["arguments"] = _rename_keys(info["arguments"], ARGUMENT_KEYS)
    saved["arguments"]["set"] = _rename_keys(info["arguments"]["overrides"], TRAINING_KEYS)
    saved["recipe"] = _rename_recipe(info["recipe"], TRAINING_KEYS)
    return saved


def from_saved_info(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Inverts `to_saved_info`; it reads files of earlier versions too."""
    info = _rename_keys(saved, _invert(INFO_KEYS))
    info["arguments"] = _rename_keys(saved["arguments"], _invert(ARGUMENT_KEYS))
    # earlier versions also wrote a list of texts
    overrides = parse_overrides(info["arguments"].get("overrides", ()))
    info["arguments"]["overrides"] = _update_decay(_rename_keys(overrides, _invert(TRAINING_KEYS)))
    info["recipe"] = _rename_recipe(saved["recipe"], _invert(TRAINING_KEYS))
    for part in ("training", "sources"):
        info["recipe"][part] = _update_decay(info["recipe"][part])
    info["recipe"]["training"] = _BEFORE | info["recipe"]["training"]
    return info


def _update_decay(values: Mapping[str, Any]) -> dict[str, Any]:
    """Replaces the key "decay_all" of earlier versions, whose value was True or False."""
    names = {True: "all", False: "kernels"}
    return {"decayed_weights" if key == "decay_all" else key:
            names[value] if key == "decay_all" and isinstance(value, bool) else value
            for key, value in values.items()}


def _rename_recipe(recipe: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, Any]:
    return {**recipe, "training": _rename_keys(recipe["training"], keys),
            "sources": _rename_keys(recipe.get("sources", {}), keys)}


def _rename_keys(values: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, Any]:
    return {keys.get(name, name): value for name, value in values.items()}


def _invert(keys: Mapping[str, str]) -> dict[str, str]:
    return {key: name for name, key in keys.items()}
