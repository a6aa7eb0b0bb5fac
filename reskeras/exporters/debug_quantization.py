"""Where an int8 file loses its accuracy, layer by layer."""
from __future__ import annotations

import csv
import io
import pathlib
import re
import tempfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .options import Job

if TYPE_CHECKING:
    import keras

IMAGES = 16         # to measure on


@dataclass(frozen=True)
class LayerError:
    """What int8 does to the output of one operator, of the layer that it comes from."""
    layer: str
    operator: str
    relative_error: float       # root mean square of the error over the tensor's range
    steps: float                # the same in steps of the scale; rounding alone gives 0.29


def layer_errors(model: keras.Model, job: Job) -> list[LayerError]:
    """The errors of all operators with the job's calibration, the largest first.

    Each operator is given the float net's values, so that an error is the layer's own (TensorFlow's QuantizationDebugger).
    """
    import tensorflow as tf

    from . import saved_model
    from .tflite import tflite
    assert job.samples is not None
    with tempfile.TemporaryDirectory() as folder:
        saved_model.write_plain(model, pathlib.Path(folder), job.shape)
        converter = tflite.converter_of(folder, job)
        some = replace(job, samples=job.samples[:IMAGES * (job.shape[0] or 1)], progress=False)
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_dataset=lambda: ([batch] for batch in tflite.batches(some)),
            debug_options=tf.lite.experimental.QuantizationDebugOptions(fully_quantize=True))
        debugger.run()
    text = io.StringIO()
    debugger.layer_statistics_dump(text)
    names = [layer.name for layer in model.layers]
    found = []
    for line in csv.DictReader(io.StringIO(text.getvalue())):
        error, scale = float(line["mean_squared_error"]) ** 0.5, float(line["scale"])
        found.append(LayerError(layer_of(line["tensor_name"], names), line["op_name"], error / (255 * scale), error / scale))
    return sorted(found, key=lambda e: -e.relative_error)


def layer_of(tensor: str, layers: list[str]) -> str:
    """The layer that made a tensor of the converter's name, "net_1/conv1_conv_1/BiasAdd;..."; the tensor's where none did.

    Keras adds "_1" to the layer's name when the net is traced again.
    """
    if tensor.startswith("StatefulPartitionedCall"):        # the output
        return layers[-1]
    parts = tensor.partition(";")[0].split("/")
    return next((name for part in parts for name in (part, re.sub(r"_\d+$", "", part)) if name in layers), tensor)


def table(errors: list[LayerError], most: int = 20) -> str:
    """The worst layers as text."""
    lines = [f"{'layer':40} {'operator':20} {'error / range':>14} {'error / step':>13}"]
    lines += [f"{e.layer[:40]:40} {e.operator:20} {e.relative_error:14.2%} {e.steps:13.2f}" for e in errors[:most]]
    return "\n".join(lines)
