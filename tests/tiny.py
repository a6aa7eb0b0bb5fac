"""Any variant of the table in a tiny form: few blocks and channels, but with every axis of the variant."""
from __future__ import annotations

import contextlib
import zlib
from typing import Any, Iterator

import keras
import numpy as np

from reskeras.spec import InceptionSpec, Spec, SplitAttention, override
from reskeras.variants import VARIANTS

CLASSES = 7
# Mean and spread, as of a trained net; other variables stay as they were made.
TRAINED = {"gamma": (1, 0.3), "moving_variance": (1, 0.3), "beta": (0, 0.1), "bias": (0, 0.1),
           "moving_mean": (0, 0.1)}
# A net of every family, and more where one computes in another way, with arguments that change how.
NETS: dict[str, dict[str, Any]] = {
    "plainnet18": {}, "resnet50": dict(output_stride=8), "resnetaa50d": {}, "resnetblur50": {},
    "resnet50v2": {},
    "resnetv2_50": {}, "resnetv2_50x1_bit": {}, "wide_resnet50_2": {}, "resnext50_32x4d": {},
    "seresnet18v1": {},
    "ecaresnet50t": {}, "skresnet18": {}, "resnest50": {}, "resnest50_fast_4s2x40d": {}, "resnetrs50": {},
    "inception_v4": {}, "cifar_resnet20": dict(drop_path_rate=0.2),
    "cifar_preresnet20": dict(shortcut="exclusive_gate"), "mlperf_tiny_resnet8": {},
}


def tiny(variant: str, **arguments: Any) -> keras.Model:
    """The net of `variant` with a few blocks, 16 planes in its first stage and 7 classes, on 32 to 75 pixels.

    Args:
        variant: its name.
        **arguments: those of a builder, which win over the tiny ones.
    """
    spec = VARIANTS[variant].spec
    head_and_input = {"weights": None, "classes": CLASSES, "input_shape": (size(spec), size(spec), 3)}
    return VARIANTS[variant](**{**head_and_input, **small(spec), **arguments})


def tiny_spec(variant: str, **fields: Any) -> Spec | InceptionSpec:
    """What `tiny` builds."""
    return override(VARIANTS[variant].spec, {**small(VARIANTS[variant].spec), **fields})


def small(spec: Spec | InceptionSpec) -> dict[str, Any]:
    if isinstance(spec, InceptionSpec):     # the last block of Inception-ResNet-v2 differs from the others
        return {"depths": (1, 1, 2 if spec.version == "resnet_v2" else 1), "width": 0.25}
    parts = spec.reduce_first * (spec.mixer.radix if isinstance(spec.mixer, SplitAttention) else 1)
    # a group of a bottleneck must be divisible into its parts
    planes = next(p for p in (16, 32, 64) if (p * spec.base_width // 64) % parts == 0)
    depths = (2,) + (1,) * (len(spec.depths) - 1)       # 2: an identity block too
    return {"depths": depths, "width": planes / spec.widths[0], **pruned(spec, depths)}


def pruned(spec: Spec, depths: tuple[int, ...]) -> dict[str, Any]:
    """The fields of `spec` that have a value for each stage or block, for fewer of them."""
    blocks, stages = spec.blocks[:len(depths)], len(depths)
    count = sum(depth * (2 if kind == "bottleneck" else 1) for depth, kind in zip(depths, blocks))
    fields = {"out_widths": spec.out_widths[:stages], "inner_widths": spec.inner_widths[:count],
              "block": spec.block if isinstance(spec.block, str) else blocks}
    return {name: value for name, value in fields.items() if value != getattr(spec, name)}


def first_stages(variant: str) -> dict[str, Any]:
    """Arguments of `tiny` for two stages: later ones have the layers of the second, with more channels."""
    spec = VARIANTS[variant].spec
    return {} if isinstance(spec, InceptionSpec) else {"depths": (2, 1), "widths": spec.widths[:2],
                                                        **pruned(spec, (2, 1))}


def size(spec: Spec | InceptionSpec) -> int:
    """Pixels; the last map of an ImageNet net keeps 2 x 2 cells, so that a normalization has work to do."""
    return 75 if isinstance(spec, InceptionSpec) else 32 if spec.stem == "cifar" else 64


@contextlib.contextmanager
def policy(name: str) -> Iterator[None]:
    """Keras' dtype policy inside."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def images(model: keras.Model, count: int = 2) -> np.ndarray:
    """Noise of the model's own shape, where that is known."""
    shape = tuple(s or 64 for s in model.input_shape[1:])
    return np.random.default_rng(1).normal(size=(count, *shape)).astype("float32")


def trained(model: keras.Model) -> keras.Model:
    """`model` with random scales, shifts and statistics that depend on the names of the layers alone."""
    for layer in sorted(model.layers, key=lambda layer: layer.name):
        for variable in layer.weights:
            mean, spread = TRAINED.get(variable.name, (0, 0))
            if spread:
                rng = np.random.default_rng(zlib.crc32(f"{layer.name}.{variable.name}".encode()))
                variable.assign(mean + spread * rng.uniform(-1, 1, variable.shape))
    return model
