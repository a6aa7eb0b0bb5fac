"""The good files of each format, and the public calls that a user makes with such a file."""
from __future__ import annotations

import contextlib
import functools
import io
import pathlib
import shutil
from dataclasses import dataclass
from typing import Any, Callable

import keras
import numpy as np

import reskeras
from reskeras.commands.evaluate import print_result as print_evaluation

Path = pathlib.Path
SMALL = {"depths": (1, 1, 1), "widths": (16, 16, 16), "classes": 10, "input_shape": (16, 16, 1)}


class Refusal(Exception):
    """What a result says of a file that could not be read."""


@dataclass(frozen=True)
class FuzzedFormat:
    """A kind of file."""

    make: Callable[[Path], object]      # writes good files to an empty folder
    # A file of that folder, which is damaged, and a call with the folder of the damaged file; one in each
    # attempt, in turn
    attempts: tuple[tuple[str, Callable[[Path], object]], ...]


def _make_net() -> keras.Model:
    keras.utils.set_random_seed(0)
    net = reskeras.CifarResNet20(weights=None, **SMALL)
    return reskeras.set_metadata(net, "cifar_resnet20.digits", [f"class {i}" for i in range(10)])


_open_net = functools.cache(_make_net)


# ---- weights=


def _load_weights(name: str, builder: str = "CifarResNet20", **arguments: Any) -> Callable[[Path], object]:
    def load(folder: Path) -> object:
        return getattr(reskeras, builder)(weights=folder / name, **{**SMALL, **arguments})
    return load


def _save_legacy_h5(folder: Path) -> None:
    from checkpoints import legacy_h5
    layers = {layer.name: [(v.name, v.numpy()) for v in layer.weights]
              for layer in _make_net().layers if layer.weights}
    (folder / "net.h5").write_bytes(legacy_h5(layers))


def _save_safetensors(folder: Path) -> None:
    from checkpoints import safetensors
    (folder / "net.safetensors").write_bytes(safetensors(_make_net()))


def _save_torch(folder: Path) -> None:
    from checkpoints import torch_arrays
    from torch_writer import save_torch
    content = {"state_dict": torch_arrays(_make_net()), "epoch": 3}
    (folder / "net.pth").write_bytes(save_torch(content))
    (folder / "old.pth").write_bytes(save_torch(content, legacy=True))


BIT = {"widths": (16, 16, 16, 16), "depths": (1, 1, 1, 1), "input_shape": (32, 32, 3)}


def _save_npz(folder: Path) -> None:
    from checkpoints import npz
    from test_readers import bit_names
    net = reskeras.ResNetV2_50x1BiT(weights=None, **{**SMALL, **BIT})
    (folder / "weights.npz").write_bytes(npz(bit_names(net)))
    np.savez(folder / "data.npz", x=_make_pixels(), y=np.arange(12) % 10)


# ---- images and records


def _make_pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 16, 16), "uint8")


def _make_images(suffix: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        from PIL import Image
        for i, pixels in enumerate(_make_pixels()):
            place = folder / "photos" / f"class {i % 2}"
            place.mkdir(parents=True, exist_ok=True)
            extra = {"quality": 90, "exif": _make_exif()} if suffix == "jpg" else {}
            image = Image.fromarray(np.stack([pixels] * 3, -1) if i % 3 else pixels)
            image.resize((40, 30)).save(place / f"photo{i}.{suffix}", **extra)
    return make


def _make_exif() -> Any:
    from PIL import Image
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def _predict(net: str, image: str = "image.png") -> Callable[[Path], object]:
    def predict(folder: Path) -> object:
        results = reskeras.predict(folder / net if net else _open_net(), folder / image)
        _print(reskeras.predict.__module__, results)
        if "error" in results[0]:
            raise Refusal(f"{results[0]['image']}: {results[0]['error']}")
        return results
    return predict


def _evaluate(data: str, **options: Any) -> Callable[[Path], object]:
    def evaluate(folder: Path) -> object:
        result = reskeras.evaluate(_open_net(), data.format(folder), **options)
        for is_json in (True, False):
            with contextlib.redirect_stdout(io.StringIO()):
                print_evaluation((result, is_json))
        if result.skipped:
            raise Refusal(", ".join(result.skipped))
        return result
    return evaluate


def _save_table(folder: Path) -> None:
    _make_images("png")(folder)
    rows = [f"photos/class {i % 2}/photo{i}.png;class {i % 10};{1 + i / 4}" for i in range(12)]
    (folder / "labels.csv").write_text("\n".join(["image;label;weight", *rows]))


def _fit_photos(folder: Path) -> object:
    return reskeras.fit("cifar_resnet20", f"folder:{folder / 'photos'}", "digits", verbose=0, **_FIT)


def _fit_records(folder: Path) -> object:
    return reskeras.fit("cifar_resnet20", f"tfrecord:{folder / _RECORDS}", "digits", classes=10, verbose=0,
                        **_FIT)


_FIT: dict[str, Any] = {
    "overrides": {"epochs": 1, "warmup": 0, "batch_size": 4, "size": 16, "augmentation": "resize(16)|flip"},
    "model_overrides": {"depths": (1,), "widths": (16,), "strides": (1,)}}


def _save_records(folder: Path) -> None:
    from reskeras.train.sources import from_arrays
    from reskeras.train.tfrecord import write_records
    write_records(from_arrays("arrays", _make_pixels(), np.arange(12) % 10), folder, shards=1)
    (folder / "train-00000-of-00001").rename(folder / "train.tfrecord")


# ---- exported files


def _export(name: str, **options: Any) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        from PIL import Image
        reskeras.export(_make_net(), folder / name, **options)
        Image.fromarray(_make_pixels()[0]).save(folder / "image.png")
    return make


def _export_tflite(folder: Path) -> None:
    _export("net.tflite")(folder)
    images = np.random.default_rng(1).uniform(size=(40, 16, 16, 1)).astype("float32")
    _export("int8.tflite", quantize="int8", calibration_data=images, strict=False)(folder)


def _verify(name: str) -> Callable[[Path], object]:
    """Verifies a file whose report has its own hash: an attacker changes both."""
    def verify(folder: Path) -> object:
        _correct_report(folder / name)
        report = reskeras.verify(folder / name)
        _print(reskeras.verify.__module__, [report])
        if not report.passed:
            raise Refusal(report.summary())
        return report
    return verify


def _correct_report(file: Path) -> None:
    from reskeras.exporters.formats import find_format
    from reskeras.exporters.measurements import compute_size_and_hash
    from reskeras.json_reader import parse_json
    report_file = file.with_name(f"{file.name}.json")
    try:
        report = parse_json(report_file.read_bytes(), "report")
    except ValueError:
        return
    if isinstance(report, dict) and isinstance(report.get("sha256"), str):
        size, digest = compute_size_and_hash(*find_format(file).files(file))
        text = report_file.read_bytes().replace(report["sha256"].encode(), digest.encode())
        report_file.write_bytes(text.replace(b'"bytes": %d' % report.get("bytes", 0), b'"bytes": %d' % size))


def _benchmark(name: str) -> Callable[[Path], object]:
    def benchmark(folder: Path) -> object:
        results = reskeras.benchmark([folder / name])
        _print(reskeras.benchmark.__module__, results)
        return results
    return benchmark


def _print(module: str, result: Any) -> None:
    """Prints a result as the shell does, as text and as JSON."""
    import importlib
    for is_json in (True, False):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            importlib.import_module(module).print_result(result, json=is_json)


# ---- run folders


def _save_runs(folder: Path) -> None:
    """A training run that is finished, and one of which an epoch is left."""
    for name, epochs in (("finished", 1), ("unfinished", 2)):
        shutil.rmtree(folder / "run", ignore_errors=True)
        reskeras.fit("cifar_resnet20", "digits", "digits", output=folder / "run", verbose=0,
                     overrides={"epochs": 1, "warmup": 0, "batch_size": 512, "size": 12,
                                "augmentation": "resize(12)|flip"},
                     model_overrides={"depths": (1,), "widths": (16,), "strides": (1,)})
        run_file = folder / "run" / "run.json"
        text = run_file.read_text()
        assert text.count('"epochs": 1') == 2
        run_file.write_text(text.replace('"epochs": 1', f'"epochs": {epochs}'))
        (folder / "run").rename(folder / name)


def _resume(name: str) -> Callable[[Path], object]:
    return lambda folder: reskeras.fit(resume=folder / name, verbose=0)


def _load_file(name: str) -> Callable[[Path], object]:
    return lambda folder: reskeras.load(folder / name)


_PNG, _JPEG, _RECORDS = "photos/class 0/photo0.png", "photos/class 0/photo0.jpg", "train.tfrecord"
_RUN_FILES = ("run.json", "checkpoint.npz", "last.keras")

FORMATS = {
    "weights.h5": FuzzedFormat(lambda folder: _make_net().save_weights(folder / "net.weights.h5"), (
        ("net.weights.h5", _load_weights("net.weights.h5")),)),
    "legacy h5": FuzzedFormat(_save_legacy_h5, (("net.h5", _load_weights("net.h5")),)),
    "npz": FuzzedFormat(_save_npz, (
        ("weights.npz", _load_weights("weights.npz", "ResNetV2_50x1BiT", **BIT)),
        ("data.npz", _evaluate("npz:{}/data.npz")))),
    "safetensors": FuzzedFormat(_save_safetensors, (("net.safetensors", _load_weights("net.safetensors")),)),
    "pth": FuzzedFormat(_save_torch, (
        ("net.pth", _load_weights("net.pth")), ("old.pth", _load_weights("old.pth")))),
    "keras": FuzzedFormat(lambda folder: _make_net().save(folder / "net.keras"), (
        ("net.keras", _load_file("net.keras")), ("net.keras", _load_weights("net.keras")))),
    "tflite": FuzzedFormat(_export_tflite, tuple(
        (name, call(name)) for call in (_predict, _verify, _predict, _verify, _benchmark)
        for name in ("net.tflite", "int8.tflite"))),
    "onnx": FuzzedFormat(_export("net.onnx"), tuple(
        ("net.onnx", call("net.onnx")) for call in (_predict, _verify, _predict, _verify, _benchmark))),
    "openvino": FuzzedFormat(_export("net.xml"), tuple(
        (name, call("net.xml")) for call in (_predict, _verify)
        for name in ("net.xml", "net.xml", "net.bin"))),
    "report": FuzzedFormat(_export("net.tflite"), tuple(
        (f"net.tflite{suffix}", call("net.tflite")) for suffix in (".json", ".npz")
        for call in (_verify, _predict))),
    "png": FuzzedFormat(_make_images("png"), (
        *[(_PNG, _predict("", _PNG))] * 6, *[(_PNG, _evaluate("folder:{}/photos"))] * 2,
        (_PNG, _fit_photos))),
    "jpeg": FuzzedFormat(_make_images("jpg"), (
        *[(_JPEG, _predict("", _JPEG))] * 6, *[(_JPEG, _evaluate("folder:{}/photos"))] * 2,
        (_JPEG, _fit_photos))),
    "table": FuzzedFormat(_save_table, tuple(
        ("labels.csv", _evaluate(f"table:{{}}/labels.csv{query}"))
        for query in ("", "", "?label=label&weight=weight", "?weight=weight"))),
    "tfrecord": FuzzedFormat(_save_records, (
        *[(_RECORDS, _evaluate("tfrecord:{}/" + _RECORDS))] * 8, (_RECORDS, _fit_records))),
    "run folder": FuzzedFormat(_save_runs, (
        *((f"{run}/{name}", _resume(run)) for run in ("unfinished", "finished") for name in _RUN_FILES),
        ("finished/log.csv", _resume("finished")))),
}
