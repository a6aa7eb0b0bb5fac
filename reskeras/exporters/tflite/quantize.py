"""An int8 file in two steps, the converter's calibration and its quantizer; between them, ranges and layers of one's own."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from . import flatbuffer
from ..calibration import spread
from ..debug_quantization import layer_of
from ..options import Job

PERCENTILE = 99.99      # of a tensor's values other than zero that stay within its range
BINS = 2048
SHARES = np.linspace(1, 0.02, 50)    # of the range seen: those that "mse" chooses from
MOST_IMAGES = 128       # whose tensors are looked at
Range = tuple[float, float]


def quantize(converter: Any, job: Job, layers: list[str]) -> bytes:
    """The converter's int8 file with the job's `float_layers` as they are, and ranges by its `calibration_method`.

    Arguments:
        layers: names of the net's, the last of them that of its output.
    Raises: ValueError where nothing in the file is one of the `float_layers`.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize     # as QuantizationDebugger has it; it has no say in io types
    converter._experimental_calibrate_only = True
    calibrated = converter.convert()
    if job.calibration_method != "minmax":
        calibrated = _clipped(calibrated, job)
    kept = _in_float(calibrated, job.float_layers, layers) if job.float_layers else None
    return mlir_quantize(calibrated, input_data_type=getattr(tf, job.io), output_data_type=getattr(tf, job.io),
                         denylisted_nodes=kept)


def _in_float(calibrated: bytes, wanted: tuple[str, ...], layers: list[str]) -> list[str]:
    """The tensors that the `wanted` layers make, alone or with others that the converter fused with them."""
    graph = flatbuffer.unpacked(calibrated).subgraphs[0]
    made = [graph.tensors[operator.outputs[0]].name.decode() for operator in graph.operators]
    makers = {name: {layer_of(part, layers) for part in name.split(";")} for name in made}
    if lost := set(wanted).difference(*makers.values()):
        raise ValueError(f"float_layers: {', '.join(sorted(lost))} is no operator of its own in the file, such as a batch "
                         "normalization that was folded; name the layer before it")
    return [name for name in made if makers[name] & set(wanted)]


def _clipped(calibrated: bytes, job: Job) -> bytes:
    """The calibrated file with a narrower range for each tensor whose few outermost values cost all others their digits."""
    model = flatbuffer.unpacked(calibrated)
    tensors = model.subgraphs[0].tensors
    ranges = {i: (float(q.min[0]), float(q.max[0])) for i, t in enumerate(tensors)
              if (q := t.quantization) is not None and q.min is not None and len(q.min) == 1 and q.min[0] < q.max[0]}
    method = {"percentile": by_percentile, "mse": by_mse}[job.calibration_method]
    for i, counts in _histograms(calibrated, job, ranges).items():
        if not counts.any():
            continue
        low, high = method(counts, *ranges[i])
        tensors[i].quantization.min, tensors[i].quantization.max = [min(low, 0.0)], [max(high, 0.0)]
    return flatbuffer.packed(model)


def _histograms(calibrated: bytes, job: Job, ranges: dict[int, Range]) -> dict[int, np.ndarray]:
    """How many of each tensor's values lie in each of BINS parts of its range, on images from all over the job's.

    But for zeros, most of what a ReLU gives: they are one of the levels of any range, and have no error.
    """
    from .tflite import batches, interpreter_class
    reader = interpreter_class()(model_content=calibrated, experimental_preserve_all_tensors=True)
    reader.allocate_tensors()
    (before,) = reader.get_input_details()
    counts = {i: np.zeros(BINS, int) for i in ranges}
    assert job.samples is not None
    places = spread(list(range(len(job.samples))), max(MOST_IMAGES, job.shape[0] or 1))
    for images in batches(replace(job, samples=job.samples[places], progress=False)):
        reader.set_tensor(before["index"], images)
        reader.invoke()
        for i, found in counts.items():
            values = reader.get_tensor(i)
            found += np.histogram(values[values != 0], BINS, ranges[i])[0]
    return counts


def by_percentile(counts: np.ndarray, low: float, high: float) -> Range:
    """The range that leaves out as many values at either end, PERCENTILE of them inside."""
    outside = (1 - PERCENTILE / 100) / 2 * counts.sum()
    edges = np.linspace(low, high, BINS + 1)
    return (float(edges[np.searchsorted(counts.cumsum(), outside, "right")]),
            float(edges[BINS - np.searchsorted(counts[::-1].cumsum(), outside, "right")]))


def by_mse(counts: np.ndarray, low: float, high: float) -> Range:
    """The share of the range whose 256 levels have the least mean squared error, of rounding inside and clipping outside."""
    edges = np.linspace(low, high, BINS + 1)
    middles = (edges[1:] + edges[:-1]) / 2

    def error(share: float) -> float:
        least, most = share * min(low, 0.0), share * max(high, 0.0)
        beyond = middles - np.clip(middles, least, most)
        return float((counts * np.where(beyond == 0, ((most - least) / 255) ** 2 / 12, beyond ** 2)).sum())
    best = min(SHARES, key=error)
    return best * low, best * high
