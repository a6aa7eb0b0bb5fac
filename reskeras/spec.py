"""What a net is made of: a frozen `Spec`, one field for each choice.  No framework is imported here.

The words that a field takes are in `CHOICES`.  Each word has a small function in a table of `blocks/`:

    block, order, form        blocks/residual.py     BLOCKS, ORDERS, FORMS
    stem, pool                blocks/stems.py        STEM_WIDTHS, POOLS
    shortcut                  blocks/shortcuts.py    SHORTCUTS
    mixer, antialias          blocks/spatial.py      MIXERS, ANTIALIAS
    attention                 blocks/attention.py    ATTENTIONS
    norm                      blocks/ops.py          NORMS

A new word needs an entry in `CHOICES` and in the table of its field; tests/test_house.py compares them.
"""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Mapping

from .errors import ArgumentError, unknown_argument
from .spec_checks import check_choices, check_field_type, check_groups, check_numbers, check_structure


@dataclass(frozen=True)
class SE:
    """Squeeze-and-excitation: a gate for each channel (Hu et al. 2018, arXiv:1709.01507).

    Args:
        ratio: number of hidden channels per channel of the map.
        divisor: the hidden channels are rounded to a multiple of this.
    """

    ratio: float = 1 / 16
    divisor: int = 8


@dataclass(frozen=True)
class ECA:
    """Efficient channel attention, gates by a 1-D convolution (Wang et al. 2020, arXiv:1910.03151).

    Args:
        gamma: the kernel is the odd number near |log2(channels) + beta| / gamma, at least 3.
        beta: see `gamma`.
    """

    gamma: int = 2
    beta: int = 1


@dataclass(frozen=True)
class SK:
    """Selective kernels, a softmax between two paths (Li et al. 2019, arXiv:1903.06586).

    One path is a 3x3 convolution, the other a dilated 3x3 convolution.

    Args:
        ratio: number of hidden channels of the gate per channel of a path.
        divisor: the hidden channels are rounded to a multiple of this.
        split_input: whether each path takes one half of the channels instead of all.
    """

    ratio: float = 1 / 16
    divisor: int = 8
    split_input: bool = True


@dataclass(frozen=True)
class SplitAttention:
    """Split attention, a softmax between parts of the map (ResNeSt, Zhang et al. 2020, arXiv:2004.08955).

    Args:
        radix: the number of parts.
        ratio: number of hidden channels of the gate per channel of all parts.
    """

    radix: int = 2
    ratio: float = 1 / 4


Attention = SE | ECA | None
Mixer = SK | SplitAttention | None
Function = Callable[..., Any]
SHORTHANDS: dict[str, Callable[[], Any]] = {"se": SE, "eca": ECA, "sk": SK, "split": SplitAttention}

EXPANSIONS = {"basic": 1, "bottleneck": 4}      # output channels of a block, per plane

# The fields that take words, with all words of each.
CHOICES: dict[str, tuple[Any, ...]] = {
    "block": ("basic", "bottleneck"),
    "order": ("post", "pre", "bn_after_add", "relu_before_add", "relu_only_pre", "relu_around_add"),
    "stride_on": ("3x3", "1x1"),
    "stride_at": ("first", "last"),
    "stem": ("conv7", "deep", "tiered", "cifar"),
    "pool": ("max", "max_zero_pad", "max_ceil", "conv", "none"),
    "shortcut": ("conv", "pad", "all_conv", "avg", "avg_each_stage", "none",
                 "constant", "exclusive_gate", "shortcut_gate", "dropout"),
    "form": ("grouped", "concat", "sum"),
    "downsample": ("conv", "pool_before", "pool_after"),
    "antialias": (None, "average", "blur"),
    "norm": ("batch", "sync_batch", "group", "none"),
    "padding": ("symmetric", "explicit", "same"),
    "drop_path_mode": ("sample", "batch"),
    "output_stride": (None, 1, 2, 4, 8, 16, 32),
    "conv_bias": (False, True, "unnormed"),
    "pixels": ("torch", "tf", "caffe", "raw"),
}


@dataclass(frozen=True)
class Spec:
    """A residual net (He et al. 2015, arXiv:1512.03385) or one of its descendants.

    The defaults are ResNet-50 v1.5.  Every field is also an argument of every builder, as in
    `reskeras.ResNet50(drop_path_rate=0.1)`.  The comment beside a field says what it means; `CHOICES` lists
    the words that are allowed.

    Raises:
        ArgumentError: a ValueError, for an invalid value of a field; the message suggests the nearest one.

    Example:
        >>> spec = reskeras.Spec(depths=(2, 2, 2, 2), block="basic", attention=reskeras.SE(ratio=1 / 8))
        >>> model = reskeras.variant("my_net", spec, "senet", "")(classes=10)
    """

    # structure
    depths: tuple[int, ...] = (3, 4, 6, 3)          # blocks per stage
    widths: tuple[int, ...] = (64, 128, 256, 512)   # planes per stage; a bottleneck puts out 4 times as many
    width: float = 1.0                              # multiplies the planes and the channels of the stem
    out_widths: tuple[int, ...] = ()                # output channels per stage, if pruned
    inner_widths: tuple[int, ...] = ()              # of all convolutions but each block's last, if pruned
    block: str | tuple[str, ...] = "bottleneck"     # basic: 3x3, 3x3; bottleneck: 1x1, 3x3, 1x1; or per stage
    order: str = "post"                             # where norm and activation are (arXiv:1603.05027)
    final_norm: bool = True                         # whether both end a pre-activation net too
    stride_on: str = "3x3"                          # strided convolution of a bottleneck: 3x3 v1.5, 1x1 v1
    stride_at: str = "first"                        # strided block of a stage; keras.applications' V2: last
    strides: tuple[int, ...] = (1, 2, 2, 2)         # stride of each stage
    stem: str = "conv7"                             # one 7x7; deep, tiered: three 3x3; cifar: one 3x3
    stem_width: int = 64                            # output channels of the stem
    stem_norm: bool = True                          # whether norm and activation end the stem (not in v2)
    pool: str = "max"                               # pool after the stem; the words differ in the padding
    shortcut: str = "conv"                          # option B; pad: A; all_conv: C; avg...: ResNet-D's
    shortcut_kernel: int = 1                        # kernel of projections that stride; 3 in SENet-154
    shortcut_norm: bool = True                      # whether a projection has a norm
    gate_bias: float = -6.0                         # bias of gated shortcuts (arXiv:1603.05027: b_g)
    groups: int = 1                                 # groups of the bottleneck's 3x3: ResNeXt's cardinality
    base_width: int = 64                            # channels of a group if the stage has 64 planes
    reduce_first: int = 1                           # divides the first 1x1's channels; 2 in SENet-154
    form: str = "grouped"                           # ResNeXt's Figure 3 c; concat: b, sum: a
    mixer: Mixer | Function = None                  # SK ... replaces a block's first 3x3
    downsample: str = "conv"                        # pool_*: ResNeSt's average pool strides, not the 3x3
    antialias: str | None = None                    # a mean or a blur strides, after the convolution
    attention: Attention | Function = None          # SE, ECA or a function at the end of a block
    padding: str = "symmetric"                      # PyTorch's; explicit: always a layer; same: TensorFlow's
    output_stride: int | None = None                # stages beyond this stride dilate; same weights
    # layers
    activation: str | Function = "relu"             # a name that Keras knows, or a registered function
    norm: str | Function = "batch"                  # a function is called with name=, and returns a layer
    norm_groups: int = 32                           # number of groups for norm="group"
    bn_epsilon: float = 1e-5
    bn_momentum: float = 0.9
    conv_bias: bool | str = False                   # unnormed: only if no norm follows
    weight_standardization: bool = False            # whether convolutions have it; BiT, arXiv:1912.11370
    initializer: str = "he_normal"                  # initializer of kernels; a name that Keras knows
    zero_init_residual: bool = False                # whether a residual branch starts as zero
    # regularization
    drop_path_rate: float = 0.0                     # rate in the last block; linear (arXiv:1603.09382)
    drop_path_mode: str = "sample"                  # drop for each sample, or for the whole batch at once
    drop_block_rate: float = 0.0                    # rate in the last two stages (arXiv:1810.12890)
    drop_block_size: int = 7                        # side of a dropped square, in positions
    block_dropout_rate: float = 0.0                 # rate between two convolutions (WRN, arXiv:1605.07146)
    dropout_rate: float = 0.0                       # rate before the classifier
    # defaults of the arguments `classes`, `input_shape` (in pixels) and of `include_preprocessing`
    classes: int = 1000
    input_size: int = 224
    pixels: str = "torch"                           # the modes of keras.applications; raw: 0 to 255

    def __post_init__(self) -> None:
        for field in ("attention", "mixer"):
            if isinstance(getattr(self, field), str):
                object.__setattr__(self, field, _parse_shorthand(field, getattr(self, field)))
        check_choices(self, CHOICES, per_stage=("block",), functions=("norm",))
        check_numbers(self)
        check_field_type(self, "attention", (SE, ECA, type(None)))
        check_field_type(self, "mixer", (SK, SplitAttention, type(None)))
        check_structure(self)
        self._check_combinations()
        check_groups(self)

    def _check_combinations(self) -> None:
        """Raises: ValueError for fields that cannot be combined."""
        if self.shortcut == "none" and self.drop_path_rate:
            raise ValueError(f"drop_path_rate={self.drop_path_rate}: a plain net (shortcut='none') has only "
                             "one path, which cannot be dropped")
        if self.zero_init_residual and self.order in ("relu_before_add", "relu_around_add"):
            raise ValueError(f"zero_init_residual=True: with order={self.order!r} a ReLU after the zeros "
                             "would pass no gradient")
        if "basic" in self.blocks and (self.groups, self.base_width) != (1, 64):
            raise ValueError(f"groups={self.groups}, base_width={self.base_width}: defined for "
                             "block='bottleneck' only")
        if isinstance(self.mixer, SplitAttention) and "basic" in self.blocks:
            raise ValueError(f"mixer={self.mixer}: split attention is defined for block='bottleneck' only")
        if self.weight_standardization and self.mixer:
            raise ValueError(f"weight_standardization=True is not defined with mixer={self.mixer}")

        if self.form == "grouped":
            return
        if (self.block, self.order, self.mixer) != ("bottleneck", "post", None):
            raise ValueError(f"form={self.form!r}: needs block='bottleneck', order='post' and mixer=None")
        ignored = [f for f in ("antialias", "drop_block_rate", "block_dropout_rate") if getattr(self, f)]
        if self.zero_init_residual and self.norm == "none":
            ignored.append("zero_init_residual without norm")
        if ignored:
            raise ValueError(f"form={self.form!r}: defined without {', '.join(ignored)}")

    @property
    def blocks(self) -> tuple[str, ...]:
        """The word of `block` for each stage."""
        return (self.block,) * len(self.depths) if isinstance(self.block, str) else self.block

    @property
    def stages(self) -> tuple[int, ...]:
        """Planes per stage, after the width multiplier."""
        return tuple(scale_channels(w, self.width) for w in self.widths)

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Output channels per stage, after the width multiplier."""
        if self.out_widths:
            return tuple(scale_channels(w, self.width) for w in self.out_widths)
        return tuple(EXPANSIONS[kind] * planes for kind, planes in zip(self.blocks, self.stages))


@dataclass(frozen=True)
class InceptionSpec:
    """Inception-v4 or Inception-ResNet-v2 (Szegedy et al. 2016, arXiv:1602.07261), which no `Spec` describes.

    Raises:
        ArgumentError: a ValueError, for an invalid value of a field; the message suggests the nearest one.
    """

    version: str = "resnet_v2"
    depths: tuple[int, ...] = (10, 20, 10)          # blocks A, B, C
    width: float = 1.0
    norm_scale: bool = True                         # keras.applications' net has no gamma
    activation: str | Function = "relu"
    bn_epsilon: float = 1e-3
    bn_momentum: float = 0.9
    initializer: str = "he_normal"
    dropout_rate: float = 0.0
    classes: int = 1000
    input_size: int = 299
    pixels: str = "tf"

    def __post_init__(self) -> None:
        check_choices(self, {"version": ("v4", "resnet_v2"), "pixels": CHOICES["pixels"]})
        check_numbers(self)
        if len(self.depths) != 3:
            raise ValueError(f"depths={self.depths}: expected three numbers, of the blocks A, B and C")


AnySpec = Spec | InceptionSpec


def scale_channels(channels: int, width: float) -> int:
    """`channels * width`; if that is not a whole number, the nearest multiple of 8."""
    exact = channels * width
    return int(exact) if exact == int(exact) else max(8, int(exact + 4) // 8 * 8)


def override(spec: AnySpec, overrides: Mapping[str, Any], also: Iterable[str] = ()) -> AnySpec:
    """Makes a copy of a spec with some fields replaced.

    Args:
        spec: the spec to begin with; it is not changed.
        overrides: field name -> new value.
        also: further argument names of the caller; an error may suggest one of them.
    Returns:
        A spec of the same class.
    Raises:
        TypeError: for a field that the spec does not have; the message suggests the nearest name.
        ArgumentError: for an invalid value of a field.
    """
    names = [f.name for f in dataclasses.fields(spec)]
    for name, value in overrides.items():
        if name not in names:
            raise unknown_argument(name, value, [*also, *names], type(spec).__name__)
    return dataclasses.replace(spec, **overrides)


def find_differences(a: Any, b: Any) -> dict[str, tuple[Any, Any]]:
    """The fields in which two specs differ: name -> both values, "-" if a spec has no such field."""
    left, right = vars(a), vars(b)
    pairs = {field: (left.get(field, "-"), right.get(field, "-")) for field in {**left, **right}}
    return {field: pair for field, pair in pairs.items() if pair[0] != pair[1]}


def _parse_shorthand(field: str, word: str) -> Any:
    if word not in SHORTHANDS:
        raise ArgumentError(field, word, f"None or one of {', '.join(map(repr, SHORTHANDS))}", SHORTHANDS)
    return SHORTHANDS[word]()
