import keras
import pytest
from keras import layers
from small import chain, randomized, rewritten, unchanged, type_names

import reskeras
from reskeras.graph.graph import Graph
from reskeras.graph.passes.push_stride import push_stride
from reskeras.blocks.grouped_conv import GroupedConv2D

Conv = layers.Conv2D


def read_in_full():
    image = keras.Input((8, 8, 4))
    x = Conv(4, 3, padding="same", name="above")(image)
    return randomized(keras.Model(image, [layers.Flatten()(Conv(4, 1, strides=2)(x)),
                                          layers.Flatten()(layers.ReLU()(x))]))


def two_strides():
    image = keras.Input((8, 8, 4))
    x = Conv(4, 3, padding="same")(image)
    return randomized(keras.Model(image, [Conv(4, 1, strides=2)(x), Conv(4, 1, strides=4)(x)]))


def output_above():
    image = keras.Input((8, 8, 4))
    x = Conv(4, 3)(image)
    return randomized(keras.Model(image, [x, Conv(4, 1, strides=2)(x)]))


def shared_reader():
    image, conv = keras.Input((8, 8, 4)), Conv(4, 1, strides=2)
    return randomized(keras.Model(image, layers.Add()([conv(Conv(4, 3)(image)), conv(Conv(4, 3)(image))])))


def shared_above():
    image, conv = keras.Input((8, 8, 4)), Conv(4, 3)
    x = layers.Add()([Conv(4, 1, strides=2)(conv(image)), Conv(4, 1, strides=2)(conv(image))])
    return randomized(keras.Model(image, x))


def pool_is_output():
    image = keras.Input((8, 8, 4))
    return randomized(keras.Model(image, layers.MaxPooling2D(1, strides=2)(Conv(4, 3)(image))))


def gated():
    """A squeeze-and-excitation gate reads every cell of what it scales."""
    image = keras.Input((8, 8, 4))
    x = Conv(4, 3, padding="same")(image)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    return randomized(keras.Model(image, Conv(4, 1, strides=2)(layers.Multiply()([x, gate]))))


def unregistered(x):
    return x / (1 + keras.ops.max(keras.ops.abs(x), axis=(1, 2), keepdims=True))


@pytest.mark.parametrize("make, reason", [
    (lambda: chain(Conv(4, 3), layers.Softmax(axis=1), Conv(4, 1, strides=2)), "no convolution above"),
    (lambda: chain(Conv(4, 3), layers.BatchNormalization(axis=1), Conv(4, 1, strides=2)),
     "no convolution above"),
    (lambda: chain(Conv(4, 3), layers.Activation(unregistered), Conv(4, 1, strides=2)),
     "no convolution above"),
    (lambda: chain(Conv(4, 3, activation=unregistered), Conv(4, 1, strides=2)), "no convolution above"),
    (read_in_full, "at a different stride"), (two_strides, "at a different stride"),
    (output_above, "is an output of the model"),
    (shared_reader, "is shared"), (shared_above, "is shared"), (pool_is_output, "is an output of the model"),
    (gated, "no convolution above"),
    (lambda: chain(layers.ReLU(), Conv(4, 1, strides=2)), "no convolution above"),
    (lambda: chain(layers.MaxPooling2D(3, 1), Conv(4, 1, strides=2)), "no convolution above"),
    (lambda: chain(Conv(4, 3, dilation_rate=2), Conv(4, 1, strides=2), shape=(12, 12, 4)),
     "no convolution above"),
    (lambda: chain(layers.DepthwiseConv2D(3), Conv(4, 1, strides=(1, 2))), "no convolution above"),
    (lambda: chain(Conv(4, 3, strides=2), Conv(4, 1, strides=2)), "no convolution above"),
    (lambda: chain(layers.Conv2DTranspose(4, 3), Conv(4, 1, strides=2)), "no convolution above")])
def test_leaves_alone(make, reason):
    unchanged(push_stride, make(), reason)


@pytest.mark.parametrize("name", ["resnet50v1_5", "resnetv2_50", "resnet50d", "resnet50v2"])
def test_a_net_without_such_strides(name):
    model = reskeras.create(name, weights=None, width=0.25, input_shape=(64, 64, 3), classes=5)
    result = push_stride(Graph.of(model))
    assert not result.rewritten and len(result.graph.nodes) == len(model.layers)


PARTS = {
    "valid": [Conv(4, 3)], "same": [Conv(4, 3, padding="same")], "even kernel": [Conv(4, 4, padding="same")],
    "1x1": [Conv(4, 1, activation="relu")], "depthwise": [layers.DepthwiseConv2D(3, padding="same")],
    "grouped": [GroupedConv2D(4, (3, 5), groups=2, padding="same")],
    "row": [Conv(4, 3, padding="same"), layers.BatchNormalization(), layers.ReLU(), layers.Dropout(0.1),
            Conv(4, 1)],
    "two 3x3": [Conv(4, 3, padding="same"), Conv(4, 3, padding="same", activation="relu")]}


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("reader", [Conv(5, 1, strides=2),
                                    GroupedConv2D(4, 1, strides=(2, 3), groups=2, padding="same")],
                         ids=lambda layer: layer.name)
@pytest.mark.parametrize("shape", [(8, 8, 4), (9, 7, 4), (None, None, 4)], ids=str)
def test_moves_up(parts, reader, shape):
    if parts == "depthwise" and reader.strides != (2, 2):
        pytest.skip("TensorFlow's depthwise convolution has equal strides only")
    model = chain(*(type(p).from_config(p.get_config()) for p in (*PARTS[parts], reader)), layers.Flatten()
                  if None not in shape else layers.ReLU(), shape=shape)
    graph = rewritten(push_stride, model)
    at = {node.name: tuple(node.config["strides"]) for node in graph.nodes if "strides" in node.config}
    assert at.pop(reader.name) == (1, 1) and sorted(at.values())[-1] == tuple(reader.strides)
    assert type_names(graph).count("MaxPooling2D") == 0


def test_identity_branch_gets_a_pool():
    image = keras.Input((9, 8, 4))
    x = layers.ReLU(name="start")(image)
    y = Conv(4, 1)(Conv(4, 3, padding="same", activation="relu")(Conv(4, 1, activation="relu")(x)))
    y = layers.ReLU()(layers.Add()([x, y]))
    model = randomized(keras.Model(image,
                                   layers.Add()([Conv(6, 1, strides=2)(y),
                                                 layers.MaxPooling2D(1, strides=2)(Conv(
        6, 1, padding="same")(y))])))
    # the inner 1x1 reads every cell, so ...
    assert "at a different stride" in str(push_stride(Graph.of(model)).declined)
    model = randomized(keras.Model(image, layers.Add()([Conv(6, 1, strides=2)(y), Conv(6, 1, strides=2)(y)])))
    graph = rewritten(push_stride, model)
    (pool,) = (node for node in graph.nodes if node.type_name == "MaxPooling2D")
    assert pool.name == "start_subsample" and pool.config["pool_size"] == (1, 1)


def test_each_call_of_a_shared_layer_gets_a_pool_of_its_own():
    image, shared = keras.Input((8, 8, 4)), Conv(4, 3, padding="same", name="shared")
    x = layers.Add()([shared(image), shared(layers.ReLU()(image)), Conv(4, 3, padding="same")(image)])
    graph = rewritten(push_stride, randomized(keras.Model(image, Conv(4, 1, strides=2)(x))))
    assert {"shared_subsample", "shared_1_0_subsample"} < graph.call_counts.keys()


def test_channels_first_is_only_a_setting():
    keras.config.set_image_data_format("channels_first")
    try:
        own = dict(padding="same", data_format="channels_last")
        image = keras.Input((8, 8, 4))
        x = layers.Add()([Conv(4, 3, **own)(image), layers.ReLU()(image)])
        x = Conv(4, 1, strides=2, data_format="channels_last")(x)
        rewritten(push_stride, randomized(keras.Model(image, x)))
    finally:
        keras.config.set_image_data_format("channels_last")


def test_a_pool_reader_goes():
    model = chain(Conv(4, 3, padding="same"), layers.ReLU(), layers.MaxPooling2D(1, strides=2), layers.ReLU(),
                  shape=(9, 9, 4))
    names = type_names(rewritten(push_stride, model))
    assert names == ["InputLayer", "ZeroPadding2D", "Conv2D", "ReLU", "ReLU"]


@pytest.mark.parametrize("name", ["ResNet50", "ResNet101", "ResNet152"])
def test_macs_of_keras_nets(name):
    """The 3x3 and the last 1x1 of the last block of three stages, at a quarter of their cells each."""
    from reskeras.graph.report import GraphSize
    model = getattr(keras.applications, name)(weights=None)
    graph = Graph.of(model)
    before, after = GraphSize.of(graph).macs, GraphSize.of(push_stride(graph).graph).macs
    # planes p at a map of m x m: 3x3 p -> p and 1x1 p -> 4p
    moved = sum((9 * p * p + 4 * p * p) * m * m - (9 * p * p + 4 * p * p) * ((m + 1) // 2) ** 2
                for p, m in ((64, 56), (128, 28), (256, 14)))
    assert before - after == moved
    assert name != "ResNet50" or 0.09 < moved / before < 0.1
