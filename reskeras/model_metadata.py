"""A net that remembers what its weights expect of an image and what its classes are called."""
from __future__ import annotations

import os
import pathlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import keras

from .graph.graph import deep

if TYPE_CHECKING:
    from .images.preprocessing import Preprocessing
    from .weights.table import Weights
# From weights/ only inside functions: this room loads as soon as Keras does, and one of those may be what just imports Keras.

Labels = str | tuple[str, ...]      # the name of a label set, or the names of the classes


@dataclass(frozen=True)
class Memory:
    """What cannot be read from a net's layers."""
    weights: str = ""                           # "resnet50v1_5.a1_in1k", the checkpoint it began with
    preprocessing: Preprocessing | None = None  # of what the net takes: without the scaling where it `scales`
    labels: Labels = ()
    scales: bool = False                        # whether it takes pixels in 0..255 and scales them itself

    def get_config(self) -> dict[str, Any]:
        own = self.preprocessing
        return {"weights": self.weights, "preprocessing": own and own.get_config(), "labels": self.labels,
                "scales": self.scales}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Memory:
        from .images.preprocessing import from_config
        own, labels = config.get("preprocessing"), config.get("labels", ())
        preprocessing = from_config(own) if own else None
        scales = config.get("scales", preprocessing is not None and preprocessing.pixels == "raw")
        return cls(config.get("weights", ""), preprocessing, labels if isinstance(labels, str) else tuple(labels), scales)

    @classmethod
    def of_row(cls, row: Weights, inside: bool = False, labels: bool = True) -> Memory:
        """Of a net with a checkpoint's weights.

        Arguments:
            inside: whether the net has include_preprocessing=True.
            labels: whether its classes are the checkpoint's.
        """
        from .images.get_preprocessing import of_row
        return cls(row.name, of_row(row), row.labels if labels else ()).within(inside)

    def within(self, scaled: bool, labels: bool = True) -> Memory:
        """Of a model around the net: whether that scales the pixels before it, whether its classes are the net's."""
        own = self.preprocessing
        return replace(self, preprocessing=own.raw() if own and scaled else own, labels=self.labels if labels else (),
                       scales=self.scales or scaled)

    def told(self, preprocess: Any = None, labels: Any = None) -> Memory:
        """With what is said here in the place of what is remembered; as `recalled`."""
        told = self
        if preprocess is not None:
            given = _settled(preprocess, self.scales)
            told = replace(told, preprocessing=given.raw() if self.scales else given)
        if labels is not None:
            told = replace(told, labels=_listed(labels))
        return told

    def prepare(self, shape: tuple[int | None, ...], name: str, test: bool = False) -> Preprocessing:
        """The function from images to what the net takes, at its own size.

        Arguments:
            shape: (height, width, channels) of the net's images; None is open.
            name: of the net, for an error.
            test: whether to resize and crop as for the published accuracy.
        Raises: ValueError where nobody knows it.
        """
        if self.preprocessing is None:
            raise ValueError(f"{name} does not say how its images are prepared, and a wrong guess would not show; give "
                             "preprocess=, the weights row that it was trained like, such as 'resnet50v1_5.a1_in1k'")
        return self.preprocessing.fitted(shape, test)

    def classes(self, number: int) -> tuple[tuple[str, str], ...]:
        """(synset or index, name) of each of the `number` classes; the indices for both where no names are known.

        Raises: ValueError for names of another number.
        """
        from .images.labels import classes_of
        return classes_of(self.labels or [str(i) for i in range(number)], number)


class Net(keras.Model):
    """A functional model with a `memory`, None where it has nothing to remember; otherwise a keras.Model as any other."""

    def __init__(self, *args: Any, memory: Memory | dict[str, Any] | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.memory = Memory.from_config(memory) if isinstance(memory, dict) else memory

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **({"memory": self.memory.get_config()} if self.memory else {})}

    def __reduce__(self):       # Keras' own looks the class up by its name, which is another's, see below
        function, arguments = super().__reduce__()
        return _unpickled, (function.__name__, arguments)


def _unpickled(function: str, arguments: tuple) -> Net:
    return getattr(Net, function)(*arguments)


# A file then says Keras' own class beside the registered one.  So Keras alone, without this package, opens a net of ours
# that is made of Keras' layers, as a functional model without memory; and tools that go by the class' name know what it is.
Net.__name__, Net.__module__ = "Functional", "keras.src.models.functional"
keras.saving.register_keras_serializable("reskeras", "Net")(Net)


def remember(model: keras.Model, preprocess: Any = None, labels: Any = None) -> Net:
    """A net that knows its preprocessing and class names, so that predict and export need not be told.

    Arguments:
        model: a functional model; a net of ours is changed in place, for another one a net of the same layers is made
            (compile it again).
        preprocess, labels: as `recalled`; what `model` knows, if not given.
    Raises: as `recalled`, and ValueError for a model of several inputs or outputs.
    """
    if len(getattr(model, "inputs", None) or ()) != 1 or len(model.outputs) != 1:
        raise ValueError(f"{model.name}: a functional model of one input and one output is expected")
    memory = recalled(model, preprocess, labels)
    if not isinstance(model, Net):
        with deep():
            model = Net(model.inputs, model.outputs, name=model.name)
    model.memory = memory
    return model


def recalled(model: keras.Model, preprocess: Any = None, labels: Any = None) -> Memory:
    """What is known of a model: what it remembers, or the net that it begins with, and in its place what is given.

    Arguments:
        preprocess: a weights row, its name, a `Preprocessing`, or a model that remembers; without the scaling where `model`
            scales its pixels itself.
        labels: a label set such as "cifar10", the names of the classes in order, or a text file of one name a line.
    Raises: ValueError for labels of another number than the model's classes, or a `preprocess` that does not say it.
    """
    from .images.model_opening import opening
    memory, scales = opening(model)
    found = replace(memory or Memory(), scales=scales).told(preprocess, labels)
    if labels is not None:
        found.classes(model.output_shape[-1])
    return found


def _settled(what: Any, scales: bool) -> Preprocessing:
    """The preprocessing of a row, a name or a model, with both of its sizes.

    Arguments:
        scales: whether it is for a model that scales pixels itself.
    Raises: ValueError where `what` scales inside and so does not say how.
    """
    from .images.get_preprocessing import preprocess
    from .weights.table import get_weights
    if not isinstance(what, keras.Model):
        return preprocess(what)
    memory = recalled(what)
    if memory.scales and not scales:
        if not memory.weights:
            raise ValueError(f"preprocess={what.name}: it scales its pixels inside and does not say how; give the weights row "
                             "that it was trained like, such as 'resnet50v1_5.a1_in1k'")
        return preprocess(get_weights(memory.weights))
    return memory.preprocessing or preprocess(what)


def _listed(labels: Any) -> Labels:
    """A label set's name as it is, else the names of the classes; those in a text file, where `labels` is its path."""
    from .images.labels import known
    if isinstance(labels, (str, os.PathLike)) and labels not in known() and pathlib.Path(labels).is_file():
        return tuple(pathlib.Path(labels).read_text(encoding="utf-8").splitlines())
    return labels if isinstance(labels, str) else tuple(str(label) for label in labels)


def class_names(model: keras.Model) -> tuple[str, ...]:
    """The names of a model's classes, () where it remembers none."""
    memory = recalled(model)
    return tuple(name for _, name in memory.classes(model.output_shape[-1])) if memory.labels else ()
