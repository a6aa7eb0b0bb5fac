"""Stochastic depth: time and error against the survival probability (Huang et al. 2016, arXiv:1603.09382).

Full run: 2026-11-24, 2.6 minutes of CPU on 2 cores of an AVX-512 EPYC, 2,000 images of 16 x 16 pixels to
train on, seeds 0 1, TensorFlow 2.21.0, Keras 3.15.1.

26 layers, half as wide, after 5 epochs, error (%). Paper: ResNet-110, Table 1.

| survival of the last block | training error | test error | paper |
| --- | --- | --- | --- |
| 1.0 | 46.7 (42.4 to 51.1) | 63.8 (62.8 to 64.8) | 6.41 |
| 0.5 | 75.6 (67.6 to 83.6) | 75.5 (67.0 to 84.0) | 5.25 (v1), 5.23 |
| 0.2 | 83.9 (80.6 to 87.1) | 82.5 (80.2 to 84.8) |  |

A training step, 64 images, measured alternately; over that with all blocks.

| net | step (ms) | here | paper |
| --- | --- | --- | --- |
| all blocks | 37 | 1.000 |  |
| batch, 0.5 | 34 | 0.903 | a quarter less |
| sample, 0.5 | 40 | 1.064 |  |
| 3/4 of the blocks | 29 | 0.788 |  |

Time of a step over that with all blocks: mode "batch" at p_L = 0.5 0.903, mode "sample" 1.064; a net of 3/4
of the blocks, what skipping can reach, 0.788. The test error exceeds the training error by 17.1 points at
p_L = 1 and -0.1 at 0.5: it regularizes. In such a short training run, however, that costs more than it
brings; the paper trains 500 epochs.
"""
from __future__ import annotations

import argparse

import keras
import reskeras
from common import in_turns, main, net, ratio, step, train
from reskeras.commands.study import Chart, Study, Table

LAST = (1.0, 0.5, 0.2)     # survival probability of the last block; it falls linearly from 1
PAPER = {1.0: "6.41", 0.5: "5.25 (v1), 5.23"}   # test error (%) of ResNet-110 on CIFAR-10, Table 1


def deep(options: argparse.Namespace, survival: float, mode: str = "batch", blocks: int = 4) -> keras.Model:
    """26 layers, half as wide."""
    return net(options, "CifarResNet44", depths=(blocks,) * 3, width=0.5, drop_path_rate=1 - survival,
               drop_path_mode=mode)


def study(options: argparse.Namespace) -> Study:
    lasts = LAST[:2] if options.tiny else LAST
    runs = {p: train(lambda: deep(options, p), options) for p in lasts}
    models = {"all blocks": deep(options, 1.0), "batch, 0.5": deep(options, 0.5),
              "sample, 0.5": deep(options, 0.5, "sample"),
              "3/4 of the blocks": deep(options, 1.0, blocks=3)}
    # Keras' own `fit` computes every branch; `reskeras.fit` and a distributable model leave dropped ones out
    times = in_turns({name: step(reskeras.distributable(model), 64, options.size)
                      for name, model in models.items()},
                     4 * options.seconds)
    gaps = {p: float(run.tests.mean()) - run.curve[-1] for p, run in runs.items()}
    share = {name: ratio(times, name, "all blocks") for name in models}
    return Study(
        "Stochastic depth",
        """Dropping whole residual branches at random in training makes a deep net cheaper to train, by about
        a quarter at p_L = 0.5, for 3/4 of the blocks survive on average, and lowers its test error: it
        regularizes.""",
        [Table(f"26 layers, half as wide, after {options.epochs} epochs, error (%). Paper: ResNet-110, "
               f"Table 1.",
               ("survival of the last block", "training error", "test error", "paper"),
               [(str(p), *run.cells(), PAPER.get(p, "")) for p, run in runs.items()]),
         Table("A training step, 64 images, measured alternately; over that with all blocks.",
               ("net", "step (ms)", "here", "paper"),
               [(name, f"{times[name].ms:.0f}", share[name], "a quarter less" if name == "batch, 0.5" else "")
                for name in models])],
        [Chart("survival probability of the last block", "error (%)",
               {"training": (list(runs), [run.curve[-1] for run in runs.values()]),
                "test": (list(runs), [float(run.tests.mean()) for run in runs.values()])})],
        f"""Time of a step over that with all blocks: mode "batch" at p_L = 0.5 {share["batch, 0.5"]}, mode
        "sample" {share["sample, 0.5"]}; a net of 3/4 of the blocks, what skipping can reach,
        {share["3/4 of the blocks"]}. The test error exceeds the training error by {gaps[1.0]:.1f} points at
        p_L = 1 and {gaps[0.5]:.1f} at 0.5: it regularizes. In such a short training run, however, that costs
        more than it brings; the paper trains 500 epochs.""",
        sources=["1603.09382"])


if __name__ == "__main__":
    main(study, __file__, None)
