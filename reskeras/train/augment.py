"""Augmentation as one readable string: "inception_crop(224)|flip|randaugment(2, 9)|mixup(0.2)|cutmix(1.0)".

Every draw is stateless, from a seed that belongs to the image (or the batch), so it repeats whatever runs
beside or before it.  keras-cv's own draws do not repeat under a parallel map; only what its layers do to
pixels is used.
"""
from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from ..errors import nearest
from . import randaugment
from .augment_ops import BATCH_OPERATIONS, IMAGE_OPERATIONS, OPERATIONS, decode_rgb, fold_seed
from .training import convert_value

_DECODES_JPEG = {"inception_crop"}                                      # takes the bytes of a JPEG
# all images have one size from then on
_FIXES_SIZE = {"inception_crop", "resize", "crop", "pad_crop"}
_NEEDS_KERAS_CV = {"randaugment", "trivialaugment"}
_NEEDS_COLOUR = {"jitter", "lighting", *_NEEDS_KERAS_CV}


@dataclass(frozen=True)
class Operation:
    """One operation of the string, with its arguments."""

    name: str
    arguments: dict[str, Any]

    def __call__(self, *tensors: tf.Tensor) -> Any:
        return OPERATIONS[self.name](*tensors, **self.arguments)


@dataclass(frozen=True)
class Augmentation:
    """The operations on an image, and then on a batch; pixels are float32 in 0..255 throughout."""

    text: str
    image_operations: tuple[Operation, ...]
    batch_operations: tuple[Operation, ...]

    @property
    def size(self) -> int | None:
        """Pixels on a side after the operations; None if they do not fix it."""
        sizes = [op.arguments["size"] for op in self.image_operations if op.name in _FIXES_SIZE]
        return sizes[-1] if sizes else None

    @property
    def mixes_labels(self) -> bool:
        """Whether labels become probabilities of classes."""
        return bool(self.batch_operations)

    @tf.autograph.experimental.do_not_convert
    def augment_image(self, x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Augments one image.

        Args:
            x: the bytes of a file, or pixels (height, width, channels) in 0..255.
            seed: int32 (2,).

        Raises:
            ValueError: for an operation on colours if there is one channel.
        """
        operations = list(enumerate(self.image_operations))
        if x.dtype == tf.string and operations and operations[0][1].name in _DECODES_JPEG:
            (i, first), operations = operations[0], operations[1:]
            first_seed = fold_seed(seed, i)
            x = tf.cond(tf.io.is_jpeg(x), lambda: first(x, first_seed),
                        lambda: first(decode_rgb(x), first_seed))
        elif x.dtype == tf.string:
            x = decode_rgb(x)
        x = tf.cast(x, tf.float32)
        for i, operation in operations:
            if operation.name in _NEEDS_COLOUR and x.shape[-1] != 3:
                raise ValueError(f"{self.text!r}: {operation.name} needs colours, but these images have "
                                 f"{x.shape[-1]} channel")
            x = operation(x, fold_seed(seed, i))
        return tf.ensure_shape(x, (self.size, self.size, x.shape[-1]))

    @tf.autograph.experimental.do_not_convert
    def augment_batch(self, x: tf.Tensor, y: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Applies one of the batch operations, which are equally likely.

        Args:
            x: images, (N, height, width, channels).
            y: labels, (N, classes).
            seed: int32 (2,).
        """
        if not self.batch_operations:
            return x, y
        which = tf.random.stateless_uniform([], fold_seed(seed, 0), 0, len(self.batch_operations), tf.int32)
        operation_seed = fold_seed(seed, 1)
        return tf.switch_case(which, [lambda op=op: op(x, y, operation_seed) for op in self.batch_operations])


def parse_augmentation(text: str | Augmentation) -> Augmentation:
    """The operations of a string, which are separated by "|" and have literal arguments.

    Raises:
        ValueError: for an unknown operation or argument; the message suggests the nearest name.
        ImportError: if an operation needs keras-cv, which is not installed.

    Example:
        >>> parse_augmentation("inception_crop(224)|flip").size
        224
    """
    if isinstance(text, Augmentation):
        return text
    try:
        nodes = _split_at_bars(ast.parse(text.strip(), mode="eval").body) if text.strip() else []
    except SyntaxError as error:
        raise ValueError(f"{text!r}: expected operations separated by |, such as "
                         "'inception_crop(224)|flip'") from error
    operations = [_parse_operation(node, text) for node in nodes]
    on_images = [op for op in operations if op.name in IMAGE_OPERATIONS]
    on_batches = [op for op in operations if op.name in BATCH_OPERATIONS]
    if operations != on_images + on_batches:
        raise ValueError(f"{text!r}: {' and '.join(BATCH_OPERATIONS)} work on batches and must come last")
    if any(op.name in _NEEDS_KERAS_CV for op in operations):
        randaugment.keras_cv_layers()       # an ImportError now, not while a graph is traced
    return Augmentation(text, tuple(on_images), tuple(on_batches))


def _split_at_bars(node: ast.expr) -> list[ast.expr]:
    is_bar = isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)
    return [*_split_at_bars(node.left), node.right] if is_bar else [node]       # type: ignore[attr-defined]


def _parse_operation(node: ast.expr, text: str) -> Operation:
    """Parses an operation from its name or call."""
    call = node if isinstance(node, ast.Call) else None
    name = call.func if call else node
    if not isinstance(name, ast.Name):
        raise ValueError(f"{text!r}: {ast.unparse(node)!r} is no operation with literal arguments, such as "
                         "crop(224)")
    if name.id not in OPERATIONS:
        raise ValueError(f"unknown operation {name.id!r}{nearest(name.id, OPERATIONS)}; the operations are "
                         f"{', '.join(OPERATIONS)}")
    parameters = {parameter: p for parameter, p in inspect.signature(OPERATIONS[name.id]).parameters.items()
                  if parameter not in ("x", "y", "seed")}
    arguments = _parse_arguments(call, node, name.id, parameters)
    for argument, value in arguments.items():
        where = f"{name.id}: {argument}"
        value = convert_value(where, value, str(parameters[argument].annotation))
        _check_argument(where, argument, value)
        arguments[argument] = value
    return Operation(name.id, arguments)


def _parse_arguments(call: ast.Call | None, node: ast.expr, name: str,
                     parameters: dict[str, inspect.Parameter]) -> dict[str, Any]:
    """The arguments of a call by their names.

    Raises:
        ValueError: for unknown, missing or superfluous ones.
    """
    try:
        positional = [ast.literal_eval(a) for a in call.args] if call else []
        keywords = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords} if call else {}
    except ValueError as error:
        raise ValueError(f"{ast.unparse(node)}: expected literal arguments, such as crop(224)") from error
    usage = f"expected {name}({', '.join(_describe_parameter(p) for p in parameters.values())})"
    for keyword in keywords:
        if keyword not in parameters:
            raise ValueError(f"{ast.unparse(node)}: unknown argument "
                             f"{keyword!r}{nearest(keyword, parameters)}; {usage}")
    arguments = dict(zip(parameters, positional))
    missing = [parameter for parameter, p in parameters.items()
               if p.default is p.empty and parameter not in {*arguments, *keywords}]
    if missing or len(positional) > len(parameters) or set(arguments) & set(keywords):
        raise ValueError(f"{ast.unparse(node)}: {usage}")
    return arguments | keywords


def _describe_parameter(parameter: inspect.Parameter) -> str:
    return parameter.name + ("" if parameter.default is parameter.empty else f"={parameter.default!r}")


def _check_argument(where: str, argument: str, value: Any) -> None:
    """Raises: ValueError for a value outside of its range."""
    is_fraction = argument in ("probability", "area")
    if argument in ("size", "low", "high", "number", "alpha") and not value > 0:
        raise ValueError(f"{where}={value!r}: expected a number above 0")
    if is_fraction and not 0 <= value <= 1:
        raise ValueError(f"{where}={value!r}: expected a number of 0 to 1")
    if isinstance(value, (int, float)) and value < 0:
        raise ValueError(f"{where}={value!r}: expected a number of at least 0")
    if argument == "mode" and value not in ("constant", "reflect"):
        raise ValueError(f"{where}={value!r}: expected constant or "
                         f"reflect{nearest(value, ('constant', 'reflect'))}")
