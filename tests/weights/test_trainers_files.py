"""Files as trainers write them: entries, prefixes, averaged weights, other objects beside the tensors."""
import argparse
import collections
import io
import os
import pickle
import re

import ml_dtypes
import numpy as np
import pytest
from checkpoints import build_cifar as build
from checkpoints import randomized, same, torch_arrays
from safetensors.numpy import save_file
from torch_writer import Module, save_torch

import reskeras
from reskeras.weights.pickle_data import Call, read_pickle


@pytest.fixture(scope="module")
def trained():
    return randomized(build())


@pytest.fixture(scope="module")
def arrays(trained):
    return torch_arrays(trained)


@pytest.fixture
def write(tmp_path):
    def write(content, name="net.pth", legacy=False):
        (tmp_path / name).write_bytes(save_torch(content, legacy))
        return tmp_path / name
    return write


def with_prefix(arrays, prefix):
    return {prefix + name: array for name, array in arrays.items()}


def zeros(arrays):
    return {name: np.zeros_like(array) for name, array in arrays.items()}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "backbone.", "encoder.", "net.", "_orig_mod.",
                                    "module._orig_mod.", "student.backbone.body."])
def test_prefixes(trained, arrays, write, prefix, legacy, capsys):
    counters = {"bn1.num_batches_tracked": np.int64(3) * np.ones((), "int64")}
    file = write(with_prefix(arrays | counters, prefix), legacy=legacy)
    same(build(weights=file), trained)
    said = capsys.readouterr().err
    shown = prefix.replace("_orig_mod.", "")
    assert (f"the names of its tensors begin with {shown!r}" in said) == bool(shown)


@pytest.mark.parametrize("name", ["net.pth", "net.pt", "net.ckpt", "net.pth.tar", "pytorch_model.bin"])
def test_endings(trained, arrays, write, name):
    same(build(weights=write({"state_dict": arrays}, name)), trained)


def test_the_content_says_the_format(tmp_path, trained, arrays):
    save_file(arrays, tmp_path / "net.ckpt")
    same(build(weights=tmp_path / "net.ckpt"), trained)
    trained.save_weights(tmp_path / "a.weights.h5")
    os.rename(tmp_path / "a.weights.h5", tmp_path / "net.bin")
    same(build(weights=tmp_path / "net.bin"), trained)


def test_a_trainer_s_file(trained, arrays, write, capsys):
    """Everything beside the tensors is skipped, whatever class it has; the averages are taken."""
    content = collections.OrderedDict(
        epoch=3, args=argparse.Namespace(lr=0.1, names=["a"]), arch="resnet20", path=io.BytesIO,
        optimizer={"state": {0: {"exp_avg": arrays["fc.bias"]}}, "param_groups": [{"lr": 0.1}]},
        state_dict=zeros(arrays), state_dict_ema=collections.OrderedDict(with_prefix(arrays, "module.")))
    file = write(content)
    same(build(weights=file), trained)
    said = capsys.readouterr().err
    assert "the averaged weights 'state_dict_ema' are loaded; " in said
    model = build()
    advice = re.search(r"reskeras\.load_weights\(.*?\)", said)[0]
    eval(advice, {"reskeras": reskeras, "model": model, "path": file})
    assert not any(v.numpy().any() for v in model.get_layer("conv1_conv").weights)


def test_parts_of_a_wrapper(trained, arrays, write, capsys):
    loss = {"criterion.weight": np.zeros(3, "float32")}
    file = write({"state_dict": with_prefix(arrays, "backbone.") | loss})
    same(build(weights=file), trained)
    assert "1 other tensors do not belong to the net: criterion.weight" in capsys.readouterr().err


def test_two_nets_in_a_file(trained, arrays, write):
    file = write({"state_dict": with_prefix(arrays, "module.encoder_q.")
                  | with_prefix(zeros(arrays), "module.encoder_k.")})
    with pytest.raises(ValueError, match=r"key=None: expected one of 'module.encoder_k', 'module.encoder_q'"):
        build(weights=file)
    model = build()
    for key in ("encoder_q", "module.encoder_q"):
        reskeras.load_weights(model, file, key=key)
        same(model, trained)
    with pytest.raises(ValueError, match="did you mean 'module.encoder_q'"):
        reskeras.load_weights(model, file, key="module.encoder_g")
    entries = write({"first": arrays, "second": zeros(arrays), "n": 3})
    with pytest.raises(ValueError, match="several dicts of tensors.*'first', 'second'") as error:
        build(weights=entries)
    advice = re.search(r"reskeras\.load_weights\(.*?\)", str(error.value))[0].replace("...", "'first'")
    eval(advice, {"reskeras": reskeras, "model": model, "path": entries})
    same(model, trained)


def test_the_classes_are_those_of_the_file(arrays, write, capsys):
    seven = {name: array[:7] if name.startswith("fc.") else array for name, array in arrays.items()}
    for prefix in ("", "model."):
        model = reskeras.CifarResNet20(weights=write(with_prefix(seven, prefix)), input_shape=(16, 16, 1),
                                       depths=(1, 1, 1))
        assert model.output_shape == (None, 7)
        np.testing.assert_array_equal(model.get_layer("predictions").weights[0].numpy(), seven["fc.weight"].T)
    assert "7 classes, as the file has" in capsys.readouterr().err
    with pytest.raises(ValueError, match="the file has 7 classes"):
        build(weights=write(seven), classes=10)


def test_what_a_file_is_instead(tmp_path, arrays, write):
    with pytest.raises(ValueError, match="no tensors by name; it has 'checkpoint', 'epoch'"):
        build(weights=write({"checkpoint": {"model": arrays}, "epoch": 3}))
    for content, message in ((b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "pointer of Git"),
                             (b"<!DOCTYPE html><html></html>", "a page of HTML")):
        (tmp_path / "net.pth").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            build(weights=tmp_path / "net.pth")


def test_parts(tmp_path, trained):
    file = tmp_path / "net.weights.json"
    trained.save_weights(file, max_shard_size=0.0002)
    parts = sorted(tmp_path.glob("*.weights.h5"))
    assert len(parts) == 2
    same(build(weights=file), trained)
    text = file.read_text()
    for name, message in (("../net_00001.weights.h5", "in the same folder"),
                          ("net_00009.weights.h5", "does not exist"), ("net.h5", "in the same folder")):
        file.write_text(text.replace(parts[1].name, name))
        with pytest.raises(ValueError, match=message):
            build(weights=file)
    for content in ("{", "{}", '{"weight_map": {"a": 3}}', '{"weight_map": []}'):
        file.write_text(content)
        with pytest.raises(ValueError, match="net.weights.json"):
            build(weights=file)


def test_bfloat16(arrays, write):
    half = {name: array.astype(ml_dtypes.bfloat16) for name, array in arrays.items()}
    for legacy in (False, True):
        model = build(weights=write(half, legacy=legacy))
        np.testing.assert_array_equal(model.get_layer("predictions").weights[1].numpy(),
                                      half["fc.bias"].astype("float32"))


def test_a_net_as_an_object(arrays, write):
    for content in (Module(arrays), {"model": Module(arrays), "epoch": 3}):
        with pytest.raises(ValueError, match="an object of the class torchvision.models.resnet.ResNet, which "
                           r"only the net's own code can open; .*state_dict\(\)"):
            build(weights=write(content))


def test_nothing_changes_if_it_fails(arrays, write):
    model = randomized(build())
    before = model.get_weights()
    file = write(arrays)
    data = bytearray(file.read_bytes())
    for damaged in (data[:len(data) // 2], data[:200], b"", b"\x80\x02",
                    data.replace(b"FloatStorage", b"FlootStorage")):
        file.write_bytes(damaged)
        with pytest.raises(ValueError) as caught:
            reskeras.load_weights(model, file)
        assert str(caught.value).startswith(str(file)) and "\n" not in str(caught.value)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


class Attack:
    def __init__(self, function, *arguments):
        self.made = function, arguments

    def __reduce__(self):
        return self.made


def test_nothing_in_a_file_is_executed(tmp_path, arrays, write):
    mark = tmp_path / "executed"
    attack = Attack(os.system, f"touch {mark}")
    build(weights=write({"state_dict": arrays, "args": attack, "other": Attack(open, str(mark), "w")}))
    file = tmp_path / "plain.pth"
    for data in (pickle.dumps(attack), save_torch(attack)):
        file.write_bytes(data)
        with pytest.raises(ValueError):
            build(weights=file)
    assert not mark.exists()
    made = read_pickle(io.BytesIO(pickle.dumps({"a": Attack(os.system, "true")})))
    assert isinstance(made["a"], Call) and made["a"].function.name.endswith(".system")


@pytest.mark.parametrize("name, pickled", {
    "a huge memo": b"\x80\x02K\x01r\xff\xff\xff\x7f.", "a cycle": b"\x80\x02]q\x00h\x00a.",
    "a text without its bytes": b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x00.",
    "no values": b"\x80\x02R.", "no mark": b"\x80\x02u.", "unknown memo": b"\x80\x02h\x05.",
    "deep": b"\x80\x02)" + b"\x85" * 10 ** 6 + b".", "no end": b"\x80\x02]",
    "an extension": b"\x80\x02\x82\x01."}.items())
def test_odd_pickles(tmp_path, name, pickled):
    import zipfile
    with zipfile.ZipFile(tmp_path / "net.pth", "w") as archive:
        archive.writestr("net/data.pkl", pickled)
    with pytest.raises(ValueError, match=r"net.pth cannot be read as a .pth file"):
        build(weights=tmp_path / "net.pth")


def test_storages(tmp_path, arrays, write):
    """A storage that is shorter than its tensor, and one that many tensors share with strides of zero."""
    import zipfile
    file = write(arrays)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for cut in (0, 4):
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data[:cut] if name == "net/data/0" else data)
        with pytest.raises(ValueError, match="its member 'net/data/0' is missing, or does not have"):
            build(weights=file)


def test_the_real_torch_writes_such_files(tmp_path, trained, arrays):
    torch = pytest.importorskip("torch", reason="`tox -e torch` runs it")
    tensors = {name: torch.nn.Parameter(torch.from_numpy(array.copy())) for name, array in arrays.items()}
    views = {name: torch.from_numpy(np.ascontiguousarray(array.T)).permute(*range(array.ndim)[::-1])
             for name, array in arrays.items()}
    for content in (tensors, views, {"state_dict": tensors, "args": argparse.Namespace(lr=3)}):
        for zipped in (True, False):
            torch.save(content, tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
            same(build(weights=tmp_path / "net.pth"), trained)
    torch.save(torch.nn.Linear(2, 2), tmp_path / "net.pth")
    with pytest.raises(ValueError, match="an object of the class torch.nn.modules.linear.Linear"):
        build(weights=tmp_path / "net.pth")
