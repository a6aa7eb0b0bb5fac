# %% [markdown]
# # Distributed training
#
# `reskeras.fit` uses all devices of a machine. To see that without several GPUs, this notebook divides the
# CPU into two virtual devices, trains the same net on one and on two, and compares the weights.

# %% tags=["skip-execution"]
# %pip install -q reskeras

# %%
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

import keras  # noqa: E402

import reskeras  # noqa: E402

# %% [markdown]
# ## The same training on one device and on two
# Nine images in batches of four: the last batch has one, so one replica gets nothing. The loss is still the
# mean over the whole batch. Batch normalization is synchronized (`norm="sync_batch"`).

# %%
rng = np.random.default_rng(0)
images, labels = rng.integers(0, 256, (9, 32, 32, 3), "uint8"), np.arange(9)


def train(strategy):
    keras.utils.set_random_seed(0)
    history = reskeras.fit("cifar_resnet20", (images, labels), "cifar_he", strategy=strategy, verbose=0,
                           deterministic=True, steps=4, batch_size=4, augmentation="resize(32)",
                           schedule="constant", learning_rate=0.01,
                           model_overrides={"depths": (1, 1, 1), "norm": "sync_batch"})
    return history.model.get_weights()


one, two = train("none"), train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
difference = max(np.abs(a - b).max() for a, b in zip(one, two))
print(f"largest difference of a weight after 4 steps: {difference:.1e}")
assert difference < 1e-4

# %% [markdown]
# ## Several machines
# Set `TF_CONFIG` on each machine and start the same command everywhere. On the first machine:
#
# ```
# export TF_CONFIG='{"cluster": {"worker": ["host0:1234", "host1:1234"]},
#                    "task": {"type": "worker", "index": 0}}'
# reskeras train resnet50v1_5 --recipe TV2 --data folder:train --validation-data folder:val \
#     --strategy multi_worker
# ```
#
# `examples/multi_worker.py` of the repository starts two processes on one machine. If a worker is lost, the
# others stop with an error that names it; start all again with `--resume`, also with another number of
# workers.
