"""A short training from fixed weights, for every Keras backend; as a script, in a process of its own."""
from __future__ import annotations

import sys
from typing import Any

import keras
import numpy as np

import reskeras

CASES: dict[str, dict[str, Any]] = {
    "micro_batches": dict(micro_batches=2, ema_momentum=0.9, ema_rule="timm"),
    "lamb": dict(optimizer="lamb", weight_decay=0.02, learning_rate=0.005, global_clipnorm=1.0,
                 ema_momentum=0.9, ema_rule="keras"),
    "mixed_float16": dict(ema_momentum=0.9, ema_rule="tensorflow"),
    "distillation": dict(distillation="consistent", temperature=2.0),
}


def make_net(policy: str = "float32", seed: int = 0) -> keras.Model:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    net = reskeras.CifarResNet20(weights=None, depths=(1, 1, 1), width=0.5, classes=10,
                                 input_shape=(16, 16, 1))
    keras.config.set_dtype_policy(before)
    random = np.random.default_rng(seed)
    net.set_weights([random.standard_normal(v.shape) * np.sqrt(2 / np.prod(v.shape[:-1]))
                     if len(v.shape) > 1 else value for v, value in zip(net.weights, net.get_weights())])
    return net


def make_images(count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    labels = np.arange(count) % 10
    images = random.integers(0, 128, (count, 16, 16, 1), dtype="uint8")
    images[np.arange(count), labels] = 255
    return images, labels


def train(net: Any, **options: Any) -> keras.callbacks.History:
    images, labels = make_images(70)
    if "distillation" in options:
        options["teacher"] = reskeras.set_metadata(make_net(seed=1), preprocessing="cifar_resnet20.digits")
    return reskeras.fit(net, (images[:64], labels[:64]), "digits", validation_data=(images[:70], labels[:70]),
                        **{**dict(augmentation="", size=16, warmup=0, epochs=2, batch_size=16, verbose=0,
                                  deterministic=True, preprocessing="cifar_resnet20.digits"), **options})


def train_all(cases: Any = CASES) -> dict[str, np.ndarray]:
    """The results of each case: the losses and accuracies, and the weights."""
    arrays = {}
    for case in cases:
        history = train(make_net(case if case.startswith("mixed") else "float32"), **CASES[case])
        names = [name for name in sorted(history.history) if "loss" in name or "accuracy" in name]
        arrays[f"{case}/results"] = np.array([history.history[name] for name in names])
        arrays |= {f"{case}/{i}": np.asarray(w) for i, w in enumerate(history.model.get_weights())}
    return arrays


if __name__ == "__main__":
    if len(sys.argv) > 2:
        devices = keras.distribution.list_devices()[:int(sys.argv[2])]
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    np.savez(sys.argv[1], **train_all(sys.argv[3:] or CASES))
