"""A net as a backbone, of two heads: a feature pyramid for detection (arXiv:1612.03144) and a dilated head
for segmentation (arXiv:1706.05587).

    python examples/detection_backbone.py --model resnet50d --size 256

`reskeras.features` gives the feature maps of any net with their strides and channels.  With
`output_stride=16` the last stage is dilated instead of strided, with the same weights.
"""
from __future__ import annotations

import argparse

import keras
import numpy as np
from keras import layers

import reskeras


def pyramid(backbone: keras.Model, channels: int = 256) -> keras.Model:
    """A feature pyramid network (FPN): for each map of the backbone one with `channels` channels, to which
    the coarser maps are added.
    """
    tops = [layers.Conv2D(channels, 1, name=f"lateral{i}")(x) for i, x in enumerate(backbone.outputs)]
    for i in reversed(range(len(tops) - 1)):
        step = backbone.strides[i + 1] // backbone.strides[i]
        tops[i] = layers.Add(name=f"merge{i}")(
            [tops[i], layers.UpSampling2D(step, name=f"up{i}")(tops[i + 1])])
    maps = [layers.Conv2D(channels, 3, padding="same", name=f"pyramid{i}")(x) for i, x in enumerate(tops)]
    return keras.Model(backbone.inputs[0], maps, name=f"{backbone.name}_fpn")


def segmenter(backbone: keras.Model, classes: int, rates: tuple[int, ...] = (6, 12, 18)) -> keras.Model:
    """Scores for each pixel: the last map through convolutions of several dilations (ASPP), then resized to
    the size of the image.
    """
    (x,), stride = backbone.outputs, backbone.strides[-1]
    paths = [layers.Conv2D(64, 3 if rate > 1 else 1, padding="same", dilation_rate=rate, activation="relu",
                           name=f"aspp{rate}")(x)
             for rate in (1, *rates)]
    x = layers.Conv2D(classes, 1, name="scores")(layers.Concatenate(name="aspp")(paths))
    return keras.Model(
        backbone.inputs[0], layers.UpSampling2D(stride, interpolation="bilinear", name="resize")(x))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet50d")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--weights", help="a tag or a file; random without it")
    options = parser.parse_args()
    backbone = {"weights": options.weights, "input_shape": (options.size, options.size, 3)}
    images = np.random.default_rng(0).normal(size=(2, options.size, options.size, 3)).astype("float32")

    detector = pyramid(reskeras.features(options.model, levels=(3, 4, 5), **backbone))
    for level in detector(images):
        print(f"pyramid {tuple(level.shape)}")

    # one epoch of training: the head learns, the backbone is frozen
    model = segmenter(reskeras.features(options.model, levels=5, output_stride=16, **backbone), classes=21)
    for layer in model.layers:
        layer.trainable = layer.name.startswith(("aspp", "scores"))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    truth = np.random.default_rng(0).integers(0, 21, images.shape[:3])
    model.fit(images, truth, verbose=0)
    print(f"segmentation {model.output_shape[1:]} from a map of stride 16")


if __name__ == "__main__":
    main()
