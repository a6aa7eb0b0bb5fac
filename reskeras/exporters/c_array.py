"""A .tflite file as a C array for microcontrollers, with the memory that it takes to run."""
from __future__ import annotations

import hashlib
import importlib.util
import pathlib
import re

import numpy as np

from ..errors import make_printable
from ..files import write_text
from .tflite import flatbuffer

ALIGNMENT = 16          # bytes, of the arena and the array, as TFLite for Microcontrollers wants them
MAX_ARENA = 1 << 30     # bytes
_ARENA_NOTE = ("The arena is the smallest in which the interpreter ran on a 64-bit machine; 32-bit ones "
               "need less for their pointers.")


def write_c_array(file: pathlib.Path, output: pathlib.Path) -> int:
    """Writes a .tflite file as C++ source.

    Args:
        file: the .tflite file.
        output: the source.
    Returns:
        The size of its arena in bytes, which the source names too.
    Raises:
        ImportError: tflite-micro is not installed, which measures the arena.
        ValueError: TFLite for Microcontrollers cannot run the file.
    """
    data, arena = file.read_bytes(), measure_arena_size(file)
    name = re.sub(r"\W", "_", file.name, flags=re.ASCII)
    name = f"_{name}" if name[0].isdigit() else name
    lines = (", ".join(map(hex, data[i:i + 16])) for i in range(0, len(data), 16))
    operators = ", ".join(sorted(flatbuffer.count_operators(file)))
    write_text(output, f"""{_make_title(file)}  Operators to register: {make_printable(operators)}
// sha256 of that file: {hashlib.sha256(data).hexdigest()}
// {_ARENA_NOTE}
constexpr int {name}_arena_size = {arena};
constexpr unsigned int {name}_len = {len(data)};
alignas({ALIGNMENT}) const unsigned char {name}[] = {{
""" + ",\n".join(lines) + "\n};\n")
    return arena


def _make_title(file: pathlib.Path) -> str:
    """The beginning of the source: a comment that no name of a file can end."""
    return f"// {make_printable(file.name)}, written by reskeras."


def remove_old_c_array(file: pathlib.Path) -> None:
    """Removes the C++ source of an earlier file at this path: it would be taken for the new file's."""
    old = file.with_name(f"{file.name}.cc")
    if old.is_file() and old.read_bytes().startswith(_make_title(file).encode()):
        old.unlink()


def measure_arena_size(file: pathlib.Path) -> int:
    """Finds the smallest arena in which the micro interpreter plans and runs a file, by halving.

    Args:
        file: the .tflite file.
    Returns:
        Its size in bytes.
    Raises:
        ImportError: tflite-micro is not installed.
        ValueError: TFLite for Microcontrollers cannot run the file.
    """
    if importlib.util.find_spec("tflite_micro") is None:
        raise ImportError('the arena size is measured by tflite-micro: pip install "reskeras[micro]"')
    data = file.read_bytes()
    low, high = 0, 1 << 14
    while not _runs_in_arena(data, high):
        low, high = high, 4 * high
        if high > MAX_ARENA:
            raise ValueError(f"{file}: TFLite for Microcontrollers cannot run it in any arena; it is for "
                             f"full int8 files (this one has {', '.join(flatbuffer.count_operators(file))})")
    while high - low > ALIGNMENT:
        middle = (low + high) // 2 // ALIGNMENT * ALIGNMENT
        low, high = (low, middle) if _runs_in_arena(data, middle) else (middle, high)
    return high


def _runs_in_arena(data: bytes, arena: int) -> bool:
    from tflite_micro.python.tflite_micro import runtime
    try:
        interpreter = runtime.Interpreter.from_bytes(data, arena_size=arena)
        details = interpreter.get_input_details(0)
        interpreter.set_input(np.zeros(details["shape"], details["dtype"]), 0)
        interpreter.invoke()
    except Exception:       # of C++: RuntimeError, SystemError, ValueError
        return False
    return True
