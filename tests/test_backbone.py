"""Backbones: the strides and channels that `features` claims are those of the maps, in every family."""
import keras
import pytest
from tiny import tiny

import reskeras
from reskeras.variants import FAMILIES, VARIANTS

SAMPLE = ["plainnet18", "resnet50", "resnet50v1_5", "resnet50v2", "resnetv2_50d", "resnetv2_50x1_bit",
          "wide_resnet50_2",
          "resnext50_32x4d", "seresnet18v1", "ecaresnet26t", "skresnet18", "resnest50", "resnetrs50",
          "resnetblur18",
          "inception_v4", "inception_resnet_v2"]
CIFAR = ["cifar_resnet20", "cifar_preresnet20", "mlperf_tiny_resnet8"]


def test_every_family_is_there():
    assert {VARIANTS[variant].family for variant in SAMPLE + CIFAR} == set(FAMILIES)


@pytest.mark.parametrize("variant", SAMPLE + CIFAR)
def test_strides_and_channels(variant):
    levels, size = ((2, 3, 4, 5), 299 if "inception" in variant else 256)
    if variant in CIFAR:
        levels, size = (2, 3, 4), 32
    # this one strides in the last block of a stage
    fields = {"depths": (2, 2, 2, 2)} if variant == "resnet50v2" else {}
    maps = reskeras.features(tiny(variant, input_shape=(size, size, 3), include_top=False, **fields), levels)
    assert maps.strides == ((1, 2, 4) if variant in CIFAR else (4, 8, 16, 32))
    for stride, channels, output in zip(maps.strides, maps.channels, maps.outputs):
        valid = 4 if "inception" in variant else 0      # cells that unpadded convolutions cost, at the most
        assert channels == output.shape[-1]
        assert size // stride - valid <= output.shape[1] <= size // stride + 1


@pytest.mark.parametrize("variant", ["resnet50", "resnet50v2", "skresnet18", "resnest50", "seresnet18v1"])
def test_output_stride(variant):
    fields = {"depths": (2, 2, 2, 2)} if variant == "resnet50v2" else {}
    maps = reskeras.features(tiny(variant, input_shape=(128, 128, 3), output_stride=8, **fields))
    assert maps.strides == (4, 8, 8, 8) and [output.shape[1] for output in maps.outputs] == [32, 16, 16, 16]


def test_a_name_an_order_and_one_level():
    maps = reskeras.features("cifar_resnet20", levels=(4, 2), weights=None)
    assert maps.strides == (4, 1) and maps.channels == (64, 16)
    assert reskeras.features("cifar_resnet20", levels=3, weights=None).strides == (2,)


def test_layers_of_the_caller_do_not_matter():
    image = keras.Input((64, 64, 3))
    x = keras.layers.MaxPooling2D(2, name="max_pooling2d")(image)
    model = reskeras.ResNet18(weights=None, input_tensor=x, width=0.125)
    assert reskeras.features(model).strides == (8, 16, 32, 64)


def test_errors():
    with pytest.raises(ValueError, match=r"levels=.*expected some of \(2, 3, 4\)"):
        reskeras.features("cifar_resnet20", weights=None)
    for wrong in (3, None, ["resnet50"]):
        with pytest.raises(ValueError,
                           match="model=.*expected the name of a net, the path of a file, or a keras.Model"):
            reskeras.features(wrong)
    with pytest.raises(FileNotFoundError, match="gone.keras: no such file"):
        reskeras.features("gone.keras")
    with pytest.raises(ValueError, match="net.tflite: expected a .keras file"):
        reskeras.features("net.tflite")
    with pytest.raises(TypeError, match="width: these arguments need the name of a net"):
        reskeras.features(tiny("resnet18"), width=0.5)


def test_a_file_is_taken_as_its_model(tmp_path):
    model = tiny("resnet18")
    reskeras.save(model, tmp_path / "net.keras")
    for path in (tmp_path / "net.keras", str(tmp_path / "net.keras")):
        maps = reskeras.features(path, levels=(3, 5))
        assert maps.strides == (8, 32) and maps.channels == reskeras.features(model, (3, 5)).channels
    (tmp_path / "bad.keras").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="bad.keras cannot be read as a Keras file"):
        reskeras.features(tmp_path / "bad.keras")
