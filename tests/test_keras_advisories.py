"""A crafted file for each security advisory on Keras of 2025 and 2026; the lowest allowed Keras resists it.

Each goes through Keras' own function and, where ours reads such a file, through ours.  The tests of torch run
in `tox -e torch`; elsewhere they are skipped where it is not installed.
"""
import base64
import configparser
import contextlib
import io
import os
import pathlib
import pickle
import re
import subprocess
import sys
import tarfile
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras.src.saving import saving_lib
from keras_files import WEIGHTS, change_config, pack, unpack

import reskeras

ROOT = pathlib.Path(__file__).parents[1]
# Advisory, its number at GitHub, and the lowest version from which on no version has the fault
ADVISORIES = {
    "CVE-2025-1550": ("GHSA-48g7-3x6r-xfhp", "3.9.0"),
    "CVE-2025-8747": ("GHSA-c9rc-mg46-23w3", "3.11.0"),
    "CVE-2025-9905": ("GHSA-36rr-ww3j-vrjv", "3.11.3"),
    "CVE-2025-9906": ("GHSA-36fq-jgmw-4r9c", "3.11.0"),
    "CVE-2025-12058": ("GHSA-mq84-hjqx-cwf2", "3.12.0"),
    "CVE-2025-12060": ("GHSA-28jp-44vh-q42h", "3.12.0"),
    "CVE-2025-12638": ("GHSA-hjqc-jx6g-rwp9", "3.12.0"),
    "CVE-2025-49655": ("GHSA-5478-66c3-rhxw", "3.11.3"),
    "CVE-2026-0897": ("GHSA-xfhx-r7ww-5995", "3.13.2"),
    "CVE-2026-1462": ("GHSA-4f3f-g24h-fr8m", "3.13.2"),
    "CVE-2026-1669": ("GHSA-3m4q-jmj6-r34q", "3.13.2"),
    "CVE-2026-9335": ("GHSA-m8wh-29wm-52mv", "3.15.0"),
    "CVE-2026-11816": ("GHSA-hqp4-2352-xf5r", "3.14.0"),
    "CVE-2026-12479": ("GHSA-gh82-f9x8-5frx", "3.15.0"),
    "CVE-2026-12480": ("GHSA-26c4-7vv6-867j", "3.15.0"),
    "CVE-2026-12481": ("GHSA-5gwj-m78q-7pq3", "3.15.0"),
    "CVE-2026-12482": ("GHSA-58hv-7753-xmfq", "3.15.0"),
    "CVE-2026-12484": ("GHSA-v2w2-w228-c444", "3.15.0"),
    "CVE-2026-12570": ("GHSA-74m6-m3xx-3vmj", "3.15.0"),
    # without a number: members of a .keras file that inflate to a full disk; links in the groups of a path
    "keras-team/keras#23101": ("", "3.15.1"),
    "keras-team/keras#23168": ("", "3.15.1")}
SECRET = b"the secret of another file, 32 B"


def to_numbers(version):
    return tuple(map(int, re.findall(r"\d+", version)))


def read_lowest_keras():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return re.search(r"^keras>=([\d.]+)$", setup["options"]["install_requires"], re.MULTILINE)[1]


def test_the_lowest_keras_has_none_of_the_faults():
    lowest = read_lowest_keras()
    assert to_numbers(lowest) == max(to_numbers(fixed) for _, fixed in ADVISORIES.values())
    assert f"keras=={lowest}\n" in (ROOT / "tox.ini").read_text()
    assert to_numbers(keras.__version__)[:3] >= to_numbers(lowest)


def test_every_advisory_has_its_test():
    text = pathlib.Path(__file__).read_text()
    assert not [name for name in ADVISORIES if len(re.findall(re.escape(name), text)) < 2]


@pytest.fixture
def mark(tmp_path):
    """A folder that the attacks try to make."""
    return tmp_path / "attacked"


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """{member: data} of a good file: a Dense layer of eight units."""
    image = keras.Input((1,), name="image")
    model = keras.Model(image, keras.layers.Dense(8, name="dense")(image), name="net")
    path = tmp_path_factory.mktemp("good") / "net.keras"
    reskeras.save(model, path)
    return unpack(path)


def refuse(path, *, ours=True, error=Exception):
    """Neither Keras nor we load the file."""
    with pytest.raises(error):
        keras.saving.load_model(path)
    if ours:
        with pytest.raises(ValueError, match=re.escape(str(path))):
            reskeras.load(path)


def write_attack(tmp_path, members, layer, name="attack"):
    """A file with one more entry of `layers`, which is made, and called, while the file is loaded."""
    def change(config):
        config["config"]["layers"].insert(1, {"name": name, "registered_name": None, **layer})
    path = tmp_path / f"{name}.keras"
    path.write_bytes(change_config(members, change))
    return path


def function(module, name, *arguments, **keywords):
    """The config of a function as one of the layers, and of a call of it."""
    return {"module": module, "class_name": "function", "config": name, "registered_name": name,
            "inbound_nodes": [{"args": list(arguments), "kwargs": keywords}]}


# Code in config.json

@pytest.mark.parametrize("module", ["os", "keras.src.saving.saving_lib.os", "builtins"])
def test_functions_of_any_module(module, tmp_path, members, mark):
    """CVE-2025-1550"""
    attack = function(module, "mkdir", str(mark))
    refuse(write_attack(tmp_path, members, attack))
    path = tmp_path / "initializer.keras"
    path.write_bytes(change_config(members, lambda config: config["config"]["layers"][1]["config"].update(
        kernel_initializer=attack)))
    refuse(path)
    assert not mark.exists()


def refuse_function(path):
    """Keras does not even look the function up."""
    with pytest.raises((TypeError, ValueError), match="not a modeling function"):
        keras.saving.load_model(path)
    refuse(path)


def test_functions_of_keras_that_write_files(tmp_path, members, mark):
    """CVE-2025-8747"""
    (tmp_path / "source").write_bytes(SECRET)
    mark.mkdir()
    keywords = {"origin": (tmp_path / "source").as_uri(), "cache_dir": str(mark), "cache_subdir": ""}
    refuse_function(write_attack(tmp_path, members, function("keras.utils", "get_file", "copy", **keywords)))
    assert not list(mark.iterdir())


@pytest.mark.parametrize("module, name", [
    ("keras.config", "set_epsilon"), ("keras.distribution", "set_distribution"),
    ("keras.utils", "set_random_seed"), ("keras.backend", "set_epsilon")])
def test_functions_of_keras_that_change_its_settings(module, name, tmp_path):
    """Keras calls them as the function of a Lambda; we do not."""
    image = keras.Input((3,))
    reskeras.save(keras.Model(image, keras.layers.Lambda(keras.ops.relu)(image)), tmp_path / "net.keras")
    attack = {"module": module, "class_name": "function", "config": name, "registered_name": name}
    path = tmp_path / "attack.keras"
    path.write_bytes(change_config(unpack(tmp_path / "net.keras"), lambda config: config["config"]["layers"][
        1]["config"].update(function=attack)))
    with pytest.raises(ValueError, match="attack.keras.*is no part of a model"):
        reskeras.load(path)
    assert reskeras.load(tmp_path / "net.keras") and isinstance(keras.config.epsilon(), float)


def make_lambda(mark):
    """A model whose Lambda makes a folder when it is called while $ATTACK is set."""
    attack = f"__import__('os').environ.get('ATTACK') and __import__('os').mkdir({str(mark)!r})"
    code = f"lambda x: ({attack}, x)[1]"
    image = keras.Input((1,))
    return keras.Model(image, keras.layers.Lambda(eval(code), output_shape=(1,), name="attack")(image))


def test_safe_mode_switched_off_by_the_file(tmp_path, mark, monkeypatch):
    """CVE-2025-9906"""
    keras.saving.save_model(make_lambda(mark), tmp_path / "lambda.keras")
    monkeypatch.setenv("ATTACK", "1")
    lambdas = unpack(tmp_path / "lambda.keras")
    refuse(tmp_path / "lambda.keras")
    refuse_function(write_attack(tmp_path, lambdas,
                                 function("keras.config", "enable_unsafe_deserialization")))
    refuse(tmp_path / "lambda.keras")       # it was not switched off before the error either
    assert not mark.exists()


def test_safe_mode_in_legacy_files(tmp_path, mark, monkeypatch):
    """CVE-2025-9905"""
    keras.saving.save_model(make_lambda(mark), tmp_path / "lambda.h5")
    monkeypatch.setenv("ATTACK", "1")
    refuse(tmp_path / "lambda.h5")
    assert not mark.exists()


def test_lambda_outside_of_safe_mode(mark, monkeypatch):
    """CVE-2026-12481"""
    model = make_lambda(mark)
    config = keras.saving.serialize_keras_object(model.layers[1])
    monkeypatch.setenv("ATTACK", "1")
    for attack in (lambda: keras.layers.deserialize(config)(keras.Input((1,))),
                   lambda: keras.layers.Lambda.from_config(config["config"])(keras.Input((1,))),
                   lambda: keras.models.clone_model(model)):
        with pytest.raises(ValueError, match="Lambda"):
            attack()
    assert not mark.exists()


class MakeFolder:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def make_torch_layer(mark):
    """The config of a TorchModuleWrapper; torch.load reads a bare pickle as a file of its first format."""
    module = base64.b64encode(pickle.dumps(MakeFolder(mark), protocol=2)).decode()
    return {"name": "attack", "module": module, "output_shape": None}


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="torch is not installed; `tox -e torch` runs this test")


def test_the_attack_on_torch_is_one(torch, mark):
    """Otherwise the next tests would prove nothing."""
    data = base64.b64decode(make_torch_layer(mark)["module"])
    with contextlib.suppress(Exception):
        torch.load(io.BytesIO(data), weights_only=False)
    assert mark.exists()


def test_torch_modules(torch, tmp_path, members, mark):
    """CVE-2025-49655"""
    layer = {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": make_torch_layer(mark),
             "inbound_nodes": []}
    refuse(write_attack(tmp_path, members, layer), error=ValueError)
    assert not mark.exists()


def test_torch_modules_outside_of_safe_mode(torch, mark):
    """CVE-2026-12484"""
    with pytest.raises(ValueError, match="torch.load"):
        keras.layers.TorchModuleWrapper.from_config(make_torch_layer(mark))
    assert not mark.exists()


def test_saved_models_inside_of_layers(tmp_path, members, mark):
    """CVE-2026-1462"""
    tf = pytest.importorskip("tensorflow")

    class Attack(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 1))])
        def serve(self, x):
            tf.io.write_file(str(mark), "attacked")
            return x
    tf.saved_model.save(Attack(), tmp_path / "saved", signatures={"serve": Attack().serve})

    layer = {"module": "keras.layers", "class_name": "TFSMLayer", "inbound_nodes": [],
             "config": {"filepath": str(tmp_path / "saved"), "call_endpoint": "serve", "name": "attack"}}
    refuse(write_attack(tmp_path, members, layer), error=Exception)
    with pytest.raises(ValueError, match="TFSMLayer"):
        keras.layers.TFSMLayer.from_config(layer["config"])
    assert not mark.exists()


# Files that config.json names

@pytest.mark.parametrize("kind", ["StringLookup", "TextVectorization"])
def test_vocabularies_of_other_files(kind, tmp_path):
    """CVE-2025-12058"""
    (tmp_path / "secret").write_bytes(SECRET)
    text = keras.Input((1,), dtype="string")
    lookup = getattr(keras.layers, kind)(vocabulary=["a", "b"], name="lookup")
    reskeras.save(keras.Model(text, lookup(text)), tmp_path / "net.keras")
    members = unpack(tmp_path / "net.keras")
    assert "b" in reskeras.load(tmp_path / "net.keras").get_layer("lookup").get_vocabulary()

    path = tmp_path / "attack.keras"
    path.write_bytes(change_config(members, lambda config: config["config"]["layers"][1]["config"].update(
        vocabulary=str(tmp_path / "secret"))))
    for load in (keras.saving.load_model, reskeras.load):
        with contextlib.suppress(ValueError, TypeError):
            words = load(path).get_layer("lookup").get_vocabulary()
            assert not [word for word in words if "secret" in word]


def test_layers_with_the_names_of_folders(tmp_path, monkeypatch):
    """CVE-2026-12479"""
    inner = tmp_path / "some" / "where" / "inside"
    inner.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(inner))
    text = keras.Input((1,), dtype="string")
    lookup = keras.layers.StringLookup(vocabulary=["a", "b"], name="..")
    model = keras.Model(text, lookup(text))
    path = inner / "net.keras"
    for step in (model.save, keras.saving.load_model, reskeras.load):
        with contextlib.suppress(ValueError):
            step(path)
        assert sorted(file.name for file in tmp_path.rglob("*")) in (
            ["inside", "some", "where"], ["inside", "net.keras", "some", "where"])

    store = saving_lib.DiskIOStore("assets", mode="w")      # where such names would become folders
    for name in ("../../escaped", "layers/../../../escaped", "/escaped", "..\\..\\escaped"):
        with pytest.raises(ValueError, match="escapes the asset directory"):
            store.make(name)
    store.close()


# Archives

def write_tar(path, *infos):
    """A .tar.gz with (name, link target or None, data)."""
    with tarfile.open(path, "w:gz") as archive:
        for name, target, data in infos:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = (tarfile.SYMTYPE, target) if target else (tarfile.REGTYPE, "")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def extract(archive, folder):
    folder.mkdir(parents=True)      # if it is missing, Keras takes another one
    with contextlib.suppress(Exception):        # to refuse the archive is right too
        keras.utils.get_file(archive.name, archive.as_uri(), cache_dir=folder, cache_subdir="in",
                             extract=True)
    assert list(folder.glob("in/*"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("members", [
    pytest.param([("a", None, b"x"), ("../../../ESCAPED", None, b"x")], id="CVE-2025-12060"),
    pytest.param([("link", "../../..", b""), ("link/ESCAPED", None, b"x")], id="CVE-2025-12638"),
    pytest.param([("link", ".", b""), ("link/../../../../ESCAPED", None, b"x")], id="CVE-2026-12482")])
def test_archives_that_leave_their_folder(members, tmp_path, monkeypatch):
    """CVE-2026-11816 is the first of them while the current folder is the root of the file system."""
    monkeypatch.chdir("/")
    extract(write_tar(tmp_path / "attack.tar.gz", *members), tmp_path / "deep" / "cache")
    assert not list(tmp_path.rglob("ESCAPED")) or all(
        (tmp_path / "deep" / "cache" / "in").resolve() in file.resolve().parents
        for file in tmp_path.rglob("ESCAPED"))


def test_members_that_leave_their_folder(tmp_path, members, monkeypatch):
    """The same for a .keras file, whose members Keras extracts if there are more than three."""
    monkeypatch.chdir("/")
    path = tmp_path / "net.keras"
    path.write_bytes(pack({**members, "assets/a": b"x", "../../../ESCAPED": b"x", "/ESCAPED": b"x"}))
    with pytest.raises(ValueError, match="would be unpacked outside of the target folder"):
        reskeras.load(path)


def test_members_that_fill_the_disk(tmp_path, members):
    """keras-team/keras#23101"""
    path = tmp_path / "net.keras"
    path.write_bytes(pack({**members, "assets/a": bytes(2 ** 28 + 1)}, zipfile.ZIP_DEFLATED))
    refuse(path, error=ValueError)


# HDF5

def link_group(file, name, other):
    del file[name]
    file[name] = h5py.ExternalLink(str(other), name)


def make_external_storage(file, name, secret, other):
    shape = file[name].shape
    del file[name]
    file.create_dataset(name, shape, "f4", external=[(str(secret), 0, h5py.h5f.UNLIMITED)])


def make_virtual(file, name, secret, other):
    shape = file[name].shape
    del file[name]
    layout = h5py.VirtualLayout(shape, "f4")
    layout[...] = h5py.VirtualSource(str(other), name, shape)
    file.create_virtual_dataset(name, layout)


def make_external_link(file, name, secret, other):
    link_group(file, name, other)


def make_linked_group(file, name, secret, other):
    link_group(file, name.rpartition("/")[0], other)


def make_linked_path(file, name, secret, other):
    link_group(file, "/".join(name.split("/")[:2]), other)


HDF5_ATTACKS = [pytest.param(make_external_storage, id="CVE-2026-1669"),
                pytest.param(make_virtual, id="CVE-2026-12480"),
                pytest.param(make_external_link, id="CVE-2026-9335 data set"),
                pytest.param(make_linked_group, id="CVE-2026-9335 group"),
                pytest.param(make_linked_path, id="keras-team/keras#23168")]


def attack_weights(attack, data, folder, name):
    """An HDF5 file whose data set `name` comes from another file."""
    (folder / "secret").write_bytes(SECRET)
    (folder / "other.h5").write_bytes(data)
    with h5py.File(folder / "other.h5", "r+") as other:
        other[name][...] = np.frombuffer(SECRET, "f4")
    stream = io.BytesIO(data)
    with h5py.File(stream, "r+") as file:
        attack(file, name, folder / "secret", folder / "other.h5")
    return stream.getvalue()


def find_bias(data):
    """The name of the data set with eight numbers in one axis."""
    names = []
    with h5py.File(io.BytesIO(data)) as file:
        file.visititems(lambda name, item: names.append((getattr(item, "shape", None), name)))
    return dict(names)[8,]


def knows_secret(model):
    return any(SECRET in np.asarray(value).tobytes() for value in model.get_weights())


@pytest.mark.parametrize("attack", HDF5_ATTACKS)
def test_weights_of_other_files(attack, tmp_path, members):
    data = attack_weights(attack, members[WEIGHTS], tmp_path, find_bias(members[WEIGHTS]))
    path = tmp_path / "net.keras"
    path.write_bytes(pack({**members, WEIGHTS: data}))
    refuse(path, error=ValueError)


@pytest.mark.parametrize("attack", HDF5_ATTACKS)
@pytest.mark.parametrize("is_legacy", [False, True])
def test_files_of_weights_of_other_files(attack, is_legacy, tmp_path):
    image = keras.Input((1,))
    model = keras.Model(image, keras.layers.Dense(8, name="dense")(image))
    path = tmp_path / ("net.h5" if is_legacy else "net.weights.h5")
    model.save(path) if is_legacy else model.save_weights(path)
    data = path.read_bytes()
    path.write_bytes(attack_weights(attack, data, tmp_path, find_bias(data)))
    for read in (model.load_weights, keras.saving.KerasFileEditor):
        if read == keras.saving.KerasFileEditor and is_legacy:
            continue
        with pytest.raises((ValueError, KeyError)):
            read(str(path))
    assert not knows_secret(model)


SHAPE_BOMB = """
import pathlib, resource, sys
import keras, reskeras
reskeras.load(sys.argv[1])
used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2 * 2 ** 30,) * 2)
for read in (keras.saving.load_model, keras.saving.KerasFileEditor, reskeras.load):
    try:
        read(sys.argv[2])
        print(read, "accepts it")
    except ValueError as error:
        print(error) if "emory" in str(error).replace("readable_memory", "") else None
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc to know the memory in use")
def test_weights_of_impossible_shapes(tmp_path, members):
    """CVE-2026-0897 (KerasFileEditor), CVE-2026-12570 (load_model)"""
    stream = io.BytesIO(members[WEIGHTS])
    with h5py.File(stream, "r+") as file:
        name = find_bias(members[WEIGHTS])
        del file[name]
        file.create_dataset(name, (50_000_000, 50_000_000), "f4", chunks=(1024, 1024), compression="gzip")
    (tmp_path / "good.keras").write_bytes(pack(members))
    (tmp_path / "net.keras").write_bytes(pack({**members, WEIGHTS: stream.getvalue()}))
    done = subprocess.run([sys.executable, "-c", SHAPE_BOMB, tmp_path / "good.keras", tmp_path / "net.keras"],
                          text=True, capture_output=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr[-3000:]
