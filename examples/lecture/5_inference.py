# %% [markdown] lang="en"
# # 5. Inference: fused layers, and smaller topologies
#
# A trained net has layers that only training needs. Some can be folded into others: the function stays the
# same in exact arithmetic. Others can be removed because a residual net is many paths (Veit et al. 2016,
# arXiv:1605.06431): the function changes a little, and the accuracy less.

# %% [markdown] lang="zh"
# # 5. 推理：融合层与更小的拓扑
#
# 训练好的网络里有些层只为训练而存在。有的可以并入别的层，在精确算术下函数不变。有的可以去掉，
# 因为残差网络是许多条路径的集合（Veit 等，2016，arXiv:1605.06431）：函数略有改变，准确率变化更小。

# %%
import keras
import numpy as np

import reskeras
from reskeras.commands.digits import load_digits
from reskeras.graph.remove_blocks import list_blocks

model = reskeras.create("cifar_resnet20.digits")
test = load_digits()[2]         # 364 images on which the net was not trained
images, labels = np.array(test.images), np.array(test.labels)


def measure_accuracy(net):
    return float((np.array(net(images)).argmax(1) == labels).mean())


print(f"{len(model.layers)} layers, accuracy {measure_accuracy(model):.1%}")

# %% [markdown] lang="en"
# ## Batch normalization folds into the convolution before it
#
# $\gamma\,(Wx - \mu)/\sqrt{\sigma^2 + \epsilon} + \beta = W'x + b'$ with
# $a = \gamma/\sqrt{\sigma^2+\epsilon}$, $W' = aW$ and $b' = \beta - a\mu$. By hand, for the first
# convolution:

# %% [markdown] lang="zh"
# ## 批归一化并入前面的卷积
#
# $\gamma\,(Wx - \mu)/\sqrt{\sigma^2 + \epsilon} + \beta = W'x + b'$，其中
# $a = \gamma/\sqrt{\sigma^2+\epsilon}$，$W' = aW$，$b' = \beta - a\mu$。对第一个卷积手算：

# %%
convolution, norm = model.get_layer("conv1_conv"), model.get_layer("conv1_bn")
gamma, beta, mean, variance = map(np.array, norm.get_weights())
scale = gamma / np.sqrt(variance + norm.epsilon)
folded = keras.layers.Conv2D(**{**{key: convolution.get_config()[key] for key in
                                   ("filters", "kernel_size", "strides", "padding")}, "use_bias": True})
folded.build(convolution.input.shape)
folded.set_weights([convolution.get_weights()[0] * scale, beta - scale * mean])
before = keras.Model(model.inputs[0], norm.output)(images[:8])
difference = np.abs(np.array(before) - np.array(folded(images[:8]))).max()
print(f"largest difference {difference:.1e} in single precision")
assert difference < 1e-4

# %% [markdown] lang="en"
# ## All passes at once
#
# `optimize` folds what can be folded and says what it left and why. It compares the two nets in double
# precision.

# %% [markdown] lang="zh"
# ## 一次完成所有化简
#
# `optimize` 合并能合并的层，说明哪些没有合并、为什么，并在双精度下比较前后两个网络。

# %%
fast, report = reskeras.optimize(model)
print(report)
assert report.max_relative_difference < 1e-5 and measure_accuracy(fast) == measure_accuracy(model)

# %% [markdown] lang="en"
# ## Blocks can be removed
#
# $n$ blocks make $2^n$ paths. Without one block half of the paths remain. We remove each block whose
# shortcut is the identity, one at a time, then the two that matter least together.

# %% [markdown] lang="zh"
# ## 块可以去掉
#
# $n$ 个块有 $2^n$ 条路径，去掉一个块还剩一半。下面逐个去掉捷径为恒等映射的块，再同时去掉影响最小的两个。

# %%
blocks = [block for block in list_blocks(model) if not block.endswith("block1")]
accuracies = {block: measure_accuracy(reskeras.remove_blocks(model, block)) for block in blocks}
for block, accuracy in accuracies.items():
    print(f"without {block}: {accuracy:.1%}")
least = sorted(blocks, key=accuracies.get)[-2:]
smaller = reskeras.remove_blocks(model, least)
print(f"without {' and '.join(least)}: {measure_accuracy(smaller):.1%}, "
      f"{smaller.count_params() / model.count_params():.0%} of the parameters")

# %% [markdown] lang="en"
# ## A smaller file
#
# An int8 file has a quarter of the bytes. `reskeras.export` runs it and compares it with the net.

# %% [markdown] lang="zh"
# ## 更小的文件
#
# int8 文件只有四分之一大。`reskeras.export` 会运行它并与网络比较。

# %%
report = reskeras.export(model, "digits.int8.tflite", quantize="int8", calibration_data=images[:100])
print(report.summary())

# %% [markdown] lang="en"
# ## Exercises
#
# 1. With `order="bn_after_add"` a batch normalization *follows* an addition. Why does `optimize` leave it?
# 2. Stochastic depth drops branches in training. What does that suggest for a net that will lose blocks
#    later? Build one with `drop_path_rate=0.5`; what does the rate change in the inference model?

# %% [markdown] lang="zh"
# ## 练习
#
# 1. 若批归一化在加法 *之后*（`order="bn_after_add"`），`optimize` 为什么不合并？
# 2. 随机深度在训练时丢弃分支。对以后要去掉块的网络，这意味着什么？用 `drop_path_rate=0.5` 建一个；
#    它在推理时改变了什么？

# %% tags=["solution"]
net = reskeras.create("cifar_resnet20", weights=None, depths=(1, 1, 1), order="bn_after_add")
kept = [layer.name for layer in reskeras.optimize(net)[0].layers
        if isinstance(layer, keras.layers.BatchNormalization)]
print("1. an addition has no kernel that could take the factor; left:", kept)
assert kept

dropped = reskeras.create("cifar_resnet20", weights=None, drop_path_rate=0.5)
same = reskeras.create("cifar_resnet20", weights=None)
same.set_weights(dropped.get_weights())
zeros = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
difference = np.abs(np.array(dropped(zeros)) - np.array(same(zeros))).max()
print(f"2. the net learns not to rely on any one branch; at inference nothing changes: {difference:.1e}")
assert difference < 1e-6
