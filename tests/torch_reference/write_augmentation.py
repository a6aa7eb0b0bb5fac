"""How torchvision and timm crop, erase and augment: tests/golden/training/torch_augmentation.json and .npz.

Run by `tox -e torch-reference`.  Figures of distributions are of 10,000 draws of their own code, in which the
operations are recorded, not run; pixels are of single operations on one small Pillow image.
"""
import random

import numpy as np
import timm
import timm.data.auto_augment as timm_augment
import timm.data.transforms as timm_transforms
import torch
import torchvision
import torchvision.transforms.autoaugment as torch_augment
import torchvision.transforms.functional as F
from augmentation_figures import (
    DRAWS, FILL, crop_figures, make_image, operation_figures, quantiles, write_figures)
from PIL import Image
from torchvision.transforms import InterpolationMode, RandomErasing, RandomResizedCrop

SIZES = ((400, 400), (300, 500), (60, 900))


def draw_crops():
    figures = {}
    for height, width in SIZES:
        image = Image.new("RGB", (width, height))
        for name, draw in (("torchvision", RandomResizedCrop.get_params),
                           ("timm", timm_transforms.RandomResizedCropAndInterpolation.get_params)):
            boxes = [draw(image, (0.08, 1.0), (3 / 4, 4 / 3)) for _ in range(DRAWS)]
            figures[f"{name} crop {height}x{width}"] = crop_figures(boxes, height, width)
    return figures


def draw_timm(config):
    transform = timm_augment.rand_augment_transform(config, {"translate_const": 100, "img_mean": FILL})
    drawn = []
    for operation in transform.ops:
        def record(image, *arguments, name=operation.name, **_):
            drawn.append((name, float(arguments[0]) if arguments else 0.0))
            return image
        operation.aug_fn = record
    for _ in range(DRAWS):
        transform(None)
    return operation_figures(drawn)


def draw_trivialaugment():
    drawn, apply = [], torch_augment._apply_op
    torch_augment._apply_op = lambda image, name, magnitude, **_: drawn.append(
        (name, float(int(magnitude)) if "Translate" in name else magnitude))
    transform, image = torch_augment.TrivialAugmentWide(), Image.new("RGB", (8, 8))
    for _ in range(DRAWS):
        transform(image)
    torch_augment._apply_op = apply
    return operation_figures(drawn)


def draw_erasing():
    image = torch.zeros(3, 64, 48)
    boxes = np.array([RandomErasing.get_params(image, (0.02, 0.33), (0.3, 3.3), [0.0])[:4]
                      for _ in range(DRAWS)])
    return {"area": quantiles(boxes[:, 2] * boxes[:, 3] / (64 * 48)),
            "log_ratio": quantiles(np.log(boxes[:, 2] / boxes[:, 3])),
            "top": quantiles(boxes[:, 0] / (64 - boxes[:, 2])),
            "left": quantiles(boxes[:, 1] / (48 - boxes[:, 3]))}


def make_pixels():
    image, pixels = Image.fromarray(make_image()), {}
    moves = {"ShearX": (-0.3, 0.123), "ShearY": (0.21,), "TranslateXRel": (0.45, -0.2),
             "TranslateYRel": (0.31,), "Rotate": (-21.0, 4.5)}
    factors = ((0.1,), (0.37,), (1.63,), (1.9,))
    values = {"AutoContrast": ((),), "Equalize": ((),), "Invert": ((),), "Posterize": ((1,), (2,), (4,)),
              "Solarize": ((0,), (77,), (256,)), "SolarizeAdd": ((33,), (110,)),
              **dict.fromkeys(("Color", "Contrast", "Brightness", "Sharpness"), factors)}
    for name, arguments in values.items():
        for argument in arguments:
            result = timm_augment.NAME_TO_OP[name](image, *argument)
            pixels[f"timm {name} {argument[0] if argument else 0}"] = result
    for name, arguments in moves.items():
        for argument in arguments:
            pixels[f"timm {name} {argument}"] = timm_augment.NAME_TO_OP[name](
                image, argument, fillcolor=FILL, resample=Image.Resampling.BICUBIC)
    for name, arguments in {"ShearX": (-0.99, 0.33), "ShearY": (0.66,), "TranslateX": (-7.4, 13.0),
                            "TranslateY": (9.0,), "Rotate": (-135.0, 49.5), "Color": (-0.99, 0.33),
                            "Posterize": (2,), "Solarize": (144.5,), "Sharpness": (0.99,)}.items():
        for argument in arguments:
            pixels[f"torchvision {name} {argument}"] = torch_augment._apply_op(
                image, name, argument, InterpolationMode.BILINEAR, None)
    for word in ("bilinear", "bicubic"):
        pixels[f"torchvision crop {word}"] = F.resized_crop(
            image, 2, 3, 21, 19, [12, 12], InterpolationMode(word), antialias=True)
    for argument in (-0.1, 0.1, 0.4):
        pixels[f"torchvision Hue {argument}"] = F.adjust_hue(image, argument)
    return pixels


def main():
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    figures = {
        "versions": {package.__name__: package.__version__ for package in (torch, torchvision, timm)},
        **draw_crops(), "timm rand-m7-mstd0.5-inc1": draw_timm("rand-m7-mstd0.5-inc1"),
        "timm rand-m9-n3-mstd2-p0.8": draw_timm("rand-m9-n3-mstd2-p0.8"),
        "torchvision TrivialAugmentWide": draw_trivialaugment(), "torchvision RandomErasing": draw_erasing()}
    write_figures("torch_augmentation", figures, make_pixels())


if __name__ == "__main__":
    main()
