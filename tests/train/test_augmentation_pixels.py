"""What single operations do to pixels: Pillow's, through timm, torchvision and ResNeSt, and tensorflow/tpu's.

torch_augmentation.npz and tpu_augmentation.npz in
tests/golden/training were written by the sources' own code.
"""
import dataclasses
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf
from test_augmentation_draws import NAMES

from reskeras.images.preprocessing import Preprocessing
from reskeras.train import pixel_ops, policies, random_crops
from reskeras.train.augment import parse_augmentation
from reskeras.train.recipes import RECIPES
from reskeras.train.training_data import _find_mean

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "training"
FILES = {name: np.load(GOLDEN / f"{name}_augmentation.npz") for name in ("torch", "tpu")}
IMAGE = FILES["torch"]["image"]
FILL = tf.constant([124.0, 116.0, 104.0])


def find_cases(file, start):
    return [key for key in FILES[file] if key.startswith(start) and "crop" not in key and "Hue" not in key]


def run(function, x=IMAGE):
    return np.asarray(tf.function(function, autograph=False)(tf.constant(x, tf.float32)))


def check(found, expected, share=0.004, most=1):
    """Equal, or by 1 in a few pixels, where Pillow's 64 bits cut off another number than our 32."""
    difference = np.abs(found - expected.astype("float64"))
    changed = (difference > 0).mean()
    assert difference.max() <= most and changed <= share, (difference.max(), changed)


def run_pillow(name, value, interpolation, fill):
    name = NAMES.get(name, name.lower())
    if name in policies._MOVES:
        return run(lambda x: policies._PILLOW_OPERATIONS[name](x, tf.constant(value), interpolation, fill))
    return run(lambda x: policies._PILLOW_OPERATIONS[name](x, tf.constant(value)))


@pytest.mark.parametrize("case", find_cases("torch", "timm"))
def test_timm(case):
    _, name, value = case.split()
    check(run_pillow(name, float(value), "bicubic", FILL), FILES["torch"][case])


@pytest.mark.parametrize("case", find_cases("torch", "torchvision"))
def test_torchvision(case):
    _, name, value = case.split()
    value = float(value)
    if name.startswith("Translate"):
        value = -float(int(value))
    elif name in ("Color", "Sharpness"):
        value += 1
    check(run_pillow(name, value, "bilinear", tf.zeros([3])), FILES["torch"][case], 0.02)


@pytest.mark.parametrize("case", find_cases("tpu", "resnest"))
def test_resnest(case):
    _, name, value = case.split()
    check(run_pillow(name, float(value), "nearest" if name == "Rotate" else "bicubic", tf.zeros([3])),
          FILES["tpu"][case])


@pytest.mark.parametrize("case", find_cases("tpu", "tpu"))
def test_tpu(case):
    _, name, magnitude = case.split()
    function, strength = policies.TPU_OPERATIONS[NAMES.get(name, name.lower())]
    # its convolution cuts off some whole numbers, as a little less; a factor of 2.8 doubles that
    check(run(lambda x: function(x, strength(float(magnitude), 1.0))), FILES["tpu"][case],
          most=2 if name == "Sharpness" else 1)


@pytest.mark.parametrize("case", [key for key in FILES["torch"] if "Hue" in key])
def test_hue(case):
    """Pillow keeps hue, saturation and value in 8 bits each; TensorFlow in floats."""
    found = run(lambda x: pixel_ops.to_whole_numbers(
        tf.image.adjust_hue(x / 255, float(case.split()[-1])) * 255))
    difference = np.abs(found - FILES["torch"][case].astype("float64"))
    assert difference.max() <= 12 and difference.mean() < 2


def test_resizes():
    window = IMAGE[2:23, 3:22]
    for word in ("bilinear", "bicubic"):
        found = run(lambda x: tf.round(random_crops.resize_pixels(x, (12, 12), word)), window)
        # Pillow also rounds after the first side
        check(found, FILES["torch"][f"torchvision crop {word}"], 0.2)
    x = tf.raw_ops.ResizeBicubic(images=window[None].astype("float32"), size=(12, 12))[0]
    check(np.floor(np.clip(x, 0, 255)), FILES["tpu"]["tpu crop"])


def scale_as_torch7(line, length):
    """A line of pixels, as image.scale of torch/image with "bicubic"."""
    n, out = len(line), []
    for i in range(length - 1):
        place = i * (n - 1) / (length - 1)
        k, d = int(place), place - int(place)
        p1, p2 = line[k], line[k + 1]
        p0 = line[k - 1] if k > 0 else 2 * p1 - p2
        p3 = line[k + 2] if k + 2 < n else 2 * p2 - p1
        curve = 2 * p0 - 5 * p1 + 4 * p2 - p3 + d * (3 * (p1 - p2) + p3 - p0)
        out.append(p1 + 0.5 * d * (p2 - p0 + d * curve))
    return np.array([*out, line[-1]])


@pytest.mark.parametrize("size", [12, 40])
def test_torch7_crop(size):
    """The whole image is square and the only crop that is possible, so that the resize alone is seen."""
    x = IMAGE[:24, :24].astype("float64")
    expected = np.apply_along_axis(scale_as_torch7, 0, np.apply_along_axis(scale_as_torch7, 1, x, size), size)
    whole = (0, 0, 24, 24)
    original, random_crops._draw_torch7_window = random_crops._draw_torch7_window, lambda *_: whole
    try:
        found = run(lambda x: random_crops.torch7_crop(x, tf.constant([0, 0]), size), IMAGE[:24, :24])
    finally:
        random_crops._draw_torch7_window = original
    np.testing.assert_allclose(found, expected, atol=2e-2)


def test_a_square_turned_by_90_degrees_is_transposed():
    for word in ("nearest", "bilinear", "bicubic"):
        check(run(lambda x: pixel_ops.rotate(x, tf.constant(90.0), word, FILL), IMAGE[:24, :24]),
              np.rot90(IMAGE[:24, :24]))


# what the operations of older run.json files gave before the sources' own operations were added
OLD = {
    "inception_crop(20)|flip|randaugment(2, 9, 0.5)": [
        128.4689, 118.4997, 123.9222, 125.9733, 128.3218, 123.3935],
    "trivialaugment": [157.5546, 130.2594, 126.1956, 187.157, 157.5546, 157.5546],
    "inception_crop(20, 0.35)|flip": [127.5791, 126.9598, 129.6073, 129.5574, 117.7703, 123.802],
    "jitter(0.4, 0.4, 0.4, 0.1)": [99.1598, 122.2181, 156.451, 135.1776, 95.5344, 100.0716],
    "lighting(0.1)": [135.3529, 132.7524, 131.5852, 133.8788, 135.8491, 132.7231],
    "erase(0.5)": [135.9147, 133.4455, 130.4663, 130.4663, 136.5758, 130.9633],
    "scale(30, 40)|crop(24)|affine(0.26, 0.1, 0.1)": [
        104.3181, 96.5387, 104.4075, 104.6437, 111.6531, 107.1439]}


@pytest.mark.parametrize("text", OLD)
def test_old_strings_mean_the_same(text):
    if "augment" in text:
        pytest.importorskip("keras_cv")
    pipeline = parse_augmentation(text)
    run_one = tf.function(pipeline.augment_image)
    found = [float(tf.reduce_mean(run_one(tf.constant(IMAGE), tf.constant([5, i])))) for i in range(6)]
    np.testing.assert_allclose(found, OLD[text], rtol=1e-4)


def test_autoaugment_thins_out_an_image_that_would_need_too_much_memory(monkeypatch):
    pipeline = parse_augmentation("resnest_autoaugment")
    assert pipeline.augment_image(IMAGE, tf.constant([5, 1])).shape == IMAGE.shape
    monkeypatch.setattr(policies, "_MOST_PIXELS", 28 * 24 // 9)
    assert pipeline.augment_image(IMAGE, tf.constant([5, 1])).shape == (10, 8, 3)


@pytest.mark.parametrize("text", [
    "timm_randaugment(2, 9, 0.5)", "tpu_randaugment(2, 15)", "composer_randaugment(2, 10)",
    "trivialaugment_wide", "resnest_autoaugment|random_resized_crop(16)", "color_jitter(0.4, 0.4, 0.4, 0.1)"])
def test_a_parallel_map_changes_nothing(text):
    pipeline = parse_augmentation(text)

    def augment(threads):
        seeds = tf.data.Dataset.range(64).map(lambda i: tf.stack([3, tf.cast(i, tf.int32)]))
        data = seeds.map(lambda seed: pipeline.augment_image(tf.constant(IMAGE), seed), threads)
        return np.stack(list(data.as_numpy_iterator()))
    np.testing.assert_array_equal(augment(None), augment(8))


@pytest.mark.parametrize("text", sorted({recipe.training.augmentation for recipe in RECIPES.values()}))
def test_recipes_augment_files(text):
    """A JPEG and a PNG in a graph, as `fit` reads them, to pixels that can be trained on."""
    large = tf.cast(tf.image.resize(IMAGE, (80, 64)), tf.uint8)
    text = re.sub(r"\b(\w*crop|resize)\(\d+", r"\1(32", text)
    text = text if "crop" in text else f"resize(32)|{text}"
    pipeline = parse_augmentation(text)
    run_one = tf.function(pipeline.augment_image)
    for encode in (tf.io.encode_jpeg, tf.io.encode_png):
        results = [run_one(encode(large), tf.constant([5, i])).numpy() for i in range(3)]
        assert results[0].shape == (32, 32, 3) and np.isfinite(results).all()
        assert len({r.tobytes() for r in results}) > 1


@pytest.mark.parametrize("text", ["timm_randaugment(2, 9, 0.5)", "trivialaugment_wide", "resnest_autoaugment",
                                  "color_jitter(0.4, 0.4, 0.4, 0.1)", "torch7_jitter(0.4, 0.4, 0.4)",
                                  "random_erasing(1.0)", "cutout(8)"])
def test_one_channel(text):
    pipeline = parse_augmentation(f"crop(20)|{text}")
    run_one = tf.function(pipeline.augment_image)
    results = [run_one(tf.constant(IMAGE[..., :1]), tf.constant([5, i])).numpy() for i in range(8)]
    assert results[0].shape == (20, 20, 1) and len({r.tobytes() for r in results}) > 4


def test_the_fill_is_the_color_that_becomes_zero():
    """Of a net with caffe's means, which are BGR, and of one with mean and deviation 0.5."""
    for pixels in ("torch", "caffe", "tf"):
        preprocessing = Preprocessing((8, 8), pixels)
        pipeline = dataclasses.replace(parse_augmentation("random_erasing(1.0)"),
                                       mean=_find_mean(preprocessing))
        x = tf.function(pipeline.augment_image)(tf.constant(IMAGE), tf.constant([5, 1]))
        normalized = np.asarray(preprocessing.normalize(x))
        erased = (x.numpy() != IMAGE).any(-1)
        assert erased.any() and np.abs(normalized[erased]).max() < 1e-3
