"""Cardinality against width and depth, and its three equal forms (ResNeXt, Xie et al. 2016,
arXiv:1611.05431).

Full run: 2026-11-24, 6.2 minutes of CPU on 2 cores of an AVX-512 EPYC, 2,000 images of 16 x 16 pixels to
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

Small nets of the same shapes after 5 epochs: error (%).

| net | parameters | training error | test error |
| --- | --- | --- | --- |
| 1x64d | 129,914 | 37.6 (36.7 to 38.5) | 61.0 (60.0 to 62.0) |
| 2x40d | 127,554 | 37.0 (36.8 to 37.3) | 61.3 (60.6 to 62.0) |
| 4x24d | 125,194 | 38.3 (37.8 to 38.8) | 64.5 (62.2 to 66.8) |
| 32x4d | 120,474 | 40.4 (40.1 to 40.6) | 60.7 (59.4 to 62.0) |
| deeper: 1x64d | 223,994 | 37.1 (37.1 to 37.2) | 61.1 (61.0 to 61.2) |
| wider: 1x100d | 218,159 | 31.2 (30.4 to 32.0) | 61.4 (61.2 to 61.6) |
| cardinality: 2x64d | 211,194 | 31.3 (30.7 to 31.9) | 60.4 (59.6 to 61.2) |
| cardinality: 64x4d | 192,314 | 35.3 (33.6 to 36.9) | 60.0 (58.6 to 61.4) |

The grouped net (Figure 3c) rewritten as b and a; outputs of both in float64, largest relative difference.

| form | layers | here | paper |
| --- | --- | --- | --- |
| concat | 44 to 216 | 4e-16 | equivalent |
| sum | 44 to 309 | 3e-16 | equivalent |

The costs are the paper's and the three forms are one function. Of the small nets at equal cost 32x4d has a
training error of 40.4 % against 37.6 % for 1x64d; among those of twice the cost wider: 1x100d has the
least. Minutes on small images order nets by how soon they learn; the paper's order is of nets trained to
the end on ImageNet.
"""
from __future__ import annotations

import argparse

import keras
from common import main, net, train
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
SMALL = {"1x64d": (1, 64, 1), "2x40d": (2, 40, 1), "4x24d": (4, 24, 1), "32x4d": (32, 4, 1),
         "deeper: 1x64d": (1, 64, 2), "wider: 1x100d": (1, 100, 1), "cardinality: 2x64d": (2, 64, 1),
         "cardinality: 64x4d": (64, 4, 1)}


def small(options: argparse.Namespace, groups: int, width: int, depth: int) -> keras.Model:
    """11 or 20 layers of ResNeXt-29's kind, a quarter as wide."""
    return net(options, "CifarResNeXt29_32x4d", depths=(depth,) * 3, widths=(16, 32, 64), stem_width=16,
               groups=groups,
               base_width=width)


def cost(row: str) -> tuple[str, str]:
    return f"{read_costs()[row].params / 1e6:.1f}", f"{read_costs()[row].macs / 1e9:.2f}"


def study(options: argparse.Namespace) -> Study:
    chosen = dict(list(SMALL.items())[::7] if options.tiny else SMALL.items())
    runs = {name: train(lambda: small(options, *shape), options) for name, shape in chosen.items()}
    nets = {name: small(options, *shape) for name, shape in chosen.items()}
    grouped = small(options, 4 if options.tiny else 32, 4, 1)
    forms = {form: optimize_model(grouped, passes=["fold_bn", "fuse_activation", f"groups_to_{form}"])
             for form in ("concat", "sum")}
    errors = {name: run.curve[-1] for name, run in runs.items()}
    return Study(
        "Cardinality",
        """At equal cost more paths are better than fewer, wider ones (Table 3); at twice the cost cardinality
        gains more than depth or width (Table 4). The aggregated paths, their concatenation and the grouped
        convolution are one function (Figure 3).""",
        [Table("ImageNet nets: cost counted here, error of arXiv:1611.05431, Tables 3 and 4 (%). Table 1 "
               "says 25.5 M and 4.1 G "
               "for 1x64d, 25.0 M and 4.2 G for 32x4d.",
               ("net", "parameters (M)", "MACs (G)", "paper's error"),
               [(f"50 layers, {name}", *cost(row), str(error)) for name, row, error in EQUAL]
               + [(name, *cost(row), str(error)) for name, row, error in TWICE]),
         Table(f"Small nets of the same shapes after {options.epochs} epochs: error (%).",
               ("net", "parameters", "training error", "test error"),
               [(name, f"{nets[name].count_params():,}", *run.cells()) for name, run in runs.items()]),
         Table("The grouped net (Figure 3c) rewritten as b and a; outputs of both in float64, largest "
               "relative difference.",
               ("form", "layers", "here", "paper"),
               [(form, f"{len(grouped.layers)} to {len(made.layers)}",
                 f"{account.max_relative_difference:.0e}", "equivalent")
                for form, (made, account) in forms.items()])],
        [Chart("error (%)", "",
               {"here, training": (list(errors), list(errors.values())), "paper, 50 layers": tuple(
            zip(*((name, error) for name, _, error in EQUAL if name in errors)))})],
        f"""The costs are the paper's and the three forms are one function. Of the small nets at equal cost
        32x4d has a training error of {errors.get("32x4d", 0):.1f} % against {errors["1x64d"]:.1f} % for
        1x64d; among those of twice the cost {min((e, n) for n, e in errors.items() if ":" in n)[1]} has the
        least. Minutes on small images order nets by how soon they learn; the paper's order is of nets trained
        to the end on ImageNet.""",
        sources=["1611.05431"])


if __name__ == "__main__":
    main(study, __file__, None)
