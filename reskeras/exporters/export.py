"""A net to a file for another runtime, proved there before the call returns."""
from __future__ import annotations

import hashlib
import os
import pathlib
from dataclasses import replace
from typing import Any, Mapping, Sequence

import keras
import numpy as np

from .. import __version__
from ..graph.graph import Graph
from ..graph.optimize import optimize as optimized
from ..graph.equivalence import logits
from ..model_metadata import class_names, remember
from ..spec import nearest
from ..images.model_opening import opening
from ..weights.table import get_weights
from . import reference_outputs
from .calibration import enough, samples
from .c_array import forget_cc, write_cc
from .report import Certificate, compared, latency, size_and_hash, threshold
from .formats import FORMATS, Format, Runtime, format_of, open_file, require, whole
from .options import Job
from .keras_file import keras_run
from .random_images import random_images, undecided
from .replace import others, replacing
from .float32_error import allowing, rounding
from .tflite.tflite import before_softmax

HALF = ("float16", "bfloat16")
IO = ("int8", "uint8", "float32")
METHODS = ("minmax", "percentile", "mse")
SIDE = 96               # pixels to compare on where the net leaves its size open: any net of the family takes it
LOGITS = 32             # images whose logits are compared: the plain kernels that show them are slow


def export(model: keras.Model, path: str | os.PathLike[str], *, quantize: str | None = None, calibration: Any = None,
           validation: Any = None, batch: int | None = None, size: int | tuple[int, int] | None = None, io: str = "int8",
           preprocess: Any = None, labels: str | Sequence[str] | None = None, calibration_method: str = "minmax",
           float_layers: Sequence[str] = (), optimize: bool = True, threads: int = 1,
           thresholds: Mapping[str, float] | None = None, strict: bool = True, progress: bool = False,
           cc: bool = False) -> Certificate:
    """Writes `model` to `path`, runs the file in its own runtime, and returns the proof; `<path>.json` holds it too.

    Batch normalization is folded first.  A net of mixed precision is rebuilt in float32, but for Keras files and SavedModels.

    Arguments:
        model: of one input of images and one output.
        path: its suffix decides: `.tflite`, `.onnx`, `.xml` (OpenVINO), `.keras`, none for a SavedModel folder.
        quantize: for TFLite: None (float32), "float16" and "dynamic" (the weights), "int8" (everything).
        calibration: images that int8 is scaled by, at least 32: an array of floats as the net takes them or of uint8 pixels,
            a folder, a list of files, a tf.data set, or a pair (images, classes).  Pixels and files go through the net's own
            preprocessing.
        validation: images to compare on, of the same kinds; those of the calibration where not given, else random ones.  With
            classes the certificate has the accuracy before and after.
        batch: images per call; 1 in a .tflite, open elsewhere, where not given.
        size: (height, width) of the images, where the model leaves it open; `.keras` takes neither of the two.
        io: type of an int8 file's input and output: "int8", "uint8" or "float32".
        preprocess: for a net that does not remember it: a weights row, its name, or a `Preprocessing`.
        labels: for a net that does not remember them: a label set, or the names of the classes.
        calibration_method: the range of a tensor in an int8 file: "minmax" (all that the calibration has seen), "percentile"
            (99.99 % of it), or "mse" (the least mean squared error of rounding and clipping together).
        float_layers: names of layers that stay in floating point in an int8 file.
        optimize: whether to write the net with its batch normalization folded; compared is the net as it was given.
        threads: of the runtimes, in the timing.
        thresholds: "difference" (largest, relative) or "agreement" (least share of images of the same class), in place of the
            rules of `certificate.THRESHOLDS`.
        strict: whether a file that falls short is an error; else it is kept, with `passed: false` in its certificate.
        progress: whether to show a bar while calibrating.
        cc: whether to write `<path>.cc` too, the .tflite as a C array with its arena size, for microcontrollers.
    Raises: ValueError for a bad argument, RuntimeError where the file falls short, ImportError where a package is missing,
        OSError where `path` cannot be written.  What was at `path` is then still there, and nothing else is.
    """
    target = pathlib.Path(path)
    form = format_of(target)
    check(model, target, form, quantize, calibration, batch, size, io, calibration_method, float_layers, threads)
    if cc and form.name != "TFLite":
        raise ValueError(f"cc=True is defined for .tflite; {target.name!r} would be a {form.name}")
    others(target, form.files(target)[1:])
    require(form)
    original = model
    if preprocess is not None or labels is not None:
        model = remember(Graph.of(model).build(), preprocess, labels)       # the caller's own net forgets nothing new
    trained = has_learned(model)
    hashed = _weights_hash(model)
    if not form.half and any(layer.compute_dtype in HALF for layer in model.layers):
        original = model = Graph.of(model).build("float32")     # converters have no bfloat16, and sums in float16 overflow
    precision = next((layer.compute_dtype for layer in model.layers if layer.compute_dtype in HALF), "float32")
    job = job_of(model, form, quantize, batch, size, io, float_layers, progress)
    pixels = (*image_size(model, size, form), model.input_shape[3])
    prepare = job.preprocessing and job.preprocessing.fitted(pixels)
    job = replace(job, preprocessing=job.preprocessing and job.preprocessing.fitted(job.shape[1:]))
    given = None if calibration is None else samples(calibration, prepare, pixels, progress=progress)
    if quantize == "int8":
        assert given is not None
        enough(given.images, job.shape[0])
        job = replace(job, samples=given.images, calibration_method=calibration_method)
    judge = Runtime(keras_run(original), tuple(model.input_shape))
    measure = "outputs" if not _ends_in_softmax(model) else "logits" if quantize == "int8" else "log-probabilities"
    graph = None if measure == "outputs" else logits(Graph.of(model))
    inner = Runtime(keras_run(graph.build()), judge.shape) if graph else None
    images = given or random_images(pixels, prepare, opening(model)[1])
    if validation is not None:
        images = samples(validation, prepare, pixels, progress=progress)
    elif given is None and inner:
        images = undecided(images, inner)
    expected = judge(images.images)
    right = accuracy(expected, images.truth)
    memory = getattr(model, "memory", None)
    variant, _, tag = (memory.weights if memory else "").partition(".")
    with replacing(target, folder=form.name == "SavedModel") as new:
        form.module.write(ready(model, form, job, pixels) if optimize else model, new, job)
        if bad := form.module.faults(new, job):
            raise RuntimeError(f"{target}: {'; '.join(bad[:3])}; nothing was written")
        kinds = {name: getattr(form.module, "KINDS", {}).get(name) or quantize or precision for name in form.module.RUNTIMES}
        step = job.shape[0] or 1
        one = np.resize(images.images[:step], (step, *pixels))
        number, digest = size_and_hash(*form.files(new))
        some = images.images[:LOGITS]
        answers = inner(some) if inner else None
        scale = None if answers is None else float(np.abs(answers).max())
        inside = None if answers is None or measure != "logits" else (Runtime(before_softmax(new), job.shape)(some), answers)
        runs = {name: open_file(new, threads, name) for name in kinds}
        certificate = Certificate(
            file=target.name, format=form.name, quantize=quantize, passed=False, fault="",
            variant=variant or model.name, tag=tag, weights_sha256=hashed, bytes=number, sha256=digest, batch=step,
            images=len(expected), measure=measure, scale=scale, threads=threads,
            runtimes={name: compared(run(images.images), expected, kinds[name], measure, images.truth, latency(run.run, one),
                                     inside, scale) for name, run in runs.items()},
            keras={"latency_ms": latency(judge.run, one), "accuracy": right},
            operators=form.module.operators(new),
            left_to_cpu=form.module.left_to_cpu(new) if hasattr(form.module, "left_to_cpu") else {},
            thresholds={name: threshold(kind, trained, thresholds) for name, kind in kinds.items()},
            versions={"reskeras": __version__, "keras": keras.__version__} | form.module.version(),
            memory=memory.get_config() if memory else None,
            calibration_method=calibration_method if quantize == "int8" else None)
        if not thresholds:
            certificate = allowing(certificate, lambda: rounding(graph or Graph.of(model), some, answers))
        certificate = certificate.judged()
        if strict and not certificate.passed:
            raise RuntimeError(f"{target}: {certificate.fault}{_hint(model, quantize)}; nothing was written")
        certificate.write(new.with_name(f"{target.name}.json"))
        if cc:
            write_cc(new, new.with_name(f"{target.name}.cc"))
        reference_outputs.write(new.with_name(f"{target.name}.npz"), judge, next(iter(runs.values())), images.images,
                    inner if measure == "logits" else None)
    if not cc:
        forget_cc(target)
    return certificate


def ready(model: keras.Model, form: Format, job: Job, pixels: tuple[int, int, int]) -> keras.Model:
    """The net as fast as it gets; the file is compared with the net as it was, so that no proof is needed here."""
    target = "saved_model" if form.target == "tflite" and job.shape[0] != 1 else form.target
    return optimized(model, for_target=target, proof=False, input_shape=pixels)[0]


def _hint(model: keras.Model, quantize: str | None) -> str:
    """What is known to be of no use."""
    if quantize == "int8" and any(isinstance(layer, keras.layers.GroupNormalization) for layer in model.layers):
        return (" (group normalization takes its statistics from each image, and leaves a channel too few of 256 levels: "
                "quantize='dynamic' or 'float16' keep such nets)")
    return ""


def accuracy(scores: np.ndarray, truth: np.ndarray | None) -> float | None:
    """Raises: ValueError for classes that the net does not have."""
    if truth is None:
        return None
    if scores.ndim != 2 or not 0 <= truth.min() <= truth.max() < scores.shape[1]:
        raise ValueError(f"the classes of the images are {truth.min()} to {truth.max()}; the net's output is of the shape "
                         f"{scores.shape[1:]}")
    return float((scores.argmax(1) == truth).mean())


def check(model: keras.Model, target: pathlib.Path, form: Format, quantize: str | None, calibration: Any, batch: int | None,
          size: Any, io: str, calibration_method: str, float_layers: Sequence[str], threads: int) -> None:
    """Raises: ValueError for arguments that do not fit together, TypeError for what is no model."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"{model!r} is a {type(model).__name__}: expected a keras.Model, as reskeras.create gives")
    if keras.config.backend() != "tensorflow":
        raise ValueError(f"exports are made with the TensorFlow backend, and this process has {keras.config.backend()!r}; save "
                         "the net as .keras and export it in a process with KERAS_BACKEND=tensorflow")
    known = FORMATS[".tflite"].numbers
    if quantize not in known:
        raise ValueError(f"quantize={quantize!r}: expected one of {', '.join(map(repr, known))}{nearest(quantize, known)}")
    if quantize not in form.numbers:
        raise ValueError(f"quantize={quantize!r} is defined for .tflite; {target.name!r} would be a {form.name}")
    if quantize == "int8" and calibration is None:
        raise ValueError("quantize='int8' needs calibration=images, some hundred of them, or a folder of image files")
    if quantize == "int8" and "float" not in model.inputs[0].dtype:
        raise ValueError(f"quantize='int8': {model.name} takes images of {model.inputs[0].dtype}, the converter scales floats "
                         "alone: export the net without its first cast, io='uint8' makes the file take pixels")
    for name, value, choices in (("io", io, IO), ("calibration_method", calibration_method, METHODS)):
        if value not in choices:
            raise ValueError(f"{name}={value!r}: expected one of {', '.join(choices)}{nearest(value, choices)}")
        if value != choices[0] and quantize != "int8":
            raise ValueError(f"{name}={value!r} is defined for quantize='int8'")
    if batch is not None:
        whole("batch", batch)
    if form.name == "Keras" and (batch, size) != (None, None):
        raise ValueError(f"batch and size are fixed in files of other kinds; {target.name!r} holds the net's own shape, "
                         f"{model.input_shape}")
    whole("threads", threads)
    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.input_shape) != 4:
        raise ValueError(f"{model.name}: a net of one input (batch, height, width, channels) and one output is expected")
    layers = [layer.name for layer in model.layers]
    if isinstance(float_layers, str):
        raise ValueError(f"float_layers={float_layers!r}: expected a list of names, [{float_layers!r}]")
    for name in float_layers:
        if quantize != "int8" or name not in layers:
            raise ValueError(f"float_layers={name!r}: expected layers of the net, for quantize='int8'{nearest(name, layers)}")


def job_of(model: keras.Model, form: Format, quantize: str | None, batch: int | None, size: Any, io: str,
           float_layers: Sequence[str], progress: bool) -> Job:
    shape = tuple(model.input_shape)
    if size is not None or form.name == "TFLite":
        shape = (shape[0], *image_size(model, size, form), shape[3])
    memory = getattr(model, "memory", None)
    names = class_names(model)
    prepare = memory.preprocessing if memory else None
    row = get_weights(memory.weights) if memory and memory.weights else None
    about = {"reskeras": __version__, "net": model.name, "quantize": quantize, "labels": list(names),
             "memory": memory.get_config() if memory else None, "licence": row.licence if row else ""}
    return Job((batch or (1 if form.name == "TFLite" else shape[0]), *shape[1:]), quantize, io=io,
               float_layers=tuple(float_layers), progress=progress, labels=names, metadata=about, preprocessing=prepare)


def image_size(model: keras.Model, size: int | tuple[int, int] | None, form: Format) -> tuple[int, int]:
    """(height, width) of the images to compare on.  Raises: ValueError where `size` is missing or not the model's."""
    own = model.input_shape[1:3]
    asked = own if size is None else size
    sides = tuple(asked) if isinstance(asked, (tuple, list)) else (asked, asked)
    if len(sides) != 2 or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in sides if n is not None):
        raise ValueError(f"size={size!r}: expected (height, width) or one number for both, of at least 1")
    height, width = sides
    if form.name != "TFLite":
        height, width = height or SIDE, width or SIDE
    if height is None or width is None:
        raise ValueError(f"the model's images are {model.input_shape[1:]}, a .tflite has a fixed size; give size=(height, width)")
    if any(known not in (None, asked) for known, asked in zip(own, (height, width))):
        raise ValueError(f"size={(height, width)} is not the model's {own}")
    return height, width


def _ends_in_softmax(model: keras.Model) -> bool:
    last = model.layers[-1]
    return isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) is keras.activations.softmax


def has_learned(model: keras.Model) -> bool:
    """Whether any of the numbers that begin at zero (biases, shifts, moving means) has left it."""
    begun = [v for v in model.variables if v.name in ("bias", "beta", "moving_mean")]
    return not begun or any(np.any(np.asarray(v)) for v in begun)


def _weights_hash(model: keras.Model) -> str:
    """SHA-256 of the model's numbers, in the order of its variables."""
    digest = hashlib.sha256()
    for variable in model.variables:
        values = np.asarray(variable)
        digest.update(f"{variable.name} {values.dtype} {values.shape}".encode() + np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
