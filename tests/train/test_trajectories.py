"""Optimizers, schedules and averages against PyTorch, timm and torchvision's training script.

tests/torch_reference/write_trajectories.py stores their trajectories: 20 updates in float64, from the same
weights on the same data.
"""
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from reskeras.train.averages import make_averages
from reskeras.train.optimizers import make_optimizer
from reskeras.train.schedule import make_schedule
from reskeras.train.training import Training

TORCH = np.load(pathlib.Path(__file__).parents[1] / "golden" / "training" / "trajectories.npz")
UPDATES, EPOCH, BATCH, SIZE, CLASSES = 20, 4, 8, 6, 5
PIXELS = BATCH * SIZE ** 2      # over which a moving variance is computed
SGD = dict(optimizer="sgd", momentum=0.9, weight_decay=0.05, schedule="constant", learning_rate=0.1)
ADAM = dict(SGD, learning_rate=0.01, epsilon=1e-8)
CASES = {
    "sgd": SGD,
    "sgd_drop": dict(SGD, schedule="step", milestones=(7, 14)),
    "nesterov_drop": dict(SGD, optimizer="nesterov", schedule="step", milestones=(7, 14)),
    "cosine_with_warmup": dict(SGD, schedule="cosine", warmup=6),
    "torchvision_schedule": dict(SGD, schedule="cosine", warmup=2, warmup_start=0.01, schedule_by_epoch=True),
    "timm_schedule": dict(SGD, schedule="cosine", warmup=2, warmup_start=0.1, schedule_by_epoch=True,
                          cosine_includes_warmup=True, final_learning_rate=0.01),
    "decay_of_kernels": dict(SGD, decayed_weights="kernels"),
    "decay_of_all_but_normalization": dict(SGD, decayed_weights="all_but_normalization"),
    "adam": dict(ADAM, optimizer="adam"),
    "adam_accumulation": dict(ADAM, optimizer="adam"),
    "adamw": dict(ADAM, optimizer="adamw"),
    "lamb": dict(ADAM, optimizer="lamb", epsilon=1e-6, decayed_weights="kernels", global_clipnorm=0.1),
    "accumulation": SGD,
    "ema_timm_v2": dict(SGD, ema_momentum=0.9, ema_rule="constant"),
    "ema_timm_v3": dict(SGD, ema_momentum=0.8, ema_rule="timm"),
    "ema_torchvision": dict(SGD, ema_momentum=0.99, ema_rule="torchvision", ema_steps=3, warmup=2,
                            warmup_start=1.0)}
CASES["ema_accumulation"] = CASES["ema_torchvision"]


class Run:
    """The net of the reference, and its training by a recipe's fields."""

    def __init__(self, fields, micro_batches=1):
        by_update = fields["schedule"] != "constant" and "schedule_by_epoch" not in fields
        length = {"steps": UPDATES} if by_update else {"epochs": UPDATES // EPOCH}
        self.training = Training(**fields, **length, batch_size=BATCH)
        self.net = self.make_net()
        schedule = make_schedule(self.training, self.training.learning_rate, EPOCH, UPDATES, micro_batches)
        self.optimizer = make_optimizer(self.training, schedule, micro_batches)
        self.optimizer.build(self.net.trainable_variables)
        self.averages = make_averages(self.training, self.net, EPOCH * micro_batches, micro_batches)
        self.micro_batches = micro_batches
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float64")

    @staticmethod
    def make_net():
        x = inputs = keras.Input((SIZE, SIZE, 3), dtype="float64")
        layers = [keras.layers.Conv2D(4, 3, padding="same", dtype="float64"),
                  keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype="float64",
                                                  moving_variance_initializer="zeros"),
                  keras.layers.ReLU(dtype="float64"), keras.layers.GlobalAveragePooling2D(dtype="float64"),
                  keras.layers.Dense(CLASSES, dtype="float64")]
        for layer in layers:
            x = layer(x)
        net, place = keras.Model(inputs, x), 0
        for variable in net.trainable_variables:
            size = int(np.prod(variable.shape))
            variable.assign(TORCH["start"][place:place + size].reshape(variable.shape))
            place += size
        return net

    def step(self, batch):
        self._step(tf.constant(TORCH["images"][batch] / 64 - 2), tf.constant(TORCH["labels"][batch]))

    @tf.function
    def _step(self, images, labels):
        with tf.GradientTape() as tape:
            loss = self.loss(labels, self.net(images, training=True))
        self.optimizer.apply(tape.gradient(loss, [v.value for v in self.net.trainable_variables]))
        if self.averages:
            self.averages.update(self.optimizer)

    def read(self):
        """All variables, or their averages, in the order of the reference, with its moving variances."""
        variables = self.averages.values if self.averages else [
            *self.net.trainable_variables, *self.net.non_trainable_variables]
        values = np.concatenate([np.ravel(v) for v in variables])
        values[-4:] *= PIXELS / (PIXELS - 1)
        return values

    def run(self):
        states = []
        for update in range(1, UPDATES + 1):
            for part in range(self.micro_batches):
                self.step((update - 1) * self.micro_batches + part)
            if update in TORCH["kept"]:
                states.append(self.read())
        return np.array(states)


@pytest.mark.parametrize("name", CASES)
def test_trajectory(name):
    states = Run(CASES[name], micro_batches=2 if "accumulation" in name else 1).run()
    np.testing.assert_allclose(states, TORCH[name], rtol=1e-6, atol=1e-6)


def test_tensorflow_average():
    """As tf.train.ExponentialMovingAverage with the number of updates, which tensorflow/tpu uses."""
    run = Run(dict(SGD, ema_momentum=0.6, ema_rule="tensorflow"))
    variables = [v.value for v in [*run.net.trainable_variables, *run.net.non_trainable_variables]]
    count = tf.Variable(0.0)
    ema = tf.train.ExponentialMovingAverage(0.6, num_updates=count)
    ema.apply(variables)                # makes the averages, which begin with the first weights
    for batch in range(10):
        run.step(batch)
        count.assign(batch + 1.0)
        ema.apply(variables)
    for average, variable in zip(run.averages.values, variables, strict=True):
        np.testing.assert_allclose(average, ema.average(variable), rtol=1e-5, atol=1e-6)
