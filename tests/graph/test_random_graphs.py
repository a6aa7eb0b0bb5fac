"""Random graphs: motifs of the layers that the passes know, and of those that they must not touch."""
import collections
import random

import keras
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers
from small import randomized

from reskeras.graph.graph import Graph
from reskeras.graph.optimize import PASSES, TARGET_PASSES
from reskeras.graph.equivalence import EquivalenceChecker, fix_input_sizes
from reskeras.blocks.grouped_conv import GroupedConv2D
from reskeras.blocks.drop_layers import StochasticDepth
from reskeras.blocks.layers import ChannelSlice, StandardizedConv2D

CHANNELS = 4
EVERYTHING = (*TARGET_PASSES[None], "merge_branches", "groups_to_sum", "rewrite_groups")


class Maker:
    """A random model: every step puts a motif on a tensor, mostly the newest."""

    def __init__(self, seed):
        self.random, self.made = random.Random(seed), []
        self.pick, self.chance = self.random.choice, lambda p: self.random.random() < p

    def model(self):
        image = keras.Input((self.random.randint(9, 14), self.random.randint(9, 14), CHANNELS))
        self.tensors = [image]
        for _ in range(self.random.randint(2, 7)):
            x = self.tensors[-1] if self.chance(0.8) else self.pick(self.tensors)
            if min(x.shape[1:3]) >= 5:
                self.tensors.append(self.pick([self.row, self.row, self.block, self.subsampled, self.siblings,
                                               self.merged, self.again, self.odd])(x))
        outputs = [self.tensors[-1]] + ([self.pick(self.tensors[1:])] if self.chance(0.2) else [])
        return randomized(keras.Model(image, outputs), seed=self.random.randint(0, 9))

    def put(self, x, layer):
        self.made.append(layer)
        return layer(x)

    def conv(self, kernel=None, stride=None, padding=None, activation=None):
        kind = self.pick([layers.Conv2D, layers.Conv2D, GroupedConv2D, StandardizedConv2D,
                          layers.DepthwiseConv2D, layers.SeparableConv2D])
        stride = stride or self.pick([1, 1, 2])
        options = dict(strides=stride, padding=padding or self.pick(["same", "valid"]),
                       use_bias=self.chance(0.5),
                       activation=activation or self.pick([None, None, "relu", "silu"]),
                       dilation_rate=2 if stride == 1 and self.chance(0.1) else 1)
        kernel = kernel or self.pick([1, 2, 3])
        if kind is layers.DepthwiseConv2D:
            return kind(kernel, **options)
        groups = {"groups": self.pick([1, 2])} if kind in (GroupedConv2D, StandardizedConv2D) else {}
        return kind(CHANNELS, kernel, **options, **groups)

    def norm(self):
        return layers.BatchNormalization(scale=self.chance(0.7), center=self.chance(0.7),
                                         epsilon=self.pick([1e-5, 0.1]))

    def noop(self):
        return self.pick([layers.Dropout, StochasticDepth])(0.5) if self.chance(0.7) else layers.Identity()

    def activation(self):
        return self.pick([layers.ReLU(), layers.ReLU(max_value=self.pick([3, 6])), layers.Activation("relu"),
                          layers.Activation(self.pick(["tanh", "linear", "silu"])), layers.LeakyReLU(0.3)])

    def pad(self):
        return layers.ZeroPadding2D(self.pick([1, ((0, 1), (0, 1)), ((1, 0), (1, 1))]))

    def row(self, x):
        """Any of padding, normalization, convolution, normalization, activation, no-op, in this order."""
        for chance, make in ((0.3, self.pad), (0.3, self.norm), (0.9, self.conv), (0.7, self.norm),
                             (0.7, self.activation), (0.2, self.noop)):
            x = self.put(x, make()) if self.chance(chance) and min(x.shape[1:3]) >= 5 else x
        return x

    def block(self, x):
        y = x
        for kernel in self.pick([(1, 3, 1), (3, 3)]):
            y = self.put(self.put(y, self.conv(kernel, stride=1, padding="same")),
                         self.pick([self.norm, self.activation])())
        total = layers.Add()([x, y])
        return self.put(self.put(total, self.norm()) if self.chance(0.2) else total, layers.ReLU())

    def subsampled(self, x):
        x = self.block(x) if self.chance(0.6) else self.row(x)
        stride = self.pick([2, 3])
        readers = [layers.Conv2D(CHANNELS, 1, strides=stride, use_bias=self.chance(0.5)),
                   layers.MaxPooling2D(1, strides=stride)]
        ys = [reader(x) for reader in readers[:self.pick([1, 2])]]
        return layers.Add()(ys) if len(ys) > 1 else ys[0]

    def siblings(self, x):
        options = dict(kernel_size=self.pick([1, 3]), padding="same", activation=self.pick([None, "relu"]))
        ys = [layers.Conv2D(CHANNELS // 2, use_bias=self.chance(0.5), **options)(x) for _ in range(2)]
        return layers.Conv2D(CHANNELS, 1)(layers.Concatenate()(ys))

    def merged(self, x):
        alike = [t for t in self.tensors if t.shape == x.shape]
        merge = self.pick([layers.Add, layers.Multiply, layers.Maximum, layers.Concatenate])()
        y = merge([x, self.pick(alike)])
        return ChannelSlice(0, CHANNELS)(y) if y.shape[-1] > CHANNELS else y

    def again(self, x):
        """A shared layer."""
        return self.pick(self.made)(x) if self.made else self.put(x, self.norm())

    def odd(self, x):
        pool = self.pick([layers.MaxPooling2D, layers.AveragePooling2D])
        return self.put(x, self.pick([
            pool(self.pick([1, 2, 3]), strides=self.pick([1, 2]), padding=self.pick(["same", "valid"])),
            layers.Rescaling(0.5, offset=0.1), self.pad(), self.noop()]))


def check(seed, names):
    """Every pass is idempotent, and what all make is the same function.  Returns how much each did."""
    net = Maker(seed).model()
    graph = before = Graph.of(net)
    done = collections.Counter()
    for name in names:
        result = PASSES[name](graph)
        again = PASSES[name](result.graph)
        assert not again.rewritten, f"{name} is not idempotent: {again.rewritten}"
        done[name] += len(result.rewritten)
        graph = result.graph
    check = EquivalenceChecker(fix_input_sizes(before, graph)).check(graph)
    assert check.passed, check
    assert graph.build().output_names == net.output_names
    return done


options = dict(deadline=None, suppress_health_check=list(HealthCheck), database=None)
seeds = st.integers(0, 2 ** 32)


@pytest.mark.parametrize("number, least", [(80, 4), pytest.param(200, 11, marks=pytest.mark.slow)])
def test_random_graphs(number, least):
    """On so many every pass finds work."""
    done = collections.Counter()

    @settings(max_examples=number, derandomize=True, **options)
    @given(seeds)
    def run(seed):
        done.update(check(seed, EVERYTHING))
    run()
    assert all(done[name] >= least for name in EVERYTHING if name != "inline"), done


@pytest.mark.slow
@pytest.mark.parametrize("half", (1, 2))        # for two processes
@settings(max_examples=1500, **options)
@given(seeds, st.permutations(list(PASSES)))
def test_thousands_of_random_graphs_in_any_order(half, seed, names):
    """Three thousand, other ones at each run."""
    check(seed, names)
