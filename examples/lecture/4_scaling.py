# %% [markdown] lang="en"
# # 4. Scaling: what ResNet-RS changes
#
# "Revisiting ResNets: Improved Training and Scaling Strategies" (Bello et al. 2021, arXiv:2103.07579)
# separates three things that papers often change together: the net, how it is trained, and how it is made
# larger. Its two rules: make the net deeper where it can overfit (long trainings) and wider otherwise, and
# make the images larger more slowly than EfficientNet does.

# %% [markdown] lang="zh"
# # 4. 放缩：ResNet-RS 改了什么
#
# "Revisiting ResNets: Improved Training and Scaling Strategies"（Bello 等，2021，arXiv:2103.07579）
# 把常被一起改动的三件事分开：网络结构、训练方法、放缩方式。两条规则：容易过拟合（训练时间长）时加深，
# 否则加宽；图像尺寸的增大要比 EfficientNet 慢。

# %%
import dataclasses
import functools

import reskeras
from reskeras.train.resnet_rs import RESNET_RS_SCALING


@functools.cache
def measure_cost(depth, size):
    return reskeras.cost(f"resnetrs{depth}", size)


# the deeper ones take minutes to build
SCALES = {row: scale for row, scale in RESNET_RS_SCALING.items() if scale.depth <= 200}

# %% [markdown] lang="en"
# ## Multiply-accumulates grow with the square of the size, and about linearly with the depth
#
# The cost of a convolutional net is proportional to the number of positions. Depth adds blocks to the third
# stage above all, each of which costs the same.

# %% [markdown] lang="zh"
# ## 乘加次数随边长的平方增长，随深度大致线性增长
#
# 卷积网络的计算量与位置数成正比。加深主要是在第三阶段加块，每块的计算量相同。

# %%
base = measure_cost(50, 160).macs
for depth, size in ((50, 160), (50, 320), (101, 160), (152, 160)):
    cost = measure_cost(depth, size)
    print(f"{depth} layers, {size} pixels: {cost.macs / 1e9:6.2f} G MACs, {cost.macs / base:5.2f} times as "
          f"many, {cost.params / 1e6:.1f} M parameters, {cost.peak_bytes / 2 ** 20:.1f} MiB of activations")
assert abs(measure_cost(50, 320).macs / base - 4) < 0.05

# %% [markdown] lang="en"
# ## The scaling table, and what comes with it
#
# Larger models need more regularization: dropout, stochastic depth and stronger augmentation grow with the
# model. `reskeras recipes show RESNET_RS/152@256` prints every value with its source.

# %% [markdown] lang="zh"
# ## 放缩表，以及随之改变的
#
# 模型越大，需要的正则化越多：dropout、随机深度与数据增强都随模型加强。
# `reskeras recipes show RESNET_RS/152@256` 列出每个取值及其出处。

# %%
for row, scale in SCALES.items():
    macs = measure_cost(scale.depth, scale.size).macs
    print(f"{row:8} {macs / 1e9:6.1f} G MACs   dropout {scale.dropout_rate}   drop path "
          f"{scale.drop_path_rate}   RandAugment magnitude {scale.magnitude}")

# %% [markdown] lang="en"
# ## What an accuracy costs
#
# A training computes about three times the forward pass for each image (forward, and backward for
# activations and weights). The published checkpoints have their accuracies in the table of weights.

# %% [markdown] lang="zh"
# ## 一份准确率的代价
#
# 训练时，每张图像的计算量约为前向的三倍（前向，以及对激活与参数的反向）。权重表中有已发布权重的准确率。

# %%
epochs, images = reskeras.get_recipe("RESNET_RS").training.epochs, 1_281_167
for row, scale in SCALES.items():
    tag = f"resnetrs{scale.depth}.imagenet-i{scale.size}"
    if tag in reskeras.list_weights():
        exaflop = 2 * 3 * epochs * images * measure_cost(scale.depth, scale.size).macs / 1e18
        print(f"{row:8} {reskeras.get_weights(tag).top1:.1f} % top-1, training {exaflop:6.1f} EFLOP")

# %% [markdown] lang="en"
# ## The net itself: two changes
#
# ResNet-RS takes ResNet-D and squeeze-and-excitation, and replaces the max pool by a strided convolution.
# Most of its gain is from the training.

# %% [markdown] lang="zh"
# ## 网络本身只有两处改动
#
# ResNet-RS 采用 ResNet-D 与 SE，并用带步长的卷积代替最大池化。提升大部分来自训练方法。

# %%
from reskeras.spec import find_differences  # noqa: E402
from reskeras.variants import VARIANTS  # noqa: E402

for field, values in find_differences(VARIANTS["resnetrs50"].spec, VARIANTS["resnet50d"].spec).items():
    print(f"{field}: {values[0]} instead of {values[1]}")

# %% [markdown] lang="en"
# ## Exercises
#
# 1. You may spend 8 G MACs for an image. Which of these nets, at which size of 160, 192, 224, 256, comes
#    nearest from below?
# 2. The paper compares width with depth. Double the width of `ResNetRS50` with `width=2.0` at 160 pixels.
#    How do MACs and parameters grow, and why not by the same factor as the depth's?

# %% [markdown] lang="zh"
# ## 练习
#
# 1. 每张图像最多 8 G 次乘加。这些网络中哪个、在 160、192、224、256 哪个尺寸下最接近而不超过？
# 2. 论文比较了加宽与加深。用 `width=2.0` 把 `ResNetRS50` 加宽一倍（160 像素），乘加与参数各增加多少？为什么
#    与加深不同？

# %% tags=["solution"]
depths = sorted({scale.depth for scale in SCALES.values()})
choices = {(depth, size): measure_cost(depth, size).macs for depth in depths for size in (160, 192, 224, 256)}
best = max((key for key, macs in choices.items() if macs <= 8e9), key=choices.get)
print(f"1. ResNet-RS-{best[0]} at {best[1]} pixels: {choices[best] / 1e9:.2f} G MACs")

spec = VARIANTS["resnetrs50"].spec
wide = reskeras.variant("wide_rs50", dataclasses.replace(spec, width=2.0), "resnet-rs")
cost = reskeras.cost(wide(weights=None, input_shape=(160, 160, 3)))
print(f"2. {cost.macs / base:.2f} times the MACs, {cost.params / measure_cost(50, 160).params:.2f} times the "
      "parameters: a convolution's cost is the product of its input and output channels, so about 2 squared")
assert 3.5 < cost.macs / base < 4.1
