"""Stochastic depth: the time of a training step (Huang et al. 2016, arXiv:1603.09382).

Full run: 2026-11-24, on 2 cores of an AVX-512 EPYC, images of 16 x 16 pixels, TensorFlow 2.21.0, Keras
3.15.1.

A training step of 26 layers, half as wide, 64 images, measured alternately; over that with all blocks.

| net | step (ms) | here | paper |
| --- | --- | --- | --- |
| all blocks | 37 | 1.000 |  |
| batch, 0.5 | 34 | 0.903 | a quarter less |
| sample, 0.5 | 40 | 1.064 |  |
| 3/4 of the blocks | 29 | 0.788 |  |

Time of a step over that with all blocks: mode "batch" at p_L = 0.5 0.903, mode "sample" 1.064; a net of 3/4
of the blocks, what skipping can reach, 0.788. What it does to the test error: `examples/experiments`.
"""
from __future__ import annotations

import argparse

import keras
import reskeras
from common import in_turns, main, net, ratio, step
from reskeras.commands.study import Chart, Study, Table


def deep(options: argparse.Namespace, survival: float, mode: str = "batch", blocks: int = 4) -> keras.Model:
    """26 layers, half as wide."""
    return net(options, "CifarResNet44", depths=(blocks,) * 3, width=0.5, drop_path_rate=1 - survival,
               drop_path_mode=mode)


def study(options: argparse.Namespace) -> Study:
    models = {"all blocks": deep(options, 1.0), "batch, 0.5": deep(options, 0.5),
              "sample, 0.5": deep(options, 0.5, "sample"),
              "3/4 of the blocks": deep(options, 1.0, blocks=3)}
    # Keras' own `fit` computes every branch; `reskeras.fit` and a distributable model leave dropped ones out
    times = in_turns({name: step(reskeras.distributable(model), 64, options.size)
                      for name, model in models.items()},
                     4 * options.seconds)
    share = {name: ratio(times, name, "all blocks") for name in models}
    return Study(
        "Stochastic depth: time",
        """Dropping whole residual branches at random in training makes a deep net cheaper to train, by about
        a quarter at p_L = 0.5, for 3/4 of the blocks survive on average.""",
        [Table("A training step of 26 layers, half as wide, 64 images, measured alternately; over that with "
               "all blocks.",
               ("net", "step (ms)", "here", "paper"),
               [(name, f"{times[name].ms:.0f}", share[name], "a quarter less" if name == "batch, 0.5" else "")
                for name in models])],
        [Chart("ms of a step", "", {"here": (list(models), [times[name].ms for name in models])})],
        f"""Time of a step over that with all blocks: mode "batch" at p_L = 0.5 {share["batch, 0.5"]}, mode
        "sample" {share["sample, 0.5"]}; a net of 3/4 of the blocks, what skipping can reach,
        {share["3/4 of the blocks"]}. What it does to the test error: `examples/experiments`.""",
        sources=["1603.09382"])


if __name__ == "__main__":
    main(study, __file__, None)
