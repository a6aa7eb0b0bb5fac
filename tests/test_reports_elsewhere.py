"""What users of other packages have reported, tried on this one."""
import dataclasses
import io
import struct

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import reskeras
from reskeras.images.decode import decode_image
from reskeras.images.headers import may_be_turned
from reskeras.train.data import ImageDataset

CORNERS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
# orientation in EXIF data -> how Pillow turns an upright image to that of the file
LYING = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90",
         7: "TRANSVERSE", 8: "ROTATE_270"}


@pytest.fixture(scope="module")
def phone_photos(tmp_path_factory):
    """An image in four colors, as a phone held in each of eight ways saves it; a JPEG and a PNG of each."""
    folder = tmp_path_factory.mktemp("photos")
    red, green, blue, white = (np.full((32, 48, 3), color, "uint8") for color in CORNERS.values())
    upright = Image.fromarray(np.vstack([np.hstack([red, green]), np.hstack([blue, white])]))
    for orientation in range(1, 9):
        (folder / str(orientation)).mkdir()
        exif = Image.Exif()
        exif[0x0112] = orientation
        lying = upright.transpose(Image.Transpose[LYING[orientation]]) if orientation > 1 else upright
        lying.save(folder / str(orientation) / "a.jpg", exif=exif, subsampling=0)
        lying.save(folder / str(orientation) / "b.png", exif=exif)
    return folder


@pytest.mark.parametrize("augmentation", ["resize(32)", "inception_crop(32, 1.0)", None])
def test_images_are_trained_upright_as_they_are_evaluated(phone_photos, augmentation):
    """tensorflow/tensorflow: images are decoded without the orientation in their EXIF data."""
    prepare = reskeras.Preprocessing((32, 32), "raw", crop_mode="squash", crop_pct=1.0)
    data = ImageDataset(f"folder:{phone_photos}", 16, augmentation, None if augmentation else prepare)
    (images, _), = data.iterate_batches()
    corners = np.asarray(images)[:, [4, 4, -5, -5], [4, -5, 4, -5]]
    assert corners.shape == (16, 4, 3)
    assert np.abs(corners - np.array(list(CORNERS.values()))).max() < 8


XMP = ('<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
       '<rdf:Description tiff:Orientation="{}"/></rdf:RDF></x:xmpmeta>')


def exif_data(order, kind, orientation):
    """EXIF data with the orientation alone, of 16 (kind 3) or 32 bits (4)."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    value = struct.pack(order + ("HH" if kind == 3 else "I"), *[orientation, 0][:5 - kind])
    return b"Exif\0\0" + start + struct.pack(order + "IHHHI", 8, 1, 0x0112, kind, 1) + value + bytes(4)


def test_the_orientation_of_a_jpeg_is_found_in_the_graph():
    """Wherever Pillow turns the image, and nowhere else."""
    is_found = tf.function(may_be_turned)

    def check(orientation, **data):
        file = io.BytesIO()
        Image.new("RGB", (48, 32)).save(file, "JPEG", **data)
        assert bool(is_found(tf.constant(file.getvalue()))) == (2 <= orientation <= 8), (orientation, data)
        assert decode_image(file.getvalue()).shape == ((48, 32, 3) if 5 <= orientation <= 8 else (32, 48, 3))

    check(1)
    for orientation in range(10):
        check(orientation, xmp=XMP.format(orientation).encode())
        for order in "<>":
            check(orientation, exif=exif_data(order, 3, orientation))
            check(orientation, exif=exif_data(order, 4, orientation))


def test_a_model_that_is_given_again_resumes_with_the_preprocessing_of_its_run(tmp_path):
    """roboflow/rf-detr: what a run knew beside the weights begins anew when it is resumed."""
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            raise InterruptedError

    def fit(**arguments):
        model = reskeras.create("cifar_resnet20", weights=None, depths=(1, 1, 1), width=0.25, classes=2,
                                input_shape=(16, 16, 3))
        return reskeras.fit(model, data, recipe="digits", epochs=1, warmup=0, batch_size=8, verbose=0,
                            strategy="none", **arguments).model

    data = np.zeros((8, 16, 16, 3), "uint8"), np.arange(8) % 2
    prepare = reskeras.Preprocessing((16, 16), "raw", crop_pct=1.0)
    with pytest.raises(InterruptedError):
        fit(preprocessing=prepare, output=tmp_path / "run", callbacks=[Stop()])
    with pytest.raises(ValueError, match="preprocessing=.*'tf'.*expected .*'raw'.* was started"):
        fit(preprocessing=dataclasses.replace(prepare, pixels="tf", mean=(), std=()), resume=tmp_path / "run")
    assert reskeras.get_preprocessing(fit(resume=tmp_path / "run")) == prepare
