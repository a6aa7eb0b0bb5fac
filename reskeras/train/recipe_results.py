"""What each recipe has reached, by its source, and what a training by it computes.  Imports no framework.

The multiply-accumulates of the nets are in recipe_macs.csv, which a test computes again.
"""
from __future__ import annotations

import csv
import functools
import pathlib
from dataclasses import dataclass

from .epoch_sizes import list_epoch_sizes
from .recipe import Recipe
from .recipes import get_recipe

MACS_FILE = pathlib.Path(__file__).with_name("recipe_macs.csv")
IMAGENET, CIFAR, DIGITS = "ImageNet", "CIFAR-10", "digits"
TRAINING_IMAGES = {IMAGENET: 1_281_167, CIFAR: 50_000, DIGITS: 1_433}
# The backward pass computes a gradient for the input of each layer and one for its weights: twice as much as
# the forward pass
PASSES = 3
OPERATIONS_PER_MAC = 2      # a multiplication and an addition


@dataclass(frozen=True)
class RecipeResult:
    """A net that was trained by a recipe from random weights.

    Attributes:
        recipe: the recipe's name; "resnet_rs/50@160" is a row of its scaling table.
        net: the net's name.
        data: the training images, a key of `TRAINING_IMAGES`.
        top1: accuracy on the validation or test images, in percent; None if no source gives it.
        source: where `top1` is from.
    """

    recipe: str
    net: str
    data: str
    top1: float | None
    source: str


def _list(recipe: str, data: str, source: str, **top1: float | None) -> list[RecipeResult]:
    return [RecipeResult(recipe, net, data, value, source) for net, value in top1.items()]


_RS = "arXiv:2103.07579 Table 7; tensorflow/tpu resnet_rs/README"
_NVIDIA = "NVIDIA/DeepLearningExamples resnet50v1.5/README: DGX A100, mixed precision"
_FFCV = "libffcv/ffcv-imagenet README, of an image and its mirror image, with a blur before strides"
# The figures are for one crop.  Recipes that continue from trained weights, or are for data of any size, have
# no line: what they compute is only a part of what their accuracy cost.
RESULTS: tuple[RecipeResult, ...] = (
    *_list("he2015", IMAGENET, "KaimingHe/deep-residual-networks README", resnet50=75.3, resnet101=76.4,
           resnet152=77.0),
    *_list("fb_resnet_torch", IMAGENET, "facebook/fb.resnet.torch README", resnet18=69.57, resnet34=73.27,
           resnet50v1_5=75.99, resnet101v1_5=77.56, resnet152v1_5=77.84),
    *_list("resnext", IMAGENET, "arXiv:1611.05431 Tables 3, 4", resnext50_32x4d=77.8, resnext101_32x4d=78.8,
           resnext101_64x4d=79.6),
    *_list("bag_of_tricks", IMAGENET, "arXiv:1812.01187 Table 6", resnet50d=79.15),
    *_list("resnest", IMAGENET, "zhanghang1989/ResNeSt README", resnest50=81.03),
    *_list("resnet_rs/50@160", IMAGENET, _RS, resnetrs50=78.8),
    *_list("resnet_rs/101@160", IMAGENET, _RS, resnetrs101=80.3),
    *_list("resnet_rs/101@192", IMAGENET, _RS, resnetrs101=81.2),
    *_list("resnet_rs/152@192", IMAGENET, _RS, resnetrs152=82.0),
    *_list("resnet_rs/152@224", IMAGENET, _RS, resnetrs152=82.2),
    *_list("resnet_rs/152@256", IMAGENET, _RS, resnetrs152=83.0),
    *_list("resnet_rs/200@256", IMAGENET, _RS, resnetrs200=83.4),
    *_list("resnet_rs/270@256", IMAGENET, _RS, resnetrs270=83.8),
    *_list("resnet_rs/350@256", IMAGENET, _RS, resnetrs350=84.0),
    *_list("resnet_rs/350@320", IMAGENET, _RS, resnetrs350=84.2),
    *_list("resnet_rs/420@320", IMAGENET, _RS, resnetrs420=84.4),
    *_list("rsb_a1", IMAGENET, "arXiv:2110.00476 abstract", resnet50v1_5=80.4),
    *_list("rsb_a2", IMAGENET, "timm results: resnet50.a2_in1k at 224", resnet50v1_5=79.828),
    *_list("rsb_a3", IMAGENET, "timm results: resnet50.a3_in1k at 224", resnet50v1_5=78.052),
    *_list("tv2", IMAGENET, "torchvision ResNet50_Weights.IMAGENET1K_V2", resnet50v1_5=80.858),
    *_list("nvidia_90", IMAGENET, _NVIDIA, resnet50v1_5=77.12),
    *_list("nvidia_250", IMAGENET, _NVIDIA, resnet50v1_5=78.43),
    *_list("ffcv_rn18/16", IMAGENET, _FFCV, resnet18=66.9),
    *_list("ffcv_rn18/24", IMAGENET, _FFCV, resnet18=68.8),
    *_list("ffcv_rn18/32", IMAGENET, _FFCV, resnet18=70.0),
    *_list("ffcv_rn18/40", IMAGENET, _FFCV, resnet18=70.6),
    *_list("ffcv_rn18/56", IMAGENET, _FFCV, resnet18=71.3),
    *_list("ffcv_rn18", IMAGENET, _FFCV, resnet18=72.4),
    *_list("ffcv_rn50/16", IMAGENET, _FFCV, resnet50v1_5=73.8),
    *_list("ffcv_rn50/24", IMAGENET, _FFCV, resnet50v1_5=75.6),
    *_list("ffcv_rn50/32", IMAGENET, _FFCV, resnet50v1_5=76.6),
    *_list("ffcv_rn50/40", IMAGENET, _FFCV, resnet50v1_5=77.2),
    *_list("ffcv_rn50/56", IMAGENET, _FFCV, resnet50v1_5=78.0),
    *_list("ffcv_rn50", IMAGENET, _FFCV, resnet50v1_5=78.4),
    *_list("mosaic_mild", IMAGENET, "mosaicml/benchmarks blogs/resnet/README.md", resnet50v1_5=76.19),
    *_list("mosaic_medium", IMAGENET, "", resnet50v1_5=None),
    *_list("mosaic_hot", IMAGENET, "", resnet50v1_5=None),
    *_list("mlperf_lars", IMAGENET, "mlcommons/training image_classification/README.md: the target",
           resnet50v1_5=75.9),
    *_list("cifar_he", CIFAR, "arXiv:1512.03385 Table 6", cifar_resnet20=91.25, cifar_resnet32=92.49,
           cifar_resnet44=92.83, cifar_resnet56=93.03, cifar_resnet110=93.39, cifar_resnet1202=92.07),
    *_list("preact", CIFAR, "arXiv:1603.05027 Table 4", cifar_preresnet164=94.54, cifar_preresnet1001=95.08),
    *_list("wrn", CIFAR, "arXiv:1605.07146 Table 6, with dropout", cifar_wide_resnet16_4=94.76,
           cifar_wide_resnet28_10=96.11, cifar_wide_resnet52_1=93.72),
    *_list("stochastic_depth", CIFAR, "yueatsprograms/Stochastic_Depth README", cifar_resnet110=94.75),
    *_list("cifar_cosine", CIFAR, "", cifar_resnet18=None),
    *_list("cifar_fast", CIFAR, "", cifar_resnet18=None),
    *_list("digits", DIGITS, "docs/training.md, the mean of three seeds", cifar_resnet20=99.82),
)


def count_images(recipe: Recipe, data_images: int) -> dict[int | tuple[int, int], float]:
    """How many images a training by a recipe computes at each size.

    Args:
        recipe: the recipe.
        data_images: images in an epoch.

    Returns:
        {size: images}.
    """
    training = recipe.training
    if training.steps:
        return {training.size: training.steps * training.batch_size}
    images: dict[int | tuple[int, int], float] = {}
    for size in list_epoch_sizes(training):
        images[size] = images.get(size, 0) + data_images
    return images


def count_passes(recipe: Recipe) -> float:
    """Forward passes for each image: with sharpness-aware minimization some updates have two."""
    training = recipe.training
    return 1 + (1 / training.sam_interval if training.sam_rho else 0)


def count_training_operations(images: dict[int | tuple[int, int], float],
                              macs: dict[int | tuple[int, int], int], passes: float = 1) -> float:
    """Operations of a training: a multiply-accumulate counts as two, the backward pass as two forward ones.

    Args:
        images: {size: images}, as `count_images` returns them.
        macs: multiply-accumulates of the net for one image at each of these sizes.
        passes: as `count_passes` returns it.
    """
    return passes * PASSES * OPERATIONS_PER_MAC * sum(number * macs[size] for size, number in images.items())


@functools.cache
def read_macs() -> dict[tuple[str, str, int], int]:
    """Reads recipe_macs.csv.

    Returns:
        {(recipe, net, size): multiply-accumulates for one image} for each of `RESULTS`.
    """
    with MACS_FILE.open(newline="") as file:
        return {(line["recipe"], line["net"], int(line["size"])): int(line["macs"])
                for line in csv.DictReader(file)}


def list_needed_macs() -> list[tuple[str, str, int]]:
    """The keys of `read_macs`, which the lines of `RESULTS` need."""
    keys = [(result.recipe, result.net, size) for result in RESULTS
            for size in count_images(get_recipe(result.recipe), TRAINING_IMAGES[result.data])]
    return list(dict.fromkeys(keys))        # type: ignore[arg-type]     # all of these sizes are squares
