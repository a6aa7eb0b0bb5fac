"""`reskeras.load` of files that are damaged or made to harm: one short ValueError with the file's name."""
import copy
import io
import json
import os
import random
import subprocess
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras_files import CONFIG, METADATA, WEIGHTS, change_config, pack, unpack

import reskeras
from reskeras import cli
from reskeras.blocks.grouped_conv import GroupedConv2D
from reskeras.images.resize import ResizeAndCrop
from reskeras.model_metadata import ModelMetadata
from reskeras.model_with_metadata import ModelWithMetadata
from reskeras.weights.table import get_weights


def make_net():
    """A small net with layers of Keras' and of ours, and with metadata."""
    image = keras.Input((None, None, 3), name="image")
    x = ResizeAndCrop((16, 16), (18, 18), name="resize")(image)
    x = keras.layers.Conv2D(4, 3, kernel_regularizer="l2", name="conv")(x)
    x = keras.layers.BatchNormalization(name="bn")(x)
    x = GroupedConv2D(4, 3, groups=2, name="groups")(keras.layers.Activation("relu", name="relu")(x))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dense(10, "softmax", name="predictions")(keras.layers.Dropout(0.1, name="drop")(x))
    metadata = ModelMetadata.from_checkpoint(get_weights("cifar_resnet20.cifar10"))
    return ModelWithMetadata(image, x, name="net", metadata=metadata)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """{member: bytes} of a good file."""
    path = tmp_path_factory.mktemp("good") / "net.keras"
    reskeras.save(make_net(), path)
    return unpack(path)


# Mutations: (random generator, members) -> bytes of a file

def flip_bits(rng, members):
    data = bytearray(pack(members))
    for _ in range(rng.choice([1, 1, 10, 100])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def overwrite(rng, members):
    data = bytearray(pack(members))
    start = rng.randrange(len(data))
    data[start:start + rng.randrange(1, 2000)] = rng.randbytes(rng.randrange(1, 2000))
    return bytes(data)


def truncate(rng, members):
    return pack(members)[:rng.randrange(len(pack(members)))]


def drop_member(rng, members):
    dropped = rng.choice([CONFIG, WEIGHTS])
    return pack({name: data for name, data in members.items() if name != dropped})


def damage_member(rng, members):
    """A zip file that is whole, with a member that is not."""
    name = rng.choice([CONFIG, WEIGHTS])
    data = bytearray(members[name])
    kind = rng.randrange(3)
    if kind == 0:
        data = data[:rng.randrange(len(data))]
    for _ in range(rng.choice([1, 10, 100]) if kind == 1 else 0):
        data[rng.randrange(min(len(data), 4000))] = rng.randrange(256)
    if kind == 2:
        data = rng.randbytes(rng.randrange(300))
    return pack({**members, name: bytes(data)})


def list_paths(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from list_paths(part, (*path, key))


VALUES = [None, True, False, 0, -1, 3, 10 ** 9, 10 ** 30, 0.5, float("nan"), float("inf"), "", "text",
          "\x1b[2J", "../x", [], [1, 2], [[]], {}, {"class_name": "Dense"}, {"a": [1]}]


def swap_value(rng, members, path=None):
    config = json.loads(members[CONFIG])
    path = path or rng.choice([path for path in list_paths(config) if path])
    place = config
    for key in path[:-1]:
        place = place[key]
    if rng.random() < 0.15 and isinstance(place, dict):
        del place[path[-1]]
    else:
        place[path[-1]] = copy.deepcopy(rng.choice(VALUES))
    return pack({**members, CONFIG: json.dumps(config)})


def swap_metadata(rng, members):
    metadata = json.loads(members[METADATA])
    metadata[rng.choice(list(metadata))] = rng.choice(VALUES)
    return pack({**members, METADATA: json.dumps(rng.choice([metadata, rng.choice(VALUES)]))})


def change_weights(rng, members):
    """A good HDF5 file with a data set less, or with one of another shape or type."""
    stream = io.BytesIO(members[WEIGHTS])
    with h5py.File(stream, "r+") as file:
        names = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        name = rng.choice(names)
        values = file[name][()]
        del file[name]
        new = rng.choice([None, values[..., None, None], values.astype(complex), np.bytes_("text"),
                          values[:1], values.ravel()[:-1]])
        if new is not None:
            file[name] = new
    return pack({**members, WEIGHTS: stream.getvalue()})


MUTATIONS = [flip_bits, overwrite, truncate, drop_member, damage_member, swap_value, swap_value, swap_value,
             swap_metadata, change_weights]


def load_mutant(path, data):
    """Whether the file was loaded; any error but a short ValueError with its name fails."""
    path.write_bytes(data)
    try:
        model = reskeras.load(path)
    except ValueError as error:
        text = str(error)
        assert text.startswith(str(path)) and text.isprintable() and len(text) < 1000, text
        return False
    assert isinstance(model, keras.Model)
    return True


def run_mutants(seeds, good, path):
    loaded = [seed for seed in seeds
              if load_mutant(path, MUTATIONS[seed % len(MUTATIONS)](random.Random(seed), good))]
    assert len(loaded) < len(seeds) / 2, loaded


def test_a_good_file(good, tmp_path):
    assert load_mutant(tmp_path / "net.keras", pack(good))
    assert load_mutant(tmp_path / "net.keras", pack(good, zipfile.ZIP_DEFLATED))


def test_mutants(good, tmp_path):
    run_mutants(range(30), good, tmp_path / "mutant.keras")


@pytest.mark.slow
def test_many_mutants(good, tmp_path):
    run_mutants(range(30, 330), good, tmp_path / "mutant.keras")


@pytest.mark.slow
def test_a_swap_at_every_key(good, tmp_path):
    for seed, path in enumerate(path for path in list_paths(json.loads(good[CONFIG])) if path):
        load_mutant(tmp_path / "mutant.keras", swap_value(random.Random(seed), good, path))


@pytest.mark.parametrize("position", [0.3, 0.5, 0.9])
def test_one_flipped_bit_of_the_weights(position, good, tmp_path):
    """Keras alone would load it, because it reads weights that fail their checksum in another way."""
    data, weights = bytearray(pack(good)), good[WEIGHTS]
    data[data.index(weights) + int(position * len(weights))] ^= 4
    assert not load_mutant(tmp_path / "net.keras", bytes(data))


def test_names_that_are_no_keras_files(tmp_path):
    (tmp_path / "folder.keras").mkdir()
    (tmp_path / "empty.keras").touch()
    os.mkfifo(tmp_path / "pipe.keras")
    for name in ("folder.keras", "empty.keras", "pipe.keras", "missing.keras", "net.h5"):
        with pytest.raises(ValueError, match=name):
            reskeras.load(tmp_path / name)
    for name in ("hf://someone/net", "/dev/zero"):
        with pytest.raises(ValueError, match=name):
            reskeras.load(name)


def test_names_of_members(good, tmp_path):
    for name in ("../x", "/x", "assets/../../x", "assets\\..\\..\\x", "C:\\x", ".."):
        assert not load_mutant(tmp_path / "net.keras", pack({**good, name: b"x"})), name
    assert load_mutant(tmp_path / "net.keras", pack({**good, "assets/..x/y..": b"x", "README": b"x"}))


class NeedsValues(keras.layers.Layer):
    """A layer of a user's that can only be built with values."""

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")
        self.start = float(keras.ops.convert_to_numpy(self.scale.value))

    def call(self, inputs):
        return inputs * self.scale


def test_a_layer_that_is_built_from_values(tmp_path):
    image = keras.Input((3,))
    model = keras.Model(image, NeedsValues()(image))
    reskeras.save(model, tmp_path / "net.keras")
    with pytest.raises(ValueError, match="Could not locate class 'NeedsValues'"):
        reskeras.load(tmp_path / "net.keras")
    with keras.saving.custom_object_scope({"NeedsValues": NeedsValues}):
        assert reskeras.load(tmp_path / "net.keras").count_params() == 1


def test_names_of_later_layers_do_not_change(good, tmp_path):
    """The check builds the model once more; neither names nor variables of it stay."""
    (tmp_path / "net.keras").write_bytes(pack(good))
    keras.utils.clear_session()
    keras.saving.load_model(tmp_path / "net.keras")
    after_keras = keras.layers.Dense(1).name, keras.layers.Conv2D(1, 1).name
    keras.utils.clear_session()
    model = reskeras.load(tmp_path / "net.keras")
    assert (keras.layers.Dense(1).name, keras.layers.Conv2D(1, 1).name) == after_keras
    with keras.StatelessScope():
        pass                    # would give values to variables that were left without
    assert all(variable.value is not None for variable in model.variables)


def test_the_command_line_says_it_in_one_line(good, tmp_path, capsys):
    path = tmp_path / "net.keras"
    path.write_bytes(pack(good)[:-100])
    assert cli.main(["cost", str(path)]) == 2
    error = capsys.readouterr().err
    assert str(path) in error and "Traceback" not in error
    assert len(error.strip().splitlines()) == 1


# Files that need much more memory than they have bytes, in a process that may take 2 GB more than it has

def zero_weights(numbers, **options):
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.create_dataset("layers/dense/vars/0", (numbers,), "f4", **options)
    return stream.getvalue()


def widen(key, value):
    def change(config):
        for layer in config["config"]["layers"]:
            if key in layer["config"]:
                layer["config"][key] = value
    return change


def make_bombs(good):
    """{name: bytes}"""
    zeros = bytes(2 ** 29)
    return {
        "wide": change_config(good, widen("units", 10 ** 10)),
        "deep": change_config(good, widen("filters", 20_000)),
        "zip": pack({**good, WEIGHTS: zeros}, zipfile.ZIP_DEFLATED),
        "config": pack({**good, CONFIG: zeros}, zipfile.ZIP_DEFLATED),
        "asset": pack({**good, "assets/x": zeros}, zipfile.ZIP_DEFLATED),
        "nested": pack({**good, CONFIG: b"[" * 10 ** 6}),
        "shape": pack({**good, WEIGHTS: zero_weights(10 ** 12, chunks=(2 ** 20,), compression="gzip")}),
        "late": pack({**good, WEIGHTS: zero_weights(10 ** 12)})}


LOAD_BOMBS = """
import pathlib, resource, sys
import keras, reskeras
import reskeras.build
reskeras.load(sys.argv[1] + "/net.keras")
used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2 * 2 ** 30,) * 2)
for name in sys.argv[2:]:
    path = f"{sys.argv[1]}/{name}.keras"
    try:
        reskeras.load(path)
        print(name, "was loaded")
    except ValueError as error:
        if not str(error).startswith(path) or "MemoryError" in str(error) or "Exhausted" in str(error):
            print(error)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc to know the memory in use")
def test_files_that_ask_for_memory(good, tmp_path):
    bombs = make_bombs(good)
    for name, data in {"net": pack(good), **bombs}.items():
        (tmp_path / f"{name}.keras").write_bytes(data)
    done = subprocess.run([sys.executable, "-c", LOAD_BOMBS, str(tmp_path), *bombs], text=True,
                          capture_output=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr[-3000:]
