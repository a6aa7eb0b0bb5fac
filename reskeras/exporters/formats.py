"""The formats by suffix, what the module of each offers, and any exported file as a function of images."""
from __future__ import annotations

import importlib
import importlib.util
import os
import pathlib
from dataclasses import dataclass
from typing import Any, Mapping, Protocol, cast

import numpy as np

from ..errors import ArgumentError, check_whole_number, describe_error, nearest
from .measurements import ArrayFunction
from .options import ETHOS_U, ExportOptions, Shape, WrittenRanges, check_input_shape

MAX_THREADS = 1024      # with many more a runtime ends the process


class FormatModule(Protocol):
    """What the module of a format offers: `saved_model`, `tflite.tflite`, `onnx`, `openvino`, `stablehlo` ...

    TensorFlow is imported only inside those of its functions that need it, so that `verify` runs without.
    """

    @property
    def RUNTIMES(self) -> Mapping[str, Mapping[str, str]]:
        """Maps each runtime that the file is checked in to further arguments of `load` that choose it."""

    @property
    def PRECISIONS(self) -> Mapping[str, str]:
        """Maps a runtime to the precision that it computes in (a key of THRESHOLDS), if not the file's."""

    def write(self, model: Any, path: pathlib.Path, options: ExportOptions) -> WrittenRanges | None:
        """Writes the model as it is given: nothing is optimized or checked here.

        Returns: what is known of the ranges, of a file that was calibrated.
        """

    def load(self, path: pathlib.Path, threads: int = 1, **runtime: str) -> tuple[ArrayFunction, Shape]:
        """Opens a file: a function of float images, and their shape (batch, height, width, channels)."""

    def find_faults(self, path: pathlib.Path, options: ExportOptions) -> list[str]:
        """Says why a runtime would not take the file, a phrase for each fault; [] if nothing is wrong."""

    def count_operators(self, path: pathlib.Path) -> dict[str, int]:
        """Counts each operator of the file, the most frequent first."""

    def count_cpu_operators(self, path: pathlib.Path) -> dict[str, dict[str, int]]:
        """Counts for each delegate the operators that it leaves to the CPU; {} if there are no delegates."""

    def get_versions(self) -> dict[str, str]:
        """Returns the versions of the packages that write or run the format."""


@dataclass(frozen=True)
class Format:
    """A kind of file, and the module that writes and runs it."""

    name: str
    module_name: str
    quantizations: tuple[str | None, ...] = (None,)     # what `quantize` may be
    targets: tuple[str, ...] = ()                       # what `target` may be, the default first
    packages: tuple[str, ...] = ()                      # needed to write it
    extra: str = ""                                     # the extra of this package that installs them
    optimize_target: str = "saved_model"                # what `reskeras.optimize` makes the model ready for
    has_fixed_shapes: bool = False                      # whether batch and size are numbers
    keeps_half_precision: bool = False                  # whether a model of mixed precision stays one
    companions: tuple[str, ...] = ()                    # suffixes of the files that belong to it
    is_program: bool = False                            # whether its operations can read and write files

    @property
    def module(self) -> FormatModule:
        """The module, imported when it is needed."""
        return cast(FormatModule, importlib.import_module(f"{__package__}.{self.module_name}"))

    def files(self, path: pathlib.Path) -> list[pathlib.Path]:
        """The path and those of its companions."""
        return [path, *(path.with_suffix(suffix) for suffix in self.companions)]


FORMATS = {
    ".tflite": Format("TFLite", "tflite.tflite", (None, "float16", "dynamic", "int8", "int16x8"),
                      targets=("phone", "micro", "nnapi", *ETHOS_U), optimize_target="tflite",
                      has_fixed_shapes=True),
    ".onnx": Format("ONNX", "onnx", (None, "float16", "dynamic", "int8"), ("onnxruntime", "tensorrt"),
                    packages=("onnx", "onnxruntime", "tf2onnx"), extra="onnx"),
    ".xml": Format("OpenVINO", "openvino", (None, "float16", "dynamic", "int8"), packages=("openvino",),
                   extra="openvino",
                   optimize_target="openvino", companions=(".bin",)),
    ".mlir": Format("StableHLO", "stablehlo", packages=("jax", "iree"), extra="stablehlo",
                    has_fixed_shapes=True),
    ".keras": Format("Keras", "keras_file", keeps_half_precision=True),
    "": Format("SavedModel", "saved_model", (None, "dynamic", "int8"), targets=("tensorflow", "gpu"),
               keeps_half_precision=True, is_program=True),
}


def find_format(path: str | os.PathLike[str]) -> Format:
    """The format of a path, by its suffix.  Raises: ValueError for an unknown suffix."""
    suffix = pathlib.Path(path).suffix
    if suffix not in FORMATS:
        known = [s for s in FORMATS if s]
        raise ValueError(f"{os.fspath(path)!r}: there is no format for {suffix!r}; known are "
                         f"{', '.join(known)}, and no suffix for a SavedModel folder{nearest(suffix, known)}")
    return FORMATS[suffix]


def check_packages(file_format: Format) -> None:
    """Raises: ImportError that says what to install, if a package of the format is missing."""
    missing = [name for name in file_format.packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f"{file_format.name} files need {' and '.join(missing)}: "
                          f"pip install \"reskeras[{file_format.extra}]\"")


@dataclass(frozen=True)
class BatchRunner:
    """A function of batches, to be called on any number of images."""

    run: ArrayFunction
    shape: Shape        # of a batch that `run` takes: (batch, height, width, channels); None takes any number

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """The outputs for all images; the last batch is filled up with its first image."""
        batch_size = self.shape[0] or 32
        outputs = []
        for start in range(0, len(images), batch_size):
            batch = images[start:start + batch_size]
            missing = self.shape[0] - len(batch) if self.shape[0] else 0
            filled = np.concatenate([batch, batch[:1].repeat(missing, 0)])
            outputs.append(self.run(filled)[:len(batch)])
        return np.concatenate(outputs)


def open_file(path: str | os.PathLike[str], threads: int = 1, runtime: str = "", *,
              trust: bool = False) -> BatchRunner:
    """Opens an exported file, or a SavedModel folder, in its own runtime.

    Args:
        path: path of the file.
        threads: number of threads of the runtime; TensorFlow has its own setting, for the whole process.
        runtime: which one, if the format has several ("OpenVINO bf16"); the first if not given.
        trust: whether a SavedModel, which is a program, may run.
    Raises:
        ArgumentError: `path` is a SavedModel, and `trust` is not True.
        FileNotFoundError: there is no such file.
        ImportError: the runtime is not installed.
        ValueError: the suffix or the runtime is unknown, or the runtime cannot read the file.  What the file
            is opened as raises it too, if the runtime cannot run the file.
    """
    threads = check_whole_number("threads", threads, maximum=MAX_THREADS)
    file = pathlib.Path(path)
    file_format = find_format(file)
    check_kind_of_file(file, file_format)
    check_trust(file, file_format, trust)
    runtimes = file_format.module.RUNTIMES
    if runtime and runtime not in runtimes:
        known = ", ".join(map(repr, runtimes))
        raise ArgumentError("runtime", runtime, f"a runtime of {file_format.name} files, {known}", runtimes)

    arguments = runtimes[runtime or next(iter(runtimes))]
    try:
        run, shape = file_format.module.load(file, threads=threads, **arguments)
        check_input_shape(shape)
    except (ImportError, MemoryError, ArgumentError):
        raise
    except Exception as error:      # each runtime has its own
        if isinstance(error, ValueError) and str(error).startswith(str(file)):
            raise
        raise ValueError(f"{file} cannot be read as a {file_format.name} file "
                         f"({describe_error(error)})") from error

    def run_checked(images: np.ndarray) -> np.ndarray:
        try:
            outputs = run(images)
        except Exception as error:
            raise ValueError(f"{file} cannot be run ({describe_error(error)})") from error
        if outputs.dtype.kind in "bcOSU":
            raise ValueError(f"{file} returns values of the type {outputs.dtype}; expected numbers")
        return outputs
    return BatchRunner(run_checked, shape)


def check_trust(file: pathlib.Path, file_format: Format, trust: bool) -> None:
    """Checks that a program may run.

    Args:
        file: path of the file.
        file_format: its format.
        trust: as `open_file` takes it.

    Raises:
        ArgumentError: it is a program, and `trust` is not True.
    """
    if file_format.is_program and trust is not True:
        raise ArgumentError("trust", trust, f"consent to run {file}, a {file_format.name}: it is a program, "
                            "which can read and write files as you can",
                            hint="give it (trust=True in Python, --trust in the shell) only if you know "
                            "where the folder comes from")


def check_kind_of_file(file: pathlib.Path, file_format: Format) -> None:
    """Checks that there is a file or a folder, as the format has it.

    Args:
        file: path of the file.
        file_format: its format.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is a pipe or a device, which a runtime might read for ever.
    """
    if not file.exists():
        raise FileNotFoundError(f"{file}: no such file")
    is_folder = file_format.name == "SavedModel"
    if is_folder and not file.is_dir():
        raise ValueError(f"{file} is not the folder of a SavedModel")
    parts = file.rglob("*") if is_folder else file_format.files(file)
    for part in parts:
        if part.exists() and not part.is_file() and not (is_folder and part.is_dir()):
            raise ValueError(f"{part} is not a regular file")
