# %% [markdown] lang="en"
# # 3. Cardinality and attention, by hand
#
# ResNeXt (arXiv:1611.05431) divides the 3x3 convolution of a bottleneck into groups. SE (arXiv:1709.01507),
# SK (arXiv:1903.06586) and split attention (arXiv:2004.08955) multiply channels by gates that they compute
# from the whole map. We write each of them in NumPy and compare it with the layers.

# %% [markdown] lang="zh"
# # 3. 基数与注意力：手写一遍
#
# ResNeXt（arXiv:1611.05431）把瓶颈块的 3x3 卷积分成若干组。SE（arXiv:1709.01507）、SK（arXiv:1903.06586）与
# split attention（arXiv:2004.08955）用整张特征图算出的门乘以各通道。下面用 NumPy 写出它们，
# 并与各层的输出比较。

# %%
import keras
import numpy as np

import reskeras

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
SMALL = {"weights": None, "depths": (1,), "widths": (16,), "strides": (1,), "stem": "cifar", "stem_width": 16,
         "pool": "none", "classes": 3, "input_shape": (8, 8, 3), "dtype": "float64"}
images = rng.normal(size=(2, 8, 8, 3))


def build(name, **fields):
    """A net of one block, in double precision, with random values in every weight."""
    net = reskeras.create(name, **{**SMALL, **fields})
    net.set_weights([rng.uniform(0.2, 1, w.shape) if "variance" in w.path else rng.normal(0, 0.3, w.shape)
                     for w in net.weights])
    return net


def get_tensors(net, *names):
    """The outputs of some layers, without the name of the block."""
    layers = [net.get_layer(f"conv2_block1_{name}") for name in names]
    return [np.array(x) for x in keras.Model(net.inputs[0], [layer.output for layer in layers])(images)]


def get_weights(net, name):
    """The weights of a layer, in Keras' order."""
    return net.get_layer(f"conv2_block1_{name}").get_weights()


# %% [markdown] lang="en"
# ## Three forms of ResNeXt
#
# Figure 3 of the paper: (a) `form="sum"`, each path has its own three convolutions and the paths are added;
# (b) `form="concat"`, the paths are joined before the last 1x1; (c) `form="grouped"`, one grouped
# convolution. They are the same function. We write all three in NumPy, with the weights of (c), and compare
# them with the layers. Then we copy the weights of (c) into the layers of (b).

# %% [markdown] lang="zh"
# ## ResNeXt 的三种形式
#
# 论文图 3：(a) `form="sum"`，每条路有自己的三个卷积，最后相加；(b) `form="concat"`，在最后的 1x1 之前拼接；
# (c) `form="grouped"`，一个分组卷积。三者是同一个函数。先用 (c) 的参数在 NumPy 中写出三种形式，
# 与各层的输出比较；再把 (c) 的参数复制到 (b) 的各层。

# %%
RESNEXT = {"groups": 4, "base_width": 16, "dtype": "float64"}
grouped, concat = build("resnext50_32x4d", **RESNEXT), build("resnext50_32x4d", form="concat", **RESNEXT)
width = get_weights(grouped, "1_conv")[0].shape[-1] // 4


def relu(x):
    return np.maximum(x, 0)


def batch_norm(x, weights, epsilon=1e-5):
    gamma, beta, mean, variance = weights
    return (x - mean) / np.sqrt(variance + epsilon) * gamma + beta


def convolve_3x3(x, kernel):
    """A 3x3 convolution is nine matrix products, one for each position of the kernel."""
    padded, (height, width) = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), x.shape[1:3]
    return sum(padded[:, i:i + height, j:j + width] @ kernel[i, j] for i in range(3) for j in range(3))


def run_path(channels):
    """The first two convolutions of a path, which has these channels."""
    y = relu(batch_norm(x @ kernel1[0, 0][:, channels], [w[channels] for w in norm1]))
    return relu(batch_norm(convolve_3x3(y, kernel2[..., channels]), [w[channels] for w in norm2]))


first = grouped.get_layer("conv2_block1_1_conv")
x = np.array(keras.Model(grouped.inputs[0], first.input)(images))
kernel1, kernel2, kernel3 = (get_weights(grouped, f"{i}_conv")[0] for i in (1, 2, 3))
norm1, norm2 = (get_weights(grouped, f"{i}_bn") for i in (1, 2))
paths = [slice(start, start + width) for start in range(0, 4 * width, width)]

added = sum(run_path(path) @ kernel3[0, 0][path] for path in paths)                         # (a)
joined = np.concatenate([run_path(path) for path in paths], -1) @ kernel3[0, 0]             # (b)
y = relu(batch_norm(x @ kernel1[0, 0], norm1))                                              # (c)
y = np.concatenate([convolve_3x3(y[..., path], kernel2[..., path]) for path in paths], -1)
one_convolution = relu(batch_norm(y, norm2)) @ kernel3[0, 0]
_, result = get_tensors(grouped, "2_relu", "3_conv")
for form in (added, joined, one_convolution):
    assert np.allclose(form, result, rtol=0, atol=1e-12)

for layer in concat.layers:
    if "_path" in layer.name and layer.weights:
        block, path = layer.name.split("_path")             # "conv2_block1", "3_2_conv"
        same, first = f"{block}_{path[2:]}", (int(path[0]) - 1) * width
        part = slice(first, first + width)
        layer.set_weights([weight[..., part] for weight in grouped.get_layer(same).get_weights()])
    elif layer.weights:
        layer.set_weights(grouped.get_layer(layer.name).get_weights())
difference = np.abs(grouped(images) - concat(images)).max()
print(f"{len(grouped.layers)} and {len(concat.layers)} layers, largest difference {difference:.1e}")
assert difference < 1e-12

# %% [markdown] lang="en"
# ## Squeeze and excitation
#
# $g = \sigma(W_2\, \mathrm{relu}(W_1\, \mathrm{mean}(x) + b_1) + b_2)$, and each channel is multiplied by
# its gate.

# %% [markdown] lang="zh"
# ## SE：压缩与激励
#
# $g = \sigma(W_2\, \mathrm{relu}(W_1\, \mathrm{mean}(x) + b_1) + b_2)$，每个通道乘以自己的门。


# %%
def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


net = build("seresnet18")
x, scaled = get_tensors(net, "2_bn", "se_scale")
(w1, b1), (w2, b2) = get_weights(net, "se_reduce"), get_weights(net, "se_expand")
gate = sigmoid(relu(x.mean((1, 2)) @ w1[0, 0] + b1) @ w2[0, 0] + b2)
print(f"SE: gates from {gate.min():.2f} to {gate.max():.2f}")
assert np.allclose(x * gate[:, None, None], scaled, rtol=0, atol=1e-12)

# %% [markdown] lang="en"
# ## Selective kernels
#
# Two paths see areas of different size. A softmax over the two paths, for each channel, chooses between
# them.

# %% [markdown] lang="zh"
# ## SK：选择性卷积核
#
# 两条路的感受野不同；对每个通道，在两条路之间做 softmax 来选择。

# %%
net = build("skresnet18")
one, two, result = get_tensors(net, "1_path1_relu", "1_path2_relu", "1_sk_out")
mean = (one + two).mean((1, 2))
reduced = mean @ get_weights(net, "1_sk_reduce_conv")[0][0, 0]
hidden = relu(batch_norm(reduced, get_weights(net, "1_sk_reduce_bn")))
scores = (hidden @ get_weights(net, "1_sk_select_conv")[0][0, 0]).reshape(len(images), 2, -1)
gates = softmax(scores, axis=1)[:, :, None, None]
assert np.allclose(gates[:, 0] * one + gates[:, 1] * two, result, rtol=0, atol=1e-12)
print("SK: the gates of a channel add up to", gates.sum(1).ravel()[:3])

# %% [markdown] lang="en"
# ## Split attention
#
# ResNeSt's convolution computes `radix` sets of channels at once. Their sum is squeezed, and a softmax over
# the sets weighs them. With `radix=1` the softmax would be 1 everywhere, so a sigmoid takes its
# place: that is SE.

# %% [markdown] lang="zh"
# ## Split attention：分裂注意力
#
# ResNeSt 的卷积一次输出 `radix` 份通道。先求和、压缩，再在各份之间做 softmax 加权。`radix=1` 时 softmax
# 恒为 1，所以改用 sigmoid，这就是 SE。

# %%
net = build("resnest14")
x, result = get_tensors(net, "2_relu", "2_split_out")
parts = np.split(x, 2, axis=-1)
w1, b1 = get_weights(net, "2_split_reduce_conv")
w2, b2 = get_weights(net, "2_split_select_conv")
hidden = relu(batch_norm(sum(parts).mean((1, 2)) @ w1[0, 0] + b1, get_weights(net, "2_split_reduce_bn")))
gates = softmax((hidden @ w2[0, 0] + b2).reshape(len(images), 2, -1), axis=1)[:, :, None, None]
assert np.allclose(sum(gates[:, i] * parts[i] for i in (0, 1)), result, rtol=0, atol=1e-12)
print(f"split attention: gates of the first part from {gates[:, 0].min():.2f} to {gates[:, 0].max():.2f}")

# %% [markdown] lang="en"
# ## Exercises
#
# 1. How many weights does a 3x3 convolution of 128 channels have, with 1 group and with 32? Check with the
#    layers.
# 2. ECA (arXiv:1910.03151) replaces SE's two dense layers by a 1-D convolution over the channels. Write it
#    in NumPy for `ecaresnet18`, whose layer has a kernel of 3.

# %% [markdown] lang="zh"
# ## 练习
#
# 1. 128 个通道的 3x3 卷积，1 组和 32 组各有多少参数？用层来验证。
# 2. ECA（arXiv:1910.03151）用通道方向的一维卷积代替 SE 的两个全连接层。为 `ecaresnet18` 用 NumPy
#    写出来（卷积核长 3）。

# %% tags=["solution"]
for groups in (1, 32):
    layer = keras.layers.Conv2D(128, 3, groups=groups, use_bias=False)
    layer.build((None, 8, 8, 128))
    print(f"1. {groups} groups: {layer.count_params():,} = 9 * 128 * 128 / {groups}")
    assert layer.count_params() == 9 * 128 * 128 // groups

net = build("ecaresnet18")
names = [layer.name.removeprefix("conv2_block1_") for layer in net.layers if "_eca_" in layer.name]
print("2. the layers of ECA:", names)
x, scaled = get_tensors(net, "2_bn", "eca_scale")
kernel = get_weights(net, "eca_conv")[0].ravel()
padded = np.pad(x.mean((1, 2)), ((0, 0), (1, 1)))
gate = sigmoid(sum(kernel[i] * padded[:, i:i + x.shape[-1]] for i in range(3)))
assert np.allclose(x * gate[:, None, None], scaled, rtol=0, atol=1e-12)
