"""The table of precisions and runtimes in docs/exports.md; `--accept` writes it."""
import importlib.util
import pathlib
import re

import numpy as np
import pytest

import reskeras
from reskeras.exporters.export import export

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "exports.md"
BEGIN = "<!-- measured by tests/exporters/test_table_of_precisions.py -->\n"
END = "<!-- end of precisions -->"
COLUMNS = {"TFLite": ("net.tflite", {}), "micro": ("net.tflite", {"target": "micro"}),
           "ONNX": ("net.onnx", {}),
           "OpenVINO": ("net.xml", {}), "SavedModel": ("net", {})}
ROWS = ("float32", "float16", "dynamic", "int8", "int16x8", "trained for int8")
# Why a cell is empty
FLOATS, WEIGHTS, CONVERTER = "computes in floats", "no such weights", "no such converter"
EMPTY = {("float16", "SavedModel"): FLOATS, ("dynamic", "SavedModel"): FLOATS, ("int8", "SavedModel"): FLOATS,
         ("int16x8", "SavedModel"): FLOATS,
         ("dynamic", "ONNX"): WEIGHTS, ("dynamic", "OpenVINO"): WEIGHTS,
         ("int16x8", "ONNX"): CONVERTER, ("int16x8", "OpenVINO"): CONVERTER,
         ("trained for int8", "ONNX"): CONVERTER, ("trained for int8", "OpenVINO"): CONVERTER}


def measure(net, trained, row, column, calibration, validation, folder):
    """The cell: bytes, accuracy, and the largest difference from Keras."""
    name, arguments = COLUMNS[column]
    path = folder / name
    if row in ("int8", "int16x8"):
        arguments = {**arguments, "calibration_data": calibration}
    quantize = row if row in ("float16", "dynamic", "int8", "int16x8") else None
    report = export(trained if row == "trained for int8" else net, path, quantize=quantize,
                    validation_data=validation, strict=False, **arguments)
    assert report.passed, (row, column, report.fault)
    result = report.first_result
    return f"{report.bytes / 1000:.0f} kB, {result.accuracy:.1%}, {result.max_relative_difference:.0e}"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("nncf") is None, reason="nncf is not installed: tox -e nncf")
def test_table(tmp_path, accept):
    data = pytest.importorskip("sklearn.datasets").load_digits()
    pixels = (np.kron(data.images, np.ones((2, 2)))[..., None] * 255 / 16).astype("uint8")
    calibration, validation = pixels[:100], (pixels[-360:], data.target[-360:])
    net = reskeras.create("cifar_resnet20.digits")
    trained = reskeras.quantization_aware(net, calibration)
    cells = {(row, column): EMPTY.get((row, column)) or measure(
        net, trained, row, column, calibration, validation, tmp_path) for row in ROWS for column in COLUMNS}
    lines = ["| | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    lines += [f"| {row} | " + " | ".join(cells[row, column] for column in COLUMNS) + " |" for row in ROWS]

    before, rest = PAGE.read_text().split(BEGIN)
    old, after = rest.split(END)
    if accept:
        old = "\n".join(lines) + "\n"
        PAGE.write_text(before + BEGIN + old + END + after)
    for line, expected in zip(lines, old.splitlines(), strict=True):
        assert re.sub(r"[\d.]+(e-\d+)?", "", line) == re.sub(r"[\d.]+(e-\d+)?", "", expected)
        new, written = (np.array(re.findall(r"([\d.]+) kB, ([\d.]+)", text), float).reshape(-1, 2)
                        for text in (line, expected))
        np.testing.assert_allclose(new[:, 0], written[:, 0], rtol=0.05)
        np.testing.assert_allclose(new[:, 1], written[:, 1], atol=1)
