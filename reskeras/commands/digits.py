"""scikit-learn's handwritten digits, and how the demo's net learns them."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..inputs_outputs import get_preprocessing

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

SIZE, CLASSES = 16, 10
WEIGHTS = "cifar_resnet20.digits"                   # whose preprocessing is the data's
BATCH, RATE, DECAY = 64, 0.1, 5e-4
TURN, SHIFT, SCALE = 0.26, 0.1, 0.1                 # augmentation: radians, share of the width, relative; either way


@dataclass(frozen=True)
class Digits:
    """Images in their own 8x8 bytes, as the net takes them (SIZE x SIZE, 0..1), and their labels."""
    pixels: np.ndarray
    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


def load_digits() -> tuple[Digits, Digits, Digits]:
    """scikit-learn's 1,797 digits (UCI's test set of Optical Recognition of Handwritten Digits) for training, validation, test.

    The split is a rule, not a draw: of every ten images of a class, in the order of the file, the first and the sixth are
    for the test and the eighth for validation.
    """
    from sklearn.datasets import load_digits
    bunch = load_digits()
    pixels = np.round(bunch.images * (255 / 16)).astype("uint8")[..., None]
    images = get_preprocessing(WEIGHTS)(pixels)
    rank = np.zeros(len(pixels), int)
    for c in range(CLASSES):
        rank[bunch.target == c] = np.arange((bunch.target == c).sum()) % 10
    parts = (~np.isin(rank, (0, 5, 7)), rank == 7, np.isin(rank, (0, 5)))
    train, validation, test = (Digits(pixels[part], images[part], bunch.target[part]) for part in parts)
    return train, validation, test


def train_digits(model: keras.Model, train: Digits, validation: Digits, epochs: int, seed: int, verbose: int) -> dict[str, list[float]]:
    """SGD with Nesterov momentum, a tenth of the steps of warmup, a cosine to zero; the loss and accuracy of each epoch."""
    import keras
    import tensorflow as tf
    data = (tf.data.Dataset.from_tensor_slices((train.images, train.labels)).shuffle(len(train), seed=seed)
            .batch(BATCH, drop_remainder=True).map(lambda images, labels: (augment_digits(images), labels)).prefetch(2))
    steps = epochs * len(data)
    rate = keras.optimizers.schedules.CosineDecay(RATE / 20, steps - steps // 10, warmup_target=RATE, warmup_steps=steps // 10)
    # XLA would take longer to compile than the training takes
    model.compile(keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=DECAY),
                  "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    return model.fit(data, epochs=epochs, validation_data=(validation.images, validation.labels), verbose=verbose,
                     shuffle=False).history     # the data shuffles itself


def augment_digits(images: tf.Tensor) -> tf.Tensor:
    """Each image turned, shifted and scaled at random, by one bilinear resampling; what comes in at the edge is black."""
    import tensorflow as tf
    n, centre = tf.shape(images)[0], (SIZE - 1) / 2

    def between(most: float) -> tf.Tensor:
        return tf.random.uniform([n], -most, most)
    turn, right, down = between(TURN), between(SHIFT * SIZE), between(SHIFT * SIZE)
    a = tf.stack([tf.cos(turn), -tf.sin(turn), tf.sin(turn), tf.cos(turn)], 1)
    a *= tf.stack([1 + between(SCALE), 1 + between(SCALE)] * 2, 1)
    # rows of the map from the new image's pixels to the old one's, about the centre: [a0 a1 t0 a2 a3 t1 0 0]
    x = centre - centre * (a[:, 0] + a[:, 1]) + right
    y = centre - centre * (a[:, 2] + a[:, 3]) + down
    maps = tf.stack([a[:, 0], a[:, 1], x, a[:, 2], a[:, 3], y, tf.zeros([n]), tf.zeros([n])], 1)
    return tf.raw_ops.ImageProjectiveTransformV3(images=images, transforms=maps, output_shape=[SIZE, SIZE], fill_value=0.0,
                                                 interpolation="BILINEAR", fill_mode="CONSTANT")
