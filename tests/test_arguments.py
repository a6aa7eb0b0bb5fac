"""What a builder takes, what it refuses, and what it says then."""
import inspect
import warnings

import keras
import numpy as np
import pytest
from tiny import CLASSES, images, policy, tiny, trained

import reskeras
from reskeras.catalog import find_variant
from reskeras.blocks.drop_layers import StochasticDepth
from reskeras.spec import SE
from reskeras.variants import VARIANTS

SAMPLE = ["resnet18", "resnet50v2", "resnext50_32x4d", "resnetblur50d", "skresnet50", "resnest50"]


def names(model):
    return [layer.name for layer in model.layers]


def shapes(model):
    return {v.path: tuple(v.shape) for v in model.weights}


# The signature

@pytest.mark.parametrize("ours, theirs", [
    ("ResNet50", "ResNet50"), ("ResNet152V2", "ResNet152V2"), ("InceptionResNetV2", "InceptionResNetV2"),
    ("ResNet50D", "ResNet50"), ("CifarResNet20", "ResNet50")])
def test_has_the_arguments_of_keras_applications(ours, theirs):
    known = inspect.signature(getattr(keras.applications, theirs)).parameters
    mine = inspect.signature(getattr(reskeras, ours)).parameters
    assert [n for n in mine if n in known] == list(known)
    for name in set(known) - {"weights", "classes", "name"}:
        assert mine[name].default == known[name].default
    assert mine["include_preprocessing"].default is False
    assert mine["classes"].default == (10 if ours.startswith("Cifar") else 1000)
    assert mine["name"].default == find_variant(mine["name"].default)[0].name
    assert list(mine.values())[-1].kind is inspect.Parameter.VAR_KEYWORD


def test_builders_are_named_after_themselves():
    assert reskeras.ResNet50D.__name__ == "ResNet50D"
    assert all(getattr(reskeras, variant.builder) is variant for variant in VARIANTS.values())
    assert set(dir(reskeras)) > {variant.builder for variant in VARIANTS.values()}
    assert "arguments" in reskeras.ResNet50D.__call__.__doc__.lower()


# The head

@pytest.mark.parametrize("pooling, shape, last", [
    (None, (None, 2, 2, 512), "conv5_block1_out"), ("avg", (None, 512), "avg_pool"),
    ("max", (None, 512), "max_pool")])
def test_pooling(pooling, shape, last):
    model = tiny("resnet50v1_5", include_top=False, pooling=pooling)
    assert (model.output_shape, names(model)[-1]) == (shape, last)


def test_pools_as_it_says():
    features, avg, top = (
        tiny("resnet18", include_top=False, pooling=pooling) for pooling in (None, "avg", "max"))
    avg.set_weights(features.get_weights())
    top.set_weights(features.get_weights())
    x = images(features)
    y = np.array(features(x))
    np.testing.assert_allclose(avg(x), y.mean((1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(top(x), y.max((1, 2)))


@pytest.mark.parametrize("pooling", ["mean", "AVG", True, 0, "none"])
def test_refuses_another_pooling(pooling):
    with pytest.raises(ValueError, match="pooling=.*expected one of None, 'avg', 'max'"):
        tiny("resnet18", include_top=False, pooling=pooling)


@pytest.mark.parametrize("classes", [0, -1, 2.5, "10", True])
def test_refuses_classes(classes):
    with pytest.raises(ValueError, match="classes="):
        tiny("resnet18", classes=classes)


@pytest.mark.parametrize("classes", [1, 21, np.int64(5)])
def test_classes(classes):
    assert tiny("resnet18", classes=classes).output_shape == (None, classes)


@pytest.mark.parametrize("variant", ["resnet18", "cifar_resnet20", "inception_v4"])
def test_nets_have_their_own_size_and_classes(variant):
    own = {"classes": None, "input_shape": None}
    spec = VARIANTS[variant].spec
    model = tiny(variant, **own)
    assert model.input_shape == (None, spec.input_size, spec.input_size, 3)
    assert model.output_shape == (None, spec.classes)


@pytest.mark.parametrize("activation, check", [
    ("softmax", lambda y: abs(y.sum() - 1) < 1e-5), (None, lambda y: y.min() < 0),
    ("sigmoid", lambda y: 0 < y.min())])
def test_classifier_activation(activation, check):
    model = tiny("cifar_resnet20", classifier_activation=activation)
    assert check(np.array(model(images(model, 1))))


# The input

@pytest.mark.parametrize("channels", [1, 4, 5])
@pytest.mark.parametrize("variant", ["resnet18", "resnet50", "resnest50", "cifar_resnet20"])
def test_channels(variant, channels):
    model = tiny(variant, input_shape=(33, 47, channels))
    assert model(images(model)).shape == (2, CLASSES)
    assert next(v for v in model.weights if v.name == "kernel").shape[2] == channels


@pytest.mark.parametrize("variant", [*SAMPLE, "cifar_resnet20", "inception_v4"])
def test_sizes_may_be_open(variant):
    """One net takes even and odd sizes; with a size of its own it has the same weights and outputs."""
    model = trained(tiny(variant, input_shape=(None, None, 3)))
    assert model.input_shape == (None, None, None, 3)
    for height, width in ((96, 79), (85, 112)):
        fixed = tiny(variant, input_shape=(height, width, 3))
        fixed.set_weights(model.get_weights())
        x = images(fixed, 1)
        np.testing.assert_allclose(model(x), fixed(x), rtol=1e-5)


def test_strides_round_up_at_odd_sizes():
    model = tiny("resnet50v1_5", input_shape=(97, 65, 3), include_top=False)
    assert model.output_shape[1:3] == (4, 3)


def test_sizes_may_be_numpys():
    assert tiny("resnet18", input_shape=(np.int64(40), np.int32(32), 3)).input_shape == (None, 40, 32, 3)


@pytest.mark.parametrize("shape", [(32, 32), (32, 32, None), (0, 32, 3), (32.0, 32, 3), (None, 32, 32, 3),
                                   ("a", 32, 3)])
def test_refuses_shapes(shape):
    with pytest.raises(ValueError, match="input_shape=.*expected"):
        tiny("resnet18", input_shape=shape)


def test_inception_names_its_smallest_size():
    assert tiny("inception_v4", input_shape=(75, 75, 3)).output_shape == (None, CLASSES)
    with pytest.raises(ValueError, match="at least 75"):
        tiny("inception_v4", input_shape=(74, 75, 3))


def test_input_tensor():
    """On an input, on a caller's own layer, and with a contradicting shape."""
    image = keras.Input((40, 40, 3), name="photo")
    model = tiny("resnet18", input_tensor=image, input_shape=None)
    assert model.inputs[0] is image
    scaled = keras.layers.Rescaling(1 / 255, name="mine")(image)
    behind = tiny("resnet18", input_tensor=scaled, input_shape=None)
    assert names(behind) == ["photo", "mine", *names(model)[1:]]
    behind.set_weights(trained(model).get_weights())
    x = images(model)
    with warnings.catch_warnings():
        # Keras warns of a tensor where the model's inputs are a list
        warnings.simplefilter("error", UserWarning)
        np.testing.assert_allclose(behind(x * 255), model(x), rtol=1e-4)
    with pytest.raises(ValueError, match="expected the shape of input_tensor"):
        tiny("resnet18", input_tensor=image, input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match="Keras tensor"):
        tiny("resnet18", input_tensor=np.ones((1, 8, 8, 3)), input_shape=None)


def test_weights_load_behind_an_input_tensor(tmp_path):
    source = trained(tiny("resnet18"))
    source.save_weights(tmp_path / "w.weights.h5")
    mine = keras.layers.BatchNormalization()(keras.Input((64, 64, 3)))
    model = tiny("resnet18", input_tensor=mine, input_shape=None, weights=tmp_path / "w.weights.h5")
    np.testing.assert_array_equal(model.get_layer("conv1_conv").kernel, source.get_layer("conv1_conv").kernel)


@pytest.mark.parametrize("variant, mode", [
    ("resnet50", "caffe"), ("resnet50v2", "tf"), ("inception_resnet_v2", "tf"), ("resnet18", "torch"),
    ("resnetv2_50x1_bit", "tf")])
def test_include_preprocessing(variant, mode):
    """Pixels in 0..255 come to the first layer as keras.applications' preprocess_input makes them."""
    model = tiny(variant, include_preprocessing=True)
    pixels = np.random.default_rng(0).integers(0, 256, (2, *model.input_shape[1:])).astype("float32")
    first = keras.Model(model.input, model.get_layer("preprocessing").output)
    expected = keras.applications.imagenet_utils.preprocess_input(pixels.copy(), mode=mode)
    np.testing.assert_allclose(first(pixels), expected, rtol=1e-5, atol=1e-5)
    without = tiny(variant)
    assert names(without) == [n for n in names(model) if not n.startswith("preprocessing")]
    without.set_weights(trained(model).get_weights())
    np.testing.assert_allclose(without(expected), model(pixels), rtol=1e-3, atol=1e-6)


def test_raw_pixels_need_no_preprocessing():
    model = tiny("mlperf_tiny_resnet8", include_preprocessing=True)
    assert names(model) == names(tiny("mlperf_tiny_resnet8"))


def test_preprocessing_is_for_three_channels():
    with pytest.raises(ValueError, match="takes 4 channels.*defined for 1 and 3"):
        tiny("resnet18", include_preprocessing=True, input_shape=(32, 32, 4))


def test_preprocessing_saves(tmp_path):
    model = trained(tiny("resnet50", include_preprocessing=True))
    model.save(tmp_path / "net.keras")
    x = 255 * np.random.default_rng(0).uniform(size=(2, 64, 64, 3)).astype("float32")
    np.testing.assert_array_equal(reskeras.load(tmp_path / "net.keras")(x), model(x))


def test_refuses_channels_first():
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="channels_first.*not supported"):
            tiny("resnet18")
    finally:
        keras.config.set_image_data_format(before)


# Names

@pytest.mark.parametrize("variant", ["resnet18", "inception_v4"])
def test_the_name_is_the_models_alone(variant):
    model, named = tiny(variant), tiny(variant, name="backbone")
    assert (model.name, named.name) == (variant, "backbone")
    assert names(named) == names(model)
    assert shapes(named) == shapes(model)
    assert reskeras.create("cifar_resnet20", weights=None, name="backbone").name == "backbone"


@pytest.mark.parametrize("wrong", ["a/b", 7])
def test_refuses_names(wrong):
    with pytest.raises(ValueError, match="name"):
        tiny("resnet18", name=wrong)


@pytest.mark.parametrize("variant, wrong, right", [
    ("resnet18", "drop_pathrate", "drop_path_rate"), ("resnet50", "dropblock_rate", "drop_block_rate"),
    ("resnet18", "outputstride", "output_stride"), ("resnet18", "attentions", "attention"),
    ("resnet18", "bn_eps", "bn_epsilon"), ("inception_v4", "drop_out_rate", "dropout_rate")])
def test_an_unknown_argument_names_the_nearest(variant, wrong, right):
    with pytest.raises(TypeError, match=f"unknown argument {wrong}=.*did you mean '{right}'"):
        tiny(variant, **{wrong: 0.1})


@pytest.mark.parametrize("field, wrong, says", [
    ("stem", "deeep", "'deep'"), ("norm", "BatchNorm", "'batch'"),
    ("shortcut", "identity_conv", "expected one of"),
    ("order", "preact", "'pre'"), ("attention", "see", "'se'"), ("mixer", "split_attention", "'split'"),
    ("output_stride", 12, "8, 16"), ("drop_path_rate", 1, "probability"),
    ("drop_block_rate", -0.1, "probability"),
    ("width", 0, "positive"),
    ("depths", (1, 0, 1, 1), "whole numbers"), ("depths", (1, 1), "as many depths as widths"),
    ("groups", 2, "bottleneck"),
    ("pixels", "imagenet", "expected one of"), ("depths", 18, "depths=18"),
    ("initializer", "he", "initializer")])
def test_a_wrong_value_names_what_was_expected(field, wrong, says):
    with pytest.raises(ValueError, match=field) as error:
        tiny("resnet18", **{field: wrong})
    assert says in str(error.value)


def test_a_plain_net_drops_no_path():
    """It would drop the whole signal."""
    with pytest.raises(ValueError, match="drop_path_rate"):
        tiny("plainnet18", drop_path_rate=0.1)


@pytest.mark.parametrize("wrong, right", [
    ("ResNeXt50", "ResNeXt50_32x4d"), ("ResNet50V15", "ResNet50V1_5"), ("resnest50d", "ResNeSt50"),
    ("Resnet50", "ResNet50"),
    ("SEResnet50", "SEResNet50"), ("seresnet_50", "SEResNet50"), ("CifarResnet20", "CifarResNet20"),
    ("ResNetRS_50", "ResNetRS50"), ("WideResNet28_10", "CifarWideResNet28_10")])
def test_wrong_names_get_the_right_spelling(wrong, right):
    with pytest.raises(AttributeError, match=f"has no attribute '{wrong}'; did you mean '{right}'"):
        getattr(reskeras, wrong)
    with pytest.raises(ValueError,
                       match=f"unknown net '{wrong}'; did you mean '{getattr(reskeras, right).name}'"):
        reskeras.create(wrong)


def test_a_name_near_no_other_gets_no_guess():
    with pytest.raises(AttributeError, match="no attribute 'Xyzzy'$"):
        getattr(reskeras, "Xyzzy")  # noqa: B009
    with pytest.raises(ValueError, match="unknown net 'xyzzy'; reskeras.list_models"):
        reskeras.create("xyzzy")
    with pytest.raises(ValueError, match="expected a string"):
        reskeras.create(50)


@pytest.mark.parametrize("name, variant", [
    ("resnet50v1_5", "resnet50v1_5"), ("timm/resnet50", "resnet50v1_5"),
    ("torchvision/resnet50", "resnet50v1_5"),
    ("keras/ResNet50", "resnet50"), ("akamaster/resnet20", "cifar_resnet20"),
    ("timm/resnest50d", "resnest50"),
    ("timm/resnetv2_50", "resnetv2_50"), ("timm/legacy_seresnet50", "seresnet50v1"),
    ("keras/InceptionResNetV2", "inception_resnet_v2")])
def test_create_knows_other_packages_names(name, variant):
    assert find_variant(name)[0].name == variant
    assert find_variant(f"{name}.some_tag")[:2] == (VARIANTS[variant], "some_tag")


def test_create_has_one_row_for_a_source():
    sources = [source for variant in VARIANTS.values() for source in variant.sources]
    assert len(sources) == len(set(sources))
    for source in sources:
        assert source in find_variant(source)[0].sources


# The axes at the call

@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("variant", SAMPLE)
def test_output_stride(variant, stride):
    """Dilation in the place of strides: the same weights, a finer map, equal where that is sampled again."""
    model = tiny(variant, include_top=False, depths=(1, 2, 2, 2))
    fine = tiny(variant, include_top=False, depths=(1, 2, 2, 2), output_stride=stride)
    assert model.output_shape[1:3] == (2, 2)
    assert fine.output_shape[1:3] == (64 // stride, 64 // stride)
    assert shapes(fine) == shapes(model)
    assert any(getattr(layer, "dilation_rate", (1, 1))[0] == 32 // stride for layer in fine.layers)


@pytest.mark.parametrize("variant", ["resnet18", "resnet50v1_5", "resnet50", "resnet50v2", "resnext50_32x4d"])
def test_output_stride_computes_the_same_between(variant):
    """Every other cell of the dilated net's map is a cell of the strided net's (away from the border)."""
    fields = dict(include_top=False, input_shape=(224, 224, 3))
    model, fine = trained(tiny(variant, **fields)), tiny(variant, output_stride=16, **fields)
    fine.set_weights(model.get_weights())
    x = images(model, 1)
    coarse, fine = np.array(model(x))[:, 2:-2, 2:-2], np.array(fine(x))[:, ::2, ::2][:, 2:-2, 2:-2]
    np.testing.assert_allclose(fine, coarse, rtol=1e-4, atol=1e-4 * np.abs(coarse).max())


def test_output_stride_is_not_below_the_stems():
    with pytest.raises(
        ValueError, match="output_stride=2: expected at least 4, the stride of the stem"):
        tiny("resnet18", output_stride=2)


def test_strides_of_more_than_two_stay():
    model = tiny("resnet18", strides=(1, 4, 2, 4), include_top=False, input_shape=(256, 256, 3))
    assert model.output_shape[1:3] == (2, 2)
    assert all(getattr(layer, "dilation_rate", (1, 1)) == (1, 1) for layer in model.layers)


@pytest.mark.parametrize("variant, width", [
    ("resnext50_32x4d", 0.125), ("seresnet50", 0.3), ("cifar_resnet20", 1.5), ("resnest50", 0.125),
    ("resnet50_gn", 0.3), ("inception_v4", 0.125), ("cifar_resnet20", 0.125)])
def test_width(variant, width):
    """Any multiplier gives a net, also one that is no divisor of the channels."""
    model = tiny(variant, width=width)
    assert model(images(model)).shape == (2, CLASSES)


@pytest.mark.parametrize("fields, layer, attribute, value", [
    (dict(bn_epsilon=1e-3), "conv1_bn", "epsilon", 1e-3),
    (dict(bn_momentum=0.5), "conv1_bn", "momentum", 0.5),
    (dict(norm="sync_batch"), "conv1_bn", "synchronized", True),
    (dict(norm="group", norm_groups=4), "conv1_bn", "groups", 4),
    (dict(activation="silu"), "conv1_relu", "activation", keras.activations.silu),
    (dict(activation="gelu"), "conv2_block1_out", "activation", keras.activations.gelu),
    (dict(conv_bias=True), "conv1_conv", "use_bias", True),
    (dict(dropout_rate=0.4), "top_dropout", "rate", 0.4),
    (dict(stem="deep"), "conv1_2_conv", "filters", 8),
    (dict(drop_block_rate=0.2, drop_block_size=5), "conv5_block1_1_drop_block", "block_size", 5),
    (dict(norm="none", conv_bias="unnormed"), "conv1_conv", "use_bias", True)],
    # by name, because the address of a function differs by process
    ids=lambda value: getattr(value, "__name__", str(value)))
def test_overrides_reach_the_layers(fields, layer, attribute, value):
    assert getattr(tiny("resnet18", **fields).get_layer(layer), attribute) == value


@pytest.mark.parametrize("variant, fields, layer, variable", [
    ("resnet50v1_5", {}, "conv2_block1_3_bn", "gamma"), ("resnet18", {}, "conv2_block2_2_bn", "gamma"),
    ("resnetv2_50", {}, "conv2_block1_3_conv", "kernel"),
    ("resnet18", dict(norm="none"), "conv2_block1_2_conv", "kernel"),
    ("resnext50_32x4d", dict(norm="group"), "conv5_block1_3_bn", "gamma")], ids=str)
def test_zero_init_residual_starts_as_the_identity(variant, fields, layer, variable):
    model = tiny(variant, zero_init_residual=True, **fields)
    assert not np.any(getattr(model.get_layer(layer), variable))
    assert np.any(getattr(tiny(variant, **fields).get_layer(layer), variable))


@pytest.mark.parametrize("variant, fields, kind", [
    ("resnet50v1_5", {}, keras.initializers.HeNormal), ("resnet50", {}, keras.initializers.GlorotUniform),
    ("resnet50", dict(initializer="lecun_normal"), keras.initializers.LecunNormal)])
def test_initializer(variant, fields, kind):
    """He et al.'s, by fan-in; Keras' own nets have Keras' default."""
    assert isinstance(tiny(variant, **fields).get_layer("conv1_conv").kernel_initializer, kind)


def test_shorthands_are_the_values_defaults():
    by_word, by_value = (tiny("resnet50v1_5", attention=attention) for attention in ("se", SE()))
    assert shapes(by_word) == shapes(by_value) == shapes(tiny("seresnet50"))
    assert shapes(tiny("resnet50d", mixer="split", downsample="pool_after")) == shapes(tiny("resnest50"))


def test_overrides_win_over_the_row():
    model = tiny("resnest50", mixer=None, downsample="conv", drop_path_rate=0.1)
    assert shapes(model) == shapes(tiny("resnet50d"))
    assert any(isinstance(layer, StochasticDepth) for layer in model.layers)


# The list

def test_list_models():
    everything = reskeras.list_models()
    assert everything == list(VARIANTS)
    assert reskeras.list_models("resnest*") == [r for r in VARIANTS if r.startswith("resnest")]
    assert reskeras.list_models("RESNEST50") == ["resnest50"]
    assert set(reskeras.list_models("*50*", family="senet")) < set(reskeras.list_models("se*"))
    assert reskeras.list_models("nothing*") == []
    families = {variant.family for variant in VARIANTS.values()}
    by_family = [name for family in families for name in reskeras.list_models(family=family)]
    assert sorted(by_family) == sorted(everything)


def test_list_models_names_the_families():
    with pytest.raises(ValueError, match="family='senets': expected one of .*sknet.*did you mean 'senet'"):
        reskeras.list_models(family="senets")


@pytest.mark.parametrize("variant", ["resnet50", "resnet50v2", "resnet18"])
@pytest.mark.parametrize("half", ["mixed_float16", "mixed_bfloat16"])
def test_preprocessing_keeps_its_digits_in_half_precision(variant, half):
    pixels = np.random.default_rng(0).integers(0, 256, (1, 40, 40, 3)).astype("float32")

    def prepared():
        model = tiny(variant, input_shape=(40, 40, 3), include_preprocessing=True)
        return np.array(keras.Model(model.inputs, model.get_layer("preprocessing").output)(pixels))
    exact = prepared()
    with policy(half):
        np.testing.assert_array_equal(prepared(), exact)
