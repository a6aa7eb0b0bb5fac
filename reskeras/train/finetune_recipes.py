"""Recipes that train a pretrained net on.  Imports no framework."""
from __future__ import annotations

from .recipe import OWN, Recipe
from .recipe_sources import cite, make_recipe

FINETUNE = make_recipe(
    "finetune", "a pretrained net on other classes: the classifier first, then all layers with frozen "
    "statistics; needs nothing but Keras",
    cite("keras.io/guides/transfer_learning: the procedure", optimizer="adam", epsilon=0.0,
         freeze_statistics=True, learning_rate_scaling="none"),
    cite("keras.io/guides/transfer_learning: Adam's default for the new classifier",
         head_learning_rate=1e-3),
    cite(OWN, head_epochs=3, epochs=10, batch_size=32, base_batch_size=32, learning_rate=1e-4,
         schedule="cosine", size=224, augmentation="inception_crop(224, 0.35)|flip"))

INT8 = make_recipe(
    "int8", "a trained net on for int8: with quantize=\"int8\", and best with itself as the teacher",
    cite("arXiv:2106.05237: the teacher's probabilities and no labels, on the images that the student sees",
         distillation="consistent"),
    cite(OWN, epochs=2, batch_size=64, base_batch_size=64, learning_rate_scaling="none", optimizer="adam",
         learning_rate=1e-5, schedule="cosine", weight_decay=0.0, freeze_statistics=True, size=224,
         augmentation="inception_crop(224, 0.35)|flip"),
    starts_from_weights=True)


def _bit(size_of_data: str, warmup: int, milestones: tuple[float, ...], steps: int, mixup: str) -> Recipe:
    """The rule of "Big Transfer" for data of some size."""
    code = "google-research/big_transfer bit_hyperrule.py"
    return make_recipe(
        f"bit_{size_of_data}", f"BiT-HyperRule, a pretrained net on {size_of_data} data",
        cite(f"arXiv:1912.11370 §3.3; {code} get_schedule, get_lr", steps=steps, milestones=milestones,
             warmup=warmup, learning_rate=0.003, schedule="step", decay_factor=0.1,
             differs={"warmup": "the first update has 1/m of the rate, the source's has 0"}),
        cite("google-research/big_transfer bit_common.py: batch 512, whatever the rate", batch_size=512,
             base_batch_size=512, learning_rate_scaling="none"),
        cite("google-research/big_transfer bit_pytorch/train.py: SGD without weight decay", optimizer="sgd",
             momentum=0.9, weight_decay=0.0, learning_rate_in_velocity=False),
        cite(f"arXiv:1912.11370 §3.3; {code} get_resolution, get_mixup; bit_pytorch/train.py", size=480,
             augmentation=f"resize(512)|crop(480)|flip{mixup}",
             differs={"size": "that of images of more than 96 x 96 pixels; for smaller ones the source has "
                      "resize(160)|crop(128)"}),
        cite(f"{code} get_resolution; bit_pytorch/train.py: Resize((480, 480))", test_size=480,
             test_crop_pct=1.0,
             differs={"test_crop_pct": "the center square; the source squeezes the whole image into it"}),
        starts_from_weights=True)


# by the number of training images: below 20,000, below 500,000, and from there on
BIT_SMALL = _bit("small", 100, (200, 300, 400), 500, "")
BIT_MEDIUM = _bit("medium", 500, (3000, 6000, 9000), 10_000, "|mixup(0.1)")
BIT_LARGE = _bit("large", 500, (6000, 12_000, 18_000), 20_000, "|mixup(0.1)")
