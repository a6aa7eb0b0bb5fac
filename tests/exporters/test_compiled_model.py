"""LiteRT's CompiledModel takes every operator of our files for a GPU, as the list of GPU operators says.

Its GPU accelerator computes by WebGPU, which needs a Vulkan driver; a driver in software will do.  Chromium
brings one, SwiftShader (lavapipe of Mesa 22 is refused, as it lacks features):

    LD_LIBRARY_PATH=(folder of libvulkan.so.1) VK_ICD_FILENAMES=/usr/lib/chromium/vk_swiftshader_icd.json \
        pytest -m slow tests/exporters/test_compiled_model.py
"""
import json
import os
import subprocess
import sys

import keras
import pytest
from test_tflite import PARTS
from tiny import first_stages, tiny, trained

from reskeras.exporters.export import export

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("VK_ICD_FILENAMES" not in os.environ, reason="no Vulkan driver: set VK_ICD_FILENAMES")]

# Grouped convolutions are taken, but LiteRT 2.3.0 binds an empty buffer for them ("Binding size for [Buffer]
# is zero"), and the answer is wrong: its WebGPU has an error there.
GROUPED = {part for part in PARTS if "resnext" in part or "resnest" in part}

# A process of its own: LiteRT writes much to stderr, and a driver may end the process
RUN = """
import json, sys
import numpy as np
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.hardware_accelerator import HardwareAccelerator
from ai_edge_litert.interpreter import Interpreter

def run_on_gpu(file):
    interpreter = Interpreter(model_path=file)
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    images = np.random.default_rng(0).standard_normal(taken["shape"]).astype("float32")
    interpreter.set_tensor(taken["index"], images)
    interpreter.invoke()
    expected = interpreter.get_tensor(given["index"])
    try:        # on the GPU alone: with the CPU beside it, XNNPACK's operators count as accelerated, too
        model = CompiledModel.from_file(file, hardware_accel=HardwareAccelerator.GPU)
    except RuntimeError:
        return False, None
    inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
    inputs[0].write(images)
    model.run_by_index(0, inputs, outputs)
    answer = outputs[0].read(expected.size, expected.dtype.type).reshape(expected.shape)
    return model.is_fully_accelerated(), float(np.abs(answer - expected).max() / np.abs(expected).max())
print(json.dumps([run_on_gpu(file) for file in sys.argv[1:]]))
"""


def run_on_gpu(*files):
    """Whether the GPU takes all of each file, and how its answer differs from the interpreter's."""
    out = subprocess.run([sys.executable, "-c", RUN, *map(str, files)], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr[-2000:]
    return json.loads(out.stdout.splitlines()[-1])


@pytest.mark.parametrize("part", PARTS)
def test_every_part(part, tmp_path):
    net = trained(tiny(part, **first_stages(part)))
    report = export(net, tmp_path / "net.tflite", strict=False)
    ((is_all_on_gpu, difference),) = run_on_gpu(tmp_path / "net.tflite")
    assert is_all_on_gpu and report.left_to_cpu["GPU"] == {}
    assert part in GROUPED or difference < 1e-3, difference


def test_what_a_gpu_does_not_take_is_found(tmp_path):
    """Five axes.  (LiteRT 2.3.0 also takes operators that are not in the list, such as CEIL and TOPK_V2.)"""
    volume = keras.Sequential([
        keras.Input((8, 8, 4)), keras.layers.Conv2D(8, 3), keras.layers.Reshape((6, 6, 2, 4)),
        keras.layers.Conv3D(2, 2), keras.layers.Flatten()])
    report = export(volume, tmp_path / "net.tflite", strict=False)
    ((is_all_on_gpu, _),) = run_on_gpu(tmp_path / "net.tflite")
    assert not is_all_on_gpu and report.left_to_cpu["GPU"]["CONV_3D"] == 1
