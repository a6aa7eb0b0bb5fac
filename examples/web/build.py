"""Makes a page that runs an exported net in a browser: on a dropped image, without a server that computes.

    python examples/web/build.py saved_models/cifar_resnet20.digits.int8.tflite web
    python -m http.server --directory web          # then open http://localhost:8000

A .tflite file is run by LiteRT.js, an .onnx file by ONNX Runtime Web; `npm` downloads the runtime.  The page,
the net and the runtime are then plain files, for any web server.
"""
from __future__ import annotations

import argparse
import json
import pathlib
import shutil
import subprocess
import tarfile
import tempfile
from typing import Any

import reskeras
from reskeras.exporters.exported_metadata import read_exported_metadata
from reskeras.images.labels import get_label_set

HERE = pathlib.Path(__file__).parent
# package -> the files of it that the page loads
RUNTIMES = {
    ".tflite": {"@litertjs/core@2.5.3": ("dist/index.js", "wasm/litert_wasm_internal.js",
                                         "wasm/litert_wasm_internal.wasm",
                                         "wasm/litert_wasm_compat_internal.js",
                                         "wasm/litert_wasm_compat_internal.wasm"),
                "@litertjs/wasm-utils@2.5.3": ("dist/index.js",)},
    ".onnx": {"onnxruntime-web@1.30.0": ("dist/ort.wasm.min.mjs", "dist/ort-wasm-simd-threaded.mjs",
                                         "dist/ort-wasm-simd-threaded.wasm")}}


def download_runtime(package: str, files: tuple[str, ...], folder: pathlib.Path) -> None:
    """Takes some files of an npm package."""
    name = package.rpartition("@")[0].rpartition("/")[2]
    with tempfile.TemporaryDirectory() as place:
        packed = subprocess.run(["npm", "pack", "--silent", package], cwd=place, check=True, text=True,
                                stdout=subprocess.PIPE).stdout.split()[-1]
        with tarfile.open(pathlib.Path(place, packed)) as archive:
            for file in files:
                target = folder / name / file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.extractfile(f"package/{file}").read())


def describe_net(file: pathlib.Path) -> dict[str, Any]:
    """What the page must know: how images are prepared, the classes, the types of a quantized file."""
    metadata = read_exported_metadata(file)
    if metadata.preprocessing is None:
        raise SystemExit(f"{file} says nothing about its images: export it with preprocessing=")
    labels = metadata.labels or ()
    names = [name for _, name in get_label_set(labels)] if isinstance(labels, str) else list(labels)
    net = {"file": f"net{file.suffix}", "labels": names, "scales": metadata.includes_preprocessing,
           "preprocessing": metadata.preprocessing.get_config()}
    if file.suffix == ".tflite":
        from ai_edge_litert.interpreter import Interpreter
        interpreter = Interpreter(model_path=str(file))
        for side, (details,) in (("input", interpreter.get_input_details()),
                                 ("output", interpreter.get_output_details())):
            scale, zero_point = details["quantization"]
            net[side] = {"type": details["dtype"].__name__, "scale": scale, "zero_point": zero_point}
    return net


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path, help="a .tflite or .onnx file of reskeras.export")
    parser.add_argument("folder", type=pathlib.Path, nargs="?", default=pathlib.Path("web"))
    options = parser.parse_args()
    if options.file.suffix not in RUNTIMES:
        raise SystemExit(f"{options.file}: expected a .tflite or .onnx file")
    net = describe_net(options.file)
    options.folder.mkdir(parents=True, exist_ok=True)
    for package, files in RUNTIMES[options.file.suffix].items():
        download_runtime(package, files, options.folder / "runtime")
    for name in ("index.html", "prepare.js", "run.js"):
        shutil.copy(HERE / name, options.folder)
    shutil.copy(options.file, options.folder / net["file"])
    (options.folder / "net.json").write_text(json.dumps(net, ensure_ascii=False), encoding="utf-8")
    print(f"python -m http.server --directory {options.folder}     (reskeras {reskeras.__version__})")


if __name__ == "__main__":
    main()
