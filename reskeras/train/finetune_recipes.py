"""Recipes that train a pretrained net on.  Imports no framework."""
from __future__ import annotations

from .recipe import OWN
from .recipe_sources import cite, make_recipe

FINETUNE = make_recipe(
    "finetune", "a pretrained net on other classes: the classifier first, then all layers with frozen "
    "statistics; needs nothing but Keras",
    cite("keras.io/guides/transfer_learning: the procedure", optimizer="adam", freeze_statistics=True,
         learning_rate_scaling="none"),
    cite("keras.io/guides/transfer_learning: Adam's default for the new classifier",
         head_learning_rate=1e-3),
    cite(OWN, head_epochs=3, epochs=10, batch_size=32, base_batch_size=32, learning_rate=1e-4,
         schedule="cosine", size=224, augmentation="inception_crop(224, 0.35)|flip"))
