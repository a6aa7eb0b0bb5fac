"""Receptive fields, activations and memory against the literature, the gradient and sums by hand."""
import csv
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from tiny import policy, tiny, trained

import reskeras
from reskeras import catalog
from reskeras.graph.cost.cost import CONVENTION, Cost, measure_cost

FACTS = pathlib.Path(__file__).parents[1] / "facts"


def empty(build):
    """The cost of a net without the memory of its weights."""
    with keras.StatelessScope(initialize_variables=False):
        result = measure_cost(build())
    keras.utils.clear_session()
    return result


def lines(name):
    with (FACTS / name).open(newline="") as file:
        return list(csv.DictReader(file))


QUICK = {"legacy_seresnet50", "resnet50_gn", "resnetv2_50x1_bit", "ecaresnet26t", "resnetrs50",
         "resnext50d_32x4d", "resnest50d", "skresnext50_32x4d", "wide_resnet50_2", "resnetaa50d", "resnet50s"}


@pytest.mark.parametrize("line",
                         [pytest.param(x, id=x["timm"], marks=() if x["timm"] in QUICK else pytest.mark.slow)
                                  for x in lines("activations.csv")])
def test_activations_are_timms(line):
    """fvcore's count of the outputs of convolutions and dense layers, as timm publishes it in millions
    (results/benchmark-infer-amp-nchw-pt113-cu117-rtx3090.csv)."""
    row, _, fields = catalog.find_variant(f"timm/{line['timm']}")
    size = int(line["size"])
    cost = empty(lambda: row(weights=None, input_shape=(size, size, 3), **fields))
    assert cost.activations / 1e6 == pytest.approx(float(line["macts"]), abs=0.0051)


OTHERS = {  # keras.applications' nets with timm's or torchvision's GMACs and timm's millions of activations
    "VGG16": (15.470, 13.56), "VGG19": (19.632, 14.86), "InceptionV3": (5.713, 8.97),
    "DenseNet121": (2.834, 6.90),
    "Xception": (8.36, 35.83), "ConvNeXtTiny": (None, 22.21)}    # its GMACs count the norms


@pytest.mark.parametrize("name", OTHERS)
def test_any_net(name):
    size = {"ConvNeXtTiny": 288, "Xception": 299, "InceptionV3": 299}.get(name, 224)
    cost = empty(lambda: getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3)))
    gmacs, macts = OTHERS[name]
    assert gmacs is None or cost.macs / 1e9 == pytest.approx(gmacs, abs=0.006)
    assert cost.activations / 1e6 == pytest.approx(macts, abs=0.0051)
    assert not cost.uncounted and cost.flops == 2 * cost.macs


@pytest.mark.parametrize("line", [x for x in lines("torchvision.csv") if "res" in x["name"]],
                         ids=lambda line: line["name"])
def test_published_operations_are_torchvisions(line):
    """`_ops` of torchvision 0.29's weights: multiply-accumulates, in 10^9."""
    row, _, _ = catalog.find_variant(f"torchvision/{line['name']}")
    known = catalog.read_costs()[row.name]       # which tests/test_table.py recomputes
    assert known.params == int(line["params"])
    assert known.macs / 1e9 == pytest.approx(float(line["gmacs"]), abs=0.0006)


# GFLOPs (multiply-adds) of the papers' own tables, with the digits that they print
PAPERS = {
    "resnet18_option_a": 1.8, "resnet34_option_a": 3.6,         # 1512.03385, Table 1
    "resnet101v1": 7.6, "resnet152v1": 11.3,
    "resnext50_32x4d": 4.2, "resnet50v1_5": 4.1,                # 1611.05431, Table 1
    "seresnet50v1": 3.87, "seresnet152v1": 11.32,               # 1709.01507, Table 2
    "skresnext50_32x4d": 4.47, "sknet101": 8.46,                # 1903.06586, Table 2
    "resnetrs152": 31 / 2, "resnetrs420": 128 / 2}              # 2103.07579, Table 7: 2 FLOPs per MAC


@pytest.mark.parametrize("row", PAPERS)
def test_published_operations_are_the_papers(row):
    assert catalog.read_costs()[row].macs / 1e9 == pytest.approx(PAPERS[row], rel=0.015)


# End of each stage or module: (receptive field, stride).  Slim's nets stride in a stage's last block, as
# Keras' V2 nets do.  From github.com/tensorflow/tensorflow (1.15),
# contrib/receptive_field/RECEPTIVE_FIELD_TABLE.md, made by Araujo et al. 2019.
SLIM = {
    "ResNet50V2": {"conv2_block3_out": (35, 8), "conv3_block4_out": (99, 16), "conv4_block6_out": (291, 32),
                   "conv5_block3_out": (483, 32)},
    "ResNet101V2": {"conv2_block3_out": (35, 8), "conv3_block4_out": (99, 16), "conv4_block23_out": (835, 32),
                    "conv5_block3_out": (1027, 32)},
    "ResNet152V2": {"conv2_block3_out": (35, 8), "conv3_block8_out": (163, 16),
                    "conv4_block36_out": (1315, 32), "conv5_block3_out": (1507, 32)},
    "InceptionV4": {"conv3_ac": (11, 2), "mixed_3a": (15, 4), "mixed_4a": (47, 4), "mixed_5a": (55, 8),
                    "inception_a1": (87, 8), "inception_a4": (183, 8), "reduction_a": (215, 16),
                    "inception_b1": (407, 16), "inception_b7": (1559, 16),
                    "reduction_b": (1687, 32), "inception_c3": (2071, 32)},
    "InceptionResNetV2": {"maxpool_5a": (31, 8), "mixed_5b": (63, 8), "mixed_6a": (415, 16),
                          "block17_20_ac": (2335, 16), "mixed_7a": (2399, 32), "conv_7b_ac": (3039, 32)},
    "VGG16": {"block1_pool": (6, 2), "block3_conv2": (32, 4), "block4_pool": (100, 16),
              "block5_pool": (212, 32)},
    "MobileNet": {"conv_pw_1_relu": (7, 2), "conv_pw_13_relu": (315, 32)},
    "InceptionV3": {"mixed2": (127, 8), "mixed7": (927, 16), "mixed10": (1311, 32)}}
# By hand: 7 from conv1, + 2 x 2 from the pool; then 2 x stride of its input for each 3x3.  v1 strides on the
# 1x1, so all 3x3 of a stage stand at its own stride; v1.5's first one stands at the stride before.
BY_HAND = {
    "ResNet50": {"conv1_conv": (7, 2), "pool1_pool": (11, 4), "conv2_block3_out": (11 + 3 * 8, 4),
                 "conv3_block4_out": (35 + 4 * 16, 8), "conv4_block6_out": (99 + 6 * 32, 16),
                 "conv5_block3_out": (483, 32)},
    "ResNet50V1_5": {"conv3_block4_out": (35 + 8 + 3 * 16, 8), "conv4_block6_out": (91 + 16 + 5 * 32, 16),
                     "conv5_block3_out": (267 + 32 + 2 * 64, 32)},
    "CifarResNet20": {"conv1_conv": (3, 1), "conv2_block3_out": (3 + 6 * 2, 1),
                      "conv3_block3_out": (15 + 2 + 5 * 4, 2), "conv4_block3_out": (37 + 4 + 5 * 8, 4)}}


@pytest.mark.parametrize("name", [*SLIM, *BY_HAND])
def test_receptive_fields_of_the_literature(name):
    builder = getattr(reskeras, name, None) if name in dir(reskeras) else getattr(keras.applications, name)
    rows = {layer.name: layer for layer in empty(lambda: builder(weights=None)).layers}
    for layer, (field, stride) in {**SLIM, **BY_HAND}[name].items():
        assert (rows[layer].receptive_field, rows[layer].stride) == ((field,) * 2, (stride,) * 2), layer


TINY = ["resnet18", "resnet50", "resnet50v2", "resnet50d", "resnetaa50d", "resnetblur18", "resnext50_32x4d",
        "resnet18_option_a", "plainnet18", "cifar_resnet20", "cifar_preresnet164", "inception_v4",
        "seresnet50", "resnest14", "skresnet18", "ecaresnet26t", "resnet50_gn"]


@pytest.mark.parametrize("row", TINY)
def test_receptive_field_is_where_the_gradient_is(row):
    """The pixels with a gradient from the middle cell of the last map are those of `receptive_field`.

    Of several random images, for a max pool passes it to one pixel only.  With `has_global_context` there is
    a gradient beyond them.
    """
    net = trained(tiny(row, input_shape=(None, None, 3), include_top=False, activation="softplus"))
    side = {"inception_v4": 705, "cifar_resnet20": 129, "cifar_preresnet164": 129}.get(row, 385)
    counted = measure_cost(net, (side, side, 3))
    last = counted.layers[-1]
    assert last == counted.last_map
    cell = last.output[0] // 2
    images = tf.constant(np.random.default_rng(0).normal(size=(4, side, side, 3)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(images)
        one = tf.reduce_sum(net(images, training=False)[:, cell, cell])
    seen = np.abs(tape.gradient(one, images)).sum((0, 3)) > 0
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    spans = (rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)
    assert last.receptive_field[0] < side - 2 * last.stride[0]        # else the border hides the answer
    if last.has_global_context:
        assert spans == (side, side)
    else:
        assert spans == last.receptive_field


def test_gates_and_norms_alone_have_global_context():
    for name, expected in (("resnet50v1_5", False), ("seresnet50", True), ("ecaresnet50d", True),
                           ("skresnet50", True), ("resnest50", True), ("resnet50_gn", True),
                           ("inception_resnet_v2", False)):
        assert empty(lambda: tiny(name)).last_map.has_global_context == expected, name


def test_misaligned_branches_see_their_union():
    """A 3x1 and a 1x5 of another padding: rows -1..1, columns -2..2 on one side, 0..4 on the other."""
    image = keras.Input((16, 16, 2))
    a = layers.Conv2D(2, (3, 1), padding="same")(image)
    b = layers.ZeroPadding2D(((0, 0), (0, 4)))(layers.Conv2D(2, (1, 5))(image))
    c = layers.Conv2D(2, (1, 5), padding="same")(image)
    cost = measure_cost(keras.Model(image, layers.Concatenate()([a, b, c])))
    assert cost.layers[-1].receptive_field == (3, 7) and cost.layers[-1].stride == (1, 1)


def test_dilation_upsampling_and_one_axis():
    line = keras.Input((64, 3))
    x = layers.Conv1D(4, 3, dilation_rate=2, padding="causal")(line)        # 5 samples
    x = layers.MaxPooling1D(2)(x)                                           # 6
    x = layers.Conv1D(4, 3, padding="same")(x)                              # 6 + 2 * 2
    x = layers.UpSampling1D(2)(x)
    x = layers.Conv1D(4, 2, padding="same")(x)
    rows = measure_cost(keras.Model(line, x)).layers
    assert [row.receptive_field for row in rows[1:4]] == [(5,), (6,), (10,)]
    # from cell to cell: one or two of the map before
    assert rows[-1].stride == (1,) and 12 <= rows[-1].receptive_field[0] <= 13
    assert rows[-1].kind == "Conv1D" and not rows[-1].has_global_context


def net_by_hand():
    """8 x 8 x 4 float32: a tensor is 1024 bytes, the pooled one 16."""
    image = keras.Input((8, 8, 4))
    a = layers.Conv2D(4, 1, use_bias=False)(image)
    b = layers.Conv2D(4, 1, use_bias=False)(a)
    c = layers.Dropout(0.5)(b)                                              # no memory of its own
    d = layers.Add()([a, c])
    return keras.Model(image, layers.GlobalAveragePooling2D()(d))


def test_memory_by_hand():
    """Most live at the addition: a, b (as c) and d; the image is freed after its last reader."""
    cost = measure_cost(net_by_hand())
    assert (cost.peak_bytes, cost.total_bytes) == (3 * 1024, 4 * 1024 + 16)
    eight = measure_cost(net_by_hand(), batch_size=8)
    assert eight.peak_bytes == 8 * cost.peak_bytes and eight.total_bytes == 8 * cost.total_bytes
    assert eight == cost
    with policy("float16"):
        assert measure_cost(net_by_hand()).peak_bytes == 3 * 512


def test_memory_of_outputs_and_of_what_nobody_reads():
    image = keras.Input((8, 8, 4))
    a = layers.ReLU()(image)
    b = layers.ReLU()(a)
    cost = measure_cost(keras.Model(image, [a, b, layers.ReLU()(b)]))
    # the image is gone when the second is made; the outputs stay
    assert cost.peak_bytes == 3 * 1024


def test_nested_models_and_shared_layers():
    inner = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, 3, name="conv"),
                              layers.ReLU(name="relu")], name="inner")
    left, right = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    both = keras.Model([left, right], layers.Concatenate(name="pair")([inner(left), inner(right)]))
    cost = measure_cost(both)
    assert [row.name for row in cost.layers if row.kind == "Conv2D"] == ["inner/conv", "inner#2/conv"]
    assert [row.params for row in cost.layers if row.kind == "Conv2D"] == [112, 0] and cost.params == 112
    assert cost.macs == 2 * 36 * 27 * 4 and sum(row.params for row in cost.layers) == cost.params
    pair = cost.layers[-1]
    assert {cost.layers[i].name for i in pair.inputs} == {"inner/relu", "inner#2/relu"}
    assert pair.receptive_field == (3, 3)


def test_bare_operations_and_functional_models_within():
    one = keras.Input((16, 16, 1))
    x = layers.Conv2D(2, 3, name="c")(one)
    inner = keras.Model(one, [x, layers.ReLU(name="r")(x)], name="inner")
    left, right = keras.Input((16, 16, 1)), keras.Input((16, 16, 1))
    (plain, _), (_, positive) = inner(left), inner(right)
    x = layers.Dense(3)(layers.Flatten()(plain + positive + 1.0))
    cost = measure_cost(keras.Model([left, right], x))
    assert [row.name for row in cost.layers[2:6]] == ["inner/c", "inner/r", "inner#2/c", "inner#2/r"]
    assert [row.kind for row in cost.layers[6:8]] == ["Add", "Add"] and cost.layers[6].inputs == (2, 5)
    assert cost.params == 20 + 392 * 3 + 3 and cost.layers[7].receptive_field == (3, 3)


def test_uncounted_layers_are_named():
    words = keras.Input((10, 8))
    x = layers.MultiHeadAttention(2, 4, name="look")(words, words)
    assert measure_cost(keras.Model(words, layers.Dense(2)(x))).uncounted == ("look",)


def test_cost_is_the_sum_of_its_parts():
    net = reskeras.create("seresnet18", weights=None, input_shape=(64, 64, 3))
    cost = measure_cost(net)
    assert [s.name for s in cost.stages] == ["stem", "conv2", "conv3", "conv4", "conv5", "head"]
    for key in ("params", "macs", "activations"):
        assert sum(getattr(s, key) for s in cost.stages) == getattr(cost, key)
    assert sum(s.layers for s in cost.stages) == len(cost.layers) == len(net.layers)
    assert cost.non_trainable_params == sum(row.non_trainable_params for row in cost.layers)
    assert cost.stages[1].output == (16, 16, 64) and cost.stages[-1].output == (1000,)
    assert {row.block for row in cost.layers if row.stage == "conv3"} == {"conv3_block1", "conv3_block2"}
    values = cost.as_dict()
    assert values["flops"] == 2 * cost.macs and values["convention"] == CONVENTION
    assert len(values["layers"]) == len(cost.layers)
    keys = {"params", "stats", "macs", "flops", "activations", "batch", "peak_bytes", "total_bytes"}
    assert keys < values.keys() and {"field", "whole", "stats", "reads"} < values["layers"][0].keys()
    assert {"field", "whole"} < values["stages"][0].keys()
    assert cost == Cost(cost.params, cost.non_trainable_params, cost.macs)


@pytest.mark.parametrize("name, blocks", [
    ("InceptionV4", ["mixed_3a", "inception_a1", "reduction_a", "inception_b7", "inception_c3"]),
    ("InceptionResNetV2", ["block35_1", "block17_20", "block8_10"]),
    ("EfficientNetB0", ["block2a", "block5c"]),
    ("VGG16", ["block1", "block5"]), ("DenseNet121", ["conv2_block1", "conv5_block16"]),
    ("InceptionV3", ["mixed0", "mixed7"]),
    ("Xception", ["block2", "block13"]), ("MobileNetV2", ["block_3", "block_16"])])
def test_blocks_of_other_nets(name, blocks):
    builder = getattr(reskeras, name) if name in dir(reskeras) else getattr(keras.applications, name)
    cost = empty(lambda: builder(weights=None))
    assert set(blocks) <= {row.block for row in cost.layers}
    assert 4 <= len(cost.stages) <= 8 and cost.stages[-1].name == "head"


def test_bad_input():
    with pytest.raises(ValueError, match="batch_size=0"):
        measure_cost(net_by_hand(), batch_size=0)
    with pytest.raises(ValueError, match="does not fit"):
        measure_cost(net_by_hand(), (8, 8, 3))
    with pytest.raises(ValueError, match="does not fit"):
        measure_cost(net_by_hand(), (8, 8))
    with pytest.raises(TypeError, match="expected a keras.Model"):
        measure_cost("resnet50")
