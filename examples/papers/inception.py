"""Inception-v4 and ResNeXt at equal cost, timed (Szegedy et al. 2016, arXiv:1602.07261; Xie et al. 2016,
arXiv:1611.05431).

Full run: 2026-11-24, 0.6 minutes of CPU on 2 cores of an AVX-512 EPYC, 2,000 images of 16 x 16 pixels to
train on, seeds 0 1, TensorFlow 2.21.0, Keras 3.15.1.

Inference of one image, measured alternately; over Inception-v4's time. Paper: top-1 error (%), ResNeXt
Table 5.

| net | pixels | parameters (M) | MACs (G) | layers | here (ms) | over Inception-v4 | paper's error |
| --- | --- | --- | --- | --- | --- | --- | --- |
| Inception-v4 | 299 | 42.7 | 12.25 | 487 | 199 | too noisy | 20.0 at 299 |
| Inception-ResNet-v2 | 299 | 55.8 | 13.16 | 821 | 342 | too noisy | 19.9 at 299 |
| ResNeXt-101 64x4d | 200 | 83.5 | 13.25 | 350 | 312 | too noisy | 20.4 at 224, 19.1 at 320 |

At 12.3 and 13.3 G MACs, ResNeXt's time as a TensorFlow graph over Inception-v4's: too noisy. Equal cost is
not equal time. Accuracy was not measured here: that would be ImageNet.
"""
from __future__ import annotations

import argparse

import keras
import reskeras
from common import in_turns, infer, main, ratio
from reskeras.commands.study import Chart, Study, Table

# Row, pixels (ResNeXt's so that the costs are equal), top-1 error (%) of ResNeXt's Table 5 and its pixels
NETS = {"Inception-v4": ("inception_v4", 299, "20.0 at 299"),
        "Inception-ResNet-v2": ("inception_resnet_v2", 299, "19.9 at 299"),
        "ResNeXt-101 64x4d": ("resnext101_64x4d", 200, "20.4 at 224, 19.1 at 320")}
TINY = {"inception_v4": {"depths": (1, 1, 1), "width": 0.25},
        "inception_resnet_v2": {"depths": (1, 1, 2), "width": 0.25},
        "resnext101_64x4d": {"depths": (1, 1, 1, 1)}}


def study(options: argparse.Namespace) -> Study:
    def build(row: str, size: int) -> keras.Model:
        fields = {"classes": 10, **TINY[row]} if options.tiny else {}
        return reskeras.create(row, weights=None, input_shape=(size, size, 3), **fields)
    shapes = {name: (row, 75 if options.tiny else size) for name, (row, size, _) in NETS.items()}
    models = {name: build(*shape) for name, shape in shapes.items()}
    costs = {name: reskeras.cost(model) for name, model in models.items()}
    times = in_turns({name: infer(model, 1, shapes[name][1]) for name, model in models.items()},
                     2 * options.seconds)
    shares = {name: ratio(times, name, "Inception-v4") for name in NETS}
    return Study(
        "Inception-v4 and ResNeXt at equal cost",
        """ResNeXt repeats one block, where Inception's are designed one by one; at equal cost it is as
        accurate (ResNeXt, section 5.1 and Table 5).""",
        [Table("Inference of one image, measured alternately; over Inception-v4's time. Paper: top-1 "
               "error (%), ResNeXt Table 5.",
               ("net", "pixels", "parameters (M)", "MACs (G)", "layers", "here (ms)", "over Inception-v4",
                "paper's error"),
               [(name, str(shapes[name][1]), f"{costs[name].params / 1e6:.1f}",
                 f"{costs[name].macs / 1e9:.2f}",
                 str(len(model.layers)), f"{times[name].ms:.0f}", shares[name], NETS[name][2])
                for name, model in models.items()])],
        [Chart("ms for one image", "", {"here": (list(NETS), [times[name].ms for name in NETS])})],
        f"""At {costs["Inception-v4"].macs / 1e9:.1f} and
        {costs["ResNeXt-101 64x4d"].macs / 1e9:.1f} G MACs, ResNeXt's
        time as a TensorFlow graph over Inception-v4's:
        {shares["ResNeXt-101 64x4d"]}. Equal cost is not equal time.
        Accuracy was not measured here: that would be ImageNet.""", sources=["1602.07261", "1611.05431"])


if __name__ == "__main__":
    main(study, __file__, None)
