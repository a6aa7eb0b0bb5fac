"""Nets of other families that papers compare with: points of a chart, each with the source of its figures."""
from __future__ import annotations

from dataclasses import dataclass

TORCHVISION = "torchvision 0.29, metadata of {}"


@dataclass(frozen=True)
class PublishedNet:
    """A net's cost for one image, and its published single-crop accuracy on ImageNet-1k's validation images.
    """

    name: str
    year: int
    size: int           # pixels
    params: int
    macs: float
    top1: float         # percent
    source: str


PUBLISHED_NETS = (
    PublishedNet("AlexNet", 2012, 224, 61_100_840, 0.714e9, 56.522,
                 TORCHVISION.format("AlexNet_Weights.IMAGENET1K_V1")),
    PublishedNet("VGG-16", 2014, 224, 138_357_544, 15.470e9, 71.592,
                 TORCHVISION.format("VGG16_Weights.IMAGENET1K_V1")),
    PublishedNet("VGG-19", 2014, 224, 143_667_240, 19.632e9, 72.376,
                 TORCHVISION.format("VGG19_Weights.IMAGENET1K_V1")),
    PublishedNet("GoogLeNet", 2014, 224, 6_624_904, 1.498e9, 69.778,
                 TORCHVISION.format("GoogLeNet_Weights.IMAGENET1K_V1")),
    PublishedNet("Inception-v3", 2015, 299, 27_161_264, 5.713e9, 77.294,
                 TORCHVISION.format("Inception_V3_Weights.IMAGENET1K_V1")),
    PublishedNet("Inception-v4", 2016, 299, 42_679_816, 12.254e9, 80.0,
                 "error in arXiv:1611.05431, Table 5; parameters and MACs of our inception_v4"),
)
