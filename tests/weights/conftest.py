import dataclasses
import hashlib
from urllib.parse import urlsplit

import pytest
import server as servers
from huggingface_hub import constants, file_download

from reskeras import catalog
from reskeras.weights import download, fetch, load, table
from reskeras.weights.table import get_weights


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A local server in the place of the hub and of every other host; empty caches, short pauses."""
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
def forget_messages(monkeypatch):
    """Messages that are given once are given again in each test."""
    monkeypatch.setattr(load, "_LOGGED", set())


@pytest.fixture
def add_checkpoints(monkeypatch):
    """Adds made-up checkpoints to the table for one test: add_checkpoints(Checkpoint, ...)."""
    caches = [
        table.get_checkpoints,
        table.get_source_nets,
        table._checkpoints_by_id,
        table._checkpoints_by_name,
        catalog.list_source_names,
    ]
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
def published(server, add_checkpoints):
    """Puts bytes where a checkpoint of the table has its file, with the right checksum."""
    def put(name, data):
        checkpoint = get_weights(name)
        server.files[
            f"/{checkpoint.repo}/{checkpoint.file}" if checkpoint.repo else urlsplit(checkpoint.url).path
        ] = data
        sha256, md5 = hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest()
        digests = {"sha256": sha256, "sha256_prefix": sha256[:8], "md5": md5}
        right = {field: value for field, value in digests.items() if getattr(checkpoint, field)}
        tag = f"{checkpoint.tag}_test"
        add_checkpoints(
            dataclasses.replace(
                checkpoint, tag=tag, id=f"{checkpoint.source_net}.{tag}", is_default=False, **right
            )
        )
        return f"{checkpoint.source_net}.{tag}"
    return put
