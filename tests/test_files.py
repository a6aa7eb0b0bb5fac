"""Files and folders that appear whole or not at all."""
import os
import stat
import threading

import pytest

from reskeras.files import atomic_write, locked, write_bytes, write_text


def test_a_failed_block_changes_nothing(tmp_path):
    write_text(tmp_path / "a.txt", "before")
    with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / "a.txt") as new:
        new.write_text("half")
        raise KeyboardInterrupt
    assert (tmp_path / "a.txt").read_text() == "before" and os.listdir(tmp_path) == ["a.txt"]


def test_files_beside_appear_together(tmp_path):
    write_text(tmp_path / "net.json", "before")
    with atomic_write(tmp_path / "deep" / ".." / "net") as new:
        new.write_text("net")
        new.with_name("net.json").write_text("report")
    assert {f.name: f.read_text() for f in tmp_path.iterdir() if f.is_file()} == {
        "net": "net", "net.json": "report"}


def test_a_folder_is_replaced_whole(tmp_path):
    for names in ("ab", "bc"):
        with atomic_write(tmp_path / "model") as new:
            new.mkdir()
            for name in names:
                (new / name).write_text(name)
        assert sorted(os.listdir(tmp_path / "model")) == list(names)


def test_a_file_never_replaces_a_folder(tmp_path):
    (tmp_path / "results").mkdir()
    write_text(tmp_path / "results" / "precious.txt", "kept")
    with pytest.raises(IsADirectoryError, match="results cannot be written"):
        write_text(tmp_path / "results", "{}")
    assert (tmp_path / "results" / "precious.txt").read_text() == "kept"


def test_a_folder_never_replaces_a_file(tmp_path):
    write_text(tmp_path / "model", "kept")
    with pytest.raises(NotADirectoryError), atomic_write(tmp_path / "model") as new:
        new.mkdir()
    assert (tmp_path / "model").read_text() == "kept"


@pytest.mark.parametrize("name", ["", "..", "a/.."])
def test_a_path_without_a_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IsADirectoryError, match="expected the name of a file"):
        write_text(name, "lost")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="links and pipes of POSIX")
def test_a_link_stays_and_a_pipe_is_written_to(tmp_path):
    write_text(tmp_path / "a.txt", "before")
    (tmp_path / "link").symlink_to("a.txt")
    write_text(tmp_path / "link", "after")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "a.txt").read_text() == "after"

    os.mkfifo(tmp_path / "pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()), daemon=True)
    reader.start()
    write_bytes(tmp_path / "pipe", b"through")
    reader.join(10)
    assert read == [b"through"] and stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_an_error_names_the_file(tmp_path):
    write_text(tmp_path / "file", "x")
    with pytest.raises(OSError, match=r"file/a.txt cannot be written"):
        write_text(tmp_path / "file" / "a.txt", "x")


def test_the_mode_is_that_of_any_new_file(tmp_path):
    write_text(tmp_path / "a.txt", "x")
    (tmp_path / "b.txt").write_text("x")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode


@pytest.mark.skipif(os.name != "posix", reason="locks of POSIX")
def test_a_lock_is_seen_by_others(tmp_path):
    with locked(tmp_path), pytest.raises(BlockingIOError), locked(tmp_path, seconds=0):
        pass
    match = f"another process has worked in it for 0 seconds or more.*{tmp_path}"     # it waits for no day
    with locked(tmp_path), pytest.raises(BlockingIOError, match=match), locked(tmp_path, seconds=0.1):
        pass
    with locked(tmp_path, seconds=0):
        pass


def test_a_name_with_nul_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"net\\x00.txt': expected a path without the character NUL"):
        write_text(tmp_path / "net\0.txt", "x")
    assert not os.listdir(tmp_path)
