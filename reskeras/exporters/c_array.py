"""A .tflite file as a C array for microcontrollers, with the memory that it takes to run."""
from __future__ import annotations

import importlib.util
import pathlib
import re

import numpy as np

from .tflite import flatbuffer

ALIGNMENT = 16          # bytes, of the arena and the array, as TFLite for Microcontrollers wants them
LARGEST = 1 << 30


def write_cc(file: pathlib.Path, output: pathlib.Path) -> int:
    """Writes `file` as C++ source, and returns its arena size in bytes.

    Raises: ImportError where tflite-micro is missing, ValueError where TFLite for Microcontrollers cannot run the file.
    """
    data, arena = file.read_bytes(), arena_size(file)
    name = re.sub(r"\W", "_", file.name, flags=re.ASCII)
    name = f"_{name}" if name[0].isdigit() else name
    lines = (", ".join(map(hex, data[i:i + 16])) for i in range(0, len(data), 16))
    used = ", ".join(sorted(flatbuffer.operators(file)))
    output.write_text(f"""// {file.name}, written by reskeras.  Operators to register: {used}
// The arena is the smallest in which the interpreter ran on a 64-bit machine; 32-bit ones need less for their pointers.
constexpr int {name}_arena_size = {arena};
constexpr unsigned int {name}_len = {len(data)};
alignas({ALIGNMENT}) const unsigned char {name}[] = {{
""" + ",\n".join(lines) + "\n};\n", encoding="utf-8")
    return arena


def forget_cc(file: pathlib.Path) -> None:
    """Removes the C++ source of what was at `file` before: it would be taken for the new one's."""
    old = file.with_name(f"{file.name}.cc")
    if old.is_file() and old.read_bytes().startswith(f"// {file.name}, written by reskeras.".encode()):
        old.unlink()


def arena_size(file: pathlib.Path) -> int:
    """The smallest arena in bytes in which the micro interpreter plans and runs the file, found by halving."""
    if importlib.util.find_spec("tflite_micro") is None:
        raise ImportError('the arena size is measured by tflite-micro: pip install "reskeras[micro]"')
    data = file.read_bytes()
    low, high = 0, 1 << 14
    while not runs(data, high):
        low, high = high, 4 * high
        if high > LARGEST:
            raise ValueError(f"{file}: TFLite for Microcontrollers cannot run it in any arena; it is for full int8 files "
                             f"(this one has {', '.join(flatbuffer.operators(file))})")
    while high - low > ALIGNMENT:
        middle = (low + high) // 2 // ALIGNMENT * ALIGNMENT
        low, high = (low, middle) if runs(data, middle) else (middle, high)
    return high


def runs(data: bytes, arena: int) -> bool:
    from tflite_micro.python.tflite_micro import runtime
    try:
        interpreter = runtime.Interpreter.from_bytes(data, arena_size=arena)
        given = interpreter.get_input_details(0)
        interpreter.set_input(np.zeros(given["shape"], given["dtype"]), 0)
        interpreter.invoke()
    except Exception:       # of C++: RuntimeError, SystemError, ValueError
        return False
    return True
