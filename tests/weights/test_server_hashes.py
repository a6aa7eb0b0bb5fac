"""Hashes that servers give: rows without one are checked by them; `weights verify --remote`; messages."""
import base64
import hashlib
import json

import pytest
from checkpoints import SMALL, npz, randomized, same
from huggingface_hub import constants
from test_fetch import FILE, HUB, PATH, URL
from test_readers import bit_names

import reskeras
from reskeras import cli
from reskeras.weights import fetch, server_hashes
from reskeras.weights.table import get_weights


@pytest.fixture(scope="module")
def trained():
    return randomized(build(weights=None))


def build(name="resnetv2_50x1_bit", **arguments):
    return reskeras.create(name, **{**SMALL, "input_shape": (64, 64, 3), "width": 0.5, **arguments})


@pytest.fixture
def served(server, trained):
    server.files[PATH] = npz(bit_names(trained))
    return server


def google(data):
    return {"x-goog-hash": f"crc32c=AAAAAA==,md5={base64.b64encode(hashlib.md5(data).digest()).decode()}"}


def digest(data):
    return {"Repr-Digest": f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"}


@pytest.mark.parametrize("make", [google, digest, lambda data: {
    "Content-MD5": base64.b64encode(hashlib.md5(data).digest()).decode()}])
def test_a_row_without_a_hash_is_checked_by_the_server_s(served, trained, make):
    checkpoint = get_weights(URL)
    assert not (checkpoint.sha256 or checkpoint.md5 or checkpoint.sha256_prefix)
    data = served.files[PATH]
    served.headers_of[PATH] = make(data[:-1] + b"x")        # of other bytes than those that come
    with pytest.raises(ValueError, match="the bytes that came from .* are not those that the server has: "
                       ".* by the server .*; try the download again$"):
        build(URL)
    assert not fetch.get_cache_path(checkpoint).exists()
    served.headers_of[PATH] = make(data)
    same(build(URL), trained)


@pytest.mark.parametrize("header", ["md5=x", "md5=AAAA", "", "md5=====", "\u00ff"])
def test_headers_that_are_no_hashes(header):
    found = server_hashes.read_hashes_of_headers({
        "x-goog-hash": header, "Content-MD5": header, "Repr-Digest": header, "X-Linked-Etag": header,
        "Content-Length": "9" * 99})
    assert found == server_hashes.FileHashes()


def test_the_file_on_this_disk(served):
    build(URL)
    place = fetch.get_cache_path(get_weights(URL))
    place.write_bytes(place.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError) as error:
        fetch.verify_cached_file(get_weights(URL))
    message = str(error.value)
    assert f"the file on this disk, {place}, is not the one of {served.url}{PATH}" in message
    advice = message.split("`")[1]
    assert cli.main(advice.split()[1:]) == 0        # `reskeras weights fetch NAME`
    assert cli.main(["weights", "verify", URL]) == 0


def test_the_file_of_the_server(served):
    build(URL)
    fetch.get_cache_path(get_weights(URL)).unlink()
    served.files[PATH] = served.files[PATH][:-1] + b"x"
    with pytest.raises(ValueError, match="the server's file .* is not the one that was published.*"
                       "as first received.*`reskeras weights verify --remote ") as error:
        build(URL)
    assert cli.main(str(error.value).split("`")[1].split()[1:]) == 0


def test_verify_remote(served, capsys, tmp_path):
    """Nothing is downloaded; the hashes are kept, and later files are compared with them."""
    served.files[FILE] = data = b"x" * 1000
    served.headers_of[PATH] = google(served.files[PATH])
    name = get_weights(HUB).name
    assert cli.main(["weights", "verify", "--remote", HUB, URL]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{hashlib.sha256(data).hexdigest()}  {name}"
    assert lines[1].split() == [hashlib.md5(served.files[PATH]).hexdigest(), get_weights(URL).name]
    assert served.sent() == 0
    noted = json.loads((tmp_path / "keras/reskeras/hashes.json").read_text())
    assert noted[name]["sha256"] == hashlib.sha256(data).hexdigest() and noted[name]["size"] == 1000

    good, served.files[FILE] = data, b"y" * 1000
    assert cli.main(["weights", "verify", "--remote", HUB, URL]) == 2
    out, err = capsys.readouterr()
    assert out.splitlines()[0].startswith("CHANGED")
    assert f"last time {hashlib.sha256(good).hexdigest()}" in out and "1 files have changed" in err
    assert json.loads((tmp_path / "keras/reskeras/hashes.json").read_text()) == noted
    with pytest.raises(ValueError, match="expected sha256, as the server said"):
        fetch.fetch_checkpoint(get_weights(HUB))


def test_verify_remote_of_a_pinned_row(served, capsys):
    name = "resnet18.a1_in1k"
    checkpoint = get_weights(name)
    served.files[f"/{checkpoint.repo}/{checkpoint.file}"] = b"another file"
    assert cli.main(["weights", "verify", "--remote", name]) == 2
    assert f"published {checkpoint.sha256}" in capsys.readouterr().out
    served.files.clear()
    assert cli.main(["weights", "verify", "--remote", name]) == 2
    out, err = capsys.readouterr()
    assert out.startswith("no answer") and "404" in out and len(err.splitlines()) == 1


def test_errors_of_the_command(served, capsys, tmp_path):
    (tmp_path / "hashes.json").write_text('{"a": {"sha256": 3}}')
    for arguments in (["verify"], ["verify", HUB, "--hashes", "a.json"], ["verify", "--remote", "resnet18.x"],
                      ["verify", "--remote", HUB, "--hashes", str(tmp_path / "hashes.json")]):
        assert cli.main(["weights", *arguments]) == 2, arguments
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_offline_nobody_is_asked(served, monkeypatch, capsys):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert cli.main(["weights", "verify", "--remote", HUB]) == 2
    assert served.log == [] and "HF_HUB_OFFLINE is set" in capsys.readouterr().out
