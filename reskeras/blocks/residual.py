"""Residual blocks: a chain of convolutions (`block`), an order of activations (`order`), and the stages that repeat them."""
from __future__ import annotations

import math
from dataclasses import dataclass

from keras import layers

from ..spec import Spec
from .attention import apply_attention
from .ops import Tensor, act, add, conv, drop_path, norm
from .spatial import Step, apply_mixer, plain_convolution
from .shortcuts import Site, add_shortcut


@dataclass(frozen=True)
class Order:
    """What stands where; between two convolutions of a block it is always a normalization, then an activation."""
    first: tuple[str, ...] = ()     # before the first convolution, and after the last stage
    last: tuple[str, ...] = ()      # after the last convolution, before the addition
    end: tuple[str, ...] = ()       # after the addition


ORDERS = {  # "Identity Mappings", arXiv:1603.05027, Figure 4 a-e
    "post": Order(last=("bn",), end=("relu",)),
    "bn_after_add": Order(end=("bn", "relu")),
    "relu_before_add": Order(last=("bn", "relu")),
    "relu_only_pre": Order(first=("relu",), last=("bn",)),
    "pre": Order(first=("bn", "relu")),
    "relu_around_add": Order(last=("bn", "relu"), end=("relu",)),   # the basic blocks of the SENet release's ports
}


def build_stages(x: Tensor, spec: Spec, stem_stride: int) -> Tensor:
    """All blocks, and the activation that pre-activation nets owe the head.

    Raises: ValueError where `output_stride` is less than the stem's own stride.
    """
    stride, dilation, number, total = stem_stride, 1, 0, sum(spec.depths)
    target = spec.output_stride or stride * math.prod(spec.strides)
    if target < stride:
        raise ValueError(f"output_stride={target}: the stem alone strides by {stride}")
    for s, (depth, planes) in enumerate(zip(spec.depths, spec.stages)):
        strided = 0 if spec.stride_at == "first" else depth - 1
        for b in range(depth):
            number += 1
            wanted = spec.strides[s] if b == strided else 1
            before, step = dilation, wanted
            if stride * wanted > target:
                dilation, step = dilation * wanted, 1
            stride *= step
            site = Site(f"conv{s + 2}_block{b + 1}", planes, planes * spec.expansion, step, wanted > 1, (before, dilation),
                        spec.drop_path_rate * number / total, s >= len(spec.depths) - 2, s + 2)
            x = _build_block(x, spec, site)
    return _apply_order(x, spec, ORDERS[spec.order].first, "post")


def _build_block(x: Tensor, spec: Spec, site: Site) -> Tensor:
    order = ORDERS[spec.order]
    entry = _apply_order(x, spec, order.first, f"{site.name}_preact")
    y = FORMS[spec.form](entry, spec, site)
    y = drop_path(apply_attention(y, spec, site.name), spec, site.drop_path, site.name)
    if not order.end:
        return add_shortcut(x, entry, y, spec, site, f"{site.name}_out")
    plain_net = spec.shortcut == "none"
    x = y if plain_net else add_shortcut(x, entry, y, spec, site, f"{site.name}_add")
    x = norm(x, spec, f"{site.name}_out") if "bn" in order.end else x
    return act(x, spec, f"{site.name}_out")


def _apply_order(x: Tensor, spec: Spec, kinds: tuple[str, ...], name: str) -> Tensor:
    x = norm(x, spec, name) if "bn" in kinds else x
    return act(x, spec, f"{name}_relu") if "relu" in kinds else x


def _grouped_branch(x: Tensor, spec: Spec, site: Site) -> Tensor:
    """The residual branch as it is; where the net has cardinality, by grouped convolution."""
    *steps, last = BLOCKS[spec.block](spec, site)
    for step in steps:
        x = apply_mixer(x, spec, step)
        if step.is_mixed and spec.block_dropout_rate:
            x = layers.Dropout(spec.block_dropout_rate, name=f"{site.name}_dropout")(x)
    return _end_branch(conv(x, spec, last.filters, last.kernel, last.name, dilation=last.dilation,
                      normed="bn" in ORDERS[spec.order].last, zeros=_starts_at_zero(spec)), spec, last)


def _end_branch(x: Tensor, spec: Spec, last: Step) -> Tensor:
    kinds = ORDERS[spec.order].last
    x = norm(x, spec, last.name, zeros=spec.zero_init_residual) if "bn" in kinds else x
    return act(x, spec, f"{last.name}_relu") if "relu" in kinds else x


def _starts_at_zero(spec: Spec) -> bool:
    return spec.zero_init_residual and (spec.norm == "none" or "bn" not in ORDERS[spec.order].last)


def _concatenated_paths_branch(x: Tensor, spec: Spec, site: Site) -> Tensor:
    """ResNeXt's form b: every path has a 1x1 and a 3x3 of its own, then they are concatenated."""
    _, _, last = BLOCKS[spec.block](spec, site)
    paths = layers.Concatenate(name=f"{site.name}_paths")(_narrow_paths(x, spec, site))
    return _end_branch(conv(paths, spec, last.filters, 1, last.name), spec, last)


def _summed_paths_branch(x: Tensor, spec: Spec, site: Site) -> Tensor:
    """ResNeXt's form a: the sum of the paths' own three convolutions."""
    _, _, last = BLOCKS[spec.block](spec, site)
    paths = [conv(path, spec, last.filters, 1, f"{site.name}_path{i}_3", bias=False)
             for i, path in enumerate(_narrow_paths(x, spec, site), 1)]
    return _end_branch(add(paths, f"{site.name}_paths") if len(paths) > 1 else paths[0], spec, last)


def _narrow_paths(x: Tensor, spec: Spec, site: Site) -> list[Tensor]:
    first, second, _ = BLOCKS[spec.block](spec, site)
    paths = []
    for i in range(1, spec.groups + 1):
        path = x
        for n, step in enumerate((first, second), 1):
            step = Step(f"{site.name}_path{i}_{n}", step.filters // spec.groups, step.kernel, step.stride, step.dilation)
            path = plain_convolution(path, spec, step, step.stride)
        paths.append(path)
    return paths


def _basic_steps(spec: Spec, site: Site) -> list[Step]:
    name, late = site.name, site.is_late
    return [Step(f"{name}_1", site.planes // spec.reduce_first, 3, site.stride, site.dilation[0], 1, site.is_strided, True, late),
            Step(f"{name}_2", site.out_channels, 3, dilation=site.dilation[1])]


def _bottleneck_steps(spec: Spec, site: Site) -> list[Step]:
    width = max(1, int(site.planes * (spec.base_width / 64))) * spec.groups
    name, late, early = site.name, site.is_late, spec.stride_on == "1x1"
    return [Step(f"{name}_1", width // spec.reduce_first, 1, site.stride if early else 1,
                 is_strided=early and site.is_strided, is_late=late),
            Step(f"{name}_2", width, 3, 1 if early else site.stride, site.dilation[early], spec.groups,
                 not early and site.is_strided, True, late),
            Step(f"{name}_3", site.out_channels, 1)]


FORMS = {"grouped": _grouped_branch, "concat": _concatenated_paths_branch, "sum": _summed_paths_branch}
BLOCKS = {"basic": _basic_steps, "bottleneck": _bottleneck_steps}
