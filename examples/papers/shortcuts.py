"""What a shortcut may contain, and in which order: A, B, C (arXiv:1512.03385, Table 3); Tables 1 and 2 of
arXiv:1603.05027.

Full run: 2026-11-24, 5.4 minutes of CPU on 2 cores of an AVX-512 EPYC, 2,000 images of 16 x 16 pixels to
train on, seeds 0 1, TensorFlow 2.21.0, Keras 3.15.1.

Half as wide ResNet-20 after 5 epochs, error (%). Paper: ResNet-34, ImageNet, top-1, Table 3.

| net | training error | test error | paper |
| --- | --- | --- | --- |
| A: zero padding | 45.1 (44.4 to 45.9) | 63.4 (63.2 to 63.6) | 25.03 |
| B: projections where shapes change | 44.5 (41.4 to 47.6) | 61.4 (61.0 to 61.8) | 24.52 |
| C: all projections | 55.4 (54.9 to 55.8) | 66.9 (65.0 to 68.8) | 24.19 |

Paper: ResNet-110, CIFAR-10, "Identity Mappings" Table 1; "fail" is above 20 %.

| net | training error | test error | paper |
| --- | --- | --- | --- |
| identity | 44.5 (41.4 to 47.6) | 61.4 (61.0 to 61.8) | 6.61 |
| nothing (plain) | 63.6 (63.0 to 64.1) | 70.1 (69.2 to 71.0) | fail |
| constant 0.5, both ways | 62.3 (61.6 to 63.0) | 65.4 (63.2 to 67.6) | 12.35 |
| exclusive gate, bias -6 | 71.8 (70.6 to 72.9) | 74.0 (72.6 to 75.4) | 8.70 |
| shortcut-only gate, bias 0 | 60.4 (58.6 to 62.3) | 67.6 (66.0 to 69.2) | 12.86 |
| shortcut-only gate, bias -6 | 47.9 (47.9 to 48.0) | 63.8 (61.4 to 66.2) | 6.91 |
| 1x1 convolution | 55.4 (54.9 to 55.8) | 66.9 (65.0 to 68.8) | 12.22 |
| dropout 0.5 | 77.7 (77.2 to 78.2) | 88.8 (88.8 to 88.8) | fail |

Paper: the same, Table 2.

| net | training error | test error | paper |
| --- | --- | --- | --- |
| original (post-activation) | 44.5 (41.4 to 47.6) | 61.4 (61.0 to 61.8) | 6.61 |
| BN after addition | 59.9 (58.3 to 61.6) | 66.9 (65.6 to 68.2) | 8.17 |
| ReLU before addition | 44.1 (41.4 to 46.9) | 62.1 (61.8 to 62.4) | 7.84 |
| ReLU-only pre-activation | 44.6 (44.5 to 44.7) | 60.7 (60.4 to 61.0) | 6.71 |
| full pre-activation | 50.6 (50.2 to 50.9) | 64.4 (64.0 to 64.8) | 6.37 |

On the shortcut the training error is least with "identity" and most with "dropout 0.5", then "exclusive
gate, bias -6". The scalings and dropout lose already in 20 layers; so do projections everywhere (C), which
gain in the first paper's table and lose in the second's. Differences of a point or two are within the noise
of so few seeds and epochs: the paper's are of 110 layers and 64,000 steps.
"""
from __future__ import annotations

import argparse

from common import Result, main, net, train
from reskeras.commands.study import Chart, Study, Table

# Top-1 error (%) of ResNet-34, 10 crops
OPTIONS = {"A: zero padding": ({"shortcut": "pad"}, "25.03"),
           "B: projections where shapes change": ({"shortcut": "conv"}, "24.52"),
           "C: all projections": ({"shortcut": "all_conv"}, "24.19")}
# Test error (%) of ResNet-110 on CIFAR-10
ON_SHORTCUT = {
    "identity": ({"shortcut": "conv"}, "6.61"), "nothing (plain)": ({"shortcut": "none"}, "fail"),
    "constant 0.5, both ways": ({"shortcut": "constant"}, "12.35"),
    "exclusive gate, bias -6": ({"shortcut": "exclusive_gate"}, "8.70"),
    "shortcut-only gate, bias 0": ({"shortcut": "shortcut_gate", "gate_bias": 0.0}, "12.86"),
    "shortcut-only gate, bias -6": ({"shortcut": "shortcut_gate"}, "6.91"),
    "1x1 convolution": ({"shortcut": "all_conv"}, "12.22"), "dropout 0.5": ({"shortcut": "dropout"}, "fail")}
ORDERS = {
    "original (post-activation)": ({"order": "post"}, "6.61"),
    "BN after addition": ({"order": "bn_after_add"}, "8.17"),
    "ReLU before addition": ({"order": "relu_before_add"}, "7.84"),
    "ReLU-only pre-activation": ({"order": "relu_only_pre"}, "6.71"),
    "full pre-activation": ({"order": "pre", "stem_norm": False}, "6.37")}
BASE = {"shortcut": "conv", "order": "post", "stem_norm": True, "gate_bias": -6.0}


def study(options: argparse.Namespace) -> Study:
    known: dict[str, Result] = {}

    def run(fields: dict) -> Result:
        """Each net once, whatever its name in the tables."""
        key = str(sorted((BASE | fields).items()))
        if key not in known:
            known[key] = train(lambda: net(options, "CifarResNet20", width=0.5, **(BASE | fields)), options)
        return known[key]

    def table(caption: str, cases: dict, runs: dict) -> Table:
        return Table(caption, ("net", "training error", "test error", "paper"),
                     [(name, *runs[name].cells(), paper) for name, (_, paper) in cases.items()])
    if options.tiny:
        known |= dict.fromkeys((str(sorted((BASE | f).items())) for cases in (OPTIONS, ON_SHORTCUT, ORDERS)
                                for f, _ in list(cases.values())[2:]), run(BASE))
    runs = [{name: run(fields) for name, (fields, _) in cases.items()}
            for cases in (OPTIONS, ON_SHORTCUT, ORDERS)]
    curves = [{name: found.curve[-1] for name, found in own.items()} for own in runs]
    better = sorted(curves[1], key=curves[1].__getitem__)
    return Study(
        "What a shortcut may contain",
        """Projections help little (A, B, C). In a deep net anything but the identity on the shortcut hinders
        the signal (Table 1), and so does a ReLU or a normalization after the addition (Table 2).""",
        [table(f"Half as wide ResNet-20 after {options.epochs} epochs, error (%). Paper: ResNet-34, "
               f"ImageNet, top-1, Table 3.",
               OPTIONS, runs[0]),
         table('Paper: ResNet-110, CIFAR-10, "Identity Mappings" Table 1; "fail" is above 20 %.', ON_SHORTCUT,
               runs[1]),
         table('Paper: the same, Table 2.', ORDERS, runs[2])],
        [Chart("training error here (%)", "", {"here": (list(own), list(own.values()))})
         for own in curves[1:]],
        f"""On the shortcut the training error is least with "{better[0]}" and most with "{better[-1]}", then
        "{better[-2]}". The scalings and dropout lose already in 20 layers; so do projections everywhere (C),
        which gain in the first paper's table and lose in the second's. Differences of a point or two are
        within the noise of so few seeds and epochs: the paper's are of 110 layers and 64,000 steps.""",
        sources=["1512.03385", "1603.05027"])


if __name__ == "__main__":
    main(study, __file__, None)
