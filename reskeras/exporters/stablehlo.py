"""StableHLO: what XLA and IREE compile, as a program of fixed shapes; JAX writes it, IREE runs it.

Keras chooses its backend once in a process, so a new Python with the JAX backend writes the file.  It has the
portable form of StableHLO, bytecode of "VHLO", which later versions read too.
"""
from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from collections import Counter
from typing import TYPE_CHECKING, Any, Callable, Iterator, Sequence

import numpy as np

from ..file_reading import read_bytes
from ..files import write_bytes, write_text
from ..json_writer import to_json
from .measurements import ArrayFunction
from .options import ExportOptions, Shape, check_input_shape

if TYPE_CHECKING:
    import keras

RUNTIMES: dict[str, dict[str, str]] = {"IREE": {}}
PRECISIONS: dict[str, str] = {}
MODEL_FILE, SHAPES_FILE, PROGRAM_FILE = "model.keras", "shapes.json", "program.mlir"    # of `jax_worker`
_PACKAGES = ("jax", "iree-base-compiler", "iree-base-runtime")
# as MLIR writes types of numbers
_TYPES = {"f64": "float64", "f32": "float32", "f16": "float16", "i64": "int64", "i32": "int32",
          "i16": "int16", "i8": "int8", "i1": "bool"}
_IGNORED = ("func", "return", "constant", "call")


def write(model: keras.Model, path: pathlib.Path, options: ExportOptions) -> None:
    """Writes `model` as a program of one input and one output."""
    write_program(model, path, [options.shape])


def write_program(model: keras.Model, path: pathlib.Path, shapes: Sequence[Shape]) -> None:
    """Writes a model as a program: its arguments and results are the model's inputs and outputs in order.

    Args:
        model: a functional model.
        path: path of the file.
        shapes: of its inputs, without open sides.

    Raises:
        ValueError: the model cannot be read or run by Keras with JAX.
    """
    import keras
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        keras.Model(model.inputs, model.outputs).save(folder / MODEL_FILE)
        write_text(folder / SHAPES_FILE, to_json([list(shape) for shape in shapes]))
        environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu",
                       "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run([sys.executable, "-m", f"{__package__}.jax_worker", name], env=environment,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
        if done.returncode:
            reason = next(iter(done.stderr.strip().splitlines()[-1:]), f"exit code {done.returncode}")
            raise ValueError(f"{model.name} cannot be run by Keras with JAX, which writes StableHLO "
                             f"({reason}); layers of your own must use keras.ops, and be known where "
                             "reskeras alone is imported")
        write_bytes(path, read_bytes(folder / PROGRAM_FILE))


def load(path: pathlib.Path, threads: int = 1) -> tuple[ArrayFunction, Shape]:
    """Compiles a file for this CPU: a function of float images, and the shape that it takes."""
    program, types = open_program(path, threads)
    if len(types) != 1:
        raise ValueError(f"{path}: expected one input; it has {len(types)}")
    return lambda images: program([images])[0], types[0][0]


def open_program(path: pathlib.Path, threads: int = 1
                 ) -> tuple[Callable[[Sequence[np.ndarray]], list[np.ndarray]], list[tuple[Shape, str]]]:
    """Compiles a file for this CPU, by IREE's compiler in a process of its own.

    Args:
        path: path of the file.
        threads: 1, or as many as IREE takes.

    Returns:
        A function of arrays in order, and the shapes and types of its arguments.
    """
    from iree import compiler, runtime
    binary = compiler.compile_file(str(path), target_backends=["llvm-cpu"], input_type="stablehlo",
                                   extra_args=["--iree-llvmcpu-target-cpu=host"])
    module = runtime.load_vm_flatbuffer(binary, driver="local-sync" if threads == 1 else "local-task")
    declaration = module.vm_module.lookup_function("main").reflection["iree.abi.declaration"]
    arguments = declaration.partition("->")[0]
    types: list[tuple[Shape, str]] = [
        (tuple(int(side) for side in sides.split("x") if side), _TYPES[name])
        for sides, name in re.findall(r"tensor<((?:\d+x)*)(\w+)>", arguments)]
    for shape, _ in types:
        check_input_shape(shape)

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        results = module["main"](*(np.asarray(array, dtype) for array, (_, dtype) in zip(arrays, types)))
        return [np.array(result) for result in (results if isinstance(results, tuple) else (results,))]
    return run, types


def find_faults(path: pathlib.Path, options: ExportOptions) -> list[str]:
    """Finds calls of functions that only XLA has."""
    count = count_operators(path).get("custom_call", 0)
    return [f"{count} custom_call, which only XLA knows"] if count else []


def count_operators(path: pathlib.Path) -> dict[str, int]:
    """Counts each operation of the program, the most frequent first."""
    from iree.compiler import ir
    with ir.Context() as context:
        context.allow_unregistered_dialects = True
        names = [*_iterate_operations(ir.Module.parse(read_bytes(path)).operation)]
    short = [re.sub(r"^\w+\.|_v\d+$", "", name) for name in names]
    return dict(Counter(name for name in short if name not in _IGNORED).most_common())


def _iterate_operations(operation: Any) -> Iterator[str]:
    for region in operation.regions:
        for block in region.blocks:
            for inner in block.operations:
                yield str(inner.operation.name)
                yield from _iterate_operations(inner.operation)


def count_cpu_operators(path: pathlib.Path) -> dict[str, dict[str, int]]:
    """Counts nothing: a compiler takes all of the program."""
    return {}


def get_versions() -> dict[str, str]:
    """Returns the versions of the installed packages that write and run the file."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
