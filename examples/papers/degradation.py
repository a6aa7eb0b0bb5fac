"""Deeper plain nets have the higher training error, residual nets have not (He et al. 2015,
arXiv:1512.03385).

All four train at a rate of 0.02: at the paper's 0.1 and without warm-up, so few steps bring no deep net far.

Full run: 2026-11-24, 7.9 minutes of CPU on 2 cores of an AVX-512 EPYC, 4,000 images of 16 x 16 pixels to
train on, seeds 0 1, TensorFlow 2.21.0, Keras 3.15.1.

Error after 4 epochs; training: running mean of the last epoch (%). Paper: 64,000 steps on all of CIFAR-10.

| net | training error | test error | paper |
| --- | --- | --- | --- |
| CifarPlain20 | 60.3 (58.6 to 62.0) | 64.7 (64.1 to 65.3) | below plain-56 (Figure 6) |
| CifarPlain56 | 89.2 (88.4 to 89.9) | 89.0 (88.8 to 89.3) | above plain-20 (Figure 6) |
| CifarResNet20 | 37.8 (37.6 to 37.9) | 54.6 (53.3 to 55.8) | 8.75 test (Table 6) |
| CifarResNet56 | 37.6 (36.3 to 39.0) | 57.3 (56.7 to 57.9) | 6.97 test (Table 6) |

Output of the 56-layer net made by hand out of the 20-layer net: largest difference, relative.

| net | here | paper |
| --- | --- | --- |
| Plain | 0e+00 | 0, by construction |
| ResNet | 0e+00 | 0, by construction |

36 more layers change the training error of the plain net by +28.9 points and of the residual net by -0.1. A
training run this short only shows which net learns faster. To see the deeper residual net end with the
lower error, the paper's 64,000 steps are needed.
"""
from __future__ import annotations

import argparse

import keras
import numpy as np
from common import images, main, net, train
from reskeras.graph.remove_blocks import list_blocks
from reskeras.commands.study import Chart, Study, Table

PAPER = {"CifarPlain20": "below plain-56 (Figure 6)", "CifarPlain56": "above plain-20 (Figure 6)",
         "CifarResNet20": "8.75 test (Table 6)", "CifarResNet56": "6.97 test (Table 6)"}


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


# %% The training
def study(options: argparse.Namespace) -> Study:
    runs = {row: train(lambda: net(options, row), options, rate=0.02) for row in PAPER}
    same = {kind: constructed(options, kind) for kind in ("Plain", "ResNet")}
    rows = [(row, *run.cells(), PAPER[row]) for row, run in runs.items()]
    plain, residual = (runs[f"Cifar{k}56"].curves[:, -1].mean() - runs[f"Cifar{k}20"].curves[:, -1].mean()
                       for k in ("Plain", "ResNet"))
    epochs = list(range(1, options.epochs + 1))
    return Study(
        "Degradation, and its cure",
        """With 56 layers a plain net trains worse than with 20, although it could be the net with 20 and 36
        layers that do nothing. That is no overfitting, for it is the training error. Residual nets gain from
        depth.""",
        [Table(f"Error after {options.epochs} epochs; training: running mean of the last epoch (%). Paper: "
               "64,000 "
               "steps on all of CIFAR-10.", ("net", "training error", "test error", "paper"), rows),
         Table("Output of the 56-layer net made by hand out of the 20-layer net: largest difference, "
               "relative.",
               ("net", "here", "paper"),
               [(kind, value, "0, by construction") for kind, value in same.items()])],
        [Chart("epoch", "training error (%)", {row: (epochs, run.curve) for row, run in runs.items()})],
        f"""36 more layers change the training error of the plain net by {plain:+.1f} points and of the
        residual net by {residual:+.1f}. A training run this short only shows which net learns faster.
        To see the deeper residual net end with the lower error, the paper's 64,000 steps are needed.""",
        sources=["1512.03385"])


if __name__ == "__main__":
    main(study, __file__, None, epochs=4, images=4000)
