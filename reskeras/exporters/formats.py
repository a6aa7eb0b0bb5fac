"""The formats by suffix, and any exported file as a function in its own runtime."""
from __future__ import annotations

import importlib
import importlib.util
import os
import pathlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..spec import nearest
from .report import Run

Shape = tuple[int | None, ...]      # (batch, height, width, channels); None is open


@dataclass(frozen=True)
class Format:
    """A kind of file and the room that writes and runs it; TensorFlow is imported where it is the runtime, or to write."""
    name: str
    room: str
    numbers: tuple[str | None, ...] = (None,)   # what `quantize` may be
    needs: tuple[str, ...] = ()                 # packages to write it
    extra: str = ""                             # the extra that brings them
    target: str = "saved_model"                 # what `optimize` makes the net ready for
    half: bool = False                          # whether a net of mixed precision stays one
    companions: tuple[str, ...] = ()            # suffixes of the files that belong to it

    @property
    def module(self) -> Any:
        """Has `RUNTIMES` (name -> arguments of `load`), `write`, `load`, `faults`, `operators` and `version`."""
        return importlib.import_module(f"{__package__}.{self.room}")

    def files(self, path: pathlib.Path) -> list[pathlib.Path]:
        return [path, *(path.with_suffix(suffix) for suffix in self.companions)]


FORMATS = {
    ".tflite": Format("TFLite", "tflite.tflite", (None, "float16", "dynamic", "int8"), target="tflite"),
    ".onnx": Format("ONNX", "onnx", needs=("onnx", "onnxruntime", "tf2onnx"), extra="onnx"),
    ".xml": Format("OpenVINO", "openvino", needs=("openvino",), extra="openvino", target="openvino", companions=(".bin",)),
    ".keras": Format("Keras", "keras_file", half=True),
    "": Format("SavedModel", "saved_model", half=True),
}


def format_of(path: str | os.PathLike[str]) -> Format:
    """By the suffix.  Raises: ValueError for an unknown one."""
    suffix = pathlib.Path(path).suffix
    if suffix not in FORMATS:
        known = [s for s in FORMATS if s]
        raise ValueError(f"{os.fspath(path)!r}: no exporter writes {suffix!r}; known are {', '.join(known)}, and no suffix for "
                         f"a SavedModel folder{nearest(suffix, known)}")
    return FORMATS[suffix]


@dataclass(frozen=True)
class Runtime:
    """An exported file, ready to run: call it on any number of images."""
    run: Run
    shape: Shape

    def __call__(self, images: np.ndarray) -> np.ndarray:
        step = self.shape[0] or 32
        outputs = []
        for i in range(0, len(images), step):
            some = images[i:i + step]
            missing = self.shape[0] - len(some) if self.shape[0] else 0
            outputs.append(self.run(np.concatenate([some, some[:1].repeat(missing, 0)]))[:len(some)])
        return np.concatenate(outputs)


def open_file(path: str | os.PathLike[str], threads: int = 1, runtime: str = "") -> Runtime:
    """Opens an exported file, or SavedModel folder, in its own runtime.

    Arguments:
        threads: of the runtime; TensorFlow has its own setting, for the whole process.
        runtime: which, where the format has several ("OpenVINO bf16"); the first.
    Raises: FileNotFoundError; ImportError where the runtime is not installed; ValueError for another suffix, or a file that
        the runtime cannot read.
    """
    whole("threads", threads)
    file = pathlib.Path(path)
    form = format_of(file)
    if not file.exists():
        raise FileNotFoundError(f"{file}: no such file")
    runtimes = form.module.RUNTIMES
    if runtime and runtime not in runtimes:
        raise ValueError(f"runtime={runtime!r}: {form.name} has {', '.join(runtimes)}{nearest(runtime, runtimes)}")
    try:
        return Runtime(*form.module.load(file, threads=threads, **runtimes[runtime or next(iter(runtimes))]))
    except (ImportError, MemoryError):
        raise
    except Exception as error:      # each runtime has its own
        raise ValueError(f"{file} is no readable {form.name} file ({type(error).__name__}: {error})") from error


def whole(name: str, value: Any) -> None:
    """Raises: ValueError for an argument that is no whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}={value!r}: expected a whole number of at least 1")


def require(form: Format) -> None:
    """Raises: ImportError that says what to install."""
    missing = [name for name in form.needs if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f"{form.name} files need {' and '.join(missing)}: pip install \"reskeras[{form.extra}]\"")
