"""The examples' own image preparation, in NumPy, JavaScript and Kotlin, against the library's.

Kotlin's compiler comes with the package kotlin-jupyter-kernel (`tox -e kotlin`).
"""
import functools
import importlib.util
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

import numpy as np
import pytest

import reskeras

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
KOTLIN_CODE = EXAMPLES / "android" / "app" / "src"
SPECS = [reskeras.Preprocessing(size, pixels=pixels, mean=mean, std=std, interpolation=interpolation,
                                crop_pct=crop_pct, crop_mode=crop_mode)
         for size, pixels, mean, std, interpolation, crop_pct, crop_mode in [
             ((32, 32), "torch", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear", 1.0, "center"),
             ((32, 32), "torch", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bicubic", 0.875, "center"),
             ((32, 48), "tf", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic", 0.9, "center"),
             ((40, 32), "caffe", (103.939, 116.779, 123.68), (1.0, 1.0, 1.0), "bilinear", 1.0, "squash"),
             ((32, 32), "raw", (120.0, 121.0, 122.0), (1.0, 1.0, 1.0), "bicubic", 1.0, "border"),
             ((16, 16), "torch", (0.0,), (1.0,), "bilinear", 1.0, "center")]]


def make_photos(count, largest):
    """Parts of two real photos, enlarged to sizes of up to `largest` pixels, with a camera's noise."""
    from PIL import Image
    from sklearn.datasets import load_sample_images
    sources, rng = [Image.fromarray(image) for image in load_sample_images().images], np.random.default_rng(0)
    for i in range(count):
        pixels = largest if i % 20 == 19 else rng.uniform(0.003, 0.1) * largest
        proportion = rng.uniform(0.5, 2)
        width, height = (max(2, round(side)) for side in ((pixels * proportion) ** 0.5,
                                                          (pixels / proportion) ** 0.5))
        left, top = rng.integers(0, 300), rng.integers(0, 200)
        image = sources[i % 2].resize((width, height), Image.Resampling.BICUBIC,
                                      box=(left, top, left + 340, top + 227))
        noise = rng.integers(-6, 7, (min(height, 64), width, 3))
        pixels = np.array(image).astype(int)
        pixels[:len(noise)] += noise
        yield pixels.clip(0, 255).astype("uint8")


def encode(photos, specs):
    """The photos and what is to be done with each, as the programs read them."""
    yield struct.pack(">i", len(photos))
    for photo, spec in zip(photos, specs):
        yield struct.pack(">3i", *spec.size, len(spec.mean))
        for word in (spec.pixels, spec.interpolation, spec.crop_mode):
            yield struct.pack(">H", len(word)) + word.encode()
        yield struct.pack(f">{2 * len(spec.mean)}fd", *spec.mean, *spec.std, spec.crop_pct)
        yield struct.pack(">2i", *photo.shape[:2]) + photo.tobytes()


def decode(data, specs):
    """Pixels and values of each photo."""
    numbers, at, results = np.frombuffer(data, ">f4"), 0, []
    for spec in specs:
        shape = (2, *spec.size, len(spec.mean))
        results.append(numbers[at:at + np.prod(shape)].reshape(shape))
        at += np.prod(shape)
    assert at == len(numbers)
    return results


def prepare_in_numpy(photos, specs):
    pytest.importorskip("ai_edge_litert")
    sys.path.insert(0, str(EXAMPLES))
    from export_edge import normalize, resize_and_crop
    configs = [spec.get_config() for spec in specs]
    pixels = [resize_and_crop(photo, config) for photo, config in zip(photos, configs)]
    return [(x, normalize(x, config)) for x, config in zip(pixels, configs)]


def prepare_in_javascript(photos, specs):
    if not shutil.which("node"):
        pytest.skip("needs node")
    run = subprocess.run(["node", EXAMPLES / "web" / "prepare_photos.mjs"], check=True,
                         input=b"".join(encode(photos, specs)), stdout=subprocess.PIPE)
    return decode(run.stdout, specs)


@functools.cache
def compile_kotlin():
    """What runs a program of the example: Java, and where the classes are."""
    kernel = importlib.util.find_spec("run_kotlin_kernel")
    if not kernel or not shutil.which("java"):
        pytest.skip("needs java and kotlin-jupyter-kernel")
    jars = sorted(map(str, pathlib.Path(kernel.origin).parent.glob("jars/*.jar")))
    standard, folder = next(jar for jar in jars if "kotlin-stdlib" in jar), tempfile.mkdtemp()
    subprocess.run(["java", "-cp", os.pathsep.join(jars), "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler",
                    "-no-stdlib", "-no-reflect", "-cp", standard, "-d", folder,
                    *map(str, sorted(KOTLIN_CODE.rglob("reskeras/preparation/*.kt")))], check=True)
    return ["java", "-cp", os.pathsep.join([folder, standard])]


def prepare_in_kotlin(photos, specs):
    run = subprocess.run([*compile_kotlin(), "reskeras.preparation.PreparePhotosKt"], check=True,
                         input=b"".join(encode(photos, specs)), stdout=subprocess.PIPE)
    return decode(run.stdout, specs)


def compare(results, photos, specs, worst=1.0):
    """Each photo is within `worst` gray levels of the library's on average, and so are the values."""
    for number, ((pixels, values), photo, spec) in enumerate(zip(results, photos, specs)):
        expected = np.array(spec.without_scaling()(photo))[0]
        assert np.abs(pixels - expected).mean() <= worst, (number, photo.shape, spec)
        unit = 1 if spec.pixels in ("caffe", "raw") else 255 * min(spec.std)
        assert np.abs(values - np.array(spec(photo))[0]).mean() * unit <= worst, (number, spec)


@pytest.mark.parametrize("prepare", [prepare_in_numpy, prepare_in_javascript])
def test_some_photos(prepare):
    photos = list(make_photos(18, 400_000))
    specs = [SPECS[i % len(SPECS)] for i in range(len(photos))]
    compare(prepare(photos, specs), photos, specs)


@pytest.mark.slow
@pytest.mark.parametrize("prepare", [prepare_in_numpy, prepare_in_javascript, prepare_in_kotlin])
def test_200_photos_up_to_12_megapixels(prepare):
    """On average within one level of the library's pixels; a trained net's class is the same for 99 %."""
    photos = list(make_photos(200, 12_000_000))
    specs = [SPECS[i % len(SPECS)] for i in range(len(photos))]
    compare(prepare(photos, specs), photos, specs)

    net = reskeras.create("cifar_resnet20.digits")
    gray = SPECS[-1]
    values = np.stack([values for _, values in prepare(photos, [gray] * len(photos))]).astype("float32")
    ours = np.argmax(net(values), axis=1)
    expected = np.argmax(net(np.concatenate([np.array(gray(photo)) for photo in photos])), axis=1)
    assert np.mean(ours == expected) >= 0.99


@pytest.mark.slow
def test_the_app_reads_the_metadata(tmp_path):
    """Class names in any script, numbers and words, from files of two types."""
    names = ["雪", 'a "b"\\c', "é\t", "x"]
    net = reskeras.create("cifar_resnet20", weights=None, depths=(1, 1, 1), classes=4,
                          input_shape=(24, 40, 3))
    spec = reskeras.Preprocessing((24, 40), crop_pct=0.9, crop_mode="border")
    net = reskeras.set_metadata(net, preprocessing=spec, labels=names)
    pixels = np.random.default_rng(0).integers(0, 256, (32, 24, 40, 3), "uint8")
    expected = {"float16": "24 40 torch bicubic 0.9 border|0.485 0.456 0.406 / 0.229 0.224 0.225 / false",
                # it takes pixels, and normalizes them inside
                "int8": "24 40 raw bicubic 0.9 border|124.0 116.0 104.0 / 1.0 1.0 1.0 / true"}
    for quantize, lines in expected.items():
        more = {"io": "uint8", "calibration_data": pixels} if quantize == "int8" else {}
        reskeras.export(net, tmp_path / "net.tflite", quantize=quantize, strict=False, **more)
        program = ["-Dstdout.encoding=UTF-8", "reskeras.preparation.PrintMetadata"]
        run = subprocess.run([*compile_kotlin(), *program, str(tmp_path / "net.tflite")], check=True,
                             stdout=subprocess.PIPE)
        assert run.stdout.decode().rstrip("\n").split("\n") == ["|".join(names), *lines.split("|")]
