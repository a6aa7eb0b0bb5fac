"""Accuracy of int8 files: calibrated after the training, and trained for int8.

    nice -n 19 python examples/benchmarks/quantization.py --data ../shared/data --models nets

Digits with the bundled net; akamaster's ResNet-32 and -44 and MLPerf Tiny's ResNet-8 on CIFAR-10: trained on
with the first 4,000 training images, tested on the first 1,000 test images in LiteRT.  The recipe was chosen
with --held-out, which trains on 3,500 of the training images and tests on the other 500.  Each row is stored
when it is done, and not computed again; neither is a net trained again whose file is in the folder of
--models.
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
# case -> weight bits, changes of the recipe "int8"
CASES: dict[str, tuple[int, dict[str, Any]]] = {
    "int8": (8, {}), "4-bit weights": (4, {"learning_rate": 1e-4})}
NETS = ("digits", "resnet8", "resnet32", "resnet44")
AUGMENTATIONS = {"digits": "affine(0.26, 0.1, 0.1)"}        # of other nets: of CIFAR
CALIBRATION_IMAGES, HELD_OUT = 256, 500
# What --held-out compares: what is trained, from what, with which rate of Adam
TRIALS = [("float", "labels", 1e-5), ("int8", "labels", 1e-6), ("int8", "labels", 1e-5),
          ("int8", "teacher", 3e-6), ("int8", "teacher", 1e-5), ("int8", "teacher", 1e-4),
          ("4-bit weights", "labels", 1e-4), ("4-bit weights", "teacher", 1e-4),
          ("4-bit weights", "teacher", 1e-3)]
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


def train(name: str, model: keras.Model, images: Images, teacher: keras.Model | None, seed: int,
          **changes: Any) -> keras.Model:
    """Trains by the recipe "int8", with a teacher or by the labels."""
    size = model.input_shape[1]
    return reskeras.fit(
        model, images, "int8", teacher=teacher, seed=seed, verbose=0, size=size, test_size=size,
        augmentation=AUGMENTATIONS.get(name, "pad_crop(32, 4)|flip"), **changes).model


def quantize(model: keras.Model, case: str, images: np.ndarray) -> keras.Model:
    """The net with fake quantization; what 4 bits lose is least with the ranges of least error."""
    bits, _ = CASES[case]
    return reskeras.quantization_aware(model, images[:CALIBRATION_IMAGES], weight_bits=bits,
                                       calibration_method="minmax" if bits == 8 else "mse")


def predict(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(model.predict(np.asarray(reskeras.get_preprocessing(model)(images)), verbose=0))


def measure_file(export: Callable[[pathlib.Path], Any]) -> tuple[float, Any]:
    """The accuracy of a .tflite file in LiteRT, and its report."""
    with tempfile.TemporaryDirectory() as folder:
        report = export(pathlib.Path(folder, "net.tflite"))
        return float(report.first_result.accuracy), report


def measure_net(name: str, data: pathlib.Path, models: pathlib.Path,
                seeds: int) -> Iterator[tuple[dict[str, Any], Compute]]:
    """The rows of a net: what each is called, and the function that computes it."""
    model, images, test = open_net(name, data)
    calibration = images[0][:CALIBRATION_IMAGES]

    def measure_float() -> dict[str, Any]:
        return {"accuracy": float((predict(model, test[0]).argmax(1) == test[1]).mean())}

    def measure_control(seed: int) -> dict[str, Any]:
        trained = train(name, open_net(name, data)[0], images, None, seed)
        return {"accuracy": float((predict(trained, test[0]).argmax(1) == test[1]).mean())}

    def measure_calibrated(method: str) -> dict[str, Any]:
        accuracy, _ = measure_file(lambda path: reskeras.export(
            model, path, quantize="int8", calibration_data=calibration, calibration_method=method,
            validation_data=test, strict=False))
        return {"accuracy": accuracy}

    def measure_aware(case: str, seed: int | None) -> dict[str, Any]:
        aware = quantize(model, case, images[0])
        if seed is not None:
            path = models / f"{name}.{case.replace(' ', '_')}.{seed}.keras"
            if not path.exists():
                reskeras.save(train(name, aware, images, model, seed, **CASES[case][1]), path)
            aware = reskeras.load(path)
        accuracy, report = measure_file(lambda path: reskeras.export(
            aware, path, validation_data=test, strict=False))
        steps = {kernels: {"within_one_step": result.within_one_step, "max_steps": result.max_steps,
                           "decided_agreement": result.decided_agreement}
                 for kernels, result in (report.simulation or {}).items()}
        return {"accuracy": accuracy, "simulated": report.keras["accuracy"], "steps": steps}

    yield {"what": "float"}, measure_float
    for method in ("minmax", "mse"):
        yield {"what": f"int8, {method}"}, functools.partial(measure_calibrated, method)
    yield {"what": "4-bit weights, calibrated"}, functools.partial(measure_aware, "4-bit weights", None)
    for seed in range(seeds):
        for case in CASES:
            yield ({"what": f"{case}, trained", "seed": seed}, functools.partial(measure_aware, case, seed))
        yield {"what": "float, trained on", "seed": seed}, functools.partial(measure_control, seed)


def measure_trials(name: str, data: pathlib.Path) -> Iterator[tuple[dict[str, Any], Compute]]:
    """The rows of the choice of a recipe, which sees no test image."""
    _, (pixels, classes), _ = open_net(name, data)
    order = np.random.default_rng(1234).permutation(len(pixels))
    held, kept = order[:HELD_OUT], order[HELD_OUT:]

    def measure(case: str, learns: str, rate: float) -> dict[str, Any]:
        model = open_net(name, data)[0]
        expected = predict(model, pixels[held])
        net = model if case == "float" else quantize(model, case, pixels[kept])
        net = train(name, net, (pixels[kept], classes[kept]), model if learns == "teacher" else None, 0,
                    learning_rate=rate)
        scores = predict(net, pixels[held])
        logarithms = np.log(np.maximum([expected, scores], 1e-12))
        return {"accuracy": float((scores.argmax(1) == classes[held]).mean()),
                "agreement": float((scores.argmax(1) == expected.argmax(1)).mean()),
                "divergence": float((expected * (logarithms[0] - logarithms[1])).sum(1).mean())}

    for trial in TRIALS:
        yield dict(zip(("what", "learns", "learning_rate"), trial)), functools.partial(measure, *trial)


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--data", type=pathlib.Path, required=True, help="of weights and images")
    arguments.add_argument("--output", type=pathlib.Path, default=pathlib.Path("."), help="of the figures")
    arguments.add_argument("--models", type=pathlib.Path, required=True, help="a folder for trained nets")
    arguments.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    arguments.add_argument("--seeds", type=int, default=3, help="trainings of each kind")
    arguments.add_argument("--held-out", action="store_true", help="compare recipes without test images")
    options = arguments.parse_args()
    for folder in (options.output, options.models):
        folder.mkdir(parents=True, exist_ok=True)
    for name in options.nets:
        kind = "held_out" if options.held_out else "quantization"
        path = options.output / f"{kind}.{NETS.index(name) + 1}.{name}.json"
        rows = json.loads(path.read_text())["rows"] if path.exists() else []
        measured = measure_trials(name, options.data) if options.held_out else measure_net(
            name, options.data, options.models, options.seeds)
        for what, compute in measured:
            if not any(row.items() >= what.items() for row in rows):
                rows.append({"net": name, **what, **compute()})
                print(rows[-1], flush=True)
                write(str(path), rows)


if __name__ == "__main__":
    main()
