"""Writes a net as a preset of KerasHub, a folder that its `ImageClassifier.from_preset` opens."""
from __future__ import annotations

import os
import pathlib
from typing import Any

import h5py
import keras
import ml_dtypes
import numpy as np

from ..errors import ArgumentError
from ..files import atomic_write
from ..images.preprocessing import Preprocessing
from ..json_writer import to_json
from ..spec import Spec
from ..weights.kerashub import (BACKBONE_CLASS, BACKBONE_FILE, CONFIG_FILE, TASK_CONFIG_FILE, TASK_FILE,
                                plan_kerashub_groups)
from ..weights.name_rules import HEAD
from .known_net import KnownNet
from .timm_config import find_preprocessing

_METADATA_FILE, _PREPROCESSOR_FILE, _CONVERTER_FILE = (
    "metadata.json", "preprocessor.json", "image_converter.json")
_FILES = {CONFIG_FILE, BACKBONE_FILE, TASK_CONFIG_FILE, TASK_FILE, _METADATA_FILE, _PREPROCESSOR_FILE,
          _CONVERTER_FILE}
_FIRST_WIDTH = 64       # planes of the first stage, which KerasHub fixes


def check_preset_folder(folder: str | os.PathLike[str], argument: str = "path") -> None:
    """Raises: ArgumentError if a preset cannot be written there without deleting files.

    Args:
        folder: where the preset will be.
        argument: the name of the argument that has the path.
    """
    path = pathlib.Path(folder)
    if path.is_file():
        raise ArgumentError(argument, os.fspath(folder), "a folder", hint="there is a file of this name")
    if path.suffix in (".safetensors", ".h5", ".keras"):
        raise ArgumentError(argument, os.fspath(folder), "the name of a folder",
                            hint="a preset of KerasHub has several files")
    others = sorted(file.name for file in path.iterdir() if file.name not in _FILES) if path.exists() else []
    if others:
        raise ArgumentError(argument, os.fspath(folder), "a new folder, or one with a preset alone",
                            hint=f"it has {others[0]!r}")


def write_preset(model: keras.Model, net: KnownNet, folder: str | os.PathLike[str]) -> None:
    """Writes a preset; a preset that is there is replaced when the new one is complete.

    Args:
        model: the net.
        net: which net of the table it is.
        folder: the folder to write.

    Raises:
        ArgumentError: for sizes or a preprocessing that KerasHub does not have.
        KeyError: for a layer that KerasHub's nets do not have.
        OSError: if a file cannot be written.
    """
    configs = _make_configs(model, net)
    arrays = {layer.name: [keras.ops.convert_to_numpy(v) for v in layer.weights]
              for layer in model.layers if layer.weights}
    places = plan_kerashub_groups(arrays)
    with atomic_write(folder) as new:
        new.mkdir()
        for name, config in configs.items():
            (new / name).write_text(to_json(config, indent=4), encoding="utf-8")
        _write_weights(new / BACKBONE_FILE, places, {k: v for k, v in arrays.items() if k != HEAD})
        if HEAD in arrays:
            _write_weights(new / TASK_FILE, places, {HEAD: arrays[HEAD]})


def _write_weights(path: pathlib.Path, places: dict[str, tuple[str, str]],
                   arrays: dict[str, list[np.ndarray]]) -> None:
    """Writes the variables of some layers in the layout of Keras 3."""
    with h5py.File(path, "w") as file:
        for layer, variables in arrays.items():
            group, name = places[layer]
            stored = file.create_group(f"{group}/vars")
            stored.attrs["name"] = name
            for i, array in enumerate(variables):
                is_bfloat16 = array.dtype == ml_dtypes.bfloat16     # which HDF5 does not have
                stored[str(i)] = array.astype("float32") if is_bfloat16 else array


# ---- the files of JSON


def _make_configs(model: keras.Model, net: KnownNet) -> dict[str, dict[str, Any]]:
    """The contents of the files of JSON, by their names.

    Raises: ArgumentError: as `write_preset`.
    """
    backbone = _describe("resnet_backbone", BACKBONE_CLASS, _make_backbone_arguments(model, net))
    parameters = sum(int(np.prod(v.shape)) for layer in model.layers for v in layer.weights)
    metadata = {"keras_version": keras.__version__, "parameter_count": parameters, "tasks": []}
    configs = {CONFIG_FILE: backbone, _METADATA_FILE: metadata}

    preprocessor = None
    if preprocessing := find_preprocessing(model):
        converter = _describe("resnet_image_converter", "ResNetImageConverter",
                              _make_converter_arguments(preprocessing))
        preprocessor = _describe("resnet_image_classifier_preprocessor", "ResNetImageClassifierPreprocessor",
                                 {"image_converter": converter, "config_file": _PREPROCESSOR_FILE})
        configs |= {_CONVERTER_FILE: converter, _PREPROCESSOR_FILE: preprocessor}

    head = next((layer for layer in model.layers if layer.name == HEAD), None)
    if head is not None:
        activation = keras.activations.serialize(head.activation)
        configs[TASK_CONFIG_FILE] = _describe("resnet_image_classifier", "ResNetImageClassifier", {
            "backbone": backbone, "preprocessor": preprocessor, "num_classes": head.units, "pooling": "avg",
            "activation": None if activation == "linear" else activation, "dropout": 0.0})
        metadata["tasks"] = ["ImageClassifier"]
    return configs


def _describe(module: str, class_name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """An object as Keras serializes it."""
    return {"module": f"keras_hub.src.models.resnet.{module}", "class_name": class_name, "config": arguments,
            "registered_name": f"keras_hub>{class_name}"}


def _make_backbone_arguments(model: keras.Model, net: KnownNet) -> dict[str, Any]:
    """The arguments of KerasHub's ResNetBackbone.

    Raises: ArgumentError for a first stage of another width than KerasHub has.
    """
    spec = net.spec
    assert isinstance(spec, Spec) and isinstance(spec.block, str)
    if spec.stages[0] != _FIRST_WIDTH:
        raise ArgumentError("widths", spec.stages, f"{_FIRST_WIDTH} in the first stage, as KerasHub has it",
                            hint="reskeras.save keeps any net in a .keras file")
    stem = [layer for layer in model.layers
            if isinstance(layer, keras.layers.Conv2D) and layer.name.startswith("conv1_")]
    return {"input_conv_filters": [layer.filters for layer in stem],
            "input_conv_kernel_sizes": [layer.kernel_size[0] for layer in stem],
            "stackwise_num_filters": list(spec.stages), "stackwise_num_blocks": list(spec.depths),
            "stackwise_num_strides": list(spec.strides[:len(spec.depths)]),
            "block_type": f"{spec.block}_block" + "_vd" * spec.shortcut.startswith("avg"),
            "use_pre_activation": spec.order == "pre", "image_shape": [None, None, model.input_shape[-1]]}


def _make_converter_arguments(preprocessing: Preprocessing) -> dict[str, Any]:
    """The arguments of KerasHub's ResNetImageConverter, which scales pixels of 0 to 255 and then adds.

    Raises: ArgumentError for BGR, which KerasHub does not have.
    """
    if preprocessing.pixels == "caffe":
        raise ArgumentError("preprocessing", preprocessing.pixels, "pixels in RGB",
                            hint="KerasHub prepares no images in BGR")
    divisor = 255 if preprocessing.pixels in ("torch", "tf") else 1
    return {"image_size": list(preprocessing.size),
            "scale": [1 / divisor / std for std in preprocessing.std],
            "offset": [-mean / std for mean, std in zip(preprocessing.mean, preprocessing.std)],
            "interpolation": preprocessing.interpolation,
            "crop_to_aspect_ratio": preprocessing.crop_mode != "squash"}
