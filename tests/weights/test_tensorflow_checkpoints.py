"""Checkpoints of TensorFlow: by names (tensorflow/tpu, Slim), by objects (Keras 2, tf.train.Checkpoint)."""
import pathlib
import re
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from checkpoints import SMALL, randomized, same

import reskeras
from reskeras import cli
from reskeras.weights.crc32c import compute_masked_crc32c

KERAS2 = pathlib.Path(__file__).parents[1] / "golden" / "keras2"
KERAS2_NET = {"depths": (1, 1), "widths": (4, 8), "stem_width": 4, "width": 1, "input_shape": (32, 32, 3)}
# the layers of write_keras2_checkpoint.py in the order of its code
KERAS2_LAYERS = ("conv1", "conv2_block1_1", "conv2_block1_2", "conv3_block1_0", "conv3_block1_1",
                 "conv3_block1_2")
SLIM_VARIABLES = {"kernel": "weights", "bias": "biases"}


def save(prefix, arrays, is_old=False):
    """Writes a name-based checkpoint by the operation that tf.train.Saver uses."""
    names, values = list(arrays), [tf.constant(array) for array in arrays.values()]
    pathlib.Path(prefix).parent.mkdir(exist_ok=True)
    if is_old:
        tf.raw_ops.Save(filename=str(prefix), tensor_names=names, data=values)
    else:
        tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=names, shape_and_slices=[""] * len(names),
                          tensors=values)
    return prefix


def build_keras2_net(**arguments):
    return reskeras.create("resnet18", **{"weights": None, **KERAS2_NET, **arguments})


def get_values(model):
    return {f"{layer.name}/{v.name}": v.numpy() for layer in model.layers for v in layer.weights}


# ---- tensorflow/tpu


def name_tpu_layers(model):
    """Our layers in the order in which models/official/resnet/resnet_model.py makes them, with its names."""
    blocks = dict.fromkeys(re.match(r"conv\d_block\d+", layer.name)[0] for layer in model.layers
                           if re.match(r"conv\d_block\d+", layer.name))
    ours = {layer.name for layer in model.layers if layer.weights}
    order = ["conv1_1", "conv1_2", "conv1_3", "pool1"]
    for block in blocks:
        order += [f"{block}_{part}" for part in ("0", "1", "2", "3", "se_reduce", "se_expand")]
    names, convolutions, norms = {}, 0, 0
    for part in order:
        convolution = part if "_se_" in part else f"{part}_conv"
        if convolution in ours:
            names[convolution] = f"conv2d_{convolutions}" if convolutions else "conv2d"
            convolutions += 1
        if f"{part}_bn" in ours:
            names[f"{part}_bn"] = f"batch_normalization_{norms}" if norms else "batch_normalization"
            norms += 1
    return {**names, "predictions": "dense"}


def build_tpu_net(**arguments):
    return reskeras.create("resnetrs50", **{"input_shape": (64, 64, 3), **SMALL, **arguments})


@pytest.fixture(scope="module")
def tpu(tmp_path_factory):
    """A ResNet-RS with averages, and its checkpoint."""
    model = randomized(build_tpu_net(weights=None, classes=5))
    names = name_tpu_layers(model)
    arrays = {"global_step": np.int64(3)}
    for layer in model.layers:
        for v in layer.weights:
            name, value = f"{names[layer.name]}/{v.name}", v.numpy()
            arrays |= {name: value / 2, f"{name}/Momentum": value, f"{name}/ExponentialMovingAverage": value}
    prefix = save(tmp_path_factory.mktemp("tpu") / "model.ckpt-7", arrays)
    prefix.with_name("checkpoint").write_text('model_checkpoint_path: "/tmp/elsewhere/model.ckpt-7"\n')
    return model, prefix


@pytest.mark.parametrize("ending", ["", ".index", ".data-00000-of-00001", "folder", "checkpoint"])
def test_tpu(tpu, ending, capsys):
    model, prefix = tpu
    places = {"folder": prefix.parent, "checkpoint": prefix.with_name("checkpoint")}
    path = places.get(ending, f"{prefix}{ending}")
    loaded = build_tpu_net(weights=path)
    same(loaded, model)         # the averages, and the classes of the file
    said = capsys.readouterr().err
    assert "averaged weights 'ExponentialMovingAverage' are loaded" in said and "5 classes" in said
    assert ("the latest checkpoint is model.ckpt-7" in said) == (ending in ("folder", "checkpoint"))
    assert "global_step" in said or "/Momentum" in said
    advice = re.search(r"reskeras\.load_weights\(.*?\)", said)[0]
    eval(advice, {"reskeras": reskeras, "model": loaded, "path": path})
    for ours, value in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(ours / 2, value)
    reskeras.load_weights(loaded, path, key="ExponentialMovingAverage")
    same(loaded, model)


def test_two_files_of_data(tpu, tmp_path):
    model, prefix = tpu
    reader = tf.train.load_checkpoint(str(prefix))
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith("MovingAverage")]
    parts = [str(save(tmp_path / f"part{i}" / "a", {name: reader.get_tensor(name) for name in names[i::2]}))
             for i in range(2)]
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=str(tmp_path / "ckpt"))
    loaded = build_tpu_net(weights=tmp_path / "ckpt")
    same(loaded, model)
    (tmp_path / "ckpt.data-00001-of-00002").unlink()
    with pytest.raises(ValueError, match="its part .*ckpt.data-00001-of-00002 does not exist"):
        reskeras.load_weights(loaded, tmp_path / "ckpt")


# ---- Slim


def name_slim_inception(layer):
    """The scope of one of our layers in Slim's inception_resnet_v2.py."""
    position = {("Mixed_6a", "0", "0"): "1a", ("Mixed_6a", "1", "2"): "1a", ("Mixed_7a", "0", "1"): "1a",
                ("Mixed_7a", "1", "1"): "1a", ("Mixed_7a", "2", "2"): "1a"}
    norm = "/BatchNorm" if layer.endswith("_bn") else ""
    if layer == "predictions":
        return "Logits/Logits"
    if layer.startswith("conv_7b"):
        return f"Conv2d_7b_1x1{norm}"
    if match := re.fullmatch(r"conv2d_(\d\w)_(conv|bn)", layer):
        return f"Conv2d_{match[1]}_{'1x1' if match[1] == '3b' else '3x3'}{norm}"
    pattern = r"(\w+?\d\w|block\d+_\d+)(?:_branch(\d)_(\d))?_(?:conv|bn)"
    module, branch, index = re.fullmatch(pattern, layer).groups()
    if module.startswith("block"):
        kind, number = module[5:].split("_")
        scope = {"35": f"Repeat/block35_{number}", "17": f"Repeat_1/block17_{number}",
                 "8": f"Repeat_2/block8_{number}"}[kind]
        module = "Block8" if module == "block8_3" else scope
    else:
        module = module.capitalize()
    if branch is None:
        return f"{module}/Conv2d_1x1"
    is_single = branch == "0" and not module.startswith(("Mixed_6a", "Mixed_7a"))
    letter = position.get((module, branch, index), f"0{'abc'[int(index)]}")
    return f"{module}/Branch_{branch}/Conv2d_{'' if is_single else letter + '_'}3x3{norm}"


@pytest.mark.parametrize("is_old", [True, False])
def test_slim_inception(tmp_path, is_old, capsys):
    arguments = {"depths": (1, 1, 3), "width": 0.125, "input_shape": (107, 107, 3)}
    model = randomized(reskeras.InceptionResNetV2(weights=None, classes=6, **arguments))
    arrays = {f"InceptionResnetV2/{name_slim_inception(layer.name)}/{SLIM_VARIABLES.get(v.name, v.name)}":
              v.numpy() for layer in model.layers for v in layer.weights}
    assert "InceptionResnetV2/Block8/Branch_1/Conv2d_0b_3x3/BatchNorm/moving_mean" in arrays
    assert "InceptionResnetV2/Mixed_5b/Branch_0/Conv2d_3x3/weights" in arrays
    extra = {"InceptionResnetV2/AuxLogits/Logits/weights": np.ones((3, 6), "float32"),
             "InceptionResnetV2/AuxLogits/Conv2d_1b_1x1/BatchNorm/beta": np.ones(3, "float32")}
    path = save(tmp_path / "inception.ckpt", {**extra, **arrays}, is_old)
    same(reskeras.InceptionResNetV2(weights=path, **arguments), model)
    assert "2 other tensors do not belong to the net: InceptionResnetV2/AuxLogits" in capsys.readouterr().err


def name_slim_resnet(layer, net):
    norm = "/BatchNorm" if layer.endswith("_bn") else ""
    if match := re.fullmatch(r"conv(\d)_block(\d+)_(\w+)_(?:conv|bn)", layer):
        part = {"0": "shortcut", "preact": "preact"}.get(match[3], f"conv{match[3]}")
        unit = f"block{int(match[1]) - 1}/unit_{match[2]}/bottleneck_{net.split('_')[1]}"
        return f"{net}/{unit}/{part}" + (norm if part != "preact" else "")
    return f"{net}/" + {"conv1_conv": "conv1", "conv1_bn": "conv1/BatchNorm", "post_bn": "postnorm",
                        "predictions": "logits"}[layer]


@pytest.mark.parametrize("name, net", [("resnet50v2", "resnet_v2_50"), ("resnet50v1_5", "resnet_v1_50")])
def test_slim_resnets(tmp_path, name, net):
    arguments = {"depths": (2, 2, 1, 1), "width": 0.25, "input_shape": (64, 64, 3)}
    slim = {"strides": (2, 2, 2, 1), "stride_at": "last", "pool": "max_ceil"}
    model = randomized(reskeras.create(name, weights=None, classes=6, **arguments, **slim))
    arrays = {f"{name_slim_resnet(layer.name, net)}/{SLIM_VARIABLES.get(v.name, v.name)}": v.numpy()
              for layer in model.layers for v in layer.weights}
    # the classifier is a convolution there
    arrays[f"{net}/logits/weights"] = arrays[f"{net}/logits/weights"][None, None]
    path = save(tmp_path / "slim.ckpt", arrays)
    same(reskeras.create(name, weights=path, **arguments, **slim), model)
    # of the same names and shapes, but other functions: one strides elsewhere, both pool elsewhere
    with pytest.raises(ValueError, match="Slim's ResNets stride in the last block") as error:
        reskeras.create(name, weights=path, **arguments)
    advice = re.search(r"build the net with (.*)", str(error.value))[1]
    assert eval(f"dict({advice})") == slim


# ---- objects


@pytest.mark.parametrize("which", ["named", "numbered"])
def test_keras2(which, capsys):
    """What tf_keras' ModelCheckpoint wrote: layers with our names, and with the names that Keras gives."""
    values = np.load(KERAS2 / f"{which}.npz")
    model = build_keras2_net(weights=KERAS2 / f"{which}-1")
    assert model.output_shape == (None, 5)
    names = [f"{part}_{kind}" for part in KERAS2_LAYERS for kind in ("conv", "bn")] + ["predictions"]
    theirs = names
    if which == "numbered":
        bases = ["conv2d", "batch_normalization"] * 6 + ["dense"]
        theirs = [f"{base}_{i // 2}" if i > 1 and base != "dense" else base for i, base in enumerate(bases)]
    for ours, name in zip(names, theirs):
        for i, v in enumerate(model.get_layer(ours).weights):
            np.testing.assert_array_equal(v.numpy(), values[f"{name}.#{i}"], err_msg=ours)
    assert "optimizer/" in capsys.readouterr().err
    reskeras.load_weights(build_keras2_net(classes=5), KERAS2)      # the folder: the latest one


def test_prefixes_and_several_nets(tmp_path, capsys):
    model, other = (randomized(build_keras2_net(classes=5)), build_keras2_net(classes=5))
    step = tf.Variable(3)
    path = tf.train.Checkpoint(model=model, step=step).save(str(tmp_path / "ckpt"))
    same(build_keras2_net(weights=path), model)
    said = capsys.readouterr().err
    assert "2 other tensors do not belong to the net: " in said and "save_counter" in said
    loaded = build_keras2_net(classes=5)
    reskeras.load_weights(loaded, path, key="model")
    with pytest.raises(ValueError, match="key='modle': expected what stands before .*did you mean 'model'"):
        reskeras.load_weights(loaded, path, key="modle")

    averaged = tf.train.Checkpoint(model=other, ema=model).write(str(tmp_path / "averaged"))
    reskeras.load_weights(loaded, averaged)
    same(loaded, model)
    assert "averaged weights 'ema' are loaded; " in capsys.readouterr().err
    reskeras.load_weights(loaded, averaged, key="model")
    same(loaded, other)
    two = tf.train.Checkpoint(first=model, second=other).write(str(tmp_path / "two"))
    with pytest.raises(ValueError, match="key=None: expected one of 'first', 'second'"):
        reskeras.load_weights(loaded, two)


def test_layers_in_order(tmp_path, capsys):
    """Layers of other names are taken in Keras' order, which a line says."""
    model = randomized(build_keras2_net(classes=5))
    renamed = keras.models.clone_model(model, clone_function=lambda layer: type(layer).from_config(
        {**layer.get_config(), "name": f"my_{layer.name}"}))
    renamed.set_weights(model.get_weights())
    path = tf.train.Checkpoint(net=renamed).write(str(tmp_path / "ckpt"))
    loaded = build_keras2_net(classes=5)
    reskeras.load_weights(loaded, path)
    same(loaded, model)
    assert "taken in Keras' order, this one as" in capsys.readouterr().err


def test_the_command_takes_a_prefix(tmp_path):
    model = randomized(reskeras.ResNet10T(weights=None))
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "ckpt"))
    new = tmp_path / "new" / "model.safetensors"
    assert cli.main(["weights", "convert", path, str(new), "--net", "resnet10t"]) == 0
    same(reskeras.ResNet10T(weights=new), model)


# ---- damaged and hostile files


@pytest.mark.parametrize("count", [25, pytest.param(2000, marks=pytest.mark.slow)])
def test_byte_flips(tmp_path, count):
    """Everything has a checksum: a damaged checkpoint is an error of one line, or loads the very values."""
    for file in KERAS2.glob("named-1.*"):
        shutil.copy(file, tmp_path)
    model = build_keras2_net(weights=tmp_path / "named-1")
    expected, rng, errors = get_values(model), np.random.default_rng(1), 0
    randomized(model)
    before = get_values(model)
    for file in sorted(tmp_path.iterdir()):
        whole = file.read_bytes()
        for i in range(count):
            damaged = bytearray(whole)
            place = int(rng.integers(len(whole)))
            if i % 5 == 4:
                del damaged[place:]
            else:
                damaged[place] ^= 1 << int(rng.integers(8))
            file.write_bytes(damaged)
            try:
                reskeras.load_weights(model, tmp_path / "named-1")
            except ValueError as error:
                errors += 1
                assert str(error).startswith(str(tmp_path / "named-1")) and "\n" not in str(error)
                after = before
            else:
                after = expected
            found = get_values(model)
            assert all(np.array_equal(found[name], after[name]) for name in after)
            if after is expected:
                randomized(model)
        file.write_bytes(whole)
    assert errors > count       # of the flips in the data, some are in the optimizer's variables


def varint(number):
    data = b""
    while number > 127:
        data, number = data + bytes([number & 127 | 128]), number >> 7
    return data + bytes([number])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def table(entries, kind=0):
    """A table with right checksums, whatever it says."""
    def block(entries):
        data = b"".join(varint(shared) + varint(len(key)) + varint(len(value)) + key + value
                        for shared, key, value in entries) + b"\0\0\0\0\1\0\0\0"
        data += bytes([kind])
        return data + compute_masked_crc32c(data).to_bytes(4, "little")

    body = block(entries)
    index = block([(0, b"z", varint(0) + varint(len(body) - 5))])
    footer = varint(0) + varint(0) + varint(len(body)) + varint(len(index) - 5)
    return body + index + footer.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")


HEADER = (0, b"", field(1, 1))
KERNEL = b"conv1_conv/kernel"
HOSTILE = {
    "no table": b"x" * 100, "empty": b"", "only a footer": table([])[-48:],
    "compressed": table([HEADER], kind=1),
    "a malformed entry": table([HEADER, (0, KERNEL, b"\xff\xff\xff")]),
    "a huge shape": table([HEADER, (0, KERNEL, field(1, 1) + field(2, field(2, field(1, 2 ** 40))))]),
    "a negative shape": table([HEADER, (0, KERNEL, field(1, 1) + field(2, field(2, field(1, 2 ** 64 - 1))))]),
    "many axes": table([HEADER, (0, KERNEL, field(1, 1) + field(2, field(2, field(1, 0)) * 10_000))]),
    "a place behind the end": table([HEADER, (0, KERNEL, field(1, 1) + field(4, 2 ** 62) + field(5, 4))]),
    "a part that is not there": table([HEADER, (0, KERNEL, field(1, 1) + field(3, 5))]),
    "many parts": table([(0, b"", field(1, 2 ** 31))]),
    "big-endian": table([(0, b"", field(1, 1) + field(2, 1))]),
    "no header": table([(0, KERNEL, field(1, 1))]),
    "a text as a number": table([(0, b"", field(1, b"1"))]),
    "names that grow": table([HEADER] + [(min(i * 900, 900), b"a" * 900, b"") for i in range(3)]),
    "a graph of wrong length": table([
        HEADER, (0, b"_CHECKPOINTABLE_OBJECT_GRAPH", field(1, 7) + field(5, 40))]),
    "an unknown type": table([HEADER, (0, KERNEL, field(1, 99))]),
    "nothing": table([HEADER]),
}


def test_hostile_indexes(tmp_path):
    model = build_keras2_net()
    before = get_values(model)
    (tmp_path / "a.data-00000-of-00001").write_bytes(b"x" * 40)
    for name, data in HOSTILE.items():
        (tmp_path / "a.index").write_bytes(data)
        with pytest.raises(ValueError) as caught:
            reskeras.load_weights(model, tmp_path / "a")
        message = str(caught.value)
        assert type(caught.value) is ValueError and message.startswith(str(tmp_path / "a")), (name, message)
        assert "\n" not in message and "Error:" not in message.replace("ValueError:", ""), (name, message)
        (tmp_path / "old.ckpt").write_bytes(data)
        with pytest.raises(ValueError, match="old.ckpt"):
            reskeras.load_weights(model, tmp_path / "old.ckpt")
    found = get_values(model)
    assert all(np.array_equal(found[name], before[name]) for name in before)


def test_what_is_missing(tmp_path):
    model = build_keras2_net()
    with pytest.raises(FileNotFoundError, match=r"there is no .*a\.index"):
        reskeras.load_weights(model, tmp_path / "a.index")
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "ckpt-9"\n')
    with pytest.raises(ValueError, match="says that the latest checkpoint is 'ckpt-9', which is not there"):
        reskeras.load_weights(model, tmp_path)
    (tmp_path / "checkpoint").write_text("hello")
    with pytest.raises(ValueError, match="does not say which checkpoint is the latest one"):
        reskeras.load_weights(model, tmp_path)
    shutil.copy(KERAS2 / "named-1.index", tmp_path)
    with pytest.raises(ValueError, match="its part .*named-1.data-00000-of-00001 does not exist"):
        reskeras.load_weights(model, tmp_path / "named-1")
    shutil.copy(KERAS2 / "numbered-1.data-00000-of-00001", tmp_path / "named-1.data-00000-of-00001")
    with pytest.raises(ValueError, match="damaged, or of another checkpoint"):
        reskeras.load_weights(model, tmp_path / "named-1")      # files of two checkpoints
