"""Every value of every axis builds, trains, saves and loads, in a tiny net; with `slow`, every variant."""
import dataclasses

import keras
import numpy as np
import pytest
from tiny import images, tiny, tiny_spec, trained

import reskeras
from reskeras.blocks.attention import ATTENTIONS
from reskeras.blocks.spatial import MIXERS
from reskeras.spec import CHOICES, InceptionSpec, Spec, SplitAttention
from reskeras.variants import VARIANTS

if keras.config.backend() != "tensorflow":
    pytest.skip("a train step is written for each backend", allow_module_level=True)

import tensorflow as tf  # noqa: E402

# variants, and behind a variant Spec fields that no variant has
CASES = [
    "plainnet18", "resnet18_option_c", "resnet18_vd", "resnet50", "resnet50_gn", "resnet10t", "resnetaa50d",
    "resnetblur18", "resnet50v2",
    "resnetv2_50d", "resnetv2_50x1_bit", "wide_resnet50_2", "resnext50_32x4d", "seresnet18v1",
    "seresnext26_32x4d",
    "senet154", "ecaresnet50t", "skresnet18", "skresnext50_32x4d", "resnest50", "resnest50_fast_1s4x24d",
    "resnest50_fast_4s2x40d", "resnetrs50", "inception_v4", "inception_resnet_v2", "cifar_resnet20",
    "cifar_preresnet164",
    "cifar_wide_resnet16_4", "mlperf_tiny_resnet8", "ecaresnet50d_pruned", "test_resnet", "cifar_preresnet18",
    ("cifar_resnet20", dict(order="bn_after_add", shortcut="constant", output_stride=1)),
    ("cifar_resnet164", dict(order="relu_before_add", shortcut="exclusive_gate", output_stride=2)),
    ("cifar_resnet56b", dict(order="relu_only_pre", shortcut="shortcut_gate", output_stride=4,
                             zero_init_residual=True)),
    ("cifar_preresnet20", dict(shortcut="dropout", norm="sync_batch", drop_path_rate=0.2,
                               drop_path_mode="batch")),
    ("cifar_resnet32", dict(norm="none", conv_bias="unnormed", activation="silu", attention="eca",
                            block_dropout_rate=0.2)),
    ("resnet50v1_5", dict(drop_block_rate=0.2, drop_block_size=3, dropout_rate=0.3, output_stride=8)),
    ("resnetv2_50x1_bit", dict(zero_init_residual=True, output_stride=16, activation="leaky_relu")),
    ("resnext50_2x40d", dict(form="concat", output_stride=32, pool="max_ceil", activation="silu")),
    ("resnext50_2x40d", dict(form="sum", attention="se", zero_init_residual=True)),
    ("resnest50", dict(groups=2, base_width=40, drop_path_rate=0.5, drop_block_rate=0.1, output_stride=8)),
    ("skresnet50d", dict(antialias="blur", output_stride=16, stem="cifar", pool="none", drop_path_rate=0.1)),
    ("inception_resnet_v2", dict(activation="silu", dropout_rate=0.2)),
]
CASES = [(case, {}) if isinstance(case, str) else case for case in CASES]
REST = [(variant, {}) for variant in VARIANTS if (variant, {}) not in CASES]


def param(variant, fields, marks=()):
    return pytest.param(variant, fields, marks=marks,
                        id="-".join([variant, *(f"{k}={v}" for k, v in fields.items())]))


every_case = pytest.mark.parametrize("variant, fields",
                                     [param(*c) for c in CASES] + [param(*c, pytest.mark.slow) for c in REST])


# (axis, value) of all that a structure can be
AXIS_VALUES = {(axis, value) for axis, values in CHOICES.items() for value in values}
AXIS_VALUES |= {("mixer", kind) for kind in MIXERS} | {("radix", radix) for radix in (1, 2, 4)}
AXIS_VALUES |= {("attention", kind) for kind in ATTENTIONS} | {("version", v) for v in ("v4", "resnet_v2")}


def axis_values(variant, fields):
    """Those of AXIS_VALUES that a case has."""
    spec = tiny_spec(variant, **fields)
    if isinstance(spec, InceptionSpec):
        return {("version", spec.version)}
    values = {(axis, getattr(spec, axis)) for axis in CHOICES}
    values |= {("mixer", type(spec.mixer)), ("attention", type(spec.attention))}
    if isinstance(spec.mixer, SplitAttention):
        values.add(("radix", spec.mixer.radix))
    return values & AXIS_VALUES


def choose_cases():
    """Few of the cases that have every one of AXIS_VALUES: each adds most to those before."""
    chosen, missing = [], set(AXIS_VALUES)
    values = [axis_values(*case) for case in CASES]
    while missing and any(missing & of_case for of_case in values):
        best = max(range(len(CASES)), key=lambda i: len(missing & values[i]))
        chosen.append(CASES[best])
        missing -= values[best]
    return chosen


@pytest.mark.parametrize("kind, scalars", [
    (Spec, {"gate_bias", "norm_groups"}), (InceptionSpec, {"bn_epsilon", "classes", "input_size", "pixels"})])
def test_cases_move_every_field(kind, scalars):
    """Each field takes more than its default somewhere, but for `scalars`, which change no structure."""
    specs = [spec for variant, fields in CASES if isinstance(spec := tiny_spec(variant, **fields), kind)]
    unmoved = {field.name for field in dataclasses.fields(kind)
               if all(getattr(spec, field.name) == field.default for spec in specs)}
    assert unmoved <= scalars


@pytest.fixture
def policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


# The quick run.  In bfloat16, which has the range of float32, few cases are enough.
QUICK = {"float32": CASES, "mixed_float16": CASES, "mixed_bfloat16": choose_cases()}


@pytest.mark.parametrize("policy", QUICK)
def test_cases_cover_every_value_of_every_axis(policy):
    covered = set().union(*(axis_values(*case) for case in QUICK[policy]))
    assert covered == AXIS_VALUES and all(case in CASES for case in QUICK[policy])


def policy_cases():
    """The quick cases of each dtype policy; with `slow` every case and every variant."""
    for variant, fields in [*CASES, *REST]:
        for policy, quick in QUICK.items():
            yield pytest.param(policy, variant, fields, id="-".join([policy, param(variant, fields).id]),
                               marks=[] if (variant, fields) in quick else pytest.mark.slow)


@pytest.mark.parametrize("policy, variant, fields", list(policy_cases()), indirect=["policy"])
def test_trains(variant, fields, policy):
    """One step reaches every variable, and the head computes in float32."""
    keras.utils.set_random_seed(0)
    model = tiny(variant, **fields)
    head = model.get_layer("predictions")
    assert head.compute_dtype == model.outputs[0].dtype == "float32"
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    single = {layer.name for layer in model.layers if layer.compute_dtype == "float32"}
    everything, top = {layer.name for layer in model.layers}, {"avg_pool", "top_dropout", "predictions"}
    assert single == (everything if policy == "float32" else everything & top)
    with tf.GradientTape() as tape:
        y = model(images(model), training=True)
        loss = keras.losses.SparseCategoricalCrossentropy()(np.arange(len(y)), y)
    np.testing.assert_allclose(np.sum(y, axis=-1), 1, rtol=1e-5)
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    assert not [v.path for v, gradient in zip(model.trainable_variables, gradients)
                if gradient is None or not np.isfinite(gradient).all()]


@every_case
def test_saves_and_names(variant, fields, tmp_path):
    """A file brings back the same bits, and names do not depend on what was built before."""
    model = trained(tiny(variant, **fields))
    model.save(tmp_path / "net.keras")
    loaded = reskeras.load(tmp_path / "net.keras")
    x = images(model)
    np.testing.assert_array_equal(loaded(x, training=False), model(x, training=False))
    names = [layer.name for layer in model.layers]
    again = tiny(variant, **fields)
    assert [layer.name for layer in again.layers] == [layer.name for layer in loaded.layers] == names
    assert [v.path for v in loaded.trainable_variables] == [v.path for v in model.trainable_variables]
