"""Recipes that reach an accuracy for less: growing images, short schedules, large batches.

Imports no framework.
"""
from __future__ import annotations

import math
from typing import Any

from .recipe import OWN, Recipe
from .recipe_sources import cite, make_recipe

# libffcv/ffcv-imagenet rn50_configs, rn18_configs: epochs -> between which of them the images grow
FFCV_EPOCHS = {"16": (11, 13), "24": (17, 20), "32": (23, 27), "40": (29, 34), "56": (41, 48), "88": (65, 76)}
_FFCV = "libffcv/ffcv-imagenet"


def make_ffcv(depth: int, epochs: str) -> Recipe:
    """One of the trainings of FFCV's ImageNet recipes.

    Args:
        depth: 18 or 50.
        epochs: a key of `FFCV_EPOCHS`.
    """
    config = f"{_FFCV} rn{depth}_configs/rn{depth}_{epochs}_epochs.yaml"
    batch_size, rate, decay = {18: (1024, 0.5, 5e-5), 50: (4096, 1.7, 1e-4)}[depth]
    name = f"ffcv_rn{depth}" + ("" if epochs == "88" else f"/{epochs}")
    return make_recipe(
        name, f"FFCV, ResNet-{depth}, ImageNet" + (
            f"; FFCV_RN{depth}/16 ... are its shorter trainings" if epochs == "88" else f", {epochs} epochs"),
        cite(config, epochs=int(epochs), learning_rate=rate, momentum=0.9, weight_decay=decay,
             label_smoothing=0.1, first_size=160, size=192, size_epochs=FFCV_EPOCHS[epochs]),
        cite(f"{config}: {batch_size // (8 if depth == 50 else 1)} images on each GPU, of which there are "
             f"{8 if depth == 50 else 1}", batch_size=batch_size, base_batch_size=batch_size),
        cite(OWN, learning_rate_scaling="linear"),
        cite(f"{_FFCV} train_imagenet.py get_resolution: to the nearest multiple of 32", size_multiple=32),
        cite(f"{_FFCV} train_imagenet.py get_cyclic_lr: from 1e-4 of the rate up to epoch 2, then down to 0",
             schedule="triangular", warmup=2, warmup_start=1e-4,
             differs={"warmup": "the first update has 1/m of the way up, the source's none of it"}),
        cite(f"{_FFCV} train_imagenet.py create_optimizer: torch.optim.SGD", optimizer="sgd",
             learning_rate_in_velocity=False, decayed_weights="all_but_normalization",
             differs={"decayed_weights": "none of the normalization; the source finds its weights by \"bn\" "
                      "in the name, which those of the shortcuts do not have"}),
        cite(f"{_FFCV} train_imagenet.py create_train_loader", augmentation="random_resized_crop(192)|flip",
             differs={"augmentation": "the source reads images whose longer side is at most "
                      f"{500 if depth == 50 else 400} pixels, and resizes the crop by cv2's INTER_AREA"}),
        cite(f"{config}: use_blurpool", model={"antialias": None},
             differs={"model.antialias": "none; the source blurs before each strided convolution, here a "
                      "blur follows it and costs more"}),
        cite(f"{config}; {_FFCV} train_imagenet.py create_val_loader", test_size=256, test_crop_pct=0.875))


FFCV_RN18, FFCV_RN50 = make_ffcv(18, "88"), make_ffcv(50, "88")

_MLPERF = "mlcommons/training image_classification"
MLPERF_LARS = make_recipe(
    "mlperf_lars", "MLPerf's reference, ResNet-50 v1.5 with LARS, ImageNet to 75.9 %",
    cite(f"{_MLPERF}/README.md, TPU-V3-64", batch_size=4096, base_batch_size=4096, learning_rate=10.0,
         epochs=42, warmup=5, weight_decay=2e-4, label_smoothing=0.1, momentum=0.9, optimizer="lars"),
    cite(f"{_MLPERF}/tensorflow2/lars_util.py: the same rate below a batch of 16,384",
         learning_rate_scaling="none"),
    cite(f"{_MLPERF}/tensorflow2/lars_util.py PolynomialDecayWithWarmup: power 2, down to 1e-4",
         schedule="polynomial", power=2.0, final_learning_rate=1e-5,
         differs={"schedule": "the first update has 1/m of the rate, the source's 0"}),
    cite(f"{_MLPERF}/tensorflow2/lars_optimizer.py: eeta; an epsilon of 0 becomes Keras'",
         trust_coefficient=0.001, epsilon=1e-7, learning_rate_in_velocity=True),
    cite(f"{_MLPERF}/tensorflow2/lars_optimizer.py: skip_list batch_normalization, bias",
         decayed_weights="kernels"),
    cite(f"{_MLPERF}/tensorflow2/imagenet_preprocessing.py", augmentation="inception_crop(224, 0.05)|flip",
         size=224, test_size=224, test_crop_pct=0.875,
         differs={"augmentation": "one attempt for the whole image in place of boxes around the objects; the "
                  "source resizes without a filter"}))

_MOSAIC = "mosaicml/benchmarks blogs/resnet/recipes/resnet50_{}.yaml"


def _mosaic(name: str, epochs: int, description: str, *more: Any, scale: float = 1.0, length: str = "",
            label_smoothing: float = 0.1, weight_decay: float = 5e-4, first_size: int = 88,
            delay: float = 0.4) -> Recipe:
    """One of the Mosaic ResNet recipes.

    Args:
        more: what it alone has.
        scale: scale_schedule_ratio, which shortens all that the file says.
        length: where the length is from.
        delay: the part of the epochs in which images have `first_size`.
    """
    file = _MOSAIC.format(name)
    return make_recipe(
        f"mosaic_{name}", f"Mosaic ResNet, the {name} recipe: ResNet-50, ImageNet{description}",
        cite(f"{file}{length}", epochs=epochs, warmup=8 * scale,
             differs={} if scale == 1 else {"epochs": f"{90 * scale:g} in the source"}),
        cite(f"{file} cosine_decay_with_warmup", schedule="cosine", learning_rate_scaling="none"),
        cite(f"{file} decoupled_sgdw: 2.048 for a loss that is a sum over the 1,000 classes",
             batch_size=2048, base_batch_size=2048, learning_rate=2048.0, weight_decay=0.0,
             optimizer={"module": "keras.optimizers", "class_name": "SGD", "registered_name": None,
                        "config": {"name": "SGD", "learning_rate": 2048.0, "momentum": 0.875,
                                   "nesterov": False, "weight_decay": weight_decay / 2048}},
             differs={"learning_rate": "2.048 x 1000, because the loss is a mean over the classes: for data "
                      "of other classes it is 2.048 times their number",
                      "weight_decay": f"in the optimizer: {weight_decay:g}, divided by the largest rate, "
                      "with which Keras multiplies it",
                      "optimizer": "Keras' velocity contains the rates of the past, the source's does not"}),
        cite(f"{file}: binary_cross_entropy_with_logits, label_smoothing", loss="binary",
             label_smoothing=label_smoothing,
             differs={"loss": "the classifier's biases begin with 0, the source's with -log(1000)"}),
        cite(f"{file} ema: a half-life of 100 batches, each 20 batches",
             ema_momentum=math.pow(0.5, 20 / 100), ema_steps=20, ema_rule="constant"),
        cite(f"{file} progressive_resizing: from {round(first_size / 176, 1):g} of 176 after "
             f"{100 * delay:g} %, all of it from 80 % on", first_size=first_size, size=176,
             size_epochs=(round(delay * epochs, 3), round(0.8 * epochs, 3)), size_multiple=4,
             differs={"first_size": "crops of that size; the source makes crops of 176 and leaves out rows "
                      "and columns of pixels, and changes the size amid an epoch too"}),
        *more,
        cite(f"{file} val_dataset: 224 of a shorter side of 232", test_size=224, test_crop_pct=224 / 232),
        cite(f"{file} blurpool", model={"antialias": None},
             differs={"model.antialias": "none; the source blurs before each strided convolution, here a "
                      "blur follows it and costs more"}))


def _augment(name: str, operations: str, **differs: str) -> Any:
    """The citation of what a Mosaic recipe does with an image after crop and flip."""
    what = {"mixup": ", mixup", "composer_randaugment": ", randaugment"}
    return cite(f"{_MOSAIC.format(name)} train_dataset: crop_size 176"
                + "".join(text for word, text in what.items() if word in operations),
                augmentation=f"random_resized_crop(176)|flip{operations}", differs=differs)


def _sharpen(name: str, interval: int) -> Any:
    """The citation of a Mosaic recipe's sharpness-aware minimization."""
    return cite(f"{_MOSAIC.format(name)} sam; composer/algorithms/sam/sam.py", sam_rho=0.5,
                sam_interval=interval, differs={
                    "sam_rho": "from the gradient of all devices; the source takes each device's own"})


MOSAIC_MILD = _mosaic(
    "mild", 29, ", 76.2 % after 28.8 epochs", _augment("mild", ""), scale=0.32, label_smoothing=0.08,
    length="; its README: scale_schedule_ratio 0.32 of 90 epochs")
MOSAIC_MEDIUM = _mosaic("medium", 90, "", _augment("medium", "|mixup(0.2)"), _sharpen("medium", 10))
MOSAIC_HOT = _mosaic(
    "hot", 90, "",
    _augment("hot", "|composer_randaugment(1, 10)|mixup(0.25)",
             augmentation="no row or column is left out; the source drops 5 % of each in a batch (colout)"),
    _sharpen("hot", 5),
    cite(f"{_MOSAIC.format('hot')} stochastic_depth", model={"drop_path_rate": 0.1},
         differs={"model.drop_path_rate": "what is kept is divided by its probability in training; the "
                  "source multiplies by it in inference"}),
    label_smoothing=0.13, weight_decay=3e-4, first_size=104, delay=0.2)

_AIRBENCH = "KellerJordan/cifar10-airbench legacy/airbench94.py"
CIFAR_FAST = make_recipe(
    "cifar_fast", "a short training on CIFAR: a triangle of 16 epochs with the settings of airbench94",
    cite(f"{_AIRBENCH}: 11.5 / (1 + 1 / (1 - momentum)) for a sum over 1024 images", batch_size=1024,
         base_batch_size=1024, learning_rate=1.5, momentum=0.85, optimizer="nesterov", label_smoothing=0.2,
         differs={"learning_rate": "the same for all weights; the source has 64 times as much for the biases "
                  "of normalization, and another net"}),
    cite(f"{_AIRBENCH}: torch.optim.SGD", learning_rate_in_velocity=False),
    cite(f"{_AIRBENCH}: 0.0153 x 1024 / kilostep_scale, of a sum over 1024 images",
         weight_decay=0.0153 / 11.5, decayed_weights="all"),
    cite(f"{_AIRBENCH} get_lr: from 0.2 up to 1 in 23 % of the training, down to 0.07", schedule="triangular",
         warmup=0.23 * 16, warmup_start=0.2, final_learning_rate=0.07),
    cite(f"{_AIRBENCH}: translate 2 with reflections, flip in every other epoch (arXiv:2404.00498 §3.6)",
         augmentation='pad_crop(32, 2, "reflect")|alternating_flip', size=32, test_size=32,
         test_crop_pct=1.0),
    cite(OWN, epochs=16, learning_rate_scaling="linear"))
