"""`save_weights`: names and shapes of the sources, files that load again to the bit, errors, whole files."""
import errno
import hashlib
import json
import pathlib

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny import tiny, tiny_spec, trained

import reskeras
from reskeras.catalog import find_variant, list_source_names
from reskeras.weights import save
from reskeras.weights.convert import list_variables
from reskeras.weights.save_names import LAYOUTS, get_layout

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "pytorch_names.json").read_text())
SOURCES = [name for name in list_source_names() if name.startswith(("timm/", "torchvision/"))]
# one net of each kind of name; the others repeat them with more blocks
QUICK = ["timm/resnet18", "timm/resnet10t", "timm/resnetv2_18d", "timm/resnetv2_50x1_bit", "timm/senet154",
         "timm/legacy_seresnet18", "timm/legacy_senet154", "timm/ecaresnet26t", "timm/skresnet18",
         "timm/skresnet50", "timm/resnest14d", "timm/resnetrs50", "timm/inception_v4",
         "timm/inception_resnet_v2", "torchvision/resnet18", "torchvision/resnext50_32x4d"]


@pytest.fixture(scope="module")
def net():
    """A ResNet-18 with four narrow stages and a classifier of seven classes."""
    return trained(tiny("resnet18", widths=(8, 8, 16, 16), width=1, stem_width=64))


def outline(name):
    """A net without values."""
    keras.utils.clear_session()
    with keras.StatelessScope(initialize_variables=False):
        return reskeras.create(name, weights=None)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK))
                                  for name in SOURCES])
def test_names_and_shapes_are_those_of_the_source(name, monkeypatch):
    model = outline(name)
    variant, _, fields = find_variant(name)
    spec = reskeras.spec.override(variant.spec, fields)
    # the arrays have shapes, but take no memory
    monkeypatch.setattr(keras.ops, "convert_to_numpy", lambda v: np.broadcast_to(np.float32(0), v.shape))
    monkeypatch.setattr(np, "ascontiguousarray", lambda array: array)
    tensors = save.list_tensors(model, get_layout(name), spec)
    lines = sorted(f"{key} {array.shape}" for key, array in tensors.items())
    assert len(tensors) == len(list_variables(model))
    assert [len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]] == GOLDEN[name]


@pytest.mark.parametrize("variant", ["resnet50d", "resnetv2_50", "seresnext50_32x4d", "resnest14",
                                     "skresnext50_32x4d", "ecaresnet26t", "resnetrs50"])
def test_a_file_comes_back_to_the_bit(variant, tmp_path):
    """Keras -> file -> Keras -> file; both files and both nets are equal."""
    spec = tiny_spec(variant)
    stem = {"stem_width": 64, "width": 1, "widths": (16, 32, 64, 128)} if spec.stem == "conv7" else {}
    first = trained(tiny(variant, **stem))
    reskeras.save_weights(first, tmp_path / "one.safetensors")
    second = tiny(variant, **stem, weights=tmp_path / "one.safetensors")
    reskeras.save_weights(second, tmp_path / "two" / "model.safetensors")
    files = [tmp_path / "one.safetensors", tmp_path / "two" / "model.safetensors"]
    assert files[0].read_bytes() == files[1].read_bytes()
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (tmp_path / "two" / "config.json").read_text() == (tmp_path / "config.json").read_text()
    assert find_variant(f"timm/{config['architecture']}")[0].name == variant
    assert config["model_args"]["layers"] == list(spec.depths) and config["num_classes"] == 7


def test_config_has_the_metadata(tmp_path):
    model = reskeras.create("resnet50v1_5", weights=None, classes=3, input_shape=(None, None, 1),
                            depths=(1, 1, 1, 1), widths=(8, 8, 8, 8))
    preprocessing = reskeras.Preprocessing((160, 192), mean=(0.5,), std=(0.25,), interpolation="bilinear",
                                           crop_pct=0.9, test_size=(224, 224), test_crop_pct=1.0)
    model = reskeras.set_metadata(model, preprocessing, ["cat", "dog", "eel"])
    reskeras.save_weights(model, tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text())
    assert config == {
        "architecture": "resnet50", "num_classes": 3, "label_names": ["cat", "dog", "eel"],
        "model_args": {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]},
        "pretrained_cfg": {
            "input_size": [1, 160, 192], "fixed_input_size": False, "num_classes": 3, "pool_size": None,
            "first_conv": "conv1", "classifier": "fc", "mean": [0.5], "std": [0.25],
            "interpolation": "bilinear", "crop_pct": 0.9, "crop_mode": "center",
            "test_input_size": [1, 224, 224], "test_crop_pct": 1.0}}


def test_synsets_have_descriptions(net):
    from reskeras.sharing.timm_config import _describe_classes
    model = reskeras.create("resnet18", weights=None, depths=(1,), widths=(8,))
    described = _describe_classes(reskeras.set_metadata(model, labels="imagenet-1k"), 1000)
    assert described["label_names"][0] == "n01440764"
    assert described["label_descriptions"]["n01440764"].startswith("tench")


def test_torchvision_has_no_config(net, tmp_path):
    reskeras.save_weights(net, tmp_path / "net.safetensors", naming="torchvision")
    assert [file.name for file in tmp_path.iterdir()] == ["net.safetensors"]
    assert load_file(tmp_path / "net.safetensors").keys() >= {"conv1.weight", "fc.bias"}


def test_a_net_without_classifier(tmp_path):
    model = tiny("resnet18", include_top=False, pooling="avg", stem_width=64, width=1, widths=(8,) * 4)
    reskeras.save_weights(model, tmp_path / "net.safetensors")
    assert not any(name.startswith("fc.") for name in load_file(tmp_path / "net.safetensors"))
    assert json.loads((tmp_path / "config.json").read_text())["num_classes"] == 0


@pytest.mark.parametrize("arguments", [{"drop_path_rate": 0.2, "dropout_rate": 0.1},
                                       {"dtype": "mixed_bfloat16"}, {"classifier_activation": None}])
def test_what_does_nothing_at_inference_may_differ(arguments, tmp_path):
    model = tiny("resnet18", **arguments, stem_width=64, width=1, widths=(8,) * 4)
    reskeras.save_weights(model, tmp_path / "net.safetensors")
    assert {a.dtype for a in load_file(tmp_path / "net.safetensors").values()} == {np.dtype("float32")}


def test_another_type(tmp_path):
    import ml_dtypes
    arguments = {"dtype": "bfloat16", "stem_width": 64, "width": 1, "widths": (8,) * 4}
    model = trained(tiny("resnet18", **arguments))
    reskeras.save_weights(model, tmp_path / "net.safetensors")
    again = tiny("resnet18", **arguments, weights=tmp_path / "net.safetensors")
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(np.asarray(a, ml_dtypes.bfloat16), np.asarray(b, ml_dtypes.bfloat16))


def renamed(**arguments):
    return tiny("resnet18", stem_width=64, width=1, widths=(8,) * 4, **arguments)


ERRORS = {
    "no net in timm": (lambda: tiny("resnet50"), {},
                       "timm/resnet50 is another net.*'resnet50v1_5'.*reskeras.save"),
    "torchvision alone lacks it": (lambda: tiny("resnet50d"), {"naming": "torchvision"},
                                   "naming='timm' has it"),
    "a net of CIFAR": (lambda: tiny("cifar_resnet20"), {}, "'cifar_resnet20'.*nearest one"),
    "an unknown naming": (renamed, {"naming": "tim"}, "did you mean 'timm'"),
    "an unknown name of the model": (lambda: renamed(name="own"), {}, "net=None.*'own'"),
    "an unknown net": (renamed, {"net": "resnet19"}, "did you mean"),
    "another net": (renamed, {"net": "resnet50v1_5"}, "'resnet50v1_5'"),
    "another activation": (lambda: renamed(activation="silu"), {},
                           "conv1_relu.*activation='silu', not 'relu'"),
    "an attention": (lambda: renamed(attention="se"), {}, "also has 'conv2_block1_se"),
    "a dilated net": (lambda: renamed(output_stride=8), {}, "conv4_block1|also has|has no layer"),
    "another wiring": (lambda: renamed(order="relu_before_add"), {}, "reads|layer"),
    "a stem that timm does not have": (lambda: tiny("resnet18"), {}, "stem_width=16: expected 64"),
    "sizes that timm does not have": (lambda: tiny("seresnet50v1"), {}, "legacy_seresnet50"),
    "a user's model": (lambda: keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="resnet18"),
                       {}, "expected the net 'resnet18'|input_shape"),
    "a wrong ending": (renamed, {"path": "net.pth"}, r"ends in \.safetensors"),
    "a .keras file": (renamed, {"path": "net.keras"}, "reskeras.save writes"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_write_nothing(case, tmp_path):
    make, arguments, message = ERRORS[case]
    path = tmp_path / arguments.get("path", "net.safetensors")
    with pytest.raises(ValueError, match=message) as caught:
        reskeras.save_weights(make(), **{**arguments, "path": path})
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_what_is_no_model_or_no_path(net, tmp_path):
    for call, name in ((lambda: reskeras.save_weights(None, tmp_path / "a.safetensors"), "model=None"),
                       (lambda: reskeras.save_weights(net, None), "path=None"),
                       (lambda: reskeras.save_weights(net, b"a.safetensors"), "path=b"),
                       (lambda: reskeras.push_to_hub(None, "user/name"), "model=None")):
        with pytest.raises(TypeError, match=f"^{name}.*expected"):
            call()


def test_a_name_given_by_hand(tmp_path):
    reskeras.save_weights(renamed(name="own"), tmp_path / "net.safetensors", net="timm/resnet18")
    assert json.loads((tmp_path / "config.json").read_text())["architecture"] == "resnet18"


def test_both_files_or_none(net, tmp_path, monkeypatch):
    """A disk that is full when the second file is written: the old files stay."""
    reskeras.save_weights(net, tmp_path / "net.safetensors")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    real = pathlib.Path.write_text

    def write_text(self, *args, **kwargs):
        if self.name == "config.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(pathlib.Path, "write_text", write_text)
    with pytest.raises(OSError, match="cannot be written"):
        reskeras.save_weights(trained(renamed()), tmp_path / "net.safetensors")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_another_nets_config_stays(net, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="belongs to other weights"):
        reskeras.save_weights(net, tmp_path / "net.safetensors")
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]


def test_the_model_does_not_change(net, tmp_path):
    before = net.get_weights()
    reskeras.save_weights(net, tmp_path / "net.safetensors")
    for a, b in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_layout_is_used():
    assert {get_layout(name) for name in QUICK} == set(LAYOUTS)
