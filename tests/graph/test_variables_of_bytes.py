"""A layer of one's own may have variables of int8 or uint8; that Keras has quantized it is another thing."""
import keras
import numpy as np
import pytest
from keras import layers

import reskeras
from reskeras.graph.model_requirements import check_floating_point


@keras.saving.register_keras_serializable("tests")
class Mask(layers.Layer):
    """Multiplies the channels by zero or one."""

    def build(self, shape):
        self.mask = self.add_weight(shape=(shape[-1],), dtype="uint8", initializer="ones", trainable=False)

    def call(self, x):
        return x * keras.ops.cast(self.mask, x.dtype)


@keras.saving.register_keras_serializable("tests")
class Inside(layers.Layer):
    """Has a dense layer inside."""

    def __init__(self, **options):
        super().__init__(**options)
        self.dense = layers.Dense(3)

    def call(self, x):
        return self.dense(x)


def make_model(last):
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, use_bias=False)(image)
    x = layers.BatchNormalization()(x)
    x = layers.GlobalAveragePooling2D()(Mask()(x))
    return keras.Model(image, last(x))


def test_a_mask_of_bytes(tmp_path):
    model, x = make_model(layers.Dense(3, activation="softmax")), np.ones((2, 8, 8, 3), "float32")
    optimized, report = reskeras.optimize(model)
    assert any(result.rewritten for result in report.passes)
    np.testing.assert_allclose(optimized(x), model(x), rtol=1e-5)
    assert reskeras.export(model, tmp_path / "net.keras").passed


@pytest.mark.parametrize("mode", ["int8", "float8"])
def test_a_quantized_layer_inside_a_layer(mode):
    model = make_model(Inside())
    check_floating_point(model)
    model.quantize(mode)
    with pytest.raises(ValueError, match="expected a model in floating point; Keras has quantized it"):
        check_floating_point(model)
