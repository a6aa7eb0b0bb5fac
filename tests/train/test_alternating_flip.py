"""`alternating_flip`: half of the images is flipped, in the next epoch the other half."""
import numpy as np
import pytest

from reskeras.train.augment import parse_augmentation
from reskeras.train.data import ImageDataset

NUMBER = 200
# the left column is the image's number, the right column 255
PIXELS = np.full((NUMBER, 4, 2, 3), 255, "uint8")
PIXELS[:, :, 0] = np.arange(NUMBER)[:, None, None]


def find_flipped(batches):
    """Whether each image of the batches is flipped."""
    images = np.concatenate([batch[0] for batch in batches])
    left, right = images[:, 0, 0, 0], images[:, 0, 1, 0]
    numbers = np.where(left == 255, right, left).astype(int)
    flipped = np.zeros(NUMBER, bool)
    flipped[numbers] = left == 255
    assert len(images) == len(set(numbers)) == NUMBER
    return flipped


def make_data(seed=0, **arguments):
    return ImageDataset((PIXELS, np.zeros(NUMBER, int)), 20, "alternating_flip", seed=seed, **arguments)


def test_each_image_is_flipped_in_every_other_epoch():
    data = make_data()
    epochs = [find_flipped(data.make_epoch(epoch)) for epoch in range(3)]
    assert 70 < epochs[0].sum() < 130       # 4 standard deviations about a half
    np.testing.assert_array_equal(epochs[1], ~epochs[0])
    np.testing.assert_array_equal(epochs[2], epochs[0])
    other = find_flipped(make_data(seed=1).make_epoch(0))
    assert 60 < (other != epochs[0]).sum() < 140


def test_workers_and_resumed_epochs_flip_the_same_images():
    whole = find_flipped(make_data().make_epoch(1))
    parts = [batch for worker in (0, 1) for batch in make_data(worker=worker, workers=2).make_epoch(1)]
    np.testing.assert_array_equal(find_flipped(parts), whole)

    data = make_data()
    np.testing.assert_array_equal(
        find_flipped([*data.make_epoch(1).take(4), *make_data().make_epoch(1, first_step=4)]), whole)
    alone = {int(step): batch for step, _, batch in data.make_steps(1)}        # as of a tf.data service
    np.testing.assert_array_equal(find_flipped(alone.values()), whole)


def test_it_comes_after_what_is_done_to_an_image():
    augmentation = parse_augmentation('pad_crop(4, 1)|alternating_flip|mixup(0.2)')
    assert augmentation.alternates_flip and augmentation.size == 4
    assert [op.name for op in augmentation.image_operations] == ["pad_crop"]
    for text in ("alternating_flip|pad_crop(4, 1)", "mixup(0.2)|alternating_flip"):
        with pytest.raises(ValueError, match="alternating_flip must come after the operations on an image; "
                                             "mixup and cutmix work on batches and must come last"):
            parse_augmentation(text)
    with pytest.raises(ValueError, match="expected one alternating_flip"):
        parse_augmentation("alternating_flip|alternating_flip")
    with pytest.raises(ValueError, match=r"expected alternating_flip\(\)"):
        parse_augmentation("alternating_flip(0.5)")
