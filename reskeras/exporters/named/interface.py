"""The names, shapes and nesting of what a model takes and returns.  An exported file keeps them.

A model of one image and one output has no need of it: its file calls them "images" and "scores".
"""
from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping

import numpy as np

if TYPE_CHECKING:
    import keras

Shape = tuple[int | None, ...]      # with the batch; None is open
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Tensor:
    """An input or an output."""

    shape: Shape
    dtype: str


@dataclass(frozen=True)
class Interface:
    """What a model takes and returns, by name.

    Args:
        inputs: in the order in which the model has them.
        outputs: in the order in which the model has them.
        input_structure: the names, nested as the model takes its inputs.
        output_structure: the names, nested as the model returns its outputs.
    """

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    input_structure: Any
    output_structure: Any

    @classmethod
    def of(cls, model: keras.Model) -> Interface:
        """Reads it from a model.

        In a dictionary a tensor has the name of its key, elsewhere that of the layer that makes it.

        Args:
            model: a functional model.
        """
        taken: set[str] = set()
        input_names = [tensor.name for tensor in model.inputs]
        inputs = _name_leaves(model.input, iter(input_names), taken)
        outputs = _name_leaves(model.output, iter(model.output_names), taken)
        return cls(dict(zip(_flatten(inputs), map(_describe, model.inputs))),
                   dict(zip(_flatten(outputs), map(_describe, model.outputs))), inputs, outputs)

    def with_tensors_of(self, model: keras.Model) -> Interface:
        """The same names, with the shapes and types of a model that was made of this one."""
        return replace(self, inputs=dict(zip(self.inputs, map(_describe, model.inputs))),
                       outputs=dict(zip(self.outputs, map(_describe, model.outputs))))

    def with_shapes(self, shapes: Mapping[str, Shape]) -> Interface:
        """The same, with other shapes of the inputs."""
        return replace(self, inputs={name: replace(tensor, shape=shapes[name])
                                     for name, tensor in self.inputs.items()})

    @property
    def batch_size(self) -> int | None:
        """The fixed number of samples of a call; None if any number is taken."""
        return next((tensor.shape[0] for tensor in self.inputs.values() if tensor.shape[0]), None)

    @property
    def image_input(self) -> str | None:
        """The name of the one input, if it is of images: (batch, height, width, channels)."""
        (name, tensor), *others = self.inputs.items()
        return name if not others and len(tensor.shape) == 4 and "float" in tensor.dtype else None

    @property
    def max_rank(self) -> int:
        """The most axes of an input or an output."""
        return max(len(tensor.shape) for tensor in (*self.inputs.values(), *self.outputs.values()))

    def nest_inputs(self, values: Mapping[str, Any]) -> Any:
        """Values by name, nested as the model takes them."""
        return _map_leaves(self.input_structure, values.__getitem__)

    def name_outputs(self, outputs: Any) -> dict[str, Any]:
        """What the model returned, by name."""
        return dict(zip(self.outputs, _flatten(outputs)))

    def name_inputs(self, values: Any) -> dict[str, Any]:
        """Values that are nested as the model takes them, by name.

        Raises: ValueError if they are nested otherwise.
        """
        named: dict[str, Any] = {}

        def walk(structure: Any, value: Any) -> None:
            if isinstance(structure, str):
                named[structure] = value
            elif isinstance(structure, dict):
                if not isinstance(value, Mapping) or value.keys() != structure.keys():
                    raise ValueError("the keys are not those of the model's inputs")
                for key, part in structure.items():
                    walk(part, value[key])
            else:
                if not isinstance(value, (list, tuple)) or len(value) != len(structure):
                    raise ValueError("the number of arrays is not that of the model's inputs")
                for part, part_value in zip(structure, value):
                    walk(part, part_value)
        walk(self.input_structure, values)
        return named


def takes_one_image(model: keras.Model) -> bool:
    """Whether a model is one of one image and one output, or has no graph that would say so.

    Args:
        model: any Keras model.
    """
    inputs = getattr(model, "inputs", None)
    if not inputs:
        return True
    is_nested = isinstance(getattr(model, "output", None), (dict, list, tuple))
    return len(inputs) == 1 and len(inputs[0].shape) == 4 and len(model.outputs) == 1 and not is_nested


def _describe(tensor: Any) -> Tensor:
    return Tensor(tuple(tensor.shape), str(tensor.dtype))


def _name_leaves(structure: Any, names: Iterator[str], taken: set[str], path: tuple[str, ...] = ()) -> Any:
    """The structure with a name for each tensor, in the order of Keras: keys are sorted."""
    if isinstance(structure, Mapping):
        named = {key: _name_leaves(structure[key], names, taken, (*path, str(key)))
                 for key in sorted(structure)}
        return {key: named[key] for key in structure}
    if isinstance(structure, (list, tuple)):
        return [_name_leaves(part, names, taken, path) for part in structure]
    layer_name = next(names)
    return _make_name("_".join(path) or layer_name, taken)


def _make_name(wanted: str, taken: set[str]) -> str:
    """A name that every format takes and no other tensor has."""
    name = re.sub(r"\W", "_", wanted, flags=re.ASCII)
    name = name if name[:1].isalpha() else f"tensor_{name}"
    candidates = (name, *(f"{name}_{i}" for i in range(1, len(taken) + 2)))
    chosen = next(candidate for candidate in candidates if candidate not in taken)
    taken.add(chosen)
    return chosen


def _flatten(structure: Any) -> list[Any]:
    """The leaves in the order of Keras: keys are sorted."""
    if isinstance(structure, Mapping):
        return [leaf for key in sorted(structure) for leaf in _flatten(structure[key])]
    if isinstance(structure, (list, tuple)):
        return [leaf for part in structure for leaf in _flatten(part)]
    return [structure]


def _map_leaves(structure: Any, function: Callable[[str], Any]) -> Any:
    if isinstance(structure, dict):
        return {key: _map_leaves(part, function) for key, part in structure.items()}
    if isinstance(structure, list):
        return [_map_leaves(part, function) for part in structure]
    return function(structure)
