"""Objects of Keras as the shell writes them: "Lion(1e-4)", "SGD(CosineDecay(0.1, 1000), momentum=0.9)"."""
from __future__ import annotations

import ast
from typing import Any

from ..errors import ArgumentError, describe_error, nearest
from .keras_objects import restore_object

# Keras' other names of losses -> ours; labels are always probabilities of the classes here
_LOSSES = {
    "categorical_crossentropy": "softmax", "sparse_categorical_crossentropy": "softmax",
    "binary_crossentropy": "binary", "bce": "binary", "mse": "mean_squared_error",
    "mae": "mean_absolute_error", "msle": "mean_squared_logarithmic_error", "logcosh": "log_cosh"}
# field -> the object of Keras that it takes instead of a word
OBJECTS = {"optimizer": "an optimizer of Keras with its learning rate, such as 'RMSprop(0.001)'",
           "loss": "a loss of Keras, such as 'Huber(0.5)'"}
# Keras' short names of its metrics and losses
_SHORT = {"mae": "MeanAbsoluteError", "mse": "MeanSquaredError", "mape": "MeanAbsolutePercentageError",
          "msle": "MeanSquaredLogarithmicError", "bce": "BinaryCrossentropy"}
EXAMPLES = {"metrics": "Precision(0.3)", "optimizer": "Lion(1e-4)", "learning_rate": "CosineDecay(0.1, 1000)"}


def is_object_call(value: Any) -> bool:
    """Whether a value is the text of a call, such as "Lion(1e-4)"."""
    return isinstance(value, str) and "(" in value and value.rstrip().endswith(")")


def make_called_object(name: str, text: str) -> Any:
    """Makes the object of a call.  Its arguments are numbers, words in quotes and further calls.

    Args:
        name: the argument or field, for an error.
        text: such as "Lion(1e-4)"; "package>MyLion(1e-4)" for a class that is registered in a package.

    Returns:
        An Optimizer, LearningRateSchedule, Loss or Metric.

    Raises:
        ArgumentError: for anything but such a call, an unknown class, or arguments that it does not take.
    """
    try:
        made = _evaluate(ast.parse(text.strip(), mode="eval").body)
    except Exception as error:
        raise ArgumentError(name, text, f"a call such as {EXAMPLES.get(name, 'Huber(delta=0.5)')} "
                            f"({describe_error(error)})") from error
    return made


def _evaluate(node: Any) -> Any:
    package = ""
    if (isinstance(node, ast.Compare) and isinstance(node.left, ast.Name) and isinstance(node.ops[0], ast.Gt)
            and len(node.ops) == 1):        # package>Class(...)
        package, node = node.left.id, node.comparators[0]
    if not isinstance(node, ast.Call):
        return ast.literal_eval(node)
    made = _find_class(package, ast.unparse(node.func))
    return made(*map(_evaluate, node.args), **{str(k.arg): _evaluate(k.value) for k in node.keywords})


def _find_class(package: str, name: str) -> type[Any]:
    """A class of Keras by its name, with or without its module, or one that is registered in a package."""
    import keras
    kinds = (keras.optimizers.Optimizer, keras.optimizers.schedules.LearningRateSchedule, keras.losses.Loss,
             keras.metrics.Metric)
    modules = (keras.optimizers, keras.optimizers.schedules, keras.losses, keras.metrics)
    classes = {key: cls for module in modules for key, cls in vars(module).items()
               if isinstance(cls, type) and issubclass(cls, kinds)}
    word = name.removeprefix("keras.").split(".")[-1]
    found = keras.saving.get_registered_object(f"{package}>{name}") if package else classes.get(word)
    if found is None and not package:       # as compile() takes it: "mae", "rmsprop"
        found = next((cls for key, cls in classes.items() if key.lower() == _SHORT.get(word, word).lower()
                      .replace("_", "")), None)
    if not (isinstance(found, type) and issubclass(found, kinds)):
        full_name = f"{package}>{name}" if package else name
        raise ValueError(f"{full_name} is neither a class of Keras nor one that is registered"
                         f"{nearest(word, classes)}")
    return found


def rename_loss(value: Any) -> Any:
    """Our word for a loss that Keras knows by another one, such as "mse"; any other value as it is."""
    return _LOSSES.get(value.lower(), value) if isinstance(value, str) else value


def check_object(name: str, value: dict[str, Any]) -> None:
    """Checks that an object of Keras has the class of its field.

    Args:
        name: the field.
        value: what `serialize_object` returned.

    Raises:
        ArgumentError: if it has another one.
    """
    import keras
    kinds = {"optimizer": keras.optimizers.Optimizer, "loss": keras.losses.Loss,
             "learning_rate": keras.optimizers.schedules.LearningRateSchedule}
    if name in kinds:
        restore_object(name, value, kinds[name])


def restore_schedule(value: dict[str, Any]) -> Any:
    """Makes the LearningRateSchedule of the field `learning_rate` anew.  Raises: ArgumentError."""
    import keras
    return restore_object("learning_rate", value, keras.optimizers.schedules.LearningRateSchedule)
