"""The page of `examples/web` in Chromium, against Keras' scores.  `tox -e browser` runs it."""
import functools
import http.server
import pathlib
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

import reskeras

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "commands"))

from browser import CHROMIUM, QUIET  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The net that comes with the package as three files, and ten images of digits."""
    from PIL import Image
    from reskeras.commands.digits import load_digits
    folder, test = tmp_path_factory.mktemp("web"), load_digits()[2]
    net = reskeras.create("cifar_resnet20.digits")
    reskeras.export(net, folder / "float.tflite")
    reskeras.export(net, folder / "int8.tflite", quantize="int8", io="uint8", strict=False,
                    calibration_data=test.pixels[:64])
    reskeras.export(net, folder / "float.onnx")
    for i in range(10):
        Image.fromarray(test.pixels[i, ..., 0]).save(folder / f"{i}.png")
    return folder, net


def serve(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.mark.parametrize("name, tolerance", [("float.tflite", 1e-3), ("float.onnx", 1e-3),
                                             ("int8.tflite", 0.05)])
def test_the_page_scores_as_keras(digits, name, tolerance, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM or not shutil.which("npm"):
        pytest.skip("needs Chromium and npm")
    folder, net = digits
    build = ROOT / "examples" / "web" / "build.py"
    subprocess.run([sys.executable, build, folder / name, tmp_path], check=True)
    files = [folder / f"{i}.png" for i in range(10)]
    expected = np.array(net(np.concatenate([np.array(reskeras.get_preprocessing(net)(str(file)))
                                            for file in files]))).max(1)
    labels = [prediction["predictions"][0]["label"] for prediction in reskeras.predict(net, files)]

    server, complaints = serve(tmp_path), []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        tab = browser.new_page()
        tab.set_default_timeout(180_000)
        # LiteRT writes all of its log to stderr, which is the console's errors
        tab.on("console", lambda m: complaints.append(m.text) if m.type == "error"
               and not m.text.startswith(("INFO:", "WARNING:")) else None)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(f"http://127.0.0.1:{server.server_port}")
        tab.get_by_text("Ready").wait_for()
        for file, label, score in zip(files, labels, expected):
            tab.set_input_files("input", file)
            tab.get_by_text(f"{file.name}: ").wait_for()
            best = tab.locator("#predictions li").first
            assert best.inner_text().startswith(f"{label} ")
            assert abs(float(best.get_attribute("data-score")) - score) < tolerance
        (tmp_path / "no image.png").write_bytes(b"not an image")
        tab.set_input_files("input", tmp_path / "no image.png")
        tab.get_by_text("cannot be classified").wait_for()
        browser.close()
    server.shutdown()
    assert not complaints
