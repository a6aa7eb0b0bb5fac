"""From the image to the first stage: the fields `stem` and `pool` of a `Spec`.

For a new stem or pool add its word to `CHOICES` in spec.py and an entry to `STEM_WIDTHS` or `POOLS` here
(for a stem also its stride in build.py).  tests/test_tiny.py then fails until a case in CASES uses it.
"""
from __future__ import annotations

from keras import layers

from ..spec import Spec, scale_channels
from .layers import BlurPool2D
from .ops import Tensor, act, conv, conv_norm_act, norm, pad_for_max_pool


def build_stem(x: Tensor, spec: Spec) -> Tensor:
    """Makes the layers `conv1_...` and, if the net has a pool, `pool1_...`.

    Args:
        x: images (N, H, W, C).
        spec: what the net is made of.

    Returns:
        The input of the first stage, for the ImageNet nets (N, H / 4, W / 4, stem_width), rounded up.
    """
    name = "conv1"
    *inner_widths, width = STEM_WIDTHS[spec.stem](scale_channels(spec.stem_width, spec.width))
    kernel, stride = (7, 2) if spec.stem == "conv7" else (3, 1 if spec.stem == "cifar" else 2)
    for i, filters in enumerate(inner_widths, 1):
        x = conv_norm_act(x, spec, filters, kernel, f"conv1_{i}", stride=stride)
        name, stride = f"conv1_{i + 1}", 1

    x = conv(x, spec, width, kernel, name, stride=stride, normed=spec.stem_norm)
    if spec.stem_norm:
        x = act(norm(x, spec, name), spec, f"{name}_relu")
    return POOLS[spec.pool](x, spec)


# Output channels of the stem -> filters of its convolutions
STEM_WIDTHS = {
    "conv7": lambda out: (out,),                                        # He et al. 2015
    "cifar": lambda out: (out,),
    "deep": lambda out: (out // 2, out // 2, out),                      # ResNet-C, arXiv:1812.01187
    "tiered": lambda out: (3 * max(1, out // 8), out // 2, out),        # timm's "t" nets
}


def _max_pool(x: Tensor, spec: Spec) -> Tensor:
    """Pads like PyTorch: one position on each side, which is never the maximum."""
    if spec.antialias:
        return _antialiased_pool(x, spec)
    x = pad_for_max_pool(x, spec, (1, 1), not spec.stem_norm, "pool1_pad")
    return layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)


def _antialiased_pool(x: Tensor, spec: Spec) -> Tensor:
    """Adds a mean, or a maximum of 3x3 windows, then blurred and subsampled (arXiv:1904.11486)."""
    if spec.antialias == "average":
        return layers.AveragePooling2D(2, name="pool1_pool")(x)
    x = layers.MaxPooling2D(3, strides=1, padding="same", name="pool1_pool")(x)
    return BlurPool2D(name="pool1_blur")(x)


def _max_pool_zero_pad(x: Tensor, spec: Spec) -> Tensor:
    """Like keras.applications' V2 nets and BiT: pads with zeros, the maximum of negative values."""
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    return layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)


def _max_pool_ceil(x: Tensor, spec: Spec) -> Tensor:
    """Like the SENet release (Caffe's rule): pads only at the end, so that the last window fits."""
    x = pad_for_max_pool(x, spec, (0, 1), not spec.stem_norm, "pool1_pad")
    return layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)


def _conv_pool(x: Tensor, spec: Spec) -> Tensor:
    """Like ResNet-RS (arXiv:2103.07579): adds a 3x3 convolution with stride 2."""
    return conv_norm_act(x, spec, x.shape[-1], 3, "pool1", stride=2)


POOLS = {"max": _max_pool, "max_zero_pad": _max_pool_zero_pad, "max_ceil": _max_pool_ceil, "conv": _conv_pool,
         "none": lambda x, spec: x}
