"""Getting a file, through the public call: what is asked of the server, and what a person is told."""
import dataclasses
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from checkpoints import SMALL, npz, randomized, safetensors, same
from huggingface_hub import constants
from test_readers import bit_names

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


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def forget(server, name):
    """Empties the caches and the server's log."""
    for folder in (fetch.get_cache_folder(), pathlib.Path(constants.HF_HUB_CACHE)):
        shutil.rmtree(folder, ignore_errors=True)
    server.log.clear()


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
    assert fetch.find_cached_file(get_weights(URL)) == fetch.get_cache_path(get_weights(URL))
    assert fetch.verify_cached_file(get_weights(URL)) == hashlib.sha256(both.files[PATH]).hexdigest()
    assert fetch.find_cached_file(get_weights(HUB)) is None
    with pytest.raises(FileNotFoundError, match="not in the cache"):
        fetch.verify_cached_file(get_weights(HUB))
    assert not list(tmp_path.rglob("*.part*"))


def test_goes_on_after_a_cut(both, bit_net):
    both.faults[PATH] = [("cut", 100_000), ("cut", 50_000)]
    same(bit(), bit_net)
    first, second, third = [int(r.range[6:-1] or 0) for r in both.gets(PATH)]
    assert (first, second) == (0, 100_000 // download.CHUNK * download.CHUNK)
    assert third == second + 50_000 // download.CHUNK * download.CHUNK


def test_goes_on_after_a_cut_of_the_hub(both, hub_net, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 14)  # what of it a cut loses; 10 MB in earnest
    both.faults[FILE] = [("cut", 100_000)]
    same(net(), hub_net)
    first, second = both.gets(FILE)
    assert not first.range and second.status == 206 and 0 < int(second.range[6:-1]) <= 100_000
    assert both.sent() < len(both.files[FILE]) + 2 * (1 << 14)


def test_starts_anew_where_the_file_changed_meanwhile(both, bit_net, tmp_path):
    place = fetch.get_cache_path(get_weights(URL))
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
    place = fetch.get_cache_path(get_weights(URL))
    place.parent.mkdir(parents=True)
    place.with_name(place.name + ".part").write_bytes(both.files[PATH] + b"more")
    place.with_name(place.name + ".part.version").write_text(
        f'"{hashlib.sha256(both.files[PATH]).hexdigest()}"'
    )
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
    assert str(fetch.get_cache_path(weights)) in str(error.value)


@pytest.mark.parametrize("name, path, make", [(HUB, FILE, net), (URL, PATH, bit)])
def test_slow_server(both, hub_net, bit_net, monkeypatch, name, path, make):
    """A pause is waited for, a silence is given up and gone on after."""
    monkeypatch.setattr(download, "TIMEOUT", (5, 1))
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 14)
    both.faults[path] = [("slow", 50_000, 0.1)]
    same(make(), hub_net if make is net else bit_net)
    assert [r.range for r in both.gets(path)] == [""]
    forget(both, name)
    both.faults[path] = [("slow", 50_000, 3.0)]
    same(make(), hub_net if make is net else bit_net)
    assert len(both.gets(path)) == 2 and both.gets(path)[1].range.startswith("bytes=")


def test_server_that_stays_away(both):
    both.faults[PATH] = [503] * 99
    with pytest.raises(OSError, match="503 Server Error.*put the file at"):
        bit()
    assert len(both.gets(PATH)) == download.ATTEMPTS


@pytest.mark.parametrize("field, digest", [("sha256", "sha256"), ("sha256_prefix", "sha256"), ("md5", "md5")])
def test_wrong_bytes(both, add_checkpoints, field, digest, bit_net):
    right = hashlib.new(digest, both.files[PATH]).hexdigest()[:8 if field == "sha256_prefix" else None]
    checkpoint = dataclasses.replace(get_weights(URL), tag="test", id="google/R50x1.test", **{field: right})
    add_checkpoints(checkpoint)
    good, both.files[PATH] = both.files[PATH], b"no weights at all"
    wrong = hashlib.new(digest, b"no weights at all").hexdigest()
    with pytest.raises(ValueError, match=f"expected {digest}.* {right}, got {wrong}") as error:
        net("google/R50x1.test", width=0.5)
    assert f"{both.url}{PATH}" in str(error.value)
    assert not [
        f for f in fetch.get_cache_path(checkpoint).parent.iterdir() if f.suffix in (".npz", ".part")
    ]  # deleted
    both.files[PATH] = good
    same(net("google/R50x1.test", width=0.5), bit_net)


def test_wrong_bytes_of_the_hub(both, add_checkpoints, hub_net):
    right, wrong = both.files[FILE], both.files[FILE][:-1] + b"x"
    checkpoint = dataclasses.replace(
        get_weights(HUB), tag="test", id="timm/resnet50.test", sha256=sha256(right)
    )
    add_checkpoints(checkpoint)
    both.files[FILE] = wrong
    with pytest.raises(ValueError, match=f"expected sha256 {sha256(right)}, got {sha256(wrong)}") as error:
        net("timm/resnet50.test")
    assert f"{both.url}/{HUB}/resolve/main/model.safetensors" in str(error.value)
    assert not [
        f
        for f in pathlib.Path(constants.HF_HUB_CACHE).rglob("*")
        if f.is_file() and f.stat().st_size > 10_000
    ]
    both.files[FILE] = right
    same(net("timm/resnet50.test"), hub_net)


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
    place = fetch.get_cache_path(get_weights(URL))
    place.write_bytes(place.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="as first received.*the file was deleted"):
        bit()
    bit()


@pytest.mark.parametrize("name, path, make", [(HUB, FILE, net), (URL, PATH, bit)])
def test_offline(both, monkeypatch, name, path, make):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    place = fetch.get_cache_path(get_weights(name))
    with pytest.raises(OSError) as error:
        make()
    assert both.log == [] and both.url in str(error.value) and f"put the file at {place}" in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(both.files[path])     # by hand, where the message said
    make()
    assert both.log == []


def test_offline_with_the_oldest_hub_library(server, monkeypatch):
    """Before its version 1 the error is a ValueError too, as is ours for wrong bytes."""
    class LocalEntryNotFoundError(FileNotFoundError, ValueError):
        pass

    def absent(*_, **__):
        raise LocalEntryNotFoundError("cannot find the requested files")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", absent)
    with pytest.raises(
        OSError,
        match=f"am_in1k is not in the cache.*{server.url}.*put the file at {fetch.get_cache_folder()}",
    ):
        net()


@pytest.mark.parametrize("make", [net, bit])
def test_offline_with_the_cache(both, monkeypatch, make):
    make()
    requests = len(both.log)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    make()
    assert len(both.log) == requests


def test_a_cache_that_may_not_be_written(both, monkeypatch, tmp_path, hub_net):
    """As in a container that came with the hub's cache: nothing is noted, every byte is checked."""
    net()
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    same(net(), hub_net)
    (blob,) = (tmp_path / "hub").rglob("blobs/*")
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="sha256 by the server"):
        net()


def test_nobody_listens(both, monkeypatch):
    monkeypatch.setenv("RESKERAS_MIRROR", "http://127.0.0.1:1")
    with pytest.raises(
        OSError, match=r"cannot be downloaded from http://127.0.0.1:1/bit_models.*\(.*refused\)"
    ):
        bit()


def test_pinned_revision(both, add_checkpoints):
    add_checkpoints(
        dataclasses.replace(get_weights(HUB), tag="test", id="timm/resnet50.test", revision="f" * 40)
    )
    net("timm/resnet50.test")
    assert {r.path for r in both.log} == {f"/timm/resnet50.am_in1k/resolve/{'f' * 40}/model.safetensors"}


AT_ONCE = """
import os, sys, time
import reskeras, reskeras.build, huggingface_hub, requests, filelock, tqdm
start = time.time() + 1
children = []
for _ in range(8):          # one import for all: they start together
    if not (child := os.fork()):
        time.sleep(max(0, start - time.time()))
        try:
            for name, width in zip(sys.argv[1::2], sys.argv[2::2]):
                net = reskeras.create(name, depths=(1, 1, 1, 1), width=float(width), input_shape=(64, 64, 3))
                line = f"{os.getpid()} {name} {net.get_layer('conv1_conv').kernel.numpy().sum()}\\n"
                os.write(1, line.encode())      # whole, between the others'
            os._exit(0)
        finally:
            os._exit(1)
    children.append(child)
sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {FILE: [("cut", 100_000)], PATH: [("cut", 100_000), ("slow", 100_000, 0.2)]},
    ],
)
def test_eight_processes_at_once(both, hub_net, bit_net, tmp_path, faults):
    """One transfer; the others wait and find it, also where it was cut and gone on with."""
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1",
                   "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    both.faults = {path: list(several) for path, several in faults.items()}
    done = subprocess.run(
        [sys.executable, "-c", AT_ONCE, HUB, "0.25", URL, "0.5"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len({pid for pid, *_ in lines}) == 8 and len(lines) == 16
    for name, trained in ((HUB, hub_net), (URL, bit_net)):
        expected = float(trained.get_layer("conv1_conv").kernel.numpy().sum())
        assert [float(total) for _, n, total in lines if n == name] == pytest.approx([expected] * 8, rel=1e-6)
    for path in (FILE, PATH):
        assert len(both.gets(path)) == 1 + sum(kind == "cut" for kind, *_ in faults.get(path, []))
    # what a cut loses comes twice: of ours the end of a block, of the hub's all of it
    again = sum(100_000 % download.CHUNK if path == PATH else 100_000 for path in faults)
    assert both.sent() == len(both.files[FILE]) + len(both.files[PATH]) + again
