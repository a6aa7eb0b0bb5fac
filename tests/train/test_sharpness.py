"""Sharpness-aware minimization against updates by hand, on two replicas, and its errors."""
import keras
import numpy as np
import pytest
from test_distillation import FOLDERS, PLAIN, TORCH, make_images, make_model
from two_devices import run_on_two_devices

import reskeras
from reskeras.errors import ArgumentError


def gradients(net, images, labels):
    import tensorflow as tf
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(tf.reduce_sum(np.eye(4)[labels] * tf.math.log(net(TORCH(images))), -1))
    return [g.numpy() for g in tape.gradient(loss, [v.value for v in net.trainable_variables])]


@pytest.mark.parametrize("interval", [1, 2])
def test_updates_by_hand(interval):
    images, labels = make_images()
    net, plain = make_model(0), make_model(0)
    reskeras.fit(net, (images, labels), epochs=4, **{**PLAIN, "batch_size": 32}, sam_rho=0.3,
                 sam_interval=interval)
    for step in range(4):
        before, found = plain.get_weights(), gradients(plain, images, labels)
        if (step + 1) % interval == 0:
            norm = np.sqrt(sum((g ** 2).sum() for g in found))
            plain.set_weights([w + 0.3 * g / norm for w, g in zip(before, found)])
            found = gradients(plain, images, labels)
        plain.set_weights([w - 0.5 * g for w, g in zip(before, found)])
    for a, b in zip(net.get_weights(), plain.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


CHILD = """
from test_distillation import PLAIN, make_images, make_model
for name, options in {"xla": dict(jit_compile=True), "one": {}, "two": dict(strategy=mirrored)}.items():
    strategy = options.get("strategy")
    with strategy.scope() if strategy else tf.device("CPU:0"):
        net = make_model(0)
    # one batch in an epoch: batches come in any order
    reskeras.fit(net, make_images(), epochs=4, sam_rho=0.3, sam_interval=2,
                 **PLAIN | {"batch_size": 32} | options)
    found |= {f"{name}/{i}": w for i, w in enumerate(net.get_weights())}
"""


def test_replicas_and_xla(tmp_path):
    found = run_on_two_devices(CHILD, tmp_path, FOLDERS)
    for name in ("xla", "two"):
        for i in range(4):
            np.testing.assert_allclose(found[f"{name}/{i}"], found[f"one/{i}"], rtol=1e-3, atol=1e-5,
                                       err_msg=name)


def test_statistics_are_those_of_the_first_pass():
    """One update: the running statistics are as without SAM, and the loss is the one at the weights."""
    histories = []
    for rho in (0.0, 0.5):
        keras.utils.set_random_seed(0)
        net = reskeras.create("cifar_resnet20", weights=None, classes=4, input_shape=(8, 8, 3), depths=(1,),
                              widths=(16,), strides=(1,))
        net = reskeras.set_metadata(net, preprocessing=TORCH)
        history = reskeras.fit(net, make_images(), epochs=1, **{**PLAIN, "batch_size": 32}, sam_rho=rho)
        histories.append(([v.numpy() for v in net.non_trainable_variables], history.history["loss"]))
    for a, b in zip(histories[0][0], histories[1][0]):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(histories[0][1], histories[1][1], rtol=1e-5)


@pytest.mark.parametrize("change, text", [(dict(micro_batches=2), "1 with sam_rho"),
                                          (dict(sam_interval=0), "at least 1")])
def test_errors(change, text):
    with pytest.raises(ArgumentError, match=text):
        reskeras.fit(make_model(0), make_images(), epochs=1, **{**PLAIN, "sam_rho": 0.1, **change})
