"""The resize that computes only what the crop keeps gives the pixels of the whole resize, in every form."""
import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from reskeras.images import transform
from reskeras.images.preprocessing import Preprocessing
from reskeras.images.sizes import CROP_MODES, compute_margins, compute_resized_size
from reskeras.train.augment import parse_augmentation

FILTERS = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}


def resize_whole(own, x):
    """The same preprocessing without any saving: all is float, all is resized, then it is cropped."""
    height, width = x.shape[1:3]
    down, across = compute_resized_size(height, width, own.resize_target, own.crop_mode)
    x = tf.cast(x, tf.float32)
    for size in ((height, across), (down, across)):
        x = tf.clip_by_value(tf.round(tf.image.resize(x, size, own.interpolation, antialias=True)), 0, 255)
    (top, *rows), (left, *columns) = (compute_margins(n, crop) for n, crop in zip((down, across), own.size))
    x = tf.pad(x - own.fill_pixel, [(0, 0), rows, columns, (0, 0)]) + own.fill_pixel
    return own.normalize(x[:, top:top + own.size[0], left:left + own.size[1]]).numpy()


def draw_cases(count):
    random = np.random.default_rng(0)
    for i in range(count):
        height = int(random.integers(1, 300))
        width = int(np.clip(height * random.uniform(1 / 3, 3), 1, 400))
        size = tuple(random.integers(8, 65, 2).tolist()) if i % 3 == 0 else (int(random.integers(8, 65)),) * 2
        own = Preprocessing(size, ("torch", "tf", "caffe", "raw")[i % 4],
                            interpolation=("bilinear", "bicubic")[i % 2], crop_mode=CROP_MODES[i // 2 % 3],
                            crop_pct=float(random.choice([1, 0.875, 0.95, 0.5])))
        yield own, random.integers(0, 256, (1 + i % 2, height, width, 3), "uint8")


def test_pixels_are_those_of_the_whole_resize(monkeypatch):
    for own, x in draw_cases(60):
        expected = resize_whole(own, x)
        np.testing.assert_array_equal(own(x), expected)
        monkeypatch.setattr(transform, "_STRIP", x.shape[2] * 30)    # several strips
        np.testing.assert_array_equal(own(x), expected)
        monkeypatch.undo()


def test_pixels_in_a_graph_are_those_of_the_whole_resize(monkeypatch):
    """As in tf.data and in the signatures of a SavedModel."""
    monkeypatch.setattr(transform, "_STRIP", 2000)
    signature = [tf.TensorSpec((None, None, None, 3), tf.uint8)]
    for own, x in draw_cases(12):
        in_graph = tf.function(own.transform, input_signature=signature)
        np.testing.assert_array_equal(in_graph(x), resize_whole(own, x))


@pytest.mark.parametrize("shape", [(5, 3000), (3000, 5), (1, 700), (900, 2), (40, 1300)])
@pytest.mark.parametrize("interpolation", FILTERS)
def test_long_images_are_those_of_pillow(shape, interpolation):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), "uint8")
    own = Preprocessing((32, 32), "raw", interpolation=interpolation, crop_pct=0.875)
    resized = compute_resized_size(*shape, own.resize_target, own.crop_mode)
    top, left = (compute_margins(new, 32)[0] for new in resized)
    whole = np.asarray(Image.fromarray(pixels).resize(resized[::-1], FILTERS[interpolation]), float)
    expected = whole[top:top + 32, left:left + 32]
    in_graph = tf.function(own.transform, input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)])
    layer, = own.as_layers()
    for found, limit, mean in ((own(pixels)[0], 1, 0.1), (in_graph(pixels[None])[0], 1, 0.1),
                               (layer(pixels[None])[0], 1.5, 0.4)):
        difference = np.abs(np.asarray(found, float) - expected)
        assert difference.max() <= limit and difference.mean() <= mean
    np.testing.assert_array_equal(own(pixels), in_graph(pixels[None]))


@pytest.mark.parametrize("mode", CROP_MODES)
def test_very_long_sides(mode):
    """Here every k-th pixel is read; of a gradient the result is as smooth as the gradient."""
    line = (np.arange(200_000) // 800).astype("uint8")[:, None, None].repeat(3, -1)
    own = Preprocessing((20, 20), "raw", crop_pct=1.0, crop_mode=mode)
    for pixels in (line, line.swapaxes(0, 1)):
        image = own(pixels)[0]
        values = image[:, 9] if pixels is line else image[9]
        if mode == "center":
            assert np.ptp(image) <= 1 and abs(image.mean() - 125) <= 1
        else:
            np.testing.assert_allclose(values[:, 0], np.arange(20) * 12.5 + 5.75, atol=1)


def test_no_side_vanishes():
    assert compute_resized_size(1, 5000, (64, 64), "border") == (1, 64)
    image = Preprocessing((64, 64), "raw", crop_mode="border")(np.full((1, 5000, 3), 200, "uint8"))
    assert (image == 200).any()


def test_sides_whose_product_has_more_than_32_bits():
    own = Preprocessing((8, 8), "raw", crop_pct=1.0)
    x = np.full((1, 1, 300_000_000, 1), 7, "uint8")
    in_graph = tf.function(Preprocessing.transform.__get__(own), input_signature=[
        tf.TensorSpec((None, None, None, 1), tf.uint8)])
    assert (in_graph(x).numpy() == 7).all()


def test_files_and_gray_nets():
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 3), "uint8")
    gray = np.asarray(Image.fromarray(pixels).convert("L"))
    own = Preprocessing((32, 32), "raw", mean=(0.0,), std=(1.0,))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    for image in (pixels, gray, file.getvalue()):
        np.testing.assert_array_equal(own(image), resize_whole(own, gray[None, ..., None]))
    colored = Preprocessing((32, 32), "raw")
    np.testing.assert_array_equal(colored(gray), resize_whole(colored, gray[None, ..., None].repeat(3, -1)))


def test_a_file_whose_last_bytes_are_zeros():
    pixels = np.zeros((8, 8, 3), "uint8")
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "BMP")
    assert file.getvalue().endswith(b"\0") and not Preprocessing((8, 8), "raw")(file.getvalue()).any()


def augment_whole(operation, x, seed, size):
    """`crop` and `pad_crop` as they read: resized or padded whole, then cut."""
    x = tf.cast(x, tf.float32)
    if operation == "crop" and min(x.shape[:2]) < size:
        goal = [max(side, size) for side in x.shape[:2]]
        x = tf.clip_by_value(tf.image.resize(x, goal, antialias=True), 0.0, 255.0)
    elif operation == "pad_crop":
        x = tf.pad(x, [(4, 4), (4, 4), (0, 0)])
    places = np.array(x.shape[:2]) - size + 1
    top, left = (tf.random.stateless_uniform([2], seed) * places.astype("float32")).numpy().astype(int)
    return x[top:top + size, left:left + size]


@pytest.mark.parametrize("shape", [(40, 50), (20, 90), (70, 9), (8, 8), (24, 24)])
def test_training_crops(shape):
    from reskeras.train.augment_ops import crop, pad_crop
    x = np.random.default_rng(0).integers(0, 256, (*shape, 3), "uint8")
    for i in range(4):
        seed = tf.constant([i, 3])
        np.testing.assert_array_equal(crop(tf.constant(x), seed, 24), augment_whole("crop", x, seed, 24))
        if min(shape) >= 16:
            found = pad_crop(tf.constant(x), seed, 24, 4)
            np.testing.assert_array_equal(found, augment_whole("pad_crop", x, seed, 24))


@pytest.mark.parametrize("text", ["inception_crop(24)|flip", "scale(30, 40)|crop(24)",
                                  "flip|resize(24)|jitter(0.4)"])
def test_large_images_are_trained_on_as_small_ones(text, monkeypatch):
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), "uint8"))
    pipeline = parse_augmentation(text)

    def run():
        augment = tf.function(pipeline.augment_image, autograph=False, input_signature=[
            tf.TensorSpec((), tf.string), tf.TensorSpec((2,), tf.int32)])
        return [augment(data, [1, i]).numpy() for i, data in enumerate(files)]
    files = []
    for form in ("JPEG", "PNG", "GIF", "BMP", "WEBP"):
        file = io.BytesIO()
        photo.save(file, form)
        files.append(file.getvalue())
    small = run()
    monkeypatch.setenv("RESKERAS_MAX_PIXELS_IN_FLIGHT", "16")
    for one, other in zip(small, run()):
        np.testing.assert_array_equal(one, other)


def test_layers_are_the_same_for_usual_images():
    for own, x in draw_cases(12):
        own = own.without_scaling()
        layer, = own.as_layers()
        assert isinstance(layer, keras.layers.Layer)
        assert np.abs(np.asarray(layer(x)) - own(x)).max() <= 2
