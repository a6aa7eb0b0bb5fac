"""Crops, RandAugment, TrivialAugment, AutoAugment and erasing draw as their sources do: 10,000 draws each.

torch_augmentation.json, tpu_augmentation.json and composer_augmentation.json in
tests/golden/training were written by the sources' own code.
"""
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from reskeras.train import composer_randaugment, policies, random_crops, random_erasing
from reskeras.train.augment import parse_augmentation
from reskeras.train.seeds import fold_seed

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "training"
TORCH = json.loads((GOLDEN / "torch_augmentation.json").read_text())
COMPOSER = json.loads((GOLDEN / "composer_augmentation.json").read_text())
TPU = json.loads((GOLDEN / "tpu_augmentation.json").read_text())
DRAWS = 10_000
QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


def draw_all(draw, count=DRAWS):
    """What `draw` returns for `count` seeds, as arrays."""
    seeds = tf.data.Dataset.range(count).map(lambda i: tf.stack([7, tf.cast(i, tf.int32)]))
    draws = seeds.map(tf.autograph.experimental.do_not_convert(draw), num_parallel_calls=2).batch(count)
    return tf.nest.map_structure(lambda tensor: tensor.numpy(), next(iter(draws)))


def check_quantiles(values, expected, tolerance):
    found = np.quantile(values, QUANTILES)
    difference = np.abs(found - expected)
    # the median of numbers around two values, one for each sign, may be at either
    difference[3] *= expected[4] - expected[2] < 0.6 * (expected[-1] - expected[0])
    assert difference.max() <= tolerance, (found, expected)


def draw_torch7(height, width, rng):
    """One crop, as datasets/transforms.lua of fb.resnet.torch has it."""
    for _ in range(10):
        area, ratio = rng.uniform(0.08, 1) * height * width, rng.uniform(3 / 4, 4 / 3)
        w, h = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if rng.uniform() < 0.5:
            w, h = h, w
        if h <= height and w <= width:
            return rng.integers(0, height - h + 1), rng.integers(0, width - w + 1), h, w
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side, side


def describe_crops(boxes, height, width):
    top, left, h, w = np.asarray(boxes, "float64").T
    area = h * w / (height * width)
    figures = {"area": area, "log_ratio": np.log(w / h), "top": top / np.maximum(height - h, 1),
               "left": left / np.maximum(width - w, 1)}
    return {"mean_area": area.mean(), "below_a_fifth": (area < 0.2).mean(),
            **{name: np.quantile(values, QUANTILES) for name, values in figures.items()}}, figures


def draw_box(shape, seed):
    box = tf.constant([[[0.0, 0.0, 1.0, 1.0]]])
    begin, extent = random_crops._draw_box(shape, seed, box, 0.1, 0.08)
    return begin[0], begin[1], extent[0], extent[1]


@pytest.mark.parametrize("kind, draw", [
    ("torchvision", lambda shape, seed: random_crops._draw_window(shape, seed, 0.08)),
    ("timm", lambda shape, seed: random_crops._draw_window(shape, seed, 0.08)),
    ("tpu", draw_box), ("torch7", random_crops._draw_torch7_window)])
@pytest.mark.parametrize("height, width", [(400, 400), (300, 500), (60, 900)])
def test_crops(kind, draw, height, width):
    if kind == "torch7":
        rng = np.random.default_rng(0)
        expected, _ = describe_crops([draw_torch7(height, width, rng) for _ in range(DRAWS)], height, width)
    else:
        name = f"{kind} crop {height}x{width}"
        if name not in {**TORCH, **TPU}:
            pytest.skip("not in the reference")
        expected = {**TORCH, **TPU}[name]
    shape = tf.constant([height, width, 3])
    boxes = np.stack(draw_all(lambda seed: draw(shape, seed)), 1)
    if kind == "tpu":       # whose reference has even places only
        boxes[:, :2] -= boxes[:, :2] % 2
    assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= (height, width)).all()
    found, values = describe_crops(boxes, height, width)
    assert abs(found["mean_area"] - expected["mean_area"]) < 0.012
    assert abs(found["below_a_fifth"] - expected["below_a_fifth"]) < 0.02
    for name in values:
        check_quantiles(values[name], expected[name], 0.03)


def test_the_two_ways_differ():
    """Of 400 x 400 pixels TensorFlow's own crop keeps less than torchvision's."""
    shape = tf.constant([400, 400, 3])

    def draw(seed):
        _, extent = random_crops._draw_box(shape, seed, tf.zeros([1, 0, 4]), 0.0, 0.08)
        return extent[0], extent[1]
    height, width = draw_all(draw)
    area = height * width / 400 ** 2
    assert abs(area.mean() - 0.4) < 0.01 and abs((area < 0.2).mean() - 0.26) < 0.02
    assert abs(TORCH["torchvision crop 400x400"]["mean_area"] - 0.48) < 0.01


# the sources' names of our operations
NAMES = {"AutoContrast": "autocontrast", "SolarizeAdd": "solarize_add", "ShearX": "shear_x",
         "ShearY": "shear_y", "TranslateX": "translate_x", "TranslateY": "translate_y",
         "TranslateXRel": "translate_part_x", "TranslateYRel": "translate_part_y", "Posterize2": "posterize"}
WHOLE = {"posterize": 1, "solarize": 6, "solarize_add": 3}


def check_operations(names, values, expected):
    """Names of operations that were drawn and their strengths, against the figures of a source."""
    ours = {name: NAMES.get(name, name.replace("Increasing", "").lower()) for name in expected}
    assert set(names) == set(ours.values())
    for name, figures in expected.items():
        found = values[names == ours[name]]
        assert abs(len(found) - figures["count"]) < 5 * (2 * figures["count"]) ** 0.5, name
        spread = figures["quantiles"][-1] - figures["quantiles"][0]
        assert abs(found.mean() - figures["mean"]) <= 5 * found.std() * (2 / len(found)) ** 0.5 + 1e-4, name
        check_quantiles(found, figures["quantiles"], 0.1 * spread + WHOLE.get(ours[name], 0) + 1e-4)


def collect(strengths, which, magnitude, sign):
    """Names and strengths of what was drawn and applied."""
    names, values = np.array(["none"] * len(which), dtype=object), np.zeros(len(which))
    for i, (name, strength) in enumerate(strengths.items()):
        names[which == i] = name
        if name not in {"autocontrast", "equalize", "invert", "identity"}:
            values[which == i] = np.asarray(strength(magnitude[which == i], sign[which == i]))
    return names[names != "none"].astype(str), values[names != "none"]


@pytest.mark.parametrize("text, number, arguments, strengths", [
    ("timm rand-m7-mstd0.5-inc1", 2, (7.0, 0.5, 0.5), policies.TIMM_INCREASING),
    ("timm rand-m9-n3-mstd2-p0.8", 3, (9.0, 2.0, 0.8), policies.TIMM_FIXED)])
def test_timm_randaugment(text, number, arguments, strengths):
    draws = [draw_all(lambda seed, i=i: vars(policies.draw_timm(fold_seed(seed, i), *arguments)))
             for i in range(number)]
    which, magnitude, sign = (np.concatenate([draw[name] for draw in draws])
                              for name in ("which", "magnitude", "sign"))
    check_operations(*collect(strengths, which, magnitude, sign), TORCH[text])


def test_trivialaugment():
    draws = draw_all(lambda seed: vars(policies.draw_trivialaugment(seed)))
    names, values = collect(policies.TRIVIALAUGMENT, draws["which"], draws["magnitude"], draws["sign"])
    # torchvision counts these factors from 1, and shifts the other way
    values[np.isin(names, ["brightness", "color", "contrast", "sharpness"])] -= 1
    values[np.isin(names, ["translate_x", "translate_y"])] *= -1
    check_operations(names, values, TORCH["torchvision TrivialAugmentWide"])


def test_composer_randaugment():
    strengths = composer_randaugment.make_composer_strengths(10.0)
    draws = draw_all(lambda seed: vars(composer_randaugment.draw_composer(seed, len(strengths))))
    counts, expected = np.bincount(draws["which"], minlength=13), DRAWS / 13
    assert len(counts) == 13 and np.abs(counts - expected).max() < 5 * expected ** 0.5
    u, sign = tf.constant(draws["magnitude"]), tf.constant(draws["sign"])
    found = {}
    for name, strength in strengths.items():
        values = np.asarray(strength(u, sign)) * (name not in {"autocontrast", "equalize"})
        if name.startswith("translate"):        # as the source: pixels of an image of 300 x 240
            values = np.trunc(values * (300 if name[-1] == "x" else 240))
        found[name.replace("whole_", "")] = values
    check_operations(np.repeat(list(found), DRAWS), np.concatenate(list(found.values())), COMPOSER)


def test_tpu_randaugment():
    draws = draw_all(lambda seed: vars(policies.draw_tpu(seed)))
    strengths = {name: lambda m, sign, strength=strength: strength(10.0, sign)
                 for name, (_, strength) in policies.TPU_OPERATIONS.items()}
    check_operations(*collect(strengths, draws["which"], draws["magnitude"], draws["sign"]),
                     TPU["tpu RandAugment 10"])


def test_resnest_autoaugment():
    steps = policies._RESNEST_STEPS
    draws = draw_all(lambda seed: [vars(draw) for draw in policies.draw_autoaugment(seed)])
    which = np.concatenate([draw["which"] for draw in draws])
    which = which[which < len(steps)]
    check_operations(np.array([steps[i][0] for i in which]), np.array([float(steps[i][1]) for i in which]),
                     {name: figures if name not in {"AutoContrast", "Equalize", "Invert"} else
                      {**figures, "mean": 0, "quantiles": [0] * 7}
                      for name, figures in TPU["resnest AutoAugment"].items()})


def test_random_erasing():
    blank = tf.zeros([64, 48, 3])
    boxes = draw_all(lambda seed: random_erasing.random_erasing(blank, seed, (255.0,) * 3, 0.75)[..., 0] > 0)
    erased = boxes[boxes.any((1, 2))]
    assert abs(len(erased) - 0.75 * DRAWS) < 250
    rows, columns = erased.any(2), erased.any(1)
    height, width = rows.sum(1), columns.sum(1)
    assert (erased.sum((1, 2)) == height * width).all()         # rectangles
    expected = TORCH["torchvision RandomErasing"]
    figures = {"area": height * width / (64 * 48), "log_ratio": np.log(height / width),
               "top": rows.argmax(1) / (64 - height), "left": columns.argmax(1) / (48 - width)}
    for name, values in figures.items():
        check_quantiles(values, expected[name], 0.08 if name == "log_ratio" else 0.03)


def test_cutout():
    """A square of 8 around any pixel, cut off by the border."""
    blank = tf.zeros([16, 12, 1])
    boxes = draw_all(lambda seed: random_erasing.cutout(blank, seed, (255.0,), 8)[..., 0] > 0, 2000)
    rows, columns = boxes.any(2).sum(1), boxes.any(1).sum(1)
    assert (boxes.sum((1, 2)) == rows * columns).all() and rows.min() == columns.min() == 4
    assert abs((rows == 8).mean() - 9 / 16) < 0.05 and abs((columns == 8).mean() - 5 / 12) < 0.05


def test_jitter_orders_are_equally_likely():
    """Brightness and contrast do not commute: both orders of their results are seen as often."""
    x = tf.constant(np.linspace(0, 255, 12).reshape(2, 6, 1), tf.float32)
    first = []
    for text in ("color_jitter(0.9, 0.9)", "torch7_jitter(0.9, 0.9)"):
        operation = parse_augmentation(text).image_operations[0]
        results = draw_all(lambda seed: (operation(x, seed), tf.random.stateless_uniform([3], seed)), 500)[0]
        assert len(np.unique(results.reshape(500, -1), axis=0)) > 450
        first.append(results)
    # without limits both orders of these two give the same mean times a factor; with limits they do not
    assert first[0].min() >= 0 and first[0].max() <= 255 < first[1].max()
