"""A net to a file for another runtime, proved there before the call returns."""
from __future__ import annotations

import contextlib
import os
import pathlib
import tempfile
from dataclasses import dataclass
from typing import Iterator

import keras
import numpy as np
import tensorflow as tf

from .. import __version__
from ..build import load as load_keras
from ..graph.graph import Graph, deep
from ..spec import nearest
from . import saved_model, tflite
from .certificate import Certificate, Run, agreement, latency_ms, max_relative_difference, size_and_hash

FORMATS = {".tflite": "TFLite", ".keras": "Keras", "": "SavedModel"}
QUANTIZED = (None, "float16", "dynamic", "int8")
DIFFERENCE = {None: 1e-4, "float16": 1e-2}      # relative, of the outputs
AGREEMENT = 0.95                                # of the classes, where integers replace floats
# Images whose two best classes lie closer than this are undecided: 8 bits over the output's range cannot tell.
MARGIN = 0.02


def export(model: keras.Model, path: str | os.PathLike[str], *, quantize: str | None = None,
           calibration: np.ndarray | None = None, batch: int = 1, size: int | tuple[int, int] | None = None) -> Certificate:
    """Writes `model` to `path`, runs the file in its own runtime, and returns the proof; `<path>.json` holds it too.

    Arguments:
        model: of one input of images and one output.
        path: its suffix decides: `.tflite`, `.keras`, none for a SavedModel folder.
        quantize: for TFLite: None (float32), "float16" and "dynamic" (the weights), "int8" (everything, in and out).
        calibration: images (N, H, W, C) as the model takes them; int8 needs them, every format is compared on them
            (on eight random ones where there are none).
        batch: images per call, fixed in a .tflite; the others take any number.
        size: (height, width) of the images, where the model leaves it open.
    Raises: ValueError for a bad argument, RuntimeError where the file differs from Keras, OSError where `path` cannot be
        written.  What was at `path` is then still there, and nothing else is.
    """
    target = pathlib.Path(path)
    form = check(model, target, quantize, calibration, batch)
    if form == "TFLite" and any(layer.compute_dtype in ("float16", "bfloat16") for layer in model.layers):
        model = Graph.of(model).build("float32")    # the converter has no bfloat16, and sums in float16 overflow
    open_shape = tuple(model.input_shape)
    shape = (batch, *image_size(open_shape, size, form), open_shape[3])
    images = comparison(shape, calibration)
    with replacing(target, form) as temporary:
        if form == "TFLite":
            tflite.write(model, temporary, shape, quantize, None if calibration is None else images)
        elif form == "Keras":
            write_keras(model, temporary)
        else:
            saved_model.write(model, temporary, (None, *(shape[1:] if size else open_shape[1:])))
        certificate = certify(model, target, temporary, form, quantize, images, batch)
        certificate.write(temporary.with_name(f"{target.name}.json"))
    return certificate


def certify(model: keras.Model, target: pathlib.Path, file: pathlib.Path, form: str, quantize: str | None, images: np.ndarray,
            batch: int) -> Certificate:
    """Compares `file` with `model` on `images`.  Raises: RuntimeError where it is too far."""
    runtime = open_file(file)
    found, expected = runtime(images), model.predict(images, batch_size=batch, verbose=0)
    difference, decided = max_relative_difference(found, expected), agreement(found, expected, MARGIN)
    if quantize in DIFFERENCE:
        if not difference <= DIFFERENCE[quantize]:
            raise RuntimeError(f"{target}: the outputs differ from Keras by {difference:.2g} relative, more than "
                               f"{DIFFERENCE[quantize]:g}; nothing was written")
    elif not np.isfinite(difference) or (decided is not None and decided < AGREEMENT):
        raise RuntimeError(f"{target}: only {decided or 0:.1%} of {len(images)} images keep the class that Keras gives them "
                           f"({AGREEMENT:.0%} expected); calibrate on more images, or on images like those of the training")
    number, digest = size_and_hash(file)
    versions = {"reskeras": __version__, "keras": keras.__version__, "tensorflow": tf.__version__}
    return Certificate(file=target.name, format=form, quantize=quantize, bytes=number, sha256=digest, batch=batch,
                       images=len(images), max_relative_difference=difference, top1_agreement=agreement(found, expected),
                       latency_ms=latency_ms(runtime.run, images[:batch]),
                       versions=versions | (tflite.version() if form == "TFLite" else {}),
                       memory=model.memory.get_config() if getattr(model, "memory", None) else None)


@dataclass(frozen=True)
class Runtime:
    """An exported file, ready to run: call it on any number of images."""
    run: Run
    shape: tuple[int | None, ...]       # (batch, height, width, channels); None is open

    def __call__(self, images: np.ndarray) -> np.ndarray:
        step = self.shape[0] or 32
        outputs = []
        for i in range(0, len(images), step):
            some = images[i:i + step]
            missing = self.shape[0] - len(some) if self.shape[0] else 0
            outputs.append(self.run(np.concatenate([some, some[:1].repeat(missing, 0)]))[:len(some)])
        return np.concatenate(outputs)


def open_file(path: str | os.PathLike[str]) -> Runtime:
    """Opens a `.tflite` or `.keras` file or a SavedModel folder in its own runtime.

    Raises: FileNotFoundError; ValueError for another suffix or a file that the runtime cannot read.
    """
    file = pathlib.Path(path)
    form = format_of(file)
    if not file.exists():
        raise FileNotFoundError(f"{file}: no such file")
    try:
        if form == "Keras":
            net = load_keras(file)
            return Runtime(keras_run(net), tuple(net.input_shape))
        return Runtime(*(tflite if form == "TFLite" else saved_model).load(file))
    except Exception as error:      # each runtime has its own
        raise ValueError(f"{file} is no readable {form} file ({type(error).__name__}: {error})") from error


def keras_run(net: keras.Model) -> Run:
    signature = tf.TensorSpec(net.input_shape, net.inputs[0].dtype)
    function = tf.function(lambda images: net(images, training=False), input_signature=[signature], autograph=False)
    return lambda images: function(tf.constant(images, signature.dtype)).numpy()


def write_keras(model: keras.Model, path: pathlib.Path) -> None:
    """The net alone, without optimizer, losses or metrics."""
    with deep():
        net = model.__class__.from_config(model.get_config())
        net.set_weights(model.get_weights())
        net.save(path)


def check(model: keras.Model, target: pathlib.Path, quantize: str | None, calibration: np.ndarray | None, batch: int) -> str:
    """The format's name.  Raises: ValueError for arguments that do not fit together."""
    form = format_of(target)
    if quantize not in QUANTIZED:
        known = ", ".join(map(repr, QUANTIZED))
        raise ValueError(f"quantize={quantize!r}: expected one of {known}{nearest(quantize, QUANTIZED)}")
    if quantize and form != "TFLite":
        raise ValueError(f"quantize={quantize!r} is defined for .tflite; {target.name!r} would be a {form}")
    if quantize == "int8" and calibration is None:
        raise ValueError("quantize='int8' needs calibration=images, some hundred of them, as the model takes them")
    if not isinstance(batch, int) or batch < 1:
        raise ValueError(f"batch={batch!r}: expected a whole number of at least 1")
    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.input_shape) != 4:
        raise ValueError(f"{model.name}: a net of one input (batch, height, width, channels) and one output is expected")
    return form


def format_of(path: pathlib.Path) -> str:
    if path.suffix not in FORMATS:
        raise ValueError(f"{os.fspath(path)!r}: no exporter writes {path.suffix!r}; known are .tflite, .keras, and no suffix for "
                         f"a SavedModel folder{nearest(path.suffix, [s for s in FORMATS if s])}")
    return FORMATS[path.suffix]


def image_size(shape: tuple[int | None, ...], size: int | tuple[int, int] | None, form: str) -> tuple[int, int]:
    """(height, width) of the images to compare on.  Raises: ValueError where `size` is missing or not the model's."""
    height, width = (size, size) if isinstance(size, int) else size or (shape[1], shape[2])
    if form != "TFLite":
        height, width = height or 96, width or 96       # 96: any net of the family takes it
    if height is None or width is None:
        raise ValueError(f"the model's images are {shape[1:]}, a .tflite has a fixed size; give size=(height, width)")
    if any(own not in (None, given) for own, given in zip(shape[1:3], (height, width))):
        raise ValueError(f"size={(height, width)} is not the model's {shape[1:3]}")
    return height, width


def comparison(shape: tuple[int, ...], calibration: np.ndarray | None) -> np.ndarray:
    """The images to compare on, a multiple of the batch.  Raises: ValueError where `calibration` has another shape."""
    if calibration is None:
        return np.random.default_rng(0).standard_normal((max(8, shape[0]) // shape[0] * shape[0], *shape[1:]), dtype="float32")
    images = np.asarray(calibration, "float32")
    if images.shape[1:] != shape[1:] or len(images) < shape[0]:
        raise ValueError(f"calibration is {images.shape}: expected at least {shape[0]} images of {shape[1:]}")
    return images[:len(images) // shape[0] * shape[0]]


@contextlib.contextmanager
def replacing(target: pathlib.Path, form: str) -> Iterator[pathlib.Path]:
    """A path to write to; it and `<name>.json` beside it take the target's place if the block succeeds, else vanish."""
    if target.is_dir() and (form != "SavedModel" or {f.name for f in target.iterdir()} - saved_model.CONTENTS):
        raise ValueError(f"{target} is a folder of other files; give the path of a new one")
    if form == "SavedModel" and target.is_file():
        raise ValueError(f"{target} is a file, and without a suffix a SavedModel folder would be written")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise OSError(error.errno, f"{target} cannot be written: {error.strerror}") from error
    with folder as name:
        new, old = pathlib.Path(name, target.name), pathlib.Path(name, "old")
        yield new
        if target.is_dir():             # a folder cannot be replaced in one step
            target.rename(old)
        try:
            new.replace(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
        new.with_name(f"{target.name}.json").replace(target.with_name(f"{target.name}.json"))
