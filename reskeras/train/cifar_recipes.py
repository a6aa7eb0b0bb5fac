"""How the papers train on small images: CIFAR, and the digits.  Imports no framework."""
from __future__ import annotations

from .recipe import OWN
from .recipe_sources import TORCH_SGD, cite, make_recipe

CIFAR_HE = make_recipe(
    "cifar_he", "Deep Residual Learning, CIFAR-10",
    # 110 layers warm up with 0.01 "until the training error is below 80 %", about 400 steps: warmup=400 and
    # warmup_start=0.1 come near
    cite("arXiv:1512.03385 §4.2", batch_size=128, base_batch_size=128, learning_rate=0.1, optimizer="sgd",
         momentum=0.9, weight_decay=1e-4, schedule="step", milestones=(32_000, 48_000), decay_factor=0.1,
         steps=64_000),
    cite("Caffe sgd_solver.cpp ComputeUpdateValue, in which the nets were trained",
         learning_rate_in_velocity=True),
    cite("arXiv:1512.03385 §4.2: 4 pixels of padding, random crop, flip",
         augmentation="pad_crop(32, 4)|flip", size=32),
    cite("arXiv:1512.03385 §4.2: the image as it is", test_size=32, test_crop_pct=1.0))

PREACT = make_recipe(
    # ResNet-1001's batch of 64 in the table is another run; see its Table 4
    "preact", "Identity Mappings, CIFAR",
    cite("arXiv:1603.05027 appendix", batch_size=128, base_batch_size=128, learning_rate=0.1,
         optimizer="sgd", momentum=0.9, weight_decay=1e-4, schedule="step", milestones=(32_000, 48_000),
         decay_factor=0.1),
    cite("arXiv:1603.05027 appendix: 0.01 for 400 steps", warmup=400, warmup_start=0.1,
         differs={"warmup": "a line from 0.01 to 0.1; the paper jumps to 0.1 after 400 steps"}),
    cite(f"{TORCH_SGD}, in which KaimingHe/resnet-1k-layers is", learning_rate_in_velocity=False,
         differs={"learning_rate_in_velocity": "as the source; but fb.resnet.torch, in which the released "
                  "code runs, has Nesterov momentum too, which the paper does not mention"}),
    cite("arXiv:1512.03385 §4.2, to which the appendix refers", steps=64_000,
         augmentation="pad_crop(32, 4)|flip", size=32, test_size=32, test_crop_pct=1.0),
    cite("arXiv:1603.05027 Table 2: full pre-activation", model={"order": "pre"}))

WRN = make_recipe(
    "wrn", "Wide Residual Networks, CIFAR",
    cite("arXiv:1605.07146 §3, scripts/train_cifar.sh", batch_size=128, base_batch_size=128,
         learning_rate=0.1, optimizer="nesterov", momentum=0.9, weight_decay=5e-4, epochs=200,
         schedule="step", milestones=(60, 120, 160), decay_factor=0.2),
    cite(TORCH_SGD, learning_rate_in_velocity=False),
    cite("arXiv:1605.07146 §3: reflections fill the 4 pixels of padding",
         augmentation='pad_crop(32, 4, "reflect")|flip', size=32),
    cite("arXiv:1605.07146 §3: the image as it is", test_size=32, test_crop_pct=1.0),
    cite("arXiv:1605.07146 §2.4, Table 6", model={"block_dropout_rate": 0.3}))

STOCHASTIC_DEPTH = make_recipe(
    "stochastic_depth", "Deep Networks with Stochastic Depth, CIFAR, 110 layers",
    cite("arXiv:1603.09382 §4, yueatsprograms/Stochastic_Depth main.lua", batch_size=128,
         base_batch_size=128, learning_rate=0.1, optimizer="nesterov", momentum=0.9, weight_decay=1e-4,
         epochs=500, schedule="step", milestones=(250, 375), decay_factor=0.1),
    cite(TORCH_SGD, learning_rate_in_velocity=False),
    cite("arXiv:1603.09382 §4: flip and translation by 4 pixels", augmentation="pad_crop(32, 4)|flip",
         size=32),
    cite("arXiv:1603.09382 §4: the image as it is", test_size=32, test_crop_pct=1.0),
    cite("arXiv:1603.09382 §3 equation 4: p_L = 0.5, linear decay, one draw per mini-batch",
         model={"drop_path_rate": 0.5, "drop_path_mode": "batch"}))

CIFAR_COSINE = make_recipe(
    "cifar_cosine", "a modern training on CIFAR: 200 epochs of a cosine, with cutout",
    cite("kuangliu/pytorch-cifar main.py", batch_size=128, base_batch_size=128, learning_rate=0.1,
         optimizer="sgd", momentum=0.9, learning_rate_in_velocity=False, weight_decay=5e-4, epochs=200),
    cite("kuangliu/pytorch-cifar main.py: CosineAnnealingLR(T_max=200), stepped once in an epoch",
         schedule="cosine", schedule_by_epoch=True),
    cite("arXiv:1708.04552 §4; uoguelph-mlrg/Cutout train.py: length 16 for CIFAR-10",
         augmentation="pad_crop(32, 4)|flip|cutout(16)", size=32),
    cite("uoguelph-mlrg/Cutout train.py: the image as it is", test_size=32, test_crop_pct=1.0))

DIGITS = make_recipe(
    "digits", "scikit-learn's digits, what `reskeras demo` does",
    cite(OWN, batch_size=64, base_batch_size=64, learning_rate=0.1, optimizer="nesterov", momentum=0.9,
         learning_rate_in_velocity=True, weight_decay=5e-4, epochs=20, warmup=2, warmup_start=0.05,
         schedule="cosine", size=16, test_size=16, test_crop_pct=1.0,
         augmentation="affine(0.26, 0.1, 0.1)"))
