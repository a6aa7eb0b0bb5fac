"""The nets of other packages, written after their own public code and from nothing of ours.

A function takes its parameters by the source's names and in PyTorch's layout, and so says its names, its
shapes, and what it computes.  Sources: akamaster/pytorch_resnet_cifar10 (resnet.py), pytorch/vision
(models/resnet.py), chenyaofo/pytorch-cifar-models (resnet.py), zhanghang1989/ResNeSt
(resnest/torch/models/resnet.py, splat.py), kuangliu/pytorch-cifar (models/resnet.py, preact_resnet.py).
"""
import numpy as np
import tensorflow as tf
from golden_rule import tensor


class Parameters(dict):
    """name -> array; made, by the rule of the golden files, when it is first asked for."""

    def __call__(self, name, *shape):
        if name not in self:
            self[name] = tensor(name, shape)
        assert self[name].shape == shape
        return self[name]


class Shapes(dict):
    """name -> array of that shape that takes no memory; for calls within a graph, which compute nothing."""

    def __call__(self, name, *shape):
        self[name] = np.broadcast_to(np.zeros((), "float32"), shape)
        return tf.zeros(shape)


def shapes(source, size, **arguments):
    """The names and shapes of a whole net, without computing it."""
    found = Shapes()
    with tf.Graph().as_default():
        source(found, tf.zeros((1, size, size, 3)), **arguments)
    return found


def conv(p, x, name, out, kernel, stride=1, groups=1, bias=False):
    weight = tf.transpose(p(f"{name}.weight", out, x.shape[-1] // groups, kernel, kernel), (2, 3, 1, 0))
    x = tf.pad(x, [(0, 0), *[(kernel // 2,) * 2] * 2, (0, 0)])
    parts = zip(tf.split(x, groups, -1), tf.split(weight, groups, -1))
    x = tf.concat([tf.nn.conv2d(a, w, stride, "VALID") for a, w in parts], -1)
    return x + p(f"{name}.bias", out) if bias else x


def norm(p, x, name):
    p(f"{name}.num_batches_tracked")
    mean, variance, gamma, beta = (p(f"{name}.{leaf}", x.shape[-1]) for leaf in (
        "running_mean", "running_var", "weight", "bias"))
    return (x - mean) * gamma / tf.sqrt(variance + 1e-5) + beta


def dense(p, x, name, out):
    x = tf.reduce_mean(x, (1, 2))
    return x @ tf.transpose(p(f"{name}.weight", out, x.shape[-1])) + p(f"{name}.bias", out)


def max_pool(x):
    return tf.nn.max_pool2d(x, 3, 2, [(0, 0), (1, 1), (1, 1), (0, 0)])


def basic(p, x, at, planes, stride, shortcut):
    y = tf.nn.relu(norm(p, conv(p, x, f"{at}.conv1", planes, 3, stride), f"{at}.bn1"))
    y = norm(p, conv(p, y, f"{at}.conv2", planes, 3), f"{at}.bn2")
    return tf.nn.relu(y + shortcut(p, x, at, planes, stride))


def zeros_added(p, x, at, out, stride):
    """Option A."""
    new = (out - x.shape[-1]) // 2
    return tf.pad(x[:, ::stride, ::stride], [(0, 0), (0, 0), (0, 0), (new, new)])


def projected(p, x, at, out, stride):
    if stride == 1 and x.shape[-1] == out:
        return x
    return norm(p, conv(p, x, f"{at}.downsample.0", out, 1, stride), f"{at}.downsample.1")


def cifar(p, x, blocks, shortcut, head, classes):
    x = tf.nn.relu(norm(p, conv(p, x, "conv1", 16, 3), "bn1"))
    for stage, planes in enumerate((16, 32, 64), 1):
        for i in range(blocks):
            x = basic(p, x, f"layer{stage}.{i}", planes, 2 if stage > 1 and i == 0 else 1, shortcut)
    return dense(p, x, head, classes)


def akamaster(p, x, blocks=3):
    return cifar(p, x, blocks, zeros_added, "linear", 10)


def chenyaofo(p, x, blocks=3, classes=10):
    return cifar(p, x, blocks, projected, "fc", classes)


def kuangliu(p, x, kind="basic", depths=(2, 2, 2, 2)):
    """`kind`: "basic", "bottleneck", or "preact", whose net has no normalization outside of its blocks."""
    x = conv(p, x, "conv1", 64, 3)
    x = x if kind == "preact" else tf.nn.relu(norm(p, x, "bn1"))
    for stage, (blocks, planes) in enumerate(zip(depths, (64, 128, 256, 512)), 1):
        for i in range(blocks):
            at, stride, out = f"layer{stage}.{i}", 2 if stage > 1 and i == 0 else 1, planes
            y = tf.nn.relu(norm(p, x, f"{at}.bn1")) if kind == "preact" else x
            read = y        # by the shortcut, if it projects
            if kind == "bottleneck":
                out = 4 * planes
                y = tf.nn.relu(norm(p, conv(p, y, f"{at}.conv1", planes, 1), f"{at}.bn1"))
                y = tf.nn.relu(norm(p, conv(p, y, f"{at}.conv2", planes, 3, stride), f"{at}.bn2"))
                y = norm(p, conv(p, y, f"{at}.conv3", out, 1), f"{at}.bn3")
            else:
                y = conv(p, y, f"{at}.conv1", planes, 3, stride)
                y = tf.nn.relu(norm(p, y, f"{at}.bn2" if kind == "preact" else f"{at}.bn1"))
                y = conv(p, y, f"{at}.conv2", planes, 3)
                y = y if kind == "preact" else norm(p, y, f"{at}.bn2")
            if stride > 1 or x.shape[-1] != out:
                x = conv(p, read, f"{at}.shortcut.0", out, 1, stride)
                x = x if kind == "preact" else norm(p, x, f"{at}.shortcut.1")
            x = x + y if kind == "preact" else tf.nn.relu(x + y)
    return dense(p, x, "linear", 10)


def torchvision(p, x, depths=(3, 4, 6, 3), bottlenecks=True, groups=1, width=64):
    x = max_pool(tf.nn.relu(norm(p, conv(p, x, "conv1", 64, 7, 2), "bn1")))
    for stage, (blocks, planes) in enumerate(zip(depths, (64, 128, 256, 512)), 1):
        for i in range(blocks):
            at, stride = f"layer{stage}.{i}", 2 if stage > 1 and i == 0 else 1
            if not bottlenecks:
                x = basic(p, x, at, planes, stride, projected)
                continue
            inner = planes * width // 64 * groups
            y = tf.nn.relu(norm(p, conv(p, x, f"{at}.conv1", inner, 1), f"{at}.bn1"))
            y = tf.nn.relu(norm(p, conv(p, y, f"{at}.conv2", inner, 3, stride, groups), f"{at}.bn2"))
            y = norm(p, conv(p, y, f"{at}.conv3", planes * 4, 1), f"{at}.bn3")
            x = tf.nn.relu(y + projected(p, x, at, planes * 4, stride))
    return dense(p, x, "fc", 1000)


def resnest(p, x, depths=(3, 4, 6, 3), stem=32, radix=2, groups=1, width=64, fast=False):
    """`fast`: the average pool comes before the split attention (avd_first)."""
    for i, out, stride in ((0, stem, 2), (3, stem, 1)):
        x = tf.nn.relu(norm(p, conv(p, x, f"conv1.{i}", out, 3, stride), f"conv1.{i + 1}"))
    x = max_pool(tf.nn.relu(norm(p, conv(p, x, "conv1.6", 2 * stem, 3), "bn1")))
    for stage, (blocks, planes) in enumerate(zip(depths, (64, 128, 256, 512)), 1):
        for i in range(blocks):
            at, stride = f"layer{stage}.{i}", 2 if stage > 1 and i == 0 else 1
            y = tf.nn.relu(norm(p, conv(p, x, f"{at}.conv1", planes * width // 64 * groups, 1), f"{at}.bn1"))
            y = averaged(y) if stride > 1 and fast else y
            y = split_attention(p, y, f"{at}.conv2", radix, groups)
            y = averaged(y) if stride > 1 and not fast else y
            y = norm(p, conv(p, y, f"{at}.conv3", planes * 4, 1), f"{at}.bn3")
            if i == 0:      # .downsample.0 is an average pool
                x = tf.nn.avg_pool2d(x, stride, stride, "SAME")
                x = norm(p, conv(p, x, f"{at}.downsample.1", planes * 4, 1), f"{at}.downsample.2")
            x = tf.nn.relu(x + y)
    return dense(p, x, "fc", 1000)


def averaged(x):
    return tf.nn.avg_pool2d(tf.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)]), 3, 2, "VALID")     # the zeros count


def split_attention(p, x, at, radix, groups):
    channels = x.shape[-1]
    x = tf.nn.relu(norm(p, conv(p, x, f"{at}.conv", channels * radix, 3, groups=groups * radix), f"{at}.bn0"))
    parts = tf.split(x, radix, -1)
    gap = tf.reduce_mean(tf.add_n(parts), (1, 2), keepdims=True)
    gap = conv(p, gap, f"{at}.fc1", max(channels * radix // 4, 32), 1, groups=groups, bias=True)
    gap = conv(
        p, tf.nn.relu(norm(p, gap, f"{at}.bn1")), f"{at}.fc2", channels * radix, 1, groups=groups, bias=True
    )
    if radix == 1:
        return x * tf.sigmoid(gap)
    gates = tf.reshape(gap, (-1, groups, radix, channels // groups))  # the fc's groups are the outer ones
    gates = tf.reshape(tf.transpose(tf.nn.softmax(gates, 2), (0, 2, 1, 3)), (-1, 1, 1, radix * channels))
    return tf.add_n([part * gate for part, gate in zip(parts, tf.split(gates, radix, -1))])
