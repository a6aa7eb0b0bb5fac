"""Latency of exported files: plain converters on keras.applications' net against `reskeras.export` on ours,
alternately in one run.

    python examples/benchmarks/export.py --net ResNet50 --size 224 --threads 2 --json export.json

Both nets have the same weights.  Where the machine is too noisy (`timing.py`), no ratio is printed.
"""
from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import pathlib
import tempfile
from typing import Any, Callable

from inference import graph
from timing import clock, figures, in_turns, parser, ratio, shown, write

import keras
import numpy as np
import tensorflow as tf

import reskeras
from reskeras.exporters.formats import open_file

NETS = ("ResNet50", "ResNet101", "ResNet152", "ResNet50V2", "ResNet101V2", "ResNet152V2", "InceptionResNetV2")
TARGETS = (
    "predict", "TF graph", "TF optimized", "SavedModel", "TFLite float32", "TFLite dynamic", "TFLite int8",
    "OpenVINO f32", "OpenVINO bf16", "ONNX Runtime")
Call = Callable[[], Any]


def saved(net: keras.Model, folder: pathlib.Path, batch: int) -> str:
    """Keras' own SavedModel of a fixed batch, which the plain converters read."""
    archive = keras.export.ExportArchive()
    archive.track(net)
    archive.add_endpoint(
        "serve", net.__call__, input_signature=[tf.TensorSpec((batch, *net.input_shape[1:]))])
    archive.write_out(str(folder / "plain"), verbose=False)
    return str(folder / "plain")


def plain_saved_model(source: str, images: np.ndarray) -> Call:
    held = tf.saved_model.load(source)
    call, x = held.signatures["serving_default"], tf.constant(images)
    (name,) = call.structured_input_signature[1]
    return lambda: [output.numpy() for output in call(**{name: x}).values()]


def plain_tflite(source: str, images: np.ndarray, threads: int, kind: str | None) -> Call:
    converter = tf.lite.TFLiteConverter.from_saved_model(source)
    if kind:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "int8":
        converter.representative_dataset = lambda: ([image] for image in samples(images.shape))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    from reskeras.exporters.tflite.runtime import get_interpreter_class     # the same runtime for both sides
    interpreter = get_interpreter_class()(model_content=converter.convert(), num_threads=threads)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    return interpreter.invoke


def plain_openvino(source: str, images: np.ndarray, threads: int, precision: str) -> Call:
    import openvino
    net = openvino.compile_model(
        openvino.convert_model(source), "CPU",
        {
            "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY"})
    return lambda: net(images)


def plain_onnx(net: keras.Model, images: np.ndarray, threads: int) -> Call:
    import onnxruntime
    import tf2onnx
    signature = tf.TensorSpec(images.shape, name="images")
    proto, _ = tf2onnx.convert.from_function(
        tf.function(lambda x: net(x, training=False), [signature]), [signature], opset=17)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: images})


def samples(shape: tuple[int, ...], count: int = 32) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((count, *shape)).astype("float32")


def ours(
    net: keras.Model, path: pathlib.Path, images: np.ndarray, threads: int, runtime: str = "", **options: Any
) -> Call:
    """Our file, run as `open_file` runs it: for TFLite with its input set on each call, which the plain side
    does not pay.
    """
    if not path.exists():
        reskeras.export(net, path, batch_size=len(images), threads=threads, strict=False, **options)
    run = open_file(path, threads, runtime, trust=True).run
    return lambda: run(images)


def pairs(
    name: str, folder: pathlib.Path, size: int, batch: int, threads: int
) -> dict[str, Callable[[], tuple[Call, Call]]]:
    """Target -> the two sides, made when they are measured."""
    shape = (size, size, 3)
    theirs = getattr(keras.applications, name)(weights=None, input_shape=shape)
    net = getattr(reskeras, name)(weights=None, input_shape=shape)
    net.set_weights(theirs.get_weights())
    images = np.random.default_rng(0).standard_normal((batch, *shape)).astype("float32")
    source = functools.cache(lambda: saved(theirs, folder, batch))
    makers: dict[str, Callable[[], tuple[Call, Call]]] = {
        "predict": lambda: (lambda: theirs.predict_on_batch(images), lambda: net.predict_on_batch(images)),
        "TF graph": lambda: (graph(theirs, images), graph(net, images)),
        "TF optimized": lambda: (
            graph(theirs, images), graph(reskeras.optimize(net, check=False)[0], images)),
        "SavedModel": lambda: (
            plain_saved_model(source(), images), ours(net, folder / "net", images, threads))}
    for kind in (None, "dynamic", "int8"):
        extra = {"calibration_data": samples(shape)} if kind == "int8" else {}
        path = folder / f"{kind}.tflite"
        name = f"TFLite {kind or 'float32'}"
        makers[name] = lambda kind=kind, extra=extra, path=path: (  # type: ignore[misc]
            plain_tflite(source(), images, threads, kind),
            ours(net, path, images, threads, quantize=kind, **extra),
        )
    if importlib.util.find_spec("openvino"):
        for precision in ("f32", "bf16"):
            makers[f"OpenVINO {precision}"] = lambda precision=precision: (      # type: ignore[misc]
                plain_openvino(source(), images, threads, precision),
                ours(net, folder / "net.xml", images, threads, f"OpenVINO {precision}"))
    if importlib.util.find_spec("tf2onnx") and importlib.util.find_spec("onnxruntime"):
        makers["ONNX Runtime"] = lambda: (
            plain_onnx(theirs, images, threads), ours(net, folder / "net.onnx", images, threads))
    return makers


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--net", default="ResNet50", choices=NETS, help="of keras.applications and ours")
    arguments.add_argument("--targets", nargs="+", choices=TARGETS, default=TARGETS, help="all by default")
    arguments.add_argument("--batch", type=int, default=1)
    arguments.add_argument("--threads", type=int, default=os.cpu_count())
    options = arguments.parse_args()
    if tf.config.threading.get_intra_op_parallelism_threads() != options.threads:     # before anything runs
        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    rows = []
    print(
        f"{options.net}, {options.size} x {options.size}, batch {options.batch}, {options.threads} threads\n"
        f"{'target':16} {'plain ms':>10} {'ours ms':>10} {'ours / plain':>13}")
    with tempfile.TemporaryDirectory() as folder:
        for target, sides in pairs(
            options.net, pathlib.Path(folder), options.size, options.batch, options.threads).items():
            if target not in options.targets:
                continue
            plain, ours_call = sides()
            times = in_turns({"plain": clock(plain), "ours": clock(ours_call)}, options.seconds)
            before, after = times["plain"], times["ours"]
            rows.append({"target": target, **figures(times), "plain_ms": before.ms, "ours_ms": after.ms,
                         "ratio": ratio(after, before)})
            print(
                f"{target:16} {before.ms:10.2f} {after.ms:10.2f} {shown(ratio(after, before)):>13}",
                flush=True)
    write(options.json, rows)


if __name__ == "__main__":
    main()
