"""Passes: first what must not change, then what must, then that nothing but work was lost."""
import keras
import numpy as np
import pytest
from keras import layers

import reskeras
from reskeras.graph.graph import Graph
from reskeras.graph.passes.drop_noops import drop_noops
from reskeras.graph.passes.fold_bn import fold_bn
from reskeras.graph.proof import prove


def chain(*parts, shape=(8, 8, 4)):
    x = image = keras.Input(shape)
    for part in parts:
        x = part(x)
    model = keras.Model(image, x)
    randomize(model)
    return model


def randomize(model):
    random = np.random.default_rng(0)
    for v in model.variables:
        v.assign(random.uniform(0.5, 1.5, v.shape) if v.name in ("gamma", "moving_variance") else
                 random.standard_normal(v.shape) * 0.3)


def kinds(graph):
    return [node.kind.__name__ for node in graph.nodes]


def two_readers():
    image = keras.Input((8, 8, 4))
    x = layers.Conv2D(4, 1)(image)
    model = keras.Model(image, layers.Add()([x, layers.BatchNormalization()(x)]))
    randomize(model)
    return model


def shared_conv():
    image, conv = keras.Input((8, 8, 4)), layers.Conv2D(4, 1)
    model = keras.Model(image, layers.Add()([layers.BatchNormalization()(conv(image)), conv(image)]))
    randomize(model)
    return model


@pytest.mark.parametrize("make", [
    two_readers, shared_conv, lambda: chain(layers.Conv2D(4, 1, activation="relu"), layers.BatchNormalization()),
    lambda: chain(layers.BatchNormalization(), layers.Conv2D(4, 1)), lambda: chain(layers.ReLU(), layers.BatchNormalization()),
    lambda: chain(layers.Conv2D(4, 1), layers.BatchNormalization(axis=1))])
def test_fold_bn_leaves_alone(make):
    graph = Graph.of(make())
    assert kinds(fold_bn(graph)) == kinds(graph)


@pytest.mark.parametrize("layer", [
    layers.Conv2D(6, 3, use_bias=False, name="bare"), layers.Conv2D(6, 3, name="biased"), layers.Dense(5, name="dense"),
    layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise"), layers.Conv2D(6, 3, strides=2, name="strided")],
    ids=lambda layer: layer.name)
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}, {"epsilon": 0.1}], ids=str)
def test_fold_bn(layer, options):
    before = Graph.of(chain(type(layer).from_config(layer.get_config()), layers.BatchNormalization(**options), layers.ReLU()))
    after = fold_bn(before)
    assert "BatchNormalization" in kinds(before) and "BatchNormalization" not in kinds(after)
    assert fold_bn(after) == after
    assert prove(before, after).holds


def test_a_wrong_fold_is_refused(monkeypatch):
    from reskeras.graph import optimize as room
    model = chain(layers.Conv2D(4, 1), layers.BatchNormalization(epsilon=1e-3))

    def wrong(graph):       # forgets the epsilon
        norm = graph.nodes[-1]
        return fold_bn(graph.swap(norm, type(norm)(**{**vars(norm), "config": {**norm.config, "epsilon": 0.0}})))
    monkeypatch.setattr(room, "PASSES", (wrong,))
    with pytest.raises(ValueError, match="differs by"):
        room.optimize(model)
    assert room.optimize(model, proof=False)[1].proof is None


def test_drop_noops():
    model = chain(layers.Dropout(0.5), layers.Activation("linear"), layers.Activation("relu"), layers.Identity())
    assert kinds(drop_noops(Graph.of(model))) == ["InputLayer", "Activation", "Identity"]     # the output stays


@pytest.mark.parametrize("name", ["cifar_resnet20", "seresnext26t_32x4d", "skresnet18", "resnest14", "ecaresnet26t",
                                  "resnetv2_18"])
def test_nets(name):
    fields = dict(width=0.25) if "cifar" not in name else {}
    model = reskeras.create(name, weights=None, input_shape=(None, None, 3), classes=10, drop_path_rate=0.1, dropout_rate=0.1,
                            **fields)
    randomize(model)
    before = [w.copy() for w in model.get_weights()]
    fast, certificate = reskeras.optimize(model)
    assert certificate.max_relative_difference <= 1e-9
    assert not any(isinstance(layer, layers.Dropout) for layer in fast.layers)
    if "v2" not in name:
        assert not any(isinstance(layer, layers.BatchNormalization) for layer in fast.layers)
    assert fast.output_names == model.output_names
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_structures_survive():
    """Several inputs and outputs by name, shared layers and a nested model."""
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    shared = layers.Dense(4)
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    model = keras.Model({"a": a, "b": b}, {"sum": layers.Add(name="sum")([shared(a), shared(shared(b))]), "inner": inner(b)})
    again = Graph.of(model).build()
    x = {"a": np.ones((2, 4), "float32"), "b": np.full((2, 4), 2, "float32")}
    expected, got = model(x), again(x)
    assert set(got) == {"sum", "inner"}
    for key in expected:
        np.testing.assert_array_equal(expected[key], got[key])


def test_subclassed_model_has_no_graph():
    class Own(keras.Model):
        def call(self, x):
            return x
    model = Own()
    model(np.ones((1, 2)))
    with pytest.raises(ValueError, match="no graph"):
        reskeras.optimize(model)
