"""The tables of precisions and runtimes in docs/exports.md, and tests/golden/precisions.json behind them.

    pytest tests/exporters/test_table_of_precisions.py -m "slow or not slow" -k "digits or page" --accept
"""
import importlib.util
import json
import pathlib
import re

import numpy as np
import pytest
from test_tflite import PARTS, pictures
from tiny import first_stages, tiny, trained

import reskeras
from reskeras.errors import ArgumentError
from reskeras.exporters.export import export
from reskeras.images.preprocessing import Preprocessing

ROOT = pathlib.Path(__file__).parents[2]
PAGE, GOLDEN = ROOT / "docs" / "exports.md", ROOT / "tests" / "golden" / "precisions.json"
BEGIN = "<!-- measured by tests/exporters/test_table_of_precisions.py -->\n"
END = "<!-- end of precisions -->"
COLUMNS = {"TFLite": ("net.tflite", {}), "micro": ("net.tflite", {"target": "micro"}),
           "ONNX": ("net.onnx", {}), "OpenVINO": ("net.xml", {}), "SavedModel": ("net", {})}
ROWS = ("float32", "float16", "dynamic", "int8", "int16x8", "trained for int8")
# Why a cell is empty
MICRO, INT16, TRAINED = "its runtime refuses it", "TFLite alone has it", "not made"
EMPTY = {("float16", "micro"): MICRO, ("dynamic", "micro"): MICRO,
         **{("int16x8", column): INT16 for column in ("ONNX", "OpenVINO", "SavedModel")},
         **{("trained for int8", column): TRAINED for column in ("ONNX", "OpenVINO")}}
NETS = {"cifar_resnet20.digits": "`cifar_resnet20.digits`, 360 digits",
        "mlperf_tiny": "MLPerf Tiny's ResNet-8, 1,000 images of CIFAR-10",
        "akamaster": "akamaster's ResNet-32, the same images"}


def load_net(name, external_file):
    """The net, pixels to calibrate on, and pixels with classes to compare on."""
    if name == "cifar_resnet20.digits":
        data = pytest.importorskip("sklearn.datasets").load_digits()
        pixels = (np.kron(data.images, np.ones((2, 2)))[..., None] * 255 / 16).astype("uint8")
        return reskeras.create(name), pixels[:100], (pixels[-360:], data.target[-360:])
    test, train = (np.load(external_file(f"cifar10_{part}.npz"))
                   for part in ("test_first1000", "train_first4000"))
    validation = test["images"], np.ravel(test["labels"])
    if name == "mlperf_tiny":
        net = reskeras.MLPerfTinyResNet8(weights=external_file("mlperf_tiny_resnet8.h5"))
        net = reskeras.set_metadata(net, Preprocessing((32, 32), "raw", crop_pct=1.0))
        return net, train["images"][:200], validation
    net = reskeras.create("akamaster/resnet32", weights=external_file("akamaster_resnet32.safetensors"))
    net = reskeras.set_metadata(net, "cifar_resnet32.cifar10")
    return net, train["images"][:200], validation


def measure(net, aware, row, column, calibration, validation, folder):
    """The cell: bytes, accuracy, and the largest difference from Keras; of a tiny net whether it passed."""
    name, arguments = COLUMNS[column]
    if row in ("int8", "int16x8"):
        arguments = {**arguments, "calibration_data": calibration}
    if row == "float16" and column == "SavedModel":
        arguments = {"dtype": "float16"}
    elif row in ("float16", "dynamic", "int8", "int16x8"):
        arguments = {**arguments, "quantize": row}
    report = export(aware if row == "trained for int8" else net, folder / name, validation_data=validation,
                    strict=False, **arguments)
    result = report.first_result
    if column == "micro":
        check_micro(folder / name)
    return [report.bytes, result.accuracy, float(f"{result.max_relative_difference:.2g}"), report.passed]


def check_micro(file):
    """TFLite for Microcontrollers runs it, and answers as LiteRT's reference kernels do."""
    runtime = pytest.importorskip("tflite_micro").runtime
    from reskeras.exporters.tflite.runtime import get_interpreter_class, get_reference_resolver
    theirs = get_interpreter_class()(model_path=str(file), **get_reference_resolver())
    theirs.allocate_tensors()
    (taken,), (given,) = theirs.get_input_details(), theirs.get_output_details()
    ours = runtime.Interpreter.from_file(str(file), arena_size=16_000_000)
    for seed in range(4):
        values = np.random.default_rng(seed).uniform(-1, 1, taken["shape"])
        if taken["dtype"] != np.float32:
            values = values * 0.9 * np.iinfo(taken["dtype"]).max
        values = values.astype(taken["dtype"])
        theirs.set_tensor(taken["index"], values)
        theirs.invoke()
        ours.set_input(values, 0)
        ours.invoke()
        expected, answer = (array.astype(float) for array in (theirs.get_tensor(given["index"]),
                                                              ours.get_output(0)))
        scale = 1 if taken["dtype"] == np.float32 else np.iinfo(given["dtype"]).max
        assert np.abs(answer - expected).max() <= 0.02 * scale


def measure_all(net, calibration, validation, folder, is_tiny=False):
    """Row -> column -> the cell."""
    aware = reskeras.quantization_aware(net, calibration)
    cells = {}
    for row in ROWS:
        for column in COLUMNS:
            if (row, column) in EMPTY or (is_tiny and column == "micro"):
                continue
            cell = measure(net, aware, row, column, calibration, validation, folder)
            cells.setdefault(row, {})[column] = cell
    return cells


def compare(name, cells, accept):
    """With what was measured before, or keeps it."""
    golden = json.loads(GOLDEN.read_text())
    if accept:
        golden[name] = cells
        lines = [f'"{key}": {json.dumps(golden[key])}' for key in sorted(golden)]
        GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    for row, columns in golden[name].items():
        assert cells[row].keys() == columns.keys()
        for column, (size, accuracy, _, passed) in columns.items():
            new = cells[row][column]
            assert abs(new[0] / size - 1) < 0.05 and new[3] == passed, (row, column, new)
            assert accuracy is None or abs(new[1] - accuracy) <= 0.01, (row, column, new)


def check_requirements(name, accept):
    """Skips what cannot be measured here, and what nothing was kept of."""
    if not accept and name not in json.loads(GOLDEN.read_text()):
        pytest.skip(f"{name} is not in {GOLDEN.name}: give --accept")
    if importlib.util.find_spec("nncf") is None:
        pytest.skip("nncf is not installed: tox -e nncf")


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_trained(name, tmp_path, accept, external_file):
    check_requirements(name, accept)
    net, calibration, validation = load_net(name, external_file)
    cells = measure_all(net, calibration, validation, tmp_path)
    assert all(cell[3] for columns in cells.values() for cell in columns.values()), cells
    compare(name, cells, accept)


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_tiny(part, tmp_path, accept):
    check_requirements(part, accept)
    net = trained(tiny(part, **first_stages(part)))
    images = pictures(48, *net.input_shape[1:])
    compare(part, measure_all(net, images[:40], images[40:], tmp_path, is_tiny=True), accept)


def format_cell(cell):
    size, accuracy, difference, _ = cell
    return f"{size / 1000:.0f} kB, {accuracy:.1%}, {difference:.0e}"


def format_tables(golden):
    lines = []
    for name in [name for name in NETS if name in golden]:
        lines += [f"| {NETS[name]} | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
        lines += [f"| {row} | " + " | ".join(
            EMPTY.get((row, column)) or format_cell(golden[name][row][column]) for column in COLUMNS) + " |"
            for row in ROWS] + [""]
    parts = [part for part in PARTS if part in golden]
    if not parts:
        return "\n".join(lines).rstrip() + "\n"
    columns = [column for column in COLUMNS if column != "micro"]
    lines += [f"| {len(parts)} tiny parts | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in ROWS:
        texts = []
        for column in columns:
            if (row, column) in EMPTY:
                texts.append(EMPTY[row, column])
                continue
            cells = {part: golden[part][row][column] for part in parts}
            failed = [part for part, cell in cells.items() if not cell[3]]
            median = np.median([cell[2] for cell in cells.values()])
            largest = max(cell[2] for part, cell in cells.items() if part not in failed)
            texts.append(f"{median:.0e}, at most {largest:.0e}" + (
                f"; not accurate enough: {', '.join(f'`{part}`' for part in failed)}" if failed else ""))
        lines.append(f"| {row} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def test_page(accept):
    before, rest = PAGE.read_text().split(BEGIN)
    old, after = rest.split(END)
    new = format_tables(json.loads(GOLDEN.read_text()))
    if accept:
        PAGE.write_text(before + BEGIN + new + END + after)
    assert accept or old == new
    assert len(EMPTY) <= 8 and not any(row in ("float32", "int8") for row, _ in EMPTY)


@pytest.mark.parametrize("row, column", EMPTY)
def test_an_empty_cell_is_refused(row, column, tmp_path):
    """With a message, not with a file that no runtime reads."""
    net = tiny("cifar_resnet20", **first_stages("cifar_resnet20"))
    name, arguments = COLUMNS[column]
    images = pictures(40, *net.input_shape[1:])
    if row == "trained for int8":
        net, row = reskeras.quantization_aware(net, images), None
    elif row == "int16x8":
        arguments = {**arguments, "calibration_data": images}
    with pytest.raises(ArgumentError, match=re.escape("path" if row is None else row)):
        export(net, tmp_path / name, quantize=row, **arguments)
