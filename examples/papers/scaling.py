"""ResNet-RS: the additive study, the scaling table, and its two rules as code (Bello et al. 2021,
arXiv:2103.07579).

`propose` names a net for a budget: by depth where overfitting can occur, else by width, and with a resolution
that grows slowly.

Full run: 2026-11-24, 9.4 minutes of CPU on 2 cores of an AVX-512 EPYC, 2,000 images of 16 x 16 pixels to
train on, seeds 0 1, TensorFlow 2.21.0, Keras 3.15.1.

Half as wide ResNet-20, 5 epochs, each line with all above it, error (%). Paper: gain in accuracy of
ResNet-200 on ImageNet, Table 1.

| added | training error | test error | gain | paper's gain |
| --- | --- | --- | --- | --- |
| baseline, steps | 51.5 (49.6 to 53.5) | 62.1 (61.4 to 62.8) |  |  |
| + cosine decay | 44.5 (41.4 to 47.6) | 61.4 (61.0 to 61.8) | +0.7 | +0.3 |
| + twice the epochs | 13.2 (8.3 to 18.2) | 64.0 (63.2 to 64.8) | -2.6 | -0.5 |
| + average of weights | 13.2 (8.3 to 18.2) | 63.1 (61.6 to 64.6) | +0.9 | +0.3 |
| + label smoothing | 12.5 (11.3 to 13.7) | 66.0 (65.2 to 66.8) | -2.9 | +1.3 |
| + stochastic depth | 39.5 (36.9 to 42.2) | 61.5 (60.0 to 63.0) | +4.5 | +0.2 |
| + augmentation (here: flips) | 49.8 (49.2 to 50.5) | 59.7 (59.4 to 60.0) | +1.8 | +0.4 |
| + dropout | 62.7 (60.9 to 64.6) | 65.0 (62.2 to 67.8) | -5.3 | -0.3 |
| + less weight decay | 62.6 (62.3 to 63.0) | 65.0 (62.6 to 67.4) | +0.0 | +1.5 |
| + squeeze-excitation | 58.2 (58.0 to 58.5) | 63.6 (63.0 to 64.2) | +1.4 | +0.7 |
| + ResNet-D shortcuts | 55.7 (55.1 to 56.3) | 59.6 (59.4 to 59.8) | +4.0 | +0.5 |

The scaling table: cost by `macs` above, doubled; paper: Table 7.

| config | here (GFLOPs) | paper |
| --- | --- | --- |
| 50@160 | 4.5 | 4.6 |
| 152@256 | 31.1 | 31 |
| 350@256 | 68.8 | 69 |
| 420@320 | 128.0 | 128 |

`propose`: where overfitting can occur, and where not.

| budget (G MACs) | 350 epochs | 10 epochs |
| --- | --- | --- |
| 2.5 | ResNet-50 x1 at 160 | ResNet-50 x1 at 160 |
| 6 | ResNet-101 x1 at 160 | ResNet-26 x2 at 160 |
| 16 | ResNet-152 x1 at 256 | ResNet-26 x2 at 256 |
| 32 | ResNet-270 x1 at 256 | ResNet-50 x2 at 256 |
| 64 | ResNet-350 x1 at 320 | ResNet-50 x2 at 320 |

From 62.1 to 59.6 % test error; the step that gains most is "stochastic depth", the one that costs most
"dropout". Twice the epochs overfit these few images, the case in which the paper wants more regularization.
The paper's order of gains needs its 350 epochs. The costs of the scaling table are the paper's.
"""
from __future__ import annotations

import argparse
import functools

import reskeras
from common import main, net, train
from reskeras.commands.study import Chart, Study, Table
from reskeras.train.resnet_rs import RESNET_RS_SCALING

BLOCKS = {26: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3),
          270: (4, 29, 53, 4),
          350: (4, 36, 72, 4), 420: (4, 44, 87, 4)}
WIDTHS, RESOLUTIONS = (0.25, 0.5, 1.0, 1.5, 2.0), (128, 160, 224, 320, 448)
FLOPS = {"50@160": 4.6, "152@256": 31, "350@256": 69, "420@320": 128}      # Table 7, 2 for each MAC (G)
# Table 1: what is added, here, the gain in top-1 accuracy (points) of ResNet-200 on ImageNet
STEPS = (("baseline, steps", {"cosine": False}, {}, ""), ("cosine decay", {"cosine": True}, {}, "+0.3"),
         ("twice the epochs", {"epochs": 2}, {}, "-0.5"), ("average of weights", {"ema": 0.98}, {}, "+0.3"),
         ("label smoothing", {"smoothing": 0.1}, {}, "+1.3"),
         ("stochastic depth", {}, {"drop_path_rate": 0.1}, "+0.2"),
         ("augmentation (here: flips)", {"flip": True}, {}, "+0.4"),
         ("dropout", {}, {"dropout_rate": 0.25}, "-0.3"),
         ("less weight decay", {"decay": 4e-5}, {}, "+1.5"),
         ("squeeze-excitation", {}, {"attention": "se"}, "+0.7"),
         ("ResNet-D shortcuts", {}, {"shortcut": "avg"}, "+0.5"))


# %% The search space: what a net costs, by what one more block of each stage costs
@functools.cache
def unit(width: float, stage: int | None) -> int:
    depths = tuple(1 + (i == stage) for i in range(4))
    return reskeras.cost(reskeras.ResNetRS50(weights=None, depths=depths, width=width,
                                             input_shape=(224, 224, 3),
                                             initializer="ones")).macs


def macs(depth: int, width: float = 1.0, resolution: int = 224) -> float:
    """Multiply-accumulates (G); the map's cells grow with the square of the resolution."""
    base = unit(width, None)
    return (base + sum((b - 1) * (unit(width, i) - base)
                       for i, b in enumerate(BLOCKS[depth]))) * (resolution / 224) ** 2 / 1e9


def propose(budget: float, epochs: int) -> tuple[int, float, int]:
    """(depth, width, resolution) for so many G multiply-accumulates.

    The resolution is that of the paper's largest net within the budget.  In 350 epochs overfitting can occur,
    and the net gets depth; in 100 or fewer it gets width.
    """
    scale = [c for c in RESNET_RS_SCALING.values() if macs(c.depth, resolution=c.size) <= budget]
    resolution = scale[-1].size if scale else RESOLUTIONS[0]
    space = [(d, 1.0) for d in BLOCKS] if epochs > 100 else [(d, w) for d in (26, 50) for w in WIDTHS]
    within = [(depth, width) for depth, width in space if macs(depth, width, resolution) <= budget]
    return (*max(within, key=lambda net: macs(*net, resolution), default=(26, WIDTHS[0])), resolution)


# %% The additive study
def study(options: argparse.Namespace) -> Study:
    training, fields, runs = {}, {"shortcut": "conv"}, {}
    for name, how, what, _ in STEPS[:2] if options.tiny else STEPS:
        training |= {k: v * options.epochs if k == "epochs" else v for k, v in how.items()}
        fields |= what
        runs[name] = train(lambda: net(options, "CifarResNet20", width=0.5, **fields), options, **training)
    tests = [float(run.tests.mean()) for run in runs.values()]
    gains = ["", *(f"{a - b:+.1f}" for a, b in zip(tests, tests[1:]))]
    order = sorted(list(runs)[1:],
                   key=lambda name: tests[list(runs).index(name) - 1] - tests[list(runs).index(name)])
    budgets = (4,) if options.tiny else (2.5, 6, 16, 32, 64)
    said = {(b, e): "ResNet-{} x{:g} at {}".format(*propose(b, e)) for b in budgets for e in (350, 10)}
    return Study(
        "ResNet-RS: training and scaling",
        """Better training brings an old net from 79.0 to 82.2 %, two changes of structure to 83.4 % (Table
        1). Weight decay must go down where other regularizers come in. Scale depth where overfitting can
        occur, width otherwise; grow the resolution slowly.""",
        [Table(f"Half as wide ResNet-20, {options.epochs} epochs, each line with all above it, error (%). "
               f"Paper: gain in "
               "accuracy of ResNet-200 on ImageNet, Table 1.",
               ("added", "training error", "test error", "gain", "paper's gain"),
               [(f"{'+ ' * (i > 0)}{name}", *run.cells(), gains[i], STEPS[i][3])
                for i, (name, run) in enumerate(runs.items())]),
         Table("The scaling table: cost by `macs` above, doubled; paper: Table 7.",
               ("config", "here (GFLOPs)", "paper"),
               [(c, f"{2 * macs(RESNET_RS_SCALING[c].depth, resolution=RESNET_RS_SCALING[c].size):.1f}",
                 str(f))
                for c, f in FLOPS.items()]),
         Table("`propose`: where overfitting can occur, and where not.",
               ("budget (G MACs)", "350 epochs", "10 epochs"),
               [(f"{b:g}", said[b, 350], said[b, 10]) for b in budgets])],
        [Chart("test error here (%)", "", {"here": (list(runs), tests)})],
        f"""From {tests[0]:.1f} to {tests[-1]:.1f} % test error; the step that gains most is "{order[-1]}",
        the one that costs most "{order[0]}". Twice the epochs overfit these few images, the case in which the
        paper wants more regularization. The paper's order of gains needs its 350 epochs. The costs of the
        scaling table are the paper's.""",
        sources=["2103.07579"])


if __name__ == "__main__":
    main(study, __file__, None)
