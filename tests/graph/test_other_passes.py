"""inline, standardize_kernels and static_shapes."""
from functools import partial

import keras
import numpy as np
import pytest
from keras import layers
from small import chain, randomized, rewritten, unchanged, type_names

import reskeras
from reskeras.graph.graph import Graph
from reskeras.graph.node import make_node
from reskeras.graph.passes.inline import inline
from reskeras.graph.passes.standardize_kernels import standardize_kernels
from reskeras.graph.passes.static_shapes import static_shapes
from reskeras.graph.equivalence import check_equivalence
from reskeras.graph.pass_result import PassResult
from reskeras.blocks.layers import StandardizedConv2D


def inner(shape=(8, 8, 4), training=False):
    image = keras.Input(shape)
    return keras.Model(image, layers.Conv2D(4, 1, name="conv")(layers.Dropout(0.5)(image)), name="inner")


def shared_model():
    image, net = keras.Input((8, 8, 4)), inner()
    return randomized(keras.Model(image, layers.ReLU()(net(net(image)))))


def in_training():
    image = keras.Input((8, 8, 4))
    return randomized(keras.Model(image, layers.ReLU()(inner()(image, training=True))))


class Subclassed(keras.Model):
    def call(self, x):
        return x + 1

    def compute_output_shape(self, shape):
        return shape


def nested_integers(outside, inside):
    """A model of inputs of `inside`, to which Keras casts what it is called on."""
    own, image = keras.Input((4,), dtype=inside), keras.Input((4,), dtype=outside)
    inner = keras.Model(own, layers.Rescaling(0.5)(own))
    return randomized(keras.Model(image, layers.Dense(2)(inner(image))))


@pytest.mark.parametrize("make, reason", [
    (lambda: nested_integers("float32", "uint8"), "casts"),
    (lambda: nested_integers("uint8", "float32"), "casts"),
    (shared_model, "it is shared"), (in_training, "training=True"), (lambda: chain(inner()), "is an output"),
    (lambda: chain(Subclassed(), layers.ReLU()), "is subclassed")])
def test_inline_leaves_alone(make, reason):
    unchanged(inline, make(), reason)


def test_inline():
    """Nested twice, in a Sequential, with a name that is taken; the others keep their names."""
    net = keras.Sequential([keras.Input((8, 8, 4)), layers.Conv2D(4, 3, name="conv"), inner((6, 6, 4)),
                            keras.Sequential([layers.ReLU(name="last")]), layers.Flatten()])
    graph = rewritten(inline, randomized(net))
    assert {"conv", "inner_conv", "last"} < graph.call_counts.keys()
    assert type_names(graph) == ["InputLayer", "Conv2D", "Dropout", "Conv2D", "ReLU", "Flatten"]


def test_inline_several_tensors():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    two = keras.Model({"a": a, "b": b}, {"sum": layers.Add()([a, b]), "diff": layers.Subtract()([a, b])},
                      name="two")
    x, y = keras.Input((4,)), keras.Input((4,))
    out = two({"a": layers.Dense(4)(x), "b": y})
    product = layers.Multiply()([out["sum"], layers.ReLU()(out["diff"])])
    rewritten(inline, randomized(keras.Model([x, y], product)))


@pytest.mark.parametrize("inputs", [dict, list])
def test_inline_dicts_out_of_order(inputs):
    """Keras sorts the keys of a dict, and matches those for a list by the names of the inputs."""
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    two = keras.Model({"a": a, "b": b} if inputs is dict else [a, b], layers.Subtract()([a, b]), name="two")
    x, y = keras.Input((4,), name="x"), keras.Input((4,), name="y")
    rewritten(inline, randomized(keras.Model([x, y], layers.Dense(3)(two({"b": x, "a": y})))))


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_inline_inputs_of_one_type(dtype):
    rewritten(inline, nested_integers(dtype, dtype))


def test_a_nested_cast_to_integers_is_part_of_the_function():
    """Also in float64: a pass that forgot it would be seen."""
    def forgotten(graph):
        node = next(n for n in graph.nodes if issubclass(n.layer_class, keras.Model))
        half = make_node(layers.Rescaling, node.name, node.inputs, graph.nodes[-1], scale=0.5)
        return PassResult(graph.edit({node.key: (half,)}, {}))
    model = nested_integers("float32", "uint8")
    with pytest.warns(UserWarning, match="forgotten is refused"):
        reskeras.optimize(model, passes=[forgotten])
    x = np.random.default_rng(0).uniform(0, 9, (3, 4)).astype("float32")
    np.testing.assert_allclose(reskeras.optimize(model)[0](x), model(x), rtol=1e-5)


def test_a_cast_to_integers_is_part_of_the_function():
    def forgotten(graph):
        cast = next(n for n in graph.nodes if n.config.get("dtype") == "int32")
        return PassResult(graph.edit({cast.key: ()}, {cast.output: cast.inputs[0]}))
    image = keras.Input((4,))
    whole = keras.ops.cast(keras.ops.cast(3 * image, "int32"), "float32")
    model = randomized(keras.Model(image, layers.Dense(2)(whole)))
    assert reskeras.optimize(model)[1].check.passed
    with pytest.warns(UserWarning, match="forgotten is refused"):
        reskeras.optimize(model, passes=[forgotten])


def test_inline_where_the_new_name_is_taken_too():
    image = keras.Input((4,))
    net = keras.Model(image, layers.Dense(4, name="inner_conv")(layers.Dense(4, name="conv")(image)),
                      name="inner")
    start = keras.Input((4,))
    x = layers.ReLU()(net(layers.Dense(4, name="conv")(start)))
    graph = rewritten(inline, randomized(keras.Model(start, x)))
    assert {"conv", "inner_conv", "inner_conv_1"} < graph.call_counts.keys()


def test_a_net_inside_a_users_model_is_optimized():
    """Transfer learning as the tutorials write it."""
    image = keras.Input((64, 64, 3))
    backbone = reskeras.ResNet50(weights=None, include_top=False, pooling="avg", width=0.25,
                                 input_shape=(64, 64, 3))
    x = layers.Dropout(0.2)(backbone(layers.Rescaling(1 / 127)(image)))
    model = randomized(keras.Model(image, layers.Dense(5, name="mine")(x)))
    fast, report = reskeras.optimize(model)
    assert not any(isinstance(layer, (layers.BatchNormalization, layers.Dropout, keras.Model))
                   for layer in fast.layers)
    assert report.check.passed and fast.output_names == ["mine"] and fast.get_layer("conv5_block3_out")


def test_standardize_kernels():
    image, conv = keras.Input((8, 8, 4)), StandardizedConv2D(4, 3, groups=2, epsilon=1e-3, padding="same")
    x = layers.Add()([conv(conv(image)), StandardizedConv2D(4, 1, use_bias=False)(image)])
    model = randomized(keras.Model(image, x))
    graph = rewritten(standardize_kernels, model)
    names = type_names(graph)
    assert "reskeras>StandardizedConv2D" not in names and names.count("reskeras>GroupedConv2D") == 3


def test_static_shapes_leaves_alone():
    unchanged(static_shapes, chain(layers.Conv2D(4, 1), layers.Reshape((-1, 4)), shape=(None, None, 4)),
              "is open")
    graph = Graph.of(chain(layers.ReLU()))
    fixed = static_shapes(graph).graph
    assert not static_shapes(fixed, batch_size=4).rewritten      # one that is fixed stays


@pytest.mark.parametrize("batch", [1, 3])
def test_static_shapes(batch):
    model = chain(layers.Conv2D(4, 3, strides=2), layers.Reshape((-1, 4)), layers.Dense(2),
                  shape=(None, None, 4))
    before = Graph.of(model)
    result = static_shapes(before, (9, 7, 4), batch)
    fixed = result.graph.build()
    assert len(result.rewritten) == 2
    assert fixed.input_shape == (batch, 9, 7, 4) and fixed.output_shape == (batch, 12, 2)
    x = np.random.default_rng(0).standard_normal((batch, 9, 7, 4)).astype("float32")
    np.testing.assert_allclose(fixed(x), model(x), rtol=1e-6)
    assert check_equivalence(before, result.graph).passed
    assert not partial(static_shapes, input_shape=(9, 7, 4), batch_size=batch)(result.graph).rewritten
