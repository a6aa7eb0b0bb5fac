"""What we choose: a net is a frozen `Spec`, a point in the space of about ten axes.  Standard library only."""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Mapping

from .errors import (ArgumentError, check_choice, check_number, check_whole_number, to_whole_number,
                     unknown_argument)


@dataclass(frozen=True)
class SE:
    """Squeeze-and-excitation, arXiv:1709.01507: `ratio` of the channels, rounded to a multiple of `divisor`."""
    ratio: float = 1 / 16
    divisor: int = 8


@dataclass(frozen=True)
class ECA:
    """Efficient channel attention, arXiv:1910.03151: a 1-D convolution whose kernel follows |log2(C) / gamma + beta / gamma|."""
    gamma: int = 2
    beta: int = 1


@dataclass(frozen=True)
class SK:
    """Selective kernel, arXiv:1903.06586: a 3x3 and a dilated 3x3 path; `split_input` gives each path half of the channels."""
    ratio: float = 1 / 16
    divisor: int = 8
    split_input: bool = True


@dataclass(frozen=True)
class SplitAttention:
    """Split attention, arXiv:2004.08955: `radix` feature-map groups, recombined by a softmax over them."""
    radix: int = 2
    ratio: float = 1 / 4


Attention = SE | ECA | None
Mixer = SK | SplitAttention | None
SHORTHANDS: dict[str, Callable[[], Any]] = {"se": SE, "eca": ECA, "sk": SK, "split": SplitAttention}

# Every axis that is a word, with all of its words.  `parts` holds one small function for each; a test compares the two.
CHOICES: dict[str, tuple[Any, ...]] = {
    "block": ("basic", "bottleneck"),
    "order": ("post", "pre", "bn_after_add", "relu_before_add", "relu_only_pre", "relu_around_add"),
    "stride_on": ("3x3", "1x1"),
    "stride_at": ("first", "last"),
    "stem": ("conv7", "deep", "tiered", "cifar"),
    "pool": ("max", "max_zero_pad", "max_ceil", "conv", "none"),
    "shortcut": ("conv", "pad", "all_conv", "avg", "none", "constant", "exclusive_gate", "shortcut_gate", "dropout"),
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
    """A residual net (He et al. 2015, arXiv:1512.03385) and its descendants; the defaults are ResNet-50 v1.5.

    Raises: ValueError where a value is not one of its axis; the message names the nearest.
    """
    # structure
    depths: tuple[int, ...] = (3, 4, 6, 3)          # blocks per stage
    widths: tuple[int, ...] = (64, 128, 256, 512)   # planes per stage; a bottleneck gives 4 times as many channels
    width: float = 1.0                              # multiplies the planes and the stem
    block: str = "bottleneck"                       # basic: 3x3, 3x3; bottleneck: 1x1, 3x3, 1x1
    order: str = "post"                             # "Identity Mappings" (arXiv:1603.05027), Table 2
    stride_on: str = "3x3"                          # of a bottleneck: 3x3 is v1.5, 1x1 is v1
    stride_at: str = "first"                        # block of the stage; "last" is keras.applications' V2
    strides: tuple[int, ...] = (1, 2, 2, 2)
    stem: str = "conv7"
    stem_width: int = 64                            # channels that leave the stem
    stem_norm: bool = True                          # pre-activation nets leave the stem bare
    pool: str = "max"
    shortcut: str = "conv"                          # B: conv, A: pad, C: all_conv, ResNet-D: avg, plain: none
    shortcut_kernel: int = 1                        # of strided projections (SENet-154: 3)
    shortcut_norm: bool = True
    gate_bias: float = -6.0                         # "Identity Mappings" Table 1: the b_g at which the gates do learn
    groups: int = 1                                 # cardinality
    base_width: int = 64                            # bottleneck planes per group, of 64
    reduce_first: int = 1                           # SENet-154: its first 1x1 has half the width
    form: str = "grouped"                           # ResNeXt (arXiv:1611.05431) Figure 3: c, b, a
    mixer: Mixer = None                             # what stands for the block's first 3x3
    downsample: str = "conv"                        # ResNeSt: an average pool takes over the 3x3's stride
    antialias: str | None = None
    attention: Attention = None
    padding: str = "symmetric"                      # as PyTorch pads; explicit: always a layer; same: TensorFlow's
    output_stride: int | None = None                # stages past it are dilated instead of strided; same weights
    # layers
    activation: str = "relu"
    norm: str = "batch"
    norm_groups: int = 32
    bn_epsilon: float = 1e-5
    bn_momentum: float = 0.9
    conv_bias: bool | str = False                   # "unnormed": where no normalization follows
    weight_standardization: bool = False            # BiT, arXiv:1912.11370
    initializer: str = "he_normal"                  # fan-in, as He et al. 2015b
    zero_init_residual: bool = False
    # regularization
    drop_path_rate: float = 0.0                     # of the last block; linear from 0 (arXiv:1603.09382)
    drop_path_mode: str = "sample"
    drop_block_rate: float = 0.0                    # in the last two stages (arXiv:1810.12890)
    drop_block_size: int = 7
    block_dropout_rate: float = 0.0                 # between the convolutions of a block (WRN, arXiv:1605.07146)
    dropout_rate: float = 0.0                       # before the classifier
    # the row's own head and input
    classes: int = 1000
    input_size: int = 224                           # pixels
    pixels: str = "torch"                           # include_preprocessing: torch, tf, caffe (Keras' names), raw

    def __post_init__(self):
        for field in ("attention", "mixer"):
            if isinstance(getattr(self, field), str):
                object.__setattr__(self, field, _parse_shorthand(field, getattr(self, field)))
        _check_choices(self, CHOICES)
        _check_numbers(self)
        if not len(self.depths) == len(self.widths) <= len(self.strides):
            raise ValueError(f"depths={self.depths} and widths={self.widths}: one entry per stage expected in both, "
                             f"and a stride for each (strides={self.strides})")
        _check_type(self, "attention", (SE, ECA, type(None)))
        _check_type(self, "mixer", (SK, SplitAttention, type(None)))
        if self.shortcut == "none" and self.drop_path_rate:
            raise ValueError(f"drop_path_rate={self.drop_path_rate}: a plain net (shortcut='none') has no other path")
        if self.zero_init_residual and self.order in ("relu_before_add", "relu_around_add"):
            raise ValueError(f"zero_init_residual=True: with order={self.order!r} a ReLU after the zeros would pass no gradient")
        if self.form != "grouped" and (self.block, self.order, self.mixer) != ("bottleneck", "post", None):
            raise ValueError(f"form={self.form!r}: ResNeXt's other forms are post-activation bottlenecks without a mixer")
        idle = [f for f in ("antialias", "drop_block_rate", "block_dropout_rate") if getattr(self, f)]
        idle += ["zero_init_residual without norm"] if self.zero_init_residual and self.norm == "none" else []
        if self.form != "grouped" and idle:
            raise ValueError(f"form={self.form!r}: defined without {', '.join(idle)}")
        for planes in self.stages if self.block == "bottleneck" else ():
            inner = max(1, int(planes * self.base_width / 64)) * self.groups // self.reduce_first
            if inner % self.groups:
                raise ValueError(f"width={self.width}, widths={self.widths}: a stage's first convolution would have {inner} "
                                 f"channels, which groups={self.groups} does not divide")
        if self.shortcut_kernel % 2 == 0:
            raise ValueError(f"shortcut_kernel={self.shortcut_kernel}: expected an odd number")
        if self.block == "basic" and (self.groups, self.base_width) != (1, 64):
            raise ValueError(f"groups={self.groups}, base_width={self.base_width}: defined for block='bottleneck' only")
        if isinstance(self.mixer, SplitAttention) and self.block != "bottleneck":
            raise ValueError(f"mixer={self.mixer}: split attention is defined for block='bottleneck'")
        if self.weight_standardization and self.mixer:
            raise ValueError(f"weight_standardization=True is not defined with mixer={self.mixer}")

    @property
    def expansion(self) -> int:
        return 4 if self.block == "bottleneck" else 1

    @property
    def stages(self) -> tuple[int, ...]:
        """Planes per stage, after the width multiplier."""
        return tuple(scale_channels(w, self.width) for w in self.widths)


@dataclass(frozen=True)
class InceptionSpec:
    """Inception-v4 and Inception-ResNet-v2, arXiv:1602.07261: not points of `Spec`'s space.

    Raises: ValueError where a value is not one of its axis; the message names the nearest.
    """
    version: str = "resnet_v2"
    depths: tuple[int, ...] = (10, 20, 10)          # blocks A, B, C
    width: float = 1.0
    norm_scale: bool = True                         # keras.applications' net has no gamma
    activation: str = "relu"
    bn_epsilon: float = 1e-3
    bn_momentum: float = 0.9
    initializer: str = "he_normal"
    dropout_rate: float = 0.0
    classes: int = 1000
    input_size: int = 299
    pixels: str = "tf"

    def __post_init__(self):
        _check_choices(self, {"version": ("v4", "resnet_v2"), "pixels": CHOICES["pixels"]})
        _check_numbers(self)
        if len(self.depths) != 3:
            raise ValueError(f"depths={self.depths}: expected three numbers, of the blocks A, B and C")


AnySpec = Spec | InceptionSpec


def scale_channels(channels: int, width: float) -> int:
    """`channels * width`, rounded to a multiple of 8 where that changes it (a multiplier, never a published net)."""
    exact = channels * width
    return int(exact) if exact == int(exact) else max(8, int(exact + 4) // 8 * 8)


def make_divisible(value: float, divisor: int, minimum: int = 0, round_limit: float = 0.9) -> int:
    """The multiple of `divisor` nearest to `value`, at least `round_limit * value` (MobileNet's rule, as timm uses it)."""
    rounded = max(minimum or divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < round_limit * value else rounded


def override(spec: AnySpec, overrides: Mapping[str, Any], also: Iterable[str] = ()) -> AnySpec:
    """A copy of a spec with some fields replaced.

    Args:
        spec: the spec to begin with; it stays as it is.
        overrides: field name -> new value.
        also: other words that the caller takes beside the fields; an error may suggest one of them.
    Returns:
        A spec of the same class.
    Raises:
        TypeError: for a field that the spec does not have; the message names the nearest one.
        ArgumentError: for a value that the field cannot take.
    """
    names = [f.name for f in dataclasses.fields(spec)]
    for name, value in overrides.items():
        if name not in names:
            raise unknown_argument(name, value, [*also, *names], type(spec).__name__)
    return dataclasses.replace(spec, **overrides)


def find_differences(a: Any, b: Any) -> dict[str, tuple[Any, Any]]:
    """The fields in which two specs differ, with both values; "-" where one has no such field."""
    mine, theirs = vars(a), vars(b)
    return {f: (mine.get(f, "-"), theirs.get(f, "-")) for f in {**mine, **theirs} if mine.get(f, "-") != theirs.get(f, "-")}


def _parse_shorthand(field: str, word: str) -> Any:
    if word not in SHORTHANDS:
        raise ArgumentError(field, word, f"None or one of {', '.join(map(repr, SHORTHANDS))}", SHORTHANDS)
    return SHORTHANDS[word]()


def _check_choices(spec: Any, choices: Mapping[str, tuple[Any, ...]]) -> None:
    for field, known in choices.items():
        check_choice(field, getattr(spec, field), known)


def _check_type(spec: Any, field: str, types: tuple[type, ...]) -> None:
    value = getattr(spec, field)
    if not isinstance(value, types):
        names = ", ".join("None" if t is type(None) else t.__name__ + "()" for t in types)
        raise ArgumentError(field, value, f"one of {names}")


def _check_numbers(spec: Any) -> None:
    """Rates, whole numbers and tuples of them, which become Python's own types."""
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        check = _CHECKS_BY_TYPE.get(str(field.type))
        if field.name.endswith("_rate"):
            check = _check_probability
        if check:
            object.__setattr__(spec, field.name, check(field.name, value))

    if not isinstance(spec.activation, str):
        raise ArgumentError("activation", spec.activation, "the name of a Keras activation, such as 'relu'")
    for name, is_good, expected in (("width", spec.width > 0, "a positive multiplier"),
                                    ("bn_epsilon", spec.bn_epsilon > 0, "a positive number"),
                                    ("bn_momentum", 0 <= spec.bn_momentum < 1, "a number in [0, 1)")):
        if not is_good:
            raise ArgumentError(name, getattr(spec, name), expected)


def _check_probability(name: str, value: Any) -> float:
    return check_number(name, value, minimum=0, below=1, expected="a probability in [0, 1)")


def _check_whole_numbers(name: str, value: Any) -> tuple[int, ...]:
    items = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [None]
    numbers = [to_whole_number(item) for item in items]
    if any(number is None or number < 1 for number in numbers):
        raise ArgumentError(name, value, "whole numbers of at least 1, such as (3, 4, 6, 3)")
    return tuple(number for number in numbers if number is not None)


def _check_boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ArgumentError(name, value, "True or False")
    return value


_CHECKS_BY_TYPE: dict[str, Callable[[str, Any], Any]] = {
    "int": check_whole_number, "tuple[int, ...]": _check_whole_numbers, "bool": _check_boolean, "float": check_number}
