"""v1, v1.5 and v2 of ResNet-50, timed: the stride on the 1x1 or on the 3x3, the activation after or before.

Full run: 2026-11-24, 2.2 minutes of CPU on 2 cores of an AVX-512 EPYC, seeds 0 1, TensorFlow 2.21.0, Keras
3.15.1.

ResNet-50 at 224 pixels, measured alternately: a training step of 8 images, inference of 4; over v1. Errors:
top-1, one crop, of He et al.'s release (v1) and fb.resnet.torch (v1.5).

| net | MACs (G) | training (ms) | over v1 | claimed | inference (ms) | over v1 | claimed | error (%) |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
| v1 | 3.86 | 1911 | 1.000 | 1 | 217 | too noisy | 1 | 24.7 |
| v1.5 | 4.09 | 1922 | 1.006 | 1.12 | 270 | too noisy | 1.064 | 24.01 |
| v2 | 4.09 | 1869 | 0.978 |  | 278 | too noisy |  |  |

v1.5 has 1.060 times the multiplications of v1. As TensorFlow graphs here, time over v1's: 1.006 in
training, too noisy in inference. The claim's 12 % and 6 % were measured on other machines, and XLA or a
fused runtime order the nets otherwise. v2's normalizations cannot be folded into the convolution before
them.
"""
from __future__ import annotations

import argparse

import reskeras
from common import in_turns, infer, main, ratio, step
from reskeras.catalog import read_costs
from reskeras.commands.study import Chart, Study, Table

NETS = {"v1": "resnet50v1", "v1.5": "resnet50v1_5", "v2": "resnetv2_50"}
# README of official/resnet in tensorflow/models: "~12% more compute to train and has 6% reduced
# throughput for inference"
CLAIMED = {"v1": ("1", "1"), "v1.5": ("1.12", f"{1 / 0.94:.3f}"), "v2": ("", "")}
# Top-1 error (%), one crop: v1 as He et al. released it, v1.5 of fb.resnet.torch
ERRORS = {"v1": "24.7", "v1.5": "24.01", "v2": ""}


def study(options: argparse.Namespace) -> Study:
    size, fields = (32, {"depths": (1, 1, 1, 1), "classes": 10, "width": 0.25}) if options.tiny else (224, {})
    models = {name: reskeras.create(row, weights=None, input_shape=(size, size, 3), **fields)
              for name, row in NETS.items()}
    inference = in_turns({name: infer(model, 4, size) for name, model in models.items()}, 2 * options.seconds)
    training = in_turns({name: step(model, 8, size) for name, model in models.items()}, 4 * options.seconds)
    macs = {name: read_costs()[row].macs / 1e9 for name, row in NETS.items()}
    shares = {name: (ratio(training, name, "v1"), ratio(inference, name, "v1")) for name in NETS}
    return Study(
        "v1, v1.5 and v2",
        """v1 halves the map on the first 1x1 convolution of a block, v1.5 on the 3x3, which is more accurate
        and, it is said, takes 12 % more compute to train and has 6 % less throughput (tensorflow/models,
        official/resnet). v2 activates before it convolves, and leaves the shortcut free.""",
        [Table("ResNet-50 at 224 pixels, measured alternately: a training step of 8 images, inference of 4; "
               "over v1. Errors: top-1, one crop, of He et al.'s release (v1) and fb.resnet.torch (v1.5).",
               ("net", "MACs (G)", "training (ms)", "over v1", "claimed", "inference (ms)", "over v1",
                "claimed", "error (%)"),
               [(name, f"{macs[name]:.2f}", f"{training[name].ms:.0f}", shares[name][0], CLAIMED[name][0],
                 f"{inference[name].ms:.0f}", shares[name][1], CLAIMED[name][1], ERRORS[name])
                for name in NETS])],
        [Chart("time over v1's", "",
               {"training": (list(NETS), [training[n].ms / training["v1"].ms for n in NETS]),
                "inference": (list(NETS), [inference[n].ms / inference["v1"].ms for n in NETS]),
                "MACs": (list(NETS), [macs[n] / macs["v1"] for n in NETS])})],
        f"""v1.5 has {macs["v1.5"] / macs["v1"]:.3f} times the
        multiplications of v1. As TensorFlow graphs here, time over
        v1's: {shares["v1.5"][0]} in training, {shares["v1.5"][1]} in
        inference. The claim's 12 % and 6 % were measured on other
        machines, and XLA or a fused runtime order the nets otherwise.
        v2's normalizations cannot be folded into the convolution
        before them.""", sources=["1512.03385", "1603.05027"])


if __name__ == "__main__":
    main(study, __file__, None)
