"""How ResNet-RS trains on ImageNet.  Imports no framework.

Its scaling table says which image size and regularization belongs to which depth.
"""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from .recipe import Recipe
from .recipe_sources import cite, make_recipe


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
        return f"tpu_crop({self.size})|flip|tpu_randaugment(2, {self.magnitude})"


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
_PREPROCESSING = "tensorflow/tpu resnet_preprocessing.py, efficientnet/autoaugment.py"

RESNET_RS = make_recipe(
    "resnet_rs", "Revisiting ResNets, ImageNet; RESNET_RS/152@256 ... are the models of its scaling table",
    cite(f"arXiv:2103.07579 §4, {CONFIGS}", batch_size=4096, epochs=350, schedule="cosine", momentum=0.9,
         learning_rate=0.1, base_batch_size=256, learning_rate_scaling="linear", label_smoothing=0.1,
         ema_momentum=0.9999, model={"bn_momentum": 0.0},
         differs={"schedule": "as the paper; the released code has steps at 30, 60 and 80 of 90 epochs"}),
    cite("tensorflow/tpu resnet_main.py 500-503: MomentumOptimizer(use_nesterov=True)", optimizer="nesterov",
         learning_rate_in_velocity=False),
    cite("tensorflow/tpu resnet_main.py 481-484: ExponentialMovingAverage(num_updates=), moving_mean and "
         "moving_variance too", ema_rule="tensorflow", ema_steps=1),
    cite("arXiv:2103.07579 §4.2 and Table 2: less, if there are other regularizers", weight_decay=4e-5),
    cite("arXiv:2103.07579 appendix; tensorflow/tpu resnet_main.py 268-280", warmup=5,
         differs={"warmup": "the first update has 1/m of the rate, the source's has 0"}),
    cite("tensorflow/tpu resnet_main.py 470-478: all but batch_normalization",
         decayed_weights="all_but_normalization"),
    cite(f"{_PREPROCESSING}; {CONFIGS}: 50@160", augmentation=RESNET_RS_SCALING["50@160"].augmentation),
    cite(f"arXiv:2103.07579 Table 7, {CONFIGS}: 50@160", size=160,
         model={"dropout_rate": 0.25, "drop_path_rate": 0.0}),
    cite("tensorflow/tpu resnet_rs: the training size, padded by 32 pixels before the crop", test_size=160,
         test_crop_pct=160 / 192),
    cite("tensorflow/tpu resnet_model.py", model={"zero_init_residual": True}))


def scale_resnet_rs(config: str) -> Recipe:
    """The recipe of one model of the scaling table, such as "152@256"."""
    scale, base = RESNET_RS_SCALING[config], RESNET_RS
    training = dataclasses.replace(base.training, size=scale.size, test_size=scale.size,
                                   augmentation=scale.augmentation,
                                   test_crop_pct=scale.size / (scale.size + 32))
    source = f"arXiv:2103.07579 Table 7, {CONFIGS}: {config}"
    sources = dict.fromkeys(("size", "model.dropout_rate", "model.drop_path_rate"), source)
    sources["augmentation"] = f"{_PREPROCESSING}; {CONFIGS}: {config}"
    return Recipe(f"{base.name}/{config}", f"ResNet-RS-{scale.depth} at {scale.size} pixels, ImageNet",
                  training,
                  {**base.model, "dropout_rate": scale.dropout_rate, "drop_path_rate": scale.drop_path_rate},
                  {**base.sources, **sources}, base.differs_from_source)
