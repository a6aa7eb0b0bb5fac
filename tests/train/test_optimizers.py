"""Optimizers, schedules and losses against hand-written NumPy."""
import dataclasses

import keras
import numpy as np
import pytest

from reskeras.train.losses import BinaryCrossentropy, make_loss
from reskeras.train.optimizers import SGD, get_averages, make_optimizer
from reskeras.train.training import Training
from reskeras.train.recipes import CIFAR_HE, PREACT, RESNET_RS
from reskeras.train.schedule import TrainingSchedule, count_plateaus, make_schedule

RATES = (0.1, 0.05, 0.2, 0.01)


def trained(training, rates=RATES, **options):
    """A kernel, a bias and a scale after one update at each rate, with the gradients that they had."""
    rng = np.random.default_rng(0)
    start = {"kernel": rng.normal(size=(3, 3, 2, 4)), "bias": rng.normal(size=4), "gamma": rng.normal(size=4)}
    variables = [keras.Variable(value.astype("float32"), name=name) for name, value in start.items()]
    gradients = [[rng.normal(size=v.shape).astype("float32") for v in variables] for _ in rates]
    made = make_optimizer(training, 0.1, **options)
    for rate, own in zip(rates, gradients):
        made.learning_rate = rate
        made.apply([keras.ops.convert_to_tensor(g) for g in own], variables)
    return [v.astype("float32") for v in start.values()], gradients, [v.numpy() for v in variables], made


def sgd(w, g, state, rate, decay, nesterov=False, momentum=0.9):
    g = g + decay * w
    state["v"] = momentum * state.get("v", 0) - rate * g
    return w + (momentum * state["v"] - rate * g if nesterov else state["v"])


def adamw(w, g, state, rate, decay, coupled=False):
    g = g + decay * w if coupled else g
    w = w if coupled else w - rate * decay * w
    state["t"] = state.get("t", 0) + 1
    state["m"] = 0.9 * state.get("m", 0) + 0.1 * g
    state["v"] = 0.999 * state.get("v", 0) + 0.001 * g ** 2
    m, v = state["m"] / (1 - 0.9 ** state["t"]), state["v"] / (1 - 0.999 ** state["t"])
    return w - rate * m / (np.sqrt(v) + 1e-7 / np.sqrt(1 - 0.999 ** state["t"]))


def lamb(w, g, state, rate, decay):
    state["t"] = state.get("t", 0) + 1
    state["m"] = 0.9 * state.get("m", 0) + 0.1 * g
    state["v"] = 0.999 * state.get("v", 0) + 0.001 * g ** 2
    m, v = state["m"] / (1 - 0.9 ** state["t"]), state["v"] / (1 - 0.999 ** state["t"])
    update = m / (np.sqrt(v) + 1e-6) + decay * w
    ratio = np.linalg.norm(w) / np.linalg.norm(update) if decay else 1.0
    return w - rate * ratio * update


@pytest.mark.parametrize(
    "kind, step",
    [
        ("sgd", sgd), ("nesterov", lambda *a: sgd(*a, nesterov=True)),
        ("adam", lambda *a: adamw(*a, coupled=True)), ("adamw", adamw), ("lamb", lamb)],
    ids=["sgd", "nesterov", "adam", "adamw", "lamb"])
@pytest.mark.parametrize("decay_all", [True, False])
def test_updates_are_the_papers(kind, step, decay_all):
    training = Training(
        epochs=1, optimizer=kind, momentum=0.9, weight_decay=0.05, learning_rate_in_velocity=True,
        decayed_weights="all" if decay_all else "kernels")
    start, gradients, found, _ = trained(training)
    for i, (w, end) in enumerate(zip(start, found)):
        state, w = {}, w.astype("float64")
        for rate, own in zip(RATES, gradients):
            w = step(w, own[i].astype("float64"), state, rate, 0.05 if decay_all or i == 0 else 0.0)
        np.testing.assert_allclose(end, w, rtol=2e-5, atol=2e-6)


def test_keras_own_decay_is_another():
    """What the mixin is for: with momentum, Keras' SGD of the same decay goes elsewhere."""
    training = Training(
        epochs=1, optimizer="sgd", momentum=0.9, weight_decay=0.05, learning_rate_in_velocity=True)
    start, gradients, found, _ = trained(training)
    theirs, w = keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.05), keras.Variable(start[0])
    for rate, own in zip(RATES, gradients):
        theirs.learning_rate = rate
        theirs.apply([keras.ops.convert_to_tensor(own[0])], [w])
    assert np.abs(w.numpy() - found[0]).max() > 1e-3


def test_accumulated_gradients_are_those_of_the_large_batch():
    training = Training(epochs=1, optimizer="sgd", momentum=0.9, weight_decay=0.05)
    start, gradients, small, _ = trained(training, (0.1,) * 6, micro_batches=2)
    plain, w = make_optimizer(training, 0.1), [keras.Variable(v) for v in start]
    for first, second in zip(gradients[::2], gradients[1::2]):
        plain.apply([keras.ops.convert_to_tensor((a + b) / 2) for a, b in zip(first, second)], w)
    for mine, theirs in zip(small, w):
        np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-5, atol=1e-6)
    by_keras = Training(epochs=1, ema_momentum=0.81, ema_rule="keras")
    assert make_optimizer(by_keras, 0.1, micro_batches=2).ema_momentum == pytest.approx(0.9)


def test_averages_stay_beside_the_weights():
    training = Training(epochs=1, optimizer="sgd", ema_momentum=0.5, ema_rule="keras")
    start, gradients, found, made = trained(training, (0.1, 0.1))
    made.finalize_variable_values(None)
    first = start[0] - np.float32(0.1) * gradients[0][0]
    np.testing.assert_allclose(get_averages(made)[0].numpy(), (first + found[0]) / 2, rtol=1e-5, atol=1e-6)
    assert len(get_averages(made)) == 3 and not get_averages(make_optimizer(Training(epochs=1), 0.1))
    made.iterations.assign(0)
    assert not get_averages(made)                       # Keras' are zeros, until a first step


def test_optimizers_and_schedules_are_serialisable():
    made = make_optimizer(
        Training(epochs=1, optimizer="lamb", weight_decay=0.02, decayed_weights="kernels"),
        TrainingSchedule(0.1, 10, "cosine"))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(made))
    assert again.get_config() == made.get_config()
    assert (again.decay, again.decayed_weights) == (0.02, "kernels")


def test_optimizers_of_earlier_versions_are_read():
    config = make_optimizer(Training(epochs=1, momentum=0.9), 0.1).get_config()
    before = {name: value for name, value in config.items()
              if name not in ("decayed_weights", "learning_rate_in_velocity")}
    again = SGD.from_config({**before, "decay_all": False})
    assert again.decayed_weights == "kernels" and again.learning_rate_in_velocity


def rates(training, per_epoch, total, every=1, steps=None):
    made = make_schedule(training, training.learning_rate, per_epoch, total, every)
    return np.array([float(made(step)) for step in steps or range(total)])


def test_step():
    found = rates(CIFAR_HE.training, 390, 64_000, steps=(0, 31_999, 32_000, 47_999, 48_000, 63_999))
    np.testing.assert_allclose(found, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001], rtol=1e-6)
    found = rates(PREACT.training, 390, 64_000, steps=(0, 199, 399, 400, 32_000))
    np.testing.assert_allclose(found, [0.1 * (0.1 + 0.9 / 400), 0.1 * 0.55, 0.1, 0.1, 0.01], rtol=1e-6)


def test_cosine_with_warmup():
    t = RESNET_RS.override({"epochs": 20, "learning_rate": 1.0}).training
    found = rates(t, 10, 200)
    np.testing.assert_allclose(found[:50], np.arange(1, 51) / 50, rtol=1e-6)
    np.testing.assert_allclose(
        found[50:], 0.5 * (1 + np.cos(np.pi * np.arange(150) / 150)), rtol=1e-5, atol=1e-7)


def test_accumulation_does_not_change_the_rates():
    t = RESNET_RS.override({"epochs": 4, "warmup": 1}).training
    np.testing.assert_array_equal(rates(t, 10, 40, every=3, steps=range(120))[::3], rates(t, 10, 40))


def test_rates_that_change_between_epochs():
    t = Training(epochs=4, learning_rate=1.0, schedule="cosine", warmup=2, warmup_start=0.1,
                 schedule_by_epoch=True)
    first = [0.1] * 5 + [0.55] * 5
    np.testing.assert_allclose(rates(t, 5, 20), first + [1.0] * 5 + [0.5] * 5, rtol=1e-6)
    # as timm: the cosine goes on beside the warm-up; it ends with a hundredth
    t = dataclasses.replace(t, cosine_includes_warmup=True, final_learning_rate=0.01)
    last = 0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * np.array([2, 3]) / 4))
    np.testing.assert_allclose(rates(t, 5, 20), first + [last[0]] * 5 + [last[1]] * 5, rtol=1e-6)
    # 5 batches of an epoch, 2 of them make an update, which has the rate of its first batch
    made = make_schedule(t, 1.0, 2.5, 10, 2)
    assert [float(made(step)) for step in (3, 4, 5, 6)] == pytest.approx([0.1, 0.1, 0.1, 0.55])


def test_plateau():
    values = [5, 4, 4, 4, 3, 3, 3, 3, 3, 2]
    assert [count_plateaus(values[:n], 2) for n in range(11)] == [0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3]
    assert (
        make_schedule(Training(epochs=9, schedule="plateau", patience=1, learning_rate=1.0), 1, 1, 9) == 1.0)
    with pytest.raises(ValueError, match="warmup=1: .*schedule 'plateau' has no warm-up"):
        make_schedule(Training(epochs=9, schedule="plateau", patience=1, warmup=1), 0.1, 1, 9)


@pytest.mark.parametrize("logits", [False, True])
def test_binary(logits):
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(4, 5)), rng.dirichlet(np.ones(5), size=4)
    p, smooth = 1 / (1 + np.exp(-z)), y * 0.9 + 0.1 / 5
    expected = -(smooth * np.log(p) + (1 - smooth) * np.log(1 - p)).mean()
    assert float(BinaryCrossentropy(logits, 0.1)(y, z if logits else p)) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(smooth.sum(1), 1)


def test_targets_above_a_threshold():
    """As timm's BinaryCrossEntropy(target_threshold=0.2): of a mixed label each larger part is present."""
    y, p = np.array([[0.85, 0.15, 0.0], [0.7, 0.3, 0.0]]), np.array([[0.9, 0.4, 0.2], [0.6, 0.3, 0.1]])
    targets = np.array([[1, 0, 0], [1, 1, 0]])
    expected = -(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean()
    loss = make_loss(Training(epochs=1, loss="binary", target_threshold=0.2), "sigmoid")
    assert float(loss(y, p)) == pytest.approx(expected, rel=1e-5)
    assert BinaryCrossentropy.from_config(loss.get_config()).target_threshold == 0.2


def test_softmax_with_smoothing_and_shares():
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(4, 5)), rng.dirichlet(np.ones(5), size=4)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    expected = -((y * 0.9 + 0.1 / 5) * np.log(p)).sum(1).mean()
    t = Training(epochs=1, label_smoothing=0.1)
    for activation, scores in (("softmax", p), ("linear", z)):
        assert float(make_loss(t, activation)(y, scores)) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="ends in 'sigmoid': expected classifier_activation='softmax'"):
        make_loss(t, "sigmoid")
