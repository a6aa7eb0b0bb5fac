"""Writes tests/golden/keras2: a checkpoint of Keras 2's ModelCheckpoint, and the same weights as arrays.

`tox -e keras2-reference` runs it.  The net has the layers of reskeras' resnet18 with two stages of one block,
of 4 and 8 channels; in the second checkpoint they have the names that Keras gives.
"""
import os
import pathlib

os.environ["TF_USE_LEGACY_KERAS"] = "1"
import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

FOLDER = pathlib.Path(__file__).parents[1] / "golden" / "keras2"


def build(is_named):
    def conv(x, name, filters, size, strides=1):
        names = {"name": f"{name}_conv"} if is_named else {}
        x = layers.Conv2D(filters, size, strides, "same", use_bias=False, **names)(x)
        return layers.BatchNormalization(**({"name": f"{name}_bn"} if is_named else {}))(x)

    image = layers.Input((32, 32, 3))
    x = layers.MaxPooling2D()(layers.ReLU()(conv(image, "conv1", 4, 7, 2)))
    y = layers.ReLU()(conv(x, "conv2_block1_1", 4, 3))
    x = layers.ReLU()(layers.Add()([x, conv(y, "conv2_block1_2", 4, 3)]))
    shortcut = conv(x, "conv3_block1_0", 8, 1, 2)
    y = layers.ReLU()(conv(x, "conv3_block1_1", 8, 3, 2))
    x = layers.ReLU()(layers.Add()([shortcut, conv(y, "conv3_block1_2", 8, 3)]))
    x = layers.GlobalAveragePooling2D()(x)
    return tf_keras.Model(image, layers.Dense(5, name="predictions" if is_named else None)(x))


def main():
    FOLDER.mkdir(exist_ok=True)
    for name, is_named in (("named", True), ("numbered", False)):
        tf_keras.backend.clear_session()
        tf.keras.utils.set_random_seed(1)
        model = build(is_named)
        model.compile(tf_keras.optimizers.SGD(0.1, 0.9), tf_keras.losses.SparseCategoricalCrossentropy(True))
        images, labels = np.random.rand(8, 32, 32, 3), np.arange(8) % 5
        checkpoint = tf_keras.callbacks.ModelCheckpoint(str(FOLDER / (name + "-{epoch}")),
                                                        save_weights_only=True)
        model.fit(images, labels, epochs=1, verbose=0, callbacks=[checkpoint])
        values = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
        np.savez_compressed(FOLDER / f"{name}.npz", **{
            f"{layer}.#{i}": value for layer, arrays in values.items() for i, value in enumerate(arrays)})


if __name__ == "__main__":
    main()
