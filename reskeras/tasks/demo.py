"""The main job: train a small ResNet on real handwritten digits, optimize, export and use it, in under two minutes."""
from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Iterator

import numpy as np

import reskeras

from . import html
from .predict import predict, prepare

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

VARIANT, SIZE, CLASSES = "cifar_resnet20", 16, 10
EPOCHS, BATCH, RATE, DECAY = 20, 64, 0.1, 5e-4
FAST = {"depths": (1, 1, 1)}                        # 8 layers, for tests
FAST_EPOCHS = 4
FILES = {"Keras": "digits.keras", "SavedModel": "saved_model", "TFLite": "digits.tflite", "TFLite int8": "digits.int8.tflite"}
TURN, SHIFT, SCALE = 0.26, 0.1, 0.1                 # augmentation: radians, share of the width, relative; either way
CHECKOUT = pathlib.Path(reskeras.__file__).parents[1]
INDEX = ("variant", "file", "sha256", "bytes", "data", "accuracy", "command")


@dataclass(frozen=True)
class Digits:
    """Images in their own 8x8 bytes, as the net takes them (SIZE x SIZE, 0..1), and their labels."""
    pixels: np.ndarray
    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


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
    require_extras()
    if keep and (fast or not (CHECKOUT / "saved_models").is_dir()):
        raise ValueError("keep=True: only a full run in a checkout of the repository makes the net that comes with the package")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    say: Callable[[str], None] = (lambda text: None) if quiet else lambda text: print(text, flush=True)
    clock, folder = Clock(), pathlib.Path(output)
    folder.mkdir(parents=True, exist_ok=True)

    say("Loading TensorFlow and scikit-learn's handwritten digits")
    with clock("load"), hushed():
        import keras
        train, validation, test = digits()
        keras.utils.set_random_seed(seed)
        model = reskeras.create(VARIANT, weights=None, input_shape=(SIZE, SIZE, 1), classes=CLASSES, **(FAST if fast else {}))
        cost = reskeras.cost(model)
    say(f"  {len(train)} images to train, {len(validation)} to validate, {len(test)} to test; {SIZE}x{SIZE} pixels\n"
        f"  {model.name}: {cost.params:,} parameters, {cost.macs / 1e6:.1f} million multiply-accumulates\n")

    with clock("train"):
        history = fit(model, train, validation, FAST_EPOCHS if fast else EPOCHS, seed, verbose=0 if quiet else 1)
        expected = model.predict(test.images, verbose=0)
    right = expected.argmax(1) == test.labels
    say(f"\nTest accuracy {right.mean():.2%} ({right.sum()} of {len(test)}) after {clock.seconds['train']:.0f} s of training\n")

    with clock("optimize"), hushed():
        optimized, proof = reskeras.optimize(model)
    say(f"Folded batch normalization into the convolutions: {len(model.layers)} layers became {len(optimized.layers)}, "
        f"equal to {proof.max_relative_difference:.0e} in exact arithmetic\n")

    say(f"{'artefact':24}{'size':>10}{'one image':>12}{'accuracy':>11}{'as Keras':>11}")
    paths = {name: folder / file for name, file in FILES.items()}
    certificates, accuracy, agreement = {}, {"trained net": float(right.mean())}, {}
    for name, path in paths.items():
        with clock("export"), hushed():
            certificates[name] = done = reskeras.export(
                model if name == "Keras" else optimized, path, quantize="int8" if "int8" in name else None,
                calibration=train.images[:200])
            found = run_file(path, test.images)
        accuracy[name] = float((found.argmax(1) == test.labels).mean())
        agreement[name] = float((found.argmax(1) == expected.argmax(1)).mean())
        say(f"{path.name + '/' * path.is_dir():24}{kilobytes(done.bytes):>10}{done.latency_ms:>9.2f} ms{accuracy[name]:>11.2%}"
            f"{agreement[name]:>11.2%}")

    with clock("predict"), hushed():
        ten = [int(np.flatnonzero(test.labels == c)[0]) for c in range(CLASSES)]
        samples = write_samples(test.pixels[ten], folder / "samples")
        predictions = predict(samples, paths["TFLite int8"], top=3)
    say("\nTen test images through the int8 file\n" + strokes(test.pixels[ten]) + "\n"
        + "".join(f"{said(p, 0):^9}" for p in predictions))

    page = folder / "report.html"
    result = {"accuracy": accuracy, "agreement": agreement, "certificates": certificates, "predictions": predictions,
              "history": history, "seconds": clock.seconds, "files": paths, "report": page}
    page.write_text(report(result, model, cost, test, expected, ten), encoding="utf-8")
    result["seconds"] = clock.seconds | {"in all": clock.total()}
    say(f"\nReport  {page}\nTry     reskeras predict {samples[3]} --model {paths['TFLite int8']}\n"
        f"Done in {clock.total():.0f} s")
    if keep:
        keep_embedded(paths, accuracy)
    return result


def digits() -> tuple[Digits, Digits, Digits]:
    """scikit-learn's 1,797 digits (UCI's test set of Optical Recognition of Handwritten Digits) for training, validation, test.

    The split is a rule, not a draw: of every ten images of a class, in the order of the file, the first and the sixth are
    for the test and the eighth for validation.
    """
    from sklearn.datasets import load_digits
    bunch = load_digits()
    pixels = np.round(bunch.images * (255 / 16)).astype("uint8")[..., None]
    images = prepare(pixels, (SIZE, SIZE, 1))
    rank = np.zeros(len(pixels), int)
    for c in range(CLASSES):
        rank[bunch.target == c] = np.arange((bunch.target == c).sum()) % 10
    parts = (~np.isin(rank, (0, 5, 7)), rank == 7, np.isin(rank, (0, 5)))
    train, validation, test = (Digits(pixels[part], images[part], bunch.target[part]) for part in parts)
    return train, validation, test


def fit(model: keras.Model, train: Digits, validation: Digits, epochs: int, seed: int, verbose: int) -> dict[str, list[float]]:
    """SGD with Nesterov momentum, a tenth of the steps of warmup, a cosine to zero; the loss and accuracy of each epoch."""
    import keras
    import tensorflow as tf
    data = (tf.data.Dataset.from_tensor_slices((train.images, train.labels)).shuffle(len(train), seed=seed)
            .batch(BATCH, drop_remainder=True).map(lambda images, labels: (augment(images), labels)).prefetch(2))
    steps = epochs * len(data)
    rate = keras.optimizers.schedules.CosineDecay(RATE / 20, steps - steps // 10, warmup_target=RATE, warmup_steps=steps // 10)
    # XLA would take longer to compile than the training takes
    model.compile(keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=DECAY),
                  "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    return model.fit(data, epochs=epochs, validation_data=(validation.images, validation.labels), verbose=verbose,
                     shuffle=False).history     # the data shuffles itself


def augment(images: tf.Tensor) -> tf.Tensor:
    """Each image turned, shifted and scaled at random, by one bilinear resampling; what comes in at the edge is black."""
    import tensorflow as tf
    n, centre = tf.shape(images)[0], (SIZE - 1) / 2

    def between(most: float) -> tf.Tensor:
        return tf.random.uniform([n], -most, most)
    turn, right, down = between(TURN), between(SHIFT * SIZE), between(SHIFT * SIZE)
    a = tf.stack([tf.cos(turn), -tf.sin(turn), tf.sin(turn), tf.cos(turn)], 1)
    a *= tf.stack([1 + between(SCALE), 1 + between(SCALE)] * 2, 1)
    # rows of the map from the new image's pixels to the old one's, about the centre: [a0 a1 t0 a2 a3 t1 0 0]
    x = centre - centre * (a[:, 0] + a[:, 1]) + right
    y = centre - centre * (a[:, 2] + a[:, 3]) + down
    maps = tf.stack([a[:, 0], a[:, 1], x, a[:, 2], a[:, 3], y, tf.zeros([n]), tf.zeros([n])], 1)
    return tf.raw_ops.ImageProjectiveTransformV3(images=images, transforms=maps, output_shape=[SIZE, SIZE], fill_value=0.0,
                                                 interpolation="BILINEAR", fill_mode="CONSTANT")


def run_file(path: str | os.PathLike[str], images: np.ndarray) -> np.ndarray:
    """The outputs of an exported file, in its own runtime."""
    from ..exporters.export import open_file
    return open_file(path)(images)


def said(prediction: dict[str, Any], rank: int) -> str:
    """ "3 99%"."""
    p = prediction["predictions"][rank]
    return f"{p['label']} {p['score']:.0%}"


def write_samples(pixels: np.ndarray, folder: pathlib.Path) -> list[pathlib.Path]:
    """Images to PNG files, 0.png and on."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{i}.png" for i in range(len(pixels))]
    for path, image in zip(paths, pixels):
        path.write_bytes(html.png(image))
    return paths


def strokes(pixels: np.ndarray) -> str:
    """8x8 images side by side as text, two rows of pixels in one of characters; empty where the terminal has no such signs."""
    if not (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf"):
        return ""
    ink = pixels[..., 0] > 110
    lines = (" ".join("".join(" ▄▀█"[2 * top + low] for top, low in zip(image[row], image[row + 1])) for image in ink)
             for row in range(0, 8, 2))
    return "\n".join(lines)


def report(result: dict[str, Any], model: keras.Model, cost: Any, test: Digits, expected: np.ndarray,
           ten: list[int]) -> html.Html:
    """The page of the run; every number on it was measured in the run."""
    accuracy, certificates, history, seconds = (result[k] for k in ("accuracy", "certificates", "history", "seconds"))
    labels = [str(c) for c in range(CLASSES)]
    guess = expected.argmax(1)
    counts = np.zeros((CLASSES, CLASSES), int)
    np.add.at(counts, (test.labels, guess), 1)
    wrong = np.flatnonzero(guess != test.labels)
    return html.page(
        f"{model.name} on handwritten digits",
        html.tiles((f"{accuracy['trained net']:.2%}", f"of {len(test)} test images"), (f"{cost.params:,}", "parameters"),
                   (f"{cost.macs / 1e6:.1f} M", "multiply-accumulates"),
                   (kilobytes(certificates["TFLite int8"].bytes), "as int8 TFLite"),
                   (f"{seconds['train']:.0f} s", f"training, {len(history['loss'])} epochs")),
        html.section("Learning curves", curves(history), html.tag(
            "p", "Training images are augmented, so they are harder than those of the validation.", class_="small")),
        html.section("Artefacts", html.table(
            ("artefact", "size", "one image", "test accuracy", "same class as Keras", "largest difference"),
            [(name, kilobytes(c.bytes), f"{c.latency_ms:.2f} ms", f"{accuracy[name]:.2%}", f"{result['agreement'][name]:.2%}",
              f"{c.max_relative_difference:.0e}") for name, c in certificates.items()]),
            html.tag("p", "Each file was loaded by its own runtime and compared with Keras. Batch normalization was folded into "
                     "the convolutions first, except in the Keras file. Differences are relative to the largest output. "
                     "Latency is the median of single calls on this machine.", class_="small")),
        html.section("Ten test images through the int8 file", html.tag("div", class_="tiles", *(
            digit(test, i, said(p, 0), said(p, 1)) for i, p in zip(ten, result["predictions"])))),
        html.section("Confusion matrix", html.heat(counts, labels, "true"),
                     html.tag("p", "Rows are the true digit, columns what the trained net says.", class_="small")),
        html.section("What it gets wrong", html.tag("div", class_="tiles", *(
            digit(test, i, f"{test.labels[i]}, taken", f"for {guess[i]}") for i in wrong[:40]))
            if len(wrong) else html.tag("p", "Nothing, of the test images.")),
        html.section("Time", html.table(("step", "seconds"), [(step, f"{s:.1f}") for step, s in seconds.items()]), html.tag(
            "p", " · ".join(f"{k} {v}" for k, v in certificates["TFLite"].versions.items()), class_="small")),
        lead=f"{len(test)} test images of scikit-learn's digits, {SIZE}x{SIZE} pixels.")


def digit(test: Digits, i: int, *caption: str) -> html.Html:
    image = html.picture(test.pixels[i], 88, f"a handwritten {test.labels[i]}")
    return html.tag("figure", image, html.tag("figcaption", *(html.tag("div", line) for line in caption)))


def curves(history: dict[str, list[float]]) -> html.Html:
    """Error and loss by epoch, on a logarithmic scale above the smallest tick: what is left to learn."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
    style: Any = {k: html.INK for k in ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")}
    figures = []
    style |= {"axes.spines.top": False, "axes.spines.right": False, "font.size": 11}
    with rc_context(style):
        for key, name in (("accuracy", "error (%)"), ("loss", "loss")):
            drawing = Figure(figsize=(4.8, 3.2), layout="constrained")
            axes = drawing.subplots()
            for prefix, label, colour in (("", "training", "#e08a2e"), ("val_", "validation", "#2f7ed8")):
                values = np.asarray(history[prefix + key])
                values = 100 * (1 - values) if key == "accuracy" else values
                axes.plot(range(1, len(values) + 1), values, marker=".", label=label, color=colour)
            axes.set(xlabel="epoch", ylabel=name)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_yscale("symlog", linthresh=1.0 if key == "accuracy" else 0.01)     # an error may be zero
            axes.set_ylim(bottom=0)
            axes.grid(alpha=0.25)
            axes.legend(frameon=False)
            figures.append(html.figure(drawing))
    return html.tag("div", *figures, class_="pair")


def keep_embedded(paths: dict[str, pathlib.Path], accuracy: dict[str, float]) -> None:
    """Copies the net to where the package and the repository have it, and writes their index."""
    from ..exporters.certificate import size_and_hash
    shelf, lines = CHECKOUT / "saved_models", ["\t".join(INDEX)]
    for name in ("Keras", "TFLite int8"):
        file = shelf / f"{VARIANT}.{paths[name].name}"
        shutil.copyfile(paths[name], file)
        number, digest = size_and_hash(file)
        lines.append("\t".join((VARIANT, file.name, digest, str(number), "scikit-learn digits", f"{accuracy[name]:.4f}",
                                "reskeras demo --keep")))
    (shelf / "INDEX.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    embedded = CHECKOUT / "reskeras" / "weights" / "embedded"
    embedded.mkdir(exist_ok=True)
    shutil.copyfile(paths["Keras"], embedded / f"{VARIANT}.{paths['Keras'].name}")


def kilobytes(number: int) -> str:
    return f"{number / 1000:,.0f} kB"


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


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Keeps TensorFlow's C++ logging, which no Python setting reaches, off the terminal; shows it where the block fails."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as log:
        terminal = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            yield
        except Exception:
            log.seek(0)
            os.write(terminal, log.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)


def require_extras() -> None:
    """Raises: ImportError that says what to install."""
    import importlib.util
    missing = [name for name, module in (("scikit-learn", "sklearn"), ("matplotlib", "matplotlib"))
               if importlib.util.find_spec(module) is None]
    if missing:
        raise ImportError(f'the demo needs {" and ".join(missing)}: pip install "reskeras[demo]"')
