# %% [markdown]
# # A residual net without some of its blocks
#
# Veit, Wilber and Belongie ("Residual Networks Behave Like Ensembles of Relatively Shallow Networks",
# arXiv:1605.06431) delete residual branches of a trained net. It loses accuracy little by little, where a
# plain net would fail at once: n blocks are 2^n paths, and half of them remain when one branch is deleted.
#
#     # the digits net that comes with the package
#     python examples/lesion_study.py
#     # akamaster's ResNet-44 on CIFAR-10
#     python examples/lesion_study.py --weights resnet44.safetensors --images cifar10_test.npz
from __future__ import annotations

import argparse

import keras
import matplotlib.pyplot as plt
import numpy as np

import reskeras
from reskeras.graph.remove_blocks import list_blocks, remove_blocks


# %% The trained net and its test images
def load_digits_net(_: argparse.Namespace) -> tuple[keras.Model, np.ndarray, np.ndarray]:
    from reskeras.commands.digits import load_digits
    test = load_digits()[2]
    return reskeras.create("cifar_resnet20.digits"), test.images, test.labels


def load_cifar_net(options: argparse.Namespace) -> tuple[keras.Model, np.ndarray, np.ndarray]:
    model = reskeras.create("akamaster/resnet44", weights=options.weights)
    with np.load(options.images) as file:
        x, y = file["images"], np.ravel(file["labels"])
    x = (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return model, x.astype("float32"), y


# %% Which blocks can be removed, and the accuracy without them
def list_removable_blocks(model: keras.Model) -> list[str]:
    """The blocks whose shortcut is the identity: all but the first block of each later stage, without whose
    branch the stage would have no new features.
    """
    first = {block.partition("_")[0]: block for block in reversed(list_blocks(model))}
    return [block for block in list_blocks(model) if block not in list(first.values())[:-1]]


def compute_accuracy(model: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    return float((model.predict(x, verbose=0).argmax(1) == y).mean())


def study(
    model: keras.Model, x: np.ndarray, y: np.ndarray, draws: int, seed: int = 0
) -> list[tuple[int, float, float]]:
    """(blocks removed, mean accuracy, its standard deviation over random choices of them)."""
    random, blocks = np.random.default_rng(seed), list_removable_blocks(model)
    rows = []
    for count in range(len(blocks) + 1):
        repeats = draws if 0 < count < len(blocks) else 1
        choices = [random.choice(blocks, count, replace=False) for _ in range(repeats)]
        accuracies = [compute_accuracy(remove_blocks(model, list(choice)), x, y) for choice in choices]
        rows.append((count, float(np.mean(accuracies)), float(np.std(accuracies))))
        print(
            "{:3} of {} blocks removed: {:6.2%} +- {:.2%}".format(count, len(blocks), *rows[-1][1:]),
            flush=True)
    return rows


# %% The plot
def main() -> None:
    parser = argparse.ArgumentParser(description="accuracy against the number of removed residual blocks")
    parser.add_argument("--weights", help="a .safetensors file of akamaster's resnet44")
    parser.add_argument("--images", help=".npz of CIFAR-10 with images and labels")
    parser.add_argument(
        "--draws", type=int, default=5, help="random choices of blocks for each number of them")
    parser.add_argument("--limit", type=int, help="the number of images to use; all without it")
    parser.add_argument("--output", default="lesion_study.png")
    options = parser.parse_args()
    model, x, y = (load_cifar_net if options.weights else load_digits_net)(options)
    rows = np.array(study(model, x[:options.limit], y[:options.limit], options.draws))
    plt.errorbar(rows[:, 0], 100 * rows[:, 1], 100 * rows[:, 2], marker="o", capsize=3)
    plt.xlabel("residual branches removed")
    plt.ylabel("test accuracy (%)")
    plt.title(model.name)
    plt.savefig(options.output, dpi=120)


if __name__ == "__main__":
    main()
