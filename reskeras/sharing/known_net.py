"""Which net of the table a model is, found by its name and proved layer by layer.

A `keras.Model` does not know the Spec that it was built from.  So the net of its name is built once more,
without values, with the numbers of blocks and channels that the model has, and both are compared: the layers,
their settings, and what each layer reads.  Layers that do nothing at inference are left out, so that a net
with dropout or stochastic depth is still the same net.
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import keras

from ..builder import Variant
from ..catalog import find_variant, list_source_names
from ..errors import ArgumentError
from ..graph.graph import Graph
from ..model_metadata import get_metadata
from ..spec import AnySpec, EXPANSIONS, InceptionSpec, Spec, override, scale_channels
from ..variants import VARIANTS
from ..weights.name_rules import HEAD

# Layers that pass on their input at inference, and those that only prepare pixels
_INERT = re.compile(r"(reskeras>)?(\w*Dropout\w*|DropPath|DropBlock\w*|StochasticDepth|Activity\w+)")
_PIXEL_LAYERS = re.compile(r"(reskeras>)?(Rescaling|Normalization|ReverseChannels|ResizeAndCrop|Resizing)")
_POOLED_FEATURES = ("avg_pool", "max_pool")     # what `pooling` adds to a net without a classifier
# Settings of a layer that do not change what it computes at inference
_OTHER_SETTINGS = re.compile(r"name|dtype|trainable|momentum|synchronized|seed|batch_shape|build_config|"
                             r"\w+_(initializer|regularizer|constraint)")
_STAGE_OUTPUT = re.compile(r"conv(\d+)_block(\d+)_out")
_INCEPTION_BLOCKS = {"v4": ("inception_a{}_", "inception_b{}_", "inception_c{}_"),
                     "resnet_v2": ("block35_{}_", "block17_{}_", "block8_{}_")}
_Structure = dict[str, tuple[str, dict[str, Any], tuple[str, ...]]]


@dataclass(frozen=True)
class KnownNet:
    """A net of the table that a model is.

    Args:
        variant: the line of the table.
        overrides: the Spec fields in which the model differs from it.
    """

    variant: Variant
    overrides: dict[str, Any]

    @property
    def spec(self) -> AnySpec:
        return override(self.variant.spec, self.overrides)


def find_known_net(model: keras.Model, net: str | None = None) -> KnownNet:
    """Finds the net of the table that a model is.

    Args:
        model: a functional model, as a builder returns it; its weights may be any.
        net: the name of the net, as `create` takes it; by default the model's own name, or the net of the
            checkpoint that the model began with.

    Raises:
        ArgumentError: if the model's name says no net, or the model is built otherwise than that net; the
            message has the first difference.
    """
    variant, fields = _find_name(model, net)
    structure = _read_structure(model)
    problem = ""
    for other_fields in _list_fields(variant, fields):
        overrides = {**other_fields, **_read_sizes(model, override(variant.spec, other_fields))}
        difference = _find_difference(structure, _read_structure(_build_outline(model, variant, overrides)))
        if not difference:
            return KnownNet(variant, overrides)
        problem = problem or difference
    raise ArgumentError("model", model.name, f"the net {variant.name!r}",
                        hint=f"{problem}; reskeras.save writes any model to a .keras file, reskeras.export "
                             "to an .onnx file")


def _find_name(model: keras.Model, net: str | None) -> tuple[Variant, dict[str, Any]]:
    """The variant of a name, and the Spec fields in which another package's net of that name differs."""
    if net is not None:
        variant, _, fields = find_variant(net)
        return variant, fields
    checkpoint_net = get_metadata(model).weights.partition(".")[0]
    for name in (model.name, checkpoint_net):
        if name in VARIANTS:
            return VARIANTS[name], {}
    raise ArgumentError("net", net, "the name of the net that this model is, such as 'resnet50v1_5'",
                        hint=f"the model's own name, {model.name!r}, is the name of none")


def _list_fields(variant: Variant, fields: dict[str, Any]) -> list[dict[str, Any]]:
    """The Spec fields to try: those given, and those of other packages' nets of this variant."""
    candidates = [fields, {}, *(others for name, others in list_source_names().values()
                                if name == variant.name)]
    return [each for i, each in enumerate(candidates) if each not in candidates[:i]]


def _build_outline(model: keras.Model, variant: Variant, overrides: dict[str, Any]) -> keras.Model:
    """Builds a net like the model, whose variables have no values."""
    head = next((layer for layer in model.layers if layer.name == HEAD), None)
    arguments: dict[str, Any] = {
        "include_top": head is not None, "classes": head.units if head else None,
        "input_shape": tuple(model.input_shape[1:]), "dtype": "float32"}
    with keras.StatelessScope(initialize_variables=False):
        return variant(weights=None, **arguments, **overrides)


# ---- numbers of blocks and channels


def _read_sizes(model: keras.Model, spec: AnySpec) -> dict[str, Any]:
    """The numbers of blocks and channels in which a model differs from a Spec."""
    layers = {layer.name: layer for layer in model.layers}
    if isinstance(spec, InceptionSpec):
        depths = tuple(_count(layers, pattern) for pattern in _INCEPTION_BLOCKS[spec.version])
        first = layers.get("conv1_conv" if spec.version == "v4" else "conv2d_1a_conv")
        width = first.filters / 32 if first is not None else spec.width
        found: dict[str, Any] = {"depths": depths, "width": width}
        return {field: value for field, value in found.items() if value != getattr(spec, field)}

    assert isinstance(spec, Spec)
    outputs = {tuple(map(int, match.groups())): layer.output.shape[-1] for name, layer in layers.items()
               if (match := _STAGE_OUTPUT.fullmatch(name))}
    if not outputs:
        return {}
    stages = sorted({stage for stage, _ in outputs})
    depths = tuple(max(block for at, block in outputs if at == stage) for stage in stages)
    out_channels = tuple(outputs[stage, 1] for stage in stages if (stage, 1) in outputs)
    widths = tuple(channels // EXPANSIONS[kind] for channels, kind in zip(out_channels, spec.blocks))
    stem = layers.get("conv1_3_conv") or layers.get("conv1_conv")
    stem_width = stem.filters if stem is not None else spec.stem_width
    sizes: dict[str, Any] = {}
    if depths != spec.depths:
        sizes["depths"] = depths
    if out_channels != spec.out_channels or stem_width != scale_channels(spec.stem_width, spec.width):
        sizes |= {"widths": widths, "stem_width": stem_width, "width": 1.0}
    return {field: value for field, value in sizes.items() if value != getattr(spec, field)}


def _count(layers: dict[str, Any], pattern: str) -> int:
    """How many blocks there are whose layers begin with the pattern and a number from 1 on."""
    number = 0
    while any(name.startswith(pattern.format(number + 1)) for name in layers):
        number += 1
    return number


# ---- the comparison


def _read_structure(model: keras.Model) -> _Structure:
    """Name of each layer -> its type, its settings, and the names of the layers that it reads."""
    nodes = Graph.of(model, weights=False).nodes
    passes_on: dict[str, str] = {}      # layers that are left out -> the layer that they read
    structure: _Structure = {}
    for node in nodes:
        inputs = tuple(passes_on.get(ref[0], ref[0]) for ref in node.inputs)
        is_pixel_layer = inputs == ("",) and _PIXEL_LAYERS.fullmatch(node.type_name)
        if not inputs:
            passes_on[node.name] = ""       # the image
        elif len(inputs) == 1 and (_INERT.fullmatch(node.type_name) or is_pixel_layer):
            passes_on[node.name] = inputs[0]
        elif node.name not in _POOLED_FEATURES:
            settings = {key: value for key, value in node.config.items() if not _OTHER_SETTINGS.fullmatch(key)
                        and (node.name, key) != (HEAD, "activation")}
            structure[node.name] = (node.type_name, settings, inputs)
    return structure


def _find_difference(ours: _Structure, expected: _Structure) -> str:
    """The first difference of two structures in words, "" if there is none."""
    for names, verb in ((set(expected) - set(ours), "has no layer"), (set(ours) - set(expected), "also has")):
        if names:
            first = next(name for name in (*expected, *ours) if name in names)
            return f"it {verb} {first!r}"
    for name, (kind, settings, inputs) in expected.items():
        our_kind, our_settings, our_inputs = ours[name]
        if our_kind != kind:
            return f"its layer {name!r} is a {our_kind or 'layer of another package'}, not a {kind}"
        for key in (*settings, *our_settings):
            value, our_value = settings.get(key), our_settings.get(key)
            if value != our_value:
                return f"its layer {name!r} has {key}={our_value!r}, not {value!r}"
        if our_inputs != inputs:
            return f"its layer {name!r} reads {', '.join(our_inputs)}, not {', '.join(inputs)}"
    return ""
