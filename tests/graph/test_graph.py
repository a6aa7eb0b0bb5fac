import keras
import numpy as np
import pytest
from keras import layers, ops
from small import randomized

import reskeras
from reskeras.graph.graph import Graph


def equal(model, x):
    again = Graph.of(model).build()
    expected, found = model(x), again(x)
    keras.tree.map_structure(np.testing.assert_array_equal, expected, found)
    assert again.output_names == model.output_names
    return again


def test_structures_survive():
    """Several inputs and outputs by name, shared layers and a nested model."""
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    shared = layers.Dense(4)
    nested = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    total = layers.Add(name="sum")([shared(a), shared(shared(b))])
    model = keras.Model({"a": a, "b": b}, {"sum": total, "nested": nested(b)})
    again = equal(model, {"a": np.ones((2, 4), "float32"), "b": np.full((2, 4), 2, "float32")})
    assert set(again.output) == {"sum", "nested"}


def test_bare_operations():
    """x + y, slices and keras.ops, as people write them."""
    image = keras.Input((8, 8, 4))
    x = layers.Conv2D(6, 1)(image)
    x = ops.relu(x[..., :3] * 2.0 + x[..., 3:]) - ops.mean(x, axis=(1, 2), keepdims=True)[..., :3]
    model = randomized(keras.Model(image, layers.Flatten()(x)))
    equal(model, np.ones((2, 8, 8, 4), "float32"))
    graph = Graph.of(model)
    assert {ref: shape for ref, shape in graph.shapes.items() if ref[0] == model.layers[-1].name} == {
        (model.layers[-1].name, 0, 0): (None, 192)}
    assert reskeras.optimize(model)[1].check.passed


def test_integers_and_several_calls():
    words = keras.Input((5,), dtype="int32")
    x = layers.Embedding(10, 4)(words)
    equal(keras.Model(words, layers.Dense(2)(layers.GlobalAveragePooling1D()(x))), np.ones((2, 5), "int32"))


def test_edit_follows_chains():
    image = keras.Input((4,))
    model = keras.Model(image, layers.ReLU(name="c")(layers.ReLU(name="b")(layers.ReLU(name="a")(image))))
    graph = Graph.of(model)
    a, b = graph.nodes[1:3]
    short = graph.edit({a.key: (), b.key: ()}, {b.output: b.inputs[0], a.output: a.inputs[0]})
    assert [node.name for node in short.nodes] == [graph.nodes[0].name, "c"]
    assert short.nodes[1].inputs == a.inputs
    assert graph.find_unused_name("a") == "a_1" and graph.find_unused_name("d") == "d"


def test_no_graph():
    class Own(keras.Model):
        def call(self, x):
            return x
    model = Own()
    model(np.ones((1, 2)))
    with pytest.raises(ValueError, match="no graph"):
        reskeras.optimize(model)
    with pytest.raises(ValueError, match="not built"):
        reskeras.optimize(keras.Sequential([layers.Dense(3)]))
    with pytest.raises(TypeError, match="expected a keras.Model"):
        Graph.of("resnet50")


@pytest.mark.parametrize("calls", [1, 2])
def test_a_nested_functional_model_may_be_the_output(calls):
    """Keras counts its calls from 1 there."""
    image = keras.Input((4,))
    nested = keras.Model(image, layers.Dense(4)(image), name="nested")
    x = start = keras.Input((4,))
    for _ in range(calls):
        x = nested(x)
    equal(keras.Model(start, x), np.ones((2, 4), "float32"))


def adapted():
    norm = layers.Normalization()
    norm.adapt(np.random.default_rng(0).normal(3, 2, (50, 4)).astype("float32"))
    return norm


def test_an_adapted_normalization_stays_adapted():
    """Its statistics are weights, but it computes with a copy of them."""
    image = keras.Input((4,))
    x = np.random.default_rng(0).standard_normal((2, 4)).astype("float32")
    equal(keras.Model(image, layers.Dense(3)(adapted()(image))), x)
    nested = keras.Model(image, adapted()(image))
    start = keras.Input((4,))
    twice = keras.Model(start, nested(nested(start)))
    equal(twice, x)
    np.testing.assert_allclose(reskeras.optimize(twice)[0](x), twice(x), rtol=1e-6)


FACTOR = 3.0


def unregistered(x):
    return x / (1 + ops.max(ops.abs(x)))


def test_functions_that_a_config_only_names():
    image = keras.Input((4,))
    x = layers.Dense(4, activation=unregistered)(layers.Activation(unregistered)(image))
    x = layers.Lambda(lambda y: FACTOR * y, output_shape=lambda shape: shape)(x)
    inner = keras.Input((4,))
    x = keras.Model(inner, layers.Dense(3, activation=unregistered)(inner))(layers.BatchNormalization()(x))
    model = randomized(keras.Model(image, layers.ReLU()(x)))
    equal(model, np.ones((2, 4), "float32"))
    assert reskeras.optimize(model)[1].check.passed


def gelu(x):
    """By its name Keras' own, which it is not."""
    return x * ops.sigmoid(3 * x)


def test_a_users_function_with_the_name_of_keras_own():
    image = keras.Input((4,))
    x = layers.Activation(gelu)(layers.Dense(4)(image))
    x = layers.BatchNormalization()(layers.Dense(4, activation=gelu)(x))
    model = randomized(keras.Model(image, layers.Dense(3)(x)))
    x = np.random.default_rng(0).standard_normal((2, 4)).astype("float32")
    equal(model, x)
    fast, report = reskeras.optimize(model)
    assert report.check.passed
    np.testing.assert_allclose(fast(x), model(x), rtol=1e-5)


def test_a_tuple_of_outputs_stays_one():
    image = keras.Input((4,))
    model = keras.Model(image, (layers.Dense(3)(image), layers.Dense(2)(image)))
    assert isinstance(equal(model, np.ones((2, 4), "float32"))(np.ones((2, 4), "float32")), tuple)
