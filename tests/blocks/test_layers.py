"""Layers written for edge runtimes compute what their definitions say."""
import keras
import numpy as np
import pytest
import tensorflow as tf

from reskeras.blocks.layers import ChannelSlice, EdgePadding2D, RadixSoftmax

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("radix", [2, 3, 4])
@pytest.mark.parametrize("groups", [1, 2])
def test_radix_softmax(radix, groups):
    """Group by group in, part by part out, a softmax over the parts; also where an exponential overflows."""
    logits = RANDOM.normal(0, 300, (3, 1, 1, groups * radix * 5))
    z = logits.reshape(3, groups, radix, 5)
    powers = np.exp(z - z.max(2, keepdims=True))
    expected = (powers / powers.sum(2, keepdims=True)).transpose(0, 2, 1, 3).reshape(3, 1, 1, -1)
    found = RadixSoftmax(radix, groups, dtype="float64")(logits)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("start, stop", [(0, 3), (3, 8), (2, 5), (0, 8)])
def test_channel_slices_train_as_they_infer(start, stop):
    """The same channels and the same gradient; a split only in training, where its gradient is fast."""
    x, upstream = (tf.constant(RANDOM.normal(size=(2, 3, 3, n)).astype("float32")) for n in (8, stop - start))
    layer = ChannelSlice(start, stop)
    kinds = {}
    for training in (False, True):
        @tf.function(autograph=False)
        def step(x, training=training):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x, training=training)
            return y, tape.gradient(y, x, upstream)
        y, gradient = step(x)
        np.testing.assert_array_equal(y, x[..., start:stop])
        np.testing.assert_array_equal(gradient, np.pad(upstream, [(0, 0)] * 3 + [(start, 8 - stop)]))
        kinds[training] = {op.type for op in step.get_concrete_function(x).graph.get_operations()}
    assert "SplitV" not in kinds[False]
    assert stop - start == 8 or "SplitV" in kinds[True] and "StridedSliceGrad" not in kinds[True]


@pytest.mark.parametrize("padding", [(1, 1), (0, 1)])
@pytest.mark.parametrize("height, width", [(1, 1), (2, 1), (2, 3), (6, 7), (7, 8)])
@pytest.mark.parametrize("known", [True, False])
def test_edge_padding_is_invisible_to_a_max_pool(padding, height, width, known):
    """Exactly, whether the size is known before or not."""
    images = RANDOM.normal(-5, 1, (2, height, width, 4)).astype("float32")
    if min(height + sum(padding), width + sum(padding)) < 3:
        return      # no window
    padded = np.pad(images, [(0, 0), padding, padding, (0, 0)], constant_values=-np.inf)
    expected = keras.ops.max_pool(padded, 3, 2, data_format="channels_last")
    image = keras.Input((height, width, 4) if known else (None, None, 4))
    net = keras.Model(image, keras.layers.MaxPooling2D(3, 2)(EdgePadding2D(padding)(image)))
    np.testing.assert_array_equal(net(images), expected)
