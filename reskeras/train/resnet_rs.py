"""The scaling table of ResNet-RS: which image size and regularization belongs to which depth."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """A model of ResNet-RS.

    Attributes:
        depth: layers.
        size: height and width of the images, in pixels.
        magnitude: the magnitude of the two operations of RandAugment.
    """

    depth: int
    size: int
    dropout_rate: float
    drop_path_rate: float
    magnitude: int

    @property
    def augmentation(self) -> str:
        """The augmentation string of its training."""
        return f"inception_crop({self.size})|flip|randaugment(2, {self.magnitude})"


# arXiv:2103.07579 Tables 7, 8 and the released tensorflow/tpu resnet_rs/configs/*.yaml
RESNET_RS_SCALING = {f"{s.depth}@{s.size}": s for s in (
    Scale(50, 160, 0.25, 0.0, 10),
    Scale(101, 160, 0.25, 0.0, 10),
    Scale(101, 192, 0.25, 0.0, 15),
    Scale(152, 192, 0.25, 0.0, 15),
    Scale(152, 224, 0.25, 0.0, 15),
    Scale(152, 256, 0.25, 0.0, 15),
    Scale(200, 256, 0.25, 0.1, 15),
    Scale(270, 256, 0.25, 0.1, 15),
    Scale(350, 256, 0.25, 0.1, 15),
    Scale(350, 320, 0.4, 0.1, 15),
    Scale(420, 320, 0.4, 0.1, 15))}
CONFIGS = "tensorflow/tpu resnet_rs/configs/*.yaml"
