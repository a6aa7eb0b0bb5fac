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


def compute_resized_size(height: int, width: int, target: tuple[int, int], mode: str) -> tuple[int, int]:
    """Height and width of the whole image before the crop."""
    target_height, target_width = target
    if mode == "squash":
        return target_height, target_width
    down = round_division if mode == "border" or target_height != target_width else int.__floordiv__
    by_width, by_height = down(height * target_width, width), down(width * target_height, height)
    if mode == "border":        # the largest size inside the target
        return min(target_height, max(by_width, 1)), min(target_width, max(by_height, 1))
    return max(target_height, by_width), max(target_width, by_height)      # the smallest size that fills it


def round_division(a: int, b: int) -> int:
    return (2 * a + b) // (2 * b)


def make_matrix(size: int, resized: int, crop: int, interpolation: str) -> np.ndarray:
    """Resizes and crops along one axis: row i has the weight of each old pixel in new pixel i.

    When the image becomes smaller, the kernel becomes wider, so that every pixel counts: without that, fine
    lines flicker.
    """
    cut, padding = max(resized - crop, 0), max(crop - resized, 0)
    first = cut // 2 + cut % 2 * (cut // 2 % 2) - padding // 2      # halves to even, as Python rounds
    position = np.arange(crop) + first
    scale = size / resized
    center = (np.clip(position, 0, resized - 1) + 0.5) * scale
    t = np.abs(np.arange(size)[None] + 0.5 - center[:, None]) / max(scale, 1)
    if interpolation == "bicubic":
        weight = np.where(t < 1, (1.5 * t - 2.5) * t * t + 1,
                          np.where(t < 2, ((2.5 - 0.5 * t) * t - 4) * t + 2, 0))
    else:
        weight = np.maximum(1 - t, 0)
    inside = (position >= 0) & (position < resized)
    return (weight / weight.sum(1, keepdims=True) * inside[:, None]).astype("float32")


def resize_and_crop(image: np.ndarray, preprocessing: dict) -> np.ndarray:
    """Pixels (height, width, 1 or 3) of any size -> those that the net sees, floats from 0 to 255."""
    size, mean, pixels = preprocessing["size"], preprocessing["mean"], preprocessing["pixels"]
    target = tuple(int(side / preprocessing["crop_pct"]) for side in size)
    if image.shape[-1] != len(mean):        # a gray image for a net of colors, or the other way
        image = (image.repeat(3, -1) if image.shape[-1] == 1
                 else np.round(image @ np.array([0.299, 0.587, 0.114]))[..., None])

    resized = compute_resized_size(*image.shape[:2], target, preprocessing["crop_mode"])
    down, across = (make_matrix(*sizes, preprocessing["interpolation"])
                    for sizes in zip(image.shape, resized, size))
    border = np.round(np.multiply(mean, 1 if pixels in ("caffe", "raw") else 255)).astype("float32")
    border = border[::-1] if pixels == "caffe" else border
    rows = np.clip(np.matmul(across, image.astype("float32") - border) + border, 0, 255)
    return np.clip(np.tensordot(down, rows - border, 1) + border, 0, 255)


def normalize(x: np.ndarray, preprocessing: dict) -> np.ndarray:
    """Pixels from 0 to 255 -> the values that the net takes."""
    mean, std = (np.array(preprocessing[name], "float32") for name in ("mean", "std"))
    if preprocessing["pixels"] == "caffe":
        return x[..., ::-1] - mean
    return x if preprocessing["pixels"] == "raw" else (x / 255 - mean) / std


def classify(file: pathlib.Path, image: np.ndarray) -> list[tuple[str, float]]:
    """Pairs (class, score), the highest score first."""
    metadata, interpreter = read_metadata(file.read_bytes()), Interpreter(model_path=str(file))
    interpreter.allocate_tensors()
    (inputs,), (outputs,) = interpreter.get_input_details(), interpreter.get_output_details()

    # as the net wants its pixels; some files normalize them inside
    preprocessing = {**metadata["memory"]["preprocessing"], "size": inputs["shape"][1:3].tolist()}
    x = resize_and_crop(image, preprocessing)
    x = x if metadata["memory"]["scales"] else normalize(x, preprocessing)

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
