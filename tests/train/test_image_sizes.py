"""Images whose height and width differ: in recipes, augmentations, evaluation, cost, and in the shell."""
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import reskeras
from reskeras.cli import main
from reskeras.train.augment import parse_augmentation
from reskeras.train.image_size import convert_size, describe_size, to_sides
from reskeras.train.training import Training

IMAGES = np.random.default_rng(0).integers(0, 256, (9, 20, 30, 3), "uint8")
LABELS = np.arange(9) % 3


@pytest.mark.parametrize("value, size", [
    (224, 224), (224.0, 224), ("224x320", (224, 320)), ((224, 320), (224, 320)), ([224, 320], (224, 320)),
    ((32, 32), 32), ("32x32", 32), (np.int64(8), 8), (" 8 x 12 ", (8, 12))])
def test_sizes(value, size):
    assert convert_size("size", value) == size and type(convert_size("size", value)) is type(size)
    assert Training(epochs=1, size=value).size == size
    assert to_sides(size) == (size if isinstance(size, tuple) else (size, size))


@pytest.mark.parametrize("value", [0, -1, 2.5, float("inf"), True, "x", "224", "3x", "1x2x3", (1,), (1, 2, 3),
                                   (0, 5), (2.5, 3), None, {}])
def test_what_is_no_size(value):
    with pytest.raises(ValueError, match="^test_size=.*: expected pixels on a side, or .*224x320"):
        Training(epochs=1, test_size=value)


def test_recipe_takes_its_crops_along():
    recipe = reskeras.get_recipe("rsb_a2")
    changed = recipe.override({"size": "192x320"})
    assert changed.training.size == (192, 320) and changed.training.augmentation == (
        recipe.training.augmentation.replace("(224", "((192, 320)"))
    assert parse_augmentation(changed.training.augmentation).size == (192, 320)
    assert changed.override({"size": 224}).training.augmentation == recipe.training.augmentation
    cifar = reskeras.get_recipe("cifar_he").override(["size=(32, 48)"]).training
    assert (cifar.test_size, cifar.augmentation) == ((32, 48), "pad_crop((32, 48), 4)|flip")
    assert describe_size((192, 320)) == "192 x 320"


@pytest.mark.parametrize("name", ["inception_crop", "random_resized_crop", "tpu_crop", "torch7_crop", "crop",
                                  "resize", "pad_crop"])
def test_crops_are_as_those_of_squares(name):
    """A crop of 12 x 12 pixels has the pixels that the text with one number gives; one of 8 x 12 its own."""
    more = ", 2" if name == "pad_crop" else ""
    square, pair, other = (parse_augmentation(f"{name}({size}{more})")
                           for size in ("12", "(12, 12)", "(8, 12)"))
    x = tf.cast(IMAGES[0], tf.float32)
    np.testing.assert_array_equal(square.augment_image(x, [1, 2]), pair.augment_image(x, [1, 2]))
    image = other.augment_image(x, [1, 2]).numpy()
    assert image.shape == (8, 12, 3) and np.isfinite(image).all() and image.std() > 1
    if name == "resize":
        resized = tf.image.resize(x, (8, 12), antialias=True)
        np.testing.assert_allclose(image, tf.clip_by_value(resized, 0, 255))
    if name in ("crop", "pad_crop"):
        found = [(i, j) for i in range(-2, 15) for j in range(-2, 21) if np.array_equal(
            np.pad(IMAGES[0], [(2, 2), (2, 2), (0, 0)])[i + 2:i + 10, j + 2:j + 14], image)]
        assert len(found) == 1


def test_evaluation_and_prediction_in_the_shell(tmp_path, capsys):
    """The net of another program, on the middle of images that were resized with Pillow as timm does it."""
    net = reskeras.CifarResNet20(weights=None, classes=3, depths=(1,), widths=(16,), strides=(1,),
                                 input_shape=(8, 16, 3))
    prepare = reskeras.Preprocessing((8, 16), crop_pct=0.8, interpolation="bilinear")
    net = reskeras.set_metadata(net, prepare, ["a", "b", "c"])
    reskeras.save(net, tmp_path / "net.keras")
    np.savez(tmp_path / "images.npz", x=IMAGES, y=LABELS)
    # 20 x 30 pixels to 13.3 x 20, which fill 10 x 20; the middle 8 x 16 of them
    resized = np.stack([np.asarray(Image.fromarray(x).resize((20, 13), Image.Resampling.BILINEAR))
                        for x in IMAGES])
    x = prepare.normalize(resized[:, 2:10, 2:18].astype("float32"))
    expected = net.predict(x, verbose=0)
    np.testing.assert_allclose(net.predict(prepare(IMAGES), verbose=0), expected, atol=1e-2)
    accuracy = 100 * np.mean(net.predict(prepare(IMAGES), verbose=0).argmax(1) == LABELS)
    assert main(["evaluate", str(tmp_path / "net.keras"), "--data", f"npz:{tmp_path / 'images.npz'}"]) == 0
    out = capsys.readouterr().out
    assert "9 images of 8 x 16 pixels" in out and f"top-1 {accuracy:.2f} %" in out
    assert main(["evaluate", str(tmp_path / "net.keras"), "--data", f"npz:{tmp_path / 'images.npz'}",
                 "--crops", "10"]) == 0
    assert "10 crops of each" in capsys.readouterr().out


def test_training_in_the_shell(tmp_path):
    """Trained on 8 x 12, validated on 10 x 16; the run folder says so, and is resumed."""
    np.savez(tmp_path / "images.npz", x=IMAGES, y=LABELS)
    data = f"npz:{tmp_path / 'images.npz'}"
    options = {"recipe": "cifar_he", "data": data, "validation-data": data, "size": "8x12",
               "test-size": "(10, 16)", "augmentation": "random_resized_crop((8, 12))", "batch-size": "3",
               "epochs": "1", "warmup": "0", "schedule": "constant", "verbose": "0",
               "output": str(tmp_path / "run")}
    command = ["train", "cifar_resnet20"]
    for name, value in options.items():
        command += [f"--{name}", value]
    for override in ("depths=(1,)", "widths=(16,)", "strides=(1,)"):
        command += ["--model-overrides", override]
    assert main(command) == 0
    net = reskeras.load(tmp_path / "run" / "last.keras")
    assert net.input_shape == (None, None, None, 3)
    assert reskeras.get_preprocessing(net)(IMAGES).shape == (9, 10, 16, 3)
    assert main(["train", "--resume", str(tmp_path / "run"), "--verbose", "0"]) == 0
    head = 16 * 3       # the classifier does not see the size
    assert reskeras.cost(net, (8, 16)).macs - head == 2 * (reskeras.cost(net, (8, 8)).macs - head)


def test_sizes_that_do_not_fit():
    net = reskeras.CifarResNet20(weights=None, classes=3, depths=(1,), widths=(16,), strides=(1,),
                                 input_shape=(8, 16, 3))
    with pytest.raises(ValueError, match=r"takes images of 8 x 16 pixels, but the recipe cifar_he trains "
                                         r"with 32: set `size` to \(8, 16\), or build it with input_shape"):
        reskeras.fit(net, (IMAGES, LABELS), "cifar_he", batch_size=3, preprocessing="cifar_resnet20.cifar10")
    with pytest.raises(ValueError, match="images of `size` pixels, 8 x 16, not of 8"):
        reskeras.fit(net, (IMAGES, LABELS), "cifar_he", batch_size=3, preprocessing="cifar_resnet20.cifar10",
                     size=(8, 16), augmentation="crop(8)")
