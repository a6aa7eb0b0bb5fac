"""`reskeras.commands.predict`: image files of every kind to classes, and what becomes of those that are none.
"""
import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image

from reskeras.model_metadata import ModelMetadata
from reskeras.model_with_metadata import ModelWithMetadata
from reskeras.commands.html import encode_png
from reskeras.images.decode import decode_image
from reskeras.commands.predict import predict
from reskeras.images.labels import get_label_set
from reskeras.inputs_outputs import get_preprocessing
from reskeras.weights.table import EMBEDDED_FOLDER, get_weights

NET = "cifar_resnet20.digits"
SAVED_MODELS = pathlib.Path(__file__).parents[2] / "saved_models"
NO_IMAGE = "not a readable JPEG, PNG, GIF, BMP, WebP, TIFF or HEIC image"
ROW = get_weights("resnet50v1_5.a1_in1k")


@pytest.fixture(scope="module")
def test_digits():
    pytest.importorskip("sklearn")
    from reskeras.commands.digits import load_digits
    return load_digits()[2]


@pytest.fixture(scope="module")
def files(tmp_path_factory, test_digits):
    folder = tmp_path_factory.mktemp("digits")
    for c in range(10):
        image = test_digits.pixels[np.flatnonzero(test_digits.labels == c)[1]]
        (folder / f"{c}.png").write_bytes(encode_png(image))
    return [folder / f"{c}.png" for c in range(10)]


@pytest.fixture(scope="module")
def photos():
    datasets = pytest.importorskip("sklearn.datasets")
    folder = pathlib.Path(datasets.__file__).parent / "images"
    return [folder / "china.jpg", folder / "flower.jpg"]


def imagenet(path, metadata=ModelMetadata.from_checkpoint(ROW), scales=False):
    """A net that calls everything by its mean blue: 100 where there is none, 1 more for each hundredth of the
    deviation.
    """
    image = keras.Input((64, 64, 3))
    x = layers.Rescaling(1 / 255, -0.5, name="preprocessing")(image) if scales else image
    x = layers.Dense(1000, name="predictions")(layers.GlobalAveragePooling2D()(x))
    net = ModelWithMetadata(image, x, name="imagenet", metadata=metadata)
    # the nearest one wins: -(b - c)^2 up to what all have in common
    centres = (np.arange(1000) - 500) / 200
    net.get_layer("predictions").set_weights([np.stack([0 * centres, 0 * centres, 2000 * centres]),
                                              -1000 * centres ** 2])
    if path:
        net.save(path)
    return net


@pytest.mark.parametrize("model", [NET, "keras", "tflite"])
def test_digits_are_named(files, model):
    files_of = {"keras": EMBEDDED_FOLDER / f"{NET}.keras", "tflite": SAVED_MODELS / f"{NET}.int8.tflite"}
    given = {} if model == NET else {"preprocessing": NET, "labels": "digits"}
    results = predict(files_of.get(model, model), files, top=3, **given)
    assert [r["image"] for r in results] == [str(f) for f in files]
    assert sum(r["predictions"][0]["label"] == str(c) for c, r in enumerate(results)) >= 9
    for r in results:
        first, second, third = (p["score"] for p in r["predictions"])
        assert 1.05 >= first >= second >= third >= 0


def test_one_path_and_more_classes_than_there_are(files):
    (result,) = predict(NET, str(files[3]), top=99)
    assert len(result["predictions"]) == 10
    assert sum(p["score"] for p in result["predictions"]) == pytest.approx(1, abs=1e-5)
    assert result["predictions"][0]["label"] == "3" and json.loads(json.dumps(result)) == result


def test_photographs_by_the_embedded_net(photos):
    """It knows digits only, but a photograph is an image: it is resized and made gray."""
    results = predict(NET, photos)
    assert all(len(r["predictions"]) == 5 and "error" not in r for r in results)


def test_photographs_by_a_net_that_remembers(photos, tmp_path):
    net = imagenet(tmp_path / "net.keras")
    expected = net.predict(get_preprocessing(net)(photos), verbose=0)
    for model in (tmp_path / "net.keras", str(tmp_path / "net.keras"), net):
        for result, scores in zip(predict(model, photos, top=2), expected):
            best = result["predictions"][0]
            assert (best["id"], best["label"]) == get_label_set("imagenet-1k")[scores.argmax()]
            assert 0 < best["score"] <= 1 and len(result["predictions"]) == 2


def test_a_net_with_preprocessing_inside(photos, tmp_path):
    outside = imagenet(None, ModelMetadata(preprocessing=get_preprocessing(ROW).without_scaling()),
                       scales=True)
    expected = outside.predict(get_preprocessing(ROW).without_scaling().for_input_shape((64, 64, 3))(photos),
                               verbose=0).argmax(1)
    imagenet(tmp_path / "told.keras", None, scales=True)
    for model, given in ((outside, {}), (outside, {"preprocessing": ROW}),
                         (tmp_path / "told.keras", {"preprocessing": ROW.name})):
        assert [int(r["predictions"][0]["id"]) for r in predict(model, photos, **given)] == list(expected)


def test_a_model_around_a_net(photos, tmp_path):
    """Its pixels are the net's, so is their preprocessing; and what is scaled inside is not scaled again."""
    net, scaling = imagenet(None), imagenet(None,
                                            ModelMetadata.from_checkpoint(ROW, include_preprocessing=True),
                                            scales=True)
    expected, scaled = predict(net, photos), predict(scaling, photos)
    image = keras.Input((64, 64, 3))
    for same, results in ((keras.Sequential([image, net, layers.Softmax()]), expected),
                          (keras.Sequential([image, scaling]), scaled),
                          (keras.Sequential([image, keras.Sequential([image, scaling])]), scaled)):
        same.save(tmp_path / "around.keras")
        for model in (same, tmp_path / "around.keras"):
            for given in ({}, {"preprocessing": ROW.name, "labels": "imagenet-1k"}):
                assert [r["predictions"][0]["label"] for r in predict(model, photos, **given)] == [
                    r["predictions"][0]["label"] for r in results]
    telling = ModelMetadata.from_checkpoint(ROW).preprocessing.as_layers(resize=False)
    before = keras.Sequential([image, *telling, net])        # scaled by layers of the caller's
    labels, expected_labels = ([r["predictions"][0]["label"] for r in results]
                               for results in (predict(before, photos), expected))
    assert labels == expected_labels


def test_every_kind_of_file_is_the_same_image(photos, tmp_path):
    rgb = Image.open(photos[1]).resize((96, 64))
    alpha = rgb.copy()
    alpha.putalpha(200)
    frames = [rgb.quantize(255), rgb.rotate(180).quantize(255)]
    rgb.save(tmp_path / "rgb.png")
    alpha.save(tmp_path / "rgba.png")
    rgb.save(tmp_path / "rgb.bmp")
    rgb.save(tmp_path / "rgb.jpg", quality=98)
    rgb.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=98)
    frames[0].save(tmp_path / "animated.gif", save_all=True, append_images=frames[1:])
    names = ["rgb.png", "rgba.png", "rgb.bmp", "rgb.jpg", "cmyk.jpg", "animated.gif"]
    net = imagenet(None, ModelMetadata.from_checkpoint(ROW, include_labels=False))
    best = [int(r["predictions"][0]["id"]) for r in predict(net, [tmp_path / n for n in names])]
    assert best[0] == best[1] == best[2] and max(best) - min(best) <= 20, best
    rgb.convert("L").save(tmp_path / "gray.jpg", quality=98)
    rgb.convert("L").convert("RGB").save(tmp_path / "gray.png")
    first, second = predict(net, [tmp_path / "gray.jpg", tmp_path / "gray.png"], top=1)
    assert abs(int(first["predictions"][0]["id"]) - int(second["predictions"][0]["id"])) <= 2


def test_grey_kinds_by_a_grey_net(files, tmp_path):
    gray = tf.constant(decode_image(pathlib.Path(files[5]).read_bytes())[..., :1])
    large = tf.cast(tf.repeat(tf.repeat(gray, 8, 0), 8, 1), tf.uint8)
    rgb, white = tf.image.grayscale_to_rgb(large), tf.fill(large.shape, tf.constant(255, tf.uint8))
    kinds = {"g.png": tf.io.encode_png(large), "rgb.png": tf.io.encode_png(rgb),
             "ga.png": tf.io.encode_png(tf.concat([large, white], -1)),
             "rgba.png": tf.io.encode_png(tf.concat([rgb, white], -1)),
             "sixteen.png": tf.io.encode_png(tf.cast(large, tf.uint16) * 257),
             "g.jpg": tf.io.encode_jpeg(large, quality=98), "rgb.jpg": tf.io.encode_jpeg(rgb, quality=98)}
    for name, data in kinds.items():
        (tmp_path / name).write_bytes(data.numpy())
    results = predict(NET, [tmp_path / name for name in kinds])
    for r in results:
        assert "error" not in r and r["predictions"][0]["label"] == "5", r
    tops = [r["predictions"][0]["score"] for r in results]
    assert max(tops) - min(tops) < 0.02


def broken(folder, photo):
    cut, text, empty, directory = (folder / n for n in ("cut.jpg", "text.jpg", "empty.png", "folder"))
    cut.write_bytes(photo.read_bytes()[:20000])
    text.write_text("no image")
    empty.touch()
    directory.mkdir()
    return [cut, text, empty, directory, folder / "missing.png"]


def test_files_that_are_no_images_are_named_and_skipped(files, photos, tmp_path):
    paths = broken(tmp_path, photos[0])
    results = predict(NET, [*paths[:1], files[1], *paths[1:]])
    assert [r.get("error") for r in results] == [
        NO_IMAGE, None, NO_IMAGE, NO_IMAGE, "is a folder; expected a regular file",
        "no such file or directory"]
    assert [r["image"] for r in results] == [str(p) for p in [*paths[:1], files[1], *paths[1:]]]


def test_command_line(files, photos, tmp_path, capfd):
    from reskeras.cli import main
    paths = [*map(str, broken(tmp_path, photos[0])), str(files[3])]
    assert main(["predict", *paths, "--model", NET, "--top", "2", "--json"]) == 1
    out, err = capfd.readouterr()
    assert [r["image"]
            for r in json.loads(out)] == paths and json.loads(out)[-1]["predictions"][0]["label"] == "3"
    assert all(f"reskeras predict: {path}: " in err for path in paths[:-1])
    assert main(["predict", paths[-1], "--model", NET, "--top", "1"]) == 0
    assert capfd.readouterr().out.startswith(f"{paths[-1]}: 3 ")


def test_labels(files, photos, tmp_path):
    unnamed = imagenet(None, ModelMetadata.from_checkpoint(ROW, include_labels=False))
    (plain,), (given,) = predict(unnamed, photos[0], top=1), predict(unnamed, photos[0], top=1,
                                                                     labels="imagenet-1k")
    index = int(plain["predictions"][0]["label"])
    assert given["predictions"][0]["id"] == get_label_set("imagenet-1k")[index][0]
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"kind {i}" for i in range(10)))
    for labels in (names, str(names), [f"kind {i}" for i in range(10)]):
        assert predict(NET, files[7], top=1, labels=labels)[0]["predictions"][0]["label"] == "kind 7"
    with pytest.raises(ValueError, match="one name for each of the 10 classes, not 2"):
        predict(NET, files[7], labels=["cat", "dog"])
    wrong = imagenet(None, ModelMetadata.from_checkpoint(get_weights("resnetv2_50x1_bit.goog_in21k"),
                                                         include_labels=True))
    with pytest.raises(ValueError, match="imagenet-21k'.*for each of the 1000 classes, not 21843"):
        predict(wrong, photos[0], top=1)


def test_nothing_is_guessed(files, tmp_path):
    imagenet(tmp_path / "net.keras", None)
    with pytest.raises(ValueError, match="preprocessing=None.*does not say how its images are prepared"):
        predict(tmp_path / "net.keras", files)
    # without the .json that lies beside it in saved_models: it holds the same inside
    alone = tmp_path / "alone.tflite"
    alone.write_bytes((SAVED_MODELS / f"{NET}.int8.tflite").read_bytes())
    assert predict(alone, files[3], top=1)[0]["predictions"][0]["label"] == "3"
    assert predict(SAVED_MODELS / f"{NET}.int8.tflite", files[3], top=1)[0]["predictions"][0]["label"] == "3"


def test_what_an_export_holds_counts_more_than_a_file_beside_it(files, tmp_path):
    file = tmp_path / "net.tflite"
    file.write_bytes((SAVED_MODELS / f"{NET}.int8.tflite").read_bytes())
    metadata = ModelMetadata(preprocessing=get_preprocessing(NET),
                             labels=tuple("zero one two three four five six seven eight nine".split()))
    (tmp_path / "net.tflite.json").write_text(json.dumps({"bytes": 1, "memory": metadata.get_config()}))
    assert [predict(file, files[c], top=1)[0]["predictions"][0]["label"] for c in (0, 3)] == ["0", "3"]


def test_a_published_net_by_name(photos, monkeypatch):
    """Built by `create`, which loads the weights."""
    requested = []

    def create(name):
        requested.append(name)
        return imagenet(None)
    monkeypatch.setattr("reskeras.catalog.create", create)
    (result,) = predict(ROW.name, photos[0])
    assert requested == [ROW.name] and result["predictions"][0]["id"].startswith("n0")
    predict("timm/resnet50.a1_in1k", photos[0])
    predict("resnet50v1_5", photos[0])
    assert all(get_weights(name).variant == "resnet50v1_5" for name in requested)


@pytest.mark.parametrize("model, message", [
    ("cifar_resnet20b", "no weights of cifar_resnet20b|default"),
    ("cifar_resnet20.letters", "expected a tag of cifar_resnet20"),
    ("cifar_resnt20.digits", "did you mean 'cifar_resnet20"),
])
def test_name_without_weights(files, model, message):
    with pytest.raises(ValueError, match=message):
        predict(model, files[0])


def test_model_that_cannot_classify_images(files, tmp_path):
    with pytest.raises(FileNotFoundError, match="net.keras: no such file"):
        predict(tmp_path / "net.keras", files[0])
    (tmp_path / "net.tflite").write_bytes(b"no net")
    with pytest.raises(ValueError, match="net.tflite is not a TFLite file"):
        predict(tmp_path / "net.tflite", files[0])
    (tmp_path / "net.keras").write_bytes(b"no net")
    with pytest.raises(ValueError, match="cannot be read as a Keras file"):
        predict(tmp_path / "net.keras", files[0])
    with pytest.raises(ValueError, match="not built"):
        predict(keras.Sequential([layers.Dense(3)]), files[0], preprocessing=NET)
    image = keras.Input((8, 8, 5))
    with pytest.raises(ValueError, match="takes 5 channels; .* defined for 1 and 3"):
        predict(keras.Model(image, layers.GlobalAveragePooling2D()(image)), files[0], preprocessing=NET)
    image = keras.Input((8, 8, 1))
    with pytest.raises(ValueError, match="one number per class"):
        predict(keras.Model(image, layers.ReLU()(image)), files[0], preprocessing=NET)
    with pytest.raises(ValueError, match="top=0"):
        predict(NET, files[0], top=0)
