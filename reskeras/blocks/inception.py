"""Inception-v4 and Inception-ResNet-v2 (arXiv:1602.07261), written like the figures of the paper.

`MODULES` has the branches of each module.  A branch reads from its input to the concatenation: "64 1x1 |
96 3x3/2 V" is a 1x1 convolution to 64 channels, then a 3x3 convolution to 96 channels with stride 2 and no
padding ("V" for valid, as in the figures); "a & b" are two ends of one branch.
"""
from __future__ import annotations

import re
from typing import Any

from keras import layers

from ..spec import InceptionSpec, scale_channels
from .batch_norm import BatchNormalization
from .ops import Tensor, act, add

MODULES: dict[str, tuple[str, ...]] = {
    # Inception-v4: Figures 3-9
    "mixed_3a": ("max/2", "96 3x3/2 V"),
    "mixed_4a": ("64 1x1 | 96 3x3 V", "64 1x1 | 64 1x7 | 64 7x1 | 96 3x3 V"),
    "mixed_5a": ("192 3x3/2 V", "max/2"),
    "inception_a": ("96 1x1", "64 1x1 | 96 3x3", "64 1x1 | 96 3x3 | 96 3x3", "avg | 96 1x1"),
    "reduction_a": ("384 3x3/2 V", "192 1x1 | 224 3x3 | 256 3x3/2 V", "max/2"),
    "inception_b": ("384 1x1", "192 1x1 | 224 1x7 | 256 7x1",
                    "192 1x1 | 192 7x1 | 224 1x7 | 224 7x1 | 256 1x7", "avg | 128 1x1"),
    "reduction_b": ("192 1x1 | 192 3x3/2 V", "256 1x1 | 256 1x7 | 320 7x1 | 320 3x3/2 V", "max/2"),
    "inception_c": ("256 1x1", "384 1x1 | 256 1x3 & 256 3x1",
                    "384 1x1 | 448 3x1 | 512 1x3 | 256 1x3 & 256 3x1", "avg | 256 1x1"),
    # Inception-ResNet-v2, with the module names of keras.applications
    "mixed_5b": ("96 1x1", "48 1x1 | 64 5x5", "64 1x1 | 96 3x3 | 96 3x3", "avg | 64 1x1"),
    "block35": ("32 1x1", "32 1x1 | 32 3x3", "32 1x1 | 48 3x3 | 64 3x3"),
    "mixed_6a": ("384 3x3/2 V", "256 1x1 | 256 3x3 | 384 3x3/2 V", "max/2"),
    "block17": ("192 1x1", "128 1x1 | 160 1x7 | 192 7x1"),
    "mixed_7a": ("256 1x1 | 384 3x3/2 V", "256 1x1 | 288 3x3/2 V", "256 1x1 | 288 3x3 | 320 3x3/2 V",
                 "max/2"),
    "block8": ("192 1x1", "192 1x1 | 224 1x3 | 256 3x1"),
}
_CONVOLUTION = re.compile(r"(\d+) (\d)x(\d)(?:/(\d))?( V)?$")


def build_inception(x: Tensor, spec: InceptionSpec) -> Tensor:
    """Makes the layers between the image and the head.

    Args:
        x: images (N, H, W, C) of at least 75 x 75 pixels.
        spec: what the net is made of.

    Returns:
        The last feature map.
    """
    return _VERSIONS[spec.version](x, spec)


def _inception_v4(x: Tensor, spec: InceptionSpec) -> Tensor:
    for name, step in (("conv1", "32 3x3/2 V"), ("conv2", "32 3x3 V"), ("conv3", "64 3x3")):
        x = _conv_norm_act(x, spec, step, name)
    for name in ("mixed_3a", "mixed_4a", "mixed_5a"):
        x = _concatenate_branches(x, spec, name, name)

    for kind, depth in zip("abc", spec.depths):
        for i in range(1, depth + 1):
            x = _concatenate_branches(x, spec, f"inception_{kind}", f"inception_{kind}{i}")
        if kind != "c":
            x = _concatenate_branches(x, spec, f"reduction_{kind}", f"reduction_{kind}")
    return x


def _inception_resnet_v2(x: Tensor, spec: InceptionSpec) -> Tensor:
    for name, step in (("conv2d_1a", "32 3x3/2 V"), ("conv2d_2a", "32 3x3 V"), ("conv2d_2b", "64 3x3")):
        x = _conv_norm_act(x, spec, step, name)
    x = layers.MaxPooling2D(3, strides=2, name="maxpool_3a")(x)
    for name, step in (("conv2d_3b", "80 1x1"), ("conv2d_4a", "192 3x3 V")):
        x = _conv_norm_act(x, spec, step, name)
    x = layers.MaxPooling2D(3, strides=2, name="maxpool_5a")(x)

    kinds = (("mixed_5b", "block35", 0.17), ("mixed_6a", "block17", 0.1), ("mixed_7a", "block8", 0.2))
    for (reduction, kind, scale), depth in zip(kinds, spec.depths):
        x = _concatenate_branches(x, spec, reduction, reduction)
        for i in range(1, depth + 1):
            # the last block of the net does not scale its branch, and has no activation after the sum
            is_last = kind == "block8" and i == depth
            x = _residual_block(x, spec, kind, f"{kind}_{i}", scale=1.0 if is_last else scale,
                                has_activation=not is_last)
    return _conv_norm_act(x, spec, "1536 1x1", "conv_7b", "conv_7b")


def _residual_block(x: Tensor, spec: InceptionSpec, kind: str, name: str, scale: float,
                    has_activation: bool) -> Tensor:
    y = layers.Concatenate(name=f"{name}_mixed")(_build_branches(x, spec, kind, name))
    y = layers.Conv2D(x.shape[-1], 1, kernel_initializer=spec.initializer, name=f"{name}_conv")(y)
    if scale != 1.0:
        y = layers.Rescaling(scale, name=f"{name}_scale")(y)
    x = add([x, y], f"{name}_add")
    return act(x, spec, f"{name}_ac") if has_activation else x


def _concatenate_branches(x: Tensor, spec: InceptionSpec, kind: str, name: str) -> Tensor:
    return layers.Concatenate(name=name)(_build_branches(x, spec, kind, name))


def _build_branches(x: Tensor, spec: InceptionSpec, kind: str, name: str) -> list[Tensor]:
    """Makes a module's branches; returns their ends.  `kind` is the module's key in `MODULES`."""
    ends = []
    for i, branch in enumerate(MODULES[kind]):
        *steps, last = branch.split(" | ")
        y, prefix = x, f"{name}_branch{i}"
        for n, step in enumerate(steps):
            y = _apply_step(y, spec, step, f"{prefix}_{n}")
        twins = last.split(" & ")
        ends += [_apply_step(y, spec, end, f"{prefix}_{len(steps)}{'ab'[t] if len(twins) > 1 else ''}")
                 for t, end in enumerate(twins)]
    return ends


def _apply_step(x: Tensor, spec: InceptionSpec, step: str, name: str) -> Tensor:
    if step == "max/2":
        return layers.MaxPooling2D(3, strides=2, name=f"{name}_pool")(x)
    if step == "avg":
        return layers.AveragePooling2D(3, strides=1, padding="same", name=f"{name}_pool")(x)
    return _conv_norm_act(x, spec, step, name)


def _conv_norm_act(x: Tensor, spec: InceptionSpec, step: str, name: str, conv_name: str = "") -> Tensor:
    """Adds convolution, normalization and activation; `step` is as in `MODULES`, such as "96 3x3/2 V"."""
    match = _CONVOLUTION.match(step)
    assert match, step
    filters, height, width, stride, valid = match.groups()
    options: dict[str, Any] = {"strides": int(stride or 1), "padding": "valid" if valid else "same"}
    x = layers.Conv2D(scale_channels(int(filters), spec.width), (int(height), int(width)), use_bias=False,
                      kernel_initializer=spec.initializer, name=conv_name or f"{name}_conv", **options)(x)
    x = BatchNormalization(epsilon=spec.bn_epsilon, momentum=spec.bn_momentum, scale=spec.norm_scale,
                           name=f"{name}_bn")(x)
    return act(x, spec, f"{name}_ac")


_VERSIONS = {"v4": _inception_v4, "resnet_v2": _inception_resnet_v2}
