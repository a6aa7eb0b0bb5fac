"""timm's config.json: which net of timm a file of weights is for, and how its images are prepared.

timm reads it beside the weights, in a folder ("local-dir:FOLDER") and on the Hugging Face hub ("hf-hub:...").
What the model does not know is left out; timm then takes its own defaults.
"""
from __future__ import annotations

from typing import Any

import keras

from ..errors import ArgumentError
from ..images.preprocessing import Preprocessing
from ..model_metadata import get_metadata, resolve_preprocessing
from ..spec import InceptionSpec, Spec
from ..weights.name_rules import HEAD
from ..weights.save_names import choose_pytorch_name
from .known_net import KnownNet

CONFIG_FILE = "config.json"
# timm's layouts whose nets take other numbers of blocks, and of channels
_TAKES_DEPTHS, _TAKES_WIDTHS = ("resnet", "resnetv2", "senet"), ("resnet", "resnetv2")


def make_timm_config(model: keras.Model, net: KnownNet, source: str, layout: str) -> dict[str, Any]:
    """What timm reads beside the weights of a net.

    Args:
        model: the net.
        net: which net of the table it is.
        source: timm's name of it, "timm/resnet50".
        layout: a key of `save_names.LAYOUTS`.

    Raises:
        ArgumentError: for sizes that timm's net cannot have, and pixels that timm cannot prepare.
    """
    spec, layers = net.spec, [layer.name for layer in model.layers]
    head = next((layer for layer in model.layers if layer.name == HEAD), None)
    classes = head.units if head is not None else 0
    stem = next(layer.name for layer in model.layers if any(len(v.shape) == 4 for v in layer.weights))

    def get_module(layer: str) -> str:
        return choose_pytorch_name(layer, "kernel", layout, spec, layers).removesuffix(".weight")

    height, width, channels = model.input_shape[1:]
    preprocessing = find_preprocessing(model)
    size = preprocessing.size if preprocessing else (spec.input_size,) * 2
    pretrained: dict[str, Any] = {
        "input_size": [channels, height or size[0], width or size[1]], "fixed_input_size": False,
        "num_classes": classes, "pool_size": None, "first_conv": get_module(stem),
        "classifier": get_module(HEAD)}
    if preprocessing:
        pretrained |= _describe_preprocessing(preprocessing, channels)

    config: dict[str, Any] = {"architecture": source.partition("/")[2], "num_classes": classes}
    config |= _describe_classes(model, classes)
    if arguments := _make_model_arguments(net, source, layout):
        config["model_args"] = arguments
    return {**config, "pretrained_cfg": pretrained}


def find_preprocessing(model: keras.Model) -> Preprocessing | None:
    """How images are prepared for a net without its own scaling.

    Args:
        model: the net.

    Returns:
        The preprocessing; None if the model does not know it.

    Raises:
        ArgumentError: if the model scales pixels inside and does not say how.
    """
    metadata = get_metadata(model)
    if not metadata.includes_preprocessing:
        return metadata.preprocessing
    if not metadata.weights:
        raise ArgumentError("model", model.name, "a net that takes prepared images",
                            hint="it scales its pixels inside, which other packages' nets do not; build it "
                            "with include_preprocessing=False")
    return resolve_preprocessing(metadata.weights)


def _describe_preprocessing(preprocessing: Preprocessing, channels: int) -> dict[str, Any]:
    """The fields of timm's `pretrained_cfg` for images.

    Raises: ArgumentError for BGR, which timm does not have.
    """
    if preprocessing.pixels == "caffe":
        raise ArgumentError("preprocessing", preprocessing.pixels, "'torch', 'tf' or 'raw' pixels",
                            hint="timm prepares no images in BGR; naming='torchvision' writes no "
                            "preprocessing")
    mean, std = list(preprocessing.mean), list(preprocessing.std)
    if preprocessing.pixels == "raw":
        std = [value / 255 for value in std]        # timm divides pixels by 255 first
    return {"mean": mean, "std": std, "interpolation": preprocessing.interpolation,
            "crop_pct": preprocessing.crop_pct, "crop_mode": preprocessing.crop_mode,
            "test_input_size": [channels, *preprocessing.test_size],
            "test_crop_pct": preprocessing.test_crop_pct}


def _describe_classes(model: keras.Model, classes: int) -> dict[str, Any]:
    """The names of the classes as timm has them: a list of names, or of synsets and what they mean."""
    metadata = get_metadata(model)
    if not metadata.labels or not classes:
        return {}
    pairs = metadata.get_classes(classes)
    if all(key == str(i) for i, (key, _) in enumerate(pairs)):
        return {"label_names": [name for _, name in pairs]}
    return {"label_names": [key for key, _ in pairs], "label_descriptions": dict(pairs)}


def _make_model_arguments(net: KnownNet, source: str, layout: str) -> dict[str, Any]:
    """Arguments of timm's net for other numbers of blocks and channels than those of its name.

    Raises: ArgumentError if timm's net cannot have these numbers.
    """
    spec, sizes = net.spec, {key: value for key, value in net.overrides.items()
                             if key in ("depths", "widths", "stem_width", "width")}
    is_fixed = source.endswith("_bit")      # timm's functions for these nets give the sizes themselves
    for field in sizes:
        takers = _TAKES_DEPTHS if field == "depths" else _TAKES_WIDTHS
        if is_fixed or layout not in takers:
            raise ArgumentError(field, sizes[field], f"that of {source}, which has no other in timm",
                                hint="reskeras.save keeps any net in a .keras file")
    arguments: dict[str, Any] = {"layers": list(spec.depths)} if "depths" in sizes else {}
    if isinstance(spec, InceptionSpec) or not sizes.keys() - {"depths"}:
        return arguments

    assert isinstance(spec, Spec)
    stem = spec.stem_width
    arguments["channels"] = list(spec.out_channels if layout == "resnetv2" else spec.stages)
    if layout == "resnetv2":
        return {**arguments, "stem_chs": stem, "width_factor": 1}
    if spec.stem == "conv7":
        if stem != 64:
            raise ArgumentError("stem_width", stem, f"64, which {source} always has in timm")
        return arguments
    return {**arguments, "stem_width": stem // 2}
