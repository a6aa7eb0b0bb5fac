"""`dtype` of a builder: the layers of one model have that policy, and nothing else changes."""
import threading

import keras
import numpy as np
import pytest
from tiny import images, policy, tiny, trained

import reskeras
from reskeras.build import DTYPE_POLICIES, use_dtype_policy

HEAD = {"avg_pool", "top_dropout", "predictions"}
HALF = ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"]


def get_policies(model):
    return {layer.name: layer.dtype_policy.name for layer in model.layers
            if not isinstance(layer, keras.layers.InputLayer)}


EVERYTHING = {"include_preprocessing": True, "drop_path_rate": 0.1, "drop_block_rate": 0.1}


@pytest.mark.parametrize("variant, fields, dtype", [
    *(("seresnet18", EVERYTHING, dtype) for dtype in DTYPE_POLICIES),
    *((variant, {}, "mixed_bfloat16") for variant in ("resnest50", "skresnet18", "resnetv2_50x1_bit",
                                                      "inception_v4"))],
    ids=str)
def test_builds_what_the_global_policy_builds(variant, fields, dtype):
    before = keras.config.dtype_policy()
    model = tiny(variant, dtype=dtype, **fields)
    assert keras.config.dtype_policy() is before and before.name == "float32"
    with policy(dtype):
        expected = tiny(variant, **fields)
    assert get_policies(model) == get_policies(expected)
    assert [v.dtype for v in model.variables] == [v.dtype for v in expected.variables]


@pytest.mark.parametrize("dtype", HALF)
def test_only_the_head_stays_in_float32(dtype):
    model = tiny("resnet18", dtype=dtype, dropout_rate=0.1)
    assert {name for name, layer_policy in get_policies(model).items() if layer_policy != dtype} == HEAD
    assert np.asarray(model(images(model))).dtype == "float32"


def test_float64_computes_in_float64():
    model = tiny("seresnet18", dtype="float64")
    assert set(get_policies(model).values()) == {v.dtype for v in model.variables} == {"float64"}
    assert np.asarray(model(images(model))).dtype == "float64"


def test_float32_under_another_global_policy():
    with policy("mixed_bfloat16"):
        model = tiny("resnet18", dtype="float32")
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        assert set(get_policies(tiny("resnet18")).values()) == {"mixed_bfloat16", "float32"}
    assert set(get_policies(model).values()) == {"float32"}


def test_a_policy_object():
    model = tiny("resnet18", dtype=keras.DTypePolicy("mixed_bfloat16"))
    assert model.get_layer("conv1_conv").dtype_policy.name == "mixed_bfloat16"


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_a_file_keeps_it(dtype, tmp_path):
    model = trained(tiny("resnest50", dtype=dtype))
    reskeras.save(model, tmp_path / "net.keras")
    loaded = reskeras.load(tmp_path / "net.keras")
    assert get_policies(loaded) == get_policies(model)
    x = images(model)
    np.testing.assert_array_equal(loaded(x, training=False), model(x, training=False))


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "float64", "float16"])
def test_weights_load(dtype, tmp_path):
    source = trained(tiny("resnet18"))
    source.save_weights(tmp_path / "net.weights.h5")
    model = tiny("resnet18", dtype=dtype, weights=tmp_path / "net.weights.h5")
    for mine, theirs in zip(model.variables, source.variables):
        expected = keras.ops.convert_to_numpy(theirs).astype(mine.dtype)
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(mine), expected)


def test_create_with_a_checkpoint_and_features():
    model = reskeras.create("cifar_resnet20.digits", dtype="mixed_bfloat16")
    assert model.get_layer("conv1_conv").compute_dtype == "bfloat16"
    assert reskeras.get_metadata(model).weights == "cifar_resnet20.digits"
    maps = reskeras.features("cifar_resnet20", (2, 4), weights=None, dtype="float64")
    assert {tensor.dtype for tensor in maps.outputs} == {"float64"}
    assert keras.config.dtype_policy().name == "float32"
    with pytest.raises(TypeError, match="dtype: these arguments need the name of a net"):
        reskeras.features(model, 2, dtype="float64")


@pytest.mark.parametrize("wrong, message", [
    ("mixed_float_16", "dtype='mixed_float_16': expected one of .*did you mean 'mixed_float16'"),
    ("bfloat", "did you mean 'bfloat16'"), ("int8", "dtype='int8': expected one of"),
    (16, "dtype=16: expected one of"),
    (keras.DTypePolicy("int8"), "dtype='int8': expected a policy that computes in a floating-point type")],
    ids=str)
def test_refuses_another_policy(wrong, message):
    with pytest.raises(ValueError, match=message):
        tiny("resnet18", dtype=wrong)
    assert keras.config.dtype_policy().name == "float32"


def test_an_error_restores_the_global_policy():
    with pytest.raises(ValueError, match="shortcut='pad' cannot reduce"):     # in the midst of the build
        tiny("resnet18", shortcut="pad", widths=(64, 32, 32, 32), dtype="float64")
    with pytest.raises(KeyboardInterrupt), use_dtype_policy("float64"):
        raise KeyboardInterrupt
    assert keras.config.dtype_policy().name == "float32"


def test_other_threads_do_not_notice():
    seen = []

    def look():
        seen.append(keras.layers.Dense(1).dtype_policy.name)
    with use_dtype_policy("float64"):
        assert keras.layers.Dense(1).dtype_policy.name == "float64"
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert seen == ["float32"]
