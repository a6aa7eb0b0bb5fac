"""`demo`: train a small ResNet on real handwritten digits, optimize, export and use it, in under two minutes.
"""
from __future__ import annotations

import contextlib
import importlib.util
import os
import pathlib
import sys
import time
from typing import TYPE_CHECKING, Any, Iterator

import numpy as np

from .. import catalog
from ..errors import ArgumentError
from ..files import write_bytes
from ..terminal import print_text
from .cost import cost as measure_cost
from .demo_page import build_report, format_kilobytes, format_top_labels
from .digits import CLASSES, SIZE, WEIGHTS, Digits, load_digits, train_digits
from .export import export
from .html import encode_png, write_page
from .optimize import optimize
from .predict import predict
from .quiet import quiet_tensorflow

if TYPE_CHECKING:
    import keras

VARIANT, EPOCHS = "cifar_resnet20", 20
FAST_ARGUMENTS, FAST_EPOCHS = {"depths": (1, 1, 1)}, 4      # 8 layers, for tests
FILES = {"Keras": "digits.keras", "SavedModel": "saved_model", "TFLite": "digits.tflite",
         "TFLite int8": "digits.int8.tflite"}
CHECKOUT = pathlib.Path(__file__).parents[2]


def demo(output: str | os.PathLike[str] = "saved_models/demo", *, fast: bool = False, seed: int = 0,
         quiet: bool = False,
         keep: bool = False) -> dict[str, Any]:
    """Trains CIFAR ResNet-20 on scikit-learn's handwritten digits, then optimizes, exports and uses it.

    Batch normalization is folded; the net is exported as Keras file, SavedModel, TFLite and int8 TFLite; each
    file is measured; ten images are classified; `report.html` shows it all.

    Args:
        output: folder of the files.
        fast: whether to train a smaller net for a few epochs: every step is run, but little is learned.
        seed: the random seed of the initial weights, the order of the images and the augmentation.
        quiet: whether to print nothing.
        keep: whether the result becomes the net that comes with the package; only in a checkout of the
            repository.

    Returns:
        "accuracy" (of the test images, by format), "agreement" (with Keras, by format), "reports" (of the
        exports, by format), "predictions", "history", "seconds" (by step, and in all), "files" (by format),
        "report" (the page).

    Raises:
        ImportError: if scikit-learn or matplotlib is not installed.
        OSError: if `output` cannot be written.
        ArgumentError: for `keep` if it is not possible.
    """
    _check_packages()
    if keep and (fast or not (CHECKOUT / "saved_models").is_dir()):
        raise ArgumentError("keep", keep, "only a full run in a checkout of the repository",
                            hint="it makes the net that "
                            "comes with the package")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    folder = pathlib.Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(folder, quiet)

    run.say("Loading TensorFlow and scikit-learn's handwritten digits")
    with run.time_step("load"):
        train, validation, test = load_digits()
        model = _build_model(seed, fast)
        cost = measure_cost(model)
    run.say(f"  {len(train)} images to train, {len(validation)} to validate, {len(test)} to test; "
            f"{SIZE}x{SIZE} pixels\n"
            f"  {model.name}: {cost.params:,} parameters, {cost.macs / 1e6:.1f} million "
            f"multiply-accumulates\n")

    with run.time_step("train"):
        history = train_digits(model, train, validation, FAST_EPOCHS if fast else EPOCHS, seed,
                               0 if quiet else 1)
        scores = model.predict(test.images, verbose=0)
    correct = scores.argmax(1) == test.labels
    run.say(f"\nTest accuracy {correct.mean():.2%} ({correct.sum()} of {len(test)}) after "
            f"{run.seconds['train']:.0f} s of training\n")

    with run.time_step("optimize"):
        optimized, optimization = optimize(model)
    run.say(f"Folded batch normalization into the convolutions: {len(model.layers)} layers became "
            f"{len(optimized.layers)}, equal to {optimization.max_relative_difference:.0e} in float64\n")

    reports = _export_all(model, train, test, run)
    accuracy = {"trained net": float(correct.mean()),
                **{name: report.first_result.accuracy for name, report in reports.items()}}
    files = {name: folder / file for name, file in FILES.items()}

    examples = [int(np.flatnonzero(test.labels == label)[0]) for label in range(CLASSES)]
    with run.time_step("predict"):
        samples = _write_samples(test.pixels[examples], folder / "samples")
        predictions = predict(files["TFLite int8"], samples, top=3)
    run.say("\nTen test images through the int8 file\n" + _draw_as_text(test.pixels[examples]) + "\n"
            + "".join(f"{format_top_labels(prediction)[0]:^9}" for prediction in predictions))

    page = folder / "report.html"
    agreement = {name: report.top1_agreement for name, report in reports.items()}
    result = {"accuracy": accuracy, "agreement": agreement, "reports": reports, "predictions": predictions,
              "history": history, "seconds": run.seconds, "files": files, "report": page}
    write_page(page, build_report(result, model, cost, test, scores, examples))
    result["seconds"] = run.seconds | {"in all": run.elapsed}
    run.say(f"\nReport  {page}\nTry     reskeras predict {samples[3]} --model {files['TFLite int8']}\n"
            f"Done in {run.elapsed:.0f} s")
    if keep:
        _keep_embedded(files, accuracy)
    return result


def print_result(result: dict[str, Any]) -> int:
    """Returns: the exit code.  The demo has printed its steps already."""
    return 0


class _Run:
    """Where the demo writes its files, what it prints, and how long its steps take."""

    def __init__(self, folder: pathlib.Path, quiet: bool) -> None:
        self.folder, self.quiet = folder, quiet
        self.seconds: dict[str, float] = {}     # by step
        self.start = time.perf_counter()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.start

    def say(self, text: str) -> None:
        if not self.quiet:
            print_text(text)

    @contextlib.contextmanager
    def time_step(self, step: str) -> Iterator[None]:
        """Adds the seconds of the block to those of the step; TensorFlow's log is not shown."""
        start = time.perf_counter()
        with quiet_tensorflow():
            yield
        self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - start


def _build_model(seed: int, fast: bool) -> keras.Model:
    import keras

    from ..model_with_metadata import set_metadata
    keras.utils.set_random_seed(seed)
    arguments: dict[str, Any] = FAST_ARGUMENTS if fast else {}
    model = catalog.create(VARIANT, weights=None, input_shape=(SIZE, SIZE, 1), classes=CLASSES, **arguments)
    return set_metadata(model, preprocessing=WEIGHTS, labels="digits")     # goes into every file


def _export_all(model: keras.Model, train: Digits, test: Digits, run: _Run) -> dict[str, Any]:
    """Exports the net to every format of FILES, and prints a line for each.  Returns: the reports."""
    run.say(f"{'file':24}{'size':>10}{'one image':>12}{'accuracy':>11}{'as Keras':>11}")
    reports: dict[str, Any] = {}
    for name, file in FILES.items():
        path = run.folder / file
        with run.time_step("export"):
            quantize, images = ("int8", train.images[:200]) if "int8" in name else (None, None)
            reports[name] = report = export(
                model, path, quantize=quantize, optimize=name != "Keras", calibration_data=images,
                validation_data=(test.images, test.labels))
        size = format_kilobytes(report.bytes)
        run.say(f"{path.name + '/' * path.is_dir():24}{size:>10}{report.latency_ms:>9.2f} ms"
                f"{report.first_result.accuracy:>11.2%}{report.top1_agreement:>11.2%}")
    return reports


def _write_samples(pixels: np.ndarray, folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes images to PNG files 0.png, 1.png, ...  Returns: their paths."""
    paths = [folder / f"{i}.png" for i in range(len(pixels))]
    for path, image in zip(paths, pixels):
        write_bytes(path, encode_png(image))
    return paths


def _draw_as_text(pixels: np.ndarray) -> str:
    """Draws 8x8 images side by side, two pixel rows in a text row; "" if the terminal cannot show them."""
    if not (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf"):
        return ""
    ink = pixels[..., 0] > 110
    lines = (" ".join("".join(" ▄▀█"[2 * top + low] for top, low in zip(image[row], image[row + 1]))
                      for image in ink)
             for row in range(0, 8, 2))
    return "\n".join(lines)


def _keep_embedded(files: dict[str, pathlib.Path], accuracy: dict[str, float]) -> None:
    """Copies the net to its places in the package and the repository, and updates the index there."""
    from ..exporters.folder_index import update_index
    from ..exporters.measurements import compute_size_and_hash
    saved_models = CHECKOUT / "saved_models"
    for name in ("Keras", "TFLite int8"):
        file = saved_models / f"{VARIANT}.{files[name].name}"
        for suffix in ("",) if name == "Keras" else ("", ".json", ".npz"):
            write_bytes(f"{file}{suffix}", pathlib.Path(f"{files[name]}{suffix}").read_bytes())
        size, digest = compute_size_and_hash(file)
        update_index(saved_models, {
            "variant": VARIANT, "file": file.name, "sha256": digest, "bytes": size,
            "data": "scikit-learn digits",
            "accuracy": f"{accuracy[name]:.4f}", "command": "reskeras demo --keep"})
    embedded = CHECKOUT / "reskeras" / "weights" / "embedded"
    write_bytes(embedded / f"{VARIANT}.{files['Keras'].name}", files["Keras"].read_bytes())


def _check_packages() -> None:
    """Raises: ImportError that says what to install."""
    missing = [name for name, module in (("scikit-learn", "sklearn"), ("matplotlib", "matplotlib"))
               if importlib.util.find_spec(module) is None]
    if missing:
        raise ImportError(f'the demo needs {" and ".join(missing)}: pip install "reskeras[demo]"')
