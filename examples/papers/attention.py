"""Channel attention: SE, ECA, SK, split attention, of which one radix is SE (Hu et al. 2017 and others).

Full run: 2026-11-24, 5.2 minutes of CPU on 2 cores of an AVX-512 EPYC, 2,000 images of 16 x 16 pixels to
train on, seeds 0 1, TensorFlow 2.21.0, Keras 3.15.1.

20 layers of bottlenecks after 5 epochs, error (%). Paper: top-1 error on ImageNet, 50 layers; the papers'
recipes differ.

| net | parameters | training error | test error | paper |
| --- | --- | --- | --- | --- |
| none | 223,994 | 32.0 (30.4 to 33.5) | 61.6 (61.0 to 62.2) | 23.30 (SENet Table 10) |
| SE | 311,130 | 34.3 (33.5 to 35.2) | 59.7 (59.6 to 59.8) | 22.28 (SENet Table 10) |
| ECA | 224,020 | 38.9 (38.8 to 39.1) | 59.1 (57.8 to 60.4) | 22.58 (ECA-Net's README) |
| SK | 233,594 | 47.7 (43.1 to 52.2) | 64.4 (62.0 to 66.8) | 20.79 (SKNet Table 2, 32x4d) |
| split, radix 1 | 239,514 | 51.6 (51.4 to 51.8) | 62.1 (61.4 to 62.8) | 19.65 (ResNeSt Table 2, fast) |
| split, radix 2 | 247,802 | 47.9 (46.9 to 48.9) | 60.7 (59.2 to 62.2) | 19.36 (ResNeSt Table 2, fast) |

SE-ResNet-50: parameters (M) by reduction ratio; paper: SENet Table 10.

| ratio | here | paper |
| --- | --- | --- |
| 2 | 45.7 | 45.7 |
| 4 | 35.6 | 35.7 |
| 8 | 30.6 | 30.7 |
| 16 | 28.1 | 28.1 |
| 32 | 26.8 | 26.9 |

Split attention with radix 1 against SE with its weights, largest relative difference in float32.

|  | here | paper |
| --- | --- | --- |
| radix 1 | 0e+00 | equal (ResNeSt section 3) |

The parameters are the paper's to 0.1 M and radix 1 is SE. The training error here is least with "none"
(32.0 %) and most with "split, radix 1" (51.6 %); the differences of test error are within what so few seeds
and images can tell apart. The papers' gains of 1 to 4 points are of ImageNet, after many epochs.
"""
from __future__ import annotations

import argparse

import keras
import numpy as np
import reskeras
from common import main, net, train
from reskeras.blocks.attention import squeeze_excite
from reskeras.blocks.spatial import ConvolutionPlan, split_attention
from reskeras.spec import SE, SK, Spec, SplitAttention
from reskeras.commands.study import Chart, Study, Table

# Top-1 error (%) of 50 layers at 224 pixels and where it is from
NETS = {"none": ({}, "23.30 (SENet Table 10)"), "SE": ({"attention": SE(1 / 4)}, "22.28 (SENet Table 10)"),
        "ECA": ({"attention": "eca"}, "22.58 (ECA-Net's README)"),
        "SK": ({"mixer": SK(1 / 4)}, "20.79 (SKNet Table 2, 32x4d)"),
        "split, radix 1": ({"mixer": SplitAttention(1)}, "19.65 (ResNeSt Table 2, fast)"),
        "split, radix 2": ({"mixer": SplitAttention(2)}, "19.36 (ResNeSt Table 2, fast)")}
RATIOS = {2: 45.7, 4: 35.7, 8: 30.7, 16: 28.1, 32: 26.9}     # SENet Table 10: parameters of SE-ResNet-50 (M)


# %% Split attention of one radix is squeeze and excitation, one sigmoid for each channel, behind the 3x3
def one_radix() -> float:
    """The largest difference, over the largest value, of the two on the same map with the same weights."""
    spec, image = Spec(mixer=SplitAttention(1), attention=SE(1 / 2)), keras.Input((8, 8, 64))
    split = keras.Model(image, split_attention(image, spec, ConvolutionPlan("a", 64, 3, has_mixer=True), 1))
    se = keras.Model(image, squeeze_excite(split.get_layer("a_relu").output, spec, "b"))
    for mine, theirs in (("b_se_reduce", "a_split_reduce_conv"), ("b_se_expand", "a_split_select_conv")):
        se.get_layer(mine).set_weights(split.get_layer(theirs).get_weights())
    bn = split.get_layer("a_split_reduce_bn")       # SE has none: here it does nothing
    bn.gamma.assign(np.sqrt(bn.moving_variance + bn.epsilon))
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 64))
    a, b = split.predict(x, verbose=0), se.predict(x, verbose=0)
    return float(np.abs(a - b).max() / np.abs(a).max())


def parameters(ratio: int) -> str:
    model = reskeras.SEResNet50(weights=None, attention=SE(1 / ratio, divisor=1), initializer="ones")
    return f"{reskeras.cost(model).params / 1e6:.1f}"


def study(options: argparse.Namespace) -> Study:
    chosen = dict(list(NETS.items())[::5] if options.tiny else NETS.items())

    def small(fields: dict) -> keras.Model:
        return net(options, "CifarResNet164", depths=(2, 2, 2), **fields)
    runs = {name: train(lambda: small(fields), options) for name, (fields, _) in chosen.items()}
    errors = {name: run.curve[-1] for name, run in runs.items()}
    gap, ratios = one_radix(), [16] if options.tiny else list(RATIOS)
    return Study(
        "Channel attention",
        """A gate for each channel, computed from the whole map, lowers the error at next to no cost (SE); a
        1-D convolution is gate enough (ECA); the gate may choose between kernels (SK) or parts of the map
        (ResNeSt), of which one part is SE.""",
        [Table(f"20 layers of bottlenecks after {options.epochs} epochs, error (%). Paper: top-1 error on "
               f"ImageNet, 50 layers; "
               "the papers' recipes differ.", ("net", "parameters", "training error", "test error", "paper"),
               [(name, f"{small(NETS[name][0]).count_params():,}", *run.cells(), NETS[name][1])
                for name, run in runs.items()]),
         Table("SE-ResNet-50: parameters (M) by reduction ratio; paper: SENet Table 10.",
               ("ratio", "here", "paper"),
               [(str(r), parameters(r), str(RATIOS[r])) for r in ratios]),
         Table("Split attention with radix 1 against SE with its weights, largest relative difference in "
               "float32.",
               ("", "here", "paper"), [("radix 1", f"{gap:.0e}", "equal (ResNeSt section 3)")])],
        [Chart("error (%)", "", {"training": (list(errors), list(errors.values())),
                                 "test": (list(errors),
                                          [float(run.tests.mean()) for run in runs.values()])})],
        f"""The parameters are the paper's to 0.1 M and radix 1 is SE. The training error here is least with
        "{min(errors, key=errors.get)}" ({min(errors.values()):.1f} %) and most with
        "{max(errors, key=errors.get)}" ({max(errors.values()):.1f} %); the differences of test error are
        within what so few seeds and images can tell apart. The papers' gains of 1 to 4 points are of
        ImageNet, after many epochs.""",
        sources=["1709.01507", "1910.03151", "1903.06586", "2004.08955"])


if __name__ == "__main__":
    main(study, __file__, None)
