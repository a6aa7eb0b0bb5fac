"""What makes building fast changes nothing: layers, their attributes, the graph and the initial values.

The other side is the same build by Keras alone, without `build_faster` and `postpone_values`.
"""
import contextlib
import gc
import inspect
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import tiny

import reskeras
import reskeras.build
from reskeras import _keras_building
from reskeras._keras_building import build_faster

NETS = ["resnet50", "resnest50", "ecaresnet26t", "skresnet18", "resnetv2_50x1_bit", "resnetrs50",
        "inception_v4", "cifar_resnet20"]


def build_slowly(monkeypatch, make):
    with monkeypatch.context() as patch:
        patch.setattr(reskeras.build, "build_faster", contextlib.nullcontext)
        patch.setattr(reskeras.build, "postpone_values", lambda is_wanted: contextlib.nullcontext([]))
        return make()


def describe(value, depth=0):
    """A value of a layer's attribute in a form that two equal layers share."""
    if isinstance(value, keras.Variable):
        return value.path, value.dtype, tuple(value.shape), value.trainable, value.name
    if isinstance(value, dict):
        return type(value).__name__, {str(key): describe(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [describe(item, depth + 1) for item in value]
    if isinstance(value, (str, int, float, type(None), inspect.Signature)):
        return value
    if isinstance(value, set):
        return type(value).__name__, len(value)
    if hasattr(value, "get_config") and not isinstance(value, keras.Model) and depth < 3:
        return type(value).__name__, value.get_config()
    return type(value).__name__


def make_with_seed(net, **arguments):
    def make():
        keras.utils.clear_session()
        keras.utils.set_random_seed(3)
        return tiny(net, **arguments)
    return make


@pytest.mark.parametrize("net", NETS)
def test_every_attribute_and_value_is_that_of_keras(net, monkeypatch):
    arguments = {} if net.startswith("inception") else {"drop_path_rate": 0.1}
    make = make_with_seed(net, dropout_rate=0.1, **arguments)
    fast, slow = make(), build_slowly(monkeypatch, make)
    assert fast.get_config() == slow.get_config()
    for a, b in zip([fast, *fast.layers], [slow, *slow.layers], strict=True):
        ours, theirs = ({key: describe(value) for key, value in vars(layer).items()} for layer in (a, b))
        assert ours == theirs, a.name
        assert [v.path for v in a.variables] == [v.path for v in b.variables]
        ours, theirs = ({key: describe(value) for key, value in vars(layer._tracker).items()}
                        for layer in (a, b))
        assert ours == theirs, a.name
        assert list(a._trackable_children()) == list(b._trackable_children())
    for a, b in zip(fast.variables, slow.variables, strict=True):
        assert describe(a) == describe(b) and type(a.value) is type(b.value)
        assert vars(a).keys() == vars(b).keys() and a._initializer is None is b._initializer
        assert a.value.name == b.value.name     # of TensorFlow: its checkpoints have it
        np.testing.assert_array_equal(a.numpy(), b.numpy(), a.path)


def test_constants_that_share_memory_change_alone():
    model = tiny("resnet18")
    first, second = [v for v in model.variables if v.name == "gamma" and v.shape == (16,)][:2]
    first.assign_add(np.ones(16))
    first.value.scatter_nd_update([[0]], [5.0])
    assert first.numpy()[0] == 5 and np.all(second.numpy() == 1)


def test_no_value_is_drawn_that_a_file_replaces(monkeypatch, tmp_path):
    source = tiny("resnet18")
    file = tmp_path / "net.weights.h5"
    source.save_weights(file)
    drawn = []
    draw = keras.initializers.VarianceScaling.__call__
    monkeypatch.setattr(keras.initializers.VarianceScaling, "__call__",
                        lambda self, shape, dtype=None: drawn.append(shape) or draw(self, shape, dtype))
    model = tiny("resnet18", weights=file)
    assert not drawn
    for a, b in zip(model.variables, source.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
        assert a.dtype == b.dtype

    half = tiny("resnet18", weights=file, dtype="bfloat16")
    assert not drawn and {v.dtype for v in half.layers[2].variables} == {"bfloat16"}
    x = np.random.default_rng(0).standard_normal((1, 64, 64, 3), "float32")
    np.testing.assert_allclose(half(x).numpy(), model(x).numpy(), atol=0.05)


@pytest.mark.parametrize("scope", [
    lambda: tf.distribute.MirroredStrategy(["CPU:0"]).scope(), lambda: tf.device("CPU:0"),
    lambda: keras.StatelessScope()])
def test_other_scopes_build_too(scope):
    with scope():
        model = tiny("resnet18")
    if "Stateless" in type(scope()).__name__:
        assert all(v._value is not None for v in model.variables)       # Keras fills them at the scope's end
    assert np.isfinite(model(np.ones((1, 64, 64, 3), "float32"))).all()


def test_a_layer_of_the_caller():
    """A layer of the caller's may read and set its variables as it is built."""
    class Scaled(keras.layers.BatchNormalization):
        def build(self, input_shape):
            super().build(input_shape)
            self.gamma.assign(self.gamma * 2)

    model = tiny("resnet18", norm=lambda **options: Scaled(**options))
    assert {float(v.numpy()[0]) for v in model.variables if v.name == "gamma"} == {2.0}


def test_keras_is_as_before_after_every_build():
    """Also after an error, and if two threads build at once."""
    layer, operation = (__import__(f"keras.src.{name}", fromlist=["inspect"])
                        for name in ("layers.layer", "ops.operation"))
    tracker = __import__("keras.src.utils.tracking", fromlist=["Tracker"]).Tracker

    def state():
        return (keras.layers.Layer.__setattr__, layer.inspect, operation.inspect, tracker.track,
                layer.is_backend_tensor_or_symbolic, gc.isenabled(), _keras_building._originals)
    before = state()
    tiny("resnet18")
    assert state() == before
    with pytest.raises(ValueError, match="input_shape"):
        tiny("inception_v4", input_shape=(8, 8, 3))
    with pytest.raises(RuntimeError, match="stop"), build_faster():
        assert state()[:5] != before[:5]
        raise RuntimeError("stop")
    assert state() == before

    started, other_is_done = threading.Event(), threading.Event()

    def build_for_long():
        with build_faster():
            started.set()
            other_is_done.wait(20)
            keras.layers.Dense(1)
    thread = threading.Thread(target=build_for_long)
    thread.start()
    started.wait(20)
    with build_faster():
        keras.layers.Dense(1)
    other_is_done.set()
    thread.join()
    assert state() == before


def test_a_version_of_keras_without_these_names(monkeypatch):
    """Then nets are built as Keras builds them."""
    def import_module(name, *args):
        if name.startswith("keras.src"):
            raise ImportError(name)
        return real(name, *args)
    real = _keras_building.importlib.import_module
    monkeypatch.setattr(_keras_building.importlib, "import_module", import_module)
    model = tiny("resnet18")
    assert np.isfinite(model(np.ones((1, 64, 64, 3), "float32"))).all()
