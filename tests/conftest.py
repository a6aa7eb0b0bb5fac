import gc
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Neither OpenVINO nor ONNX Runtime reports the tests to a server; see exporters/openvino.py and onnx.py
sys.modules.setdefault("openvino_telemetry", None)
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import pytest  # noqa: E402

ROOT = pathlib.Path(__file__).parents[1]


def pytest_addoption(parser):
    parser.addoption(
        "--accept", action="store_true", help="write golden files instead of comparing with them")


@pytest.fixture(autouse=True, scope="module")
def unseen_by_the_garbage_collector():
    """What is there before a module's tests: of all that TensorFlow and Keras hold each collection would take
    a second.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def without_determinism():
    """`fit(deterministic=True)` applies to the rest of a process, and Keras then compiles nothing by XLA."""
    yield
    if "tensorflow" in sys.modules:
        from tensorflow.python.framework import config
        if config.is_op_determinism_enabled():
            config.disable_op_determinism()


def find_external_file(name):
    """The file `name` in one of the folders with data from outside the repository; None where there are no
    such data.

    The environment variable RESKERAS_TEST_DATA names the folder; its subfolders `data` and `facts` and the
    folder `facts` beside it are read too.  Without the variable it is `../shared/data`, seen from the
    checkout.

    Raises:
        FileNotFoundError: where the variable is set or the folder exists, and the file is not there.
    """
    variable = os.environ.get("RESKERAS_TEST_DATA")
    place = pathlib.Path(variable or ROOT.parent / "shared" / "data")
    folders = [place, place / "data", place / "facts", place.parent / "facts"]
    file = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if file is None and (variable or place.is_dir()):
        raise FileNotFoundError(f"{name} is in none of {', '.join(map(str, folders))}")
    return file


@pytest.fixture(scope="session")
def external_file():
    """external_file(name): the path of a file from outside the repository.  Without such data the test is
    skipped, and says so; where there are some, a missing file is a failure.
    """
    def find(name):
        file = find_external_file(name)
        if file is None:
            pytest.skip(f"{name} was not found: set RESKERAS_TEST_DATA to the folder that holds it")
        return file
    return find


@pytest.fixture
def accept(request):
    return request.config.getoption("--accept")


@pytest.fixture
def holds(accept):
    """Holds a page of the repository to what it has between the comments `mark` and `end`; --accept writes it
    there.
    """
    def check(page, mark, end, text):
        file, begin, end = ROOT / page, f"<!-- {mark} -->\n", f"<!-- {end} -->"
        before, after = file.read_text().split(begin)[0], file.read_text().split(end)[1]
        wanted = before + begin + text + "\n" + end + after
        if accept:
            file.write_text(wanted)
        assert file.read_text() == wanted
    return check


@pytest.fixture
def initial_zeros(monkeypatch):
    """Kernels begin with zeros: for tests that set every weight, so that no time goes into random numbers."""
    import keras
    monkeypatch.setattr(keras.initializers.VarianceScaling, "__call__",
                        lambda self, shape, dtype=None, **_: keras.ops.zeros(shape, dtype))
