"""Wide against deep: fewer layers, faster steps (Wide Residual Networks, Zagoruyko and Komodakis 2016,
arXiv:1605.07146).

Full run: 2026-11-24, 3.3 minutes of CPU on 2 cores of an AVX-512 EPYC, 2,000 images of 16 x 16 pixels to
train on, seeds 0 1, TensorFlow 2.21.0, Keras 3.15.1.

CIFAR nets: parameters and cost counted here, test error of arXiv:1605.07146, Table 5 (%).

| net | parameters (M) | MACs (G) | paper's error |
| --- | --- | --- | --- |
| cifar_preresnet164 | 1.7 | 0.25 | 5.46 |
| cifar_preresnet1001 | 10.3 | 1.49 | 4.92 |
| cifar_wide_resnet40_4 | 8.9 | 1.30 | 4.53 |
| cifar_wide_resnet16_8 | 11.0 | 1.55 | 4.27 |
| cifar_wide_resnet28_10 | 36.5 | 5.24 | 4.00 |

Of as many parameters: after 5 epochs, error (%), and a training step of 64 images, measured alternately.

| net | parameters | step (ms) | training error | test error |
| --- | --- | --- | --- | --- |
| deep: 44 layers | 664,314 | 181 | 36.9 (33.7 to 40.1) | 59.4 (58.6 to 60.2) |
| wide: 16 layers, twice as wide | 693,498 | 111 | 19.5 (18.3 to 20.7) | 58.2 (57.4 to 59.0) |

Inference of ImageNet nets of equal cost, 4 images, measured alternately; paper: Table 8.

| net | MACs (G) | here (ms) | paper (ms) | paper's error (%) |
| --- | --- | --- | --- | --- |
| resnet152v1_5 | 11.5 | 861 | 115 | 22.16 |
| wide_resnet50_2 | 11.4 | 583 | 93 | 21.9 |

Time of a step of the wide net over that of the deep one: too noisy, with a training error of 19.6 % against
36.9 %. Of the ImageNet nets, the wide one's time over the deep one's: too noisy; in the paper 0.809. A
machine that others use too may allow no ratio; the medians stand above.
"""
from __future__ import annotations

import argparse

import keras
import reskeras
from common import in_turns, infer, main, net, ratio, step, train
from reskeras.catalog import read_costs
from reskeras.commands.study import Chart, Study, Table

# Test error (%) on CIFAR-10, Table 5, of pre-activation nets.  ImageNet: Table 8, ms of 16 images, Titan X
CIFAR = {"cifar_preresnet164": "5.46", "cifar_preresnet1001": "4.92", "cifar_wide_resnet40_4": "4.53",
         "cifar_wide_resnet16_8": "4.27", "cifar_wide_resnet28_10": "4.00"}
IMAGENET = {"resnet152v1_5": (115, "22.16"), "wide_resnet50_2": (93, "21.9")}
SMALL = {"deep: 44 layers": ("CifarPreResNet44", {}),
         "wide: 16 layers, twice as wide": ("CifarWideResNet16_4", {"widths": (32, 64, 128)})}      # WRN-16-2


def study(options: argparse.Namespace) -> Study:
    def small(name: str) -> keras.Model:
        row, fields = SMALL[name]
        return net(options, row, **fields)
    runs = {name: train(lambda: small(name), options) for name in SMALL}
    steps = in_turns({name: step(small(name), 64, options.size) for name in SMALL}, options.seconds)
    size = 32 if options.tiny else 224
    less = {"depths": (1, 1, 1, 1), "width": 0.25} if options.tiny else {}
    large = in_turns({row: infer(reskeras.create(row, weights=None, input_shape=(size, size, 3), **less), 4,
                                 size)
                      for row in IMAGENET}, options.seconds)
    deep, wide = SMALL
    pair = ratio(large, "wide_resnet50_2", "resnet152v1_5")
    return Study(
        "Wide against deep",
        """Sixteen wide layers are as good as a thousand thin ones of as many parameters, and train several
        times as fast, for wide layers keep a processor busy, and layers wait for each other.""",
        [Table("CIFAR nets: parameters and cost counted here, test error of arXiv:1605.07146, Table 5 (%).",
               ("net", "parameters (M)", "MACs (G)", "paper's error"),
               [(row, f"{read_costs()[row].params / 1e6:.1f}", f"{read_costs()[row].macs / 1e9:.2f}", error)
                for row, error in CIFAR.items()]),
         Table(f"Of as many parameters: after {options.epochs} epochs, error (%), and a training step of 64 "
               f"images, measured alternately.",
               ("net", "parameters", "step (ms)", "training error", "test error"),
               [(name, f"{small(name).count_params():,}", f"{steps[name].ms:.0f}", *run.cells())
                for name, run in runs.items()]),
         Table("Inference of ImageNet nets of equal cost, 4 images, measured alternately; paper: Table 8.",
               ("net", "MACs (G)", "here (ms)", "paper (ms)", "paper's error (%)"),
               [(row, f"{read_costs()[row].macs / 1e9:.1f}", f"{large[row].ms:.0f}", str(ms), error)
                for row, (ms, error) in IMAGENET.items()])],
        [Chart("epoch", "training error (%)",
               {name: (list(range(1, options.epochs + 1)), run.curve) for name, run in runs.items()})],
        f"""Time of a step of the wide net over that of the deep one: {ratio(steps, wide, deep)}, with a
        training error of {runs[wide].curve[-1]:.1f} % against {runs[deep].curve[-1]:.1f} %. Of the ImageNet
        nets, the wide one's time over the deep one's: {pair}; in the paper {93 / 115:.3f}. A machine that
        others use too may allow no ratio; the medians stand above.""",
        sources=["1605.07146"])


if __name__ == "__main__":
    main(study, __file__, None)
