"""The augmentation string, what each operation does, and that none of it falls back to loops."""
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from reskeras.train import augment_ops, randaugment
from reskeras.train.augment import parse_augmentation
from reskeras.train.augment_ops import BATCH_OPERATIONS, IMAGE_OPERATIONS
from reskeras.train.recipes import RECIPES
from reskeras.train.resnet_rs import RESNET_RS_SCALING

SEED = tf.constant([3, 5])
ALL = (
    'inception_crop(32)|pad_crop(32, 4, "reflect")|flip|jitter(0.4, 0.4, 0.4, 0.1)|lighting(0.1)'
    "|affine(0.26, 0.1, 0.1)|erase(0.25)|mixup(0.2)|cutmix(1.0)"
)
CV = "randaugment(2, 9, 0.5)|trivialaugment"
# those that are one source's
SOURCES = (
    'random_resized_crop(32, interpolation="bicubic")|tpu_crop(32)|torch7_crop(32)'
    "|color_jitter(0.4, 0.4, 0.4, 0.1)|torch7_jitter(0.4, 0.4, 0.4)|timm_randaugment(2, 9, 0.5)"
    "|tpu_randaugment(2, 10)|composer_randaugment(1, 10)|trivialaugment_wide|resnest_autoaugment"
    "|random_erasing(0.25)|cutout(8)"
)


def photo(height=48, width=40, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels)).astype("uint8")


def has_keras_cv():
    try:
        randaugment.keras_cv_layers()
    except ImportError:
        return False
    return True


needs_keras_cv = pytest.mark.skipif(not has_keras_cv(), reason="keras-cv is not installed")


def test_parse():
    pipeline = parse_augmentation("inception_crop(224, area=0.35)|flip|mixup(0.2)")
    assert [(op.name, op.arguments) for op in pipeline.image_operations] == [
        ("inception_crop", {"size": 224, "area": 0.35}), ("flip", {})]
    assert (
        [op.name for op in pipeline.batch_operations] == ["mixup"]
        and pipeline.size == 224
        and pipeline.mixes_labels)
    assert (
        parse_augmentation(pipeline) is pipeline
        and parse_augmentation("").image_operations == ()
        and parse_augmentation("scale(256, 480)|crop(224)").size == 224)


@pytest.mark.parametrize("text, message", [
    ("inception_crp(224)", "unknown operation 'inception_crp'; did you mean 'inception_crop'?"),
    ("crop(sise=224)", "unknown argument 'sise'; did you mean 'size'?; expected crop(size)"),
    ("crop", "crop: expected crop(size)"),
    ("crop(1, 2)", "expected crop(size)"),
    ("crop(224, size=224)", "expected crop(size)"),
    ("crop('224')", "crop: size='224': expected pixels on a side"),
    ("crop(0)", "expected pixels on a side"),
    ("erase(2)", "expected a number of 0 to 1"),
    ("pad_crop(32, 4, 'mirror')", "expected constant or reflect"),
    ("crop(open('x'))", "expected literal arguments"),
    ("crop(__import__('os').getpid())", "expected literal arguments"),
    ("os.system('ls')", "unknown operation 'os.system'"),
    ("1 + 1", "no operation with literal arguments"),
    ("crop(224", "expected operations separated by |"),
    ("mixup(0.2)|flip", "mixup and cutmix work on batches and must come last"),
])
def test_parse_says_what_was_expected(text, message):
    with pytest.raises(ValueError) as error:
        parse_augmentation(text)
    assert message in str(error.value)


@needs_keras_cv
def test_every_recipe_parses():
    for recipe in RECIPES.values():
        pipeline = parse_augmentation(recipe.training.augmentation)
        assert pipeline.size in (recipe.training.size, None)    # None: the data's own
    for scale in RESNET_RS_SCALING.values():
        assert parse_augmentation(scale.augmentation).size == scale.size


def test_without_keras_cv(monkeypatch):
    import sys
    randaugment.keras_cv_layers.cache_clear()
    monkeypatch.setitem(sys.modules, "keras_cv", None)
    with pytest.raises(ImportError, match=r'pip install "reskeras\[train\]"'):
        parse_augmentation("crop(32)|randaugment(2, 9)")
    # what FINETUNE needs, and more
    assert parse_augmentation("inception_crop(224, 0.35)|flip|erase(0.1)|mixup(0.2)").size == 224
    randaugment.keras_cv_layers.cache_clear()


def kinds(concrete):
    """The operations of a traced function and of all that it calls."""
    definition = concrete.graph.as_graph_def()
    return [n.op for n in definition.node] + [n.op for f in definition.library.function for n in f.node_def]


@needs_keras_cv
def test_no_loop_and_no_python_in_the_graph():
    pipeline = parse_augmentation(ALL.replace("|erase", f"|{SOURCES}|{CV}|erase"))
    assert {op.name for op in pipeline.image_operations + pipeline.batch_operations} >= {
        *IMAGE_OPERATIONS, *BATCH_OPERATIONS} - {"scale", "resize", "crop"}
    with_bytes = tf.function(pipeline.augment_image).get_concrete_function(
        tf.TensorSpec([], tf.string), tf.TensorSpec([2], tf.int32))
    others = tf.function(
        parse_augmentation("scale(64, 80)|crop(32)|resize(32)").augment_image
    ).get_concrete_function(tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec([2], tf.int32))
    batch = tf.function(pipeline.augment_batch).get_concrete_function(
        tf.TensorSpec((None, 32, 32, 3)), tf.TensorSpec((None, 10)), tf.TensorSpec([2], tf.int32))
    for concrete in (with_bytes, others, batch):
        found = kinds(concrete)
        if concrete is with_bytes:
            found.remove("PyFunc")      # for large images only
        assert not {op for op in found if "PyFunc" in op or "While" in op or op.startswith("Map")}, found
    assert "DecodeAndCropJpeg" in kinds(with_bytes)


@pytest.mark.parametrize("text", [
    *ALL.split("|")[:-2], *SOURCES.split("|"),
    *(pytest.param(p, marks=needs_keras_cv) for p in CV.split("|"))])
def test_an_operation_repeats_and_varies(text):
    pipeline = parse_augmentation(f"crop(32)|{text}" if "crop" not in text else text)
    run = tf.function(pipeline.augment_image)
    images = np.stack([run(photo(), tf.constant([0, i])).numpy() for i in range(12)])
    again = np.stack([run(photo(), tf.constant([0, i])).numpy() for i in range(12)])
    assert images.shape == (12, 32, 32, 3) and images.dtype == np.float32
    np.testing.assert_array_equal(images, again)
    assert "torch7" in text or images.min() >= 0 and images.max() <= 255
    assert len(np.unique(images.reshape(12, -1), axis=0)) > 1


def test_inception_crop_of_jpeg_is_that_of_its_pixels():
    smooth = tf.image.resize(photo(6, 5), (240, 200)).numpy().clip(0, 255).astype("uint8")
    data = tf.io.encode_jpeg(smooth, quality=100)
    whole = tf.io.decode_jpeg(data)
    pipeline = parse_augmentation("inception_crop(64)")
    for i in range(4):
        seed = tf.constant([0, i])
        fused, plain = pipeline.augment_image(data, seed), pipeline.augment_image(whole, seed)
        assert np.abs(fused - plain).mean() < 1     # JPEG's blocks meet the crop elsewhere
    png = tf.io.encode_png(smooth)
    np.testing.assert_allclose(pipeline.augment_image(png, SEED), pipeline.augment_image(smooth, SEED))


def test_crops_are_windows():
    x = photo()
    found = parse_augmentation("crop(16)").augment_image(x, SEED).numpy()
    assert any((x[i:i + 16, j:j + 16] == found).all() for i in range(33) for j in range(25))
    padded = np.pad(x[:32, :32], [(4, 4), (4, 4), (0, 0)])
    found = parse_augmentation("pad_crop(32, 4)").augment_image(x[:32, :32], SEED).numpy()
    assert any((padded[i:i + 32, j:j + 32] == found).all() for i in range(9) for j in range(9))
    corners = {
        tuple(
            parse_augmentation("crop(47)")
            .augment_image(np.arange(48 * 48 * 3, dtype="float32").reshape(48, 48, 3), tf.constant([0, i]))
            .numpy()[0, 0])
        for i in range(40)}
    assert len(corners) == 4                        # both ends of both directions are reached
    assert parse_augmentation("scale(24, 24)|crop(24)").augment_image(x, SEED).shape == (24, 24, 3)
    assert parse_augmentation("crop(64)").augment_image(x, SEED).shape == (64, 64, 3)


def test_flip_is_every_second_image():
    x = photo()
    found = [parse_augmentation("flip").augment_image(x, tf.constant([1, i])).numpy() for i in range(64)]
    flipped = [bool((f == x[:, ::-1]).all()) for f in found]
    assert all(flip or (f == x).all() for f, flip in zip(found, flipped)) and 16 < sum(flipped) < 48


def test_nothing_to_do_changes_nothing():
    x = photo().astype("float32")
    for text in ("jitter(0)", "lighting(0)", "affine(0)", "erase(0)"):
        np.testing.assert_allclose(parse_augmentation(text).augment_image(x, SEED), x, atol=1e-3)


def test_erase():
    x = photo(64, 64).astype("float32")
    shares = []
    for i in range(40):
        found = parse_augmentation("erase(1)").augment_image(x, tf.constant([0, i])).numpy()
        changed = (found != x).any(-1)
        rows, columns = changed.any(1), changed.any(0)
        assert rows.sum() * columns.sum() * 0.9 < changed.sum()            # a rectangle
        np.testing.assert_allclose(
            found[changed], np.broadcast_to(x.mean((0, 1)), found[changed].shape), atol=1e-2)
        shares.append(changed.mean())
    assert 0.01 < min(shares) < 0.1 and 0.2 < max(shares) < 0.35
    hit = [
        (parse_augmentation("erase(0.25)").augment_image(x, tf.constant([1, i])).numpy() != x).any()
        for i in range(100)]
    assert 10 < sum(hit) < 40


@pytest.mark.parametrize("text", ["mixup(1.0)", "cutmix(1.0)", "mixup(1.0)|cutmix(1.0)"])
def test_mixing(text):
    """Labels say what share of whose pixels an image has."""
    x = np.zeros((4, 16, 16, 3), "float32") + np.arange(4, dtype="float32")[:, None, None, None]
    y = np.eye(4, dtype="float32")
    shares, means = [], []
    for i in range(20):
        mixed, labels = parse_augmentation(text).augment_batch(
            tf.constant(x), tf.constant(y), tf.constant([0, i]))
        np.testing.assert_allclose(labels.numpy().sum(1), 1, atol=1e-6)
        np.testing.assert_allclose(mixed.numpy().mean((1, 2, 3)), labels.numpy() @ np.arange(4), atol=1e-4)
        shares.append(labels.numpy()[0, 0])
        means.append(set(np.unique(mixed)) <= {0, 1, 2, 3})
    assert len(set(shares)) > 10
    assert {"mixup(1.0)": not any(means), "cutmix(1.0)": all(means)}.get(text, any(means) and not all(means))


def test_beta():
    shares = [float(augment_ops._draw_beta(tf.constant([0, i]), 1.0)) for i in range(300)]
    assert abs(np.mean(shares) - 0.5) < 0.05 and abs(np.var(shares) - 1 / 12) < 0.02


@needs_keras_cv
def test_operations_are_pillows():
    x = photo(64, 64) // 2 + np.arange(64, dtype="uint8")[:, None, None]
    image, ops, one = Image.fromarray(x), randaugment.OPERATIONS, tf.ones([])

    def run(name, strength):
        return tf.convert_to_tensor(ops[name](tf.constant(x[None], tf.float32), strength * one))[0].numpy()
    for name, strength, expected in (
        ("equalize", 0, ImageOps.equalize(image)), ("autocontrast", 0, ImageOps.autocontrast(image)),
        ("solarize", 100, ImageOps.solarize(image, 100)), ("posterize", 3, ImageOps.posterize(image, 3))):
        assert np.abs(run(name, strength) - np.asarray(expected, "float32")).max() <= 1.01, name
    for name in ("color", "contrast", "brightness", "sharpness"):
        np.testing.assert_allclose(run(name, 1.0), x, atol=1e-3)
    for name in ("shear_x", "shear_y", "translate_x", "translate_y", "rotate", "solarize_add"):
        np.testing.assert_allclose(run(name, 0.0), x, atol=1e-3)
    assert np.abs(run("color", 0.0) - np.asarray(image.convert("L"), "float32")[..., None]).max() <= 1.5
    np.testing.assert_allclose(run("translate_x", 0.25)[:, 16:], x[:, :48], atol=1e-3)
    assert (run("translate_y", -0.25)[48:] == randaugment._GREY).all()


@needs_keras_cv
@pytest.mark.parametrize("space", [randaugment.RANDAUGMENT_SPACE, randaugment.TRIVIALAUGMENT_SPACE])
def test_strengths_grow(space):
    """At magnitude 0 an operation of degree does nothing, or least; both signs are drawn."""
    x = tf.constant(photo()[None], tf.float32)
    for name, strength in space.items():
        if name in ("identity", "autocontrast", "equalize"):
            continue
        change = [
            float(
                tf.reduce_mean(
                    abs(randaugment.OPERATIONS[name](x, strength(tf.constant(m), tf.constant(1.0))) - x)))
            for m in (0.0, 1.0)]
        assert change[0] < change[1] and (change[0] < 1e-3 or name in ("posterize", "solarize")), (
            name, change)


@needs_keras_cv
def test_colours_need_three_channels():
    for name in ("randaugment(2, 9)", "trivialaugment", "jitter(0.4)", "lighting(0.1)"):
        with pytest.raises(ValueError, match="needs colours, but these images have 1 channel"):
            parse_augmentation(name).augment_image(photo(channels=1), SEED)
    assert (
        parse_augmentation("affine(0.26, 0.1, 0.1)|flip|erase(0.5)")
        .augment_image(photo(channels=1), SEED)
        .shape[-1]
        == 1)
