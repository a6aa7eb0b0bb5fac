"""Images of any channels, of 16 bits and floats, are trained and evaluated by value; sizes are not square."""
import dataclasses
import io
import resource
import struct
import zlib

import keras
import numpy as np
import pytest
from PIL import Image
from stopping import StopInSecondEpoch

import reskeras
from reskeras.cli import main
from reskeras.images.preprocessing import Preprocessing
from reskeras.images.values import decode_values
from reskeras.train.augment import parse_augmentation
from reskeras.train.data import ImageDataset
from reskeras.train.pixel_values import measure_normalization
from reskeras.train.sources import open_source

rng = np.random.default_rng(0)
LABELS = np.arange(24) // 8         # in the order of the folders of the classes
# twelve bands of 16 bits, whose means and deviations differ by a thousand times
BANDS = (rng.normal(size=(24, 8, 12, 12)) * np.geomspace(1, 1000, 12) + 20_000).astype("uint16")
BANDS += (LABELS * 800).astype("uint16")[:, None, None, None]
TRAINING = {"size": (8, 12), "augmentation": "", "batch_size": 8, "epochs": 2, "learning_rate": 0.5,
            "base_batch_size": 8, "schedule": "constant", "weight_decay": 0.0, "momentum": 0.0}
NET = {"depths": (1,), "widths": (16,), "strides": (1,)}


def make_net(channels=12):
    keras.utils.set_random_seed(0)
    return reskeras.CifarResNet20(weights=None, classes=3, input_shape=(8, 12, channels), **NET)


def fit(net, data, **options):
    options = {"overrides": TRAINING, "deterministic": True, "verbose": 0, **options}
    return reskeras.fit(net, data, "cifar_he", strategy="none", **options)


def train_in_keras(x, epochs=2):
    """The same net, trained by Keras' own step on normalized values, in the order of a permutation for each
    epoch.
    """
    net = make_net(x.shape[-1])
    net.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    for epoch in range(epochs):
        order = np.random.default_rng((0, epoch)).permutation(len(x))
        for begin in range(0, len(x), 8):
            net.train_on_batch(x[order[begin:begin + 8]], LABELS[order[begin:begin + 8]])
    return net


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bands")
    history = fit(make_net(), (BANDS, LABELS), validation_data=(BANDS, LABELS), output=folder / "run")
    return history, folder / "run"


def test_weights_are_those_of_keras(trained):
    """With the mean and the deviation of each band, as NumPy computes them."""
    mean, std = BANDS.mean((0, 1, 2)), BANDS.std((0, 1, 2))
    preprocessing = reskeras.get_metadata(trained[0].model).preprocessing
    np.testing.assert_allclose(preprocessing.mean, mean, rtol=1e-9)
    np.testing.assert_allclose(preprocessing.std, std, rtol=1e-6)
    expected = train_in_keras(((BANDS - mean) / std).astype("float32"))
    before = make_net().get_weights()
    for own, other in zip(trained[0].model.get_weights(), expected.get_weights()):
        np.testing.assert_allclose(own, other, atol=2e-4 * max(1, np.abs(other).max()))
    assert max(np.abs(a - b).max() for a, b in zip(expected.get_weights(), before)) > 0.1


def test_saved_net_evaluates_as_keras(trained, tmp_path, capsys):
    net = reskeras.load(trained[1] / "last.keras")
    preprocessing = reskeras.get_metadata(net).preprocessing
    assert preprocessing.pixels == "values" and preprocessing.size == (8, 12)
    x = ((BANDS - np.array(preprocessing.mean)) / np.array(preprocessing.std)).astype("float32")
    np.testing.assert_allclose(reskeras.get_preprocessing(net)(BANDS), x, atol=1e-3)
    accuracy = 100 * np.mean(net.predict(x, verbose=0).argmax(1) == LABELS)
    assert reskeras.evaluate(net, (BANDS, LABELS)).top1 == pytest.approx(accuracy)

    # the same from files, in the shell
    np.savez(tmp_path / "bands.npz", x=BANDS, y=LABELS)
    write_arrays(tmp_path / "images")
    for data in (f"npz:{tmp_path / 'bands.npz'}", f"folder:{tmp_path / 'images'}"):
        assert main(["evaluate", str(trained[1] / "last.keras"), "--data", data]) == 0
        assert f"top-1 {accuracy:.2f} %" in capsys.readouterr().out
    file = tmp_path / "images" / "0" / "01.npy"
    assert main(["predict", "--model", str(trained[1] / "last.keras"), str(file), "--top", "1"]) == 0
    assert f": {net.predict(x[1:2], verbose=0).argmax()} " in capsys.readouterr().out


def write_arrays(folder):
    """An .npy file for each image, in a folder for its class."""
    for i, image in enumerate(BANDS):
        (folder / str(LABELS[i])).mkdir(parents=True, exist_ok=True)
        np.save(folder / str(LABELS[i]) / f"{i:02}.npy", image)
    return folder


def test_resumes_from_files_to_the_same_weights(trained, tmp_path):
    """A training on .npy files is stopped in its second epoch, and resumed in the shell."""
    with pytest.raises(KeyboardInterrupt):
        make_net().save(tmp_path / "net.keras")
        fit(tmp_path / "net.keras", f"folder:{write_arrays(tmp_path / 'images')}", output=tmp_path / "run",
            overrides={**TRAINING, "augmentation": "resize((8, 12))", "size": "8x12"}, save_every=1,
            callbacks=[StopInSecondEpoch()])
    assert main(["train", "--resume", str(tmp_path / "run"), "--verbose", "0"]) == 0
    net = reskeras.load(tmp_path / "run" / "last.keras")
    for own, other in zip(net.get_weights(), trained[0].model.get_weights()):
        np.testing.assert_allclose(own, other, atol=2e-4 * max(1, np.abs(other).max()))


def test_files_of_16_bits_and_bands():
    deep = rng.integers(0, 2 ** 16, (5, 7), dtype="uint16")
    file = io.BytesIO()
    Image.fromarray(deep).save(file, "PNG")
    np.testing.assert_array_equal(decode_values(file.getvalue())[..., 0], deep)
    file, four = io.BytesIO(), rng.integers(0, 256, (5, 7, 4), dtype="uint8")
    Image.fromarray(four).save(file, "PNG")
    np.testing.assert_array_equal(decode_values(file.getvalue(), 4), four)
    with pytest.raises(ValueError, match=r"shape \(5, 7, 4\); expected \(height, width, 3\)"):
        decode_values(file.getvalue(), 3)
    file = io.BytesIO()
    Image.fromarray(four).save(file, "TIFF")
    tifffile = pytest.importorskip("tifffile")
    np.testing.assert_array_equal(decode_values(file.getvalue(), 4), four)
    for options in ({"planarconfig": "contig"}, {"planarconfig": "separate"}):
        file, values = io.BytesIO(), rng.normal(size=(5, 7, 6)).astype("float32")
        stored = values if options["planarconfig"] == "contig" else values.transpose(2, 0, 1)
        tifffile.imwrite(file, stored, photometric="minisblack", **options)
        np.testing.assert_array_equal(decode_values(file.getvalue(), 6), values)


def test_hostile_tiff_takes_no_memory():
    """A strip that unpacks to 1 GB, and a tile of 60,000 x 60,000 pixels, in a picture of 64 x 64."""
    tifffile = pytest.importorskip("tifffile")
    file, zeros = io.BytesIO(), np.zeros((64, 64, 6), "uint16")
    tifffile.imwrite(file, zeros, photometric="minisblack", planarconfig="contig", compression="zlib")
    data = bytearray(file.getvalue())
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as tiff:
        places = [tiff.pages[0].tags[name].valueoffset for name in ("StripOffsets", "StripByteCounts")]
    bomb = zlib.compress(bytes(2 ** 30), 9)
    for place, number in zip(places, (len(data), len(bomb))):
        struct.pack_into("<I", data, place, number)

    tiled = io.BytesIO()
    tifffile.imwrite(tiled, zeros, photometric="minisblack", planarconfig="contig", tile=(64, 64))
    large = bytearray(tiled.getvalue())
    with tifffile.TiffFile(io.BytesIO(bytes(large))) as tiff:
        for name in ("TileWidth", "TileLength"):
            tag = tiff.pages[0].tags[name]
            struct.pack_into("<H" if int(tag.dtype) == 3 else "<I", large, tag.valueoffset, 60_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for wrong in (bytes(data) + bomb, bytes(large)):
        with pytest.raises(ValueError, match="not a readable TIFF image of bands") as error:
            decode_values(wrong)
        assert "\n" not in str(error.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000      # kB


@pytest.mark.parametrize("change, message", [
    (lambda data: data[:-3], "cut off"), (lambda data: data[:9], "not a readable .npy"),
    (lambda data: data.replace(b"(5, 7, 6)", b"(5, 7,99)"), "cut off"),
    (lambda data: data.replace(b"<f4", b"<c8"), "type complex64"),
    (lambda data: data.replace(b"(5, 7, 6)", b"(90000, )"), r"shape \(90000,\)")])
def test_damaged_arrays(change, message):
    file = io.BytesIO()
    np.save(file, np.zeros((5, 7, 6), "float32"))
    with pytest.raises(ValueError, match=message):
        decode_values(change(file.getvalue()))


def test_damaged_tiff_is_left_out_as_other_files(tmp_path):
    """Also if it is the first one, which says of all how they are taken."""
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), "uint8")).save(tmp_path / name / f"{i}.tif")
    (tmp_path / "a" / "0.tif").write_bytes(b"II*\0 no image")
    data = ImageDataset(f"folder:{tmp_path}", 2, prepare=Preprocessing((8, 8), crop_pct=1.0))
    assert sum(len(x) for x, _ in data.iterate_batches()) == 3
    assert data.unreadable_names == [str(tmp_path / "a" / "0.tif")]


def test_augmentations_by_value():
    """Nothing is rounded or limited to 0..255; a mirrored image is exactly one of the two."""
    values = rng.normal(size=(6, 8, 12, 5)).astype("float32") * 5000
    prepare = Preprocessing((8, 12), "values", mean=(0,) * 5, std=(1,) * 5, crop_pct=1.0)
    data = ImageDataset((values, LABELS[:6]), 4, prepare=prepare)
    images = np.concatenate([x for x, _ in data.iterate_batches()])
    np.testing.assert_array_equal(images, values)
    augmentation = dataclasses.replace(parse_augmentation("flip"), mean=(0.0,) * 5, has_values=True)
    for image in values:
        seen = {augmentation.augment_image(image, [i, 1]).numpy().tobytes() for i in range(12)}
        assert seen == {image.tobytes(), image[:, ::-1].tobytes()}
    for text in ("random_resized_crop((6, 4))", "inception_crop((6, 4))", "crop((6, 4))", "resize((6, 4))",
                 "torch7_crop((6, 4))",
                 "pad_crop((6, 4), 2)|erase(1.0)|random_erasing(1.0)|cutout(2)|affine(0.1)"):
        augmentation = dataclasses.replace(parse_augmentation(text), mean=(0.0,) * 5, has_values=True)
        image = augmentation.augment_image(values[0], [1, 2]).numpy()
        assert image.shape == (6, 4, 5) and np.abs(image).max() > 1000 and (image % 1).any()


@pytest.mark.parametrize("augmentation, name", [
    ("flip|jitter(0.1)", "jitter"), ("randaugment(2, 9)", "randaugment"), ("tpu_crop((8, 12))", "tpu_crop"),
    ("color_jitter(0.1)", "color_jitter"), ("timm_randaugment(2, 9)", "timm_randaugment")])
def test_augmentations_of_colors_are_refused_by_name(augmentation, name):
    with pytest.raises(ValueError,
                       match=f"no {name}, which takes RGB images of 8 bits only, for images of 12 channels"):
        fit(make_net(), (BANDS, LABELS), overrides={**TRAINING, "augmentation": augmentation},
            deterministic=False)


def test_four_channels_of_bytes_as_pixels():
    """With a mean and a deviation for each of them, in 0..1; also resized, as each channel alone."""
    x = rng.integers(0, 256, (3, 16, 24, 4), "uint8")
    mean, std = np.array([0.4, 0.5, 0.6, 0.3]), np.array([0.1, 0.2, 0.3, 0.4])
    same = Preprocessing((16, 24), mean=tuple(mean), std=tuple(std), crop_pct=1.0)
    np.testing.assert_allclose(same(x), (x / 255 - mean) / std, atol=1e-5)
    half = Preprocessing((8, 12), mean=tuple(mean), std=tuple(std), crop_pct=1.0, interpolation="bilinear")
    for i in range(4):
        gray = dataclasses.replace(half, mean=(mean[i],), std=(std[i],))
        np.testing.assert_allclose(half(x)[..., i:i + 1], gray(x[..., i:i + 1]), atol=1e-5)
    with pytest.raises(ValueError, match="images of 3 channels: expected 4"):
        half(x[..., :3])


def test_normalization_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="preprocessing='torch': expected one for images of 12 channels and "
                                         "type uint16.*it is for 3 channels of 8 bits.*or none to measure"):
        fit(make_net(), (BANDS, LABELS), preprocessing=Preprocessing((8, 12)))
    values = BANDS.astype("float32")
    values[3, 2, 1, 0] = np.nan
    with pytest.raises(ValueError, match="image 3 of arrays: it has values that are not finite"):
        fit(make_net(), (values, LABELS))


def test_normalization_of_constant_and_large_values():
    x = np.stack([np.full((4, 4), 7.0), np.linspace(1e9, 1e9 + 1500, 16).reshape(4, 4)], -1)[None]
    mean, std = measure_normalization(open_source((x.astype("float32"), [0])))
    assert mean[0] == 7 and std[0] == 1
    x = x.astype("float32").astype("float64")
    np.testing.assert_allclose((mean[1], std[1]), (x[..., 1].mean(), x[..., 1].std()), rtol=1e-9)


def test_finetuning_of_other_channels_begins_with_the_repeated_kernel():
    """As timm: the kernel of the one channel, repeated, so that the sum over the channels is the same."""
    options = {"overrides": {"size": (8, 12), "batch_size": 8, "head_epochs": 0, "epochs": 1, "warmup": 0,
                             "augmentation": "flip", "learning_rate": 1e-12}}
    net = reskeras.fit("cifar_resnet20.digits", (BANDS, LABELS), strategy="none", verbose=0, **options).model
    kernel = reskeras.create("cifar_resnet20.digits").get_layer("conv1_conv").get_weights()[0]
    np.testing.assert_allclose(net.get_layer("conv1_conv").get_weights()[0], np.repeat(kernel, 12, 2) / 12,
                               atol=1e-6)
