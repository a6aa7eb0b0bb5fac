"""Finding a net by its name, and opening a model.

How `create("timm/resnest50d")` becomes a model:

1. `find_variant` looks the name up: "timm/resnest50d" is another package's name for the variant "resnest50"
   (`variants.py`; the names come from its `sources` and `SOURCES_WITH_OTHER_FIELDS`, and from the table of
   checkpoints).
2. `create` calls the variant (`builder.py`) with the caller's arguments; the variant finds the default
   checkpoint and the Spec.
3. The variant calls `build` (`build.py`), which makes stem, blocks and head (`blocks/`) and loads the
   checkpoint's tensors (`weights/`).
"""
from __future__ import annotations

import difflib
import functools
import os
import sys
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from . import variants
from .builder import Variant
from .costs import COSTS_FILE as COSTS_FILE, VariantCost as VariantCost, read_costs as read_costs
from .errors import ArgumentError, nearest
from .pretrained import from_pretrained, is_hub_name
from .remote_paths import exists
from .spec import AnySpec, override
from .weights.checkpoint import Checkpoint
from .weights.table import find_checkpoint, get_default_weights, get_source_nets

if TYPE_CHECKING:
    import keras

# Suffixes of file names. No net's name ends with one of them.
FILE_SUFFIXES = (".keras", ".h5", ".hdf5", ".tflite", ".onnx", ".xml", ".pb",
                 ".safetensors", ".npz", ".pth", ".pt")


def create(name: str, /, **arguments: Any) -> keras.Model:
    """Builds a net by its name.

    Args:
        name: one of `list_models()` ("resnet50v1_5") or its builder ("ResNet50V1_5"); such a name with a tag
            of a checkpoint ("resnet50v1_5.a1_in1k", see `list_weights`); or the name that another package has
            for the same structure ("timm/resnet50", "torchvision/resnet50", "keras/ResNet50",
            "akamaster/resnet20").
        **arguments: those of every builder, such as `weights`, `classes`, `input_shape`, `dtype` or a field
            of the net's Spec; see `reskeras.ResNet50`.

    Returns:
        The model, on images (N, H, W, C).

    Raises:
        ValueError: for an unknown name (the message suggests the nearest one), and for an invalid value of an
            argument.
        TypeError: for an unknown argument; the message suggests the nearest name.
        OSError: if published weights cannot be downloaded or read.

    Example:
        >>> model = reskeras.create("resnet50d", classes=10)
        >>> model = reskeras.create("timm/resnest50d", weights=None, dtype="mixed_bfloat16")
    """
    variant, tag, source_fields = find_variant(name)
    if tag:
        if "weights" in arguments:
            raise ValueError(f"{name!r} already chooses the weights {tag!r}; "
                             f"weights={arguments['weights']!r} cannot be given as well")
        arguments["weights"] = tag

    # If the other package's net differs from the variant in a field, it needs other weights.
    weights = arguments.get("weights", get_default_weights(variant.name))
    if source_fields and weights is not None:
        source_name = name.partition(".")[0]
        weights = arguments["weights"] = find_checkpoint(variant.name, weights, source_name)
        if isinstance(weights, Checkpoint) and not source_fields.items() <= weights.spec_fields.items():
            raise ValueError(f"{source_name!r} needs the fields {source_fields}; the checkpoint "
                             f"{weights.name} belongs to {weights.source_net!r}, which does not have them; "
                             f"use create({weights.name!r})")
    return variant(**{**source_fields, **arguments})


def open_model(model: str | os.PathLike[str] | keras.Model, **arguments: Any) -> keras.Model:
    """Opens what a function takes as its `model`: a name, a `.keras` file or a model.

    Args:
        model: the name of a net, see `create`; the path of a `.keras` file; or a `keras.Model`.
        **arguments: for `create`, if `model` is a name.

    Returns:
        The net of that name, the model in that file, or `model` unchanged.

    Raises:
        ValueError: for an unknown name, an unsupported type of `model`, or an unreadable file.
        FileNotFoundError: if there is no such file.
        TypeError: for `arguments` if `model` is not a name.
    """
    check_model_kind(model)
    if isinstance(model, str) and not is_file_name(model):
        return create(model, **arguments)
    if arguments:
        raise TypeError(f"{', '.join(arguments)}: these arguments need the name of a net; "
                        "this model is built already")
    return load_keras_file(model) if isinstance(model, (str, os.PathLike)) else model


def check_model_kind(model: Any) -> None:
    """Raises: ArgumentError if `model` is neither a name, nor a path, nor a `keras.Model`."""
    if isinstance(model, (str, os.PathLike)):
        return
    keras = sys.modules.get("keras")        # if Keras is not imported yet, `model` cannot be a Keras model
    if keras is None or not isinstance(model, keras.Model):
        raise ArgumentError("model", model, "the name of a net, the path of a file, or a keras.Model")


def is_file_name(name: str | os.PathLike[str]) -> bool:
    """Whether `name` is the path of a file or a repository "hf://user/name", and not the name of a net."""
    return not isinstance(name, str) or name.endswith(FILE_SUFFIXES) or is_hub_name(name)


def load_keras_file(path: str | os.PathLike[str]) -> keras.Model:
    """Loads a `.keras` file, or the model of a repository "hf://user/name".

    Raises:
        ValueError: for a file that is not a Keras file, or that Keras cannot read.
        FileNotFoundError: if there is no such file.
    """
    name = os.fspath(path)
    if is_hub_name(name):
        return from_pretrained(name)
    if not name.endswith(".keras"):
        raise ValueError(f"{name}: expected a .keras file; reskeras does not open models from other files")
    if not exists(name):
        raise FileNotFoundError(f"{name}: no such file")

    from .build import load     # imported late: Keras takes seconds to load, a wrong name should fail first
    return load(name)


def find_variant(name: str) -> tuple[Variant, str, dict[str, Any]]:
    """Finds the net that a name stands for.

    Args:
        name: as `create` takes it.

    Returns:
        The variant; the tag of its checkpoint, "" if the name has none; and the Spec fields in which
        another package's net of that name differs from the variant.

    Raises:
        ValueError: for an unknown name; the message suggests the nearest one.
    """
    if not isinstance(name, str):
        raise ArgumentError("name", name, "a string such as 'resnet50d'")
    known, builders = list_source_names(), list_builders()
    if name in variants.VARIANTS:
        return variants.VARIANTS[name], "", {}
    if name in builders:
        return variants.VARIANTS[builders[name]], "", {}
    if name in known:
        variant_name, source_fields = known[name]
        return variants.VARIANTS[variant_name], "", source_fields

    net, _, tag = name.partition(".")
    if tag and (net in variants.VARIANTS or net in known or net in builders):
        variant, _, source_fields = find_variant(net)
        return variant, tag, source_fields
    suggestion = _suggest_spelling(name, {known_name: known_name for known_name in variants.VARIANTS})
    if name.startswith("keras/") and not suggestion:
        suggestion = ("; reskeras builds the residual nets of keras.applications alone (the others are known "
                      "to reskeras.compare)")
    raise ValueError(f"unknown net {name!r}{suggestion}; "
                     f"reskeras.list_models() names all {len(variants.VARIANTS)}")


@functools.cache
def list_source_names() -> dict[str, tuple[str, dict[str, Any]]]:
    """Lists other packages' names of nets.

    Returns:
        "timm/resnet50" -> (name of the variant, Spec fields in which that net differs from it).
    """
    known: dict[str, tuple[str, dict[str, Any]]] = {
        source: (variant.name, {}) for variant in variants.VARIANTS.values() for source in variant.sources}
    return get_source_nets() | known | variants.SOURCES_WITH_OTHER_FIELDS


def list_builders() -> dict[str, str]:
    """A dict from the builder's name to the variant's name: "ResNet50D" -> "resnet50d"."""
    return {variant.builder: variant.name for variant in variants.VARIANTS.values()}


def get_builder(name: str) -> Variant:
    """The builder of that name.  Raises: AttributeError, which suggests the nearest name."""
    builders = list_builders()
    if name in builders:
        return variants.VARIANTS[builders[name]]
    spelling = {variant: builder for builder, variant in builders.items()} | {b: b for b in builders}
    raise AttributeError(f"module 'reskeras' has no attribute {name!r}{_suggest_spelling(name, spelling)}")


def _suggest_spelling(name: str, spelling: dict[str, str]) -> str:
    """The end of an error message, "; did you mean 'x'?", or "" if no known name is similar.

    Only letters and digits count.  Tries in this order: the same name (also of another package); the
    shortest name that begins with it; a name that ends with it; a similar name.

    Args:
        name: the name that was given.
        spelling: a known name -> how to write it in the message.
    """
    known = {_letters_and_digits(k): v for k, v in spelling.items()}
    for source, (variant, _) in list_source_names().items():
        known.setdefault(_letters_and_digits(source.split("/")[1]), spelling[variant])
        known.setdefault(_letters_and_digits(source), spelling[variant])

    net = name.partition(".")[0]
    forms = [_letters_and_digits(n) for n in (net, net.rpartition("/")[2])]    # whole; without "timm/"
    equal = [form for form in forms if form in known]
    beginnings = [min(longer, key=len) for form in forms
                  if len(form) > 4 and (longer := [k for k in known if k.startswith(form)])]
    endings = [k for form in forms if len(form) > 8 for k in known if k.endswith(form)]
    variant_names = list(map(_letters_and_digits, spelling))
    near = (equal or beginnings or endings
            or difflib.get_close_matches(forms[1], variant_names, n=1, cutoff=0.85)
            or difflib.get_close_matches(forms[1], known, n=1, cutoff=0.6))
    return f"; did you mean {known[near[0]]!r}?" if near else ""


def _letters_and_digits(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def list_models(pattern: str | None = None, *, family: str | None = None, max_params: float | None = None,
                max_macs: float | None = None) -> list[str]:
    """The names of the nets that `create` builds.

    Args:
        pattern: a shell pattern of names, such as "resnest*".
        family: only nets of this family, such as "resnext".
        max_params: only nets with at most this number of trainable parameters, such as 26e6.
        max_macs: only nets with at most this number of multiply-accumulates, such as 4e9, for one image of
            the net's default size.

    Returns:
        The names, in the order of the table in `variants.py`.

    Raises:
        ValueError: for an unknown family; the message suggests the nearest name.

    Example:
        >>> reskeras.list_models("*50d*", max_params=26e6)
    """
    if family is not None:
        check_family(family)
    return [name for name, variant in variants.VARIANTS.items()
            if (pattern is None or fnmatchcase(name, pattern.lower())) and family in (None, variant.family)
            and (max_params is None or read_costs()[name].params <= max_params)
            and (max_macs is None or read_costs()[name].macs <= max_macs)]


def check_family(family: str, *others: str) -> None:
    """Raises: ArgumentError for an unknown family, unless it is one of the `others` that are allowed too."""
    known = [*others, *variants.FAMILIES]
    if family not in known:     # names of families are short: even a less similar one may be meant
        suggestion = nearest(family, known, cutoff=0.3).removeprefix("; ")
        raise ArgumentError("family", family, f"one of {', '.join(map(repr, known))}", hint=suggestion)


def apply_fields(variant: Variant, fields: dict[str, Any]) -> AnySpec:
    """The Spec of a variant with some fields replaced."""
    return override(variant.spec, fields)
