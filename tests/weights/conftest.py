import pytest
import server as servers
from huggingface_hub import constants

from reskeras import catalog
from reskeras.weights import download, fetch, load, table


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A local server in the place of the hub and of every other host, and empty caches; no pause between attempts."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(fetch, "BACKOFF", 0.01)
    monkeypatch.setattr(download, "TIMEOUT", (2, 0.4))
    with servers.running() as state:
        monkeypatch.setattr(constants, "ENDPOINT", state.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE",
                            state.url + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setenv("HF_ENDPOINT", state.url)
        monkeypatch.setenv("RESKERAS_MIRROR", state.url)
        yield state


@pytest.fixture(autouse=True)
def silent_again(monkeypatch):
    """Each test hears what is said once."""
    monkeypatch.setattr(load, "SAID", set())


@pytest.fixture
def rows(monkeypatch):
    """Adds made-up checkpoints to the table for one test: rows(Weights, ...)."""
    caches = [table.tags, table.nets, table.by_id, table.by_name, catalog.sources]
    known = table.table()

    def add(*more):
        monkeypatch.setattr(table, "table", lambda: (*known, *more))
        for cached in caches:
            cached.cache_clear()

    yield add
    monkeypatch.undo()
    for cached in caches:
        cached.cache_clear()
