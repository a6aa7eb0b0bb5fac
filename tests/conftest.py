import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--accept", action="store_true", help="write golden files instead of comparing with them")


@pytest.fixture
def accept(request):
    return request.config.getoption("--accept")
