"""Images to compare a file with Keras on, if none were given."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..quantization.calibration import ImageSet
from .measurements import ArrayFunction

if TYPE_CHECKING:
    from ..images.preprocessing import Preprocessing

COUNT = 8
MAX_LOGIT = 30.0    # the probability of e^-60 is still a float32


def make_random_images(shape: tuple[int, int, int], preprocessing: Preprocessing | None,
                       includes_preprocessing: bool = False) -> ImageSet:
    """Makes random pixels, prepared for the model; normally distributed if the preprocessing is not known.

    They are the same in every version of NumPy.

    Args:
        shape: (height, width, channels).
        preprocessing: the model's preprocessing, if it is known.
        includes_preprocessing: whether the model scales pixels itself.
    """
    random = np.random.RandomState(0)
    if preprocessing is None and not includes_preprocessing:
        return ImageSet(random.standard_normal((COUNT, *shape)).astype("float32"))
    pixels = random.randint(0, 256, (COUNT, *shape)).astype("float32")
    return ImageSet(np.asarray(preprocessing.normalize(pixels), "float32") if preprocessing else pixels)


def reduce_contrast(images: ImageSet, logits: ArrayFunction) -> ImageSet:
    """Scales images down until no class gets all of the softmax, as a saturated softmax agrees with anything.

    The logits of an untrained net may be thousands; they fall with the images, because its biases are zero.

    Args:
        images: to scale.
        logits: the model without its softmax.
    """
    for _ in range(8):
        largest = float(np.abs(logits(images.images)).max())
        if not MAX_LOGIT < largest < np.inf:
            break
        images = ImageSet(images.images * np.float32(MAX_LOGIT / 2 / largest))
    return images
