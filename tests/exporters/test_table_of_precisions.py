"""The tables of precisions and runtimes in docs/exports.md, and tests/golden/precisions.json behind them.

Each row of a net is a test, whose cells are kept when it ends, so that they can be measured in parts:

    pytest tests/exporters/test_table_of_precisions.py -m "slow or not slow" -k "digits or page" --accept
    pytest "tests/exporters/test_table_of_precisions.py::test_cells[akamaster-trained]" --accept -m slow

A net whose rows are not complete is not on the page yet.
"""
import functools
import importlib.util
import json
import pathlib
import re

import keras
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
SEEDS = {"seresnet18v1": 5}     # with 0 its gate's only unit is dead: it has no range of 16 bits
NETS = {"cifar_resnet20.digits": "`cifar_resnet20.digits`, 360 digits",
        "mlperf_tiny": "MLPerf Tiny's ResNet-8, 1,000 images of CIFAR-10",
        "akamaster": "akamaster's ResNet-32, the same images"}


@functools.lru_cache(maxsize=1)
def load_net(name, external_file):
    """The net, the net with fake quantization, images to calibrate on, and images to compare on.

    Those of trained nets are pixels, with their classes to compare.
    """
    if name in PARTS:
        keras.utils.set_random_seed(SEEDS.get(name, 0))
        net = trained(tiny(name, **first_stages(name)))
        images = pictures(48, *net.input_shape[1:])
        calibration, validation = images[:40], images[40:]
    else:
        net, calibration, validation = load_trained_net(name, external_file)
    return net, reskeras.quantization_aware(net, calibration), calibration, validation


def load_trained_net(name, external_file):
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


def measure(name, row, column, external_file, folder):
    """The cell: bytes, accuracy, the largest difference from Keras, and whether it passed."""
    net, aware, calibration, validation = load_net(name, external_file)
    file, arguments = COLUMNS[column]
    if row in ("int8", "int16x8"):
        arguments = {**arguments, "calibration_data": calibration}
    if row == "float16" and column == "SavedModel":
        arguments = {"dtype": "float16"}
    elif row in ("float16", "dynamic", "int8", "int16x8"):
        arguments = {**arguments, "quantize": row}
    report = export(aware if row == "trained for int8" else net, folder / file, validation_data=validation,
                    strict=False, **arguments)
    result = report.first_result
    if column == "micro":
        check_micro(folder / file)
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


def compare(name, row, cells, accept):
    """With what was measured before, or keeps it."""
    golden = json.loads(GOLDEN.read_text())
    if accept:
        rows = {**golden.get(name, {}), row: cells}
        golden[name] = {row: rows[row] for row in ROWS if row in rows}
        lines = [f'"{key}": {json.dumps(golden[key])}' for key in sorted(golden)]
        GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    assert cells.keys() == golden[name][row].keys()
    for column, (size, accuracy, difference, passed) in golden[name][row].items():
        new = cells[column]
        assert abs(new[0] / size - 1) < 0.05 and new[3] == passed, (column, new)
        assert new[2] <= 3 * max(difference, 1e-5), (column, new)       # machines round differently
        assert accuracy is None or abs(new[1] - accuracy) <= 0.01, (column, new)


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=[row.replace(" for int8", "") for row in ROWS])
@pytest.mark.parametrize("name", [*NETS, *PARTS])
def test_cells(name, row, tmp_path, accept, external_file):
    if not accept and row not in json.loads(GOLDEN.read_text()).get(name, {}):
        pytest.skip(f"{row} of {name} is not in {GOLDEN.name}: give --accept")
    if importlib.util.find_spec("nncf") is None:
        pytest.skip("nncf is not installed: tox -e nncf")
    columns = [column for column in COLUMNS
               if (row, column) not in EMPTY and not (name in PARTS and column == "micro")]
    cells = {column: measure(name, row, column, external_file, tmp_path) for column in columns}
    assert name in PARTS or all(cell[3] for cell in cells.values()), cells
    compare(name, row, cells, accept)


def format_cell(cell):
    size, accuracy, difference, _ = cell
    return f"{size / 1000:.0f} kB, {accuracy:.1%}, {difference:.0e}"


def format_tables(golden):
    golden = {name: rows for name, rows in golden.items() if rows.keys() == set(ROWS)}
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
            largest = max((cell[2] for cell in cells.values() if cell[3]), default=np.nan)
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
