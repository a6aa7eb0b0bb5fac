"""`alternating_flip` in `reskeras.fit`: the images that reach the net, for all data and options."""
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from stopping import StopInSecondEpoch
from two_devices import run_on_two_devices

import reskeras
from reskeras.errors import ArgumentError
from reskeras.train.data import ImageDataset
from reskeras.train.distributed_model import DistributedModel
from reskeras.train.packed_images import write_packed_images
from reskeras.train.sources import open_source

NUMBER = 32
# the left half is darker, and tells the image
PIXELS = np.full((NUMBER, 8, 8, 3), 255, "uint8")
PIXELS[:, :, :4] = 4 * np.arange(NUMBER)[:, None, None, None]
LABELS = np.arange(NUMBER) % 4
TINY = dict(recipe="cifar_he", epochs=3, batch_size=8, size=8, augmentation="resize(8)|alternating_flip",
            verbose=0, model_overrides=dict(depths=(1,), widths=(16,), strides=(1,)))


class Epochs(keras.callbacks.Callback):
    """(number of an image before normalization, is it flipped) of all images of each epoch."""

    def __init__(self):
        super().__init__()
        self.epoch, self.images, self.sizes = 0, {}, {}

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def record(self, x):
        left, right = x[:, 0, 0, 0], x[:, 0, -1, 0]
        self.sizes[self.epoch] = x.shape[1]
        self.images.setdefault(self.epoch, []).extend(zip(np.minimum(left, right).tolist(),
                                                          (left > right).tolist()))

    def find_flipped(self, epoch):
        """Whether each image is flipped; the same for each of its repetitions."""
        pairs = set(self.images[epoch])
        assert len(pairs) == len(dict(pairs))
        return dict(pairs)


def watch(monkeypatch):
    epochs, call = Epochs(), DistributedModel.call

    def record(self, inputs, training=None, mask=None):
        if training and not isinstance(inputs, keras.KerasTensor):
            tf.numpy_function(lambda x: epochs.record(x), [inputs], [])
        return call(self, inputs, training=training, mask=mask)
    monkeypatch.setattr(DistributedModel, "call", record)
    return epochs


@pytest.fixture
def epochs(monkeypatch):
    return watch(monkeypatch)


def check(epochs, is_whole=True):
    """Each image is flipped in every other epoch."""
    first, second, third = map(epochs.find_flipped, range(3))
    if is_whole:
        assert len(first) == len(second) == len(third) == NUMBER
        assert 7 < sum(first.values()) < 25     # 3 standard deviations about a half
    assert all(second[image] != first[image] for image in first.keys() & second.keys())
    assert all(third[image] == first[image] for image in first.keys() & third.keys())
    assert [image for image, _ in epochs.images[0]] != [image for image, _ in epochs.images[2]]    # shuffled


def as_unknown_length(folder):
    return tf.data.Dataset.from_generator(lambda: zip(PIXELS, LABELS), output_signature=(
        tf.TensorSpec((8, 8, 3), tf.uint8), tf.TensorSpec([], tf.int64)))


def as_packed(folder):
    return f"packed:{write_packed_images(open_source((PIXELS, LABELS)), folder / 'store')}"


def as_arrays(folder):
    return PIXELS, LABELS


@pytest.mark.parametrize("make, options", [
    (as_arrays, {}), (as_unknown_length, {}), (as_packed, {}),
    (as_arrays, dict(size="4:8", size_multiple=4, size_epochs=(0, 1))),
    (as_arrays, dict(augmentation_repeats=2))])
def test_data_and_options(make, options, epochs, tmp_path):
    reskeras.fit("cifar_resnet20", make(tmp_path), **{**TINY, **options}, callbacks=[epochs])
    check(epochs, is_whole="augmentation_repeats" not in options)
    if "augmentation_repeats" in options:       # half of the images, each twice
        assert all(len(epochs.find_flipped(e)) == NUMBER // 2 for e in range(3))
    assert list(epochs.sizes.values()) == ([4, 8, 8] if "size" in options else [8] * 3)


def test_a_resumed_training_on_a_stream(epochs, tmp_path):
    data, run = as_unknown_length(tmp_path), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        reskeras.fit("cifar_resnet20", data, **TINY, output=run, save_every=1,
                     callbacks=[epochs, StopInSecondEpoch()])
    assert len(epochs.images[1]) < NUMBER and 2 not in epochs.images
    reskeras.fit(resume=run, data=data, verbose=0, callbacks=[epochs])
    assert len(epochs.images[1]) == NUMBER
    check(epochs)


def test_a_dataset_in_another_order_each_time():
    shuffled = tf.data.Dataset.from_tensor_slices((PIXELS, LABELS)).shuffle(NUMBER)
    with pytest.raises(ArgumentError, match="alternating_flip.*in another order.*leave out .shuffle"):
        reskeras.fit("cifar_resnet20", shuffled, **TINY)
    fixed = tf.data.Dataset.from_tensor_slices((PIXELS, LABELS)).shuffle(
        NUMBER, reshuffle_each_iteration=False)
    ImageDataset(fixed, 8, "alternating_flip")
    ImageDataset(shuffled, 8, "flip")


CHILD = """
import pytest
from test_alternating_flip_in_fit import LABELS, PIXELS, TINY, watch
with pytest.MonkeyPatch.context() as patch:
    watched, sizes = watch(patch), set()
    record_images = watched.record
    watched.record = lambda x: (sizes.add(len(x)), record_images(x))[1]
    reskeras.fit("cifar_resnet20", (PIXELS, LABELS), **TINY, callbacks=[watched], strategy=mirrored)
found |= {"sizes": sorted(sizes), **{str(epoch): pairs for epoch, pairs in watched.images.items()}}
"""


def test_two_replicas(tmp_path):
    here = pathlib.Path(__file__).parent
    found = run_on_two_devices(CHILD, tmp_path, (here, here.parent))
    assert found["sizes"].tolist() == [4]
    epochs = Epochs()
    epochs.images = {epoch: [tuple(pair) for pair in found[str(epoch)].tolist()] for epoch in range(3)}
    check(epochs)
