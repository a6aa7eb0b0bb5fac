"""CIFAR-10 from scratch, as He et al. 2015 train it: residual against plain nets of the same depth and cost.

    python examples/cifar10.py                                  # 64,000 steps each, hours on a GPU
    python examples/cifar10.py --nets cifar_resnet20 cifar_plain20 --set steps=2000 --set "milestones=(1000, 1500)"
    python examples/cifar10.py --data npz:train.npz --val npz:test.npz

The paper's point is the training error: plain nets of 56 layers have a higher one than those of 20, residual nets a lower one.
"""
from __future__ import annotations

import argparse

import reskeras


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", default="cifar10", help="cifar10, cifar10:FOLDER, npz:FILE ... (%(default)s)")
    arguments.add_argument("--val", help="the same by default, of which it is then the test images")
    arguments.add_argument("--nets", nargs="+", default=["cifar_plain20", "cifar_resnet20", "cifar_plain56", "cifar_resnet56"])
    arguments.add_argument("--recipe", default="cifar_he")
    arguments.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    arguments.add_argument("--seeds", nargs="+", type=int, default=[0])
    arguments.add_argument("--output", default="runs/cifar10")
    given = arguments.parse_args()

    lines = []
    for net in given.nets:
        for seed in given.seeds:
            history = reskeras.fit(net, given.data, given.recipe, validation=given.val or given.data, set=given.set, seed=seed,
                                   output=f"{given.output}/{net}.{seed}", quiet=True).history
            lines.append(f"| {net} | {seed} | {1 - history['accuracy'][-1]:.2%} | {1 - history['val_accuracy'][-1]:.2%} |")
    print("\n".join(["| net | seed | training error | test error |", "|---|---|---|---|", *lines]))


if __name__ == "__main__":
    main()
