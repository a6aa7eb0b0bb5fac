"""The recipes of FFCV, MLPerf, Mosaic and airbench: their schedules and updates by the sources' formulas."""
import keras
import numpy as np
import pytest

import reskeras
from reskeras.train.epoch_sizes import list_epoch_sizes
from reskeras.train.fast_recipes import FFCV_EPOCHS, MOSAIC_MILD
from reskeras.train.learning_rate import scale_learning_rate
from reskeras.train.losses import BinaryCrossentropy
from reskeras.train.optimizers import make_optimizer
from reskeras.train.recipes import get_recipe
from reskeras.train.schedule import make_schedule


def rates(training, updates):
    """The rates of all updates, with so many in an epoch."""
    rate, total = scale_learning_rate(training).value, updates * training.epochs
    schedule = make_schedule(training, rate, updates, total)
    return np.array([float(schedule(step)) for step in range(total)])


@pytest.mark.parametrize("depth, rate, batch_size", [(18, 0.5, 1024), (50, 1.7, 4096)])
@pytest.mark.parametrize("epochs", ["16", "88"])
def test_ffcv(depth, rate, batch_size, epochs):
    training = get_recipe(f"ffcv_rn{depth}/{epochs}").training
    assert (training.batch_size, training.epochs) == (batch_size, int(epochs))
    begins = np.arange(training.epochs * 5) / 5
    source = np.interp(begins, [0, 2, training.epochs], [1e-4 * rate, rate, 0])
    found = rates(training, 5)
    np.testing.assert_allclose(found[10:], source[10:], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[:9], source[1:10], rtol=1e-4)      # one update earlier
    start, end = FFCV_EPOCHS[epochs]
    sizes = list_epoch_sizes(training)
    assert sizes[:start + 1] == [160] * (start + 1) and sizes[end:] == [192] * (training.epochs - end)
    assert set(sizes) == {160, 192} and training.test_size == 256


def test_ffcv_names():
    assert get_recipe("FFCV_RN50/88") == get_recipe("ffcv_rn50")
    with pytest.raises(ValueError, match="did you mean 'ffcv_rn50/16'"):
        get_recipe("ffcv_rn50/17")


def test_mlperf():
    training = get_recipe("mlperf_lars").training
    found = rates(training, 4)
    steps = np.arange(42 * 4)
    np.testing.assert_allclose(found[:20], 10 * (steps[:20] + 1) / 20, rtol=1e-5)
    source = (10 - 1e-4) * (1 - (steps[20:] - 20) / 148) ** 2 + 1e-4
    np.testing.assert_allclose(found[20:], source, rtol=1e-4)


def test_airbench():
    training = get_recipe("cifar_fast").training
    found = rates(training, 25) / 1.5
    warm = int(16 * 25 * 0.23)
    np.testing.assert_allclose(found[warm:], np.linspace(1, 0.07, 16 * 25 - warm + 1)[:-1], rtol=1e-3)
    # of a sum over 1024 images, as the source has it
    step = 1024 * (1 + 1 / (1 - 0.85))
    assert training.learning_rate == pytest.approx(11.5 / step * 1024)
    assert training.weight_decay == pytest.approx(0.0153 * 1024 / step / (11.5 / step) / 1024)


def test_mosaic_by_hand():
    """An update of composer's DecoupledSGDW with its loss, a sum over the classes, of 1,000 classes."""
    training = MOSAIC_MILD.training
    sizes = list_epoch_sizes(training)
    assert (sizes[0], sizes[-1]) == (88, 176) and all(size % 4 == 0 for size in sizes)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 3)), np.eye(1000)[rng.integers(0, 1000, 4)]
    kernel = keras.Variable(rng.normal(size=(3, 1000)) / 10, dtype="float64")
    w = kernel.numpy()
    optimizer = make_optimizer(training, 1024.0)        # half of the rate, somewhere on the cosine
    optimizer.build([kernel])
    p, smooth = 1 / (1 + np.exp(-x @ w)), y * 0.92 + 0.08 / 1000
    gradient_of_mean = x.T @ (p - smooth) / 4 / 1000
    loss = BinaryCrossentropy(from_logits=True, label_smoothing=0.08, dtype="float64")
    each = -(smooth * np.log(p) + (1 - smooth) * np.log(1 - p)).mean(-1)
    np.testing.assert_allclose(loss(y, x @ w), each.mean(), rtol=1e-6)
    optimizer.apply([keras.ops.convert_to_tensor(gradient_of_mean)], [kernel])
    source = w - 1.024 * (gradient_of_mean * 1000) - 1.024 / 2.048 * 5e-4 * w
    np.testing.assert_allclose(kernel.numpy(), source, rtol=1e-5, atol=1e-7)


def test_passes_of_sharpness_awareness_count():
    from reskeras.train.recipe_results import count_passes
    costs = {c.recipe: c for c in reskeras.compare_recipes().costs}
    medium = costs["mosaic_medium"]
    assert count_passes(get_recipe("mosaic_medium")) == 1.1 and count_passes(get_recipe("wrn")) == 1
    assert medium.pflop == pytest.approx(90 * 1_281_167 * medium.macs * 6 * 1.1 / 1e15)


def test_mosaic_trains():
    images = np.random.default_rng(0).integers(0, 256, (32, 12, 12, 3), "uint8"), np.arange(32) % 4
    history = reskeras.fit("cifar_resnet20", images, "mosaic_mild", epochs=2, warmup=0, batch_size=16,
                           size="8:12", size_epochs=(0, 1), test_size=12,
                           augmentation="random_resized_crop(12)|flip", learning_rate=8.0, verbose=0,
                           model_overrides=dict(depths=(1,), widths=(16,), strides=(1,)))
    assert np.isfinite(history.history["loss"]).all() and len(history.epoch) == 2
