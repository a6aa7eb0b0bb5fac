"""The trainings that take hours: which nets, how, and which differences a claim is decided by.

All use 4,000 training images of CIFAR-10 at 32 pixels and its first 1,000 test images.  A `Case` is trained
once for each seed; claims share cases.  `run.py` trains, `results.py` says what the trainings show.
"""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Mapping

# He et al. train on CIFAR-10 with batches of 128.  Here they have 32, so that few images give many updates;
# the rate, 0.1, becomes 0.025 by the linear rule.  It falls to a tenth at 1/2 and 3/4 of the training.
HE = {"recipe": "cifar_he", "batch_size": 32}
# No augmentation: the training error is always that of the same images.  20 epochs keep a claim within two
# hours of two cores; the rate falls late, at 12 and 17, as most is learned before and right after it.
CLAIM = {**HE, "epochs": 20, "milestones": (12, 17), "augmentation": ""}
PYTORCH = {**HE, "epochs": 20, "milestones": (10, 15), "learning_rate_in_velocity": False}
# a body for five classes, then the other five
BODY = {**HE, "epochs": 30, "milestones": (15, 22)}
SCRATCH = {**HE, "epochs": 60, "milestones": (30, 45)}
FINETUNE = {"recipe": "finetune", "epochs": 30, "head_epochs": 10, "augmentation": "pad_crop(32, 4)|flip",
            "size": 32, "test_size": 32, "test_crop_pct": 1.0}


@dataclass(frozen=True)
class Case:
    """A net and its training.

    Attributes:
        name: of the case, in the rows.
        net: the net's name.
        training: the recipe, and fields of its training part that replace the recipe's.
        model: fields of the net's Spec.
        kind: "claim"; "pytorch_net" or "pytorch_finetune" for the same by PyTorch; "finetune", from a body.
        images: training images of each of the last five classes; 0 for all images of all classes.
    """

    name: str
    net: str
    training: Mapping[str, Any]
    model: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "claim"
    images: int = 0

    @property
    def settings(self) -> dict[str, Any]:
        """What decides about the result; a row with other settings is of another training."""
        values = {key: value for key, value in dataclasses.asdict(self).items() if key != "name"}
        return {key: _to_json(value) for key, value in values.items()}


def _to_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _to_json(v) for key, v in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _resnext(name: str, groups: int, width: int) -> Case:
    """11 layers of ResNeXt-29's kind, a quarter as wide."""
    fields = {"depths": (1, 1, 1), "widths": (16, 32, 64), "stem_width": 16}
    return Case(name, "cifar_resnext29_32x4d", CLAIM, {**fields, "groups": groups, "base_width": width})


def _finetune(images: int) -> list[Case]:
    net = "cifar_resnet20"
    return [Case(f"finetune, {images}", net, FINETUNE, kind="finetune", images=images),
            Case(f"PyTorch's finetune, {images}", net, FINETUNE, kind="pytorch_finetune", images=images),
            Case(f"from scratch, {images}", net, SCRATCH, images=images)]


CASES = {case.name: case for case in (
    Case("reskeras", "cifar_resnet20", PYTORCH),
    Case("PyTorch", "cifar_resnet20", PYTORCH, kind="pytorch_net"),
    Case("plain-20", "cifar_plain20", CLAIM),
    Case("plain-56", "cifar_plain56", CLAIM),
    Case("ResNet-20", "cifar_resnet20", CLAIM),
    Case("ResNet-56", "cifar_resnet56", CLAIM),
    *_finetune(20), *_finetune(50), *_finetune(100),
    Case("ResNet-56, p_L = 0.5", "cifar_resnet56", CLAIM, {"drop_path_rate": 0.5, "drop_path_mode": "batch"}),
    # the same shortcuts as ResNet-56, so that only the order differs
    Case("pre-activation, 56", "cifar_preresnet56", CLAIM, {"shortcut": "pad"}),
    _resnext("1x64d", 1, 64), _resnext("32x4d", 32, 4), _resnext("1x100d", 1, 100), _resnext("64x4d", 64, 4),
)}

# claim -> its cases, and how many seeds it needs; in the order in which they are trained
PLANS: dict[str, tuple[tuple[str, ...], int]] = {
    "pytorch": (("reskeras", "PyTorch"), 5),
    "degradation": (("plain-20", "plain-56", "ResNet-20", "ResNet-56"), 3),
    "gain": (("ResNet-20", "ResNet-56"), 3),
    "finetune": (tuple(name for name in CASES if name.rpartition(", ")[2] in ("20", "50", "100")), 5),
    "stochastic_depth": (("ResNet-56", "ResNet-56, p_L = 0.5"), 3),
    "versions": (("ResNet-56", "pre-activation, 56"), 3),
    "cardinality": (("1x64d", "32x4d", "1x100d", "64x4d"), 3),
}


def list_runs(claims: tuple[str, ...] = tuple(PLANS)) -> list[tuple[Case, int]]:
    """The trainings of some claims, (case, seed): the first seed of all claims first, each training once."""
    runs = [(CASES[name], seed) for seed in range(max(seeds for _, seeds in PLANS.values()))
            for claim in claims for name in PLANS[claim][0] if seed < PLANS[claim][1]]
    return list({(case.name, seed): (case, seed) for case, seed in runs}.values())
