import gc
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--accept", action="store_true", help="write golden files instead of comparing with them")


@pytest.fixture(autouse=True, scope="module")
def unseen_by_the_garbage_collector():
    """What is there before a module's tests: of all that TensorFlow and Keras hold each collection would take a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def accept(request):
    return request.config.getoption("--accept")


@pytest.fixture
def holds(accept):
    """Holds a page of the repository to what it has between the comments `mark` and `end`; --accept writes it there."""
    def check(page, mark, end, text):
        file, begin, end = pathlib.Path(__file__).parents[1] / page, f"<!-- {mark} -->\n", f"<!-- {end} -->"
        before, after = file.read_text().split(begin)[0], file.read_text().split(end)[1]
        wanted = before + begin + text + "\n" + end + after
        if accept:
            file.write_text(wanted)
        assert file.read_text() == wanted
    return check
