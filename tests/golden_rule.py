"""Weights and inputs as a function of their names and shapes: what the golden outputs were computed from."""
import hashlib

import numpy as np


def generator(text):
    seed = hashlib.sha256(text.encode()).digest()[:8]
    return np.random.Generator(np.random.PCG64(int.from_bytes(seed, "little")))


def tensor(name, shape):
    """The value of the parameter or buffer `name` of a PyTorch state_dict."""
    random, leaf = generator(name), name.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, "int64")
    if leaf == "filt":
        return np.broadcast_to(np.outer([1, 2, 1], [1, 2, 1]) / 16, shape).astype("float32")
    if leaf in ("running_mean", "bias"):
        return (0.1 * random.standard_normal(shape)).astype("float32")
    if leaf == "running_var":
        return random.uniform(0.5, 1.5, shape).astype("float32")
    if len(shape) < 2:
        return random.uniform(0.55, 0.85, shape).astype("float32")
    return (random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype("float32")


def state_dict(manifest):
    return {name: tensor(name, tuple(shape)) for name, shape in manifest["state_dict"].items()}


def images(size):
    """(2, size, size, 3): 4 x 4 coarse patches under finer noise."""
    random, patch = generator(f"input-2x{size}x{size}x3"), np.arange(size) * 4 // size
    coarse = random.standard_normal((2, 4, 4, 3))[:, patch][:, :, patch]
    return (coarse + 0.5 * random.standard_normal((2, size, size, 3))).astype("float32")
