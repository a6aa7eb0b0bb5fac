"""Files of weights that are not what they should be: an error that says so, and an unchanged net."""
import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

import reskeras
from reskeras.weights.convert import rename_tensors, match_tensors
from reskeras.weights.name_rules import PYTORCH_RULES, get_pytorch_names


def net(**fields):
    return reskeras.CifarResNet20(**{"weights": None, "depths": (1, 1, 1), **fields})


def torch_arrays(model):
    """The net's weights as a PyTorch package would have them."""
    back = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
    return {
        get_pytorch_names(layer.name, v.name)[0]: np.ascontiguousarray(
            v.numpy().transpose(back[len(v.shape)])
        )
        for layer in model.layers
        for v in layer.weights
    }


def test_round_trip(tmp_path):
    model = net()
    save_file(torch_arrays(model), tmp_path / "w.safetensors")
    model.save_weights(tmp_path / "w.weights.h5")
    model.save(tmp_path / "w.keras")
    x = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype("float32")
    for file in ("w.safetensors", "w.weights.h5", "w.keras"):
        np.testing.assert_array_equal(
            net(weights=tmp_path / file).predict_on_batch(x), model.predict_on_batch(x)
        )


def broken(tmp_path, kind):
    arrays = torch_arrays(net())
    if kind == "another net":
        arrays = torch_arrays(reskeras.CifarResNet20(weights=None, depths=(2, 1, 1)))
    elif kind == "missing tensor":
        del arrays["bn1.running_var"]
    elif kind == "left-over tensor":
        arrays["layer9.weight"] = np.zeros(3, "float32")
    elif kind == "wrong shape":
        arrays["fc.weight"] = np.zeros((100, 64), "float32")
    save_file(arrays, tmp_path / "w.safetensors")
    if kind == "truncated":
        data = (tmp_path / "w.safetensors").read_bytes()
        (tmp_path / "w.safetensors").write_bytes(data[:len(data) // 2])
    return tmp_path / "w.safetensors"


@pytest.mark.parametrize(
    "kind, says",
    [
        ("another net", "10 tensors without a variable: layer1.1"),
        ("missing tensor", "conv1_bn.moving_variance"),
        ("left-over tensor", "layer9.weight"),
        ("wrong shape", r"predictions.kernel \(64, 10\)"),
        ("truncated", "cannot be read as a .safetensors file"),
    ],
)
def test_nothing_is_half_loaded(tmp_path, kind, says):
    from reskeras.weights.load import load_weights
    file, model = broken(tmp_path, kind), net()
    before = [v.numpy() for v in model.variables]
    with pytest.raises(ValueError, match=says):
        load_weights(model, file)
    for old, v in zip(before, model.variables):
        np.testing.assert_array_equal(old, v.numpy())


def test_paths(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.safetensors"):
        net(weights=tmp_path / "nowhere.safetensors")
    (tmp_path / "w.onnx").write_bytes(b"x")
    with pytest.raises(ValueError, match="expected a path that ends in one of"):
        net(weights=tmp_path / "w.onnx")


def test_headless_net_leaves_the_head(tmp_path):
    save_file(torch_arrays(net()), tmp_path / "w.safetensors")
    model = net(weights=tmp_path / "w.safetensors", include_top=False, pooling="avg")
    assert model.output_shape == (None, 64)


def test_layers_before_an_input_tensor_are_the_callers(tmp_path):
    save_file(torch_arrays(net()), tmp_path / "w.safetensors")
    image = keras.Input((32, 32, 5))
    adapter = keras.layers.Conv2D(3, 1, name="adapter")
    model = net(weights=tmp_path / "w.safetensors", input_tensor=adapter(image))
    assert model.inputs[0].shape[-1] == 5 and adapter in model.layers


def test_same_tensor_twice_is_refused(monkeypatch):
    from reskeras.weights import convert
    model = net()
    arrays = rename_tensors(model, torch_arrays(model))
    assert len({p.key for p in match_tensors(model, arrays, "file")}) == len(model.weights)
    monkeypatch.setattr(convert, "get_pytorch_names",
                        lambda layer, *rest: get_pytorch_names(layer.replace("_2_", "_1_"), *rest))
    with pytest.raises(
        ValueError, match=r"tensors that fit two variables: layer1\.0\.conv1\.weight "
        r"\(conv2_block1_1_conv\.kernel and conv2_block1_2_conv\.kernel\)"
    ):
        match_tensors(model, rename_tensors(model, torch_arrays(net())), "file")


def test_every_rule_is_used():
    """A rule that no net of the golden set needs is dead, or untested."""
    import json
    import pathlib
    import re
    names = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "names.json").read_text())["layers"]
    layers = {layer for listed in names.values() for layer in listed}
    for pattern, _ in PYTORCH_RULES:
        assert any(re.fullmatch(pattern, layer) for layer in layers), pattern
