"""`key` of reskeras.load_weights: which entries and prefixes it takes, and what it says of others."""
import re

import numpy as np
import pytest
from checkpoints import build_cifar as build
from checkpoints import randomized, same, torch_arrays
from safetensors.numpy import save_file
from torch_writer import save_torch

import reskeras


@pytest.fixture(scope="module")
def trained():
    return randomized(build())


@pytest.fixture(scope="module")
def arrays(trained):
    return torch_arrays(trained)


def test_the_advice_for_several_nets_works(tmp_path, trained, arrays):
    """The builders have no `key`, so the message names the call that has one."""
    file = tmp_path / "net.pth"
    file.write_bytes(save_torch({f"{part}.{name}": array if part == "first" else np.zeros_like(array)
                                 for part in ("first", "second") for name, array in arrays.items()}))
    with pytest.raises(ValueError, match="one of 'first', 'second'.*chooses one") as error:
        build(weights=file)
    advice, model = re.search(r"reskeras\.load_weights\(.*?\)", str(error.value))[0], build()
    eval(advice.replace("...", "'first'"), {"reskeras": reskeras, "model": model, "path": file})
    same(model, trained)


@pytest.mark.parametrize("key", ["layer1.0", "layer1", "state_dict", "", 3])
def test_a_part_of_a_net_is_no_key(tmp_path, trained, arrays, key):
    """Such as "layer1.0", under which a block has the names of the first convolution."""
    model, before = build(), build().get_weights()
    model.set_weights(before)
    save_file(arrays, tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match=f"^key={key!r}: expected an entry of the file") as error:
        reskeras.load_weights(model, tmp_path / "net.safetensors", key=key)
    assert "such as" not in str(error.value)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("name", ["net.keras", "net.weights.h5"])
def test_files_of_keras_have_no_key(tmp_path, trained, name):
    file = tmp_path / name
    trained.save(file) if name == "net.keras" else trained.save_weights(file)
    with pytest.raises(ValueError, match="^key='backbone': expected None, because only files of PyTorch"):
        reskeras.load_weights(build(), file, key="backbone")
    model = build()
    reskeras.load_weights(model, file)
    same(model, trained)


def test_what_is_no_model_or_no_path(trained):
    with pytest.raises(TypeError, match="model='resnet18': expected a keras.Model"):
        reskeras.load_weights("resnet18", "net.pth")
    with pytest.raises(TypeError, match="path=None: expected the path of a file of weights"):
        reskeras.load_weights(trained, None)


def test_an_entry_with_two_nets(tmp_path, trained, arrays):
    """`key` then has the entry and the prefix, as the message says."""
    file, model = tmp_path / "net.pth", build()
    nets = {f"{part}.{name}": array if part == "student" else np.zeros_like(array)
            for part in ("student", "teacher") for name, array in arrays.items()}
    file.write_bytes(save_torch({"first": nets, "second": {"student.fc.bias": arrays["fc.bias"]}}))
    with pytest.raises(ValueError, match="^key='first': expected one of 'first.student', 'first.teacher'"):
        reskeras.load_weights(model, file, key="first")
    reskeras.load_weights(model, file, key="first.student")
    same(model, trained)
    with pytest.raises(ValueError, match="^key='first.studnt': .*did you mean 'first.student'"):
        reskeras.load_weights(model, file, key="first.studnt")


@pytest.mark.parametrize("name, message", [
    ("resnet50.a1_in1k", "did you mean 'resnet50v1_5.a1_in1k'"),
    ("resnet50v1_5.a1_in1k", r"reskeras.get_weights\('resnet50v1_5.a1_in1k'\)\) loads"),
    ("timm/resnet18.a1_in1k", r"reskeras.get_weights\('resnet18.a1_in1k'\)\) loads")])
def test_the_name_of_a_checkpoint_is_no_path(name, message):
    with pytest.raises(ValueError, match=f"^path='{name}': .*{message}") as error:
        reskeras.load_weights(build(), name)
    assert ".bin" not in str(error.value)


def test_the_advice_for_the_name_of_a_checkpoint_works():
    name = "cifar_resnet20.digits"
    model = reskeras.create("cifar_resnet20", weights=None, classes=10,
                            input_shape=reskeras.create(name).input_shape[1:])
    with pytest.raises(ValueError, match="it is the name of published weights") as error:
        reskeras.load_weights(model, name)
    advice = re.search(r"reskeras\.load_weights\(.*\)\)", str(error.value))[0]
    eval(advice, {"reskeras": reskeras, "model": model})
    same(model, reskeras.create(name))


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")
def test_a_quantized_net(tmp_path, arrays):
    save_file(arrays, tmp_path / "net.safetensors")
    model = build()
    model.quantize("int8")
    before = model.get_weights()
    with pytest.raises(ValueError, match="variables of the net without a tensor: predictions.kernel_scale"):
        reskeras.load_weights(model, tmp_path / "net.safetensors")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    with pytest.raises(ValueError, match=r"Keras has quantized it \(model.quantize\)"):
        reskeras.save_weights(model, tmp_path / "new.safetensors")
    assert not (tmp_path / "new.safetensors").exists()
