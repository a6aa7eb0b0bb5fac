"""scikit-learn's handwritten digits, and how the demo's net learns them."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

SIZE, CLASSES = 16, 10                              # pixels on a side of an image as the net takes it
WEIGHTS = "cifar_resnet20.digits"                   # the checkpoint whose preprocessing the images get
BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY = 64, 0.1, 5e-4
# augmentation: radians, share of the width, relative; in both directions
TURN, SHIFT, SCALE = 0.26, 0.1, 0.1


@dataclass(frozen=True)
class Digits:
    """Labelled images."""

    pixels: np.ndarray      # (N, 8, 8, 1) of uint8, as scikit-learn has them
    images: np.ndarray      # (N, SIZE, SIZE, 1) in 0 .. 1, as the net takes them
    labels: np.ndarray      # (N,)

    def __len__(self) -> int:
        return len(self.labels)


def load_digits() -> tuple[Digits, Digits, Digits]:
    """scikit-learn's 1,797 digits (UCI's test set of Optical Recognition of Handwritten Digits).

    The split is a rule, not a draw: of every ten images of a class, in the order of the file, the first and
    the sixth are for the test and the eighth for the validation.

    Returns:
        The images for training, validation and test.
    """
    from sklearn import datasets

    from ..inputs_outputs import get_preprocessing
    bunch = datasets.load_digits()
    pixels = np.round(bunch.images * (255 / 16)).astype("uint8")[..., None]
    images = get_preprocessing(WEIGHTS)(pixels)
    rank = np.zeros(len(pixels), int)       # of an image among those of its class, modulo 10
    for label in range(CLASSES):
        rank[bunch.target == label] = np.arange((bunch.target == label).sum()) % 10
    parts = (~np.isin(rank, (0, 5, 7)), rank == 7, np.isin(rank, (0, 5)))
    train, validation, test = (Digits(pixels[part], images[part], bunch.target[part]) for part in parts)
    return train, validation, test


def train_digits(model: keras.Model, train: Digits, validation: Digits, epochs: int, seed: int,
                 verbose: int) -> dict[str, list[float]]:
    """Trains with SGD and Nesterov momentum; the learning rate warms up for a tenth of the steps, and falls
    as a cosine.

    Args:
        model: is compiled and trained.
        train: the images to train on.
        validation: the images to validate on after each epoch.
        epochs: how many.
        seed: the random seed of the order of the images.
        verbose: as in Keras' `fit`.

    Returns:
        The loss and the accuracy of each epoch, as Keras' History has them.
    """
    import keras
    import tensorflow as tf
    data = tf.data.Dataset.from_tensor_slices((train.images, train.labels)).shuffle(len(train), seed=seed)
    data = data.batch(BATCH_SIZE, drop_remainder=True)
    data = data.map(lambda images, labels: (augment_digits(images), labels)).prefetch(2)

    steps = epochs * len(data)
    warmup_steps = steps // 10
    learning_rate = keras.optimizers.schedules.CosineDecay(
        LEARNING_RATE / 20, steps - warmup_steps, warmup_target=LEARNING_RATE, warmup_steps=warmup_steps)
    optimizer = keras.optimizers.SGD(learning_rate, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY)
    # XLA would take longer to compile than the training takes
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    history: dict[str, list[float]] = model.fit(
        data, epochs=epochs, validation_data=(validation.images, validation.labels), verbose=verbose,
        shuffle=False).history      # the data set shuffles itself
    return history


def augment_digits(images: tf.Tensor) -> tf.Tensor:
    """Turns, shifts and scales each image at random, by one bilinear resampling; what comes in at the edge is
    black.

    Args:
        images: (N, SIZE, SIZE, 1).
    """
    import tensorflow as tf
    number, center = tf.shape(images)[0], (SIZE - 1) / 2

    def draw(limit: float) -> tf.Tensor:
        return tf.random.uniform([number], -limit, limit)
    turn, right, down = draw(TURN), draw(SHIFT * SIZE), draw(SHIFT * SIZE)
    a = tf.stack([tf.cos(turn), -tf.sin(turn), tf.sin(turn), tf.cos(turn)], 1)
    a *= tf.stack([1 + draw(SCALE), 1 + draw(SCALE)] * 2, 1)
    # rows of the map from the new image's pixels to the old one's, about the center: [a0 a1 t0 a2 a3 t1 0 0]
    x = center - center * (a[:, 0] + a[:, 1]) + right
    y = center - center * (a[:, 2] + a[:, 3]) + down
    maps = tf.stack([a[:, 0], a[:, 1], x, a[:, 2], a[:, 3], y, tf.zeros([number]), tf.zeros([number])], 1)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images, transforms=maps, output_shape=[SIZE, SIZE], fill_value=0.0, interpolation="BILINEAR",
        fill_mode="CONSTANT")
