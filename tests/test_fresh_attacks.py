"""Small files that would take all memory, or more time than anybody waits; and what is not refused."""
import json
import re
import struct
import subprocess
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest
from h5py import h5f, h5g, h5p
from keras_files import CONFIG, pack, unpack

import reskeras
from reskeras.cli import main
from reskeras.weights.hdf5 import open_hdf5

TEXT = h5py.string_dtype()


def _nest_long_names(file):
    group = file
    for _ in range(5):
        group = group.create_group("b" * 1000)
    for i in range(10):
        group.create_group(str(i))


def _nest_deeply(file):
    group = file
    for _ in range(1500):
        group = group.create_group("b")


def _list_long_names(file):
    file.attrs.create("layer_names", ["./" * 2 ** 10 + "a"] * 3, dtype=TEXT)


def _list_long_names_of_fixed_size(file):
    file.attrs["layer_names"] = np.array([b"./" * 2 ** 10 + b"a"] * 3)


@pytest.mark.parametrize("write", [_nest_long_names, _nest_deeply, _list_long_names,
                                   _list_long_names_of_fixed_size])
def test_names_in_hdf5_files_are_short(tmp_path, write):
    path = tmp_path / "net.h5"
    with h5py.File(path, "w", libver="latest") as file:
        write(file)
    with pytest.raises(ValueError, match="more than 2,000 letters"), open_hdf5(path):
        pass


def test_attributes_of_one_heap_have_a_limit_together(tmp_path, monkeypatch):
    """A hundred attributes that each are within the limit."""
    path = tmp_path / "net.h5"
    with h5py.File(path, "w", libver="earliest") as file:
        file.attrs.create("text", "x" * 2 ** 20, dtype=TEXT)
        for i in range(100):
            file.attrs.create(f"layer_names{i}", "y", dtype=TEXT)
    data = path.read_bytes()
    heaps = [struct.pack("<Q", m.start()) for m in re.finditer(b"GCOL\x01", data)]
    references = [m[0] for m in re.finditer(rb"(?s)(.{4})(.{8}).{4}", data) if m[2] in heaps]
    large = re.search(rb"(?s)" + struct.pack("<I", 2 ** 20) + b"(" + b"|".join(map(re.escape, heaps))
                      + rb").{4}", data)[0]
    small = rb"(?s)" + struct.pack("<I", 1) + b"(" + b"|".join(map(re.escape, heaps)) + rb").{4}"
    path.write_bytes(re.sub(small, lambda _: large, data))
    assert references and large
    with open_hdf5(path) as file:
        assert len(file.attrs["layer_names7"]) == 2 ** 20

    monkeypatch.setattr("reskeras.weights.hdf5._MAX_TEXT", 2 ** 25)
    with pytest.raises(ValueError, match="the texts of its attributes have more than"), open_hdf5(path):
        pass


def test_groups_with_compressed_names_are_refused(tmp_path):
    """A megabyte can have gigabytes of names."""
    class Gzip(h5p.PropDCID):
        pass
    properties = h5p.create(h5p.GROUP_CREATE)
    h5py.h5i.inc_ref(properties)
    Gzip(properties.id).set_deflate(9)
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_libver_bounds(h5f.LIBVER_LATEST, h5f.LIBVER_LATEST)
    path = tmp_path / "net.h5"
    with h5py.File(h5f.create(bytes(path), fapl=access)) as file:
        h5g.create(file.id, b"layers", gcpl=properties)
    with pytest.raises(ValueError, match="/layers is a group with compressed names"), open_hdf5(path):
        pass


def _make_nested_net():
    image = keras.Input((8,))
    inner = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="big")], name="inner")
    return keras.Model(image, keras.layers.Activation("relu", name="last")(inner(image)))


def _change(config, units):
    """Another size of the layer "big", and a class that nobody registered at the end."""
    if isinstance(config, dict):
        if config.get("name") == "big" and "units" in config:
            config["units"] = units
        if config.get("class_name") == "Activation":
            config.update(class_name="Foo", registered_name="Foo>Foo", module=None)
    for part in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        _change(part, units)
    return config


def test_an_unknown_class_does_not_hide_a_huge_layer(tmp_path):
    """It is refused before anything is built; a registered one does not hide the layer either."""
    reskeras.save(_make_nested_net(), tmp_path / "net.keras")
    members = unpack(tmp_path / "net.keras")
    config = _change(json.loads(members[CONFIG]), 2 ** 38)
    (tmp_path / "net.keras").write_bytes(pack({**members, CONFIG: json.dumps(config)}))
    with pytest.raises(ValueError, match="net.keras.*it has Foo, registered as 'Foo>Foo'"):
        reskeras.load(tmp_path / "net.keras")
    with keras.saving.custom_object_scope({"Foo>Foo": type("Foo", (keras.layers.Activation,), {})}):
        with pytest.raises(ValueError, match="net.keras.*its model has 2,473,901,162,496"):
            reskeras.load(tmp_path / "net.keras")


def test_a_config_of_many_empty_lists_is_refused(tmp_path):
    reskeras.save(_make_nested_net(), tmp_path / "net.keras")
    members = unpack(tmp_path / "net.keras")
    members[CONFIG] = members[CONFIG][:-1] + b',"z":[' + b"[]," * 6_000_000 + b"1]}"
    with zipfile.ZipFile(tmp_path / "net.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(ValueError, match="net.keras.*is larger than 16,777,216 bytes"):
        reskeras.load(tmp_path / "net.keras")


def test_a_registered_class_may_need_values_while_it_is_built(tmp_path):
    @keras.saving.register_keras_serializable("fresh_attacks")
    class Normalized(keras.layers.Dense):
        def build(self, input_shape):
            super().build(input_shape)
            self.kernel.assign(np.asarray(keras.ops.convert_to_numpy(self.kernel)) / 2)

    reskeras.save(keras.Sequential([keras.Input((8,)), Normalized(4)]), tmp_path / "net.keras")
    assert reskeras.load(tmp_path / "net.keras").count_params() == 36


def test_so_many_threads_are_an_error_of_one_line(tmp_path):
    with pytest.raises(ValueError, match="threads=100000: expected at most 1024"):
        from reskeras.exporters.formats import open_file
        open_file(tmp_path / "net.tflite", threads=100_000)


@pytest.mark.parametrize("name, value, message", [
    ("threads", 100_000, "threads=100000: expected at most 1024"),
    ("batch_size", 10 ** 19, "batch_size=1(0*): expected at most 1,048,576 images of 256 numbers")])
def test_export_says_at_once_that_a_number_is_too_large(name, value, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        reskeras.export(reskeras.create("cifar_resnet20.digits"), tmp_path / "net.tflite", **{name: value})
    assert not list(tmp_path.iterdir())


def test_a_full_disk_names_the_file(tmp_path):
    code = """if True:
        import resource, signal, sys
        from reskeras.files import write_bytes
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            write_bytes(sys.argv[1], bytes(100_000))
        except OSError as error:
            print(error)"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "file"], capture_output=True, text=True)
    assert f"{tmp_path / 'file'} cannot be written: File too large" in done.stdout, done.stderr
    assert not list(tmp_path.iterdir())


def test_a_batch_of_any_size_does_not_end_the_process(capsys):
    """TensorFlow aborts when it cannot reserve the memory of a batch."""
    size = "1" + "0" * 18
    assert main(["evaluate", "cifar_resnet20.digits", "--data", "digits", "--batch-size", size]) == 2
    assert f"--batch-size {size}: expected at most 1,048,576" in capsys.readouterr().err
