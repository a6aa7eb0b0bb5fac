"""How "ResNet strikes back" trains on ImageNet: three procedures.  Imports no framework."""
from __future__ import annotations

from .recipe import Recipe
from .recipe_sources import cite, make_recipe


def _rsb(procedure: str, epochs: int, learning_rate: float, weight_decay: float, label_smoothing: float,
         drop_path_rate: float, augmentation_repeats: int, size: int, randaugment: str,
         mixup: float, target_threshold: float) -> Recipe:
    """One of the three procedures of "ResNet strikes back"."""
    table = "arXiv:2110.00476 Table 2"
    return make_recipe(
        f"rsb_{procedure.lower()}", f"ResNet strikes back, procedure {procedure}",
        cite(f"{table}; mmpretrain resnet50_8xb256-rsb-{procedure.lower()}-{epochs}e_in1k.py",
             epochs=epochs, learning_rate=learning_rate, weight_decay=weight_decay,
             label_smoothing=label_smoothing, augmentation_repeats=augmentation_repeats, size=size,
             batch_size=2048, base_batch_size=2048, optimizer="lamb", schedule="cosine", warmup=5,
             loss="binary", test_size=224, test_crop_pct=0.95,
             augmentation="|".join((f"random_resized_crop({size}, interpolation='bicubic')", "flip",
                                    f"timm_randaugment({randaugment})",
                                    f"mixup({mixup})", "cutmix(1.0)")),
             model={"drop_path_rate": drop_path_rate}),
        cite("timm optim/_optim_factory.py: filter_bias_and_bn, all of one dimension; mmpretrain's file too",
             decayed_weights="kernels"),
        cite("timm optim/lamb.py: max_grad_norm=1.0, eps=1e-6", global_clipnorm=1.0, epsilon=1e-6),
        cite("timm train.py: sched cosine, stepped once in an epoch; scheduler/cosine_lr.py with "
             "warmup_prefix=False", schedule_by_epoch=True, cosine_includes_warmup=True),
        cite("mmpretrain imagenet_bs2048_rsb.py", warmup_start=1e-4,
             final_learning_rate=round(1e-6 / learning_rate, 9)),
        cite("arXiv:2110.00476 §3: each class of a mixed image is a target of its own; timm "
             "loss/binary_cross_entropy.py target_threshold", target_threshold=target_threshold,
             differs={"target_threshold": "the paper gives no threshold: the usual 0.2 of timm's users"
                      if target_threshold else "the targets keep their parts, because a threshold would undo "
                      "the label smoothing of this procedure"}),
        cite("timm's resnet50, with which they were made", model={"zero_init_residual": True}),
        cite("arXiv:1904.00962 §4.3, where LAMB is from", learning_rate_scaling="sqrt"))


# timm's rand-m7-mstd0.5-inc1: two operations of strength 7, which Table 2 writes "7 / 0.5"; repeated three
# times
RSB_A1 = _rsb("A1", 600, 5e-3, 0.01, 0.1, 0.05, 3, 224, "2, 7, 0.5", 0.2, 0.0)
RSB_A2 = _rsb("A2", 300, 5e-3, 0.02, 0.0, 0.05, 3, 224, "2, 7, 0.5", 0.1, 0.2)
RSB_A3 = _rsb("A3", 100, 8e-3, 0.02, 0.0, 0.00, 1, 160, "2, 6, 0.5", 0.1, 0.2)
