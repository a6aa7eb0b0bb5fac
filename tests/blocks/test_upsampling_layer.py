"""The package's upsampling: Keras' numbers to the bit."""
import keras
import numpy as np
import pytest

from reskeras.blocks.layers import UpSampling2D


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64", "int8", "uint8"])
@pytest.mark.parametrize("size", [2, 3, (2, 3), (1, 7)])
def test_equal_to_keras(dtype, size):
    values = np.random.default_rng(0).integers(-128, 128, (2, 5, 331, 3))
    x = keras.ops.cast(values, dtype)
    policy = None if "int" in dtype else dtype      # layers leave whole numbers as they are
    theirs, ours = (layer(size, dtype=policy)(x) for layer in (keras.layers.UpSampling2D, UpSampling2D))
    assert ours.dtype == theirs.dtype == dtype
    np.testing.assert_array_equal(*(keras.ops.cast(y, "float64") for y in (ours, theirs)))


@pytest.mark.parametrize("factor", [3, 5, 7, 11])
def test_equal_to_keras_on_wide_maps(factor):
    """The scale 1 / factor is rounded, which must not move a position into the next one."""
    x = np.arange(40_000, dtype="float32").reshape(1, 1, -1, 1)
    np.testing.assert_array_equal(UpSampling2D((1, factor))(x), keras.layers.UpSampling2D((1, factor))(x))


def test_other_forms():
    """Channels first, and a kind that this package leaves to Keras."""
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype("float32")
    for options in {"data_format": "channels_first"}, {"interpolation": "bilinear"}:
        np.testing.assert_array_equal(UpSampling2D((2, 3), **options)(x),
                                      keras.layers.UpSampling2D((2, 3), **options)(x))


def test_open_sizes_and_config():
    image = keras.Input((None, None, 3))
    layer = UpSampling2D.from_config(UpSampling2D((2, 3)).get_config())
    model = keras.Model(image, layer(image))
    assert model.output_shape == (None, None, None, 3)
    assert model.predict(np.zeros((1, 4, 5, 3), "float32"), verbose=0).shape == (1, 8, 15, 3)
