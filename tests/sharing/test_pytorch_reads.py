"""timm and torchvision read what `save_weights` writes, and compute the same (tox -e timm)."""
import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny import tiny, tiny_spec, trained

import reskeras
from reskeras.sharing.save_weights import find_source
from reskeras.sharing.known_net import find_known_net
from reskeras.spec import InceptionSpec

torch, timm = pytest.importorskip("torch"), pytest.importorskip("timm")
torchvision = pytest.importorskip("torchvision")

# One net of each family and kind of part
FAMILIES = ["resnet18", "resnet50v1_5", "resnet50_gn", "resnet50c", "resnet50d", "resnet50t", "resnet50s",
            "resnetaa50d", "resnetblur50", "resnetv2_18", "resnetv2_50", "resnetv2_50d", "resnetv2_50d_gn",
            "resnetv2_50t", "resnetv2_50x1_bit", "wide_resnet50_2", "resnext50_32x4d", "seresnet18",
            "seresnext26d_32x4d", "seresnet50v1", "seresnet18v1", "seresnext26_32x4d", "senet154",
            "ecaresnet26t", "skresnet18", "skresnet50", "skresnext50_32x4d", "resnest14",
            "resnest50_fast_4s2x40d", "resnest50_fast_1s4x24d", "resnetrs50", "inception_v4",
            "inception_resnet_v2_gamma"]
TORCHVISION = ["resnet18", "resnet50v1_5", "resnext50_32x4d", "wide_resnet50_2"]
FULL = ["resnet50v1_5", "seresnext50_32x4d", "resnest50", "resnetrs50"]
SHORT = (2, 1, 1, 1)


def small(variant):
    """A small form of a net that timm can build too: its legacy nets have a fixed width, Inception all."""
    spec = tiny_spec(variant)
    logits = {"classifier_activation": None}
    if variant.endswith("_bit"):
        return reskeras.create(variant, weights=None, classes=7, input_shape=(64, 64, 3), **logits)
    if isinstance(spec, InceptionSpec):
        return reskeras.create(variant, weights=None, classes=7, input_shape=(107, 107, 3), **logits)
    if variant.endswith("v1") or variant == "seresnext26_32x4d":
        return tiny(variant, width=1, **logits)
    # timm normalizes 32 groups
    sizes = {"width": 1, "widths": [planes * (2 if spec.norm == "group" else 1) for planes in spec.stages]}
    stem_width = 64 if spec.norm == "group" or spec.stem == "conv7" and variant[:8] != "resnetv2" else 32
    return tiny(variant, **sizes, stem_width=stem_width, **logits)


def images(model):
    return np.random.default_rng(1).normal(size=(2, *model.input_shape[1:])).astype("float32")


def assert_equal(model, theirs):
    """The logits of both nets are equal."""
    x = images(model).astype(model.compute_dtype)
    theirs = theirs.double() if x.dtype == "float64" else theirs
    with torch.no_grad():
        expected = theirs.eval()(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy()
    found = np.asarray(model(x, training=False))
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def in_float64(variant, file, **arguments):
    """A net with the weights of a file.  Nets of full size with random weights amplify the rounding of
    float32 to more than 1e-5, in timm too.
    """
    return reskeras.create(variant, weights=file, dtype="float64", classifier_activation=None, **arguments)


def check_round_trip(model, theirs, tmp_path):
    """PyTorch's file -> Keras -> file: equal to the bit, without PyTorch's counters."""
    from safetensors.torch import save_file
    state = {key: value.contiguous() for key, value in theirs.state_dict().items()}
    save_file(state, tmp_path / "theirs.safetensors")
    file = tmp_path / "theirs.safetensors"
    reskeras.weights.load.load_weights(model, file)
    reskeras.save_weights(model, tmp_path / "again" / "model.safetensors",
                          naming="torchvision" if "torchvision" in type(theirs).__module__ else "timm")
    again = load_file(tmp_path / "again" / "model.safetensors")
    expected = {key: value for key, value in load_file(file).items()
                if not key.endswith(("num_batches_tracked", "filt"))}
    assert again.keys() == expected.keys()
    for key, value in expected.items():
        assert again[key].dtype == value.dtype and again[key].tobytes() == value.tobytes(), key


@pytest.mark.parametrize("variant", FAMILIES)
def test_timm(variant, tmp_path):
    model = trained(small(variant))
    folder = tmp_path / "folder"
    reskeras.save_weights(model, folder / "model.safetensors")
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True)
    assert theirs.num_classes == 7
    check_round_trip(model, theirs, tmp_path)
    if variant.endswith("_bit"):    # of full size
        model = in_float64(variant, folder / "model.safetensors", input_shape=(64, 64, 3), classes=7)
    assert_equal(model, theirs)


@pytest.mark.parametrize("variant", TORCHVISION)
def test_torchvision(variant, tmp_path):
    model = trained(reskeras.create(variant, weights=None, classifier_activation=None,
                                    input_shape=(64, 64, 3)))
    source = find_source(find_known_net(model), "torchvision")
    theirs = torchvision.models.get_model(source.partition("/")[2])
    reskeras.save_weights(model, tmp_path / "net.safetensors", naming="torchvision")
    from safetensors.torch import load_file as load_torch
    theirs.load_state_dict(load_torch(tmp_path / "net.safetensors"))
    assert_equal(model, theirs)
    check_round_trip(model, theirs, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("variant", FULL)
def test_full_size(variant, tmp_path):
    """By `checkpoint_path`, as scripts of timm take a file; all of timm's settings are its own."""
    model = trained(reskeras.create(variant, weights=None, classifier_activation=None))
    reskeras.save_weights(model, tmp_path / "net.safetensors")
    name = json.loads((tmp_path / "config.json").read_text())["architecture"]
    theirs = timm.create_model(name, checkpoint_path=str(tmp_path / "net.safetensors"))
    check_round_trip(model, theirs, tmp_path)
    assert_equal(in_float64(variant, tmp_path / "net.safetensors"), theirs)


def test_timm_reads_the_metadata(tmp_path):
    """Preprocessing, channels and names of classes are those of the model."""
    model = reskeras.create("resnet50d", weights=None, classes=3, input_shape=(96, 96, 1), depths=SHORT)
    preprocessing = reskeras.Preprocessing((96, 96), mean=(0.4,), std=(0.2,), crop_pct=0.9,
                                           interpolation="bilinear", test_size=(128, 128), test_crop_pct=1.0)
    model = reskeras.set_metadata(model, preprocessing, ["cat", "dog", "eel"])
    reskeras.save_weights(model, tmp_path / "model.safetensors")
    theirs = timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    config = timm.data.resolve_model_data_config(theirs)
    assert tuple(config["input_size"]) == (1, 96, 96) and config["crop_pct"] == 0.9
    assert list(config["mean"]) == [0.4] and config["interpolation"] == "bilinear"
    tested = timm.data.resolve_model_data_config(theirs, use_test_size=True)
    assert tuple(tested["input_size"]) == (1, 128, 128) and tested["crop_pct"] == 1.0
    assert theirs.pretrained_cfg["label_names"] == ["cat", "dog", "eel"]
    assert theirs.conv1[0].in_channels == 1 and len(theirs.layer1) == 2


def test_a_net_without_classifier(tmp_path):
    model = trained(reskeras.create("resnet18", weights=None, include_top=False, pooling="avg",
                                    input_shape=(64, 64, 3)))
    reskeras.save_weights(model, tmp_path / "model.safetensors")
    theirs = timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    assert_equal(model, theirs)
