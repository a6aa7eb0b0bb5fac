# %% [markdown] lang="en"
# # 2. v1, v1.5 and v2: identity mappings
#
# "Identity Mappings in Deep Residual Networks" (He et al. 2016, arXiv:1603.05027) asks what happens if
# nothing but an addition is on the shortcut. Then, for blocks $l$ and $L$ of one stage,
#
# $$x_L = x_l + \sum_{i=l}^{L-1} F(x_i), \qquad
#   \frac{\partial E}{\partial x_l} = \frac{\partial E}{\partial x_L}
#   \Big(1 + \frac{\partial}{\partial x_l} \sum_{i=l}^{L-1} F(x_i)\Big).$$
#
# We check both equations with numbers, and see why they do not hold in v1.

# %% [markdown] lang="zh"
# # 2. v1、v1.5 与 v2：恒等映射
#
# "Identity Mappings in Deep Residual Networks"（何恺明等，2016，arXiv:1603.05027）
# 研究捷径上除了加法什么也没有的情形。这时，对同一阶段的块 $l$ 与 $L$，
#
# $$x_L = x_l + \sum_{i=l}^{L-1} F(x_i), \qquad
#   \frac{\partial E}{\partial x_l} = \frac{\partial E}{\partial x_L}
#   \Big(1 + \frac{\partial}{\partial x_l} \sum_{i=l}^{L-1} F(x_i)\Big).$$
#
# 下面用数值验证这两个等式，并看它们为什么在 v1 中不成立。

# %%
import keras
import numpy as np
import tensorflow as tf

import reskeras

keras.utils.set_random_seed(0)
images = np.random.default_rng(0).normal(size=(2, 32, 32, 3))


def build(name):
    """Three blocks for each stage, in double precision, so that only the mathematics is left."""
    return reskeras.create(name, weights=None, depths=(3, 3, 3), dtype="float64")


def get_tensors(net, names):
    """The outputs of some layers."""
    return keras.Model(net.inputs[0], [net.get_layer(name).output for name in names])(images)


# %% [markdown] lang="en"
# ## The first equation
#
# In v2 (`order="pre"`) the branch begins with normalization and ReLU, and the sum goes on as it is. In v1
# (`order="post"`) a ReLU follows the sum.

# %% [markdown] lang="zh"
# ## 第一个等式
#
# v2（`order="pre"`）的分支以归一化和 ReLU 开始，相加的结果原样传给下一块；
# v1（`order="post"`）在加法之后还有一个 ReLU。


# %%
def measure_first_equation(net, branch):
    """max |x_L - x_l - sum F(x_i)| over the third stage; `branch` is the name of the end of F."""
    start, *branches, end = get_tensors(
        net, ["conv4_block1_out", *(f"conv4_block{i}_{branch}" for i in (2, 3)), "conv4_block3_out"])
    return float(np.abs(end - start - sum(branches)).max())


v2, v1 = build("cifar_preresnet20"), build("cifar_resnet20")
print(f"v2: {measure_first_equation(v2, '2_conv'):.1e}   v1: {measure_first_equation(v1, '2_bn'):.1e}")
assert measure_first_equation(v2, "2_conv") < 1e-12 < measure_first_equation(v1, "2_bn")

# %% [markdown] lang="en"
# ## The second equation
#
# Let the error be any function of $x_L$, here $E = \sum c \odot x_L$ with random $c$, so that
# $\partial E / \partial x_L = c$. The left side is the gradient at $x_l$ through all of the blocks. The
# right side is $c$ plus the gradient of $\sum c \odot \sum F(x_i)$.

# %% [markdown] lang="zh"
# ## 第二个等式
#
# 误差取 $x_L$ 的任一函数，例如 $E = \sum c \odot x_L$，$c$ 随机，于是 $\partial E / \partial x_L = c$。
# 左边是经过所有块到 $x_l$ 的梯度，右边是 $c$ 加上 $\sum c \odot \sum F(x_i)$ 的梯度。

# %%
start = v2.get_layer("conv4_block1_out").output
names = ["conv4_block2_2_conv", "conv4_block3_2_conv", "conv4_block3_out"]
outputs = [v2.get_layer(name).output for name in names]
rest = keras.Model(start, outputs)
x = tf.constant(get_tensors(v2, ["conv4_block1_out", "conv4_block3_out"])[0])
c = tf.constant(np.random.default_rng(1).normal(size=x.shape))
with tf.GradientTape(persistent=True) as tape:
    tape.watch(x)
    *branches, end = rest(x)
    error = tf.reduce_sum(c * end)
    branch_sum = tf.reduce_sum(c * sum(branches))
left, right = tape.gradient(error, x), c + tape.gradient(branch_sum, x)
print(f"largest difference {np.abs(left - right).max():.1e}")
assert np.abs(left - right).max() < 1e-10

# %% [markdown] lang="en"
# ## v1 and v1.5: where a bottleneck strides
#
# In v1 the first 1x1 convolution has the stride of 2, so it reads one position of four. In v1.5 (timm's and
# torchvision's `resnet50`) the 3x3 convolution has it, and reads all of them. v1.5 computes more and is more
# accurate.

# %% [markdown] lang="zh"
# ## v1 与 v1.5：瓶颈块在哪里下采样
#
# v1 在第一个 1x1 卷积处下采样（步长为 2），只读四个位置中的一个；v1.5（timm 与 torchvision 的 `resnet50`）
# 在 3x3 卷积处下采样，读全部位置，计算量更大，也更准确。


# %%
def count_positions_read(stride_on):
    """The share of the positions of a map that the next stage's branch reads."""
    net = reskeras.ResNet50V1_5(weights=None, stride_on=stride_on, depths=(1, 1, 1, 1),
                                input_shape=(64, 64, 3))
    before = net.get_layer("conv2_block1_out").output
    branch = keras.Model(before, net.get_layer("conv3_block1_3_conv").output)
    x = tf.ones((1, *before.shape[1:]))
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(branch(x) ** 2)
    gradient = tape.gradient(total, x)
    return float(np.mean(np.any(gradient.numpy() != 0, axis=-1)))


for version, stride_on in (("v1", "1x1"), ("v1.5", "3x3")):
    macs = reskeras.cost("resnet50v1" if version == "v1" else "resnet50v1_5").macs
    print(f"{version}: the branch reads {count_positions_read(stride_on):.0%} of the map, "
          f"{macs / 1e9:.2f} G MACs at 224 pixels")

# %% [markdown] lang="en"
# ## Exercises
#
# 1. Table 1 of the paper tries other shortcuts. Build `CifarResNet20` with `shortcut="constant"` (both
#    paths times 0.5). By what factor does the shortcut alone scale a signal over the three blocks of a
#    stage?
# 2. Table 2 moves normalization and ReLU: `order="relu_before_add"`. Why can $x_L$ then only grow? Check
#    it.

# %% [markdown] lang="zh"
# ## 练习
#
# 1. 论文表 1 试了别的捷径。用 `shortcut="constant"`（两条路都乘 0.5）建 `CifarResNet20`。经过一个阶段的三个
#    块，信号经捷径乘以多大的系数？
# 2. 表 2 移动归一化和 ReLU 的位置：`order="relu_before_add"`。为什么这时 $x_L$ 只会增大？请验证。

# %% tags=["solution"]
print(f"1. 0.5 ** 3 = {0.5 ** 3}; over the 54 blocks of ResNet-110 it would be {0.5 ** 54:.0e}")

net = reskeras.create("cifar_resnet20", weights=None, depths=(3, 3, 3), order="relu_before_add",
                      dtype="float64")
first, last = get_tensors(net, ["conv4_block1_out", "conv4_block3_out"])
print(f"2. a ReLU ends each branch, so F >= 0: the smallest difference is {np.min(last - first):.1e}")
assert np.min(last - first) >= 0
