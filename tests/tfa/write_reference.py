"""What tensorflow-addons computes, as text: tests/golden/tfa.json.  Run by `tox -e tfa-reference`, the only
place that has it.
"""
import json
import pathlib

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa

FILE = pathlib.Path(__file__).parents[1] / "golden" / "tfa.json"
RATE, DECAY, STEPS = 0.1, 0.05, 4
rng = np.random.default_rng(0)
KERNEL, BIAS = rng.normal(size=(3, 2)).astype("float32"), rng.normal(size=2).astype("float32")
GRADIENTS = [
    (rng.normal(size=(3, 2)).astype("float32"), rng.normal(size=2).astype("float32")) for _ in range(STEPS)]


def numbers(array):
    return np.asarray(array, "float64").round(7).tolist()


def stepped(optimizer, averages=False):
    """(kernel, bias) after each step, or their averages."""
    variables = [tf.Variable(KERNEL, name="kernel"), tf.Variable(BIAS, name="bias")]
    states = []
    for gradients in GRADIENTS:
        optimizer.apply_gradients(list(zip(gradients, variables)))
        states.append([numbers(optimizer.get_slot(v, "average") if averages else v) for v in variables])
    return states


def stochastic_depth(survival):
    """The two outputs of training, dropped first, and the one of inference."""
    shortcut, residual = (rng.normal(size=(2, 3)).astype("float32") for _ in range(2))
    layer = tfa.layers.StochasticDepth(survival)
    seen = {tuple(np.ravel(layer([shortcut, residual], training=True))) for _ in range(50)}
    dropped, kept = sorted(seen, key=lambda out: np.abs(np.reshape(out, shortcut.shape) - shortcut).max())
    return {
        "survival": survival, "shortcut": numbers(shortcut), "residual": numbers(residual),
        "dropped": numbers(dropped), "kept": numbers(kept),
        "inference": numbers(layer([shortcut, residual], training=False))}


def rows(image):
    """A mask as text: # is cut out."""
    return ["".join("#" if pixel == 0 else "." for pixel in row) for row in np.asarray(image)[..., 0]]


def cutout():
    """Squares of even sides around centres, cut off by the border; and how large the random ones are."""
    ones = tf.ones((1, 8, 8, 1))
    placed = [{"size": size, "centre": centre, "mask": rows(tfa.image.cutout(ones, size, centre)[0])}
              for size, centre in ((4, (4, 4)), (4, (0, 0)), (4, (7, 1)), (2, (3, 7)), (6, (5, 2)))]
    random = [tfa.image.random_cutout(tf.ones((1, 8, 8, 1)), 4)[0] for _ in range(200)]
    return {"placed": placed, "random_areas": sorted({int(area) for area in 64 - np.sum(random, (1, 2, 3))})}


def main():
    optimizers = {
        "lamb": tfa.optimizers.LAMB(RATE, epsilon=1e-6),
        "lamb_decay": tfa.optimizers.LAMB(
            RATE, epsilon=1e-6, weight_decay=DECAY, exclude_from_weight_decay=["bias"]),
        "sgdw": tfa.optimizers.SGDW(DECAY, RATE, momentum=0.9),
        "adamw": tfa.optimizers.AdamW(DECAY, RATE, epsilon=1e-7)}
    found = {
        "versions": {"tensorflow": tf.__version__, "tensorflow_addons": tfa.__version__}, "rate": RATE,
        "decay": DECAY, "kernel": numbers(KERNEL), "bias": numbers(BIAS),
        "gradients": [[numbers(g) for g in pair] for pair in GRADIENTS],
        **{name: stepped(optimizer) for name, optimizer in optimizers.items()},
        "moving_average": stepped(
            tfa.optimizers.MovingAverage(tf.keras.optimizers.legacy.SGD(RATE), 0.9, start_step=1),
            averages=True),
        "stochastic_depth": [stochastic_depth(survival) for survival in (0.5, 0.8)], "cutout": cutout()}
    FILE.write_text(
        "{"
        + ",\n".join(f"\n{json.dumps(name)}: {json.dumps(value)}" for name, value in found.items())
        + "\n}\n")


if __name__ == "__main__":
    main()
