"""THE RECIPES: one row each, every value with the place where its paper says so.  No framework is imported here.

Where a paper leaves something open, the source says what was chosen.  A recipe is for the paper's batch over all devices; see
`learning_rate` for others.  Augmentations are strings of `reskeras.train.augment`.
"""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Mapping

from .recipe import Recipe, Training, closest

OWN = "no paper: this package's choice"
RECIPES: dict[str, Recipe] = {}


def recipe(name: str, about: str, *cited: tuple[str, Mapping[str, Any], Mapping[str, Any]]) -> Recipe:
    """A row, which `find` knows by its name from then on."""
    training: dict[str, Any] = {}
    model: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for source, fields, of_model in cited:
        training |= fields
        model |= of_model
        sources |= dict.fromkeys([*fields, *(f"model.{field}" for field in of_model)], source)
    RECIPES[name] = Recipe(name, about, Training(**training), model, sources)
    return RECIPES[name]


def says(source: str, model: Mapping[str, Any] | None = None, **training: Any):
    return source, training, model or {}


FINETUNE = recipe(
    "finetune", "a pretrained net on other classes: the classifier first, then all, statistics frozen; needs nothing but Keras",
    says("keras.io/guides/transfer_learning: the procedure", optimizer="adam", freeze_statistics=True, scaling="none"),
    says("keras.io/guides/transfer_learning: Adam's default for the new classifier", head_rate=1e-3),
    says(OWN, head_epochs=3, epochs=10, batch=32, rate_batch=32, rate=1e-4, schedule="cosine", size=224,
         augment="inception_crop(224, 0.35)|flip"))

HE2015 = recipe(
    "he2015", "Deep Residual Learning, ImageNet",
    says("arXiv:1512.03385 §3.4", batch=256, rate_batch=256, rate=0.1, optimizer="sgd", momentum=0.9, weight_decay=1e-4,
         schedule="plateau", factor=0.1, steps=600_000),
    says("arXiv:1512.03385 §3.4: shorter side in [256, 480], crop, flip, and the colours of AlexNet (§4.1 there)",
         augment="scale(256, 480)|crop(224)|flip|lighting(0.1)", size=224),
    says("the paper says \"when the error plateaus\"; this package's choice", patience=5))

# The step recipe behind v1.5.  Its repository draws convolutions by fan-out, reskeras' nets by fan-in as He et al. 2015b.
FB_RESNET_TORCH = recipe(
    "fb_resnet_torch", "facebook/fb.resnet.torch, the recipe behind v1.5",
    says("fb.resnet.torch README: -batchSize 256", batch=256, rate_batch=256),
    says("fb.resnet.torch opts.lua, train.lua", epochs=90, rate=0.1, momentum=0.9, optimizer="nesterov", weight_decay=1e-4),
    says("fb.resnet.torch train.lua: 0.1 ^ floor((epoch - 1) / 30)", schedule="step", milestones=(30, 60), factor=0.1),
    says("fb.resnet.torch datasets/imagenet.lua", augment="inception_crop(224)|jitter(0.4, 0.4, 0.4)|lighting(0.1)|flip",
         size=224),
    says("fb.resnet.torch datasets/imagenet.lua: Scale(256), CenterCrop(224)", test_size=224, test_crop_pct=0.875))

CIFAR_HE = recipe(
    "cifar_he", "Deep Residual Learning, CIFAR-10",
    # 110 layers warm up with 0.01 "until the training error is below 80 %", about 400 steps: --set warmup=400
    # --set warmup_rate=0.1 comes near
    says("arXiv:1512.03385 §4.2", batch=128, rate_batch=128, rate=0.1, optimizer="sgd", momentum=0.9, weight_decay=1e-4,
         schedule="step", milestones=(32_000, 48_000), factor=0.1, steps=64_000),
    says("arXiv:1512.03385 §4.2: 4 pixels of padding, random crop, flip", augment="pad_crop(32, 4)|flip", size=32),
    says("arXiv:1512.03385 §4.2: the image as it is", test_size=32, test_crop_pct=1.0))

PREACT = recipe(
    "preact", "Identity Mappings, CIFAR",      # ResNet-1001's batch of 64 in the table is another run; see its Table 4
    says("arXiv:1603.05027 appendix", batch=128, rate_batch=128, rate=0.1, optimizer="sgd", momentum=0.9, weight_decay=1e-4,
         schedule="step", milestones=(32_000, 48_000), factor=0.1),
    says("arXiv:1603.05027 appendix: 0.01 for 400 steps; a jump there, linear here", warmup=400, warmup_rate=0.1),
    says("arXiv:1512.03385 §4.2, to which the appendix refers", steps=64_000, augment="pad_crop(32, 4)|flip", size=32,
         test_size=32, test_crop_pct=1.0),
    says("arXiv:1603.05027 Table 2: full pre-activation", model={"order": "pre"}))

WRN = recipe(
    "wrn", "Wide Residual Networks, CIFAR",
    says("arXiv:1605.07146 §3, scripts/train_cifar.sh", batch=128, rate_batch=128, rate=0.1, optimizer="nesterov", momentum=0.9,
         weight_decay=5e-4, epochs=200, schedule="step", milestones=(60, 120, 160), factor=0.2),
    says("arXiv:1605.07146 §3: reflections fill the 4 pixels of padding", augment='pad_crop(32, 4, "reflect")|flip', size=32),
    says("arXiv:1605.07146 §3: the image as it is", test_size=32, test_crop_pct=1.0),
    says("arXiv:1605.07146 §2.4, Table 6", model={"block_dropout_rate": 0.3}))

RESNEXT = recipe(
    "resnext", "Aggregated Residual Transformations, ImageNet",
    says("arXiv:1611.05431 §4", batch=256, rate_batch=256, rate=0.1, momentum=0.9, weight_decay=1e-4),
    says("facebookresearch/ResNeXt train.lua", optimizer="nesterov"),
    says("arXiv:1611.05431 §4: divided by 10 three times; ResNeXt train.lua: 0.1 ^ floor((epoch - 1) / 30)", schedule="step",
         milestones=(30, 60, 90), factor=0.1),
    says("facebookresearch/ResNeXt opts.lua", epochs=100),
    says("facebookresearch/ResNeXt datasets/imagenet.lua", size=224,
         augment="inception_crop(224)|jitter(0.4, 0.4, 0.4)|lighting(0.1)|flip"),
    says("arXiv:1611.05431 §4: 224 of a shorter side of 256", test_size=224, test_crop_pct=0.875))

STOCHASTIC_DEPTH = recipe(
    "stochastic_depth", "Deep Networks with Stochastic Depth, CIFAR, 110 layers",
    says("arXiv:1603.09382 §4, yueatsprograms/Stochastic_Depth main.lua", batch=128, rate_batch=128, rate=0.1,
         optimizer="nesterov", momentum=0.9, weight_decay=1e-4,
         epochs=500, schedule="step", milestones=(250, 375), factor=0.1),
    says("arXiv:1603.09382 §4: flip and translation by 4 pixels", augment="pad_crop(32, 4)|flip", size=32),
    says("arXiv:1603.09382 §4: the image as it is", test_size=32, test_crop_pct=1.0),
    says("arXiv:1603.09382 §3 equation 4: p_L = 0.5, linear decay, one draw per mini-batch",
         model={"drop_path_rate": 0.5, "drop_path_mode": "batch"}))

BAG_OF_TRICKS = recipe(
    "bag_of_tricks", "Bag of Tricks, ImageNet, ResNet-50-D",
    says("arXiv:1812.01187 §3.1", batch=1024, rate_batch=256, rate=0.1, scaling="linear", warmup=5, decay_all=False,
         model={"zero_init_residual": True}),
    says("arXiv:1812.01187 §2.1", optimizer="nesterov", model={"initializer": "glorot_uniform"}),
    says("MXNet's example of its efficient training, gluon-cv train_imagenet.py", momentum=0.9, weight_decay=1e-4),
    says("arXiv:1812.01187 §5.1", schedule="cosine"),
    says("arXiv:1812.01187 §5.2, Table 6", label_smoothing=0.1),
    says("arXiv:1812.01187 §5.4: 200 with mixup, 120 without", epochs=200),
    says("arXiv:1812.01187 §2.1, and mixup of §5.4 with alpha 0.2",
         augment="inception_crop(224)|flip|jitter(0.4, 0, 0.4, 0.4)|lighting(0.1)|mixup(0.2)", size=224),
    says("arXiv:1812.01187 §2.1: 224 of a shorter side of 256", test_size=224, test_crop_pct=0.875))

RESNEST = recipe(
    "resnest", "ResNeSt-50, ImageNet",
    # 4096 for ResNeSt-101, 2048 for -200 and -269, which also have dropout 0.2 before the classifier and larger crops
    says("arXiv:2004.08955 §4.1, §5.1", batch=8192, rate_batch=256, rate=0.1, scaling="linear", schedule="cosine", warmup=5,
         epochs=270, momentum=0.9, weight_decay=1e-4, decay_all=False, label_smoothing=0.1),
    says("resnest's scripts/gluon/train.py, of the published command: nag; its PyTorch script has none", optimizer="nesterov"),
    says("arXiv:2004.08955 §4.1: AutoAugment, mixup 0.2; keras-cv has no AutoAugment: RandAugment stands for it",
         augment="inception_crop(224)|flip|randaugment(2, 9)|jitter(0.4, 0.4, 0.4)|lighting(0.1)|mixup(0.2)", size=224),
    says("arXiv:2004.08955 §5.1: 224 of a shorter side of 256", test_size=224, test_crop_pct=0.875),
    says("arXiv:2004.08955 §4.1; 0.1 at the end of scripts/gluon/train.py's schedule", model={"drop_block_rate": 0.1}),
    says("arXiv:2004.08955 §4.1, as arXiv:1812.01187 §3.1", model={"zero_init_residual": True}))


@dataclass(frozen=True)
class Scale:
    """A model of ResNet-RS: its depth, size in pixels and regularization."""
    depth: int
    size: int
    dropout_rate: float
    drop_path_rate: float
    magnitude: int              # of RandAugment's two

    @property
    def augment(self) -> str:
        return f"inception_crop({self.size})|flip|randaugment(2, {self.magnitude})"


# arXiv:2103.07579 Tables 7, 8 and the released tensorflow/tpu resnet_rs/configs/*.yaml
RESNET_RS_SCALING = {f"{s.depth}@{s.size}": s for s in (
    Scale(50, 160, 0.25, 0.0, 10),
    Scale(101, 160, 0.25, 0.0, 10),
    Scale(101, 192, 0.25, 0.0, 15),
    Scale(152, 192, 0.25, 0.0, 15),
    Scale(152, 224, 0.25, 0.0, 15),
    Scale(152, 256, 0.25, 0.0, 15),
    Scale(200, 256, 0.25, 0.1, 15),
    Scale(270, 256, 0.25, 0.1, 15),
    Scale(350, 256, 0.25, 0.1, 15),
    Scale(350, 320, 0.4, 0.1, 15),
    Scale(420, 320, 0.4, 0.1, 15))}
CONFIGS = "tensorflow/tpu resnet_rs/configs/*.yaml"

RESNET_RS = recipe(
    "resnet_rs", "Revisiting ResNets, ImageNet; RESNET_RS/152@256 and so on are the models of its scaling table",
    says(f"arXiv:2103.07579 §4, {CONFIGS}", batch=4096, epochs=350, schedule="cosine", optimizer="sgd", momentum=0.9,
         rate=0.1, rate_batch=256, scaling="linear", label_smoothing=0.1, ema=0.9999),
    says("arXiv:2103.07579 §4.2 and Table 2: less, where there are other regularizers", weight_decay=4e-5),
    says("arXiv:2103.07579 appendix", warmup=5, decay_all=False),
    says(f"arXiv:2103.07579 Table 7, {CONFIGS}: 50@160", size=160, augment=RESNET_RS_SCALING["50@160"].augment,
         model={"dropout_rate": 0.25, "drop_path_rate": 0.0}),
    says("tensorflow/tpu resnet_rs: the training size, padded by 32 pixels before the crop", test_size=160,
         test_crop_pct=160 / 192),
    says("tensorflow/tpu resnet_model.py", model={"zero_init_residual": True}))


def _rsb(name: str, about: str, epochs: int, rate: float, decay: float, smoothing: float, drop_path: float, repeats: int,
        size: int, layers: str, mix: float) -> Recipe:
    table = "arXiv:2110.00476 Table 2"
    return recipe(
        name, about,
        says(f"{table}; mmpretrain resnet50_8xb256-rsb-{name[4:]}-{epochs}e_in1k.py",
             epochs=epochs, rate=rate, weight_decay=decay, label_smoothing=smoothing, repeats=repeats, size=size, batch=2048,
             rate_batch=2048, optimizer="lamb", schedule="cosine", warmup=5, loss="binary", test_size=224, test_crop_pct=0.95,
             augment=f"inception_crop({size})|flip|randaugment({layers})|mixup({mix})|cutmix(1.0)",
             model={"drop_path_rate": drop_path}),
        says("mmpretrain imagenet_bs2048_rsb.py and the same file", decay_all=False, warmup_rate=1e-4),
        says("timm's resnet50, with which they were made", model={"zero_init_residual": True}),
        says("arXiv:1904.00962 §4.3, where LAMB is from", scaling="sqrt"))


# timm's rand-m7-mstd0.5-inc1: two operations of strength 7, which Table 2 writes "7 / 0.5"; repeated three times
RSB_A1 = _rsb("rsb_a1", "ResNet strikes back, procedure A1", 600, 5e-3, 0.01, 0.1, 0.05, 3, 224, "2, 7, 0.5", 0.2)
RSB_A2 = _rsb("rsb_a2", "ResNet strikes back, procedure A2", 300, 5e-3, 0.02, 0.0, 0.05, 3, 224, "2, 7, 0.5", 0.1)
RSB_A3 = _rsb("rsb_a3", "ResNet strikes back, procedure A3", 100, 8e-3, 0.02, 0.0, 0.0, 1, 160, "2, 6, 0.5", 0.1)

TV2 = recipe(
    "tv2", "torchvision's IMAGENET1K_V2 weights",
    says("pytorch/vision#3995, references/classification: ResNet50 V2", batch=1024, rate_batch=1024, rate=0.5, epochs=600,
         warmup=5, schedule="cosine", weight_decay=2e-5, decay_all=False, label_smoothing=0.1, repeats=4, size=176,
         augment="inception_crop(176)|flip|trivialaugment|erase(0.1)|mixup(0.2)|cutmix(1.0)", test_size=224,
         test_crop_pct=224 / 232),
    says("torchvision references/classification train.py: every 32nd step, 2e-5 times 32 batches per epoch; here for each step",
         ema=(1 - 2e-5 * 1024 * 32 / 600) ** (1 / 32)),
    says("torchvision references/classification train.py", optimizer="sgd", momentum=0.9, warmup_rate=0.01))

DIGITS = recipe(
    "digits", "scikit-learn's digits, what `reskeras demo` does",
    says(OWN, batch=64, rate_batch=64, rate=0.1, optimizer="nesterov", momentum=0.9, weight_decay=5e-4, epochs=20, warmup=2,
         warmup_rate=0.05, schedule="cosine", size=16, test_size=16, test_crop_pct=1.0, augment="affine(0.26, 0.1, 0.1)"))


def find(name: str | Recipe) -> Recipe:
    """The recipe of that name; "RESNET_RS/152@256" is a row of its scaling table.

    Raises: ValueError that names the nearest.
    """
    if isinstance(name, Recipe):
        return name
    stem, slash, scale = str(name).partition("/")
    known = RECIPES.get(stem.lower().replace("-", "_"))
    if known is None:
        raise ValueError(f"unknown recipe {name!r}{closest(stem, RECIPES)}; the recipes are {', '.join(RECIPES)}")
    if not slash:
        return known
    if known is not RESNET_RS:
        raise ValueError(f"{name!r}: {known.name} has no scaling table, {RESNET_RS.name} has")
    if scale not in RESNET_RS_SCALING:
        raise ValueError(f"unknown model {name!r}{closest(scale, RESNET_RS_SCALING)}; expected one of "
                         f"{', '.join(RESNET_RS_SCALING)}")
    return scaled(scale)


def scaled(config: str) -> Recipe:
    s, base = RESNET_RS_SCALING[config], RESNET_RS
    where = f"arXiv:2103.07579 Table 7, {CONFIGS}: {config}"
    training = dataclasses.replace(base.training, size=s.size, test_size=s.size, augment=s.augment,
                                   test_crop_pct=s.size / (s.size + 32))
    own = dict.fromkeys(("size", "augment", "model.dropout_rate", "model.drop_path_rate"), where)
    return dataclasses.replace(base, name=f"{base.name}/{config}", about=f"ResNet-RS-{s.depth} at {s.size} pixels, ImageNet",
                               training=training, sources={**base.sources, **own},
                               model={**base.model, "dropout_rate": s.dropout_rate, "drop_path_rate": s.drop_path_rate})


def listed() -> str:
    """A line for each recipe."""
    rows = [(r.name, f"{length(r.training)}, batch {r.training.batch}", r.about) for r in RECIPES.values()]
    return "\n".join(f"{name:18} {size:30} {about}" for name, size, about in rows)


def length(training: Training) -> str:
    return f"{training.steps:,} steps" if training.steps else f"{training.epochs} epochs"
