"""Schedules by their formulas, and LARS by the updates of MLPerf's reference, written out in NumPy."""
import keras
import numpy as np
import pytest

from reskeras.errors import ArgumentError
from reskeras.train.optimizers import make_optimizer
from reskeras.train.schedule import make_schedule
from reskeras.train.training import Training


def rates(**fields):
    """The rates of 10 epochs of 10 updates."""
    training = Training(epochs=10, **fields)
    schedule = make_schedule(training, 2.0, 10, 100)
    return np.array([float(schedule(step)) for step in range(100)])


def test_triangular():
    found = rates(schedule="triangular", warmup=2, warmup_start=0.2, final_learning_rate=0.1)
    steps = np.arange(100)
    rise, fall = 0.2 + 0.8 * (steps + 1) / 20, 1 - 0.9 * (steps - 20) / 80
    np.testing.assert_allclose(found, 2 * np.where(steps < 20, rise, fall), rtol=1e-5)
    with pytest.raises(ArgumentError, match="the length of the rise"):
        rates(schedule="triangular")


def test_polynomial():
    steps = np.arange(100)
    found = rates(schedule="polynomial", warmup=2, power=2.0)
    np.testing.assert_allclose(found[20:], 2 * (1 - (steps[20:] - 20) / 80) ** 2, rtol=1e-4, atol=1e-7)
    found = rates(schedule="polynomial", warmup=2, power=3.0, cosine_includes_warmup=True)
    np.testing.assert_allclose(found[20:], 2 * (1 - steps[20:] / 100) ** 3, rtol=1e-4, atol=1e-7)


def test_exponential():
    steps = np.arange(100)
    found = rates(schedule="exponential", decay_factor=0.9)
    np.testing.assert_allclose(found, 2 * 0.9 ** (steps / 10), rtol=1e-5)
    by_epoch = rates(schedule="exponential", decay_factor=0.9, schedule_by_epoch=True)
    np.testing.assert_allclose(by_epoch, 2 * 0.9 ** (steps // 10), rtol=1e-5)


def test_warmup_stable_decay():
    steps = np.arange(100)
    found = rates(schedule="wsd", warmup=1, milestones=(8,), final_learning_rate=0.5)
    np.testing.assert_allclose(found[:10], 2 * (steps[:10] + 1) / 10, rtol=1e-5)
    np.testing.assert_allclose(found[10:80], 2.0)
    np.testing.assert_allclose(found[80:], 2 * (1 - 0.5 * (steps[80:] - 80) / 20), rtol=1e-5)
    with pytest.raises(ArgumentError, match="begins to fall"):
        rates(schedule="wsd")


@pytest.mark.parametrize("schedule", ["triangular", "polynomial", "exponential", "wsd"])
def test_a_saved_schedule_is_the_same(schedule):
    training = Training(epochs=10, schedule=schedule, warmup=2, milestones=(5,), power=3.0, decay_factor=0.8)
    made = make_schedule(training, 2.0, 10, 100)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(made))
    steps = range(0, 100, 7)
    assert [float(made(step)) for step in steps] == [float(again(step)) for step in steps]


@pytest.mark.parametrize("in_velocity", [True, False])
def test_lars_by_hand(in_velocity):
    """mlcommons/training image_classification/tensorflow2/lars_optimizer.py, whose velocity has the rate."""
    rng = np.random.default_rng(0)
    kernel = keras.Variable(rng.normal(size=(3, 4)), dtype="float64", name="kernel")
    zeros = keras.Variable(np.zeros((2, 2)), dtype="float64", name="kernel2")
    bias = keras.Variable(rng.normal(size=4), dtype="float64", name="bias")
    training = Training(epochs=1, optimizer="lars", momentum=0.9, weight_decay=0.01,
                        decayed_weights="kernels", learning_rate_in_velocity=in_velocity,
                        trust_coefficient=0.02, epsilon=1e-7)
    schedule = [0.5, 0.1, 0.3]
    optimizer = make_optimizer(training, schedule[0])
    optimizer.build([kernel, zeros, bias])
    weights = [v.numpy() for v in (kernel, zeros, bias)]
    velocities = [np.zeros_like(w) for w in weights]
    for rate in schedule:
        optimizer.learning_rate = rate
        gradients = [rng.normal(size=w.shape) for w in weights]
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], [kernel, zeros, bias])
        for i, g in enumerate(gradients):
            w, decay, ratio = weights[i], 0.01 if i < 2 else 0.0, 1.0
            if i < 2 and np.linalg.norm(w):
                ratio = 0.02 * np.linalg.norm(w) / (np.linalg.norm(g) + 0.01 * np.linalg.norm(w) + 1e-7)
            step = ratio * (g + decay * w)
            velocities[i] = 0.9 * velocities[i] + (rate * step if in_velocity else step)
            weights[i] = w - (velocities[i] if in_velocity else rate * velocities[i])
        for v, w in zip((kernel, zeros, bias), weights):
            np.testing.assert_allclose(v.numpy(), w, rtol=1e-6)
    again = type(optimizer).from_config(optimizer.get_config())
    assert (again.trust_coefficient, again.trust_epsilon, again.l2) == (0.02, 1e-7, 0.01)
