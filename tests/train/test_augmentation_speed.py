"""What makes the augmentation fast changes no pixel: each fast way against the plain one of TensorFlow."""
import numpy as np
import pytest
import tensorflow as tf

from reskeras.train import augment_ops, randaugment
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


def make_keras_cv_operations():
    """Those that `fast_pixels` replaces, by keras-cv."""
    cv = pytest.importorskip("keras_cv").layers
    border = {"fill_mode": "constant", "fill_value": 128.0}
    translate, shear = cv.RandomTranslation(0.1, 0.1, **border), cv.RandomShear(0.1, 0.1, **border)

    def move(x, v, axis):
        moves = [tf.fill((1, 1), v if here == axis else 0.0) for here in (1, 2)]
        return translate.augment_images(x, dict(zip(("height_translations", "width_translations"), moves)))

    def skew(x, v, axis):
        return shear.augment_images(x, {"shear_x": None, "shear_y": None, f"shear_{axis}": v[None, None]})
    layers = {"autocontrast": cv.AutoContrast((0, 255)), "solarize": cv.Solarization((0, 255)),
              "color": cv.RandomColorDegeneration(0.5), "contrast": cv.RandomContrast((0, 255), 0.5),
              "sharpness": cv.RandomSharpness(0.5, (0, 255))}
    arguments = {"autocontrast": lambda v: None, "solarize": lambda v: {"thresholds": v, "additions": 0.0},
                 "contrast": lambda v: v}
    operations = {name: lambda x, v, name=name: layers[name].augment_images(
        x, arguments.get(name, lambda v: 1 - v)(v)) for name in layers}
    return {**operations,
            "translate_x": lambda x, v: move(x, v, 2), "translate_y": lambda x, v: move(x, v, 1),
            "shear_x": lambda x, v: skew(x, v, "x"), "shear_y": lambda x, v: skew(x, v, "y"),
            "solarize_add": lambda x, v: tf.where(x < 128, tf.clip_by_value(x + v, 0, 255), x)}


def test_operations_of_randaugment_are_those_of_keras_cv():
    """For weak, strong and extreme strengths, on colors, small images, one row of pixels, flat channels."""
    expected = make_keras_cv_operations()
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (1, *sides, 3)).astype("float32") for sides in ((20, 31), (3, 4), (1, 9))]
    images += [np.full((1, 5, 6, 3), 7, "float32"), np.clip(rng.normal(250, 9, (1, 8, 8, 3)), 0, 255)]
    for name, reference in expected.items():
        operation = randaugment.OPERATIONS[name]
        in_a_graph = tf.function(operation, autograph=False, reduce_retracing=True)
        for x in (tf.constant(x, tf.float32) for x in images):
            if name == "sharpness" and min(x.shape[1:3]) < 3:
                continue        # keras-cv's fails
            for magnitude, sign in [(0.0, 1.0), (0.3, -1.0), (0.9, 1.0), (1.0, -1.0), (3.0, 1.0)]:
                v = randaugment.RANDAUGMENT_SPACE[name](tf.constant(magnitude), tf.constant(sign))
                for got in (operation(x, v), in_a_graph(x, v)):
                    assert got.shape == x.shape
                    np.testing.assert_allclose(got, reference(x, v), atol=0.01, err_msg=f"{name} {v}")
