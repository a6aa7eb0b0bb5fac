"""Cardinality against width and depth, and its three equal forms (ResNeXt, Xie et al. 2016,
arXiv:1611.05431).

Full run: 2026-11-27, 0.2 minutes of CPU on 2 cores of an AVX-512 EPYC, 2,000 images of 16 x 16 pixels to
train on, seeds 0 1, TensorFlow 2.21.0, Keras 3.15.1.

ImageNet nets: cost counted here, error of arXiv:1611.05431, Tables 3 and 4 (%). Table 1 says 25.5 M and 4.1
G for 1x64d, 25.0 M and 4.2 G for 32x4d.

| net | parameters (M) | MACs (G) | paper's error |
| --- | --- | --- | --- |
| 50 layers, 1x64d | 25.6 | 4.09 | 23.9 |
| 50 layers, 2x40d | 25.4 | 4.12 | 23.0 |
| 50 layers, 4x24d | 25.3 | 4.16 | 22.6 |
| 50 layers, 8x14d | 25.6 | 4.27 | 22.3 |
| 50 layers, 32x4d | 25.0 | 4.23 | 22.2 |
| 101 layers, 1x64d | 44.5 | 7.80 | 22.0 |
| 101 layers, 32x4d | 44.2 | 7.97 | 21.2 |
| deeper: 200 layers | 64.7 | 15.01 | 21.7 |
| wider: 1x100d | 85.6 | 15.27 | 21.3 |
| cardinality: 2x64d | 84.2 | 15.12 | 20.7 |
| cardinality: 64x4d | 83.5 | 15.46 | 20.4 |

The grouped net (Figure 3c) rewritten as b and a; outputs of both in float64, largest relative difference.

| form | layers | here | paper |
| --- | --- | --- | --- |
| concat | 44 to 216 | 6e-16 | equivalent |
| sum | 44 to 309 | 6e-16 | equivalent |

The costs are the paper's and the three forms are one function. Which of them has the lower error:
`examples/experiments`.
"""
from __future__ import annotations

import argparse

import keras
from common import main, net
from reskeras.catalog import read_costs
from reskeras.graph.optimize import optimize_model
from reskeras.commands.study import Chart, Study, Table

# Top-1 error (%) at 224 pixels: Tables 3 and 4.  Net, at the cost of which, paper.
EQUAL = (("1x64d", "resnet50v1_5", 23.9), ("2x40d", "resnext50_2x40d", 23.0),
         ("4x24d", "resnext50_4x24d", 22.6),
         ("8x14d", "resnext50_8x14d", 22.3), ("32x4d", "resnext50_32x4d", 22.2))
TWICE = (("101 layers, 1x64d", "resnet101v1_5", 22.0), ("101 layers, 32x4d", "resnext101_32x4d", 21.2),
         ("deeper: 200 layers", "resnet200", 21.7), ("wider: 1x100d", "resnet101_1x100d", 21.3),
         ("cardinality: 2x64d", "resnext101_2x64d", 20.7), ("cardinality: 64x4d", "resnext101_64x4d", 20.4))


def small(options: argparse.Namespace, groups: int, width: int) -> keras.Model:
    """11 layers of ResNeXt-29's kind, a quarter as wide."""
    return net(options, "CifarResNeXt29_32x4d", depths=(1, 1, 1), widths=(16, 32, 64), stem_width=16,
               groups=groups, base_width=width)


def cost(row: str) -> tuple[str, str]:
    return f"{read_costs()[row].params / 1e6:.1f}", f"{read_costs()[row].macs / 1e9:.2f}"


def study(options: argparse.Namespace) -> Study:
    grouped = small(options, 4 if options.tiny else 32, 4)
    forms = {form: optimize_model(grouped, passes=["fold_bn", "fuse_activation", f"groups_to_{form}"])
             for form in ("concat", "sum")}
    return Study(
        "Cardinality: cost and forms",
        """More paths cost what fewer, wider ones cost (Tables 1, 3 and 4). The aggregated paths, their
        concatenation and the grouped convolution are one function (Figure 3).""",
        [Table("ImageNet nets: cost counted here, error of arXiv:1611.05431, Tables 3 and 4 (%). Table 1 "
               "says 25.5 M and 4.1 G "
               "for 1x64d, 25.0 M and 4.2 G for 32x4d.",
               ("net", "parameters (M)", "MACs (G)", "paper's error"),
               [(f"50 layers, {name}", *cost(row), str(error)) for name, row, error in EQUAL]
               + [(name, *cost(row), str(error)) for name, row, error in TWICE]),
         Table("The grouped net (Figure 3c) rewritten as b and a; outputs of both in float64, largest "
               "relative difference.",
               ("form", "layers", "here", "paper"),
               [(form, f"{len(grouped.layers)} to {len(made.layers)}",
                 f"{account.max_relative_difference:.0e}", "equivalent")
                for form, (made, account) in forms.items()])],
        [Chart("paper's error (%)", "", {
            "50 layers": ([name for name, *_ in EQUAL], [error for *_, error in EQUAL])})],
        """The costs are the paper's and the three forms are one function. Which of them has the lower error:
        `examples/experiments`.""",
        sources=["1611.05431"])


if __name__ == "__main__":
    main(study, __file__, None)
