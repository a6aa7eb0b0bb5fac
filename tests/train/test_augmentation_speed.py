"""What makes the augmentation fast changes no pixel: each fast way against the plain one of TensorFlow."""
import numpy as np
import pytest
import tensorflow as tf

from reskeras.train import augment_ops
from reskeras.train.random_crops import resize_pixels


@pytest.mark.parametrize("dtype", ["uint8", "float32", "uint16"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_resize_by_rows_is_that_of_tensorflow(dtype, interpolation):
    """Smaller, larger, longer and of one pixel; in a graph too, where no size is known."""
    @tf.function(input_signature=[tf.TensorSpec((None, None, 3), dtype), tf.TensorSpec((2,), tf.int32)])
    def resize_in_a_graph(x, size):
        return resize_pixels(x, size, interpolation, has_values=True)

    rng = np.random.default_rng(0)
    for shape, size in [((90, 70), (32, 48)), ((9, 200), (24, 24)), ((24, 24), (24, 24)), ((1, 3), (20, 7)),
                        ((130, 131), (3, 1))]:
        x = tf.constant(rng.integers(0, 256, (*shape, 3)).astype(dtype))
        expected = tf.image.resize(tf.cast(x, tf.float32), size, interpolation, antialias=True)
        got = resize_pixels(x, size, interpolation, has_values=True)
        assert got.dtype == tf.float32 and got.shape == (*size, 3)
        np.testing.assert_allclose(got, expected, atol=1e-3)
        np.testing.assert_allclose(resize_in_a_graph(x, tf.constant(size)), expected, atol=1e-3)


def test_half_of_the_images_are_flipped():
    x = tf.reshape(tf.range(4 * 6 * 3, dtype=tf.float32), (4, 6, 3))
    flip = tf.function(augment_ops.flip)
    flipped = [flip(x, tf.constant([seed, 1])).numpy() for seed in range(200)]
    kinds = [np.array_equal(y, x[:, ::-1]) for y in flipped]
    assert all(kind or np.array_equal(y, x) for kind, y in zip(kinds, flipped))
    assert 70 < sum(kinds) < 130
    for seed in range(5):       # the same draw as before
        is_kept = tf.random.stateless_uniform([], tf.constant([seed, 1])) < 0.5
        assert bool(is_kept) != kinds[seed]


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_partners_are_in_reversed_order(name):
    x = tf.reshape(tf.range(3 * 8 * 8 * 3, dtype=tf.float32), (3, 8, 8, 3))
    y = tf.eye(3)
    mixed, labels = getattr(augment_ops, name)(x, y, tf.constant([5, 1]), 1.0)
    share = float(labels[0, 0])
    np.testing.assert_allclose(labels, share * y + (1 - share) * y[::-1], atol=1e-6)
    if name == "mixup":
        np.testing.assert_allclose(mixed, share * x + (1 - share) * x[::-1], rtol=1e-5)
    else:
        assert np.all((mixed == x) | (mixed == x[::-1]))
