"""`optimize`: the same net with less work, for inference, and the check that it is the same."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Sequence

from .. import catalog
from ..errors import ArgumentError
from ..terminal import print_text
from .open_model import ModelName, Size, check_size

if TYPE_CHECKING:
    import keras
    import numpy as np

    from ..graph.report import OptimizationReport


def optimize(model: ModelName | keras.Model, *, passes: Sequence[str | Callable[..., Any]] | None = None,
             target: str | None = None, check: bool = True, images: np.ndarray | None = None,
             latency: bool = False, size: Size | None = None) -> tuple[keras.Model, OptimizationReport]:
    """Makes a model for inference that computes the same function with less work; `model` itself does not
    change.

    Batch normalization is folded into convolutions, activations are fused, strides move to where they save
    work, and more; see the passes in `reskeras.graph.optimize`.  If the check finds a difference, the
    model is returned as it was, with a warning, and the report says which pass made it and why.

    Args:
        model: the name of a net ("resnet50d", with its default weights if it has some, or
            "resnet50d.ra2_in1k"), a `.keras` file, or a functional or sequential keras.Model; nested models
            are resolved.
        passes: names of passes, or functions Graph -> PassResult, in order; by default those of the target.
        target: what will run the model: None, "saved_model", "tflite" (one image per call, fixed size) or
            "openvino".
        check: whether both models are compared in float64 on random inputs.
        images: (N, height, width, channels) as the model takes them; the report then has the share of them
            that keep their class.
        latency: whether one call on one image is timed before and after.
        size: size of the images, if the model takes any size: pixels on a side, or (height, width).  Passes
            that need a size use it, and the count of multiply-accumulates (224 pixels by default).

    Returns:
        The optimized model, which is not compiled, and a report of what each pass did.

    Raises:
        ArgumentError: for an unknown name, pass or target, a wrong size, or images for several outputs.
        ValueError: if the model has no graph, or a file cannot be read.
        OSError: if the weights cannot be downloaded.

    Example:
        >>> optimized, report = reskeras.optimize("cifar_resnet20.digits")
        >>> report.max_relative_difference < 1e-9
        True
    """
    height_and_width = check_size(size)
    net = catalog.open_model(model)
    from ..graph.optimize import optimize_model
    shape = (*height_and_width, net.input_shape[-1]) if height_and_width else None
    return optimize_model(net, passes=passes, target=target, check=check, images=images, latency=latency,
                          input_shape=shape)


def optimize_and_save(model: str, output: str | None = None, report: str | None = None, fusions: bool = False,
                      **options: Any) -> OptimizationReport:
    """`optimize` for the shell: prints the report, and writes the model and the report if a file is given.

    Args:
        model: the name of a net or a `.keras` file.
        output: a `.keras` file for the optimized model.
        report: a JSON file for the report.
        fusions: whether to print which fusion happens in which runtime, too.
        **options: of `optimize`.
    """
    if output and not output.endswith(".keras"):
        raise ArgumentError("output", output, "a name that ends in .keras",
                            hint="`reskeras export` writes other formats")
    net = catalog.open_model(model)
    optimized, result = optimize(net, **options)
    print_text(result)
    if fusions:
        from .fusion_report import format_report
        print_text(format_report(net, optimized, result))
    if output:
        from ..build import save
        save(optimized, output)
    if report:
        result.write(report)
    return result


def print_result(report: OptimizationReport) -> int:
    """Returns: the exit code, 1 if the model came back as it was.  The report is printed already."""
    return int(bool(report.refusal))
