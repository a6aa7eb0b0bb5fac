"""Nets of other families that papers compare with: points of a chart, each with the source of its figures."""
from __future__ import annotations

from dataclasses import dataclass

TORCHVISION = "torchvision 0.29, metadata of {}"
EFFICIENTNET = "arXiv:1905.11946v5, Table 2"
AMOEBANET = "arXiv:1802.01548, Table 2"


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
    PublishedNet("NiN", 2013, 224, 7_595_176, 1.100e9, 59.36,
                 "its authors' nin_imagenet.caffemodel; parameters and MACs counted from its layers"),
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
    PublishedNet("NASNet-A (mobile)", 2017, 224, 5_300_000, 0.564e9, 74.0, "arXiv:1707.07012, Table 3"),
    PublishedNet("NASNet-A (large)", 2017, 331, 88_900_000, 23.8e9, 82.7, "arXiv:1707.07012, Table 2"),
    PublishedNet("AmoebaNet-A (F=190)", 2018, 331, 86_700_000, 23.1e9, 82.8, AMOEBANET),
    PublishedNet("AmoebaNet-A (F=448)", 2018, 331, 469_000_000, 104e9, 83.9, AMOEBANET),
    PublishedNet("EfficientNet-B0", 2019, 224, 5_300_000, 0.39e9, 77.1, EFFICIENTNET),
    PublishedNet("EfficientNet-B1", 2019, 240, 7_800_000, 0.70e9, 79.1, EFFICIENTNET),
    PublishedNet("EfficientNet-B2", 2019, 260, 9_200_000, 1.0e9, 80.1, EFFICIENTNET),
    PublishedNet("EfficientNet-B3", 2019, 300, 12_000_000, 1.8e9, 81.6, EFFICIENTNET),
    PublishedNet("EfficientNet-B4", 2019, 380, 19_000_000, 4.2e9, 82.9, EFFICIENTNET),
    PublishedNet("EfficientNet-B5", 2019, 456, 30_000_000, 9.9e9, 83.6, EFFICIENTNET),
    PublishedNet("EfficientNet-B6", 2019, 528, 43_000_000, 19e9, 84.0, EFFICIENTNET),
    PublishedNet("EfficientNet-B7", 2019, 600, 66_000_000, 37e9, 84.3, EFFICIENTNET),
)
