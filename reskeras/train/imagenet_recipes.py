"""How the papers train on ImageNet.  Imports no framework.

ResNet-RS is in resnet_rs.py, "ResNet strikes back" in rsb_recipes.py.
"""
from __future__ import annotations

from .recipe import Recipe
from .recipe_sources import TORCH_SGD, cite, make_recipe

_TORCH7 = "torch7_crop(224)|torch7_jitter(0.4, 0.4, 0.4)|lighting(0.1, clip=False)|flip"

HE2015 = make_recipe(
    "he2015", "Deep Residual Learning, ImageNet",
    cite("arXiv:1512.03385 §3.4", batch_size=256, base_batch_size=256, learning_rate=0.1, optimizer="sgd",
         momentum=0.9, weight_decay=1e-4, schedule="plateau", decay_factor=0.1, steps=600_000),
    cite("arXiv:1512.03385 §3.4: shorter side in [256, 480], crop, flip, and the colours of AlexNet (§4.1 "
         "there)",
         augmentation="scale(256, 480)|crop(224)|flip|lighting(0.1)", size=224),
    cite("Caffe sgd_solver.cpp ComputeUpdateValue, in which the nets were trained",
         learning_rate_in_velocity=True),
    cite("arXiv:1512.03385 §3.4: \"when the error plateaus\"", patience=5,
         differs={"patience": "the paper gives no number: this package's choice"}))

# The step recipe behind v1.5.  Its repository initializes convolutions by fan-out, reskeras' nets by fan-in,
# as He et al. 2015b.
FB_RESNET_TORCH = make_recipe(
    "fb_resnet_torch", "facebook/fb.resnet.torch, the recipe behind v1.5",
    cite("fb.resnet.torch README: -batchSize 256", batch_size=256, base_batch_size=256),
    cite("fb.resnet.torch opts.lua, train.lua", epochs=90, learning_rate=0.1, momentum=0.9,
         optimizer="nesterov", weight_decay=1e-4),
    cite(TORCH_SGD, learning_rate_in_velocity=False),
    cite("fb.resnet.torch train.lua: 0.1 ^ floor((epoch - 1) / 30)", schedule="step", milestones=(30, 60),
         decay_factor=0.1),
    cite("fb.resnet.torch datasets/imagenet.lua, transforms.lua; torch/image generic/image.c",
         augmentation=_TORCH7, size=224),
    cite("fb.resnet.torch datasets/imagenet.lua: Scale(256), CenterCrop(224)", test_size=224,
         test_crop_pct=0.875))

RESNEXT = make_recipe(
    "resnext", "Aggregated Residual Transformations, ImageNet",
    cite("arXiv:1611.05431 §4", batch_size=256, base_batch_size=256, learning_rate=0.1, momentum=0.9,
         weight_decay=1e-4),
    cite("facebookresearch/ResNeXt train.lua", optimizer="nesterov"),
    cite(TORCH_SGD, learning_rate_in_velocity=False),
    cite("arXiv:1611.05431 §4: divided by 10 three times; ResNeXt train.lua: 0.1 ^ floor((epoch - 1) / 30)",
         schedule="step", milestones=(30, 60, 90), decay_factor=0.1),
    cite("facebookresearch/ResNeXt opts.lua", epochs=100),
    cite("facebookresearch/ResNeXt datasets/imagenet.lua, transforms.lua; torch/image generic/image.c",
         size=224, augmentation=_TORCH7),
    cite("arXiv:1611.05431 §4: 224 of a shorter side of 256", test_size=224, test_crop_pct=0.875))

BAG_OF_TRICKS = make_recipe(
    "bag_of_tricks", "Bag of Tricks, ImageNet, ResNet-50-D",
    cite("arXiv:1812.01187 §3.1", batch_size=1024, base_batch_size=256, learning_rate=0.1,
         learning_rate_scaling="linear", warmup=5, decayed_weights="kernels",
         model={"zero_init_residual": True}),
    cite("arXiv:1812.01187 §2.1", optimizer="nesterov", model={"initializer": "glorot_uniform"}),
    cite("MXNet's example of its efficient training, gluon-cv train_imagenet.py", momentum=0.9,
         weight_decay=1e-4),
    cite("MXNet 1 python/mxnet/optimizer/optimizer.py NAG: state without the rate",
         learning_rate_in_velocity=False),
    cite("arXiv:1812.01187 §5.1", schedule="cosine"),
    cite("arXiv:1812.01187 §5.2, Table 6", label_smoothing=0.1),
    cite("arXiv:1812.01187 §5.4: 200 with mixup, 120 without", epochs=200),
    cite("arXiv:1812.01187 §2.1, and mixup of §5.4 with alpha 0.2",
         augmentation="random_resized_crop(224)|flip|jitter(0.4, 0, 0.4, 0.4)|lighting(0.1)|mixup(0.2)",
         size=224, differs={"augmentation": "the crop is torchvision's; the paper gives the ranges of area "
                            "and proportions, not how they are drawn"}),
    cite("arXiv:1812.01187 §2.1: 224 of a shorter side of 256", test_size=224, test_crop_pct=0.875))

RESNEST = make_recipe(
    "resnest", "ResNeSt-50, ImageNet",
    # batch size 4096 for ResNeSt-101, 2048 for -200 and -269, which also have dropout 0.2 before the
    # classifier and larger crops
    cite("arXiv:2004.08955 §4.1, §5.1", batch_size=8192, base_batch_size=256, learning_rate=0.1,
         learning_rate_scaling="linear", schedule="cosine", warmup=5, epochs=270, momentum=0.9,
         weight_decay=1e-4, decayed_weights="kernels", label_smoothing=0.1),
    cite("MXNet 1 python/mxnet/optimizer/optimizer.py NAG: state without the rate",
         learning_rate_in_velocity=False),
    cite("resnest's scripts/gluon/train.py, of the published command: nag; its PyTorch script has none",
         optimizer="nesterov"),
    cite("resnest's scripts/gluon/train.py get_train_data, resnest/gluon/data_utils.py; arXiv:2004.08955 "
         "§4.1: mixup 0.2",
         augmentation="resnest_autoaugment|random_resized_crop(224)|flip|color_jitter(0.4, 0.4, 0.4)"
                      + "|lighting(0.1)|mixup(0.2)", size=224,
         differs={"augmentation": "crop and jitter are torchvision's; MXNet's, whose draws are the same, do "
                  "not smooth, and take another crop of the middle where ten attempts fail"}),
    cite("arXiv:2004.08955 §5.1: 224 of a shorter side of 256", test_size=224, test_crop_pct=0.875),
    cite("arXiv:2004.08955 §4.1; 0.1 at the end of scripts/gluon/train.py's schedule",
         model={"drop_block_rate": 0.1}),
    cite("arXiv:2004.08955 §4.1, as arXiv:1812.01187 §3.1", model={"zero_init_residual": True}))


def _nvidia(epochs: int, mixup: str) -> Recipe:
    """The ResNet-50 v1.5 of NVIDIA's DeepLearningExamples."""
    code = "NVIDIA/DeepLearningExamples PyTorch/Classification/ConvNets"
    return make_recipe(
        f"nvidia_{epochs}", f"NVIDIA DeepLearningExamples, ResNet-50 v1.5, {epochs} epochs of ImageNet",
        cite(f"{code} configs.yml resnet_params_2k", batch_size=2048, base_batch_size=2048,
             learning_rate=2.048, momentum=0.875, weight_decay=3.0517578125e-05, label_smoothing=0.1,
             schedule="cosine"),
        cite(f"{code} README: the rate is 0.256 for each 256 images", learning_rate_scaling="linear"),
        cite(f"{code} resnet50v1.5/README: 50, 90 and 250 epochs, mixup 0.2 with 250 alone", epochs=epochs),
        cite(f"{code} image_classification/optimizers.py lr_cosine_policy; configs.yml: 8 epochs, the "
             "first with 1/8 of the rate, the last with all of it", warmup=7, warmup_start=0.125,
             schedule_by_epoch=True,
             differs={"warmup": "the rates of the warm-up are the source's; the cosine begins an epoch "
                      "earlier"}),
        cite(f"{code} image_classification/optimizers.py get_sgd_optimizer", optimizer="sgd",
             learning_rate_in_velocity=False, decayed_weights="all_but_normalization",
             differs={"decayed_weights": "none of the normalization; the source finds its weights by \"bn\" "
                      "in the name, which those of the shortcuts do not have"}),
        cite(f"{code} image_classification/dataloaders.py get_pytorch_train_loader", size=224,
             augmentation=f"random_resized_crop(224)|flip{mixup}"),
        cite(f"{code} image_classification/dataloaders.py: Resize(256), CenterCrop(224)", test_size=224,
             test_crop_pct=0.875))


NVIDIA_90 = _nvidia(90, "")
NVIDIA_250 = _nvidia(250, "|mixup(0.2)")

TV2 = make_recipe(
    "tv2", "torchvision's IMAGENET1K_V2 weights",
    cite("pytorch/vision#3995, references/classification: ResNet50 V2", batch_size=1024,
         base_batch_size=1024, learning_rate=0.5, epochs=600, warmup=5, schedule="cosine", weight_decay=2e-5,
         label_smoothing=0.1, augmentation_repeats=4, size=176,
         test_size=224, test_crop_pct=224 / 232),
    cite("torchvision references/classification presets.py ClassificationPresetTrain, transforms.py",
         augmentation="random_resized_crop(176)|flip|trivialaugment_wide|random_erasing(0.1)|mixup(0.2)"
                      + "|cutmix(1.0)",
         differs={"augmentation": "mixup and cutmix take the images of the batch in reverse order, the "
                  "source in the order shifted by one"}),
    cite("pytorch/vision#3995: norm-weight-decay 0.0; torchvision ops/_utils.py split_normalization_params",
         decayed_weights="all_but_normalization"),
    cite("pytorch/vision#3995: model-ema; torchvision references/classification train.py: its defaults "
         "model-ema-decay 0.99998 and model-ema-steps 32, rescaled and reset in train_one_epoch and main",
         ema_momentum=0.99998, ema_steps=32, ema_rule="torchvision"),
    cite("torchvision references/classification train.py: LinearLR(start_factor=0.01), then "
         "CosineAnnealingLR, each stepped once in an epoch", warmup_start=0.01, schedule_by_epoch=True),
    cite("torchvision references/classification train.py: torch.optim.SGD", optimizer="sgd", momentum=0.9,
         learning_rate_in_velocity=False))
