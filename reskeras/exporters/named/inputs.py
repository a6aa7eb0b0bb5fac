"""What a model of any inputs is compared and calibrated on: given arrays by name, or random ones."""
from __future__ import annotations

from typing import Any, Mapping, TextIO

import numpy as np

from ...errors import ArgumentError
from ...images.preprocessing import Preprocessing
from ...quantization.calibration import MAX_IMAGES, load_images
from ..random_images import COUNT, make_random_images
from .interface import Interface, Shape

OPEN_SIDE = {3: 96, 4: 96, 5: 32}       # by the number of axes: what an open side becomes in a comparison


def close_shapes(interface: Interface) -> dict[str, tuple[int, ...]]:
    """The shape of one sample of each input, with a number for each open side."""
    return {name: tuple(OPEN_SIDE.get(len(tensor.shape), COUNT) if side is None else side
                        for side in tensor.shape[1:]) for name, tensor in interface.inputs.items()}


def load_inputs(source: Any, argument: str, interface: Interface, preprocessing: Preprocessing | None,
                verbose: bool | TextIO = False) -> dict[str, np.ndarray]:
    """Loads samples as the model takes them.

    Args:
        source: of one input of images what `load_images` takes; otherwise arrays, nested or named as the
            model's inputs are, or a tf.data set of such.
        argument: the name of the argument, for errors.
        interface: the model's inputs, with the shapes of the file.
        preprocessing: of images, if it is known.
        verbose: whether reading files shows a bar, or where.

    Returns:
        An array of samples for each input.

    Raises:
        ValueError: they are not what the model takes.
    """
    if interface.image_input and not isinstance(source, Mapping):
        shape = close_shapes(interface)[interface.image_input]
        if isinstance(source, np.ndarray) and source.ndim == 4:
            shape = source.shape[1:] if _fits(source.shape[1:], interface, interface.image_input) else shape
        images = load_images(source, preprocessing, shape, verbose=verbose).images  # type: ignore[arg-type]
        return {interface.image_input: images}
    if hasattr(source, "element_spec"):
        source = _read_dataset(source, interface)
    named = _name(source, interface, argument)
    arrays = {name: _to_array(named[name], name, interface, argument) for name in interface.inputs}
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) != 1 or not all(counts.values()):
        raise ArgumentError(argument, counts, "arrays of the same number of samples, at least one")
    return arrays


def make_random_inputs(interface: Interface, preprocessing: Preprocessing | None) -> dict[str, np.ndarray]:
    """Makes random samples: pixels where the preprocessing is known, else normal numbers; integers 0 or 1.

    Args:
        interface: the model's inputs, with the shapes of the file.
        preprocessing: of the images of a model of one input.
    """
    shapes = close_shapes(interface)
    if interface.image_input and preprocessing is not None:
        height, width, channels = shapes[interface.image_input]
        return {interface.image_input: make_random_images((height, width, channels), preprocessing).images}
    random = np.random.RandomState(0)
    return {name: random.standard_normal((COUNT, *shapes[name])).astype(_get_type(tensor.dtype))
            if "float" in tensor.dtype else random.randint(0, 2, (COUNT, *shapes[name])).astype(tensor.dtype)
            for name, tensor in interface.inputs.items()}


def _get_type(dtype: str) -> str:
    """The type of arrays for an input: NumPy has no bfloat16."""
    return "float32" if "float" in dtype else dtype


def _name(source: Any, interface: Interface, argument: str) -> dict[str, Any]:
    """Arrays by the names of the inputs.  Raises: ArgumentError."""
    expected = "an array for each input: " + ", ".join(
        f"{name} (N, {', '.join(map(str, tensor.shape[1:]))})".replace("None", "any")
        for name, tensor in interface.inputs.items())
    if isinstance(source, Mapping) and source.keys() == interface.inputs.keys():
        return dict(source)
    try:
        return interface.name_inputs(source)
    except ValueError as error:
        raise ArgumentError(argument, source, expected, hint=(
            f"{error}; give a dictionary with these keys, or what the model itself takes")) from None


def _to_array(value: Any, name: str, interface: Interface, argument: str) -> np.ndarray:
    """Raises: ArgumentError for what is not of the input's shape, or not finite."""
    tensor = interface.inputs[name]
    try:
        array = np.asarray(value).astype(_get_type(tensor.dtype))
    except (TypeError, ValueError):
        raise ArgumentError(argument, value, f"numbers for the input {name!r}") from None
    if not _fits(array.shape[1:], interface, name):
        raise ArgumentError(argument, array.shape, f"the shape (N, {', '.join(map(str, tensor.shape[1:]))}) "
                            f"for the input {name!r}".replace("None", "any"))
    if not np.isfinite(array).all():
        raise ArgumentError(argument, array, f"finite numbers for the input {name!r}")
    return array


def _fits(shape: Shape, interface: Interface, name: str) -> bool:
    expected = interface.inputs[name].shape[1:]
    return len(shape) == len(expected) and all(own in (None, side) for own, side in zip(expected, shape))


def _read_dataset(dataset: Any, interface: Interface) -> Any:
    """The first samples of a tf.data set, nested as its elements are."""
    import keras
    elements = []
    count = 0
    for element in dataset.as_numpy_iterator():
        if isinstance(element, tuple) and len(element) == 2 and not (
                isinstance(interface.input_structure, list) and len(interface.input_structure) == 2):
            element = element[0]        # a pair with what the model should return
        rank = np.ndim(keras.tree.flatten(element)[0])
        is_batch = rank == len(next(iter(interface.inputs.values())).shape)
        elements.append(element if is_batch else keras.tree.map_structure(lambda part: part[None], element))
        count += len(keras.tree.flatten(elements[-1])[0])
        if count >= MAX_IMAGES:
            break
    if not elements:
        raise ValueError("the data set is empty")
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts)[:MAX_IMAGES], *elements)
