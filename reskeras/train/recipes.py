"""THE RECIPES: how each paper trains, with the place where it gives each value.  Imports no framework.

If a paper leaves something open, the source says what was chosen.  A recipe is written for the paper's
batch size over all devices; `recipe.scale_learning_rate` computes the learning rate for others.  An
augmentation is a string of operations, see `reskeras.train.augment`.
"""
from __future__ import annotations

import dataclasses
from typing import Any, Mapping

from ..errors import ArgumentError
from .recipe import Recipe
from .resnet_rs import CONFIGS, RESNET_RS_SCALING
from .training import Training

OWN = "no paper: this package's choice"
RECIPES: dict[str, Recipe] = {}

Citation = tuple[str, Mapping[str, Any], Mapping[str, Any]]     # source, training fields, model fields


def _add_recipe(name: str, description: str, *citations: Citation) -> Recipe:
    """A recipe, which `get_recipe` finds by its name from then on."""
    training: dict[str, Any] = {}
    model: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for source, training_fields, model_fields in citations:
        training |= training_fields
        model |= model_fields
        names = [*training_fields, *(f"model.{field}" for field in model_fields)]
        sources |= dict.fromkeys(names, source)
    RECIPES[name] = Recipe(name, description, Training(**training), model, sources)
    return RECIPES[name]


def _cite(source: str, model: Mapping[str, Any] | None = None, **training: Any) -> Citation:
    """Values of the training and of the model, and the source that states them."""
    return source, training, model or {}


FINETUNE = _add_recipe(
    "finetune", "a pretrained net on other classes: the classifier first, then all layers with frozen "
    "statistics; needs nothing but Keras",
    _cite("keras.io/guides/transfer_learning: the procedure", optimizer="adam", freeze_statistics=True,
          learning_rate_scaling="none"),
    _cite("keras.io/guides/transfer_learning: Adam's default for the new classifier",
          head_learning_rate=1e-3),
    _cite(OWN, head_epochs=3, epochs=10, batch_size=32, base_batch_size=32, learning_rate=1e-4,
          schedule="cosine", size=224, augmentation="inception_crop(224, 0.35)|flip"))

HE2015 = _add_recipe(
    "he2015", "Deep Residual Learning, ImageNet",
    _cite("arXiv:1512.03385 §3.4", batch_size=256, base_batch_size=256, learning_rate=0.1, optimizer="sgd",
          momentum=0.9, weight_decay=1e-4, schedule="plateau", decay_factor=0.1, steps=600_000),
    _cite("arXiv:1512.03385 §3.4: shorter side in [256, 480], crop, flip, and the colours of AlexNet (§4.1 "
          "there)",
          augmentation="scale(256, 480)|crop(224)|flip|lighting(0.1)", size=224),
    _cite("the paper says \"when the error plateaus\"; this package's choice", patience=5))

# The step recipe behind v1.5.  Its repository initializes convolutions by fan-out, reskeras' nets by fan-in,
# as He et al. 2015b.
FB_RESNET_TORCH = _add_recipe(
    "fb_resnet_torch", "facebook/fb.resnet.torch, the recipe behind v1.5",
    _cite("fb.resnet.torch README: -batchSize 256", batch_size=256, base_batch_size=256),
    _cite("fb.resnet.torch opts.lua, train.lua", epochs=90, learning_rate=0.1, momentum=0.9,
          optimizer="nesterov", weight_decay=1e-4),
    _cite("fb.resnet.torch train.lua: 0.1 ^ floor((epoch - 1) / 30)", schedule="step", milestones=(30, 60),
          decay_factor=0.1),
    _cite("fb.resnet.torch datasets/imagenet.lua",
          augmentation="inception_crop(224)|jitter(0.4, 0.4, 0.4)|lighting(0.1)|flip", size=224),
    _cite("fb.resnet.torch datasets/imagenet.lua: Scale(256), CenterCrop(224)", test_size=224,
          test_crop_pct=0.875))

CIFAR_HE = _add_recipe(
    "cifar_he", "Deep Residual Learning, CIFAR-10",
    # 110 layers warm up with 0.01 "until the training error is below 80 %", about 400 steps: warmup=400 and
    # warmup_start=0.1 come near
    _cite("arXiv:1512.03385 §4.2", batch_size=128, base_batch_size=128, learning_rate=0.1, optimizer="sgd",
          momentum=0.9, weight_decay=1e-4, schedule="step", milestones=(32_000, 48_000), decay_factor=0.1,
          steps=64_000),
    _cite("arXiv:1512.03385 §4.2: 4 pixels of padding, random crop, flip",
          augmentation="pad_crop(32, 4)|flip", size=32),
    _cite("arXiv:1512.03385 §4.2: the image as it is", test_size=32, test_crop_pct=1.0))

PREACT = _add_recipe(
    # ResNet-1001's batch of 64 in the table is another run; see its Table 4
    "preact", "Identity Mappings, CIFAR",
    _cite("arXiv:1603.05027 appendix", batch_size=128, base_batch_size=128, learning_rate=0.1,
          optimizer="sgd", momentum=0.9, weight_decay=1e-4, schedule="step", milestones=(32_000, 48_000),
          decay_factor=0.1),
    _cite("arXiv:1603.05027 appendix: 0.01 for 400 steps; a jump there, linear here", warmup=400,
          warmup_start=0.1),
    _cite("arXiv:1512.03385 §4.2, to which the appendix refers", steps=64_000,
          augmentation="pad_crop(32, 4)|flip", size=32, test_size=32, test_crop_pct=1.0),
    _cite("arXiv:1603.05027 Table 2: full pre-activation", model={"order": "pre"}))

WRN = _add_recipe(
    "wrn", "Wide Residual Networks, CIFAR",
    _cite("arXiv:1605.07146 §3, scripts/train_cifar.sh", batch_size=128, base_batch_size=128,
          learning_rate=0.1, optimizer="nesterov", momentum=0.9, weight_decay=5e-4, epochs=200,
          schedule="step", milestones=(60, 120, 160), decay_factor=0.2),
    _cite("arXiv:1605.07146 §3: reflections fill the 4 pixels of padding",
          augmentation='pad_crop(32, 4, "reflect")|flip', size=32),
    _cite("arXiv:1605.07146 §3: the image as it is", test_size=32, test_crop_pct=1.0),
    _cite("arXiv:1605.07146 §2.4, Table 6", model={"block_dropout_rate": 0.3}))

RESNEXT = _add_recipe(
    "resnext", "Aggregated Residual Transformations, ImageNet",
    _cite("arXiv:1611.05431 §4", batch_size=256, base_batch_size=256, learning_rate=0.1, momentum=0.9,
          weight_decay=1e-4),
    _cite("facebookresearch/ResNeXt train.lua", optimizer="nesterov"),
    _cite("arXiv:1611.05431 §4: divided by 10 three times; ResNeXt train.lua: 0.1 ^ floor((epoch - 1) / 30)",
          schedule="step", milestones=(30, 60, 90), decay_factor=0.1),
    _cite("facebookresearch/ResNeXt opts.lua", epochs=100),
    _cite("facebookresearch/ResNeXt datasets/imagenet.lua", size=224,
          augmentation="inception_crop(224)|jitter(0.4, 0.4, 0.4)|lighting(0.1)|flip"),
    _cite("arXiv:1611.05431 §4: 224 of a shorter side of 256", test_size=224, test_crop_pct=0.875))

STOCHASTIC_DEPTH = _add_recipe(
    "stochastic_depth", "Deep Networks with Stochastic Depth, CIFAR, 110 layers",
    _cite("arXiv:1603.09382 §4, yueatsprograms/Stochastic_Depth main.lua", batch_size=128,
          base_batch_size=128, learning_rate=0.1, optimizer="nesterov", momentum=0.9, weight_decay=1e-4,
          epochs=500, schedule="step", milestones=(250, 375), decay_factor=0.1),
    _cite("arXiv:1603.09382 §4: flip and translation by 4 pixels", augmentation="pad_crop(32, 4)|flip",
          size=32),
    _cite("arXiv:1603.09382 §4: the image as it is", test_size=32, test_crop_pct=1.0),
    _cite("arXiv:1603.09382 §3 equation 4: p_L = 0.5, linear decay, one draw per mini-batch",
          model={"drop_path_rate": 0.5, "drop_path_mode": "batch"}))

BAG_OF_TRICKS = _add_recipe(
    "bag_of_tricks", "Bag of Tricks, ImageNet, ResNet-50-D",
    _cite("arXiv:1812.01187 §3.1", batch_size=1024, base_batch_size=256, learning_rate=0.1,
          learning_rate_scaling="linear", warmup=5, decay_all_weights=False,
          model={"zero_init_residual": True}),
    _cite("arXiv:1812.01187 §2.1", optimizer="nesterov", model={"initializer": "glorot_uniform"}),
    _cite("MXNet's example of its efficient training, gluon-cv train_imagenet.py", momentum=0.9,
          weight_decay=1e-4),
    _cite("arXiv:1812.01187 §5.1", schedule="cosine"),
    _cite("arXiv:1812.01187 §5.2, Table 6", label_smoothing=0.1),
    _cite("arXiv:1812.01187 §5.4: 200 with mixup, 120 without", epochs=200),
    _cite("arXiv:1812.01187 §2.1, and mixup of §5.4 with alpha 0.2",
          augmentation="inception_crop(224)|flip|jitter(0.4, 0, 0.4, 0.4)|lighting(0.1)|mixup(0.2)",
          size=224),
    _cite("arXiv:1812.01187 §2.1: 224 of a shorter side of 256", test_size=224, test_crop_pct=0.875))

RESNEST = _add_recipe(
    "resnest", "ResNeSt-50, ImageNet",
    # batch size 4096 for ResNeSt-101, 2048 for -200 and -269, which also have dropout 0.2 before the
    # classifier and larger crops
    _cite("arXiv:2004.08955 §4.1, §5.1", batch_size=8192, base_batch_size=256, learning_rate=0.1,
          learning_rate_scaling="linear", schedule="cosine", warmup=5, epochs=270, momentum=0.9,
          weight_decay=1e-4, decay_all_weights=False, label_smoothing=0.1),
    _cite("resnest's scripts/gluon/train.py, of the published command: nag; its PyTorch script has none",
          optimizer="nesterov"),
    _cite("arXiv:2004.08955 §4.1: AutoAugment, mixup 0.2; "
          "keras-cv has no AutoAugment: RandAugment replaces it",
          augmentation="inception_crop(224)|flip|randaugment(2, 9)"
                       + "|jitter(0.4, 0.4, 0.4)|lighting(0.1)|mixup(0.2)", size=224),
    _cite("arXiv:2004.08955 §5.1: 224 of a shorter side of 256", test_size=224, test_crop_pct=0.875),
    _cite("arXiv:2004.08955 §4.1; 0.1 at the end of scripts/gluon/train.py's schedule",
          model={"drop_block_rate": 0.1}),
    _cite("arXiv:2004.08955 §4.1, as arXiv:1812.01187 §3.1", model={"zero_init_residual": True}))


RESNET_RS = _add_recipe(
    "resnet_rs", "Revisiting ResNets, ImageNet; RESNET_RS/152@256 ... are the models of its scaling table",
    _cite(f"arXiv:2103.07579 §4, {CONFIGS}", batch_size=4096, epochs=350, schedule="cosine", optimizer="sgd",
          momentum=0.9, learning_rate=0.1, base_batch_size=256, learning_rate_scaling="linear",
          label_smoothing=0.1, ema_momentum=0.9999),
    _cite("arXiv:2103.07579 §4.2 and Table 2: less, if there are other regularizers", weight_decay=4e-5),
    _cite("arXiv:2103.07579 appendix", warmup=5, decay_all_weights=False),
    _cite(f"arXiv:2103.07579 Table 7, {CONFIGS}: 50@160", size=160,
          augmentation=RESNET_RS_SCALING["50@160"].augmentation,
          model={"dropout_rate": 0.25, "drop_path_rate": 0.0}),
    _cite("tensorflow/tpu resnet_rs: the training size, padded by 32 pixels before the crop", test_size=160,
          test_crop_pct=160 / 192),
    _cite("tensorflow/tpu resnet_model.py", model={"zero_init_residual": True}))


def _rsb(procedure: str, epochs: int, learning_rate: float, weight_decay: float, label_smoothing: float,
         drop_path_rate: float, augmentation_repeats: int, size: int, randaugment: str,
         mixup: float) -> Recipe:
    """One of the three procedures of "ResNet strikes back"."""
    table = "arXiv:2110.00476 Table 2"
    return _add_recipe(
        f"rsb_{procedure.lower()}", f"ResNet strikes back, procedure {procedure}",
        _cite(f"{table}; mmpretrain resnet50_8xb256-rsb-{procedure.lower()}-{epochs}e_in1k.py",
              epochs=epochs, learning_rate=learning_rate, weight_decay=weight_decay,
              label_smoothing=label_smoothing, augmentation_repeats=augmentation_repeats, size=size,
              batch_size=2048, base_batch_size=2048, optimizer="lamb", schedule="cosine", warmup=5,
              loss="binary", test_size=224, test_crop_pct=0.95,
              augmentation="|".join((f"inception_crop({size})", "flip", f"randaugment({randaugment})",
                                     f"mixup({mixup})", "cutmix(1.0)")),
              model={"drop_path_rate": drop_path_rate}),
        _cite("mmpretrain imagenet_bs2048_rsb.py and the same file", decay_all_weights=False,
              warmup_start=1e-4),
        _cite("timm's resnet50, with which they were made", model={"zero_init_residual": True}),
        _cite("arXiv:1904.00962 §4.3, where LAMB is from", learning_rate_scaling="sqrt"))


# timm's rand-m7-mstd0.5-inc1: two operations of strength 7, which Table 2 writes "7 / 0.5"; repeated three
# times
RSB_A1 = _rsb("A1", 600, 5e-3, 0.01, 0.1, 0.05, 3, 224, "2, 7, 0.5", 0.2)
RSB_A2 = _rsb("A2", 300, 5e-3, 0.02, 0.0, 0.05, 3, 224, "2, 7, 0.5", 0.1)
RSB_A3 = _rsb("A3", 100, 8e-3, 0.02, 0.0, 0.00, 1, 160, "2, 6, 0.5", 0.1)

TV2 = _add_recipe(
    "tv2", "torchvision's IMAGENET1K_V2 weights",
    _cite("pytorch/vision#3995, references/classification: ResNet50 V2", batch_size=1024,
          base_batch_size=1024, learning_rate=0.5, epochs=600, warmup=5, schedule="cosine", weight_decay=2e-5,
          decay_all_weights=False, label_smoothing=0.1, augmentation_repeats=4, size=176,
          augmentation="inception_crop(176)|flip|trivialaugment|erase(0.1)|mixup(0.2)|cutmix(1.0)",
          test_size=224, test_crop_pct=224 / 232),
    _cite("torchvision references/classification train.py: every 32nd step, 2e-5 times 32 batches per epoch; "
          "here for each step",
          ema_momentum=(1 - 2e-5 * 1024 * 32 / 600) ** (1 / 32)),
    _cite("torchvision references/classification train.py", optimizer="sgd", momentum=0.9, warmup_start=0.01))

DIGITS = _add_recipe(
    "digits", "scikit-learn's digits, what `reskeras demo` does",
    _cite(OWN, batch_size=64, base_batch_size=64, learning_rate=0.1, optimizer="nesterov", momentum=0.9,
          weight_decay=5e-4, epochs=20, warmup=2, warmup_start=0.05, schedule="cosine", size=16, test_size=16,
          test_crop_pct=1.0, augmentation="affine(0.26, 0.1, 0.1)"))


def list_recipes() -> list[str]:
    """The names of the recipes.

    Returns:
        The names, in the order of the table.

    Example:
        >>> reskeras.list_recipes()[:2]
        ['finetune', 'he2015']
    """
    return list(RECIPES)


def get_recipe(name: str | Recipe) -> Recipe:
    """The recipe of a name.

    Args:
        name: such as "wrn", in any case; "RESNET_RS/152@256" is a model of ResNet-RS' scaling table.

    Returns:
        The recipe; a `Recipe` is returned as it is.

    Raises:
        ArgumentError: for an unknown name; the message suggests the nearest name.

    Example:
        >>> reskeras.get_recipe("wrn").training.epochs
        200
    """
    if isinstance(name, Recipe):
        return name
    stem, slash, config = str(name).partition("/")
    recipe = RECIPES.get(stem.lower().replace("-", "_"))
    if recipe is None:
        raise ArgumentError("recipe", name, f"one of {', '.join(RECIPES)}", RECIPES)
    if not slash:
        return recipe
    if recipe is not RESNET_RS:
        raise ArgumentError("recipe", name, f"{recipe.name!r}: it has no scaling table, {RESNET_RS.name!r} "
                            "has one")
    if config not in RESNET_RS_SCALING:
        known = [f"{RESNET_RS.name}/{config}" for config in RESNET_RS_SCALING]
        raise ArgumentError("recipe", name, f"one of {', '.join(known)}", known)
    return _scale_resnet_rs(config)


def _scale_resnet_rs(config: str) -> Recipe:
    """The recipe of one model of the scaling table, such as "152@256"."""
    scale, base = RESNET_RS_SCALING[config], RESNET_RS
    training = dataclasses.replace(base.training, size=scale.size, test_size=scale.size,
                                   augmentation=scale.augmentation,
                                   test_crop_pct=scale.size / (scale.size + 32))
    source = f"arXiv:2103.07579 Table 7, {CONFIGS}: {config}"
    sources = dict.fromkeys(("size", "augmentation", "model.dropout_rate", "model.drop_path_rate"), source)
    return Recipe(f"{base.name}/{config}", f"ResNet-RS-{scale.depth} at {scale.size} pixels, ImageNet",
                  training,
                  {**base.model, "dropout_rate": scale.dropout_rate, "drop_path_rate": scale.drop_path_rate},
                  {**base.sources, **sources})


def format_recipes() -> str:
    """The recipes as text, one line for each: name, length, batch size, description."""
    lines = []
    for recipe in RECIPES.values():
        training = recipe.training
        length = f"{training.steps:,} steps" if training.steps else f"{training.epochs} epochs"
        lines.append(f"{recipe.name:18} {f'{length}, batch size {training.batch_size}':34} "
                     f"{recipe.description}")
    return "\n".join(lines)
