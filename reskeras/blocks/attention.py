"""Channel attention at the end of a residual branch: the field `attention` of a `Spec`.

For a new attention block add
1. its dataclass to spec.py, beside `SE`, and to `Attention`, `SHORTHANDS` and the check in `Spec` there,
2. a function here that makes its layers, and
3. an entry to `ATTENTIONS` at the end of this file.  tests/test_tiny.py then fails until a case in CASES
   uses it.
CONTRIBUTING.md shows all steps with an example.
"""
from __future__ import annotations

import math

from keras import layers

from ..spec import ECA, SE, Spec
from .ops import Tensor, act, make_divisible


def apply_attention(x: Tensor, spec: Spec, name: str) -> Tensor:
    """Scales the channels of a residual branch by gates, if the net has attention.

    Args:
        x: the end of the branch, (N, H, W, C).
        spec: what the net is made of.
        name: the name of the block, such as "conv2_block1", with which the names of the layers begin.

    Returns:
        (N, H, W, C).
    """
    attention = ATTENTIONS.get(type(spec.attention), spec.attention)
    assert callable(attention)
    return attention(x, spec, name)


def squeeze_excite(x: Tensor, spec: Spec, name: str) -> Tensor:
    """Squeeze-and-excitation: gates by two 1x1 convolutions on the mean of the map (arXiv:1709.01507).

    Args and result are those of `apply_attention`; `spec.attention` is an `SE`.
    """
    channels, se = x.shape[-1], spec.attention
    assert isinstance(se, SE)
    # With round_limit=0 the number is rounded to the nearest multiple; the default would round up if rounding
    # down lost more than a tenth of the channels.
    hidden = make_divisible(channels * se.ratio, se.divisor, round_limit=0)
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_se_squeeze")(x)
    gate = layers.Conv2D(hidden, 1, kernel_initializer=spec.initializer, name=f"{name}_se_reduce")(gate)
    gate = act(gate, spec, f"{name}_se_relu")
    gate = layers.Conv2D(channels, 1, kernel_initializer=spec.initializer, name=f"{name}_se_expand")(gate)
    gate = layers.Activation("sigmoid", name=f"{name}_se_sigmoid")(gate)
    return layers.Multiply(name=f"{name}_se_scale")([x, gate])


def _efficient_channel(x: Tensor, spec: Spec, name: str) -> Tensor:
    """ECA: gates by a 1-D convolution over the means of the channels (arXiv:1910.03151)."""
    channels, eca = x.shape[-1], spec.attention
    assert isinstance(eca, ECA)
    kernel = int(abs(math.log2(channels) + eca.beta) / eca.gamma)
    kernel = max(kernel + 1 - kernel % 2, 3)
    gate = layers.GlobalAveragePooling2D(name=f"{name}_eca_squeeze")(x)
    gate = layers.Reshape((channels, 1), name=f"{name}_eca_line")(gate)
    gate = layers.Conv1D(1, kernel, padding="same", use_bias=False, kernel_initializer=spec.initializer,
                         name=f"{name}_eca_conv")(gate)
    gate = layers.Reshape((1, 1, channels), name=f"{name}_eca_point")(gate)
    gate = layers.Activation("sigmoid", name=f"{name}_eca_sigmoid")(gate)
    return layers.Multiply(name=f"{name}_eca_scale")([x, gate])


ATTENTIONS = {type(None): lambda x, spec, name: x, SE: squeeze_excite, ECA: _efficient_channel}
