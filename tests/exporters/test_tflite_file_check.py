"""Well-formed .tflite files that would end the process of their interpreter: refused before it opens them."""
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from reskeras.exporters.tflite import flatbuffer
from reskeras.exporters.tflite.file_check import check_file

GOOD = pathlib.Path(__file__).parents[2] / "saved_models" / "cifar_resnet20.digits.int8.tflite"
# in a child process: LiteRT aborts
CHILD = """
import sys
import numpy as np
from reskeras.exporters.formats import open_file
for file in sys.argv[1:]:
    try:
        run = open_file(file)
        run(np.zeros((1, *run.shape[1:]), "float32"))
        print("works", flush=True)
    except ValueError as error:
        print(error, flush=True)
assert "tensorflow" not in sys.modules
"""


def write_damaged(path, change):
    """The good file with a change of its first tensor between two operators on integers."""
    model = flatbuffer.unpack(GOOD.read_bytes())
    graph = model.subgraphs[0]
    codes = [model.operatorCodes[operator.opcodeIndex].builtinCode for operator in graph.operators]
    schema = flatbuffer.get_tflite_schema().BuiltinOperator
    addition = graph.operators[codes.index(schema.ADD)]
    change(graph.tensors[addition.inputs[0]], graph.tensors[addition.outputs[0]], graph)
    path.write_bytes(flatbuffer.pack(model))
    return path


def set_scale(scale):
    def change(tensor, output, graph):
        output.quantization.scale = np.asarray(scale, "float32")
    return change


def set_input_scale(tensor, output, graph):
    tensor.quantization.scale = np.asarray([1e9], "float32")


def test_scales_that_end_the_process(tmp_path):
    pytest.importorskip("ai_edge_litert")
    changes = {"none": set_scale([]), "zero": set_scale([0]), "negative": set_scale([-1]),
               "infinite": set_scale([np.inf]), "small": set_scale([1e-30]), "large": set_input_scale,
               "right": lambda *parts: None}
    files = {name: write_damaged(tmp_path / f"{name}.tflite", change) for name, change in changes.items()}
    done = subprocess.run([sys.executable, "-c", CHILD, *map(str, files.values())], capture_output=True,
                          text=True)
    lines = dict(zip(files, done.stdout.splitlines()))
    assert done.returncode == 0 and len(lines) == len(files), done.stdout + done.stderr
    assert lines.pop("right") == "works"
    for name, line in lines.items():
        start = f"{files[name]} cannot be read as a TFLite file (ValueError: the quantization scales of "
        assert line.startswith(start), line


def test_scales_of_good_files():
    check_file(GOOD)
    check_file(GOOD.parents[1] / "tests" / "saved" / "before_rename" / "resnest.tflite")
