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
    with pytest.raises(ValueError, match="^key='backbone': expected None, because only PyTorch's files have"):
        reskeras.load_weights(build(), file, key="backbone")
    model = build()
    reskeras.load_weights(model, file)
    same(model, trained)


def test_what_is_no_model_or_no_path(trained):
    with pytest.raises(TypeError, match="model='resnet18': expected a keras.Model"):
        reskeras.load_weights("resnet18", "net.pth")
    with pytest.raises(TypeError, match="path=None: expected the path of a file of weights"):
        reskeras.load_weights(trained, None)
