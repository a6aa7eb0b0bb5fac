"""Damaged files of weights of every format: an error of one line, or finite numbers."""
import json
import subprocess
import sys

import pytest
import tensorflow as tf
from checkpoints import legacy_h5, npz, randomized, torch_arrays
from torch_writer import save_torch as save_torch_file
from safetensors.numpy import save_file

import reskeras

MUTATIONS = 200
SMALL = {"weights": None, "classes": 10, "input_shape": (16, 16, 1), "depths": (1, 1, 1), "norm": "group"}

# In another process, because a crash or a hang would be one of the test's, and with bounded memory
CHILD = """
import faulthandler, json, pathlib, random, resource, sys, warnings
import numpy as np
import reskeras
from reskeras.weights.load import load_weights

arguments, orders, count = json.loads(sys.argv[1])
warnings.simplefilter("ignore")
model = reskeras.CifarResNet20(**arguments)
for path, _ in orders:
    load_weights(model, path)
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + 2 ** 30
resource.setrlimit(resource.RLIMIT_AS, (size, size))

def mutate(data, chance):
    data = bytearray(data)
    for _ in range(chance.choice([1, 1, 4])):
        # half of them in the first or the last bytes, where most formats describe the rest
        near = chance.randrange(min(3000, len(data)))
        place = chance.choice([near, len(data) - 1 - near] + 2 * [chance.randrange(len(data))])
        length = chance.choice([1, 1, 2, 4, 8])
        match chance.randrange(6):
            case 0: data[place] ^= 1 << chance.randrange(8)
            case 1: data[place:place + length] = bytes(chance.randrange(256) for _ in range(length))
            case 2: data[place:place + length] = chance.choice([b"\\xff", b"\\0", b"\\x7f"]) * length
            case 3: del data[place:place + length]
            case 4: data[place:place] = data[:length * 9]
            case 5: del data[place:]
        data = data or bytearray(b"x")
    return bytes(data)

def is_clean(error, path):
    # the name of a part of it may be the first word, too
    places = (path, str(pathlib.Path(path).parent), f"weights={path!r}")
    return type(error) is ValueError and str(error).startswith(places) and "\\n" not in str(error)

errors, wrong = [0] * len(orders), []
for number, (path, damaged) in enumerate(orders):
    whole = pathlib.Path(damaged).read_bytes()
    for seed in range(count):
        faulthandler.dump_traceback_later(60, exit=True)
        pathlib.Path(damaged).write_bytes(mutate(whole, random.Random(seed)))
        before = [v.numpy() for v in model.weights]
        try:
            load_weights(model, path)
        except Exception as error:
            errors[number] += 1
            if not is_clean(error, path):
                wrong.append(f"{damaged} {seed}: {type(error).__name__}: {error}")
            if not all(np.array_equal(v, b) for v, b in zip(model.weights, before)):
                wrong.append(f"{damaged} {seed}: the net changed in spite of {error}")
        else:
            if not all(np.isfinite(v).all() for v in model.weights):
                wrong.append(f"{damaged} {seed}: values that are not finite")
    pathlib.Path(damaged).write_bytes(whole)
print(json.dumps([errors, wrong]))
"""


def save_legacy_h5(model, path):
    layers = {layer.name: [(v.name, v.numpy()) for v in layer.weights] for layer in model.layers}
    path.write_bytes(legacy_h5(layers))


def save_npz(model, path):
    arrays = {f"{layer.name}/{v.name}": v.numpy() for layer in model.layers for v in layer.weights}
    path.write_bytes(npz(arrays))


def save_torch(model, path):
    path.write_bytes(save_torch_file(torch_arrays(model)))


def save_legacy_torch(model, path):
    path.write_bytes(save_torch_file({"state_dict": torch_arrays(model)}, legacy=True))


def save_parts(model, path):
    model.save_weights(path, max_shard_size=0.0002)


def save_checkpoint(model, path):
    tf.train.Checkpoint(model=model).write(str(path.with_name("ckpt")))


def save_old_checkpoint(model, path):
    arrays = {f"{layer.name}/{v.name}": v.numpy() for layer in model.layers for v in layer.weights}
    values = [tf.constant(array) for array in arrays.values()]
    tf.raw_ops.Save(filename=str(path), tensor_names=list(arrays), data=values)


WRITERS = {
    "a.weights.h5": lambda model, path: model.save_weights(path), "legacy.h5": save_legacy_h5,
    "a.keras": lambda model, path: model.save(path), "a.npz": save_npz, "a.pth": save_torch,
    "legacy.pth": save_legacy_torch, "parts.weights.json": save_parts, "old.ckpt": save_old_checkpoint,
    "ckpt.index": save_checkpoint, "a.safetensors": lambda model, path: save_file(torch_arrays(model), path)}
# the parts of a file that are damaged instead
DAMAGED = {"parts.weights.json": ["parts.weights.json", "parts_00001.weights.h5"],
           "ckpt.index": ["ckpt.index", "ckpt.data-00000-of-00001"]}


def damage(folder, names, count):
    """Loads damaged files in a child.  Returns: how many mutations of each are errors."""
    orders = []
    for name in names:
        WRITERS[name](randomized(reskeras.CifarResNet20(**SMALL)), folder / name)
        orders += [[str(folder / name), str(folder / part)] for part in DAMAGED.get(name, [name])]
    child = subprocess.run([sys.executable, "-c", CHILD, json.dumps([SMALL, orders, count])],
                           capture_output=True, text=True)
    assert child.returncode == 0, child.stderr[-3000:]
    errors, wrong = json.loads(child.stdout.splitlines()[-1])
    assert not wrong, "\n".join(wrong)
    print({order[1].rpartition("/")[2]: f"{number} of {count}" for order, number in zip(orders, errors)})
    return errors


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="bounds memory as Linux does")
def test_some_damaged_files_of_each_format(tmp_path):
    errors = damage(tmp_path, WRITERS, 6)
    assert sum(errors) > 6 * len(errors) / 4


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="bounds memory as Linux does")
@pytest.mark.parametrize("name", WRITERS)
def test_damaged_files(tmp_path, name):
    errors = damage(tmp_path, [name], MUTATIONS)
    assert min(errors) > MUTATIONS / 10      # the mutations did something
