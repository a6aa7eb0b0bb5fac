"""THE TABLE: each line is one net and one public builder.  A new net needs one more line.

A line is `variant(name, Spec, family, sources)`; `resnet`, `senet`, ... set the family.  `sources` are
the names that other packages have for the same structure, so that `create("timm/resnest50d")` finds it; by
default timm's net of the same name.

The letters: B18, R50: depths.  C, D, S, T, VD: stem and shortcut ("ResNet-50-D").  V1, PRE: ResNet v1, v2.
GN: group norm.  AA, BLUR: anti-aliased.  X32x4: ResNeXt.  SE, ECA, SK: as named.  ST: ResNeSt.  RS: ResNet-RS.
"""
from __future__ import annotations

from functools import partial
from typing import Any

from .spec import ECA, InceptionSpec, SE, SK, Spec, SplitAttention
from .builder import Variant, variant


def _fields(**fields: Any) -> dict[str, Any]:
    """Some fields of a Spec, to be combined with others: Spec(**R50, **D)."""
    return fields


# Depths, which are blocks per stage.  B18: basic blocks as in ResNet-18; R50: bottlenecks as in ResNet-50.
B10, B18, B34 = (_fields(block="basic", depths=d) for d in ((1, 1, 1, 1), (2, 2, 2, 2), (3, 4, 6, 3)))
R14, R26, R50, R101, R152, R200, R269 = (_fields(depths=d) for d in (
    (1, 1, 1, 1), (2, 2, 2, 2), (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3), (3, 24, 36, 3), (3, 30, 48, 8)))

# What makes another family of a ResNet.
C = _fields(stem="deep")                                        # ResNet-C: a stem of three 3x3, arXiv:1812.01187
D = _fields(**C, shortcut="avg")                                # ResNet-D: C, and average-pooled shortcuts
VD = _fields(**C, shortcut="avg_each_stage")                    # PaddleClas: D, and one projection more
T = _fields(stem="tiered", shortcut="avg")                      # timm: D with a narrower stem
S = _fields(**C, stem_width=128)                                # timm: C with a stem of twice the width
V1 = _fields(stride_on="1x1")                                   # He et al. 2015
PRE = _fields(order="pre", stem_norm=False)                     # He et al. 2016
KERAS = _fields(bn_epsilon=1.001e-5, bn_momentum=0.99, initializer="glorot_uniform")
KERAS_V1 = _fields(**KERAS, **V1, conv_bias=True, pixels="caffe")
KERAS_V2 = _fields(**KERAS, **PRE, conv_bias="unnormed", padding="explicit", pool="max_zero_pad",
                   strides=(2, 2, 2, 1), stride_at="last", pixels="tf")
GN = _fields(norm="group")                                      # group normalization
BIT = _fields(**PRE, **GN, weight_standardization=True, pool="max_zero_pad", pixels="tf")
AA, BLUR = _fields(antialias="average"), _fields(antialias="blur")
X32x4, X32x8, X64x4 = (_fields(groups=g, base_width=w) for g, w in ((32, 4), (32, 8), (64, 4)))
SE16, ECA_ = _fields(attention=SE()), _fields(attention=ECA())
PRUNED = _fields(attention=ECA(gamma=3, beta=8))                # kernels 5, 5, 5, 7, as before the pruning
SE_V1 = _fields(attention=SE(divisor=1), pool="max_ceil")       # as the SENet authors published it
SK_NARROW, SK_HALF, SK_FULL = (_fields(mixer=sk) for sk in (
    SK(1 / 8, 16), SK(), SK(divisor=32, split_input=False)))
RS = _fields(**D, pool="conv", attention=SE(1 / 4))             # ResNet-RS, arXiv:2103.07579
ST = _fields(**D, mixer=SplitAttention(2), downsample="pool_after")     # ResNeSt, arXiv:2004.08955
ST_WIDE = _fields(**ST, stem_width=128)
SMALL = _fields(stem="cifar", pool="none", classes=10, input_size=32)   # for small images


def _resnest_fast(radix: int, groups: int, width: int) -> Spec:
    """ResNeSt's ablation "{radix}s{groups}x{width}d", in which the average pool comes before the mixer."""
    return Spec(**R50, **D, mixer=SplitAttention(radix), downsample="pool_before", groups=groups,
                base_width=width)


def _cifar(depth: int, **fields: Any) -> Spec:
    """A CIFAR net of He et al. 2015, section 4.2: 6n + 2 layers; with bottlenecks 9n + 2."""
    per_block = 9 if fields.get("block") == "bottleneck" else 6
    base = _fields(depths=((depth - 2) // per_block,) * 3, widths=(16, 32, 64), strides=(1, 2, 2),
                   block="basic", stem="cifar", stem_width=16, pool="none", shortcut="pad", classes=10,
                   input_size=32)
    return Spec(**{**base, **fields})


def _wide_resnet(depth: int, k: int) -> Spec:
    """The Wide ResNet WRN-d-k, arXiv:1605.07146: 6n + 4 layers, k times as wide as the CIFAR nets."""
    return _cifar(depth - 2, **PRE, shortcut="conv", widths=(16 * k, 32 * k, 64 * k))


FAMILIES = {
    "plain": "Plain nets, [1512.03385](https://arxiv.org/abs/1512.03385)",
    "resnet": "ResNet v1 and v1.5 (shortcut options A, B, C; -C, -D, -S, -T; anti-aliased; CIFAR), "
              "[1512.03385](https://arxiv.org/abs/1512.03385), [1812.01187](https://arxiv.org/abs/1812.01187)",
    "resnetv2": "ResNet v2 (pre-activation), [1603.05027](https://arxiv.org/abs/1603.05027)",
    "bit": "Big Transfer, [1912.11370](https://arxiv.org/abs/1912.11370)",
    "wrn": "Wide ResNet, [1605.07146](https://arxiv.org/abs/1605.07146)",
    "resnext": "ResNeXt, [1611.05431](https://arxiv.org/abs/1611.05431)",
    "senet": "SE-ResNet, SE-ResNeXt, SENet, [1709.01507](https://arxiv.org/abs/1709.01507)",
    "ecanet": "ECA, [1910.03151](https://arxiv.org/abs/1910.03151)",
    "sknet": "SK, [1903.06586](https://arxiv.org/abs/1903.06586)",
    "resnest": "ResNeSt, [2004.08955](https://arxiv.org/abs/2004.08955)",
    "resnet-rs": "ResNet-RS, [2103.07579](https://arxiv.org/abs/2103.07579)",
    "inception": "Inception-v4, Inception-ResNet-v2, [1602.07261](https://arxiv.org/abs/1602.07261)",
    "mlperf-tiny": "MLPerf Tiny, [2106.07597](https://arxiv.org/abs/2106.07597)",
}
plain, resnet, v2, bit, wrn, resnext, senet, eca, sk, resnest, rs, inception, tiny = (
    partial(variant, family=f) for f in FAMILIES)
NO_SOURCE = ""      # no other package has this net under a name of its own

# He et al. 2015, arXiv:1512.03385: plain nets, shortcuts A and C, v1 as published and as Keras has it, v1.5
PlainNet18 = plain("plainnet18", Spec(**B18, shortcut="none"), sources=NO_SOURCE)
PlainNet34 = plain("plainnet34", Spec(**B34, shortcut="none"), sources=NO_SOURCE)
ResNet18OptionA = resnet("resnet18_option_a", Spec(**B18, shortcut="pad"), sources=NO_SOURCE)
ResNet18OptionC = resnet("resnet18_option_c", Spec(**B18, shortcut="all_conv"), sources=NO_SOURCE)
ResNet34OptionA = resnet("resnet34_option_a", Spec(**B34, shortcut="pad"), sources=NO_SOURCE)
ResNet34OptionC = resnet("resnet34_option_c", Spec(**B34, shortcut="all_conv"), sources=NO_SOURCE)
ResNet50V1 = resnet("resnet50v1", Spec(**R50, **V1), sources=NO_SOURCE)
ResNet101V1 = resnet("resnet101v1", Spec(**R101, **V1), sources=NO_SOURCE)
ResNet152V1 = resnet("resnet152v1", Spec(**R152, **V1), sources=NO_SOURCE)
ResNet50 = resnet("resnet50", Spec(**R50, **KERAS_V1), sources="keras/ResNet50")
ResNet101 = resnet("resnet101", Spec(**R101, **KERAS_V1), sources="keras/ResNet101")
ResNet152 = resnet("resnet152", Spec(**R152, **KERAS_V1), sources="keras/ResNet152")
ResNet18 = resnet("resnet18", Spec(**B18), sources="timm/resnet18 torchvision/resnet18 kerashub/resnet_18")
ResNet26 = resnet("resnet26", Spec(**R26))
ResNet34 = resnet("resnet34", Spec(**B34), sources="timm/resnet34 torchvision/resnet34")
ResNet50V1_5 = resnet("resnet50v1_5", Spec(**R50),
                      sources="timm/resnet50 torchvision/resnet50 kerashub/resnet_50")
ResNet101V1_5 = resnet("resnet101v1_5", Spec(**R101),
                       sources="timm/resnet101 torchvision/resnet101 kerashub/resnet_101")
ResNet152V1_5 = resnet("resnet152v1_5", Spec(**R152),
                       sources="timm/resnet152 torchvision/resnet152 kerashub/resnet_152")
ResNet200 = resnet("resnet200", Spec(**R200))
ResNet50GN = resnet("resnet50_gn", Spec(**R50, **GN))
TestResNet = resnet("test_resnet", Spec(depths=(1, 1, 1, 1), widths=(32, 48, 48, 96),     # timm's, for tests of programs
                                        block=("basic", "basic", "bottleneck", "basic"), **D, stem_width=32, input_size=160,
                                        pixels="tf"))

# Bag of Tricks, arXiv:1812.01187: C, D; timm's S, T; PaddleClas's VD where that is no D of the table
ResNet10T = resnet("resnet10t", Spec(**B10, **T))
ResNet14T = resnet("resnet14t", Spec(**R14, **T))
ResNet18D = resnet("resnet18d", Spec(**B18, **D))
ResNet26D = resnet("resnet26d", Spec(**R26, **D))
ResNet26T = resnet("resnet26t", Spec(**R26, **T))
ResNet34D = resnet("resnet34d", Spec(**B34, **D))
ResNet50C = resnet("resnet50c", Spec(**R50, **C))
ResNet50D = resnet("resnet50d", Spec(**R50, **D), sources="timm/resnet50d kerashub/resnet_vd_50")
ResNet50S = resnet("resnet50s", Spec(**R50, **S))
ResNet50T = resnet("resnet50t", Spec(**R50, **T))
ResNet101C = resnet("resnet101c", Spec(**R101, **C))
ResNet101D = resnet("resnet101d", Spec(**R101, **D), sources="timm/resnet101d kerashub/resnet_vd_101")
ResNet101S = resnet("resnet101s", Spec(**R101, **S))
ResNet152C = resnet("resnet152c", Spec(**R152, **C))
ResNet152D = resnet("resnet152d", Spec(**R152, **D), sources="timm/resnet152d kerashub/resnet_vd_152")
ResNet152S = resnet("resnet152s", Spec(**R152, **S))
ResNet200D = resnet("resnet200d", Spec(**R200, **D))
ResNet18VD = resnet("resnet18_vd", Spec(**B18, **VD), sources="kerashub/resnet_vd_18")
ResNet34VD = resnet("resnet34_vd", Spec(**B34, **VD), sources="kerashub/resnet_vd_34")
ResNet200VD = resnet("resnet200_vd", Spec(depths=(3, 12, 48, 3), **D), sources="kerashub/resnet_vd_200")
ResNetAA34D = resnet("resnetaa34d", Spec(**B34, **D, **AA))
ResNetAA50 = resnet("resnetaa50", Spec(**R50, **AA))
ResNetAA50D = resnet("resnetaa50d", Spec(**R50, **D, **AA))
ResNetAA101D = resnet("resnetaa101d", Spec(**R101, **D, **AA))
ResNetBlur18 = resnet("resnetblur18", Spec(**B18, **BLUR))
ResNetBlur50 = resnet("resnetblur50", Spec(**R50, **BLUR))
ResNetBlur50D = resnet("resnetblur50d", Spec(**R50, **D, **BLUR))
ResNetBlur101D = resnet("resnetblur101d", Spec(**R101, **D, **BLUR))

# He et al. 2016, arXiv:1603.05027: pre-activation, as Keras has it, as fb.resnet.torch, as timm
ResNet50V2 = v2("resnet50v2", Spec(**R50, **KERAS_V2), sources="keras/ResNet50V2")
ResNet101V2 = v2("resnet101v2", Spec(**R101, **KERAS_V2), sources="keras/ResNet101V2")
ResNet152V2 = v2("resnet152v2", Spec(**R152, **KERAS_V2), sources="keras/ResNet152V2")
PreResNet200 = v2("preresnet200", Spec(**R200, order="pre"), sources=NO_SOURCE)
ResNetV2_18 = v2("resnetv2_18", Spec(**B18, **PRE))
ResNetV2_18D = v2("resnetv2_18d", Spec(**B18, **PRE, **D))
ResNetV2_34 = v2("resnetv2_34", Spec(**B34, **PRE))
ResNetV2_34D = v2("resnetv2_34d", Spec(**B34, **PRE, **D))
ResNetV2_50 = v2("resnetv2_50", Spec(**R50, **PRE), sources="timm/resnetv2_50 kerashub/resnet_v2_50")
ResNetV2_50D = v2("resnetv2_50d", Spec(**R50, **PRE, **D))
ResNetV2_50DGN = v2("resnetv2_50d_gn", Spec(**R50, **PRE, **D, **GN))
ResNetV2_50T = v2("resnetv2_50t", Spec(**R50, **PRE, **T))
ResNetV2_101 = v2("resnetv2_101", Spec(**R101, **PRE), sources="timm/resnetv2_101 kerashub/resnet_v2_101")
ResNetV2_101D = v2("resnetv2_101d", Spec(**R101, **PRE, **D))
ResNetV2_152 = v2("resnetv2_152", Spec(**R152, **PRE))
ResNetV2_152D = v2("resnetv2_152d", Spec(**R152, **PRE, **D))

# Big Transfer, arXiv:1912.11370: group normalization, weight standardization, wide
ResNetV2_50x1BiT = bit("resnetv2_50x1_bit", Spec(**R50, **BIT))
ResNetV2_50x3BiT = bit("resnetv2_50x3_bit", Spec(**R50, **BIT, width=3))
ResNetV2_101x1BiT = bit("resnetv2_101x1_bit", Spec(**R101, **BIT))
ResNetV2_101x3BiT = bit("resnetv2_101x3_bit", Spec(**R101, **BIT, width=3))
ResNetV2_152x2BiT = bit("resnetv2_152x2_bit", Spec(**R152, **BIT, width=2))
ResNetV2_152x4BiT = bit("resnetv2_152x4_bit", Spec(**R152, **BIT, width=4))

# Wide ResNet, arXiv:1605.07146, on ImageNet: only the bottleneck's 3x3 is wide
WideResNet50_2 = wrn("wide_resnet50_2", Spec(**R50, base_width=128),
                     sources="timm/wide_resnet50_2 torchvision/wide_resnet50_2")
WideResNet101_2 = wrn("wide_resnet101_2", Spec(**R101, base_width=128),
                      sources="timm/wide_resnet101_2 torchvision/wide_resnet101_2")

# ResNeXt, arXiv:1611.05431, and its cardinality ablations (Tables 3 and 4)
ResNeXt50_32x4d = resnext("resnext50_32x4d", Spec(**R50, **X32x4), sources="timm/resnext50_32x4d torchvision/resnext50_32x4d")
ResNeXt50D_32x4d = resnext("resnext50d_32x4d", Spec(**R50, **X32x4, **D))
ResNeXt101_32x4d = resnext("resnext101_32x4d", Spec(**R101, **X32x4))
ResNeXt101_32x8d = resnext("resnext101_32x8d", Spec(**R101, **X32x8),
                           sources="timm/resnext101_32x8d torchvision/resnext101_32x8d")
ResNeXt101_32x16d = resnext("resnext101_32x16d", Spec(**R101, groups=32, base_width=16))
ResNeXt101_32x32d = resnext("resnext101_32x32d", Spec(**R101, groups=32, base_width=32))
ResNeXt101_32x48d = resnext("resnext101_32x48d", Spec(**R101, groups=32, base_width=48), sources=NO_SOURCE)
ResNeXt101_64x4d = resnext("resnext101_64x4d", Spec(**R101, **X64x4),
                           sources="timm/resnext101_64x4d torchvision/resnext101_64x4d")
ResNeXt152_32x4d = resnext("resnext152_32x4d", Spec(**R152, **X32x4), sources=NO_SOURCE)
ResNeXt50_2x40d = resnext("resnext50_2x40d", Spec(**R50, groups=2, base_width=40), sources=NO_SOURCE)
ResNeXt50_4x24d = resnext("resnext50_4x24d", Spec(**R50, groups=4, base_width=24), sources=NO_SOURCE)
ResNeXt50_8x14d = resnext("resnext50_8x14d", Spec(**R50, groups=8, base_width=14), sources=NO_SOURCE)
ResNeXt101_2x40d = resnext("resnext101_2x40d", Spec(**R101, groups=2, base_width=40), sources=NO_SOURCE)
ResNeXt101_4x24d = resnext("resnext101_4x24d", Spec(**R101, groups=4, base_width=24), sources=NO_SOURCE)
ResNeXt101_8x14d = resnext("resnext101_8x14d", Spec(**R101, groups=8, base_width=14), sources=NO_SOURCE)
ResNeXt101_2x64d = resnext("resnext101_2x64d", Spec(**R101, groups=2, base_width=64), sources=NO_SOURCE)
ResNet101_1x100d = resnext("resnet101_1x100d", Spec(**R101, base_width=100), sources=NO_SOURCE)

# Squeeze-and-excitation, arXiv:1709.01507: on v1.5 and ResNeXt; then ("v1") as its authors published it
SEResNet18 = senet("seresnet18", Spec(**B18, **SE16))
SEResNet34 = senet("seresnet34", Spec(**B34, **SE16))
SEResNet50 = senet("seresnet50", Spec(**R50, **SE16))
SEResNet50T = senet("seresnet50t", Spec(**R50, **T, **SE16))
SEResNet101 = senet("seresnet101", Spec(**R101, **SE16))
SEResNet152 = senet("seresnet152", Spec(**R152, **SE16))
SEResNet152D = senet("seresnet152d", Spec(**R152, **D, **SE16))
SEResNet200D = senet("seresnet200d", Spec(**R200, **D, **SE16))
SEResNet269D = senet("seresnet269d", Spec(**R269, **D, **SE16))
SEResNetAA50D = senet("seresnetaa50d", Spec(**R50, **D, **AA, **SE16))
SEResNeXt26D_32x4d = senet("seresnext26d_32x4d", Spec(**R26, **X32x4, **D, **SE16))
SEResNeXt26T_32x4d = senet("seresnext26t_32x4d", Spec(**R26, **X32x4, **T, **SE16))
SEResNeXt50_32x4d = senet("seresnext50_32x4d", Spec(**R50, **X32x4, **SE16))
SEResNeXt101_32x4d = senet("seresnext101_32x4d", Spec(**R101, **X32x4, **SE16))
SEResNeXt101_32x8d = senet("seresnext101_32x8d", Spec(**R101, **X32x8, **SE16))
SEResNeXt101_64x4d = senet("seresnext101_64x4d", Spec(**R101, **X64x4, **SE16))
SEResNeXt101D_32x8d = senet("seresnext101d_32x8d", Spec(**R101, **X32x8, **D, **SE16))
SEResNeXtAA101D_32x8d = senet("seresnextaa101d_32x8d", Spec(**R101, **X32x8, **D, **AA, **SE16))
SEResNeXtAA201D_32x8d = senet("seresnextaa201d_32x8d", Spec(depths=(3, 24, 36, 4), **X32x8, **D, **AA, **SE16, stem_width=128))
SEResNet18V1 = senet("seresnet18v1", Spec(**B18, **SE_V1, order="relu_around_add"), sources="timm/legacy_seresnet18")
SEResNet34V1 = senet("seresnet34v1", Spec(**B34, **SE_V1, order="relu_around_add"), sources="timm/legacy_seresnet34")
SEResNet50V1 = senet("seresnet50v1", Spec(**R50, **V1, **SE_V1), sources="timm/legacy_seresnet50")
SEResNet101V1 = senet("seresnet101v1", Spec(**R101, **V1, **SE_V1), sources="timm/legacy_seresnet101")
SEResNet152V1 = senet("seresnet152v1", Spec(**R152, **V1, **SE_V1), sources="timm/legacy_seresnet152")
SEResNeXt26_32x4d = senet("seresnext26_32x4d", Spec(**R26, **X32x4, **SE_V1), sources="timm/legacy_seresnext26_32x4d")
SENet154 = senet("senet154", Spec(**R152, **X64x4, **S, **SE16, reduce_first=2, shortcut_kernel=3, dropout_rate=0.2))

# Efficient channel attention, arXiv:1910.03151
ECAResNet18 = eca("ecaresnet18", Spec(**B18, **ECA_), sources=NO_SOURCE)
ECAResNet34 = eca("ecaresnet34", Spec(**B34, **ECA_), sources=NO_SOURCE)
ECAResNet50 = eca("ecaresnet50", Spec(**R50, **ECA_), sources=NO_SOURCE)
ECAResNet101 = eca("ecaresnet101", Spec(**R101, **ECA_), sources=NO_SOURCE)
ECAResNet152 = eca("ecaresnet152", Spec(**R152, **ECA_), sources=NO_SOURCE)
ECAResNet26T = eca("ecaresnet26t", Spec(**R26, **T, **ECA_))
ECAResNet50D = eca("ecaresnet50d", Spec(**R50, **D, **ECA_))
ECAResNet50T = eca("ecaresnet50t", Spec(**R50, **T, **ECA_))
ECAResNet101D = eca("ecaresnet101d", Spec(**R101, **D, **ECA_))
ECAResNet50DPruned = eca("ecaresnet50d_pruned", Spec(**R50, **D, **PRUNED, out_widths=(19, 171, 818, 2022), inner_widths=(
    47, 18, 52, 22, 64, 35, 85, 37, 107, 80, 120, 85, 125, 87, 198, 126, 255, 232, 256, 233, 253, 235, 256, 225, 256, 239,
    492, 237, 512, 500, 512, 490)))
ECAResNet101DPruned = eca("ecaresnet101d_pruned", Spec(**R101, **D, **PRUNED, out_widths=(26, 142, 278, 2042), inner_widths=(
    45, 25, 53, 20, 60, 27, 81, 24, 93, 49, 102, 54, 122, 78, 101, 25, 239, 160, 234, 156, 250, 176, 253, 191, 251, 175,
    230, 128, 244, 154, 244, 159, 238, 97, 244, 149, 253, 181, 245, 119, 255, 216, 256, 201, 253, 149, 254, 141, 256, 190,
    256, 217, 255, 156, 256, 155, 256, 232, 256, 214, 499, 289, 512, 512, 512, 502)))
ECAResNet200D = eca("ecaresnet200d", Spec(**R200, **D, **ECA_))
ECAResNet269D = eca("ecaresnet269d", Spec(**R269, **D, **ECA_))
ECAResNetLight = eca("ecaresnetlight", Spec(depths=(1, 1, 11, 3), shortcut="avg", **ECA_))
ECAResNeXt26T_32x4d = eca("ecaresnext26t_32x4d", Spec(**R26, **X32x4, **T, **ECA_))
ECAResNeXt50T_32x4d = eca("ecaresnext50t_32x4d", Spec(**R50, **X32x4, **T, **ECA_))

# Selective kernels, arXiv:1903.06586
SKResNet18 = sk("skresnet18", Spec(**B18, **SK_NARROW))
SKResNet34 = sk("skresnet34", Spec(**B34, **SK_NARROW))
SKResNet50 = sk("skresnet50", Spec(**R50, **SK_HALF))
SKResNet50D = sk("skresnet50d", Spec(**R50, **D, **SK_HALF))
SKResNeXt50_32x4d = sk("skresnext50_32x4d", Spec(**R50, **X32x4, **SK_FULL))
SKNet101 = sk("sknet101", Spec(**R101, **X32x4, **SK_FULL), sources=NO_SOURCE)

# ResNeSt, arXiv:2004.08955, and its ablations
ResNeSt14 = resnest("resnest14", Spec(**R14, **ST), sources="timm/resnest14d")
ResNeSt26 = resnest("resnest26", Spec(**R26, **ST), sources="timm/resnest26d")
ResNeSt50 = resnest("resnest50", Spec(**R50, **ST), sources="timm/resnest50d")
ResNeSt101 = resnest("resnest101", Spec(**R101, **ST_WIDE, input_size=256), sources="timm/resnest101e")
ResNeSt200 = resnest("resnest200", Spec(**R200, **ST_WIDE, input_size=320), sources="timm/resnest200e")
ResNeSt269 = resnest("resnest269", Spec(**R269, **ST_WIDE, input_size=416), sources="timm/resnest269e")
ResNeSt50Fast_1s1x64d = resnest("resnest50_fast_1s1x64d", _resnest_fast(1, 1, 64), sources=NO_SOURCE)
ResNeSt50Fast_2s1x64d = resnest("resnest50_fast_2s1x64d", _resnest_fast(2, 1, 64), sources=NO_SOURCE)
ResNeSt50Fast_4s1x64d = resnest("resnest50_fast_4s1x64d", _resnest_fast(4, 1, 64), sources=NO_SOURCE)
ResNeSt50Fast_1s2x40d = resnest("resnest50_fast_1s2x40d", _resnest_fast(1, 2, 40), sources=NO_SOURCE)
ResNeSt50Fast_2s2x40d = resnest("resnest50_fast_2s2x40d", _resnest_fast(2, 2, 40), sources=NO_SOURCE)
ResNeSt50Fast_4s2x40d = resnest("resnest50_fast_4s2x40d", _resnest_fast(4, 2, 40), sources="timm/resnest50d_4s2x40d")
ResNeSt50Fast_1s4x24d = resnest("resnest50_fast_1s4x24d", _resnest_fast(1, 4, 24), sources="timm/resnest50d_1s4x24d")

# ResNet-RS, arXiv:2103.07579
ResNetRS50 = rs("resnetrs50", Spec(**R50, **RS, input_size=160))
ResNetRS101 = rs("resnetrs101", Spec(**R101, **RS, input_size=192))
ResNetRS152 = rs("resnetrs152", Spec(**R152, **RS, input_size=256))
ResNetRS200 = rs("resnetrs200", Spec(**R200, **RS, input_size=256))
ResNetRS270 = rs("resnetrs270", Spec(depths=(4, 29, 53, 4), **RS, input_size=256))
ResNetRS350 = rs("resnetrs350", Spec(depths=(4, 36, 72, 4), **RS, input_size=288))
ResNetRS420 = rs("resnetrs420", Spec(depths=(4, 44, 87, 4), **RS, input_size=320))

# Inception-v4 and Inception-ResNet-v2, arXiv:1602.07261
InceptionV4 = inception("inception_v4", InceptionSpec("v4", (4, 7, 3)))
InceptionResNetV2 = inception("inception_resnet_v2",
                              InceptionSpec(norm_scale=False, bn_momentum=0.99, initializer="glorot_uniform"),
                              sources="keras/InceptionResNetV2")
InceptionResNetV2Gamma = inception("inception_resnet_v2_gamma", InceptionSpec(), sources="timm/inception_resnet_v2")

# CIFAR: He et al. 2015, section 4.2, with shortcuts of option A; with option B; with bottlenecks
CifarPlain20, CifarPlain32, CifarPlain44, CifarPlain56, CifarPlain110 = (
    plain(f"cifar_plain{n}", _cifar(n, shortcut="none"), sources=NO_SOURCE) for n in (20, 32, 44, 56, 110))
CifarResNet20, CifarResNet32, CifarResNet44, CifarResNet56, CifarResNet110, CifarResNet1202 = (
    resnet(f"cifar_resnet{n}", _cifar(n), sources=f"akamaster/resnet{n}") for n in (20, 32, 44, 56, 110, 1202))
CifarResNet20B, CifarResNet32B, CifarResNet44B, CifarResNet56B, CifarResNet110B, CifarResNet1202B = (
    resnet(f"cifar_resnet{n}b", _cifar(n, shortcut="conv"), sources=NO_SOURCE) for n in (20, 32, 44, 56, 110, 1202))
CifarResNet164, CifarResNet272, CifarResNet542, CifarResNet1001 = (
    resnet(f"cifar_resnet{n}", _cifar(n, block="bottleneck", shortcut="conv"), sources=NO_SOURCE) for n in (164, 272, 542, 1001))

# CIFAR: the nets for ImageNet with a stem of one 3x3 and no pool, as kuangliu/pytorch-cifar has them
CifarResNet18, CifarResNet34, CifarResNet50 = (
    resnet(f"cifar_resnet{n}", Spec(**blocks, **SMALL), sources=f"kuangliu/resnet{n}")
    for n, blocks in ((18, B18), (34, B34), (50, R50)))
CifarPreResNet18 = v2("cifar_preresnet18", Spec(**B18, **PRE, **SMALL, final_norm=False), sources="kuangliu/preactresnet18")

# CIFAR: He et al. 2016; Wide ResNet; ResNeXt-29
CifarPreResNet20, CifarPreResNet32, CifarPreResNet44, CifarPreResNet56, CifarPreResNet110, CifarPreResNet1202 = (
    v2(f"cifar_preresnet{n}", _cifar(n, **PRE, shortcut="conv"), sources=NO_SOURCE) for n in (20, 32, 44, 56, 110, 1202))
CifarPreResNet164, CifarPreResNet272, CifarPreResNet542, CifarPreResNet1001 = (
    v2(f"cifar_preresnet{n}", _cifar(n, **PRE, block="bottleneck", shortcut="conv"), sources=NO_SOURCE)
    for n in (164, 272, 542, 1001))
CifarWideResNet16_4, CifarWideResNet16_8, CifarWideResNet16_10 = (
    wrn(f"cifar_wide_resnet16_{k}", _wide_resnet(16, k), sources=NO_SOURCE) for k in (4, 8, 10))
CifarWideResNet22_2, CifarWideResNet22_8, CifarWideResNet22_10 = (
    wrn(f"cifar_wide_resnet22_{k}", _wide_resnet(22, k), sources=NO_SOURCE) for k in (2, 8, 10))
CifarWideResNet28_2, CifarWideResNet28_10, CifarWideResNet28_12 = (
    wrn(f"cifar_wide_resnet28_{k}", _wide_resnet(28, k), sources=NO_SOURCE) for k in (2, 10, 12))
CifarWideResNet40_1, CifarWideResNet40_2, CifarWideResNet40_4, CifarWideResNet40_8, CifarWideResNet40_10 = (
    wrn(f"cifar_wide_resnet40_{k}", _wide_resnet(40, k), sources=NO_SOURCE) for k in (1, 2, 4, 8, 10))
CifarWideResNet52_1 = wrn("cifar_wide_resnet52_1", _wide_resnet(52, 1), sources=NO_SOURCE)
CifarResNeXt29_8x64d, CifarResNeXt29_16x64d, CifarResNeXt29_32x4d = (
    resnext(f"cifar_resnext29_{g}x{w}d",
            _cifar(29, block="bottleneck", shortcut="conv", widths=(64, 128, 256), stem_width=64, groups=g,
                   base_width=w),
            sources=NO_SOURCE) for g, w in ((8, 64), (16, 64), (32, 4)))

# MLPerf Tiny's image classifier: one block per stage, biased convolutions, bare projections, raw pixels
MLPerfTinyResNet8 = tiny("mlperf_tiny_resnet8", _cifar(8, shortcut="conv", shortcut_norm=False, conv_bias=True, padding="same",
                                                      bn_epsilon=1e-3, bn_momentum=0.99, pixels="raw"),
                         sources="mlperf/resnet8")

# Nets of other packages that differ from a variant in a Spec field.
SOURCES_WITH_OTHER_FIELDS: dict[str, tuple[str, dict[str, Any]]] = {
    f"timm/legacy_{name}": (name, {"pool": "max_ceil"})
    for name in ("senet154", "seresnext50_32x4d", "seresnext101_32x4d")}

for _name, _variant in list(globals().items()):
    if isinstance(_variant, Variant):
        _variant.set_builder_name(_name, FAMILIES[_variant.family])
VARIANTS = {net.name: net for net in list(globals().values()) if isinstance(net, Variant)}
