"""The main job: train a small ResNet on real handwritten digits, optimize, export and use it, in under two minutes."""
from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import sys
import time
from typing import Any, Callable, Iterator

import numpy as np

import reskeras

from .demo_page import format_kilobytes, build_report, format_top_labels
from .digits import CLASSES, SIZE, WEIGHTS, load_digits, train_digits
from .quiet import quiet_tensorflow
from .html import encode_png
from .predict import predict

VARIANT, EPOCHS = "cifar_resnet20", 20
FAST = {"depths": (1, 1, 1)}                        # 8 layers, for tests
FAST_EPOCHS = 4
FILES = {"Keras": "digits.keras", "SavedModel": "saved_model", "TFLite": "digits.tflite", "TFLite int8": "digits.int8.tflite"}
CHECKOUT = pathlib.Path(reskeras.__file__).parents[1]


def demo(output: str | os.PathLike[str] = "saved_models/demo", fast: bool = False, seed: int = 0, quiet: bool = False,
         keep: bool = False) -> dict[str, Any]:
    """Trains CIFAR ResNet-20 on scikit-learn's handwritten digits, folds its batch normalization, exports it as Keras file,
    SavedModel, TFLite and int8 TFLite, measures each file, classifies ten images and writes `report.html`.

    Arguments:
        output: folder of the files.
        fast: a smaller net for a few epochs: everything is exercised, little is learned.
        seed: of the initial weights, the order of the images and the augmentation.
        quiet: whether to print nothing.
        keep: whether the result becomes the net that comes with the package; in a checkout only.
    Returns: "accuracy" (of the test images, by artefact), "agreement" (with Keras, by artefact), "certificates" (by artefact),
        "predictions", "history", "seconds" (by step, and in all), "files" (by artefact), "report".
    Raises: ImportError where scikit-learn or matplotlib is missing; OSError where `output` cannot be written; ValueError.
    """
    _require_extras()
    if keep and (fast or not (CHECKOUT / "saved_models").is_dir()):
        raise ValueError("keep=True: only a full run in a checkout of the repository makes the net that comes with the package")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    say: Callable[[str], None] = (lambda text: None) if quiet else lambda text: print(text, flush=True)
    clock, folder = Clock(), pathlib.Path(output)
    folder.mkdir(parents=True, exist_ok=True)

    say("Loading TensorFlow and scikit-learn's handwritten digits")
    with clock("load"), quiet_tensorflow():
        import keras
        train, validation, test = load_digits()
        keras.utils.set_random_seed(seed)
        model = reskeras.create(VARIANT, weights=None, input_shape=(SIZE, SIZE, 1), classes=CLASSES, **(FAST if fast else {}))
        model = reskeras.set_metadata(model, preprocessing=WEIGHTS, labels="digits")      # goes into every file it becomes
        cost = reskeras.cost(model)
    say(f"  {len(train)} images to train, {len(validation)} to validate, {len(test)} to test; {SIZE}x{SIZE} pixels\n"
        f"  {model.name}: {cost.params:,} parameters, {cost.macs / 1e6:.1f} million multiply-accumulates\n")

    with clock("train"), quiet_tensorflow():
        history = train_digits(model, train, validation, FAST_EPOCHS if fast else EPOCHS, seed, verbose=0 if quiet else 1)
        expected = model.predict(test.images, verbose=0)
    right = expected.argmax(1) == test.labels
    say(f"\nTest accuracy {right.mean():.2%} ({right.sum()} of {len(test)}) after {clock.seconds['train']:.0f} s of training\n")

    with clock("optimize"), quiet_tensorflow():
        optimized, proof = reskeras.optimize(model)
    say(f"Folded batch normalization into the convolutions: {len(model.layers)} layers became {len(optimized.layers)}, "
        f"equal to {proof.max_relative_difference:.0e} in float64\n")

    say(f"{'artefact':24}{'size':>10}{'one image':>12}{'accuracy':>11}{'as Keras':>11}")
    paths = {name: folder / file for name, file in FILES.items()}
    certificates, accuracy, agreement = {}, {"trained net": float(right.mean())}, {}
    for name, path in paths.items():
        with clock("export"), quiet_tensorflow():
            certificates[name] = done = reskeras.export(
                model, path, quantize="int8" if "int8" in name else None, optimize=name != "Keras",
                calibration_data=(train.images[:200], train.labels[:200]), validation_data=(test.images, test.labels))
        accuracy[name], agreement[name] = done.first_result.accuracy, done.top1_agreement
        say(f"{path.name + '/' * path.is_dir():24}{format_kilobytes(done.bytes):>10}{done.latency_ms:>9.2f} ms{accuracy[name]:>11.2%}"
            f"{agreement[name]:>11.2%}")

    with clock("predict"), quiet_tensorflow():
        ten = [int(np.flatnonzero(test.labels == c)[0]) for c in range(CLASSES)]
        samples = _write_samples(test.pixels[ten], folder / "samples")
        predictions = predict(samples, paths["TFLite int8"], top=3)
    say("\nTen test images through the int8 file\n" + _strokes(test.pixels[ten]) + "\n"
        + "".join(f"{format_top_labels(p)[0]:^9}" for p in predictions))

    page = folder / "report.html"
    result = {"accuracy": accuracy, "agreement": agreement, "certificates": certificates, "predictions": predictions,
              "history": history, "seconds": clock.seconds, "files": paths, "report": page}
    page.write_text(build_report(result, model, cost, test, expected, ten), encoding="utf-8")
    result["seconds"] = clock.seconds | {"in all": clock.total()}
    say(f"\nReport  {page}\nTry     reskeras predict {samples[3]} --model {paths['TFLite int8']}\n"
        f"Done in {clock.total():.0f} s")
    if keep:
        _keep_embedded(paths, accuracy)
    return result


def _write_samples(pixels: np.ndarray, folder: pathlib.Path) -> list[pathlib.Path]:
    """Images to PNG files, 0.png and on."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{i}.png" for i in range(len(pixels))]
    for path, image in zip(paths, pixels):
        path.write_bytes(encode_png(image))
    return paths


def _strokes(pixels: np.ndarray) -> str:
    """8x8 images side by side as text, two rows of pixels in one of characters; empty where the terminal has no such signs."""
    if not (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf"):
        return ""
    ink = pixels[..., 0] > 110
    lines = (" ".join("".join(" ▄▀█"[2 * top + low] for top, low in zip(image[row], image[row + 1])) for image in ink)
             for row in range(0, 8, 2))
    return "\n".join(lines)


def _keep_embedded(paths: dict[str, pathlib.Path], accuracy: dict[str, float]) -> None:
    """Copies the net to where the package and the repository have it, and writes its lines of their index."""
    from ..exporters.folder_index import update_index
    from ..exporters.measurements import compute_size_and_hash
    shelf = CHECKOUT / "saved_models"
    for name in ("Keras", "TFLite int8"):
        file = shelf / f"{VARIANT}.{paths[name].name}"
        for suffix in ("",) if name == "Keras" else ("", ".json", ".npz"):
            shutil.copyfile(f"{paths[name]}{suffix}", f"{file}{suffix}")
        number, digest = compute_size_and_hash(file)
        update_index(shelf, {"variant": VARIANT, "file": file.name, "sha256": digest, "bytes": number,
                             "data": "scikit-learn digits", "accuracy": f"{accuracy[name]:.4f}",
                             "command": "reskeras demo --keep"})
    embedded = CHECKOUT / "reskeras" / "weights" / "embedded"
    embedded.mkdir(exist_ok=True)
    shutil.copyfile(paths["Keras"], embedded / f"{VARIANT}.{paths['Keras'].name}")


class Clock:
    """Seconds by step: `with clock("train"): ...`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.start = time.perf_counter()

    def total(self) -> float:
        return time.perf_counter() - self.start

    @contextlib.contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - start


def _require_extras() -> None:
    """Raises: ImportError that says what to install."""
    import importlib.util
    missing = [name for name, module in (("scikit-learn", "sklearn"), ("matplotlib", "matplotlib"))
               if importlib.util.find_spec(module) is None]
    if missing:
        raise ImportError(f'the demo needs {" and ".join(missing)}: pip install "reskeras[demo]"')
