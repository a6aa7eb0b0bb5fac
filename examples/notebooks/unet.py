# %% [markdown]
# # A U-Net with a pretrained encoder
#
# `reskeras.features` gives the maps of any net, with their strides and channels. A decoder joins them, from
# the coarsest to the finest, into a class for each pixel (Ronneberger et al. 2015, arXiv:1505.04597). The
# images are made here: circles and squares on noise.

# %% tags=["skip-execution"]
# %pip install -q reskeras

# %%
import os

import keras
import numpy as np
from keras import layers

import reskeras

TINY = "RESKERAS_TINY" in os.environ        # the tests: random weights, a few steps
SIZE, CLASSES = (64, 3) if TINY else (128, 3)

# %% [markdown]
# ## Images and masks
# Class 1 is a circle, class 2 a square, class 0 everything else.


# %%
def make_images(count, seed):
    rng = np.random.default_rng(seed)
    images = rng.normal(0, 0.5, (count, SIZE, SIZE, 3)).astype("float32")
    masks = np.zeros((count, SIZE, SIZE), int)
    y, x = np.mgrid[:SIZE, :SIZE]
    for image, mask in zip(images, masks):
        for shape in (1, 2):
            row, column = rng.integers(SIZE // 4, 3 * SIZE // 4, 2)
            norm = np.hypot if shape == 1 else np.maximum
            distance, radius = norm(abs(y - row), abs(x - column)), rng.integers(SIZE // 12, SIZE // 6)
            mask[distance < radius] = shape
            image[distance < radius] += rng.normal(1, 0.3, 3)
    return images, masks


train, test = make_images(8 if TINY else 400, 0), make_images(8 if TINY else 100, 1)

# %% [markdown]
# ## The net
# The encoder has ImageNet weights. It is frozen first, so that only the decoder learns.

# %%
encoder = reskeras.features("resnet18", levels=(2, 3, 4, 5), weights=None if TINY else "imagenet",
                            input_shape=(SIZE, SIZE, 3))
encoder.trainable = False
inputs = keras.Input((SIZE, SIZE, 3))
*skips, x = encoder(inputs)
for skip in reversed(skips):
    x = layers.Concatenate()([layers.UpSampling2D()(x), skip])
    for _ in range(2):
        x = layers.Conv2D(skip.shape[-1], 3, padding="same", use_bias=False)(x)
        x = layers.Activation("relu")(layers.BatchNormalization()(x))
x = layers.UpSampling2D(encoder.strides[0], interpolation="bilinear")(x)
unet = keras.Model(inputs, layers.Conv2D(CLASSES, 1, activation="softmax", name="classes")(x), name="unet")
unet.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])

# %% [markdown]
# ## Train

# %%
unet.fit(*train, batch_size=8, epochs=1 if TINY else 10, validation_data=test, verbose=2)

# %% [markdown]
# ## How much of a shape is found
# Intersection over union for each class.

# %%
found, truth = unet.predict(test[0], verbose=0).argmax(-1), test[1]
for label, name in enumerate(("background", "circle", "square")):
    union = ((found == label) | (truth == label)).sum()
    print(f"{name}: {((found == label) & (truth == label)).sum() / max(union, 1):.2f}")
