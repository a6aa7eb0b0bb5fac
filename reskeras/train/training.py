"""How a net is trained: the fields of a recipe's training part.  Imports no framework."""
from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from ..errors import ArgumentError, check_choice, check_number
from .image_size import EXPECTED_SIZE, SIZE, convert_size
from .keras_objects import is_keras_object, is_serialized, serialize_object
from .object_calls import OBJECTS, check_object, is_object_call, make_called_object, rename_loss
from .training_checks import check_training

CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("sgd", "nesterov", "adam", "adamw", "lamb", "lars"),
    "schedule": ("constant", "step", "plateau", "cosine", "triangular", "polynomial", "exponential", "wsd"),
    "task": ("auto", "multiclass", "binary", "multilabel", "regression"),
    "loss": ("softmax", "binary", "categorical_focal_crossentropy", "binary_focal_crossentropy",
             "mean_squared_error", "mean_absolute_error", "mean_squared_logarithmic_error", "huber",
             "log_cosh"),
    "learning_rate_scaling": ("linear", "sqrt", "none"),
    "decayed_weights": ("all", "kernels", "all_but_normalization"),
    "distillation": ("soft", "hard", "consistent"),
    "ema_rule": ("tensorflow", "timm", "torchvision", "constant", "keras"),
}
OBJECT = "str | dict[str, Any]"         # the type of a field that takes a word or an object of Keras
SCHEDULE = "float | dict[str, Any]"     # that of one that takes a number or a schedule of Keras
EXPECTED = {"int": "a whole number", "float": "a number", "bool": "True or False", "str": "a word",
            OBJECT: "a word, or an object of Keras", SCHEDULE: "a number, or a schedule of Keras",
            SIZE: EXPECTED_SIZE, "tuple[float, ...]": "numbers in parentheses, such as (30, 60)"}


def _setting(default: Any, text: str) -> Any:
    """A dataclass field with a sentence of help."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Training:
    """How a net is trained.  0, "" and False mean "not used".

    `milestones` and `warmup` are in epochs, or in steps (updates of the weights) if `steps` is set.
    The help of each field, for the command line and the documentation, is in `training_fields()`.

    Raises:
        ArgumentError: if a value is outside of its range or is not one of the choices.
    """

    epochs: int = _setting(0, "Length of the training, in epochs.")
    steps: int = _setting(0, "Length of the training in updates of the weights, instead of epochs.")
    batch_size: int = _setting(256, "Images per update of the weights, on all devices together.")
    optimizer: str | dict[str, Any] = _setting(
        "sgd", "The optimizer: sgd, nesterov, adam, adamw, lamb or lars; or one of Keras with its own "
        "learning rate and options, such as keras.optimizers.Lion(1e-4), in the shell \"Lion(1e-4)\".")
    momentum: float = _setting(0.0, "Momentum of sgd, nesterov and lars.")
    trust_coefficient: float = _setting(
        0.001, "Of lars: the rate of a layer is this times the norm of its weights, divided by that of its "
        "gradient with decay.")
    learning_rate_in_velocity: bool = _setting(
        False, "Whether the velocity of sgd and nesterov contains the learning rates of the past, as in "
        "Caffe and Keras (v = momentum v - rate g, w = w + v), or not, as in PyTorch and TensorFlow 1 "
        "(v = momentum v + g, w = w - rate v).")
    epsilon: float = _setting(
        0.0, "Epsilon of adam, adamw and lamb, added to the root of the corrected second moment, as in their "
        "papers and PyTorch (there 1e-8; lamb 1e-6). 0 is as Keras' adam and adamw, which add 1e-7 to the "
        "root before it is corrected; for lamb it is 1e-6.")
    global_clipnorm: float = _setting(
        0.0, "The largest norm of all gradients together; larger gradients are scaled down to it.")
    clipnorm: float = _setting(
        0.0, "The largest norm of the gradient of each variable; a larger one is scaled down to it.")
    clipvalue: float = _setting(0.0, "The largest absolute value of each number of a gradient.")
    sam_rho: float = _setting(
        0.0, "Sharpness-aware minimization (arXiv:2010.01412): the gradient is computed again where the loss "
        "is highest within this distance of the weights, such as 0.05; a step with it takes twice as long.")
    sam_interval: int = _setting(1, "Of so many updates one, the last, has sam_rho's second gradient.")
    layer_decay: float = _setting(
        0.0, "Factor of the learning rate from each block to the one before it, counted from the classifier, "
        "which has the full rate; the stem has the lowest. Such as 0.75.")
    learning_rate: float | dict[str, Any] = _setting(
        0.1, "Learning rate after the warm-up, for a batch of base_batch_size images; or a schedule of Keras "
        "over the updates of the weights, in the shell such as \"CosineDecay(0.1, 1000)\".")
    base_batch_size: int = _setting(256, "The batch size, in images, that learning_rate is meant for.")
    learning_rate_scaling: str = _setting(
        "linear", "How the learning rate grows with batch_size / base_batch_size: linear, sqrt or none.")
    schedule: str = _setting(
        "step", "Learning-rate schedule: constant, step, plateau or cosine; triangular, a line down from the "
        "end of the warm-up; polynomial, that line to a power; exponential, times decay_factor in each epoch "
        "(or step); wsd, constant until the one milestone, and then a line down.")
    schedule_by_epoch: bool = _setting(
        False, "Whether the learning rate changes between epochs only, warm-up included, and not after each "
        "update.")
    cosine_includes_warmup: bool = _setting(
        False, "Whether the cosine (polynomial, exponential) begins with the training, and only continues "
        "after the warm-up, as in timm, instead of beginning after the warm-up.")
    final_learning_rate: float = _setting(
        0.0, "Learning rate at the end of the cosine (line, polynomial), as a fraction of the full one.")
    power: float = _setting(2.0, "The power of the polynomial schedule.")
    milestones: tuple[float, ...] = _setting(
        (), "When the step schedule multiplies the learning rate by decay_factor, in epochs (or in steps); "
        "of wsd, when the rate begins to fall.")
    decay_factor: float = _setting(0.1, "Factor of the learning rate at each milestone or plateau; of "
                                   "exponential in each epoch (or step).")
    patience: int = _setting(0, "Epochs without progress that make a plateau.")
    warmup: float = _setting(0, "Length of the linear warm-up of the learning rate, in epochs (or in steps).")
    warmup_start: float = _setting(0.0, "Learning rate at the start of the warm-up, as a fraction of the "
                                   "full one.")
    weight_decay: float = _setting(0.0, "Weight decay, as the paper of the optimizer defines it.")
    decayed_weights: str = _setting(
        "all", "Which weights decay: all, kernels (no biases, no weights of normalization) or "
        "all_but_normalization.")
    task: str = _setting(
        "auto", "What is learned of an image: multiclass (one of several classes), binary (one of two "
        "classes, by one output), multilabel (any of several labels), regression (numbers); auto is what the "
        "labels and the loss say.")
    loss: str | dict[str, Any] = _setting(
        "softmax", "The loss: softmax (one class per image), binary (a sigmoid for each class or label), "
        "another word, which is Keras' own name for it; or a loss of Keras with its options, such as "
        "keras.losses.Huber(0.5), in the shell \"Huber(0.5)\".")
    label_smoothing: float = _setting(0.0, "Fraction of each label that is spread over all classes.")
    target_threshold: float = _setting(
        0.0, "For the binary loss: a class counts as present, with the target 1, if its part of a mixed and "
        "smoothed label is larger than this number, else as absent; 0 keeps the parts.")
    distillation: str = _setting(
        "soft", "What is learned of a teacher. soft: the probabilities of its classes (arXiv:1503.02531); "
        "hard: its best class (arXiv:2012.12877); consistent: its probabilities, and no labels "
        "(arXiv:2106.05237).")
    temperature: float = _setting(
        1.0, "What the logits of student and teacher are divided by before their probabilities are compared.")
    alpha: float = _setting(0.5, "The part of the teacher in the loss; the labels have the rest.")
    size: int | tuple[int, int] = _setting(
        224, "Size of the training images in pixels: a number for both sides, or height and width, as "
        "(224, 320) or \"224x320\"; \"128:192\" for images that grow from first_size to size.")
    first_size: int = _setting(
        0, "Size of the images of the first epochs, if they grow during the training.")
    size_epochs: tuple[float, ...] = _setting(
        (), "The epochs between which the images grow, such as (10, 30); by default from the first one to "
        "three quarters of the training.")
    size_multiple: int = _setting(32, "The sizes of images that grow are multiples of this number of pixels.")
    augmentation: str = _setting(
        "inception_crop(224)|flip", "Operations on each training image, separated by |.")
    augmentation_repeats: int = _setting(
        1, "How often an epoch contains each image that it draws, augmented differently each time.")
    ema_momentum: float = _setting(
        0.0, "Decay of the exponential moving average of the weights, each time it is updated.")
    ema_rule: str = _setting(
        "tensorflow", "How the average begins, for ema_momentum d after n updates. tensorflow: "
        "min(d, (1 + n) / (10 + n)). timm: min(d, 1 - n ** (-2/3)). torchvision: the weights themselves "
        "during the warm-up, then 1 - (1 - d) * batch_size * ema_steps / epochs. constant: the weights after "
        "the first update, then d. keras: likewise, but of the trained weights only, without the "
        "statistics of batch normalization.")
    ema_steps: int = _setting(
        1, "The average is updated at the first update of the weights in each epoch, and each ema_steps "
        "updates after it.")
    head_epochs: int = _setting(0, "Epochs before the others in which only the classifier is trained.")
    head_learning_rate: float = _setting(0.0, "Learning rate in these epochs.")
    early_stopping: int = _setting(
        0, "Epochs in a row without progress after which the training ends, as Keras' EarlyStopping.")
    early_stopping_monitor: str = _setting(
        "val_loss", "The result that counts as progress of early_stopping, such as val_accuracy.")
    restore_best_weights: bool = _setting(
        False, "Whether a training with early_stopping ends with the weights of its best epoch.")
    freeze_statistics: bool = _setting(
        False, "Whether batch normalization keeps its moving mean and variance unchanged.")
    test_size: int | tuple[int, int] = _setting(
        224, "Size of the validation images in pixels, in the same forms.")
    test_crop_pct: float = _setting(0.875, "Fraction of the shorter side of a validation image that its "
                                    "center crop keeps.")

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if not is_serialized(getattr(self, name)):
                check_choice(name, getattr(self, name), choices, OBJECTS.get(name, ""))
        for field_ in dataclasses.fields(self):
            name, value = field_.name, to_python(getattr(self, field_.name), field_.name)
            object.__setattr__(self, name, value)
            # not replaced: 5 stays 5 in what is shown of a recipe
            if field_.type in ("int", "float", SCHEDULE) and not is_serialized(value):
                check_number(name, value, minimum=0, expected="a number of at least 0")
        for name in ("size", "test_size"):
            object.__setattr__(self, name, convert_size(name, getattr(self, name)))
        for name in ("batch_size", "base_batch_size", "augmentation_repeats", "ema_steps", "sam_interval"):
            if getattr(self, name) < 1:
                raise ArgumentError(name, getattr(self, name), "a whole number of at least 1")
        check_training(self)

    @property
    def unit(self) -> str:
        """What `milestones` and `warmup` count: "steps" or "epochs"."""
        return "steps" if self.steps else "epochs"


@dataclass(frozen=True)
class TrainingField:
    """A field of `Training`, as the command line and the documentation show it.

    Attributes:
        type: the annotation: "int", "float", "bool", "str", "tuple[float, ...]", `OBJECT` or `SCHEDULE`.
        choices: the values that are allowed, if they are words; else empty.
    """

    name: str
    type: str
    default: Any
    help: str
    choices: tuple[str, ...] = ()


def training_fields() -> list[TrainingField]:
    """The fields of `Training` in their order; each is also a keyword of `reskeras.fit`."""
    return [TrainingField(f.name, str(f.type), f.default, f.metadata["help"], CHOICES.get(f.name, ()))
            for f in dataclasses.fields(Training)]


def to_python(value: Any, name: str = "") -> Any:
    """Converts what a file cannot hold: numbers of NumPy, and objects of Keras, also in a tuple or list.

    Args:
        value: the value of a field or argument.
        name: its name, for the error of an object that could not be made again.
    """
    if is_keras_object(value):
        return serialize_object(name or type(value).__name__, value)
    if isinstance(value, (tuple, list)):
        return type(value)(to_python(part, name) for part in value)
    is_scalar = type(value).__module__ == "numpy" and getattr(value, "shape", None) == ()
    return value.item() if is_scalar else value


_TOO_LARGE = 2.0 ** 1023       # a larger whole number has no float


def convert_value(name: str, value: Any, annotation: str) -> Any:
    """Converts `value` to the type of its field.

    Args:
        name: the field, for the error.
        annotation: its type, one of `EXPECTED`.

    Raises:
        ArgumentError: for a value that is not of this type.
    """
    if annotation in (OBJECT, SCHEDULE) and is_object_call(value):
        value = make_called_object(name, value)
    if annotation == "bool" and str(value).lower() in ("true", "false"):    # as TOML and the shell write it
        return str(value).lower() == "true"
    value = rename_loss(value) if name == "loss" else value
    value = to_python(value, name)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _TOO_LARGE
    if annotation == SIZE:
        return convert_size(name, value)
    if annotation == "tuple[float, ...]" and isinstance(value, (tuple, list)):
        if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value):
            return tuple(value)
    elif annotation in ("float", SCHEDULE) and is_number:
        return float(value)
    elif annotation == "int" and is_number and math.isfinite(value) and value == int(value):
        return int(value)
    elif annotation in ("str", OBJECT) and isinstance(value, str):
        return value
    elif annotation in (OBJECT, SCHEDULE) and is_serialized(value):
        check_object(name, value)
        return value
    raise ArgumentError(name, value, EXPECTED[annotation])
