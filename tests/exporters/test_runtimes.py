"""ONNX and OpenVINO, where their packages are installed: every family through both, and their bad input."""
import importlib.util

import keras
import numpy as np
import pytest
from tiny import first_stages, tiny, trained

import reskeras
from reskeras.exporters import formats
from reskeras.exporters.formats import FORMATS, open_file
from reskeras.exporters.verify import verify_file
from reskeras.variants import VARIANTS

ONE_PER_FAMILY = ["resnext50_32x4d", "resnetv2_50x1_bit", "skresnext50_32x4d", "resnest50_fast_4s2x40d",
                  "ecaresnet50t",
                  "inception_resnet_v2"]
# slow: other nets have its operations in the same format, grouped convolutions and gates (each format has a
# converter of its own, so that a net in one says nothing about the other)
NOT_IN_BOTH = [(".onnx", "skresnext50_32x4d"), (".xml", "resnext50_32x4d")]
KINDS = {".onnx": {"ONNX Runtime": 1e-4}, ".xml": {"OpenVINO f32": 1e-4, "OpenVINO bf16": 5e-2}}


def installed(suffix):
    missing = [name for name in FORMATS[suffix].packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed")


def cases(rows, *marks):
    return [pytest.param(suffix, row, marks=[installed(suffix), *marks,
                                             *[pytest.mark.slow] * ((suffix, row) in NOT_IN_BOTH)])
            for suffix in KINDS for row in rows]


@pytest.mark.parametrize("suffix, row", cases(ONE_PER_FAMILY) + cases(
    [row for row in VARIANTS if row not in ONE_PER_FAMILY], pytest.mark.slow))
def test_every_family(suffix, row, tmp_path):
    # in bfloat16 the nets with standardized kernels are near the bound, some beyond it
    keras.utils.set_random_seed(0)
    stages = first_stages(row) if row in ONE_PER_FAMILY else {}
    net = trained(tiny(row, classifier_activation=None, **stages))
    path = tmp_path / f"net{suffix}"
    report = reskeras.export(net, path)
    assert report.passed and set(report.runtimes) == set(KINDS[suffix])
    for name, worst in KINDS[suffix].items():
        assert report.runtimes[name].max_relative_difference <= worst
    images = np.random.default_rng(5).normal(size=(3, *net.input_shape[1:])).astype("float32")
    expected = net.predict(images, verbose=0)
    assert np.abs(open_file(path)(images) - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("suffix", [pytest.param(s, marks=installed(s)) for s in KINDS])
def test_shapes_names_and_metadata(suffix, tmp_path):
    net = reskeras.create("cifar_resnet20.digits")
    path = tmp_path / f"net{suffix}"
    reskeras.export(net, path)
    assert open_file(path).shape == (None, 16, 16, 1)
    reskeras.export(net, path, batch_size=2)         # the earlier files are replaced, all of them
    assert open_file(path).shape == (2, 16, 16, 1)
    expected = {f"net{suffix}", f"net{suffix}.json", f"net{suffix}.npz"}
    expected |= {"net.bin"} if suffix == ".xml" else set()
    assert {f.name for f in tmp_path.iterdir()} == expected
    assert verify_file(path).passed
    data = path.read_bytes()
    assert b"cifar_resnet20.digits" in data and b"images" in data


@pytest.mark.parametrize("suffix", [pytest.param(s, marks=installed(s)) for s in KINDS])
def test_file_that_is_none(suffix, tmp_path):
    (tmp_path / f"net{suffix}").write_bytes(b"no net at all")
    with pytest.raises(ValueError, match="cannot be read as a"):
        open_file(tmp_path / f"net{suffix}")


def test_missing_package_says_what_to_install(tmp_path, monkeypatch):
    found = importlib.util.find_spec

    def find_all_but_one(name, *rest):
        return None if name == "tf2onnx" else found(name, *rest)
    monkeypatch.setattr(formats.importlib.util, "find_spec", find_all_but_one)
    with pytest.raises(ImportError, match=r'ONNX files need tf2onnx: pip install "reskeras\[onnx\]"'):
        reskeras.export(tiny("cifar_resnet20"), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_unknown_runtime_is_named(tmp_path):
    (tmp_path / "net.xml").write_text("")
    with pytest.raises(ValueError, match="did you mean 'OpenVINO bf16'"):
        open_file(tmp_path / "net.xml", runtime="OpenVINO bf")
