"""Names of tensors in the sources' own code, matched one to one: one net of each by numbers, all by shape."""
import functools
import json
import pathlib

import keras
import numpy as np
import pytest
import sources
from checkpoints import legacy_h5, npz
from golden_rule import generator, images, tensor
from safetensors.numpy import save
from torch_writer import save_torch

import reskeras
from reskeras.weights.convert import rename_tensors, match_tensors
from reskeras.weights.table import get_weights, list_checkpoints

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"

SHORT = (2, 1, 1, 1)
# a checkpoint -> its net by the source's code, fewer blocks, pixels
NETS = {
    "akamaster/resnet20.cifar10": (sources.akamaster, {}, {}, 32),
    "chenyaofo/resnet20.cifar10": (sources.chenyaofo, {}, {}, 33),
    "chenyaofo/resnet20.cifar100": (sources.chenyaofo, {"classes": 100}, {}, 32),
    "torchvision/resnet18.imagenet1k_v1": (
        sources.torchvision,
        {"bottlenecks": False},
        {"depths": SHORT},
        65,
    ),
    "torchvision/resnet50.imagenet1k_v2": (sources.torchvision, {}, {"depths": SHORT}, 64),
    "torchvision/resnext50_32x4d.imagenet1k_v1": (
        sources.torchvision,
        {"groups": 32, "width": 4},
        {"depths": SHORT},
        65,
    ),
    "torchvision/wide_resnet50_2.imagenet1k_v2": (sources.torchvision, {"width": 128}, {"depths": SHORT}, 65),
    "resnest/resnest50.release_in1k": (sources.resnest, {}, {"depths": SHORT}, 65),
    "resnest/resnest101.release_in1k": (sources.resnest, {"stem": 64}, {"depths": SHORT}, 64),
    "resnest/resnest50_fast_4s2x40d.release_in1k": (
        sources.resnest,
        {"radix": 4, "groups": 2, "width": 40, "fast": True},
        {"depths": SHORT},
        65,
    ),
    "resnest/resnest50_fast_1s4x24d.release_in1k": (
        sources.resnest,
        {"radix": 1, "groups": 4, "width": 24, "fast": True},
        {"depths": SHORT},
        64,
    ),
}
# These compute in a graph, as `predict` does: grouped convolutions and split attention.  A plain call of the
# others needs no tracing.
IN_A_GRAPH = {"torchvision/resnext50_32x4d.imagenet1k_v1", "resnest/resnest50.release_in1k"}


@pytest.mark.parametrize("name", NETS)
def test_equals_the_source(name, published):
    """A file as the source writes it, then the same image through the source's net and ours."""
    source, arguments, depths, size = NETS[name]
    parameters, x = sources.Parameters(), images(size)
    expected = np.asarray(source(parameters, x, **arguments, **depths))
    wrapped = {"state_dict": {f"module.{k}": t for k, t in parameters.items()}, "best_prec1": 91.7}
    file = save_torch(wrapped if name.startswith("akamaster") else dict(parameters), legacy="resnest" in name)
    model = reskeras.create(
        published(name, file), input_shape=(size, size, 3), classifier_activation=None, **depths
    )
    outputs = np.asarray(model.predict_on_batch(x) if name in IN_A_GRAPH else model(x, training=False))
    assert np.abs(outputs - expected).max() <= 3e-5 * np.abs(expected).max()


def test_in_a_graph_are_nets():
    assert IN_A_GRAPH <= set(NETS)


@pytest.mark.parametrize("blocks", [5, 7])
def test_akamaster_names_are_those_of_the_real_files(blocks, external_file):
    from safetensors.numpy import load_file
    real = load_file(external_file(f"akamaster_resnet{6 * blocks + 2}.safetensors"))
    found = sources.shapes(sources.akamaster, 32, blocks=blocks)
    assert {k: v.shape for k, v in real.items()} == {
        k: v.shape for k, v in found.items() if "num_batches" not in k
    }


@pytest.mark.parametrize(
    "timm, source, arguments",
    [
        ("resnet18", sources.torchvision, {"depths": (2, 2, 2, 2), "bottlenecks": False}),
        ("resnet50", sources.torchvision, {}),
        ("resnext50_32x4d", sources.torchvision, {"groups": 32, "width": 4}),
        ("resnest50d", sources.resnest, {}),
        ("resnest50d_1s4x24d", sources.resnest, {"radix": 1, "groups": 4, "width": 24, "fast": True}),
    ],
)
def test_timm_took_these_names_over(timm, source, arguments):
    found = sources.shapes(source, 64, **arguments)
    assert {k: v.shape for k, v in found.items()} == {k: tuple(v) for k, v in manifest(timm).items()}


def test_equals_tf_keras(published):
    """tf_keras' ResNetRS: names, 1x1 convolutions, padding at an even and an odd size, preprocessing."""
    golden = json.loads((GOLDEN / "tf_keras_resnet_rs.json").read_text())
    layers = {layer: [(leaf, keras_tensor(f"{layer}/{leaf}", shape)) for leaf, shape in variables]
              for layer, variables in golden["layers"].items()}
    name = published("tf_keras/ResNetRS50.imagenet-i160", legacy_h5(layers))
    small = {"depths": (2, 1, 2, 1), "widths": (32, 16, 32, 64), "classifier_activation": None}
    # seven classes where the checkpoint has 1000
    checkpoint = get_weights(name)
    object.__setattr__(checkpoint, "classes", 7)
    for size in (64, 75):
        shape = (size, size, 3)
        pixels = np.clip(127 + 60 * images(size), 0, 255).round()
        for key, x, inside in ((f"logits_{size}", images(size), False), (f"pixels_{size}", pixels, True)):
            model = reskeras.create(name, input_shape=shape, include_preprocessing=inside, **small)
            expected = np.array(golden[key])
            assert (
                np.abs(np.asarray(model(x, training=False)) - expected).max() <= 1e-5 * np.abs(expected).max()
            )


@pytest.mark.parametrize("numbered", [False, True])
def test_big_transfer_equals_timm(numbered, published):
    """The same numbers under big_transfer's names and under timm's, whose nets are proved by number."""
    small, kernel = (
        {"depths": (2, 1), "widths": (64, 128), "classifier_activation": None},
        "standardized_conv2d/kernel",
    )
    places = {"weight": "gamma", "bias": "beta"}
    kept = ("stem", "stages.0.blocks.0.", "stages.0.blocks.1.", "stages.1.blocks.0.", "head")
    known = {k: shape for k, shape in manifest("resnetv2_50x1_bit").items() if k.startswith(kept)}
    known |= {"norm.weight": [512], "norm.bias": [512], "head.fc.weight": [1000, 512, 1, 1]}
    theirs, timm = {}, {k: tensor(k, tuple(shape)) for k, shape in known.items()}
    for key, array in timm.items():
        array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
        *_, module, leaf = key.split(".")
        if key.startswith("stages."):
            _, stage, _, block, module, *_ = key.split(".")
            letter = "a" if module == "downsample" else "abc"[int(module[-1]) - 1]
            name = {"conv": kernel, "norm": f"group_norm/{places[leaf]}", "downsample": f"proj/{kernel}"}[
                module.rstrip("123")
            ]
            theirs[f"resnet/block{int(stage) + 1}/unit{int(block) + 1:02d}/{letter}/{name}"] = array
        else:
            name = {
                "stem.conv.weight": f"root_block/{kernel}",
                "norm.weight": "group_norm/gamma",
                "norm.bias": "group_norm/beta",
                "head.fc.weight": "head/conv2d/kernel",
                "head.fc.bias": "head/conv2d/bias",
            }[key]
            theirs[f"resnet/{name}"] = array
    if numbered:
        theirs = {k.replace("standardized_conv2d/", f"standardized_conv2d_{i}/") if "/b/" in k else k: a
                  for i, (k, a) in enumerate(theirs.items(), 1)}
    x = images(64)
    ours = [
        reskeras.create(published(name, data), input_shape=(64, 64, 3), **small).predict_on_batch(x)
        for name, data in (
            ("google/R50x1.bit_s", npz(theirs)),
            ("timm/resnetv2_50x1_bit.goog_in21k_ft_in1k", save(timm)),
        )
    ]
    np.testing.assert_array_equal(*ours)
    assert np.ptp(ours[0]) > 0.1


def keras_tensor(name, shape):
    """As tests/golden/README.md says."""
    random, leaf = generator(name), name.rpartition("/")[2]
    if leaf in ("moving_mean", "beta", "bias"):
        return (0.1 * random.standard_normal(shape)).astype("float32")
    if leaf in ("gamma", "moving_variance"):
        return random.uniform(*((0.55, 0.85) if leaf == "gamma" else (0.5, 1.5)), shape).astype("float32")
    return (random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:-1]))).astype("float32")


# ---- every checkpoint, by its source's names and shapes

TORCHVISION = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
    "resnet152": ((3, 8, 36, 3), True),
}
RESNEST = {
    "resnest50": {},
    "resnest101": {"depths": (3, 4, 23, 3), "stem": 64},
    "resnest200": {"depths": (3, 24, 36, 3), "stem": 64},
    "resnest269": {"depths": (3, 30, 48, 8), "stem": 64},
}
RS = {
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
    270: (4, 29, 53, 4),
    350: (4, 36, 72, 4),
    420: (4, 44, 87, 4),
}
BIT = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
KERAS_RESNEXT = {"ResNeXt50": (3, 4, 6, 3), "ResNeXt101": (3, 4, 23, 3)}


def empty(*shape):
    return np.broadcast_to(np.zeros((), "float32"), shape)


def manifest(timm):
    file = next(f for f in (GOLDEN / f"{timm}.npz", GOLDEN / "more" / f"{timm}.npz") if f.is_file())
    return json.loads(str(np.load(file)["manifest"]))["state_dict"]


def of_timm(net, weights):
    wide = {"resnetv2_101x3_bit": ("resnetv2_101x1_bit", 3), "resnetv2_152x4_bit": ("resnetv2_152x2_bit", 2)}
    if net == "resnext101_32x32d":
        known = sources.shapes(sources.torchvision, 64, depths=(3, 4, 23, 3), groups=32, width=32)
        known = {k: v.shape for k, v in known.items()}
    elif net in wide:
        narrow, times = wide[net]
        known = {
            k: [
                n if k.startswith("head.") and i == 0 or n in (1, 3, 7) else n * times
                for i, n in enumerate(shape)
            ]
            for k, shape in manifest(narrow).items()
        }
    else:
        known = manifest(net)
    heads = ("fc.", "head.", "last_linear.", "classif.")
    if not weights.classes:
        known = {k: v for k, v in known.items() if not k.startswith(heads)}
    known = {k: (weights.classes, *v[1:]) if k.startswith(heads) else v for k, v in known.items()}
    return {k: empty(*v) for k, v in known.items()}


def of_torchvision(net, weights):
    base, _, form = net.removeprefix("wide_").replace("resnext", "resnet").partition("_")
    depths, bottlenecks = TORCHVISION[base]
    groups, width = map(int, form[:-1].split("x")) if "x" in form else (1, 64)
    width = 128 if net.startswith("wide") else width
    return sources.shapes(
        sources.torchvision, 64, depths=depths, bottlenecks=bottlenecks, groups=groups, width=width
    )


def of_resnest(net, weights):
    if net in RESNEST:
        return sources.shapes(sources.resnest, 64, **RESNEST[net])
    radix, rest = net.removeprefix("resnest50_fast_").split("s")
    groups, width = rest.removesuffix("d").split("x")
    return sources.shapes(
        sources.resnest, 64, radix=int(radix), groups=int(groups), width=int(width), fast=True
    )


def of_cifar(net, weights):
    blocks = (int(net.removeprefix("resnet")) - 2) // 6
    if weights.source == "akamaster":
        return sources.shapes(sources.akamaster, 32, blocks=blocks)
    return sources.shapes(sources.chenyaofo, 32, blocks=blocks, classes=weights.classes)


def of_google(net, weights):
    """big_transfer's names: a unit is pre-activation, a, b, c, with `a/proj` where it has a projection."""
    depth, times = map(int, net[1:].split("x"))
    kernel, norms = "standardized_conv2d/kernel", {"group_norm/gamma", "group_norm/beta"}
    found, inner = {f"resnet/root_block/{kernel}": (7, 7, 3, 64 * times)}, 64 * times
    for block, units in enumerate(BIT[depth], 1):
        planes = 32 * times * 2 ** block
        for unit in range(1, units + 1):
            at = f"resnet/block{block}/unit{unit:02d}"
            for part, size, have, out in (
                ("a", 1, inner, planes),
                ("b", 3, planes, planes),
                ("c", 1, planes, 4 * planes),
            ):
                found |= {
                    f"{at}/{part}/{kernel}": (size, size, have, out),
                    **{f"{at}/{part}/{n}": (have,) for n in norms},
                }
            if unit == 1:
                found[f"{at}/a/proj/{kernel}"] = (1, 1, inner, 4 * planes)
            inner = 4 * planes
    found |= {f"resnet/{n}": (inner,) for n in norms}
    found |= {
        "resnet/head/conv2d/kernel": (1, 1, inner, weights.classes),
        "resnet/head/conv2d/bias": (weights.classes,),
    }
    places = {"kernel": 0, "gamma": 0, "bias": 1, "beta": 1}
    return {
        f"{k.rpartition('/')[0]}.#{places[k.rpartition('/')[2]]}": empty(*shape) for k, shape in found.items()
    }


def of_tf_keras(net, weights):
    """resnet_rs.py's names, in the order of its layers' variables."""
    found, inner = {}, 64

    def add(name, *shapes):
        found.update({f"{name}.#{i}": empty(*shape) for i, shape in enumerate(shapes)})

    def normed(conv, norm, size, have, out):
        add(conv, (size, size, have, out))
        add(norm, *[(out,)] * 4)
    for i, (have, out) in enumerate(((3, 32), (32, 32), (32, 64), (64, 64)), 1):
        normed(f"stem_1_stem_conv_{i}", f"stem_1_stem_batch_norm_{i}", 3, have, out)
    for group, (blocks, planes) in enumerate(
        zip(RS[int(net.removeprefix("ResNetRS"))], (64, 128, 256, 512)), 2
    ):
        for block in range(blocks):
            at = f"BlockGroup{group}__block_{block}_"
            normed(f"{at}_conv_1", f"{at}batch_norm_1", 1, inner, planes)
            normed(f"{at}_conv_2", f"{at}_batch_norm_2", 3, planes, planes)
            normed(f"{at}_conv_3", f"{at}_batch_norm_3", 1, planes, 4 * planes)
            add(f"{at}_se_se_reduce", (1, 1, 4 * planes, planes), (planes,))
            add(f"{at}_se_se_expand", (1, 1, planes, 4 * planes), (4 * planes,))
            if not block:
                normed(f"{at}_projection_conv", f"{at}_projection_batch_norm", 1, inner, 4 * planes)
            inner = 4 * planes
    if weights.classes:
        add("predictions", (inner, 1000), (1000,))
    return found


def of_keras(net, weights):
    if net in KERAS_RESNEXT:
        return of_keras_resnext(net, weights)
    with keras.StatelessScope(initialize_variables=False):
        keras.utils.clear_session()
        theirs = getattr(keras.applications, net)(weights=None, include_top=weights.include_top)
    return {
        f"{layer.name}.#{i}": empty(*v.shape) for layer in theirs.layers for i, v in enumerate(layer.weights)
    }


def of_keras_resnext(net, weights):
    """resnet_common.py's block3: a depthwise convolution and a constant one that sums each group's."""
    found, inner = {"conv1_conv.#0": (7, 7, 3, 64), **{f"conv1_bn.#{i}": (64,) for i in range(4)}}, 64
    for stage, (blocks, planes) in enumerate(zip(KERAS_RESNEXT[net], (128, 256, 512, 1024)), 2):
        each = planes // 32
        for block in range(1, blocks + 1):
            at = f"conv{stage}_block{block}"
            convs = {"1": (1, 1, inner, planes), "2": (3, 3, planes, each), "3": (1, 1, planes, 2 * planes),
                     **({"0": (1, 1, inner, 2 * planes)} if block == 1 else {})}
            for n, shape in convs.items():
                found[f"{at}_{n}_conv.#0"] = shape
                found |= {f"{at}_{n}_bn.#{i}": (planes if n in "12" else 2 * planes,) for i in range(4)}
            found[f"{at}_2_gconv.#0"] = (1, 1, planes * each, planes)
            inner = 2 * planes
    if weights.include_top:
        found |= {"predictions.#0": (inner, 1000), "predictions.#1": (1000,)}
    return {k: empty(*shape) for k, shape in found.items()}


NAMES = {
    "timm": of_timm,
    "torchvision": of_torchvision,
    "resnest": of_resnest,
    "akamaster": of_cifar,
    "chenyaofo": of_cifar,
    "google": of_google,
    "tf_keras": of_tf_keras,
    "keras": of_keras,
}
# one net for each rule set, and the smallest of it
SOME = [
    "timm/resnet18.a1_in1k",
    "timm/resnet50d.ra2_in1k",
    "timm/resnet26t.ra2_in1k",
    "timm/resnetv2_50.a1h_in1k",
    "timm/resnetv2_50x1_bit.goog_in21k",
    "timm/resnetv2_50d_gn.ah_in1k",
    "timm/legacy_seresnet18.in1k",
    "timm/legacy_senet154.in1k",
    "timm/seresnext50_32x4d.racm_in1k",
    "timm/ecaresnet26t.ra2_in1k",
    "timm/skresnet18.ra_in1k",
    "timm/resnest14d.gluon_in1k",
    "timm/resnetrs50.tf_in1k",
    "timm/inception_v4.tf_in1k",
    "timm/resnet50.bamboo",
    "timm/inception_resnet_v2.tf_in1k",
    "torchvision/resnet18.imagenet1k_v1",
    "torchvision/resnext50_32x4d.imagenet1k_v2",
    "resnest/resnest50.release_in1k",
    "resnest/resnest50_fast_2s2x40d.release_in1k",
    "akamaster/resnet110.cifar10",
    "chenyaofo/resnet56.cifar100",
    "google/R50x1.bit_m",
    "tf_keras/ResNetRS50.imagenet-i160",
    "tf_keras/ResNetRS50.imagenet-i160_notop",
    "keras/ResNet50.keras_in1k",
    "keras/ResNet50V2.keras_in1k_notop",
    "keras/ResNeXt50.keras_in1k",
    "keras/InceptionResNetV2.keras_in1k",
]

ELSEWHERE = {"reskeras",        # its file comes with the package
             "kerashub"}        # tests/weights/test_kerashub.py has its names


@functools.cache
def net(variant, fields, include_top, classes):
    with keras.StatelessScope(initialize_variables=False):
        return reskeras.create(
            variant,
            weights=None,
            include_top=include_top,
            **({"classes": classes} if classes else {}),
            **dict(fields),
        )


def test_some_are_rows_of_every_source():
    assert (
        {get_weights(name).source for name in SOME}
        == set(NAMES)
        == {w.source for w in list_checkpoints()} - ELSEWHERE
    )


@pytest.mark.parametrize("name", [pytest.param(w.id, marks=[] if w.id in SOME else pytest.mark.slow)
                                  for w in list_checkpoints() if w.source not in ELSEWHERE])
def test_every_row_is_a_bijection(name):
    """The names and shapes of the whole checkpoint, as its source's code has them, without its numbers."""
    weights = get_weights(name)
    arrays = NAMES[weights.source](weights.source_net.partition("/")[2], weights)
    model = net(weights.variant, tuple(weights.spec_fields.items()), weights.include_top, weights.classes)
    found = match_tensors(model, rename_tensors(model, arrays), name)
    assert len(found) == len(
        [v for layer in model.layers for v in layer.weights if "seed_generator" not in v.path]
    )
    assert {v.key for v in found} == set(rename_tensors(model, arrays))
