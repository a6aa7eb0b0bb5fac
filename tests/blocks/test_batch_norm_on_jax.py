"""Under KERAS_BACKEND=jax: one reading of a map for both statistics, and Keras' results."""
import keras
import numpy as np
import pytest

from reskeras.blocks.batch_norm import BatchNormalization

if keras.config.backend() != "jax":
    pytest.skip("for KERAS_BACKEND=jax", allow_module_level=True)

import jax

SHAPE = (4, 6, 5, 8)
EPSILON, MOMENTUM = 1e-3, 0.9


def case(dtype, mean=3.0, moving_mean=None):
    """Images, the gradient of the output, and gamma, beta and the moving statistics."""
    random = np.random.default_rng(0)
    variables = random.uniform(0.5, 1.5, (4, SHAPE[-1])).astype("float32")
    if moving_mean is not None:
        variables[2] = moving_mean
    half = "float16" if dtype == "mixed_float16" else "bfloat16"     # the same numbers for every type
    x, upstream = (jax.numpy.asarray(mean + 2 * random.standard_normal(SHAPE)).astype(half) for _ in range(2))
    return x, upstream, variables


def step(kind, dtype, mean=3.0, moving_mean=None, **options):
    """Output, gradients and moving statistics of a step."""
    x, upstream, variables = case(dtype, mean, moving_mean)
    layer = kind(momentum=MOMENTUM, epsilon=EPSILON, dtype=dtype, **options)
    layer.build(SHAPE)
    layer.set_weights(variables[[layer.scale, layer.center, True, True]] if layer.axis != 1 else
                      [np.resize(row, SHAPE[1]) for row in variables])
    x, upstream = (array.astype(layer.compute_dtype) for array in (x, upstream))
    fixed = [variable.value for variable in layer.non_trainable_variables]

    def run(trainable, x):
        return layer.stateless_call(trainable, fixed, x, training=True)
    y, gradients, moving = jax.vjp(run, [v.value for v in layer.trainable_variables], x, has_aux=True)
    return [np.asarray(array, "float64") for array in (y, *jax.tree.leaves(gradients(upstream)), *moving)]


def exact_step(dtype, mean=3.0, moving_mean=None, scale=True, center=True):
    """The same by the paper's formulas, in float64."""
    x, upstream, (gamma, beta, *moving) = (
        np.asarray(array, "float64") for array in case(dtype, mean, moving_mean))
    gamma, beta = gamma if scale else np.ones_like(gamma), beta if center else np.zeros_like(beta)
    pixels = (0, 1, 2)
    deviation = np.sqrt(x.var(pixels) + EPSILON)
    normal = (x - x.mean(pixels)) / deviation
    gradient = gamma / deviation * (
        upstream - upstream.mean(pixels) - normal * (upstream * normal).mean(pixels))
    return [
        gamma * normal + beta, *[(upstream * normal).sum(pixels)] * scale, *[upstream.sum(pixels)] * center,
        gradient, *(old * MOMENTUM + new * (1 - MOMENTUM)
                    for old, new in zip(moving, (x.mean(pixels), x.var(pixels))))]


def distance(arrays, others):
    return max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(arrays, others, strict=True))


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("options", [
    {}, {"scale": False}, {"center": False, "scale": False}, {"mean": 100.0, "moving_mean": 90.0},
    {"mean": -30.0, "moving_mean": 0.0}, {"mean": 1000.0, "moving_mean": 0.0}], ids=str)
def test_a_step_is_that_of_keras(dtype, options):
    """About as near to the step in float64 as Keras' own: the difference of two sums has some digits less."""
    exact = exact_step(dtype, **options)
    ours, theirs = (
        step(kind, dtype, **options) for kind in (BatchNormalization, keras.layers.BatchNormalization))
    assert distance(ours, exact) < 2 * distance(theirs, exact) + 2e-5


def test_a_map_is_read_less_often():
    """There are fewer sums, although one of them is of a single image."""
    def count(kind):
        layer = kind()
        layer.build(SHAPE)
        variables = [[v.value for v in kinds]
                     for kinds in (layer.trainable_variables, layer.non_trainable_variables)]

        def loss(trainable, x):
            return layer.stateless_call(trainable, variables[1], x, training=True)[0].sum()
        text = str(jax.make_jaxpr(jax.grad(loss, (0, 1)))(variables[0], np.ones(SHAPE, "float32")))
        return text.count("reduce_sum[")
    assert count(BatchNormalization) < count(keras.layers.BatchNormalization)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_moving_mean_that_overflowed_does_not_spoil_a_step(bad):
    layer = BatchNormalization()
    layer.build(SHAPE)
    layer.moving_mean.assign(np.full(SHAPE[-1], bad))
    assert np.isfinite(layer(np.ones(SHAPE, "float32"), training=True)).all()


def test_a_constant_channel():
    """Its variance is zero, not a small negative number."""
    layer = BatchNormalization(epsilon=1e-9)
    layer.build(SHAPE)
    y = layer(np.full(SHAPE, 1000.1, "float32"), training=True)
    assert np.isfinite(y).all() and (np.asarray(layer.moving_variance) >= 0).all()


@pytest.mark.parametrize("options", [{"axis": 1}, {"trainable": False}], ids=str)
def test_the_rest_is_by_keras(options):
    ours, theirs = (
        step(kind, "float32", **options) for kind in (BatchNormalization, keras.layers.BatchNormalization))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)
