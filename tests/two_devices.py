"""A child process whose CPU is two virtual devices, and what it writes."""
import pathlib
import subprocess
import sys

import numpy as np

_START = """
import sys, keras, numpy as np, tensorflow as tf
sys.path[:0] = sys.argv[2:]
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0],
                                           [tf.config.LogicalDeviceConfiguration()] * 2)
import reskeras
mirrored, found = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), {}
"""
_END = """
np.savez(sys.argv[1], **found)
"""


def run_on_two_devices(code, folder, paths=()):
    """Runs code that has the strategy `mirrored`, and puts arrays into the dictionary `found`.

    Args:
        code: in Python, without indentation.
        folder: for the file of the arrays.
        paths: where the code imports from, besides the packages.

    Returns:
        The arrays, by name.
    """
    file = pathlib.Path(folder, "found.npz")
    done = subprocess.run([sys.executable, "-c", _START + code + _END, str(file), *map(str, paths)],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return np.load(file)
