"""How a JPEG lies is read by TensorFlow's operations as by Pillow: for the signature that takes files."""
import io
import random
import struct

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image

import reskeras
from reskeras.images.decode import decode_image
from reskeras.images.headers import read_orientation
from reskeras.images.preprocessing import Preprocessing

PIXELS = np.kron(np.random.default_rng(0).integers(0, 256, (4, 6, 3), "uint8"), np.ones((8, 8, 1), "uint8"))


def save(exif=b"", xmp=b"", form="JPEG", **options):
    file = io.BytesIO()
    options |= {name: value for name, value in (("exif", exif), ("xmp", xmp)) if value}
    Image.fromarray(PIXELS).save(file, form, **options)
    return file.getvalue()


def make_exif(value, order="<", kind=3, others=2, tag=0x0112):
    """EXIF data with an orientation among other tags."""
    form = {3: "HH", 4: "I", 8: "HH", 9: "I"}[kind]
    tags = [struct.pack(f"{order}HHII", 0x0100 + i, 4, 1, 77) for i in range(others)]
    tags.append(struct.pack(f"{order}HHI{form}", tag, kind, 1, *((value, 0) if form == "HH" else (value,))))
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8)
    return b"Exif\0\0" + head + struct.pack(f"{order}H", len(tags)) + b"".join(tags) + bytes(4)


def make_xmp(text):
    return b"<x:xmpmeta><rdf:Description " + text + b"/></x:xmpmeta>"


def put_before_exif(data, segment):
    return data[:2] + segment + data[2:]


def read_by_pillow(data):
    value = Image.open(io.BytesIO(data)).getexif().get(0x0112, 1)
    return value if value in range(1, 9) else 1


def make_photos():
    photos = [save(make_exif(value, order, kind)) for value in range(10) for order in "<>" for kind in (3, 4)]
    photos += [save(make_exif(6, kind=8)), save(make_exif(6, kind=9)), save(make_exif(6, tag=0x0113)), save(),
               save(xmp=make_xmp(b'tiff:Orientation="6"')),
               save(xmp=make_xmp(b"><tiff:Orientation>8</tiff:Orientation><a")),
               save(make_exif(3), make_xmp(b'tiff:Orientation="6"')),
               save(make_exif(8), progressive=True), save(make_exif(8), comment=b"x" * 60_000),
               put_before_exif(save(make_exif(5)), b"\xff\xe2" + struct.pack(">H", 60_002) + bytes(60_000))]
    return photos


def test_orientations_are_pillows():
    read = tf.function(read_orientation, input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
    photos = make_photos()
    assert [int(read(tf.constant(data))) for data in photos] == [read_by_pillow(data) for data in photos]
    assert {read_by_pillow(data) for data in photos} == set(range(1, 9))
    for other in (b"", b"\xff", b"\xff\xd8\xff", b"text", save(make_exif(6), form="PNG")):
        assert int(read(tf.constant(other))) == 1


def test_damaged_data_end_and_are_in_range():
    read = tf.function(read_orientation, input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
    good, draw = save(make_exif(6, ">")), random.Random(0)
    for _ in range(100):
        data = bytearray(good[:draw.choice([len(good), draw.randrange(len(good))])])
        for _ in range(draw.choice([1, 4])):
            if data:
                data[draw.randrange(min(len(data), 120))] = draw.choice([0, 255, draw.randrange(256)])
        assert 1 <= int(read(tf.constant(bytes(data)))) <= 8


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A net whose scores say where an image is bright, and its SavedModel's signature for files."""
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    x = layers.Flatten()(layers.AveragePooling2D(4)(layers.Rescaling(1 / 255)(image)))
    net = reskeras.set_metadata(keras.Model(image, layers.Dense(5)(x)), Preprocessing((16, 16), "raw"))
    folder = tmp_path_factory.mktemp("served") / "net"
    reskeras.export(net, folder)
    return net, tf.saved_model.load(str(folder))


@pytest.mark.parametrize("value", range(1, 9))
def test_a_server_answers_to_photos_as_predict(value, served):
    net, loaded = served
    data = save(make_exif(value), quality=95)
    expected = net.predict(reskeras.get_preprocessing(net)([data]), verbose=0)
    scores = loaded.signatures["serving_bytes"](image_bytes=tf.constant([data]))["scores"]
    np.testing.assert_allclose(scores, expected, atol=0.02)
    lying = Image.open(io.BytesIO(data)).convert("RGB")
    unturned = net.predict(Preprocessing((16, 16), "raw")(np.asarray(lying)), verbose=0)
    assert value == 1 or np.abs(unturned - expected).max() > 0.1
    assert decode_image(data).shape == ((32, 48, 3) if value < 5 else (48, 32, 3))
