"""TFLite's standard metadata, which MediaPipe and Android Studio read: how images are prepared, class names.

It is a flat buffer of its own, by the public schema `metadata_schema.fbs` (version 1), inside the buffer
TFLITE_METADATA of the model.  The class names are in a file that it names, in a ZIP archive after the model's
own bytes.  The `flatbuffers` package writes the buffer; the numbers of fields are those of the schema.
"""
from __future__ import annotations

import io
import zipfile
from typing import Any, Callable, Sequence

import numpy as np

from ..options import ExportOptions

LABEL_FILE = "labels.txt"
_IDENTIFIER = b"M001"
_PARSER_VERSION = "1.0.0"       # the oldest parser of these fields

# Values of the schema's enumerations and unions
_UNKNOWN, _RGB, _GRAYSCALE = 0, 1, 2
_FEATURE_PROPERTIES, _IMAGE_PROPERTIES = 1, 2
_NORMALIZATION_OPTIONS = 1
_TENSOR_AXIS_LABELS = 2

Field = tuple[int, str, Any]    # number, type ("offset", "byte", "uint"), value; None is left out


def build_metadata(options: ExportOptions) -> bytes:
    """The metadata of a model with one input of images and one output of scores.

    Args:
        options: options of the file: the shape, the preprocessing of what the file takes, the labels.
    """
    import flatbuffers
    builder = flatbuffers.Builder()
    text = builder.CreateString
    labels = None
    if options.labels:
        file = _make_table(builder, 5, (0, "offset", text(LABEL_FILE)),
                           (1, "offset", text("The names of the classes, one a line.")),
                           (2, "byte", _TENSOR_AXIS_LABELS))
        labels = _make_vector(builder, [file])
    content = _make_table(builder, 3, (0, "byte", _FEATURE_PROPERTIES),
                          (1, "offset", _make_table(builder, 0)))
    output = _make_table(builder, 7, (0, "offset", text("scores")), (3, "offset", content),
                         (6, "offset", labels))
    graph = _make_table(builder, 10, (2, "offset", _make_vector(builder, [_make_input(builder, options)])),
                        (3, "offset", _make_vector(builder, [output])))
    net, license_ = (str(options.metadata.get(key) or "") for key in ("net", "licence"))
    root = _make_table(builder, 8, (0, "offset", text(net)),
                       (1, "offset", text("Written by reskeras; RESKERAS_METADATA says more.")),
                       (3, "offset", _make_vector(builder, [graph])),
                       (5, "offset", text(license_) if license_ else None),
                       (7, "offset", text(_PARSER_VERSION)))
    builder.Finish(root, _IDENTIFIER)
    return bytes(builder.Output())


def _make_input(builder: Any, options: ExportOptions) -> int:
    """The image: its colors and size, and the mean and deviation that make what it takes of pixels."""
    _, height, width, channels = options.shape
    preprocessing = options.preprocessing
    is_rgb = channels == 3 and preprocessing is not None and not preprocessing.is_bgr
    color = _RGB if is_rgb else _GRAYSCALE if channels == 1 else _UNKNOWN
    size = _make_table(builder, 2, (0, "uint", width), (1, "uint", height))
    image = _make_table(builder, 2, (0, "byte", color), (1, "offset", size))
    content = _make_table(builder, 3, (0, "byte", _IMAGE_PROPERTIES), (1, "offset", image))

    units = stats = None
    if preprocessing is not None:
        scale, offset = (np.array(values) for values in preprocessing.scale_and_offset)
        normalization = _make_table(builder, 2, (0, "offset", _make_floats(builder, 0.0 - offset / scale)),
                                    (1, "offset", _make_floats(builder, 1 / scale)))
        unit = _make_table(builder, 2, (0, "byte", _NORMALIZATION_OPTIONS), (1, "offset", normalization))
        units = _make_vector(builder, [unit])
        stats = _make_table(builder, 2, (0, "offset", _make_floats(builder, 255 * scale + offset)),
                            (1, "offset", _make_floats(builder, offset)))
    return _make_table(builder, 7, (0, "offset", builder.CreateString("image")), (3, "offset", content),
                       (4, "offset", units), (5, "offset", stats))


def _make_table(builder: Any, size: int, *fields: Field) -> int:
    """A table of the schema with `size` fields, of which some are given."""
    write: dict[str, Callable[..., None]] = {
        "offset": builder.PrependUOffsetTRelativeSlot, "byte": builder.PrependInt8Slot,
        "uint": builder.PrependUint32Slot}
    builder.StartObject(size)
    for number, kind, value in fields:
        if value is not None:
            write[kind](number, value, 0)
    return int(builder.EndObject())


def _make_vector(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _make_floats(builder: Any, values: np.ndarray) -> int:
    return int(builder.CreateNumpyVector(values.astype("float32")))


def append_labels(data: bytes, labels: Sequence[str]) -> bytes:
    """The content of a file with its class names packed after it, one a line; without names unchanged."""
    if not labels:
        return data
    packed = io.BytesIO(data)
    with zipfile.ZipFile(packed, "a") as archive:
        # a fixed date, so that equal models give equal files; not compressed, as readers on phones expect
        text = "\n".join(" ".join(label.split()) for label in labels) + "\n"
        archive.writestr(zipfile.ZipInfo(LABEL_FILE), text.encode())
    return packed.getvalue()
