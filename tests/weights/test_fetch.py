"""Getting a file, through the public call: what is asked of the server, and what a person is told."""
import dataclasses
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import time

import pytest
from checkpoints import SMALL, npz, randomized, safetensors, same
from huggingface_hub import constants
from test_layouts import bit_names

import reskeras
from reskeras.weights import download, fetch
from reskeras.weights.table import get_weights

HUB, FILE = "timm/resnet50.am_in1k", "/timm/resnet50.am_in1k/model.safetensors"
URL, PATH = "google/R50x1.bit_s", "/bit_models/BiT-S-R50x1.npz"


def net(name=HUB, **fields):
    return reskeras.create(name, **{**SMALL, "input_shape": (64, 64, 3), **fields})


@pytest.fixture(scope="module")
def hub_net():
    return randomized(net("timm/resnet50", weights=None))


@pytest.fixture(scope="module")
def bit_net():
    return randomized(net("resnetv2_50x1_bit", weights=None, width=0.5))


@pytest.fixture
def both(server, hub_net, bit_net):
    """The server with a checkpoint of the hub and one of another host."""
    server.files |= {FILE: safetensors(hub_net), PATH: npz(bit_names(bit_net))}
    return server


def bit():
    return net(URL, width=0.5)


def test_hub(both, hub_net):
    same(net(), hub_net)
    sent = both.sent()
    assert sent == len(both.files[FILE])
    requests = len(both.log)
    same(net(), hub_net)
    assert both.sent() == sent and len(both.log) == requests        # not even a HEAD


def test_url(both, bit_net):
    same(bit(), bit_net)
    assert [r.status for r in both.gets(PATH)] == [200]
    requests = len(both.log)
    same(bit(), bit_net)
    assert len(both.log) == requests


def test_where_a_file_lies(both, tmp_path):
    bit()
    assert (tmp_path / "keras/reskeras/google/BiT-S-R50x1.npz").is_file()
    assert fetch.cached(get_weights(URL)) == fetch.place_of(get_weights(URL))
    assert fetch.verify(get_weights(URL)) == hashlib.sha256(both.files[PATH]).hexdigest()
    assert fetch.cached(get_weights(HUB)) is None
    with pytest.raises(FileNotFoundError, match="not in the cache"):
        fetch.verify(get_weights(HUB))
    assert not list(tmp_path.rglob("*.part*"))


def test_goes_on_after_a_cut(both, bit_net):
    both.faults[PATH] = [("cut", 100_000), ("cut", 50_000)]
    same(bit(), bit_net)
    first, second, third = [int(r.range[6:-1] or 0) for r in both.gets(PATH)]
    assert (first, second) == (0, 100_000 // download.CHUNK * download.CHUNK)
    assert third == second + 50_000 // download.CHUNK * download.CHUNK


def test_goes_on_after_a_cut_of_the_hub(both, hub_net):
    both.faults[FILE] = [("cut", 100_000)]
    same(net(), hub_net)
    assert len(both.gets(FILE)) == 2        # the hub's library keeps whole pieces of 10 MB


def test_starts_anew_where_the_file_changed_meanwhile(both, bit_net, tmp_path):
    place = fetch.place_of(get_weights(URL))
    place.parent.mkdir(parents=True)
    place.with_name(place.name + ".part").write_bytes(b"half of another file")
    place.with_name(place.name + ".part.version").write_text('"of another file"')
    same(bit(), bit_net)
    assert [(r.range, r.status) for r in both.gets(PATH)] == [("bytes=20-", 200)]


def test_without_etags_nothing_is_gone_on_with(both, bit_net):
    both.etags, both.faults[PATH] = False, [("cut", 100_000)]
    same(bit(), bit_net)
    assert [r.range for r in both.gets(PATH)] == ["", ""]


def test_more_than_the_file_has(both, bit_net):
    place = fetch.place_of(get_weights(URL))
    place.parent.mkdir(parents=True)
    place.with_name(place.name + ".part").write_bytes(both.files[PATH] + b"more")
    place.with_name(place.name + ".part.version").write_text(f'"{hashlib.sha256(both.files[PATH]).hexdigest()}"')
    same(bit(), bit_net)
    assert [r.status for r in both.gets(PATH)] == [416, 200]


@pytest.mark.parametrize("name, path, make", [(HUB, FILE, net), (URL, PATH, bit)])
def test_unavailable_then_there(both, name, path, make):
    both.faults[path] = [503, 503]
    make()
    assert len(both.log) >= 3 and both.sent() == len(both.files[path])


@pytest.mark.parametrize("name, path, make", [(HUB, FILE, net), (URL, PATH, bit)])
def test_not_found(both, name, path, make):
    del both.files[path]
    weights = get_weights(name)
    with pytest.raises(OSError, match="404") as error:
        make()
    assert len(both.log) <= 2       # no second attempt
    assert f"{both.url}{path.replace('/model', '/resolve/main/model')}" in str(error.value)
    assert str(fetch.place_of(weights)) in str(error.value)


def test_slow_server(both, bit_net, monkeypatch):
    both.faults[PATH] = [("slow", 50_000, 0.2), ("slow", 100_000, 1.0)]
    monkeypatch.setattr(download, "TIMEOUT", (2, 0.1))
    same(bit(), bit_net)
    deadline = time.monotonic() + 5
    while len(both.gets(PATH)) < 3 and time.monotonic() < deadline:     # a slow answer is noted at its end
        time.sleep(0.05)
    assert len(both.gets(PATH)) == 3 and sorted(r.range == "" for r in both.gets(PATH)) == [False, False, True]


def test_server_that_stays_away(both):
    both.faults[PATH] = [503] * 99
    with pytest.raises(OSError, match="503 Server Error.*put the file at"):
        bit()
    assert len(both.gets(PATH)) == download.ATTEMPTS


@pytest.mark.parametrize("field, digest", [("sha256", "sha256"), ("sha256_prefix", "sha256"), ("md5", "md5")])
def test_wrong_bytes(both, rows, field, digest, bit_net):
    right = hashlib.new(digest, both.files[PATH]).hexdigest()[:8 if field == "sha256_prefix" else None]
    row = dataclasses.replace(get_weights(URL), tag="test", id="google/R50x1.test", **{field: right})
    rows(row)
    good, both.files[PATH] = both.files[PATH], b"no weights at all"
    wrong = hashlib.new(digest, b"no weights at all").hexdigest()
    with pytest.raises(ValueError, match=f"expected {digest}.* {right}, got {wrong}") as error:
        net("google/R50x1.test", width=0.5)
    assert f"{both.url}{PATH}" in str(error.value)
    assert not [f for f in fetch.place_of(row).parent.iterdir() if f.suffix in (".npz", ".part")]      # deleted
    both.files[PATH] = good
    same(net("google/R50x1.test", width=0.5), bit_net)


def test_wrong_bytes_of_the_hub(both, rows):
    row = dataclasses.replace(get_weights(HUB), tag="test", id="timm/resnet50.test", sha256="ab" * 32)
    rows(row)
    with pytest.raises(ValueError, match=f"expected sha256 {'ab' * 32}"):
        net("timm/resnet50.test")
    assert not [f for f in pathlib.Path(constants.HF_HUB_CACHE).rglob("*") if f.is_file() and f.stat().st_size > 10_000]


def test_bytes_that_the_hub_itself_disowns(both):
    both.etag_of[FILE] = "cd" * 32
    with pytest.raises(ValueError, match=f"expected sha256 by the server {'cd' * 32}"):
        net()


@pytest.mark.parametrize("path, make", [(FILE, net), (PATH, bit)])
def test_a_later_change_is_refused(both, path, make, hub_net, bit_net, tmp_path):
    make()
    for file in [f for f in tmp_path.rglob("*") if f.stat().st_size > 100_000]:
        file.unlink()       # the cache was emptied, but for the notes
    both.files[path] = both.files[path][:-1] + b"x"
    with pytest.raises(ValueError, match="as first received"):
        make()


def test_a_file_that_rots_is_noticed(both):
    bit()
    place = fetch.place_of(get_weights(URL))
    place.write_bytes(place.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="as first received.*the file was deleted"):
        bit()
    bit()


@pytest.mark.parametrize("name, path, make", [(HUB, FILE, net), (URL, PATH, bit)])
def test_offline(both, monkeypatch, name, path, make):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    place = fetch.place_of(get_weights(name))
    with pytest.raises(OSError) as error:
        make()
    assert both.log == [] and both.url in str(error.value) and f"put the file at {place}" in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(both.files[path])     # by hand, where the message said
    make()
    assert both.log == []


@pytest.mark.parametrize("make", [net, bit])
def test_offline_with_the_cache(both, monkeypatch, make):
    make()
    requests = len(both.log)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    make()
    assert len(both.log) == requests


def test_nobody_listens(both, monkeypatch):
    monkeypatch.setenv("RESKERAS_MIRROR", "http://127.0.0.1:1")
    with pytest.raises(OSError, match=r"cannot be downloaded from http://127.0.0.1:1/bit_models.*\(.*refused\)"):
        bit()


def test_pinned_revision(both, rows):
    rows(dataclasses.replace(get_weights(HUB), tag="test", id="timm/resnet50.test", revision="f" * 40))
    net("timm/resnet50.test")
    assert {r.path for r in both.log} == {f"/timm/resnet50.am_in1k/resolve/{'f' * 40}/model.safetensors"}


def test_eight_processes_at_once(both, tmp_path):
    """One transfer; the others wait and find it."""
    code = ("import json, sys; from reskeras.weights.table import get_weights; from reskeras.weights.fetch import fetch;"
            "print(json.dumps([str(fetch(get_weights(n))) for n in sys.argv[1:]]))")
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1",
                   "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    both.faults = {PATH: [("slow", 1000, 0.1)]}
    processes = [subprocess.Popen([sys.executable, "-c", code, HUB, URL], env=environment, stdout=subprocess.PIPE, text=True)
                 for _ in range(8)]
    outputs = [p.communicate(timeout=120)[0] for p in processes]
    assert [p.returncode for p in processes] == [0] * 8
    files = {tuple(json.loads(out.splitlines()[-1])) for out in outputs}
    assert len(files) == 1
    for file, path in zip(files.pop(), (FILE, PATH)):
        assert pathlib.Path(file).read_bytes() == both.files[path]
    assert both.sent() == len(both.files[FILE]) + len(both.files[PATH])
