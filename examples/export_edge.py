"""Classify an image with a .tflite file as a phone would: only LiteRT, NumPy and the file are used.

    python examples/export_edge.py saved_models/cifar_resnet20.digits.int8.tflite digit.pgm

How the net wants its images, and the names of its classes, are read from the file itself: `reskeras.export`
writes them as JSON into the metadata buffer RESKERAS_METADATA.  The image is a PGM or PPM file of any size,
because such a file needs no decoder.
"""
from __future__ import annotations

import json
import pathlib
import re
import sys

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter


def read_metadata(data: bytes) -> dict:
    if data[4:8] != b"TFL3":
        raise ValueError("the first file is no .tflite")
    model = schema.Model.GetRootAs(data)
    for entry in map(model.Metadata, range(model.MetadataLength())):
        if entry.Name() == b"RESKERAS_METADATA":
            return json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    raise SystemExit("the file says nothing about its images; export it with reskeras.export")


def read_image(path: pathlib.Path) -> np.ndarray:
    """The bytes (height, width, channels) of a binary PGM or PPM file."""
    data = path.read_bytes()
    header = re.match(rb"P([56])\s(?:#.*\n)*(\d+)\s+(\d+)\s+255\s", data)
    if not header:
        raise SystemExit(f"{path} is not a binary PGM or PPM file of 8 bits")
    channels, (width, height) = {b"5": 1, b"6": 3}[header[1]], (int(header[2]), int(header[3]))
    return np.frombuffer(data, "uint8", offset=header.end()).reshape(height, width, channels)


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear, of the whole image.  A camera's frame would first be cropped to the proportions of the net.
    """
    for axis, size in enumerate((height, width)):
        position = np.clip((np.arange(size) + 0.5) * image.shape[axis] / size - 0.5, 0, image.shape[axis] - 1)
        low = np.floor(position).astype(int)
        part = (position - low).reshape([-1 if i == axis else 1 for i in range(3)])
        high = np.minimum(low + 1, image.shape[axis] - 1)
        image = image.take(low, axis) * (1 - part) + image.take(high, axis) * part
    return image


def classify(file: pathlib.Path, image: np.ndarray) -> list[tuple[str, float]]:
    """Pairs (class, score), the highest score first."""
    metadata, interpreter = read_metadata(file.read_bytes()), Interpreter(model_path=str(file))
    interpreter.allocate_tensors()
    (inputs,), (outputs,) = interpreter.get_input_details(), interpreter.get_output_details()

    # as the net wants its pixels
    preprocessing = metadata["memory"]["preprocessing"]
    x = resize(image, *inputs["shape"][1:3])
    if preprocessing["pixels"] == "caffe":
        x = x[..., ::-1] - preprocessing["mean"]
    elif preprocessing["pixels"] != "raw":
        x = (x / 255 - preprocessing["mean"]) / preprocessing["std"]

    # float -> int8 or uint8, and the scores back
    scale, zero_point = inputs["quantization"]
    if scale:
        limits = np.iinfo(inputs["dtype"])
        x = np.clip(np.round(x / scale) + zero_point, limits.min, limits.max)
    interpreter.set_tensor(inputs["index"], x[None].astype(inputs["dtype"]))
    interpreter.invoke()
    scores = interpreter.get_tensor(outputs["index"])[0].astype("float32")
    scale, zero_point = outputs["quantization"]
    scores = (scores - zero_point) * scale if scale else scores

    names = metadata["labels"] or [str(i) for i in range(len(scores))]
    return sorted(zip(names, scores.tolist()), key=lambda pair: -pair[1])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    try:
        predictions = classify(pathlib.Path(sys.argv[1]), read_image(pathlib.Path(sys.argv[2])))
    except (OSError, ValueError) as error:      # a file is missing, or LiteRT cannot read the net
        raise SystemExit(f"{sys.argv[0]}: {error}") from None
    for name, score in predictions[:3]:
        print(f"{score:7.1%}  {name}")
    assert not {"tensorflow", "keras", "reskeras"} & set(sys.modules)
