import dataclasses
import hashlib
import importlib.machinery
import sys
import types
from urllib.parse import urlsplit

import pytest
import server as servers
from huggingface_hub import constants, file_download

from reskeras import catalog
from reskeras.weights import download, fetch, load, table
from reskeras.weights.table import get_weights


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A local server in the place of the hub and of every other host, and empty caches; no pause between attempts."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True, raising=False)      # since 0.31
    monkeypatch.setattr(fetch, "BACKOFF", 0.01)
    monkeypatch.setattr(download, "TIMEOUT", (5, 5))
    with servers.running() as state:
        monkeypatch.setattr(constants, "ENDPOINT", state.url)
        for module in (constants, file_download):       # before version 1 the second has a copy
            monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE",
                                state.url + "/{repo_id}/resolve/{revision}/{filename}", raising=False)
        monkeypatch.setenv("HF_ENDPOINT", state.url)
        monkeypatch.setenv("RESKERAS_MIRROR", state.url)
        yield state


@pytest.fixture(autouse=True)
def silent_again(monkeypatch):
    """Each test hears what is said once."""
    monkeypatch.setattr(load, "_LOGGED", set())


@pytest.fixture
def rows(monkeypatch):
    """Adds made-up checkpoints to the table for one test: rows(Weights, ...)."""
    caches = [table.get_checkpoints, table.get_source_nets, table._checkpoints_by_id, table._checkpoints_by_name, catalog.list_source_names]
    known = table.list_checkpoints()

    def add(*more):
        monkeypatch.setattr(table, "list_checkpoints", lambda: (*known, *more))
        for cached in caches:
            cached.cache_clear()

    yield add
    monkeypatch.undo()
    for cached in caches:
        cached.cache_clear()


@pytest.fixture
def torch(monkeypatch):
    """A stand-in for PyTorch whose load returns `torch.content` and notes how it was called."""
    module = types.ModuleType("torch")
    module.__spec__ = importlib.machinery.ModuleSpec("torch", None)
    module.__version__, module.calls = "2.6.0+cpu", []
    module.load = lambda file, **how: module.calls.append(how) or module.content
    monkeypatch.setitem(sys.modules, "torch", module)
    return module


@pytest.fixture
def published(server, rows):
    """Puts bytes where a row of the table has its file, and the row's checksum right."""
    def put(name, data):
        row = get_weights(name)
        server.files[f"/{row.repo}/{row.file}" if row.repo else urlsplit(row.url).path] = data
        sha256, md5 = hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest()
        digests = {"sha256": sha256, "sha256_prefix": sha256[:8], "md5": md5}
        right = {field: value for field, value in digests.items() if getattr(row, field)}
        tag = f"{row.tag}_test"
        rows(dataclasses.replace(row, tag=tag, id=f"{row.source_net}.{tag}", is_default=False, **right))
        return f"{row.source_net}.{tag}"
    return put
