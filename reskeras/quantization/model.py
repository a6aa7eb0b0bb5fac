"""`quantization_aware`: a model to train for int8, which computes as its int8 file will."""
from __future__ import annotations

from typing import Any, Sequence

import keras
import numpy as np

from ..errors import ArgumentError, check_choice, check_whole_number
from ..graph.graph import Graph
from ..graph.keras_config import list_refs
from ..graph.model_requirements import check_floating_point, check_image_model, check_layers
from ..images.preprocessing import Preprocessing
from ..model_metadata import find_metadata
from ..model_with_metadata import inline_with_metadata, set_metadata
from .calibration import check_image_count, load_images
from .insertion import QuantizationOptions, insert_fake_quantization
from .integer_layers import fold, use_integer_layers
from .layers import AVERAGE_STEPS, RANGES, FakeQuantize
from .measure import measure_ranges
from .placement import Placement
from .range_choice import CALIBRATION_METHODS, Range

WEIGHT_BITS = range(2, 9)


def quantization_aware(model: keras.Model, calibration_data: Any, *, float_layers: Sequence[str] = (),
                       calibration_method: str = "minmax", ranges: str = "average",
                       average_steps: int = AVERAGE_STEPS, weight_bits: int = 8, per_channel: bool = True,
                       preprocessing: Any = None) -> keras.Model:
    """Makes a model that is trained for int8: it computes in floats what its int8 file will compute.

    Batch normalization is folded into the convolutions with its statistics as they are (Jacob et al. 2018,
    arXiv:1712.05877, without the statistics of each batch), dropout and stochastic depth are left out.  Then
    kernels are rounded to integers, symmetric around zero, and tensors where TFLite's kernels round them.
    The gradient passes through the rounding.

    Train it with `compile` and `fit`, with a small learning rate and few epochs, best on the scores of
    `model`; then `reskeras.export` writes an int8 `.tflite` with these very ranges.  Training rounds once;
    inference rounds as LiteRT's reference kernels do.

    Args:
        model: a trained functional model of one input (batch, height, width, channels) and one output; it is
            not changed.
        calibration_data: at least 32 images, from which the first ranges are chosen, as `reskeras.export`
            takes them.
        float_layers: names of layers that stay in floating point.  Group normalization always does.
        calibration_method: how the first ranges are chosen: "minmax", "percentile" or "mse", as for
            `reskeras.export`.
        ranges: how the ranges of tensors go on: "average" (a moving average of the smallest and the largest
            value of a batch for `average_steps` training steps, then constant), "learned" (by the gradient)
            or "frozen".  That of the input is what the preprocessing makes of 0 and 255, if it is known.
        average_steps: the number of steps for "average".
        weight_bits: bits of a weight, 2 to 8.
        per_channel: whether each output channel of a convolution has its own scale.  A dense layer has one.
        preprocessing: needed for pixels and files if the model has none, as for `reskeras.export`.

    Returns:
        A functional model with the metadata of `model`.  It is not compiled.  The last softmax is not
        rounded.

    Raises:
        ArgumentError: for a model that is quantized already or has another form, and for layers that have no
            integer form: give their names as `float_layers`.
        ValueError: the images cannot be used.
        TypeError: `model` is not a Keras model.

    Example:
        >>> q = reskeras.quantization_aware(model, images)
        >>> q.compile(keras.optimizers.Adam(1e-5), "categorical_crossentropy")
        >>> q.fit(images, model.predict(images), epochs=2)
        >>> reskeras.export(q, "net.tflite", validation_data=(images, classes))
    """
    for name, value, choices in (("calibration_method", calibration_method, CALIBRATION_METHODS),
                                 ("ranges", ranges, RANGES)):
        check_choice(name, value, choices)
    weight_bits = check_whole_number("weight_bits", weight_bits, WEIGHT_BITS.start, WEIGHT_BITS.stop - 1)
    average_steps = check_whole_number("average_steps", average_steps)
    _check_model(model)
    if preprocessing is not None:
        model = set_metadata(Graph.of(model).build(), preprocessing)
    model = inline_with_metadata(model)
    names = _check_float_layers(float_layers, model)

    known = _find_preprocessing(model)
    images = load_images(calibration_data, known, _find_image_shape(model, known)).images
    options = QuantizationOptions(ranges, average_steps, weight_bits, bool(per_channel))
    return quantize_with_images(model, images, names, calibration_method, options)


def quantize_with_images(model: keras.Model, images: np.ndarray, float_layers: Sequence[str] = (),
                         calibration_method: str = "minmax",
                         options: QuantizationOptions = QuantizationOptions()) -> keras.Model:
    """As `quantization_aware`, of a model without nested models, and of images as it takes them.

    Args:
        model: as there.
        images: (N, height, width, channels).
        float_layers: as there.
        calibration_method: as there.
        options: how tensors and kernels are rounded.

    Raises:
        ArgumentError, ValueError: as there.
    """
    check_image_count(images, None)
    graph = use_integer_layers(fold(Graph.of(model)), float_layers).graph
    _check_folded(graph, float_layers)
    placement = Placement(graph, float_layers)
    measured = measure_ranges(graph, placement.sites, images, calibration_method)
    known = _find_preprocessing(model)
    if known is not None:
        (image,) = list_refs(graph.inputs)
        measured[image] = _find_input_range(known, images.shape[1:])
    return insert_fake_quantization(placement, measured, options).build()


def is_quantization_aware(model: keras.Model) -> bool:
    """Whether a model has fake quantization."""
    return any(isinstance(layer, FakeQuantize) for layer in getattr(model, "layers", ()))


def _check_model(model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise TypeError(f"{model!r} is a {type(model).__name__}: expected a keras.Model, such as "
                        "reskeras.create gives")
    check_image_model(model)
    check_layers(model)
    check_floating_point(model)
    if is_quantization_aware(model):
        raise ArgumentError("model", model.name, "a model without fake quantization", hint=(
            "this one has it already; train it as it is, or give the model that it was made of"))
    if "float" not in model.inputs[0].dtype:
        raise ArgumentError("model", model.name, "a model that takes floats", hint=(
            f"it takes images of {model.inputs[0].dtype}; leave out its first cast"))


def _check_float_layers(float_layers: Sequence[str], model: keras.Model) -> list[str]:
    if isinstance(float_layers, str):
        raise ArgumentError("float_layers", float_layers, f"a list of names, [{float_layers!r}]")
    layers = [layer.name for layer in model.layers]
    for name in float_layers:
        if name not in layers:
            raise ArgumentError("float_layers", name, f"layers of {model.name}", layers)
    return list(float_layers)


def _check_folded(graph: Graph, float_layers: Sequence[str]) -> None:
    """Raises: ArgumentError for a layer that is part of another now."""
    names = {node.name for node in graph.nodes}
    if missing := [name for name in float_layers if name not in names]:
        raise ArgumentError("float_layers", list(float_layers), "layers that are not part of others", hint=(
            f"{', '.join(missing)} was folded into the layer before it, such as a batch normalization; name "
            "that layer"))


def _find_preprocessing(model: keras.Model) -> Preprocessing | None:
    metadata = find_metadata(model)
    preprocessing = metadata.preprocessing if metadata else None
    return preprocessing and preprocessing.for_input_shape(tuple(model.input_shape[1:]))


def _find_image_shape(model: keras.Model, preprocessing: Preprocessing | None) -> tuple[int, int, int]:
    """Raises: ArgumentError if neither the model nor its preprocessing says the size."""
    _, *sides, channels = model.input_shape
    size = preprocessing.size if preprocessing else (None, None)
    height, width = (own or side for own, side in zip(sides, size))
    if height is None or width is None or channels is None:
        raise ArgumentError("model", model.name, "a model whose images have a size", hint=(
            f"its input has the shape {model.input_shape[1:]}; build it with input_shape=(height, width, "
            "channels), or give its `preprocessing`"))
    return height, width, channels


def _find_input_range(preprocessing: Preprocessing, shape: tuple[int, ...]) -> Range:
    """The smallest and the largest number that the preprocessing makes of 0 and 255."""
    ends = [np.asarray(preprocessing.normalize(np.full((1, *shape), pixel, "float32"))) for pixel in (0, 255)]
    return min(0.0, float(np.min(ends))), max(0.0, float(np.max(ends)))


