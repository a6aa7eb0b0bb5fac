"""Datasets of TensorFlow and Keras give the same batches and weights as arrays of the same images."""
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import reskeras
from reskeras.images.preprocessing import Preprocessing
from reskeras.train import source as source_module
from reskeras.train import source_reading
from reskeras.train.data import ImageDataset
from reskeras.train.sources import open_source

rng = np.random.default_rng(0)
IMAGES = rng.integers(0, 256, (12, 8, 12, 3), "uint8")
LABELS = np.arange(12) % 3
WEIGHTS = rng.uniform(0.5, 2, 12).astype("float32")
PREPARE = Preprocessing((8, 12), crop_pct=1.0)
TRAINING = {"size": (8, 12), "augmentation": "flip", "batch_size": 12, "epochs": 3, "learning_rate": 0.5,
            "base_batch_size": 12, "schedule": "constant", "weight_decay": 0.0, "momentum": 0.0}
NET = {"depths": (1,), "widths": (16,), "strides": (1,)}


class Batches(keras.utils.PyDataset):
    """Batches of four."""

    def __len__(self):
        return 3

    def __getitem__(self, i):
        return IMAGES[4 * i:4 * i + 4], LABELS[4 * i:4 * i + 4]


def from_generator():
    """A dataset whose length is not known."""
    return tf.data.Dataset.from_generator(
        lambda: zip(IMAGES, LABELS), output_signature=(
            tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec([], tf.int32)))


def as_files():
    return [tf.io.encode_png(image).numpy() for image in IMAGES]


DATASETS = {
    "images": lambda: tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)),
    "batches": lambda: tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(5),
    "unknown": from_generator, "unknown_batches": lambda: from_generator().batch(5),
    "dictionaries": lambda: tf.data.Dataset.from_tensor_slices(
        {"image": IMAGES, "label": LABELS, "id": LABELS}),
    "files": lambda: tf.data.Dataset.from_tensor_slices((as_files(), LABELS)),
    "batches_of_files": lambda: tf.data.Dataset.from_tensor_slices((as_files(), LABELS[:, None])).batch(5),
    "py_dataset": Batches}


def read(data, **options):
    batches = list(ImageDataset(data, 4, **options).iterate_batches())
    return [np.concatenate(parts) for parts in zip(*batches)]


@pytest.mark.parametrize("kind", DATASETS)
def test_batches_are_those_of_arrays(kind):
    """In evaluation the same batches; in training the same augmented images, in another order."""
    for own, other in zip(read(DATASETS[kind](), prepare=PREPARE), read((IMAGES, LABELS), prepare=PREPARE)):
        np.testing.assert_allclose(own, other, atol=1e-5)
    x, y = read(DATASETS[kind](), augmentation="resize((8, 12))|flip")
    u, v = read((IMAGES, LABELS), augmentation="resize((8, 12))|flip")
    own, other = np.lexsort(x.reshape(12, -1).T), np.lexsort(u.reshape(12, -1).T)
    np.testing.assert_array_equal(x[own], u[other])
    np.testing.assert_array_equal(y[own], v[other])


def test_other_types_are_taken_by_value():
    for kind, x in (("uint16", IMAGES.astype("uint16") * 257), ("float32", IMAGES.astype("float32") / 3),
                    ("float64", IMAGES / 3), ("gray", IMAGES[..., 0])):
        images = tf.data.Dataset.from_tensor_slices((x, LABELS))
        for data in (images, images.batch(5), images.batch(4, drop_remainder=True)):
            source = open_source(data)
            channels = 1 if kind == "gray" else 3
            assert source.channels == channels and source.value_channels == (None if kind == "gray" else 3)
            prepare = Preprocessing((8, 12), "values", (5.0,) * channels, (2.0,) * channels, crop_pct=1.0)
            own, _ = read(source, prepare=prepare)
            np.testing.assert_allclose(own, (x.reshape(12, 8, 12, channels) - 5.0) / 2, rtol=1e-5)


def test_few_large_pixels_are_shuffled_among_each_other():
    """At most half a GiB, but a batch; of files, which are small, and of small pixels 16,384."""
    def count(shape, dtype, batch_size=8):
        source = open_source(tf.data.Dataset.from_generator(lambda: [], output_signature=(
            tf.TensorSpec(shape, dtype), tf.TensorSpec([], tf.int64))))
        return source_reading._count_shuffled(source, batch_size)
    assert count((512, 512, 12), tf.float32) == 2 ** 29 // (512 * 512 * 12 * 4)
    assert count((None, None, 3), tf.uint8) == 2 ** 29 // (512 * 512 * 3)
    assert count((4096, 4096, 12), tf.float32, 64) == 64
    assert count((8, 8, 3), tf.uint8) == count([], tf.string) == 16_384


def fit(data, **options):
    return reskeras.fit("cifar_resnet20", data, "cifar_he", strategy="none", verbose=0, overrides=TRAINING,
                        model_overrides=NET, deterministic=True, classes=3, **options)


@pytest.mark.parametrize("has_weights", [False, True])
def test_weights_after_three_steps(has_weights, tmp_path):
    """Also with weights of the images, and if the training is stopped and resumed with the dataset."""
    parts = (IMAGES, LABELS, WEIGHTS) if has_weights else (IMAGES, LABELS)
    data = tf.data.Dataset.from_tensor_slices(parts).batch(5)
    expected = fit(parts, validation_data=parts)
    if not has_weights:
        class Stop(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                if epoch == 2:
                    raise KeyboardInterrupt
        with pytest.raises(KeyboardInterrupt):
            fit(data, validation_data=data, output=tmp_path / "run", callbacks=[Stop()])
        with pytest.raises(ValueError, match="data too, which was a .*BatchDataset that no file holds"):
            reskeras.fit(resume=tmp_path / "run")
        trained = reskeras.fit(data=data, validation_data=data, resume=tmp_path / "run", verbose=0)
    else:
        trained = fit(data, validation_data=data)
    for own, other in zip(trained.model.get_weights(), expected.model.get_weights()):
        np.testing.assert_allclose(own, other, atol=1e-4 * max(1, np.abs(other).max()))
    np.testing.assert_allclose(trained.history["val_loss"], expected.history["val_loss"], rtol=1e-3)
    assert reskeras.evaluate(trained.model, data).top1 == reskeras.evaluate(expected.model, parts).top1


def one_hot():
    return tf.data.Dataset.from_tensor_slices((IMAGES, np.eye(3, dtype="float32")[LABELS])).batch(5)


def test_labels_of_several_numbers_keep_their_shape():
    own = read(one_hot(), prepare=PREPARE)[1]
    np.testing.assert_array_equal(own, np.eye(3)[LABELS])


class Endless(keras.utils.PyDataset):
    """Keras takes None for a dataset without an end."""

    @property
    def num_batches(self):
        return None

    def __getitem__(self, i):
        return IMAGES, LABELS


@pytest.mark.parametrize("data, message", [
    (lambda: DATASETS["images"]().repeat(), r"that ends, .*leave out .repeat\(\), or add .take\(N\)"),
    (lambda: ((x, y) for x, y in zip(IMAGES, LABELS)), r"read again in each epoch.*from_generator\("),
    (lambda: iter(DATASETS["images"]()), "read again in each epoch"),
    (Endless, "a length above 0, the number of its batches"),
    (lambda: tf.data.Dataset.from_tensor_slices(IMAGES), r"\(image, label\) or \(image, label, weight\)"),
    (lambda: tf.data.Dataset.from_tensor_slices((IMAGES, IMAGES)), "uint8 of shape .* one label each"),
    (lambda: tf.data.Dataset.from_generator(lambda: [], output_signature=(
        tf.TensorSpec(None, tf.uint8), tf.TensorSpec([], tf.int32))), "known number of axes.*ensure_shape"),
    (lambda: tf.data.Dataset.from_generator(lambda: [], output_signature=(
        tf.TensorSpec((8, 8, None), tf.uint8), tf.TensorSpec([], tf.int32))), "known number of channels"),
])
def test_what_is_no_dataset_of_images_is_refused(data, message):
    with pytest.raises(ValueError, match=message) as error:
        open_source(data(), argument="validation_data")
    assert str(error.value).startswith("validation_data=") and "\n" not in str(error.value)


def test_dataset_that_never_ends_and_does_not_say_so(monkeypatch):
    def endless(batch):
        data = tf.data.Dataset.from_generator(
            lambda: itertools.cycle(zip(IMAGES, LABELS)),
            output_signature=(tf.TensorSpec((8, 12, 3), tf.uint8), tf.TensorSpec([], tf.int64)))
        return data.batch(5) if batch else data
    monkeypatch.setattr(source_module, "_MANY_IMAGES", 1500)
    monkeypatch.setattr(source_module, "_TOO_MANY_IMAGES", 5000)
    for batch in (False, True):
        with pytest.warns(UserWarning, match=r"more than 1,500 images.* if .* never ends, add .take\(N\)"):
            with pytest.raises(ValueError, match=r"not ended after 5,000 images; .* add .take\(N\)"):
                fit(endless(batch))
    part, = open_source(endless(True).take(100)).parts
    assert (part.images, part.lowest, part.highest) == (500, LABELS.min(), LABELS.max())
