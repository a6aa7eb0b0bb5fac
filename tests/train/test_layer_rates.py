"""The learning rate of each layer with `layer_decay`, against timm and against plain Keras."""
import json
import pathlib

import keras
import numpy as np
import pytest
import small_training
import tensorflow as tf

import reskeras
from reskeras.train.layer_rates import find_layer_scales, list_rate_scales
from reskeras.train.optimizers import make_optimizer
from reskeras.train.training import Training
from reskeras.weights.convert import list_variables
from reskeras.weights.save_names import choose_pytorch_name, get_layout

TIMM = json.loads((pathlib.Path(__file__).parents[1] / "golden/training/layer_decay.json").read_text())
# the names of the layers of these nets need few channels only, and no values
NETS = ["resnet18", "resnet50d", "resnetrs50", "skresnet18", "resnetv2_50", "legacy_seresnet18",
        "inception_v4"]


@pytest.mark.parametrize("name", NETS)
def test_scales_are_those_of_timm(name):
    from reskeras.catalog import find_variant
    from reskeras._keras_private import build_without_values
    spec = find_variant(f"timm/{name}")[0].spec
    with build_without_values():
        model = reskeras.create(f"timm/{name}", weights=None)
    expected = {key: float(scale) for scale, keys in TIMM[name].items() for key in keys}
    scales, layers, compared = find_layer_scales(model, 0.75), [la.name for la in model.layers], set()
    for full_name, variable, _ in list_variables(model):
        layer = full_name.partition(".")[0]
        key = choose_pytorch_name(layer, variable.name, get_layout(f"timm/{name}"), spec, layers)
        key = key.rpartition(".")[0]
        assert scales[layer] == pytest.approx(expected[key], rel=1e-12), (layer, key)
        compared.add(key)
    assert compared == expected.keys()


FIELDS = {
    "sgd": dict(optimizer="sgd", momentum=0.9, weight_decay=0.01),
    "velocity": dict(optimizer="nesterov", momentum=0.9, learning_rate_in_velocity=True),
    "adamw": dict(optimizer="adamw", weight_decay=0.1, decayed_weights="kernels"),
    "lamb": dict(optimizer="lamb", weight_decay=0.1, clipvalue=0.05)}


@pytest.mark.parametrize("case", [
    "sgd", "adamw", pytest.param("velocity", marks=pytest.mark.slow),
    pytest.param("lamb", marks=pytest.mark.slow)])
def test_each_group_is_trained_as_by_an_optimizer_of_its_own(case):
    """Five updates in float64, against one optimizer for each group with its rate."""
    training = Training(epochs=1, layer_decay=0.5, **FIELDS[case])

    def make_net():
        keras.utils.set_random_seed(0)
        return reskeras.CifarResNet20(weights=None, depths=(1, 1, 1), width=0.25, classes=4, dtype="float64",
                                      input_shape=(8, 8, 3), norm="batch")
    random = np.random.default_rng(0)
    images, labels = random.normal(size=(5, 4, 8, 8, 3)), random.integers(0, 4, (5, 4))
    loss = keras.losses.SparseCategoricalCrossentropy(dtype="float64")

    def train(net, apply):
        @tf.function
        def step(x, y):
            with tf.GradientTape() as tape:
                value = loss(y, net(x, training=True))
            apply(tape.gradient(value, [v.value for v in net.trainable_variables]))
        for x, y in zip(images, labels):
            step(tf.constant(x), tf.constant(y))
        return net.get_weights()

    net = make_net()
    variables = net.trainable_variables
    scales = list_rate_scales(net, 0.5, variables)
    assert sorted(set(scales)) == [0.0625, 0.125, 0.25, 0.5, 1.0]
    one = make_optimizer(training, 0.1, 1, scales)
    one.build(variables)
    copy = type(one).from_config(one.get_config())
    assert copy.rate_scales == one.rate_scales
    together = train(net, lambda gradients: one.apply(gradients, variables))

    net = make_net()
    variables, optimizers = net.trainable_variables, []
    for scale in sorted(set(scales)):
        indices = [i for i, s in enumerate(scales) if s == scale]
        optimizer = make_optimizer(Training(epochs=1, **FIELDS[case]), 0.1 * scale)
        optimizer.build([variables[i] for i in indices])
        optimizers.append((optimizer, indices))

    def apply_all(gradients):
        for optimizer, indices in optimizers:
            optimizer.apply([gradients[i] for i in indices], [variables[i] for i in indices])
    for ours, theirs in zip(together, train(net, apply_all), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_fit_trains_the_layers_at_their_rates():
    """With the first epoch for the classifier only; then the first update of plain SGD shows each rate."""
    steps = {}

    class Watch(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.before = [keras.ops.convert_to_numpy(v) for v in self.model.trainable_variables]

        def on_train_batch_end(self, batch, logs=None):
            after = [keras.ops.convert_to_numpy(v) for v in self.model.trainable_variables]
            steps.setdefault(len(after), []).append([np.abs(a - b).max() for a, b in zip(after, self.before)])

    fields = dict(optimizer="sgd", momentum=0, weight_decay=0, schedule="constant", learning_rate=0.1,
                  learning_rate_scaling="none", head_epochs=1, head_learning_rate=0.05, epochs=1,
                  batch_size=64)
    net = small_training.make_net()
    start = net.get_weights()
    small_training.train(net, callbacks=[Watch()], layer_decay=0.001, **fields)
    (head, _), (all_layers, with_decay) = sorted(steps.items())[0], sorted(steps.items())[1]
    assert head == 2        # the classifier's kernel and bias
    steps.clear()
    net.set_weights(start)
    small_training.train(net, callbacks=[Watch()], **fields)
    without_decay = steps[all_layers]
    scales = list_rate_scales(net, 0.001, net.trainable_variables)
    ratios = np.array(with_decay[0]) / np.array(without_decay[0])
    large = np.array(scales) >= 1e-3        # below, float32 does not resolve the step
    np.testing.assert_allclose(ratios[large], np.array(scales)[large], rtol=2e-2)
    assert large.sum() > 5 and (np.array(with_decay[0])[~large] < 1e-6).all()


def test_contradictions():
    small = small_training.make_net()
    with pytest.raises(ValueError, match="layer_decay=1.5: expected a factor of at most 1"):
        small_training.train(small, layer_decay=1.5)
    with pytest.raises(ValueError, match="layer_decay=0.5: expected none with the optimizer Lion"):
        small_training.train(small, layer_decay=0.5, optimizer=keras.optimizers.Lion(1e-4))
    image = keras.Input((16, 16, 1))
    other = keras.Model(image, keras.layers.Dense(10, "softmax")(keras.layers.Flatten()(image)))
    with pytest.raises(ValueError, match="layer_decay=0.5: expected 0, because the layers of .* are not"):
        small_training.train(other, layer_decay=0.5)
