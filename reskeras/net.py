"""A net that remembers what its weights expect of an image and what its classes are called."""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Sequence

import keras

from .graph.graph import deep

if TYPE_CHECKING:
    from .weights.preprocessing import Preprocessing
    from .weights.table import Weights
# From weights/ only inside functions: this room loads as soon as Keras does, and one of those may be what just imports Keras.

Labels = str | tuple[str, ...]      # the name of a label set, or the names of the classes


@dataclass(frozen=True)
class Memory:
    """What cannot be read from a net's layers."""
    weights: str = ""                           # "resnet50v1_5.a1_in1k", the checkpoint it began with
    preprocessing: Preprocessing | None = None
    labels: Labels = ()

    def get_config(self) -> dict[str, Any]:
        own = self.preprocessing
        return {"weights": self.weights, "preprocessing": own and own.get_config(), "labels": self.labels}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Memory:
        from .weights.preprocessing import from_config
        own, labels = config.get("preprocessing"), config.get("labels", ())
        return cls(config.get("weights", ""), from_config(own) if own else None,
                   labels if isinstance(labels, str) else tuple(labels))

    @classmethod
    def of_row(cls, row: Weights, inside: bool = False, labels: bool = True) -> Memory:
        """Of a net with a checkpoint's weights.

        Arguments:
            inside: whether the net has include_preprocessing=True.
            labels: whether its classes are the checkpoint's.
        """
        from .weights.preprocess import of_row
        own = of_row(row)
        return cls(row.name, own.raw() if inside else own, row.labels if labels else ())


class Net(keras.Model):
    """A functional model with a `memory`, None where it has nothing to remember; otherwise a keras.Model as any other."""

    def __init__(self, *args: Any, memory: Memory | dict[str, Any] | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.memory = Memory.from_config(memory) if isinstance(memory, dict) else memory

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **({"memory": self.memory.get_config()} if self.memory else {})}

    def __reduce__(self):       # Keras' own looks the class up by its name, which is another's, see below
        function, arguments = super().__reduce__()
        return unpickled, (function.__name__, arguments)


def unpickled(function: str, arguments: tuple) -> Net:
    return getattr(Net, function)(*arguments)


# A file then says Keras' own class beside the registered one.  So Keras alone, without this package, opens a net of ours
# that is made of Keras' layers, as a functional model without memory; and tools that go by the class' name know what it is.
Net.__name__, Net.__module__ = "Functional", "keras.src.models.functional"
keras.saving.register_keras_serializable("reskeras", "Net")(Net)


def remember(model: keras.Model, preprocess: Any = None, labels: str | Sequence[str] | None = None) -> Net:
    """A net that knows its preprocessing and class names, so that predict and export need not be told.

    Arguments:
        model: a functional model; a net of ours is changed in place, for another one a net of the same layers is made
            (compile it again).
        preprocess: a weights row, its name, or another net that remembers; what `model` knows, if not given.
        labels: the names of the classes, in order, or a label set such as "cifar10"; what `model` knows, if not given.
    Raises: ValueError for labels of another number than the net's classes, or a model of several inputs or outputs.
    """
    from .weights.labels import classes_of
    if len(getattr(model, "inputs", None) or ()) != 1 or len(model.outputs) != 1:
        raise ValueError(f"{model.name}: a functional model of one input and one output is expected")
    memory = getattr(model, "memory", None) or Memory()
    if preprocess is not None:
        given = settled(preprocess)
        inside = any(layer.name == "preprocessing" for layer in model.layers)      # then pixels are all the net wants
        memory = replace(memory, preprocessing=given.raw() if inside else given)
    if labels is not None:
        own = labels if isinstance(labels, str) else tuple(str(label) for label in labels)
        classes_of(own, model.output_shape[-1])
        memory = replace(memory, labels=own)
    if not isinstance(model, Net):
        with deep():
            model = Net(model.inputs, model.outputs, name=model.name)
    model.memory = memory
    return model


def settled(what: Any) -> Preprocessing:
    """The preprocessing of a row, a name or a net, with both of its sizes."""
    from .weights.preprocess import preprocess
    memory = getattr(what, "memory", None)
    return memory.preprocessing if memory and memory.preprocessing else preprocess(what)


def class_names(model: keras.Model) -> tuple[str, ...]:
    """The names of a net's classes, () where it remembers none that come with the package."""
    from .weights.labels import classes_of
    memory = getattr(model, "memory", None)
    labels = memory.labels if memory else ()
    try:
        return tuple(name for _, name in classes_of(labels, model.output_shape[-1])) if labels else ()
    except ValueError:      # 21,843 names, which no package of this size carries
        return ()
