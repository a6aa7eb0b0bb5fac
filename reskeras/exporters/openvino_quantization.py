"""int8 OpenVINO files: NNCF chooses what is quantized, the ranges are chosen as for other formats."""
from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Sequence

import numpy as np

from ..quantization.calibration import iterate_batches
from ..quantization.range_choice import Range
from .layer_names import choose_float_nodes
from .openvino_normalizations import LEVELS, find_normalization_nodes, round_inputs
from .options import ExportOptions
from .tensor_ranges import AllTensors, find_input_range, measure_ranges, measure_values_outside

if TYPE_CHECKING:
    import keras

_WEIGHTED = ("Convolution", "GroupConvolution", "MatMul", "ConvolutionBackpropData")


def check_nncf() -> None:
    """Raises: ImportError that says what to install, if NNCF is missing."""
    if importlib.util.find_spec("nncf") is None:
        raise ImportError("int8 files for OpenVINO need nncf: pip install \"reskeras[nncf]\"")


def quantize_int8(model: Any, options: ExportOptions, keras_model: keras.Model
                  ) -> tuple[Any, dict[str, Range], float | None]:
    """Makes an int8 model of a float32 model.

    Weights are symmetric, with one scale for each channel; activations have a zero point.

    Args:
        model: OpenVINO's model in float32.
        options: options of the file, with calibration images.
        keras_model: what OpenVINO's model was made of.

    Returns:
        OpenVINO's model, the ranges of the tensors that are quantized, and the share of values on the
        validation images that are outside of them.

    Raises:
        ArgumentError: one of the `float_layers` is not in the file.
    """
    with _silence_nncf():
        import nncf
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet
        ignored = _find_float_nodes(model, keras_model, options.float_layers)
        normalizations = find_normalization_nodes(model) if options.normalizations else []
        ignored += normalizations
        float_model = model.clone()
        assert options.calibration_images is not None
        batches = list(iterate_batches(options.calibration_images, options.shape[0] or 1))
        quantized = nncf.quantize(
            model, nncf.Dataset(batches), preset=nncf.QuantizationPreset.MIXED, subset_size=len(batches),
            ignored_scope=nncf.IgnoredScope(names=ignored, validate=False) if ignored else None,
            # the correction of biases made the trained nets that we measured less accurate
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                disable_bias_correction=True,
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX))
    round_inputs(quantized, normalizations)
    _remove_roundings_of_concatenated_parts(quantized)

    nodes = {node.get_friendly_name(): node for node in float_model.get_ops()}
    roundings = [(node, source.get_friendly_name()) for node in quantized.get_ops()
                 if node.get_type_name() == "FakeQuantize"
                 and (source := node.input_value(0).get_node()).get_friendly_name() in nodes]
    run = _make_function_of_tensors(float_model, {name: nodes[name] for _, name in roundings})
    ranges = measure_ranges(run, options)
    measured = dict(ranges)
    known = find_input_range(options.preprocessing, options.shape[-1] or 3)
    if known is not None:
        for parameter in float_model.get_parameters():
            if parameter.get_friendly_name() in ranges:
                ranges[parameter.get_friendly_name()] = known
    for node, name in roundings:
        _set_range(node, *ranges[name])
    quantized.validate_nodes_and_infer_types()
    return quantized, measured, measure_values_outside(run, ranges, options)


def _find_float_nodes(model: Any, keras_model: keras.Model, float_layers: Sequence[str]) -> list[str]:
    """The nodes of the layers that stay in floating point, found by their kernels.

    OpenVINO's reader of SavedModels gives most nodes names of its own.

    Raises:
        ArgumentError: one of the layers has no kernel in the file.
    """
    if not float_layers:
        return []
    constants = {}
    for node in model.get_ops():
        if node.get_type_name() in _WEIGHTED:
            source = node.input_value(1).get_node()
            while source.get_type_name() != "Constant" and source.get_input_size():
                source = source.input_value(0).get_node()
            if source.get_type_name() == "Constant":
                constants[node.get_friendly_name()] = np.sort(np.ravel(source.data))
    kernels = {layer.name: np.sort(np.ravel(layer.weights[0])) for layer in keras_model.layers
               if layer.name in float_layers and layer.weights and layer.weights[0].ndim > 1}
    makers = {node: {name for name, kernel in kernels.items()
                     if kernel.size == constant.size and np.allclose(kernel, constant, 1e-5)}
              for node, constant in constants.items()}
    return choose_float_nodes(makers, float_layers)


def _remove_roundings_of_concatenated_parts(model: Any) -> None:
    """Reads floats where tensors are concatenated and then sliced: gates of selective kernels.

    OpenVINO's CPU plugin (2026.4) multiplies such slices by numbers from uninitialized memory.
    """
    def is_sliced(node: Any, is_concatenated: bool = False) -> bool:
        """Whether a concatenation or its result is sliced."""
        is_concatenated |= node.get_type_name() == "Concat"
        if node.get_type_name() not in ("Concat", "Reshape"):
            return node.get_type_name() == "StridedSlice" and is_concatenated
        return any(is_sliced(each.get_node(), is_concatenated) for each in node.output(0).get_target_inputs())
    for node in model.get_ops():
        if node.get_type_name() == "FakeQuantize":
            for each in node.output(0).get_target_inputs():
                if is_sliced(each.get_node()):
                    each.replace_source_output(node.input_value(0))


def _make_function_of_tensors(model: Any, nodes: Mapping[str, Any]) -> AllTensors:
    """A function that returns the first output of each of the nodes."""
    import openvino     # already imported, without its telemetry
    extended = openvino.Model([node.output(0) for node in nodes.values()], model.get_parameters(), "tensors")
    compiled = openvino.Core().compile_model(extended, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(images: np.ndarray) -> Mapping[str, np.ndarray]:
        outputs = compiled(images)
        return {name: np.array(outputs[i]) for i, name in enumerate(nodes)}
    return run


def _set_range(node: Any, low: float, high: float) -> None:
    """Gives a rounding a range, shifted a little so that zero is one of its levels."""
    import openvino     # already imported, without its telemetry
    step = max(high - low, 1e-12) / (LEVELS - 1)
    zero = round(-low / step)
    for i, end in enumerate((-zero * step, (LEVELS - 1 - zero) * step) * 2, 1):
        old = node.input_value(i)
        values = np.full(tuple(old.get_shape()), end, "float32")
        node.input(i).replace_source_output(openvino.opset13.constant(values).output(0))


@contextlib.contextmanager
def _silence_nncf() -> Iterator[None]:
    """Hides NNCF's log, and its progress bars, which it prints to stdout."""
    logger = logging.getLogger("nncf")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
