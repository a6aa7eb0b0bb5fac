"""Accuracy of int8 files: calibrated after the training, and trained for int8.

    nice -n 19 python examples/benchmarks/quantization.py --data ../shared/data --models nets

Digits with the bundled net; akamaster's ResNet-32 and -44 and MLPerf Tiny's ResNet-8 on CIFAR-10: fine-tuned
on the first 4,000 training images, tested on the first 1,000 test images in LiteRT.  Each row is stored when
it is done, and not computed again; neither is a net trained again whose file is in the folder of --models.
"""
from __future__ import annotations

import argparse
import functools
import json
import pathlib
import tempfile
from typing import Any, Callable, Iterator

import keras
import numpy as np
from timing import write

import reskeras
from reskeras.train.sources import open_source

CIFAR_TRAIN, CIFAR_TEST = "cifar10_train_first4000.npz", "cifar10_test_first1000.npz"
# case -> weight bits, one scale for each channel, epochs, learning rate of Adam
CASES: dict[str, tuple[int, bool, int, float]] = {
    "int8": (8, True, 2, 1e-6), "4-bit weights": (4, True, 3, 1e-4)}
NETS = ("digits", "resnet8", "resnet32", "resnet44")
BATCH_SIZE, CALIBRATION_IMAGES = 64, 256
Images = tuple[np.ndarray, np.ndarray]      # pixels, classes
Compute = Callable[[], dict[str, Any]]      # a row of the table


def open_net(name: str, data: pathlib.Path) -> tuple[keras.Model, Images, Images]:
    """A trained net, the images that it is trained on further, and those that it is tested on."""
    if name == "digits":
        sources = [open_source("digits", split) for split in ("train", "test")]
        (train, test) = [(source.images, source.labels) for source in sources]
        return reskeras.create("cifar_resnet20.digits"), train, test
    if name == "resnet8":
        model = reskeras.set_metadata(
            reskeras.MLPerfTinyResNet8(weights=data / "mlperf_tiny_resnet8.h5"),
            preprocessing=reskeras.Preprocessing((32, 32), "raw", crop_pct=1.0), labels="cifar10")
    else:
        model = reskeras.set_metadata(
            reskeras.create(f"akamaster/{name}", weights=data / f"akamaster_{name}.safetensors"),
            preprocessing=f"cifar_{name}.cifar10", labels="cifar10")
    files = [np.load(data / file) for file in (CIFAR_TRAIN, CIFAR_TEST)]
    train, test = [(file["images"], file["labels"]) for file in files]
    return model, train, test


def augment(images: np.ndarray, rng: np.random.Generator, flips: bool) -> np.ndarray:
    """A shifted copy of each image, by at most an eighth of its side, and half of them flipped."""
    size, most = images.shape[1], images.shape[1] // 8
    padded = np.pad(images, [(0, 0), (most, most), (most, most), (0, 0)])
    offsets = rng.integers(0, 2 * most + 1, (len(images), 2))
    shifted = np.stack([image[y:y + size, x:x + size] for image, (y, x) in zip(padded, offsets)])
    mirrored = (rng.random(len(images)) < 0.5) & flips
    return np.where(mirrored[:, None, None, None], shifted[:, :, ::-1], shifted)


def train(model: keras.Model, images: Images, epochs: int, learning_rate: float, flips: bool) -> None:
    """Trains with Adam, whose rate falls to zero along a cosine."""
    keras.utils.set_random_seed(0)
    rng, steps = np.random.default_rng(0), epochs * (len(images[0]) // BATCH_SIZE)
    prepare = reskeras.get_preprocessing(model)
    prepared = np.concatenate([np.asarray(prepare(part)) for part in np.array_split(images[0], 16)])
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps)),
                  "sparse_categorical_crossentropy")
    for _ in range(epochs):
        model.fit(augment(prepared, rng, flips), images[1], batch_size=BATCH_SIZE, epochs=1, verbose=0)


def measure_file(export: Callable[[pathlib.Path], Any]) -> tuple[float, Any]:
    """The accuracy of a .tflite file in LiteRT, and its report."""
    with tempfile.TemporaryDirectory() as folder:
        report = export(pathlib.Path(folder, "net.tflite"))
        return float(report.first_result.accuracy), report


def measure_net(name: str, data: pathlib.Path, models: pathlib.Path) -> Iterator[tuple[str, Compute]]:
    """The rows of a net: what each is called, and the function that computes it."""
    model, images, test = open_net(name, data)
    calibration = images[0][:CALIBRATION_IMAGES]
    flips = name != "digits"

    def measure_float() -> dict[str, Any]:
        prepared = np.asarray(reskeras.get_preprocessing(model)(test[0]))
        scores = model.predict(prepared, verbose=0)
        return {"accuracy": float((scores.argmax(1) == test[1]).mean())}

    def measure_calibrated(method: str) -> dict[str, Any]:
        accuracy, _ = measure_file(lambda path: reskeras.export(
            model, path, quantize="int8", calibration_data=calibration, calibration_method=method,
            validation_data=test, strict=False))
        return {"accuracy": accuracy}

    def measure_aware(case: str, is_trained: bool) -> dict[str, Any]:
        bits, per_channel, epochs, rate = CASES[case]
        method = "minmax" if bits == 8 else "mse"
        aware = reskeras.quantization_aware(model, calibration, weight_bits=bits, per_channel=per_channel,
                                            calibration_method=method)
        if is_trained:
            path = models / f"{name}.{case.replace(' ', '_')}.keras"
            if not path.exists():
                train(aware, images, epochs, rate, flips)
                reskeras.save(aware, path)
            aware = reskeras.load(path)
        accuracy, report = measure_file(lambda path: reskeras.export(
            aware, path, validation_data=test, strict=False))
        steps = {kernels: {"within_one_step": result.within_one_step, "max_steps": result.max_steps,
                           "decided_agreement": result.decided_agreement}
                 for kernels, result in (report.simulation or {}).items()}
        return {"accuracy": accuracy, "simulated": report.keras["accuracy"], "steps": steps,
                **({"epochs": epochs, "learning_rate": rate} if is_trained else {})}

    yield "float", measure_float
    for method in ("minmax", "mse"):
        yield f"int8, {method}", functools.partial(measure_calibrated, method)
    for case in CASES:
        if case != "int8":
            yield f"{case}, calibrated", functools.partial(measure_aware, case, False)
        yield f"{case}, trained", functools.partial(measure_aware, case, True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--data", type=pathlib.Path, required=True, help="of weights and images")
    arguments.add_argument("--output", type=pathlib.Path, default=pathlib.Path("."), help="of the figures")
    arguments.add_argument("--models", type=pathlib.Path, required=True, help="a folder for trained nets")
    arguments.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    options = arguments.parse_args()
    for folder in (options.output, options.models):
        folder.mkdir(parents=True, exist_ok=True)
    for name in options.nets:
        path = options.output / f"quantization.{NETS.index(name) + 1}.{name}.json"
        rows = json.loads(path.read_text())["rows"] if path.exists() else []
        for what, compute in measure_net(name, options.data, options.models):
            if any(row["what"] == what for row in rows):
                continue
            rows.append({"net": name, "what": what, **compute()})
            print(rows[-1], flush=True)
            write(str(path), rows)


if __name__ == "__main__":
    main()
