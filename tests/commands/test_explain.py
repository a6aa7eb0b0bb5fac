"""Grad-CAM against its closed form, in every family; the page; bad input."""
import re

import keras
import numpy as np
import pytest
from browser import opened
from keras import layers
from tiny import images, tiny, trained

import reskeras
from reskeras import cli
from reskeras.commands.explain import apply_colormap, explain, filter_tiles, make_mosaic, resize_bilinear
from reskeras.commands.html import encode_png
from reskeras.commands.grad_cam import get_first_filters, compute_grad_cam

LAST = {    # of every family: the map that its head reads
    "plainnet18": "conv5_block1_out", "resnet18": "conv5_block1_out", "resnet50": "conv5_block1_out",
    "resnet50v2": "post_relu", "resnetv2_50d": "post_relu", "resnetv2_50x1_bit": "post_relu",
        "resnet50_gn": "conv5_block1_out",
    "wide_resnet50_2": "conv5_block1_out", "resnext50_32x4d": "conv5_block1_out",
        "seresnet18": "conv5_block1_out",
    "ecaresnet26t": "conv5_block1_out", "skresnet18": "conv5_block1_out", "resnest14": "conv5_block1_out",
    "resnetrs50": "conv5_block1_out", "inception_v4": "inception_c1", "inception_resnet_v2": "conv_7b_ac",
    "cifar_resnet20": "conv4_block1_out", "cifar_preresnet164": "post_relu",
        "mlperf_tiny_resnet8": "conv4_block1_out"}


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    file = tmp_path_factory.mktemp("image") / "a <b>.png"
    file.write_bytes(encode_png(np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype("uint8")))
    return file


@pytest.mark.parametrize("row", LAST)
def test_grad_cam_is_the_class_activation_map(row):
    """Behind an average pool and a dense layer the mean gradient is a row of its kernel (Zhou et al. 2016,
    arXiv:1512.04150).
    """
    net = trained(tiny(row))
    image = images(net, 1)
    inside = compute_grad_cam(net, image, classes=[2, 5])
    assert inside.layer == LAST[row]
    maps = keras.Model(net.input, net.get_layer(inside.layer).output)(image, training=False)[0].numpy()
    kernel = net.get_layer("predictions").kernel.numpy()
    for number, cam in inside.cams.items():
        expected = np.maximum(maps @ kernel[:, number], 0)
        np.testing.assert_allclose(cam, expected / (expected.max() or 1), atol=2e-4)
    np.testing.assert_allclose(inside.scores, net(image, training=False)[0], atol=1e-6)


def test_the_likeliest_classes_and_the_stages():
    net = trained(tiny("seresnet50"))
    image = images(net, 1)
    inside = compute_grad_cam(net, image, top=2)
    assert list(inside.cams) == list(np.argsort(-net.predict(image, verbose=0)[0])[:2])
    assert list(inside.maps) == ["pool1_pool", "conv2_block2_out", "conv3_block1_out", "conv4_block1_out",
                                 "conv5_block1_out"]
    assert inside.maps["conv2_block2_out"].shape == (16, 16, 64)


def bright():
    """A net that says class 1 where the image is bright, and an image with a bright corner."""
    image = keras.Input((16, 16, 1))
    x = layers.Conv2D(1, 3, padding="same", kernel_initializer="ones", name="mean")(image)
    net = keras.Model(image,
                      layers.Softmax()(layers.Dense(2, name="last")(layers.GlobalAveragePooling2D()(x))))
    net.get_layer("last").set_weights([np.array([[-1.0, 1.0]]), np.zeros(2)])
    pixels = np.zeros((1, 16, 16, 1), "float32")
    pixels[0, 2:6, 9:13] = 1
    return net, pixels


def test_it_looks_where_the_evidence_is():
    net, pixels = bright()
    cams = compute_grad_cam(net, pixels, classes=[0, 1]).cams
    y, x = np.unravel_index(cams[1].argmax(), cams[1].shape)
    assert 2 <= y < 6 and 9 <= x < 13 and cams[1].max() == 1 and not cams[1][8:].any()
    assert not cams[0].any()                                    # all of it speaks against


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_gradients_are_of_the_scores_before_the_activation(head):
    """A saturated softmax has no gradient, its logits do; the same cam with any activation or none."""
    plain, other = (tiny("cifar_resnet20", classifier_activation=activation) for activation in (None, head))
    last = trained(plain).get_layer("predictions")
    last.set_weights([300 * np.random.default_rng(0).normal(size=last.kernel.shape), np.zeros(7)])
    other.set_weights(plain.get_weights())
    image = images(plain, 1)
    wanted, result = (np.stack(list(compute_grad_cam(net, image, range(7)).cams.values()))
                     for net in (plain, other))
    assert wanted.max((1, 2)).sum() >= 2            # of seven classes, some have evidence
    np.testing.assert_allclose(result, wanted, atol=1e-5)


def test_first_filters_of_any_net():
    name, kernel = get_first_filters(tiny("resnet50d"))
    assert name == "conv1_1_conv" and kernel.shape[:3] == (3, 3, 3)
    image = keras.Input((4,))
    assert get_first_filters(keras.Model(image, layers.Dense(2)(image))) is None
    tiles = filter_tiles(np.stack([np.full((3, 3, 3), v, "float32") for v in (-1, 0, 1)], -1), False)
    assert [int(t[0, 0, 0]) for t in tiles] == [0, 127, 255]
    blue_first = np.zeros((1, 1, 3, 1), "float32")
    blue_first[..., 0, 0] = 1
    assert filter_tiles(blue_first, True)[0][0, 0].tolist() == [127, 127, 255]      # of a net on BGR images


def test_pictures():
    assert apply_colormap(np.array([[0.0, 1.0]])).tolist() == [[[28, 32, 92], [214, 40, 40]]]
    np.testing.assert_allclose(resize_bilinear(np.array([[0.0, 1.0]]), (3, 4))[1], [0, 0.25, 0.75, 1])
    assert resize_bilinear(np.ones((1, 1)), (5, 7)).shape == (5, 7)
    tiles = [np.full((28, 28, 3), i, "uint8") for i in range(9)]
    whole = make_mosaic(tiles)
    assert whole.shape == (2 * 58 - 2, 8 * 58 - 2, 3) and whole[60, 10, 0] == 8 and whole[-1, -1, 0] == 255


def test_page(picture, tmp_path):
    file = explain("cifar_resnet20.digits", picture, tmp_path / "new" / "page.html", top=2)
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"https?:|<script|<link|@import|url\((?!#)", re.sub(r"base64,[\w+/=]+", "", text))
    assert "a &lt;b&gt;.png" in text and text.count("<img") == 1 + 2 + 4 + 1 and "16x16" in text
    scores = reskeras.create("cifar_resnet20.digits").predict(
        reskeras.get_preprocessing("cifar_resnet20.digits")(str(picture)), verbose=0)[0]
    assert f"{scores.argmax()} {scores.max():.1%}" in text


def test_command(picture, tmp_path, capsys):
    net = trained(tiny("resnet50d"))
    net.save(tmp_path / "net.keras")
    model, output = str(tmp_path / "net.keras"), str(tmp_path / "page.html")
    command = ["explain", str(picture), "--model", model, "-o", output]
    assert cli.main([*command, "--preprocessing", "resnet50v1_5.a1_in1k"]) == 0
    assert capsys.readouterr().out.strip() == output
    for bad, text in ((command, "does not say how its images are prepared"),
                      ([*command, "--preprocessing", "resnet50v1_5.a1_in1k", "--top", "0"], "--top 0"),
                      (["explain", str(tmp_path / "no.png"), "--model", "cifar_resnet20.digits"],
                       "no such file"),
                      (["explain", str(picture), "--model", "cifar_resnet20.digit"], "digits"),
                      (["explain", str(picture), "--model", "cifar_resnet20.digits", "-o", "page.pdf"],
                       "an .html file")):
        assert cli.main(bad) == 2
        err = capsys.readouterr().err
        assert text in err and len(err.splitlines()) == 1


def test_bad_nets(picture):
    net, pixels = bright()
    with pytest.raises(ValueError, match="classes 0 to 1, and not 2"):
        compute_grad_cam(net, pixels, classes=[2])
    vector = keras.Input((4,))
    with pytest.raises(ValueError, match="no layer of it has a map"):
        compute_grad_cam(keras.Model(vector, layers.Dense(2)(vector)), np.zeros((1, 4), "float32"))


@pytest.mark.parametrize("width, scheme", [(1280, "light"), (390, "dark")])
def test_in_the_browser(picture, tmp_path, width, scheme):
    with opened(explain("cifar_resnet20.digits", picture, tmp_path / "page.html"), width,
                scheme=scheme) as (tab, complaints):
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        assert complaints == []
