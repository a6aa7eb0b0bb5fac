"""Images to compare on where nobody gave any."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .calibration import Samples
from .report import Run

if TYPE_CHECKING:
    from ..images.preprocessing import Preprocessing

COUNT = 8
LARGEST = 30.0      # of the logits: the probability of e^-60 is a float32 yet


def random_images(shape: tuple[int, int, int], prepare: Preprocessing | None, scales: bool = False) -> Samples:
    """Of a generator whose numbers NumPy never changes: a normal distribution, or pixels where the preprocessing is known.

    Arguments:
        scales: whether the net scales pixels itself.
    """
    random = np.random.RandomState(0)
    if prepare is None and not scales:
        return Samples(random.standard_normal((COUNT, *shape)).astype("float32"))
    pixels = random.randint(0, 256, (COUNT, *shape)).astype("float32")
    return Samples(np.asarray(prepare.normalize(pixels), "float32") if prepare else pixels)


def undecided(images: Samples, logits: Run) -> Samples:
    """The images with so little contrast that no class has all of the softmax, which agrees with anything otherwise.

    The logits of an untrained net are thousands; they fall with its input, whose biases are zero.
    """
    for _ in range(8):
        largest = float(np.abs(logits(images.images)).max())
        if not LARGEST < largest < np.inf:
            break
        images = Samples(images.images * np.float32(LARGEST / 2 / largest))
    return images
