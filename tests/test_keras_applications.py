"""Our Keras nets against keras.applications: names, variables, outputs, both layouts of files of weights."""
import keras
import numpy as np
import pytest

import reskeras

NETS = ["ResNet50", "ResNet101", "ResNet152", "ResNet50V2", "ResNet101V2", "ResNet152V2", "InceptionResNetV2"]


def randomize(model):
    """Every variable away from its start; BN statistics too, or a swapped pair would pass.

    Kernels and scales shrink the residual branches, so that 150 layers neither vanish nor explode.
    """
    r = np.random.default_rng(0)
    for v in model.variables:
        if len(v.shape) > 1:
            v.assign(r.standard_normal(v.shape) * np.sqrt(0.5 / np.prod(v.shape[:-1])))
        elif v.name in ("gamma", "moving_variance"):
            v.assign(r.uniform(0.5, 1.0, v.shape))
        else:
            v.assign(0.1 * r.standard_normal(v.shape))


def is_slow(name):
    return "101" in name or "152" in name


def compute_outputs(model, x, in_a_graph):
    """In a graph as `predict` does, or by a plain call, which needs no tracing."""
    return np.asarray(model.predict_on_batch(x) if in_a_graph else model(x, training=False))


@pytest.mark.parametrize("name",
                         [pytest.param(name, marks=[pytest.mark.slow] * is_slow(name)) for name in NETS])
def test_drop_in(name, tmp_path, initial_zeros):
    keras.utils.clear_session()     # Keras numbers some of its layers by what the process built before
    size = 107 if name == "InceptionResNetV2" else 65
    # without the softmax: a saturated one would agree with anything
    theirs = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3),
                                               classifier_activation=None)
    randomize(theirs)
    x = np.random.default_rng(1).standard_normal((2, size, size, 3)).astype("float32")
    in_a_graph = is_slow(name) or name == "ResNet50V2"
    expected = compute_outputs(theirs, x, in_a_graph)
    assert np.ptp(expected) > 0.1 and np.abs(expected).max() < 1e3      # neither constant nor blown up
    for file in ("w.weights.h5", "w.h5"):
        if file == "w.weights.h5":
            theirs.save_weights(tmp_path / file)
        else:
            save_legacy(theirs, tmp_path / file)
        ours = getattr(reskeras, name)(weights=tmp_path / file, input_shape=(size, size, 3),
                                       classifier_activation=None)
        got = compute_outputs(ours, x, in_a_graph)
        assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()
    assert [v.shape for v in ours.trainable_variables] == [v.shape for v in theirs.trainable_variables]
    if name != "InceptionResNetV2":     # whose convolutions Keras numbers by build order
        assert [layer.name for layer in ours.layers] == [layer.name for layer in theirs.layers]


def save_legacy(model, path):
    """The layout of keras.applications' published files: a group per layer, its arrays in `weight_names`."""
    import h5py
    with h5py.File(path, "w") as h5:
        h5.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        for layer in model.layers:
            group = h5.create_group(layer.name)
            group.attrs["weight_names"] = [f"{layer.name}/{w.name}:0".encode() for w in layer.weights]
            for w in layer.weights:
                group[f"{layer.name}/{w.name}:0"] = w.numpy()


def test_no_top_file_without_top(tmp_path, initial_zeros):
    theirs = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 64, 3),
                                         pooling="avg")
    randomize(theirs)
    save_legacy(theirs, tmp_path / "notop.h5")
    ours = reskeras.ResNet50(weights=tmp_path / "notop.h5", include_top=False, input_shape=(64, 64, 3),
                             pooling="avg")
    x = np.random.default_rng(1).standard_normal((1, 64, 64, 3)).astype("float32")
    np.testing.assert_allclose(ours.predict_on_batch(x), theirs.predict_on_batch(x), rtol=1e-4, atol=1e-5)
