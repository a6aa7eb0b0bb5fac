"""The table of published weights: one `Checkpoint` for every file that was published for one of our nets.

The data are in table.json, one line per checkpoint, without the fields that have their default value.
`examples/refresh_weights.py` updates them from timm's metadata.  No framework is imported here.

"is_default" marks the checkpoint that `weights="imagenet"` means.  It is set by hand and changes only in a
major version.  It is chosen by these rules: for Keras' nets Keras' file; for other nets the first checkpoint
in timm's order (so timm's default) that has ImageNet-1k's classes and a permissive license, with a preference
for safetensors; otherwise the release of the ResNeSt authors, or KerasHub's file; otherwise none.

Google's .h5 files of Big Transfer are left out: they have the numbers of its .npz files, in a layout that is
not documented.
"""
from __future__ import annotations

import dataclasses
import functools
import json
import os
import pathlib
from fnmatch import fnmatchcase
from typing import Any, Mapping

from ..errors import ArgumentError
from .checkpoint import Checkpoint

EMBEDDED_FOLDER = pathlib.Path(__file__).parent / "embedded"       # checkpoints that come with the package
TABLE_FILE = pathlib.Path(__file__).with_name("table.json")
IMAGENET = "imagenet"       # stands for the variant's default checkpoint; no checkpoint has this tag
# endings of the paths of files of weights, see readers.py
FILE_SUFFIXES = (".safetensors", ".weights.h5", ".weights.json", ".h5", ".keras", ".npz", ".pth", ".pt",
                 ".th", ".ckpt", ".tar", ".bin", ".index")


@functools.cache
def list_checkpoints() -> tuple[Checkpoint, ...]:
    """Lists the checkpoints of the table, in the order of the variants."""
    return tuple(Checkpoint(**entry) for entry in json.loads(TABLE_FILE.read_text(encoding="utf-8")))


@functools.cache
def get_checkpoints(variant: str) -> dict[str, Checkpoint]:
    """The checkpoints of a variant, by tag; an empty dictionary for a net without any."""
    return {c.tag: c for c in list_checkpoints() if c.variant == variant}


@functools.cache
def get_source_nets() -> dict[str, tuple[str, dict[str, Any]]]:
    """Lists the sources' nets with weights: "timm/resnet50" -> (variant, Spec fields that differ)."""
    return {c.source_net: (c.variant, {k: v for k, v in c.spec_fields.items() if k != "pixels"})
            for c in list_checkpoints()}


def get_default_checkpoint(variant: str) -> Checkpoint | None:
    """The checkpoint that weights="imagenet" means for a variant; None if there is none."""
    return next((c for c in get_checkpoints(variant).values() if c.is_default), None)


def get_default_weights(variant: str) -> str | None:
    """The default of a builder's `weights`: "imagenet", or None for a variant without such a checkpoint."""
    return IMAGENET if get_default_checkpoint(variant) else None


def list_weights(pattern: str | None = None, *, dataset: str | None = None, license: str | None = None,
                 source: str | None = None, commercial: bool | None = None) -> list[str]:
    """The names of the published checkpoints, such as "resnet50v1_5.a1_in1k", in the order of the nets.

    Args:
        pattern: a shell pattern of these names or of the source's ("resnet50*", "timm/resnet50.*").
        dataset: "in1k", "in21k->in1k", "cifar10" ..., or a pattern such as "*in1k".
        license: "apache-2.0", "bsd-3-clause", "cc-by-nc-4.0" ..., or a pattern.
        source: "timm", "torchvision", "keras" ..., or a pattern.
        commercial: True for those whose license allows commercial use, False for the others, None for both.

    Returns:
        The names; an empty list if no name matches `pattern`.

    Raises:
        ArgumentError: for a dataset, license or source that no checkpoint has; the message suggests the
            nearest name.

    Example:
        >>> reskeras.list_weights("resnet50*", dataset="in1k", license="apache-2.0")[:2]
        ['resnet50.keras_in1k', 'resnet50.keras_in1k_notop']
    """
    patterns = {"dataset": dataset, "license": license, "source": source}
    for name, value in patterns.items():
        known = sorted({getattr(c, name) for c in list_checkpoints()} - {""})
        if value is not None and not any(fnmatchcase(k, value.lower()) for k in known):
            raise ArgumentError(name, value, f"one of {', '.join(known)}", known)

    def fits(c: Checkpoint) -> bool:
        names = (c.name, c.id.lower())
        return ((pattern is None or any(fnmatchcase(name, pattern.lower()) for name in names))
                and all(value is None or fnmatchcase(getattr(c, name), value.lower())
                        for name, value in patterns.items())
                and commercial in (None, c.allows_commercial_use))

    return [c.name for c in list_checkpoints() if fits(c)]


def get_weights(name: str | Checkpoint) -> Checkpoint:
    """Finds a published checkpoint by its name.

    Args:
        name: a net and a tag ("resnet50v1_5.a1_in1k", "timm/resnet50.a1_in1k"), or only a net for its
            default checkpoint.  A `Checkpoint` is returned unchanged.

    Returns:
        The checkpoint: its file, license and accuracy, and how its images are prepared.

    Raises:
        ArgumentError: for an unknown name; the message suggests the nearest name, or lists the nets that have
            this tag.

    Example:
        >>> reskeras.get_weights("timm/resnet50.a1_in1k").name
        'resnet50v1_5.a1_in1k'
    """
    return find_weights(name, "name")


def find_weights(name: Any, argument: str) -> Checkpoint:
    """Finds the checkpoint whose name is the value of an argument of the caller.

    Args:
        name: as in `get_weights`.
        argument: the name of the argument, for the errors, which are those of `get_weights`.
    """
    if isinstance(name, Checkpoint):
        return name
    if not isinstance(name, str):
        raise ArgumentError(argument, name, "a string such as 'resnet50v1_5.a1_in1k'")

    ids, names = _checkpoints_by_id(), _checkpoints_by_name()
    if checkpoint := names.get(name.lower()) or ids.get(name.lower()):
        return checkpoint

    net, _, tag = name.partition(".")
    variant = get_source_nets()[net][0] if net in get_source_nets() else net
    if not get_checkpoints(variant):
        raise ArgumentError(argument, name, "the name of published weights", ids if "/" in name else names,
                            f"reskeras.list_weights() gives all {len(names)} names")
    try:
        result = find_checkpoint(variant, tag or IMAGENET, net)
    except ArgumentError as error:      # it is about `weights`, which the caller does not have
        raise _unknown_tag_error(variant, tag or IMAGENET, argument, name) from error
    if not isinstance(result, Checkpoint):      # there is a file with this name
        raise _unknown_tag_error(variant, tag, argument, name)
    return result


def find_checkpoint(variant: str, weights: Any,
                    source_net: str = "") -> Checkpoint | str | os.PathLike[str] | None:
    """Finds what a builder's `weights` means: a checkpoint of the table, the path of a file, or None.

    Args:
        variant: the builder's net.
        weights: None, a `Checkpoint`, a tag of the variant, "imagenet", a checkpoint's full name, or a path.
        source_net: the source's name of the net, if the user gave that; "imagenet" then means the source's
            checkpoint if the source's net differs from the variant.

    Raises:
        ArgumentError: for a tag that the variant does not have; the message lists the nets that have it, or
            suggests the nearest spelling.
    """
    if weights is None or isinstance(weights, os.PathLike):
        return weights
    if not isinstance(weights, (str, Checkpoint)):
        raise ArgumentError("weights", weights, "None, a tag such as 'imagenet', or a path")

    checkpoint: Checkpoint | None
    if isinstance(weights, Checkpoint):
        checkpoint = weights
    elif weights.lower() == IMAGENET:
        checkpoint = _find_imagenet_checkpoint(variant, source_net)
    else:
        tags = {tag.lower(): c for tag, c in get_checkpoints(variant).items()}
        word = weights.lower()
        checkpoint = tags.get(word) or _checkpoints_by_name().get(word) or _checkpoints_by_id().get(word)
        if checkpoint is None and is_path(weights):
            return weights

    if checkpoint is None:
        raise _unknown_tag_error(variant, str(weights))
    if checkpoint.variant != variant:
        raise ArgumentError("weights", checkpoint.name, f"weights of {variant}",
                            hint=f"these are weights of {checkpoint.variant}")
    return checkpoint


def is_path(name: str) -> bool:
    """Whether a word is the path of weights: a file that is there, or ends as such files do."""
    # the files of a checkpoint of TensorFlow begin with its name
    return name.endswith(FILE_SUFFIXES) or any(map(os.path.exists, (name, f"{name}.index")))


def _find_imagenet_checkpoint(variant: str, source_net: str) -> Checkpoint | None:
    differs = bool(get_source_nets().get(source_net, ("", {}))[1])
    if differs:
        for c in get_checkpoints(variant).values():
            if c.source_net == source_net and c.labels == "imagenet-1k" and c.allows_commercial_use:
                return c
    return get_default_checkpoint(variant)


def _unknown_tag_error(variant: str, tag: str, argument: str = "weights", value: str = "") -> ArgumentError:
    """The error for a tag that the variant does not have; it lists those that it has.

    Args:
        argument: the argument that has the tag.
        value: the argument's value, if it is a name with this tag, not only the tag.
    """
    tags = list(get_checkpoints(variant))
    listing = f"its tags: {', '.join(tags) or 'none'}"
    if tag.lower() == IMAGENET:
        return ArgumentError(argument, value or tag, f"a tag of {variant}",
                             hint=f"no weights of {variant} are its default; {listing}")

    expected = f"a tag of {variant}" + ("" if value else " or an existing file")
    id_end = f"/{variant}.{tag}".lower()
    same_id = [c.name for c in list_checkpoints() if c.id.lower().endswith(id_end)]
    if same_id:         # timm's resnet50.a1_in1k, whose net has another name here
        return ArgumentError(argument, value or tag, expected,
                             hint=f"did you mean {same_id[0]!r}?; {listing}")

    others = sorted({c.variant for c in list_checkpoints() if c.tag == tag.lower()})
    if others:
        listed = ", ".join(others[:4]) + (" ..." if len(others) > 4 else "")
        return ArgumentError(argument, value or tag, expected, hint=f"that tag is of {listed}; {listing}")

    known = [f"{variant}.{known_tag}" for known_tag in tags] if value else [IMAGENET, *tags]
    return ArgumentError(argument, value or tag, expected, known, listing)


@functools.cache
def _checkpoints_by_id() -> dict[str, Checkpoint]:
    return {c.id.lower(): c for c in list_checkpoints()}


@functools.cache
def _checkpoints_by_name() -> dict[str, Checkpoint]:
    return {c.name.lower(): c for c in list_checkpoints()}


def make_table_entry(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Makes the line of a checkpoint in table.json: without fields that have their default value.

    Args:
        checkpoint: field name -> value.
    """
    defaults = {f.name: {} if f.default is dataclasses.MISSING else f.default
                for f in dataclasses.fields(Checkpoint)}
    entry = {name: checkpoint[name] for name in defaults if checkpoint.get(name) is not None}
    for size, test in (("input_size", "test_input_size"), ("crop_pct", "test_crop_pct")):
        if entry.get(test) == entry.get(size, defaults[size]):
            entry.pop(test, None)

    def plain(value: Any) -> Any:      # JSON has no tuples
        return list(value) if isinstance(value, tuple) else value

    return {name: plain(value) for name, value in entry.items()
            if name in ("variant", "tag", "id", "format") or plain(value) != plain(defaults[name])}
