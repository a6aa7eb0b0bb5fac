"""Trainings on images by value, a dataset and a remote file, on one device or two, in a process of its own.

    python sources_on_devices.py OUTPUT.npz
"""
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import fsspec  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

import reskeras  # noqa: E402

rng = np.random.default_rng(0)
LABELS = np.arange(25) % 4
BANDS = rng.normal(3000, 500, (25, 8, 12, 5)).astype("uint16")
TRAINING = {"size": (8, 12), "augmentation": "pad_crop((8, 12), 1)|flip", "batch_size": 10, "epochs": 2,
            "learning_rate": 0.3, "base_batch_size": 10, "schedule": "constant"}
NET = {"depths": (1,), "widths": (16,), "strides": (1,), "norm": "sync_batch"}


def train(data, strategy):
    history = reskeras.fit("cifar_resnet20", data, "cifar_he", validation_data=data, classes=4, verbose=0,
                           overrides=TRAINING, model_overrides=NET, deterministic=True, strategy=strategy)
    weights = np.concatenate([np.ravel(w) for w in history.model.get_weights()])
    return np.append(weights, history.history["val_loss"])


def main(output):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice())
    with fsspec.open("memory://bucket/bands.npz", "wb") as file:
        np.savez(file, x=BANDS, y=LABELS)
    dataset = tf.data.Dataset.from_tensor_slices((BANDS, LABELS)).batch(7)
    results = {}
    for name, data in (("arrays", (BANDS, LABELS)), ("remote", "npz:memory://bucket/bands.npz"),
                       ("dataset", dataset)):
        for replicas, strategy in ((1, "none"), (2, mirrored)):
            if (name, replicas) != ("remote", 1):
                results[f"{name}{replicas}"] = train(data, strategy)
    np.savez(output, **results)


if __name__ == "__main__":
    main(sys.argv[1])
