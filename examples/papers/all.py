"""All full runs, one after the other, into the docstrings and `reskeras tour`: `python examples/papers/all.py
[--data ...]`.
"""
from __future__ import annotations

import pathlib
import subprocess
import sys

from reskeras.commands.tour import MEASURED, SHORT

if __name__ == "__main__":
    for name in MEASURED + SHORT:       # a process each: TensorFlow gives no memory back
        file = pathlib.Path(__file__).with_name(f"{name}.py")
        subprocess.run([sys.executable, file, "--keep", *sys.argv[1:]], check=True)
