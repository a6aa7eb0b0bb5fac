"""Files of weights that are made to harm: one error in one line, no other file, no memory, no change."""
import functools
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib

import h5py
import ml_dtypes
import numpy as np
import pytest
from checkpoints import npz, put, randomized, same, torch_arrays
from safetensors.numpy import save_file

import reskeras

SMALL = {"classes": 10, "input_shape": (16, 16, 1), "depths": (1, 1, 1), "norm": "group"}
SECRET = b"TOP-SECRET-PASSWORD=hunter2 " * 8
FORMATS = (".weights.h5", ".keras", ".npz", ".safetensors")
BOMB = 20 * 2 ** 24             # 335 MB, when it is inflated
MEMORY = 200 * 2 ** 20          # what a process may take beyond what it has after a first net


def build(**arguments):
    return reskeras.CifarResNet20(**{"weights": None, **SMALL, **arguments})


@pytest.fixture(scope="module")
def trained():
    return randomized(build())


def save(model, path, change=lambda arrays: None):
    """Saves the weights in the format of the name, after a change of {(layer, variable): array}."""
    arrays = {(layer.name, v.name): v.numpy() for layer in model.layers for v in layer.weights}
    change(arrays)
    if path.name.endswith(".npz"):
        path.write_bytes(npz({"/".join(key): array for key, array in arrays.items()}))
    elif path.name.endswith(".safetensors"):
        names = {"kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}
        pytorch = torch_arrays(model)
        head = {f"fc.{names[variable]}": np.ascontiguousarray(array.T)
                for (layer, variable), array in arrays.items() if layer == "predictions"}
        save_file(pytorch | head, path)
    else:
        model.save_weights(path.with_name("a.weights.h5"))
        with h5py.File(path.with_name("a.weights.h5"), "r+") as file:
            edit_head(file, lambda head: replace(head, "1", arrays["predictions", "bias"]))
            edit_head(file, lambda head: replace(head, "0", arrays["predictions", "kernel"]))
        if path.name.endswith(".keras"):
            with zipfile.ZipFile(path, "w") as archive:
                archive.write(path.with_name("a.weights.h5"), "model.weights.h5")
        else:
            os.replace(path.with_name("a.weights.h5"), path)
    return path


def edit_head(file, edit):
    edit(next(g["vars"] for g in file["layers"].values() if g["vars"].attrs.get("name") == "predictions"))


def replace(group, name, array):
    del group[name]
    group[name] = array


# ---- good files


@pytest.mark.parametrize("suffix", FORMATS)
def test_good_files_still_load(tmp_path, trained, suffix):
    same(build(weights=save(trained, tmp_path / f"good{suffix}")), trained)


def test_files_of_a_trained_model_still_load(tmp_path):
    """With the optimizer's variables, in Keras 2's layout too."""
    model = build()
    model.compile("adamw", "sparse_categorical_crossentropy")
    model.fit(np.zeros((2, 16, 16, 1)), np.zeros(2), verbose=0)
    for name in ("a.keras", "a.h5"):
        model.save(tmp_path / name)
        same(build(weights=tmp_path / name), model)


def test_other_types_of_numbers_still_load(tmp_path, trained):
    """float64 and float16 in each format, bfloat16 where the format has it; a net may save itself so."""
    for dtype in ("float64", "float16", ml_dtypes.bfloat16):
        def convert(arrays, dtype=dtype):
            for key in arrays:
                arrays[key] = arrays[key].astype(dtype)
        for suffix in FORMATS[:2] + FORMATS[3:]:
            if suffix == ".safetensors" or dtype != ml_dtypes.bfloat16:
                model = build(weights=save(trained, tmp_path / f"good{suffix}", convert))
                for mine, theirs in zip(model.weights, trained.weights):
                    np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-2)
    half = build(dtype="bfloat16")
    half.save_weights(tmp_path / "half.weights.h5")
    same(build(weights=tmp_path / "half.weights.h5", dtype="bfloat16"), half)


# ---- values


def spoil(variable, value):
    """A change of one element, or of the type, of the classifier's variable."""
    def change(arrays):
        array = arrays["predictions", variable]
        if isinstance(value, type):
            arrays["predictions", variable] = np.zeros(array.shape, value)
        else:
            array = array.astype("float64")
            array.flat[3] = value
            arrays["predictions", variable] = array
    return change


@pytest.mark.parametrize("suffix", FORMATS)
def test_values_that_are_no_finite_numbers(tmp_path, trained, suffix):
    """Refused by name, before anything is assigned."""
    key = {".safetensors": "fc.bias"}.get(suffix, "predictions.#1")
    for value, reason in {np.nan: f"{key} (NaN or infinite)", -np.inf: f"{key} (NaN or infinite)",
                          1e300: f"{key} (too large for float32)", bool: f"{key} (bool)",
                          np.complex64: "complex64", bytes: "S"}.items():
        if suffix == ".safetensors" and value is bytes:
            continue
        change = spoil("bias", value)
        if value is bytes:
            def change(arrays):
                arrays["predictions", "bias"] = np.array([b"text"] * 10)
        path = save(trained, tmp_path / f"bad{suffix}", change)
        with pytest.raises(ValueError) as caught:
            build(weights=path)
        if value in (bytes, np.complex64) and suffix in (".weights.h5", ".keras"):
            reason = "/layers/dense/vars/1 does not consist of numbers"
        check_message(caught.value, path, reason)


def check_message(error, path, reason):
    assert type(error) is ValueError
    assert str(error).startswith(f"{path}") and reason in str(error) and "\n" not in str(error), error


def test_values_beyond_the_type_of_the_variables(tmp_path, trained):
    arrays = torch_arrays(trained)
    arrays["conv1.weight"] = arrays["conv1.weight"] * 1e6
    save_file(arrays, tmp_path / "a.safetensors")
    assert build(weights=tmp_path / "a.safetensors").get_layer("conv1_conv").kernel.numpy().max() > 1e5
    with pytest.raises(ValueError, match=r"conv1.weight \(too large for float16\)"):
        build(weights=tmp_path / "a.safetensors", dtype="float16")


def test_an_error_changes_nothing(tmp_path, trained):
    from reskeras.weights.load import load_weights
    model = build()
    before = [v.numpy() for v in model.weights]
    with pytest.raises(ValueError, match="NaN"):
        load_weights(model, save(trained, tmp_path / "a.npz", spoil("bias", np.nan)))
    for variable, array in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), array)


def test_names_with_escape_sequences_are_printed_safely(tmp_path, trained):
    arrays = torch_arrays(trained) | {"\x1b[2Jlayer\nforged line" + "x" * 10 ** 6: np.zeros(1)}
    save_file(arrays, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="1 tensors without a variable: ") as caught:
        build(weights=tmp_path / "a.safetensors")
    assert "\x1b" not in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_a_bomb_inside_of_a_keras_file(tmp_path):
    """bzip2 inflates 4 kB to gigabytes in one step."""
    weights = io.BytesIO()
    with zipfile.ZipFile(weights, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a.npy", bytes(10 ** 6))
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.npz", weights.getvalue())
    with pytest.raises(ValueError, match=r"a.keras .*compressed by a different method than Deflate"):
        reskeras.load(tmp_path / "a.keras")


# ---- in another process: other files, memory, time


def external(folder, head):
    (folder / "secret.txt").write_bytes(SECRET)
    del head["1"]
    head.create_dataset("1", (10,), "<f4", external=[(str(folder / "secret.txt"), 0, 40)])


def external_pipe(folder, head):
    del head["1"]
    head.create_dataset("1", (10,), "<f4", external=[(str(folder / "pipe"), 0, 40)])


def link_to_pipe(folder, head):
    del head["1"]
    head["1"] = h5py.ExternalLink(str(folder / "pipe"), "/x")


def group_in_pipe(folder, head):
    file = head.file
    del file["layers"]
    file["layers"] = h5py.ExternalLink(str(folder / "pipe"), "/layers")


def virtual(folder, head):
    del head["1"]
    layout = h5py.VirtualLayout((10,), "<f4")
    layout[:] = h5py.VirtualSource(str(folder / "pipe"), "x", (10,))
    head.create_virtual_dataset("1", layout)


def soft_link(folder, head):
    del head["1"]
    head["1"] = h5py.SoftLink(head["0"].name)


def huge(folder, head):
    del head["1"]
    head.create_dataset("1", (10 ** 12,), "<f4", chunks=(1000,), compression="gzip")


def chunk_bomb(folder, head):
    del head["1"]
    bias = head.create_dataset("1", (10,), "<f4", chunks=(10,), compression="gzip")
    # a longer chunk is none that HDF5 writes
    bias.id.write_direct_chunk((0,), zlib.compress(bytes(50 * 10 ** 6), 9))


def large_chunk(folder, head):
    del head["1"]
    head.create_dataset("1", (10,), "<f4", maxshape=(None,), chunks=(BOMB // 4,), compression="gzip")[:] = 1


def ragged(folder, head):
    del head["1"]
    head.create_dataset("1", (10,), h5py.vlen_dtype("f4"))


def cycle(folder, head):
    head["2"] = head.file["/"]


def many_names(folder, head):
    """Keras 2's layout, which lists a layer, and its weight, 64,000 times each."""
    file = head.file
    put(file, "layer_names", ["x" * 60] * 1000)
    put(file.create_group("x" * 60), "weight_names", ["w"] * 60000)
    file["x" * 60]["w"] = np.zeros(3)


def many_spellings(folder, head):
    file = head.file
    group = file.create_group("x")
    put(file, "layer_names", ["x" + "/" * i for i in range(200)])
    put(group, "weight_names", ["w" + "/." * i for i in range(200)])
    group["w"] = np.zeros(3)


def long_name(folder, head):
    head.attrs["name"] = "x" * 10 ** 6


H5_ATTACKS = {
    external: "the bytes of /layers/dense/vars/1 are in another file",
    external_pipe: "the bytes of /layers/dense/vars/1 are in another file",
    link_to_pipe: "/layers/dense/vars/1 is a link", group_in_pipe: "/layers is a link",
    virtual: "the bytes of /layers/dense/vars/1 are in another file",
    soft_link: "/layers/dense/vars/1 is a link",
    huge: "predictions.#1 of shape (1000000000000,) does not fit into a file of",
    chunk_bomb: "has a compressed chunk of 48,610 bytes; a whole chunk has only 40",
    large_chunk: "which is more than its own size",
    ragged: "does not consist of numbers", cycle: "is an object that has two names",
    long_name: "has more than 1000 letters",
    many_names: "twice", many_spellings: "lists /x/w twice",
}


@functools.cache
def deflate_zeros():
    """BOMB zeros as zip files compress them."""
    stream = zlib.compressobj(1, zlib.DEFLATED, -15)
    return b"".join(stream.compress(bytes(2 ** 24)) for _ in range(BOMB // 2 ** 24)) + stream.flush()


def write_bomb(path, member, start=b"", stated=BOMB):
    """A zip file with one member that inflates to `start` and BOMB zeros; it may state a smaller size.

    Its checksum is that of as many bytes as it states.
    """
    stream = zlib.compressobj(1, zlib.DEFLATED, -15)
    data = stream.compress(start) + stream.flush(zlib.Z_FULL_FLUSH) + deflate_zeros()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, data)
    stored = bytearray(path.read_bytes())
    checksum = zlib.crc32((start + bytes(2000))[:stated])
    for place in (0, stored.rindex(b"PK\1\2") + 2):        # the member's header, and that in the directory
        stored[place + 8:place + 10] = struct.pack("<H", zipfile.ZIP_DEFLATED)
        stored[place + 14:place + 18] = struct.pack("<I", checksum)
        stored[place + 22:place + 26] = struct.pack("<I", stated)
    path.write_bytes(stored)
    return path


def npy_header(shape, descr="<f4"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def write_safetensors(path, header, size=0):
    """A file of a header, which may lie, and of `size` bytes that take no room on the disk."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(file.tell() + size)
    return path


def write_attacks(folder, trained):
    """Writes the files; yields (path, part of the message)."""
    os.mkfifo(folder / "pipe")
    good = save(trained, folder / "good.weights.h5")
    for attack, message in H5_ATTACKS.items():
        path = folder / f"{attack.__name__}.weights.h5"
        shutil.copy(good, path)
        with h5py.File(path, "r+") as file:
            edit_head(file, lambda head, attack=attack: attack(folder, head))
        yield path, message
        if attack in (external, chunk_bomb):
            inside = path.with_name(f"{attack.__name__}.keras")
            with zipfile.ZipFile(inside, "w") as archive:
                archive.write(path, "model.weights.h5")
            yield inside, message

    yield write_bomb(folder / "bomb.keras", "model.weights.h5"), f"its members have {BOMB:,} bytes"
    yield write_bomb(folder / "liar.keras", "model.weights.h5", stated=1000), "cannot be read as"
    yield write_bomb(folder / "bomb.npz", "a/kernel.npy", npy_header((BOMB // 4,))), "its members have"
    yield write_bomb(folder / "liar.npz", "a/kernel.npy", npy_header((10,)), 168), "without a variable: a.#0"
    yield write_bomb(folder / "liar 2.npz", "a/kernel.npy", npy_header((10 ** 12,)), 168), "size is different"
    header = b"\x93NUMPY\2\0\xff\xff\xff\x7f"
    yield write_bomb(folder / "header.npz", "a/kernel.npy", header, 1000), "is not a plain array"
    (folder / "objects.npz").write_bytes(npz({"a/kernel": np.array([print], object)}))
    yield folder / "objects.npz", "has Python objects"
    with zipfile.ZipFile(folder / "nested.npz", "w") as archive:
        archive.write(folder / "liar.npz", "a/kernel.npy")
    yield folder / "nested.npz", "cannot be read as"
    with zipfile.ZipFile(folder / "text.npz", "w") as archive:
        archive.writestr("predictions/bias.npy", npy_header((10,), "<U100000000")[:128])
    yield folder / "text.npz", "size is different"

    tensor = {"dtype": "F32", "shape": [BOMB // 8], "data_offsets": [0, BOMB // 2]}
    yield write_safetensors(folder / "sparse.safetensors", {"fc.bias": tensor}, BOMB // 2), "unequal shapes"
    yield write_safetensors(folder / "short.safetensors", {"fc.bias": tensor}, 100), "cannot be read as"
    lie = {"dtype": "F32", "shape": [2 ** 60], "data_offsets": [0, 40]}
    yield write_safetensors(folder / "lie.safetensors", {"fc.bias": lie}, 40), "cannot be read as"
    both = {name: {"dtype": "F32", "shape": [10], "data_offsets": [0, 40]} for name in ("fc.bias", "x")}
    yield write_safetensors(folder / "overlap.safetensors", both, 40), "cannot be read as"
    yield write_safetensors(folder / "deep.safetensors", b"[" * 10 ** 6), "cannot be read as"
    many = {f"{i:06}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(300_000)}
    yield write_safetensors(folder / "many.safetensors", many), "its header has more than 16,777,216 bytes"
    (folder / "length.safetensors").write_bytes(b"\xff" * 8 + b"{}")
    yield folder / "length.safetensors", "cannot be read as"

    for suffix in FORMATS:
        path = folder / f"pipe{suffix}"
        path.symlink_to("pipe")
        yield path, "is a pipe; expected a regular file"
        path = folder / f"device{suffix}"
        path.symlink_to("/dev/zero")
        yield path, "is a device; expected a regular file"
        path = folder / f"folder{suffix}"
        path.mkdir()
        yield path, "is a folder; expected a regular file"
        path = folder / f"empty{suffix}"
        path.touch()
        yield path, "cannot be read as"
        whole = save(trained, folder / f"whole{suffix}").read_bytes()
        path = folder / f"truncated{suffix}"
        path.write_bytes(whole[:len(whole) * 2 // 3])
        yield path, "cannot be read as"


CHILD = """
import faulthandler, json, resource, sys
import reskeras
faulthandler.dump_traceback_later(100, exit=True)       # whoever waits at a pipe waits for ever
arguments, good, *paths = json.loads(sys.argv[1])
reskeras.CifarResNet20(weights=good, **arguments)
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (size, size))
for path in paths:
    try:
        reskeras.CifarResNet20(weights=path, **arguments)
        message = "no error"
    except BaseException as error:
        message = f"{type(error).__name__}: {error}"
    print(json.dumps([path, message]), flush=True)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="bounds memory as Linux does")
def test_attacks_in_bounded_memory(tmp_path, trained):
    attacks = dict(write_attacks(tmp_path, trained))
    paths = [tmp_path / "good.weights.h5", *attacks]
    child = subprocess.run([sys.executable, "-c", CHILD, json.dumps([SMALL, *map(str, paths)]), str(MEMORY)],
                           capture_output=True, text=True)
    results = dict(json.loads(line) for line in child.stdout.splitlines())
    assert len(results) == len(attacks), child.stderr[-3000:]
    wrong = {path.name: results[str(path)] for path, message in attacks.items()
             if not results[str(path)].startswith(f"ValueError: {path}")
             or message not in results[str(path)] or "\n" in results[str(path)]
             or "MemoryError" in results[str(path)] or "TOP-SECRET" in results[str(path)]}
    assert not wrong, "\n".join(map(str, wrong.items()))
