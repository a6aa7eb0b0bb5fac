"""A net as a backbone: a feature pyramid for detection (arXiv:1612.03144), a dilated head for segmentation (arXiv:1706.05587).

    python examples/detection_backbone.py --net resnet50d --size 256

`reskeras.features` gives the maps of any net of the family with their strides and channels; `output_stride=16` makes the last
stage dilated instead of strided, with the same weights.
"""
from __future__ import annotations

import argparse

import keras
import numpy as np
from keras import layers

import reskeras


def pyramid(backbone: keras.Model, channels: int = 256) -> keras.Model:
    """Maps of the same number of channels at the strides of the backbone's, each with what is above it (FPN)."""
    tops = [layers.Conv2D(channels, 1, name=f"lateral{i}")(x) for i, x in enumerate(backbone.outputs)]
    for i in reversed(range(len(tops) - 1)):
        step = backbone.strides[i + 1] // backbone.strides[i]
        tops[i] = layers.Add(name=f"merge{i}")([tops[i], layers.UpSampling2D(step, name=f"up{i}")(tops[i + 1])])
    found = [layers.Conv2D(channels, 3, padding="same", name=f"pyramid{i}")(x) for i, x in enumerate(tops)]
    return keras.Model(backbone.inputs[0], found, name=f"{backbone.name}_fpn")


def segmenter(backbone: keras.Model, classes: int, rates: tuple[int, ...] = (6, 12, 18)) -> keras.Model:
    """Scores for each pixel: the last map through convolutions of several dilations (ASPP), resized to the image."""
    (x,), stride = backbone.outputs, backbone.strides[-1]
    paths = [layers.Conv2D(64, 3 if r > 1 else 1, padding="same", dilation_rate=r, activation="relu", name=f"aspp{r}")(x)
             for r in (1, *rates)]
    x = layers.Conv2D(classes, 1, name="scores")(layers.Concatenate(name="aspp")(paths))
    return keras.Model(backbone.inputs[0], layers.UpSampling2D(stride, interpolation="bilinear", name="resize")(x))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--net", default="resnet50d")
    arguments.add_argument("--size", type=int, default=256)
    arguments.add_argument("--weights", help="a tag or a file; random if not given")
    given = arguments.parse_args()
    options = {"weights": given.weights, "input_shape": (given.size, given.size, 3)}
    images = np.random.default_rng(0).normal(size=(2, given.size, given.size, 3)).astype("float32")

    detector = pyramid(reskeras.features(given.net, levels=(3, 4, 5), **options))
    for level in detector(images):
        print(f"pyramid {tuple(level.shape)}")

    # a training step of a head on a frozen backbone, as any Keras model's
    model = segmenter(reskeras.features(given.net, levels=5, output_stride=16, **options), classes=21)
    for layer in model.layers:
        layer.trainable = layer.name.startswith(("aspp", "scores"))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    truth = np.random.default_rng(0).integers(0, 21, images.shape[:3])
    model.fit(images, truth, verbose=0)
    print(f"segmentation {model.output_shape[1:]} from a map of stride 16")


if __name__ == "__main__":
    main()
