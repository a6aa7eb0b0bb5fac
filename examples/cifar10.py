"""CIFAR-10 from scratch, as He et al. 2015 train it: residual against plain nets of the same depth and cost.

    python examples/cifar10.py                                  # 64,000 steps each, hours on a GPU
    python examples/cifar10.py --models cifar_resnet20 --overrides steps=2000 --overrides "milestones=(1000,)"
    python examples/cifar10.py --data npz:train.npz --validation-data npz:test.npz

The paper's point is the training error: a plain net of 56 layers has a higher one than a plain net of 20
layers, a residual net of 56 layers has a lower one than a residual net of 20 layers.
"""
from __future__ import annotations

import argparse

import reskeras

NETS = ["cifar_plain20", "cifar_resnet20", "cifar_plain56", "cifar_resnet56"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", default="cifar10", help="cifar10, cifar10:FOLDER, npz:FILE ... (%(default)s)")
    parser.add_argument(
        "--validation-data", help="by default --data again, of which the test images are taken")
    parser.add_argument("--models", nargs="+", default=NETS)
    parser.add_argument("--recipe", default="cifar_he")
    parser.add_argument("--overrides", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--output", default="runs/cifar10")
    options = parser.parse_args()

    lines = ["| net | seed | training error | test error |", "|---|---|---|---|"]
    for name in options.models:
        for seed in options.seeds:
            history = reskeras.fit(
                name, options.data, options.recipe, validation_data=options.validation_data or options.data,
                overrides=options.overrides, seed=seed, output=f"{options.output}/{name}.{seed}",
                verbose=2).history
            errors = [1 - history[metric][-1] for metric in ("accuracy", "val_accuracy")]
            lines.append(f"| {name} | {seed} | {errors[0]:.2%} | {errors[1]:.2%} |")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
