"""GroupedConv2D against one convolution for each group, in float64.

Run as a script, it checks the same in a process of its own, where TensorFlow's CPU code is another.
"""
import itertools
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

if keras.config.backend() != "tensorflow":
    pytest.skip("the native op is TensorFlow's", allow_module_level=True)

import tensorflow as tf  # noqa: E402

from reskeras.blocks import grouped_conv as module  # noqa: E402

ROOT = Path(__file__).parents[2]
TOLERANCE = {"float32": 1e-5, "float16": 1e-3, "bfloat16": 1e-2, "float64": 1e-12}
SHAPE = (2, 9, 8, 8)
CASES = {
    "same": dict(padding="same"),
    "valid": dict(kernel_size=2, groups=2),
    "strided": dict(padding="same", strides=2, groups=8),
    "strided_valid": dict(strides=3, use_bias=False),
    "dilated": dict(padding="same", dilation_rate=2),
    "dilated_valid": dict(kernel_size=(3, 2), dilation_rate=(2, 3), filters=8, activation=None),
    "pointwise": dict(kernel_size=1, strides=2),
}
FALLBACKS = [(True, False, False), (True, True, False), (False, False, False)]


def make(dtype="float32", **options):
    keras.utils.set_random_seed(0)
    return module.GroupedConv2D(**dict(filters=16, kernel_size=3, groups=4, activation="relu",
                                       bias_initializer="uniform", dtype=dtype) | options)


def data(dtype, shape=SHAPE):
    return tf.cast(np.random.default_rng(0).normal(size=shape), dtype)


def reference(layer, x, upstream):
    """Output and gradients; a dilated kernel is written out with its zeros."""
    cast = [tf.cast(tf.cast(w, layer.compute_dtype), "float64") for w in layer.trainable_weights]
    (h, w, *channels), (dh, dw) = cast[0].shape, layer.dilation_rate
    taps = [[i * dh, j * dw] for i, j in itertools.product(range(h), range(w))]
    size = [dh * (h - 1) + 1, dw * (w - 1) + 1, *channels]
    x, upstream = tf.cast(x, "float64"), tf.cast(upstream, "float64")
    with tf.GradientTape() as tape:
        tape.watch([x, *cast])
        kernel = tf.scatter_nd(taps, tf.reshape(cast[0], (h * w, *channels)), size)
        y = tf.concat([tf.nn.conv2d(a, b, layer.strides, layer.padding.upper()) for a, b in zip(
            tf.split(x, layer.groups, -1), tf.split(kernel, layer.groups, -1))], -1)
        y = layer.activation(y + cast[1] if layer.use_bias else y)
    return y, *tape.gradient(y, [x, *cast], upstream)


def check(layer, mode="eager"):
    """Output, and gradients of input, kernel and bias."""
    def run(x, upstream):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        return y, *tape.gradient(y, [x, *[w.value for w in layer.trainable_weights]], upstream)

    dtype = layer.compute_dtype
    x = data(dtype)
    upstream = data(dtype, layer.compute_output_shape(x.shape))
    layer.build(x.shape)
    if mode == "dynamic":
        image = tf.TensorSpec((None, None, None, x.shape[-1]), dtype)
        run = tf.function(run, input_signature=[image, tf.TensorSpec(None, dtype)])
    elif mode != "eager":
        run = tf.function(run, jit_compile=mode == "jit")
    names = ["output", "input", "kernel", "bias"]
    for name, value, truth in zip(names, run(x, upstream), reference(layer, x, upstream)):
        assert value.shape == truth.shape, name
        error = np.max(np.abs(tf.cast(value, "float64") - truth)) / np.max(np.abs(truth))
        # the sum over a bias is TensorFlow's own, and in bfloat16 it is coarse
        assert error < TOLERANCE[dtype] * (1 + (name == "bias")), (name, error)


def exported(layer):
    """A concrete function for images of any size, and every node of its graph and library."""
    layer.build(SHAPE)
    function = tf.function(lambda x: layer(x, training=False)).get_concrete_function(
        tf.TensorSpec((None, None, None, SHAPE[-1]), "float32"))
    return function, nodes(function.graph.as_graph_def())


def nodes(graph):
    for function in graph.library.function:
        assert "_XlaMustCompile" not in function.attr
    every = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    assert not any("_XlaMustCompile" in node.attr for node in every)
    return [node.op for node in every]


def check_saved_model(layer, folder):
    """What is loaded gives the same, gradients too, and converts to one op of TFLite."""
    model = keras.Sequential([keras.Input((None, None, SHAPE[-1])), layer])
    model.export(folder, verbose=False)
    loaded, x, found = tf.saved_model.load(folder), data("float32"), []
    nodes(loaded.signatures["serving_default"].graph.as_graph_def())
    for call in (model, loaded.serve):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = call(x)
        found.append([y, tape.gradient(y, x)])
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, atol=1e-5)

    content = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    reader = tf.lite.Interpreter(model_content=content)
    port = reader.get_input_details()[0]["index"]
    reader.resize_tensor_input(port, x.shape)
    reader.allocate_tensors()
    assert {op["op_name"] for op in reader._get_ops_details()} - {"DELEGATE"} == {"CONV_2D"}
    reader.set_tensor(port, x.numpy())
    reader.invoke()
    y = reader.get_tensor(reader.get_output_details()[0]["index"])
    np.testing.assert_allclose(y, found[0][0], atol=1e-5)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_equals_split_form(mode, case, dtype):
    check(make(dtype, **CASES[case]), mode)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("mode, case", [("jit", "strided"), ("jit", "dilated"),
                                        ("dynamic", "same"), ("dynamic", "dilated_valid")])
def test_equals_split_form_jit_and_dynamic(mode, case, dtype):
    check(make(dtype, **CASES[case]), mode)


@pytest.mark.parametrize("mode", ["eager", "graph", "jit"])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy, mode):
    layer = make(policy)
    check(layer, mode)
    assert layer.kernel.dtype == "float32"


@pytest.fixture
def limit(monkeypatch):
    """Takes away what the probe finds."""
    def set_(probed, dtypes=tuple(TOLERANCE)):
        monkeypatch.setattr(module, "_find_support", lambda dtype, *rest: tuple(
            found and (dtype.name not in dtypes or kept)
            for found, kept in zip(real(dtype, *rest), probed)))

    real = module._find_support
    return set_


@pytest.mark.parametrize("probed", FALLBACKS)
@pytest.mark.parametrize("mode, case", [("eager", "strided"), ("graph", "dilated"), ("jit", "same"),
                                        ("dynamic", "valid")])
def test_probe_chooses_fallback(limit, mode, case, probed):
    limit(probed)
    check(make("float32", **CASES[case]), mode)
    ops = exported(make("float32", **CASES[case]))[1]
    assert ops.count("Conv2D") == (1 if probed[0] else make(**CASES[case]).groups)
    forward, fused, _ = module._find_support(tf.float32, (1, 1), (1, 1))
    assert ("EnsureShape" in ops) == (forward and not fused)


def test_half_type_falls_back_on_float32(limit):
    limit((False, False, False), ("float16", "bfloat16"))
    for dtype in ("float16", "bfloat16"):
        check(make(dtype))


def test_probe_is_cached_and_eager_in_a_trace(monkeypatch):
    monkeypatch.setattr(module, "_support_cache", {})
    calls, probe = [], module._probe

    def counted(*args):
        calls.append((tf.executing_eagerly(), *args))
        return probe(*args)

    monkeypatch.setattr(module, "_probe", counted)
    layer = make()
    for call in (tf.function(layer), layer, make()):
        call(data("float32"))
    assert calls == [(True, tf.float32, (1, 1), (1, 1))]


@pytest.mark.parametrize("probed", [None, *FALLBACKS])
def test_second_order(limit, probed):
    limit(probed or (True, True, True))

    def penalty(convolve):
        x, kernel = data("float32"), data("float32", (3, 3, 2, 16))
        with tf.GradientTape() as outer:
            outer.watch((x, kernel))
            with tf.GradientTape() as inner:
                inner.watch((x, kernel))
                y = tf.reduce_sum(convolve(x, kernel) ** 2)
            total = sum(tf.reduce_sum(g ** 2) for g in inner.gradient(y, (x, kernel)))
        return outer.gradient(total, (x, kernel))

    split = lambda x, kernel: module._convolve_by_split(x, kernel, 4, (1, 1), "SAME", (1, 1))  # noqa: E731
    for found, truth in zip(penalty(make(padding="same").convolution_op), penalty(split)):
        np.testing.assert_allclose(found / np.max(np.abs(truth)), truth / np.max(np.abs(truth)),
                                   atol=1e-5)


@pytest.mark.parametrize("case", ["same", "strided", "dilated"])
def test_export_is_native(case):
    ops = exported(make(**CASES[case]))[1]
    assert ops.count("Conv2D") == 1 and not {"Split", "SplitV", "ConcatV2"} & {*ops}


@pytest.mark.parametrize("case", ["same", "strided_valid", "dilated"])
def test_saved_model_and_tflite(case, tmp_path):
    check_saved_model(make(**CASES[case]), str(tmp_path))


def test_keras_file(tmp_path):
    model = keras.Sequential([keras.Input(SHAPE[1:]), make(**CASES["strided"])])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[0]) is module.GroupedConv2D
    np.testing.assert_array_equal(loaded(data("float32")), model(data("float32")))


@pytest.mark.parametrize("jit", [False, True])
def test_training(jit):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.Input(SHAPE[1:]), make(use_bias=False), keras.layers.BatchNormalization(),
        keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=jit)
    before = model.layers[0].kernel.numpy()
    losses = model.fit(data("float32"), np.ones((2, 1)), epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0] and np.any(model.layers[0].kernel.numpy() != before)
    assert np.all(np.isfinite(model.predict(data("float32"), verbose=0)))


def test_one_group_and_inputs_of_numpy():
    x = data("float32").numpy()
    layer, stock = make(groups=1), keras.layers.Conv2D(16, 3, activation="relu")
    stock.build(x.shape)
    layer(x)
    stock.set_weights(layer.get_weights())
    np.testing.assert_array_equal(layer(x), stock(x))


def test_errors():
    with pytest.raises(ValueError, match="channels_first"):
        make(data_format="channels_first")
    layer = make()
    layer.build((None, None, None, 8))
    with pytest.raises(ValueError, match="output"):
        layer(tf.zeros((1, 2, 2, 8)))


def run_alone(*args, **environment):
    done = subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=300,
                          env={**os.environ, "PYTHONPATH": str(ROOT), **environment}, cwd=ROOT)
    assert not done.returncode, done.stdout[-3000:] + done.stderr[-3000:]


def test_without_onednn(tmp_path):
    run_alone(__file__, str(tmp_path), TF_ENABLE_ONEDNN_OPTS="0")


@pytest.mark.parametrize("part", ["quick", pytest.param("whole", marks=pytest.mark.slow)])
def test_with_avx2_only(part):
    """In bfloat16, for which oneDNN has no convolution then, so that the fallback computes."""
    run_alone(__file__, *["", "bfloat16", "same", "strided"] * (part == "quick"), ONEDNN_MAX_CPU_ISA="AVX2")


def test_other_backend_needs_no_tensorflow():
    run_alone("-c", "import keras, sys; keras.config.backend = lambda: 'jax'\n"
              "sys.modules['tensorflow'] = None\n"
              f"from {module.__name__} import GroupedConv2D; GroupedConv2D(4, 3, groups=2)")


def main(folder="", dtype=None, *cases):
    """Everything, and with `folder` what differs without oneDNN; or some cases of one type."""
    if dtype:
        for case in cases:
            check(make(dtype, **CASES[case]), "graph")
        return
    # one strategy over two devices, before anything else starts them
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        layer = make()
        layer.build(SHAPE)

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(layer(x) ** 2)
        return tape.gradient(y, x)

    x = data("float32")
    for gradient in strategy.experimental_local_results(strategy.run(step, (x,))):
        np.testing.assert_allclose(gradient, step(x), atol=1e-4)

    for dtype, case in itertools.product(TOLERANCE, CASES):
        check(make(dtype, **CASES[case]))
    for dtype, mode in itertools.product(TOLERANCE, ["graph", "jit"]):
        check(make(dtype), mode)
    test_training(False)
    if folder:  # without oneDNN
        for dtype in TOLERANCE:
            forward, _, gradient = module._find_support(tf.as_dtype(dtype), (1, 1), (1, 1))
            assert forward and not gradient, dtype
        check_saved_model(make(), folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
