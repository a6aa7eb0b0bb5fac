"""Classify an image with a .tflite file as a phone would: LiteRT, NumPy and the file are all there is.

    python examples/export_edge.py saved_models/cifar_resnet20.digits.int8.tflite digit.pgm

What the net expects of an image, and what its classes are called, is read from the file itself (`reskeras.export` puts it
there as JSON, in the metadata buffer RESKERAS_METADATA).  The image is a PGM or PPM file, which needs no decoder, of any size.
"""
from __future__ import annotations

import json
import pathlib
import re
import sys

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter


def metadata(data: bytes) -> dict:
    if data[4:8] != b"TFL3":
        raise ValueError("the first file is no .tflite")
    model = schema.Model.GetRootAs(data)
    for entry in map(model.Metadata, range(model.MetadataLength())):
        if entry.Name() == b"RESKERAS_METADATA":
            return json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    raise SystemExit("the file says nothing about its images; export it with reskeras.export")


def read(path: pathlib.Path) -> np.ndarray:
    """The bytes (height, width, channels) of a binary PGM or PPM file."""
    data = path.read_bytes()
    header = re.match(rb"P([56])\s(?:#.*\n)*(\d+)\s+(\d+)\s+255\s", data)
    if not header:
        raise SystemExit(f"{path} is no binary PGM or PPM file of 8 bits")
    channels, (width, height) = {b"5": 1, b"6": 3}[header[1]], (int(header[2]), int(header[3]))
    return np.frombuffer(data, "uint8", offset=header.end()).reshape(height, width, channels)


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear, of the whole image; a camera's frame is cut to the net's proportions before."""
    for axis, size in enumerate((height, width)):
        place = np.clip((np.arange(size) + 0.5) * image.shape[axis] / size - 0.5, 0, image.shape[axis] - 1)
        low = np.floor(place).astype(int)
        part = (place - low).reshape([-1 if i == axis else 1 for i in range(3)])
        high = np.minimum(low + 1, image.shape[axis] - 1)
        image = image.take(low, axis) * (1 - part) + image.take(high, axis) * part
    return image


def classify(file: pathlib.Path, image: np.ndarray) -> list[tuple[str, float]]:
    """(class, score), the likeliest first."""
    about, interpreter = metadata(file.read_bytes()), Interpreter(model_path=str(file))
    interpreter.allocate_tensors()
    (given,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    prepare = about["memory"]["preprocessing"]
    x = resized(image, *given["shape"][1:3])
    if prepare["pixels"] == "caffe":
        x = x[..., ::-1] - prepare["mean"]
    elif prepare["pixels"] != "raw":
        x = (x / 255 - prepare["mean"]) / prepare["std"]
    scale, zero = given["quantization"]
    if scale:
        limits = np.iinfo(given["dtype"])
        x = np.clip(np.round(x / scale) + zero, limits.min, limits.max)
    interpreter.set_tensor(given["index"], x[None].astype(given["dtype"]))
    interpreter.invoke()
    scores = interpreter.get_tensor(answer["index"])[0].astype("float32")
    scale, zero = answer["quantization"]
    scores = (scores - zero) * scale if scale else scores
    names = about["labels"] or [str(i) for i in range(len(scores))]
    return sorted(zip(names, scores.tolist()), key=lambda pair: -pair[1])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    try:
        found = classify(pathlib.Path(sys.argv[1]), read(pathlib.Path(sys.argv[2])))
    except (OSError, ValueError) as error:      # no such file; LiteRT's own for a file that is no net
        raise SystemExit(f"{sys.argv[0]}: {error}") from None
    for name, score in found[:3]:
        print(f"{score:7.1%}  {name}")
    assert not {"tensorflow", "keras", "reskeras"} & set(sys.modules)
