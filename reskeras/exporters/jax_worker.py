"""A process of its own, with KERAS_BACKEND=jax: from a `.keras` file to StableHLO.  See `stablehlo.py`."""
from __future__ import annotations

import json
import pathlib
import sys
from typing import Any

from ..file_reading import read_text
from ..files import write_bytes
from .stablehlo import MODEL_FILE, PROGRAM_FILE, SHAPES_FILE


def _export_program(folder: pathlib.Path) -> None:
    """Writes the program of the model in a folder that `stablehlo.write_program` filled."""
    import jax
    import keras

    # the model is one that the calling process has already, with all its functions
    model = keras.saving.load_model(folder / MODEL_FILE, compile=False, safe_mode=False)
    shapes = json.loads(read_text(folder / SHAPES_FILE))
    types = [keras.backend.standardize_dtype(tensor.dtype) for tensor in model.inputs]

    def call(*inputs: Any) -> Any:
        return keras.tree.flatten(model(list(inputs), training=False))
    arguments = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in zip(shapes, types)]
    program = jax.export.export(jax.jit(call), platforms=["cpu"])(*arguments)
    write_bytes(folder / PROGRAM_FILE, program.mlir_module_serialized)


if __name__ == "__main__":
    _export_program(pathlib.Path(sys.argv[1]))
