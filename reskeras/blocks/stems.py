"""From the image to the first stage: the `stem` and `pool` axes."""
from __future__ import annotations

from keras import layers

from ..spec import Spec, scale_channels
from .ops import Tensor, act, conv, conv_norm_act, pad_for_max_pool, norm
from .layers import BlurPool2D


def build_stem(x: Tensor, spec: Spec) -> Tensor:
    """The image after `conv1` and, where the net has one, `pool1`."""
    name = "conv1"
    *inner, out = STEM_WIDTHS[spec.stem](scale_channels(spec.stem_width, spec.width))
    kernel, stride = (7, 2) if spec.stem == "conv7" else (3, 1 if spec.stem == "cifar" else 2)
    for i, filters in enumerate(inner, 1):
        x = conv_norm_act(x, spec, filters, kernel, f"conv1_{i}", stride=stride)
        name, stride = f"conv1_{i + 1}", 1
    x = conv(x, spec, out, kernel, name, stride=stride, normed=spec.stem_norm)
    if spec.stem_norm:
        x = act(norm(x, spec, name), spec, f"{name}_relu")
    return POOLS[spec.pool](x, spec)


STEM_WIDTHS = {
    "conv7": lambda out: (out,),                                # He et al. 2015
    "cifar": lambda out: (out,),
    "deep": lambda out: (out // 2, out // 2, out),              # ResNet-C, arXiv:1812.01187; Inception's idea
    "tiered": lambda out: (3 * max(1, out // 8), out // 2, out),      # timm's "t" nets
}


def _antialiased(x: Tensor, spec: Spec) -> Tensor:
    """The stem's pool of an anti-aliased net: it looks at every cell, then subsamples smoothly."""
    if spec.antialias == "average":
        return layers.AveragePooling2D(2, name="pool1_pool")(x)
    x = layers.MaxPooling2D(3, strides=1, padding="same", name="pool1_pool")(x)
    return BlurPool2D(name="pool1_blur")(x)


def _max_pool(x: Tensor, spec: Spec) -> Tensor:
    """As PyTorch: one cell that cannot win on each side."""
    if spec.antialias:
        return _antialiased(x, spec)
    x = pad_for_max_pool(x, spec, (1, 1), not spec.stem_norm, "pool1_pad")
    return layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)


def _max_pool_zero_pad(x: Tensor, spec: Spec) -> Tensor:
    """As keras.applications' V2 and BiT: zeros, which do win over negative values."""
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    return layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)


def _max_pool_ceil(x: Tensor, spec: Spec) -> Tensor:
    """As the SENet release (Caffe's rule): no padding, but the last window may hang over the edge."""
    x = pad_for_max_pool(x, spec, (0, 1), not spec.stem_norm, "pool1_pad")
    return layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)


def _conv_pool(x: Tensor, spec: Spec) -> Tensor:
    """As ResNet-RS (arXiv:2103.07579): a 3x3 convolution subsamples."""
    return conv_norm_act(x, spec, x.shape[-1], 3, "pool1", stride=2)


POOLS = {"max": _max_pool, "max_zero_pad": _max_pool_zero_pad, "max_ceil": _max_pool_ceil, "conv": _conv_pool,
         "none": lambda x, spec: x}
