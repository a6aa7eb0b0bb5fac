"""Files that say more than they have, call functions, or have kinds of tensors that are not read."""
import gzip
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from checkpoints import npz, randomized, torch_arrays
from safetensors.numpy import save_file
from test_hostile_files import BOMB, MEMORY, SMALL, build, write_bomb, write_safetensors
from torch_writer import save_torch

import reskeras

CLASSES = 2 ** 33


@pytest.fixture(scope="module")
def arrays():
    return torch_arrays(randomized(build()))


def rewrite(path, data, edit):
    """A zip file of PyTorch with other bytes of its pickle."""
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, edit(content) if name.endswith("data.pkl") else content)
    return path


def expand(pickled):
    """Gives the tensor (7, 64) of a pickle CLASSES rows and strides of zero."""
    shape = b"\x8a\x05" + CLASSES.to_bytes(5, "little") + b"K@\x86"
    start = pickled.rindex(b"K\x07K@\x86")
    end = pickled.index(b"K@K\x01\x86", start)
    return pickled[:start] + shape + pickled[start + 5:end] + b"K\0K\x01\x86" + pickled[end + 5:]


def write_sparse(path, arrays):
    """A file of the older format: the classifier's bias is the beginning of a storage of 3 GB of holes."""
    count = 3 * 2 ** 28
    data = save_torch({**arrays, "fc.bias": np.arange(11, dtype="float32")}, legacy=True)
    assert data.count(b"K\x0bt") == data.count(b"K\x0b\x85") == 1    # the size of the storage, and the shape
    data = data.replace(b"K\x0bt", b"J" + struct.pack("<i", count) + b"t").replace(b"K\x0b\x85", b"K\x0a\x85")
    storage = data.rindex(struct.pack("<q", 11))
    with path.open("wb") as file:
        file.write(data[:storage] + struct.pack("<q", count) + data[storage + 8:storage + 52])
        if rest := data[storage + 52:]:
            file.seek(4 * count - 44, os.SEEK_CUR)
            file.write(rest)
        file.truncate(storage + 8 + 4 * count + len(rest))
    return path


CHILD = """
import json, resource, sys
import reskeras
classes, arguments, *paths = json.loads(sys.argv[1])
model = reskeras.CifarResNet20(weights=None, classes=classes, **arguments)
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (size, size))
for path in paths:
    for load in (lambda: reskeras.CifarResNet20(weights=path, **arguments),
                 lambda: reskeras.load_weights(model, path)):
        try:
            load()
            message = "no error"
        except BaseException as error:
            message = f"{type(error).__name__}: {error}"
        print(json.dumps([path, message]), flush=True)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="bounds memory as Linux does")
def test_what_a_file_says_takes_no_memory(tmp_path, arrays):
    """A net gets as many classes as its file has; the file may lie, and be compressed."""
    attacks = {
        write_safetensors(tmp_path / "none.safetensors", {"fc.weight": {
            "dtype": "F32", "shape": [CLASSES, 0], "data_offsets": [0, 0]}}): "does not fit cifar_resnet20",
        rewrite(tmp_path / "expanded.pth", save_torch(
            {**arrays, "fc.weight": np.zeros((7, 64), "float32")}), expand): "does not fit into a file of",
        write_bomb(tmp_path / "bomb.keras", "model.weights.h5"): f"its members have {BOMB:,} bytes",
        write_sparse(tmp_path / "sparse.pth", arrays): "at most",
        rewrite(tmp_path / "pickle.pth", save_torch(arrays), lambda _: b"\x80\x02(" + b"}" * 2 ** 23 + b"t."):
            "opcodes"}
    arguments = {key: value for key, value in SMALL.items() if key != "classes"}
    child = subprocess.run([sys.executable, "-c", CHILD, json.dumps([SMALL["classes"], arguments, *map(
        str, attacks)]), str(2 * MEMORY)], capture_output=True, text=True)
    results = [json.loads(line) for line in child.stdout.splitlines()]
    assert len(results) == 2 * len(attacks), child.stderr[-3000:]
    wrong = [(path, message) for path, message in results
             if not message.startswith(f"ValueError: {path}") or "Error: Memory" in message
             or not any(part in message for file, part in attacks.items() if str(file) == path)]
    assert not wrong, "\n".join(map(str, wrong))


class Attack:
    def __init__(self, function, *arguments):
        self.made = function, arguments

    def __reduce__(self):
        return self.made


@pytest.mark.parametrize("content", [Attack(os.system, "true"), {"state_dict": Attack(os.system, "true")}])
def test_no_advice_to_open_a_file_that_calls_functions(tmp_path, content):
    file = tmp_path / "net.pth"
    file.write_bytes(save_torch(content))
    with pytest.raises(ValueError, match=r"call Python's \w+\.system .*open it nowhere") as caught:
        build(weights=file)
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("name", ["_rebuild_qtensor", "_rebuild_sparse_tensor", "_rebuild_tensor_v3"])
def test_tensors_of_other_kinds_are_named(tmp_path, arrays, name):
    for content in (arrays, {"state_dict": arrays}, {"fc.bias": arrays["fc.bias"]}):
        other = rewrite(tmp_path / "net.pth", save_torch(content), lambda data: data.replace(
            b"_rebuild_tensor_v2", name.encode()))
        with pytest.raises(ValueError, match=r"sparse, quantized or of float8, .*\.dequantize\(\)"):
            build(weights=other)


def test_what_is_no_file_of_weights(tmp_path, arrays):
    contents = {"": b"", "gzip": gzip.compress(save_torch(arrays)), "pickle": pickle.dumps([3]),
                "text": b"no weights"}
    for name, message in (("", "it is empty"), ("gzip", "compressed by gzip; `gunzip`"),
                          ("pickle", "torch.save did not write it"), ("text", "torch.save did not write it")):
        file = tmp_path / f"{name}.pth"
        file.write_bytes(contents[name])
        with pytest.raises(ValueError, match=message) as caught:
            build(weights=file)
        assert str(caught.value).startswith(str(file))
    (tmp_path / "net.npz").write_bytes(npz({"fc.weight": np.zeros(3)}))
    with pytest.raises(ValueError, match="'fc.weight.npy' is not called as in Big Transfer's"):
        build(weights=tmp_path / "net.npz")


def test_a_wrong_key_names_the_entries(tmp_path, arrays):
    file = tmp_path / "net.pth"
    file.write_bytes(save_torch({"state_dict": arrays, "model_ema": arrays}))
    with pytest.raises(ValueError, match="'state_dict', 'model_ema'; did you mean 'model_ema'"):
        reskeras.load_weights(build(), file, key="model_em")
    save_file(arrays, tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match="this one has neither, so leave `key` out"):
        reskeras.load_weights(build(), tmp_path / "net.safetensors", key="state_dict")
