"""`doctor`: versions, devices, and what each extra that is not installed would give."""
from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
from typing import Any

from .. import __version__
from ..json_writer import to_json
from ..terminal import print_text
from ..weights.cache import get_cache_folder
from .quiet import quiet_tensorflow

PACKAGES = ("keras", "tensorflow", "jax", "torch", "numpy", "h5py", "safetensors", "huggingface_hub",
            "pillow")
# What a user can do with an extra of setup.cfg
EXTRAS = {
    "demo": "reskeras demo: train, optimize, export and use a net on real images of digits",
    "pictures": "charts as .png, from compare and the examples",
    "torch": "train and compute with KERAS_BACKEND=torch",
    "train": "data sets by name (\"tfds:NAME\")",
    "export": "run .tflite files: export, verify, predict and benchmark",
    "onnx": "write and run .onnx files",
    "openvino": "write and run OpenVINO files (.xml)",
    "nncf": "int8 files for OpenVINO",
    "micro": "check .tflite files with TensorFlow Lite for Microcontrollers",
    "stablehlo": "write and run StableHLO files (.mlir)",
    "ethos-u": "what Arm's Ethos-U computes of a .tflite: export(target=\"ethos-u55-128\")",
    "completion": "the shell's completion of commands: reskeras --print-completion",
    "tensorboard": "the curves of a training in TensorBoard",
    "wandb": "record a training in Weights & Biases: loggers=[\"wandb\"]",
    "mlflow": "record a training in MLflow: loggers=[\"mlflow\"]",
    "heic": "read .heic photos, as phones write them",
    "datasets": "data sets of Hugging Face (\"hf:NAME\", datasets.Dataset)",
    "bands": "read TIFF files of many bands, and of floats",
    "remote": "paths in buckets: s3://, gs://",
    "dev": "what the tests, ruff and mypy need",
}


def doctor() -> dict[str, Any]:
    """What reskeras has to work with on this machine; a package that cannot be imported does not stop it.

    Returns:
        "reskeras", "python", "platform": versions; "cores": of the CPU; "packages": the version of each, or
        None if it is not installed; "backend": Keras' backend, "devices": those that it sees, "problem": why
        Keras cannot be imported, or None; "extras": the missing packages of each extra, by its name;
        "cache": the folder of downloaded weights.

    Example:
        >>> reskeras.doctor()["extras"]["onnx"]
        ['tf2onnx']
    """
    backend, devices, problem = _ask_keras()
    return {"reskeras": __version__, "python": platform.python_version(), "platform": platform.platform(),
            "cores": os.cpu_count(), "packages": {name: _find_version(name) for name in PACKAGES},
            "backend": backend, "devices": devices, "problem": problem, "extras": _find_missing_packages(),
            "cache": str(get_cache_folder())}


def print_result(report: dict[str, Any], json: bool = False) -> int:
    """Prints the report.  Returns: the exit code, 1 if Keras cannot be imported."""
    if json:
        print_text(to_json(report))
    else:
        print_text("\n".join(_format_report(report)))
    return 1 if report["problem"] else 0


def _format_report(report: dict[str, Any]) -> list[str]:
    lines = [f"reskeras {report['reskeras']}, Python {report['python']}, {report['platform']}, "
             f"{report['cores']} CPU cores"]
    lines += [f"  {name:16} {version or 'not installed'}" for name, version in report["packages"].items()]
    if report["problem"]:
        lines.append(f"Keras cannot be imported: {report['problem']}")
    else:
        lines.append(f"Keras computes with {report['backend']} on {', '.join(report['devices'])}")
    lines += [f"Downloaded weights: {report['cache']}", "Extras:"]
    for name, missing in report["extras"].items():
        state = f"needs {', '.join(missing)}: pip install \"reskeras[{name}]\"" if missing else "installed"
        lines.append(f"  {name:12} {state}" + (f"\n{'':15}for: {EXTRAS[name]}" if missing else ""))
    return lines


def _ask_keras() -> tuple[str | None, list[str], str | None]:
    """Keras' backend, its devices, and why it cannot be imported, as the first line of the error."""
    try:
        with quiet_tensorflow():
            keras = importlib.import_module("keras")
            return keras.backend.backend(), list(keras.distribution.list_devices()), None
    # a broken installation raises what it likes: ImportError, AttributeError, a linker's OSError, ...
    except Exception as error:
        message = (str(error).strip() or "no message").splitlines()[0]
        return None, [], f"{type(error).__name__}: {message}"


def _find_version(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _find_missing_packages() -> dict[str, list[str]]:
    """The packages of each extra that are not installed, by the metadata of the installed reskeras."""
    missing: dict[str, list[str]] = {name: [] for name in EXTRAS}
    try:
        requirements = importlib.metadata.requires("reskeras") or []
    except importlib.metadata.PackageNotFoundError:     # a checkout on sys.path that pip did not install
        return missing
    for requirement in requirements:
        package = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", requirement)
        if package and extra and extra[1] in missing and _find_version(package[0]) is None:
            missing[extra[1]].append(package[0])
    return missing
