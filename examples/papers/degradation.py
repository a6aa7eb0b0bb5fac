"""A deeper net made out of a shallower one by hand, which is the same function (He et al. 2015,
arXiv:1512.03385).

Full run: 2026-11-27, 0.2 minutes of CPU on 2 cores of an AVX-512 EPYC, 2,000 images of 16 x 16 pixels to
train on, seeds 0 1, TensorFlow 2.21.0, Keras 3.15.1.

Output of the 56-layer net made by hand out of the 20-layer net: largest difference, relative.

| net | here | paper |
| --- | --- | --- |
| Plain | 0e+00 | 0, by construction |
| ResNet | 0e+00 | 0, by construction |

Both 56-layer nets can be what the 20-layer net is, to the bit. Which of them training finds is another
question: `examples/experiments` trains all four.
"""
from __future__ import annotations

import argparse

import keras
import numpy as np
from common import images, main, net
from reskeras.graph.remove_blocks import list_blocks
from reskeras.commands.study import Study, Table

# %% The construction: "the added layers are identity mapping, and the other layers are copied from the
# learned shallower model"
def deepened(shallow: keras.Model, deep: keras.Model) -> keras.Model:
    """`deep` with the weights of `shallow` where it has them; further blocks change nothing."""
    known = {layer.name for layer in shallow.layers}
    for layer in deep.layers:
        if layer.name in known:
            layer.set_weights(shallow.get_layer(layer.name).get_weights())
        elif layer.name.endswith("_2_bn") and list_blocks(deep):
            layer.gamma.assign(np.zeros(layer.gamma.shape))     # a residual branch of zeros
        elif layer.name.endswith("_conv") and not list_blocks(deep):
            kernel = np.zeros(layer.kernel.shape)
            # behind a ReLU the next ReLU changes nothing either
            kernel[1, 1] = np.eye(kernel.shape[-1])
            layer.kernel.assign(kernel)
        elif layer.name.endswith("_bn") and not list_blocks(deep):
            layer.gamma.assign(np.sqrt(layer.moving_variance + layer.epsilon))
    return deep


def constructed(options: argparse.Namespace, kind: str) -> str:
    """The largest difference of outputs, relative, of a net and a deeper one made out of it."""
    def grown(blocks: int) -> keras.Model:
        return net(argparse.Namespace(tiny=False, size=options.size), f"Cifar{kind}20", depths=(blocks,) * 3)
    shallow, x = grown(1 if options.tiny else 3), images(options)[0][:8]
    deep = deepened(shallow, grown(2 if options.tiny else 9))
    a, b = shallow.predict(x, verbose=0), deep.predict(x, verbose=0)
    return f"{np.abs(a - b).max() / np.abs(a).max():.0e}"


def study(options: argparse.Namespace) -> Study:
    same = {kind: constructed(options, kind) for kind in ("Plain", "ResNet")}
    return Study(
        "Degradation: the construction",
        """A deeper net need not have a higher training error: it could be the shallower net, and layers that
        are identity mappings (section 1).""",
        [Table("Output of the 56-layer net made by hand out of the 20-layer net: largest difference, "
               "relative.",
               ("net", "here", "paper"),
               [(kind, value, "0, by construction") for kind, value in same.items()])], [],
        """Both 56-layer nets can be what the 20-layer net is, to the bit. Which of them training finds is
        another question: `examples/experiments` trains all four.""",
        sources=["1512.03385"])


if __name__ == "__main__":
    main(study, __file__, None)
