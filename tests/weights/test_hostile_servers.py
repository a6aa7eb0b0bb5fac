"""What a wrong or hostile server can cause: one line, exit code 2, a bounded number of bytes and seconds."""
import contextlib
import gzip
import hashlib
import io
import itertools
import json
import os
import pathlib
import subprocess
import sys
import time
import zipfile

import pytest
import requests
from huggingface_hub import constants

from reskeras import cli
from reskeras.weights import download, fetch
from reskeras.weights.cache import get_cache_path, get_note_path
from reskeras.weights.table import get_weights, list_checkpoints

NPZ, NPZ_PATH = "google/R50x1.bit_s", "/bit_models/BiT-S-R50x1.npz"       # the table has no hash of it
HUB, HUB_PATH = "timm/resnet18.a2_in1k", "/timm/resnet18.a2_in1k/model.safetensors"
MEGABYTE = bytes(1 << 20)


def make_zip(size=200_000):
    """An archive, as .npz files are."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("kernel.npy", bytes(range(250)) * (size // 250))
    return file.getvalue()


@pytest.fixture
def served(server):
    server.files |= {NPZ_PATH: make_zip(), HUB_PATH: bytes(8) + b"{}" + bytes(100_000)}
    return server


@pytest.fixture
def small(monkeypatch):
    """Files of at most 1.6 MB are plausible."""
    costs = {name: type(cost)(100_000, cost.macs) for name, cost in fetch.read_costs().items()}
    monkeypatch.setattr(fetch, "read_costs", lambda: costs)


@pytest.fixture
def short(monkeypatch):
    """A download may take a second."""
    monkeypatch.setattr(fetch, "LEAST_SECONDS", 1.0)
    monkeypatch.setattr(fetch, "LEAST_SPEED", 1e12)


def refuse(capsys, name=NPZ):
    """The one line of the error."""
    assert cli.main(["weights", "fetch", name]) == 2
    line, = capsys.readouterr().err.splitlines()
    assert line.isprintable()
    return line


def get(name=NPZ):
    assert cli.main(["weights", "fetch", name]) == 0
    return get_cache_path(get_weights(name))


def list_files(name=NPZ):
    """What is left in the cache: name -> bytes."""
    folder = get_cache_path(get_weights(name)).parent
    return {f.name: f.stat().st_size for f in folder.iterdir() if f.suffix != ".lock"}


def drip(data=b"x", seconds=0.02):
    for _ in range(1000):
        yield data
        time.sleep(seconds)


def endless():
    return itertools.repeat(MEGABYTE, 3000)


@pytest.mark.parametrize("wrong", [
    {"Content-Range": "bytes 10-199999/200000"},
    {"Content-Range": "bytes 98304-199999/200000"},     # the right beginning, but another length
    {"Content-Range": "bytes 98304-199999/*"},
    {"Content-Range": "ERROR"},
    {},
    {"ETag": '"of another file"'}])
def test_the_rest_of_another_file_is_not_appended(served, wrong):
    data = served.files[NPZ_PATH]
    length, start = len(data), 100_000 // download.CHUNK * download.CHUNK
    headers = {"Content-Range": f"bytes {start}-{length - 1}/{length}", "Content-Length": str(length - start)}
    headers = headers | wrong if wrong else {"Content-Length": str(length - start)}
    served.faults[NPZ_PATH] = [("cut", 100_000), ("answer", 206, headers, [b"x" * (length - start)])]
    assert get().read_bytes() == data
    assert [r.range for r in served.gets(NPZ_PATH)] == ["", f"bytes={start}-", ""]


def test_a_part_that_nobody_asked_for(served):
    headers = {"Content-Range": "bytes 5-9/10", "Content-Length": "5"}
    served.faults[NPZ_PATH] = [("answer", 206, headers, [b"PKxxx"])]
    assert get().read_bytes() == served.files[NPZ_PATH]


@pytest.mark.parametrize("body", [b"<!DOCTYPE html><title>Sign in</title>\x1b[2J", b"", make_zip()[:100_000]])
def test_a_page_or_half_a_file_is_not_kept(served, capsys, body):
    """The server says neither length nor hash, and the connection just ends."""
    served.faults[NPZ_PATH] = [("answer", 200, {}, [body])]
    line = refuse(capsys)
    assert "is not a whole npz file; it begins with b'" in line and "the file was deleted" in line
    assert list_files() == {}       # no note either, which would refuse the right file for ever
    get()


def test_a_page_instead_of_a_file_of_the_hub(served, capsys):
    served.files[HUB_PATH] = b"<!DOCTYPE html><title>Sign in</title>"
    served.etag_of[HUB_PATH] = "no hash"
    assert "is not a whole safetensors file; it begins with b'<!DOCTYPE" in refuse(capsys, HUB)


@pytest.mark.parametrize("headers", [{}, {"Content-Length": str(3 << 30)}, {"Content-Length": "-1"}])
def test_an_endless_body(served, small, capsys, headers):
    served.faults[NPZ_PATH] = [("answer", 200, headers, endless())]
    assert "a file of this net has at most 1,648,576" in refuse(capsys)
    assert list_files() == {} and len(served.gets(NPZ_PATH)) <= 1
    get()


@pytest.mark.parametrize("size", ["", str(3 << 30)])
def test_an_endless_body_of_the_hub(served, small, capsys, monkeypatch, size):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 14)
    headers = {"Content-Length": size} if size else {}
    served.faults[HUB_PATH] = [("answer", 200, headers, endless())]
    assert "a file of this net has at most 1,648,576" in refuse(capsys, HUB)
    kept = [f.stat().st_size for f in pathlib.Path(constants.HF_HUB_CACHE).rglob("*") if f.is_file()]
    assert sum(kept) < 2_000_000


def test_a_packed_body(served, capsys):
    bomb = gzip.compress(bytes(50 << 20))
    headers = {"Content-Encoding": "gzip", "Content-Length": str(len(bomb))}
    served.faults[NPZ_PATH] = [("answer", 200, headers, [bomb])]
    assert "packed as gzip" in refuse(capsys)
    assert list_files() == {}
    get()


@pytest.mark.parametrize("name, path", [(NPZ, NPZ_PATH), (HUB, HUB_PATH)])
def test_a_slow_body(served, short, capsys, monkeypatch, name, path):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 14)
    served.faults[path] = [("answer", 200, {"Content-Length": "9999999", "ETag": '"a"'}, drip(bytes(5000)))]
    start = time.monotonic()
    line = refuse(capsys, name)
    assert "it takes longer than 1 seconds; the bytes that came are kept, so call again to continue" in line
    assert time.monotonic() - start < 3
    get(name)


def test_a_slow_body_is_kept_and_continued(served, short, capsys):
    data = served.files[NPZ_PATH]
    tag = f'"{hashlib.sha256(data).hexdigest()}"'
    pieces = itertools.chain([data[:100_000]], drip(b""))
    headers = {"Content-Length": str(len(data)), "ETag": tag}
    served.faults[NPZ_PATH] = [("answer", 200, headers, pieces)]
    refuse(capsys)
    assert get().read_bytes() == data
    assert [r.range for r in served.gets(NPZ_PATH) if r.range] == ["bytes=98304-"]


def test_slow_headers(served, short, capsys, monkeypatch):
    """A line of headers that never ends: each byte comes in time for a bound between two pieces."""
    from server import Handler

    def answer(self, body):
        with contextlib.suppress(OSError):
            for byte in drip(b"X"):
                self.wfile.write(byte)
    monkeypatch.setattr(Handler, "answer", answer)
    start = time.monotonic()
    assert "it takes longer than 1 seconds" in refuse(capsys)
    assert time.monotonic() - start < 3


@pytest.mark.parametrize("target, reason", [
    (NPZ_PATH, "more than 5 redirects"),
    ("file:///etc/passwd", "redirects to file:///etc/passwd, which is not https"),
    ("ftp://127.0.0.1/x", "which is not https"),
    ("http://[", "Invalid IPv6 URL")])
def test_redirects(served, small, capsys, target, reason):
    """The body of a redirect is not read either."""
    served.faults[NPZ_PATH] = [("answer", 302, {"Location": target}, endless()) for _ in range(20)]
    assert reason in refuse(capsys)
    served.faults[NPZ_PATH].clear()
    get()


def test_a_redirect_is_followed_but_not_from_https_to_http(served, monkeypatch):
    served.files["/moved"] = served.files[NPZ_PATH]
    served.faults[NPZ_PATH] = [("answer", 302, {"Location": "/moved", "Content-Length": "0"}, [])]
    assert get().read_bytes() == served.files["/moved"]

    answer = requests.Response()
    answer.status_code, answer.raw, answer.headers["Location"] = 302, io.BytesIO(), "http://example.com/file"
    monkeypatch.setattr(requests.Session, "get", lambda *_, **__: answer)
    with pytest.raises(download.DownloadRefused, match="http://example.com/file, which is not https"):
        download._open_url("https://example.com/file", {})


@pytest.mark.parametrize("value", [b"\xff\xfe", b"a\r\nX: y", b'"' + b"x" * 100_000, b""])
def test_a_damaged_version_starts_the_download_anew(served, value):
    path = get_cache_path(get_weights(NPZ))
    path.parent.mkdir(parents=True)
    path.with_name(path.name + ".part").write_bytes(b"half of another file")
    path.with_name(path.name + ".part.version").write_bytes(value)
    assert get().read_bytes() == served.files[NPZ_PATH]
    assert [r.range for r in served.gets(NPZ_PATH)] == [""]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes")
def test_pipes_in_the_cache_are_not_opened(served):
    path = get_cache_path(get_weights(NPZ))
    path.parent.mkdir(parents=True)
    for suffix in ("", ".part"):
        os.mkfifo(f"{path}{suffix}")
    assert get().read_bytes() == served.files[NPZ_PATH]


NOTE = {"sha256": "ab" * 32, "stamp": [1, 2], "url": "", "commit": ""}


@pytest.mark.parametrize("note", [
    b"", b"\xff\xfe", b"[]", b"3", b"[" * 100_000, b'{"sha256"', b"{}", b"x" * 1_000_000,
    *(json.dumps({**NOTE, **wrong}).encode() for wrong in (
        {"sha256": 5}, {"sha256": "ab"}, {"sha256": ["ab"]}, {"stamp": 7}, {"stamp": {"0": 1}},
        {"commit": "../../../../tmp"}, {"commit": 3}))])
@pytest.mark.parametrize("name", [NPZ, HUB])
def test_a_damaged_note_counts_as_none(served, note, name):
    """It was reported as a download that failed, for ever."""
    file = get_note_path(get_weights(name))
    file.parent.mkdir(parents=True)
    file.write_bytes(note)
    get(name)
    assert len(json.loads(file.read_text())["sha256"]) == 64        # written anew
    file.write_bytes(note)
    get(name)
    assert len(json.loads(file.read_text())["sha256"]) == 64


HOLD = """
import pathlib, sys, time
from reskeras.weights.cache import lock_cache_path
with lock_cache_path(pathlib.Path(sys.argv[1]), 5):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_message_says_who_holds_the_lock(served, short, capsys):
    path = get_cache_path(get_weights(NPZ))
    path.parent.mkdir(parents=True)
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline() == b"held\n"
        line = refuse(capsys)
        assert f"waited 1 seconds for process {child.pid} on " in line and f"holds {path}.lock" in line
    finally:
        child.kill()
        child.wait()
    get()       # the lock of a killed process does not stay
    assert set(list_files()) == {path.name, f"{path.name}.json"}


def test_every_file_of_the_table_is_plausible():
    """Four bytes for each parameter; a classifier of more classes has at most 8,192 features."""
    for checkpoint in list_checkpoints():
        parameters = fetch.read_costs()[checkpoint.variant].params
        limit = fetch._make_limit(checkpoint).max_bytes
        assert 1.5 * 4 * parameters < limit < 6 * (parameters + 22_000 * 8192) + (1 << 20), checkpoint.name
