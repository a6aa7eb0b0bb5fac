# %% [markdown] lang="en"
# # 1. Degradation and residual learning
#
# He, Zhang, Ren and Sun ("Deep Residual Learning for Image Recognition", 2015, arXiv:1512.03385) saw that a
# plain net of 56 layers has a higher *training* error than one of 20 layers. More layers can represent more
# functions. The training error is higher too, so this is not overfitting: the optimizer does not find the
# better functions. Their remedy: let a block learn the difference from the identity, $y = x + F(x)$.
#
# You need NumPy, Keras and reskeras. Every cell runs in seconds on a CPU.

# %% [markdown] lang="zh"
# # 1. 退化问题与残差学习
#
# 何恺明、张祥雨、任少卿、孙剑（"Deep Residual Learning for Image Recognition"，2015，arXiv:1512.03385）
# 发现：56 层的普通网络，*训练* 误差比 20 层的还高。层数更多，能表示的函数也更多；既然训练误差也更高，
# 这就不是过拟合，而是优化器找不到更好的函数。他们的办法是让每个块学习与恒等映射的差：$y = x + F(x)$。
#
# 需要 NumPy、Keras 和 reskeras。每个单元格在 CPU 上几秒钟即可运行完。

# %%
import keras
import numpy as np

import reskeras

keras.utils.set_random_seed(0)

# %% [markdown] lang="en"
# ## Two nets that differ in the shortcut alone
#
# `shortcut="none"` removes the additions. The number of weights stays the same, because shortcuts of option
# A (zero padding) have none.

# %% [markdown] lang="zh"
# ## 两个只差捷径的网络
#
# `shortcut="none"` 去掉所有加法。参数个数不变，因为 A 型捷径（补零）没有参数。

# %%
residual = reskeras.CifarResNet56(weights=None)
plain = reskeras.CifarPlain56(weights=None)
print(residual.count_params(), plain.count_params())
assert residual.count_params() == plain.count_params()

# %% [markdown] lang="en"
# ## A deeper net contains the shallower one
#
# Take a residual net and make every second block the identity: if the last batch normalization of a branch
# has gamma 0, the branch adds nothing. So the deep net can do exactly what a shallow one does. A plain net
# would have to learn the identity with its convolutions and ReLUs.

# %% [markdown] lang="zh"
# ## 深网络包含浅网络
#
# 在残差网络里，如果一个分支最后的批归一化的 gamma 为 0，这个分支就什么也不加，块就是恒等映射。
# 因此深网络能做到浅网络所做的一切；普通网络则必须用卷积和 ReLU 去学会恒等映射。

# %%
images = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")
deep = reskeras.CifarResNet20(weights=None)
removed = "conv2_block2"
shallow = reskeras.remove_blocks(deep, removed)
last_norm = deep.get_layer(f"{removed}_2_bn")
last_norm.gamma.assign(np.zeros(last_norm.gamma.shape))
difference = np.abs(deep(images) - shallow(images)).max()
print(f"{len(deep.layers)} and {len(shallow.layers)} layers, largest difference {difference:.1e}")
assert difference < 1e-5

# %% [markdown] lang="en"
# ## How the gradient reaches the first layer
#
# We compare the norm of the gradient at the first convolution with that at the last block, at the start of
# the training. With shortcuts it is of the same order at every depth.

# %% [markdown] lang="zh"
# ## 梯度如何到达第一层
#
# 比较训练开始时第一个卷积与最后一个块的梯度范数。有捷径时，不论多深，两者都是同一数量级。


# %%
def compare_gradients(net):
    """The norm of the loss' gradient at the first convolution, divided by that at the last block's."""
    import tensorflow as tf

    kernels = [layer.kernel for layer in net.layers if isinstance(layer, keras.layers.Conv2D)]
    labels = np.arange(len(images)) % 10
    with tf.GradientTape() as tape:
        losses = keras.losses.sparse_categorical_crossentropy(labels, net(images, training=True))
        loss = keras.ops.mean(losses)
    first, last = tape.gradient(loss, [kernels[0].value, kernels[-1].value])
    return float(tf.norm(first) / tf.norm(last))


ratios = {(kind, depth): compare_gradients(reskeras.create(f"cifar_{kind}{depth}", weights=None))
          for kind in ("plain", "resnet") for depth in (20, 56)}
for (kind, depth), ratio in ratios.items():
    print(f"{kind} of {depth} layers: first convolution / last convolution = {ratio:.2f}")

# %% [markdown] lang="en"
# ## What a training shows
#
# `python examples/experiments/run.py --data FOLDER --claims degradation` trains the four nets for hours, with
# several seeds. These tables have its results so far: each difference with its interval, and a verdict.
# `reskeras tour` shows all claims.

# %% [markdown] lang="zh"
# ## 训练的结果
#
# `python examples/experiments/run.py --data FOLDER --claims degradation` 用多个随机种子训练这四个网络，
# 需要数小时。下面的表格是目前的结果：每个差值及其置信区间，以及是否证实的判断。`reskeras tour` 给出所有结论。

# %%
from reskeras.commands.tour import load_studies  # noqa: E402

study = load_studies()["trained_degradation"]
for table in study.tables:
    print(table.caption, table.header, *table.rows, sep="\n")
print(study.finding)

# %% [markdown] lang="en"
# ## Exercises
#
# 1. Count the multiply-accumulates of `CifarResNet20` and `CifarResNet110` with `reskeras.cost`. How many
#    times as many layers does the second one have, how many times as much does it compute?
# 2. With `zero_init_residual=True` every branch starts as zero. Show that the net then starts as a shallow
#    net: its output does not change if a block whose shortcut is the identity is removed.

# %% [markdown] lang="zh"
# ## 练习
#
# 1. 用 `reskeras.cost` 计算 `CifarResNet20` 与 `CifarResNet110` 的乘加次数。后者的层数、
#    计算量各是前者的多少倍？
# 2. `zero_init_residual=True` 使每个分支初始为零。验证：此时网络初始等于一个浅网络，
#    即去掉一个捷径为恒等映射的块，输出不变。

# %% tags=["solution"]
costs = [reskeras.cost(f"cifar_resnet{depth}").macs for depth in (20, 110)]
print(f"1. {108 / 18:.1f} times as many layers in blocks, {costs[1] / costs[0]:.1f} times as many MACs")

net = reskeras.CifarResNet56(weights=None, zero_init_residual=True)
smaller = reskeras.remove_blocks(net, ["conv2_block5", "conv3_block4", "conv4_block9"])
difference = np.abs(net(images) - smaller(images)).max()
print(f"2. largest difference {difference:.1e}")
assert difference < 1e-5
