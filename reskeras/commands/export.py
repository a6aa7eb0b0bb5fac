"""A net by its name to a file on the shelf."""
from __future__ import annotations

import os
import pathlib
import shlex
from typing import TYPE_CHECKING, Any

from ..exporters import index
from ..exporters.formats import find_format
from .open_model import check_model, open_trained_model

if TYPE_CHECKING:
    import keras

    from ..exporters.report import ExportReport

SHELF = pathlib.Path("saved_models")


def artefact(name: str, output: str | os.PathLike[str] | None = None, *, command: str = "", debug: bool = False,
             **options: Any) -> tuple[pathlib.Path, ExportReport]:
    """Exports the net that `name` names; a file that lands on the shelf gets its line in the shelf's INDEX.tsv.

    Arguments:
        name: a net with weights ("resnet50v1_5.a1_in1k", or "resnet50v1_5" for its default ones), or a `.keras` file.
        output: the path; `saved_models/<name>.<numbers>.tflite` if not given.
        command: what is written into the index.
        debug: whether to print the error of int8 at each layer first.
        **options: as `reskeras.export` takes them.
    Raises: as `reskeras.create`, `reskeras.load` and `reskeras.export`.
    """
    stem, kind = pathlib.Path(name).name.removesuffix(".keras"), options.get("quantize")
    target = pathlib.Path(output) if output else SHELF / f"{stem}.{kind + '.' if kind else ''}tflite"
    find_format(target)       # a wrong suffix or name is said before anything is loaded
    check_model(name)
    shelved = target.parent.resolve() == SHELF.resolve()
    if shelved:
        index.read_index(SHELF)   # a broken one is said before, too
    from ..exporters.export import export
    net = open_trained_model(name)
    if debug:
        print(_debugged(net, options))
    certificate = export(net, target, **options)
    if shelved:
        accuracy = certificate.first.accuracy
        index.update_index(SHELF, {
            "variant": certificate.variant, "file": target.name, "sha256": certificate.sha256, "bytes": certificate.bytes,
            "data": options.get("validation") or options.get("calibration") or "",
            "accuracy": "" if accuracy is None else f"{accuracy:.4f}", "command": command})
    return target, certificate


def _debugged(net: keras.Model, options: dict[str, Any]) -> str:
    """The table of what int8 does to each layer."""
    from dataclasses import replace

    from ..exporters.calibration import check_image_count, load_images
    from ..exporters.debug_quantization import measure_layer_errors, format_table
    from ..exporters.export import choose_image_size, make_options, optimize_for_format
    form = find_format("net.tflite")
    if options.get("quantize") != "int8" or options.get("calibration") is None:
        raise ValueError("errors by layer are those of int8: give --quantize int8 --calibrate FOLDER")
    job = make_options(net, form, "int8", 1, options.get("size"), "int8", (), False)
    pixels = (*choose_image_size(net, options.get("size"), form), net.input_shape[3])
    prepare = job.preprocessing and job.preprocessing.for_input_shape(pixels)
    images = load_images(options["calibration"], prepare, pixels).images
    check_image_count(images, options.get("batch"))
    return format_table(measure_layer_errors(optimize_for_format(net, form, job, pixels), replace(job, samples=images)))


def command_line(arguments: list[str]) -> str:
    return "reskeras " + " ".join(map(shlex.quote, arguments))
