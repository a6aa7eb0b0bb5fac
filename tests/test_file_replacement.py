"""Files that several processes replace, writers that are killed at every step, SIGTERM: with real processes.

The children import `reskeras.files` alone, which takes no time.
"""
import hashlib
import os
import pathlib
import signal
import stat
import subprocess
import sys
import textwrap

import pytest

from reskeras import file_replacement
from reskeras.files import atomic_write, write_text

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and locks of POSIX")

# What a child begins with.  `write` replaces a file or a folder, and the two files beside it.
BEGIN = """
import hashlib, os, pathlib, signal, sys, time
from reskeras import file_replacement
from reskeras.files import atomic_write
place = pathlib.Path(sys.argv[1])

def write(name, text):
    with atomic_write(place / name) as new:
        if name == "net":
            new.mkdir()
            (new / "part").write_text(text)
            (new / "other").write_text(text)
        else:
            new.write_text(text)
        for suffix in (".json", ".npz"):
            new.with_name(name + suffix).write_text(hashlib.sha256(text.encode()).hexdigest())
"""


def start(code, place, *arguments):
    return subprocess.Popen([sys.executable, "-c", BEGIN + textwrap.dedent(code), str(place), *arguments],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(code, place, *arguments):
    process = start(code, place, *arguments)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


def read(place, name="net.tflite"):
    """The texts of the data, the report and the samples."""
    data = place / name / "part" if name == "net" else place / name
    return [file.read_text() for file in (data, place / f"{name}.json", place / f"{name}.npz")]


def hash_text(text):
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("name", ["net.tflite", "net"])
def test_four_writers_and_a_reader(tmp_path, name):
    """No file is ever missing; in the end all three are of one writer."""
    write = """
        for i in range(60):
            write(sys.argv[2], f"w{sys.argv[3]} {i} " * 500)
    """
    run("write(sys.argv[2], 'first')", tmp_path, name)
    writers = [start(write, tmp_path, name, str(i)) for i in range(4)]
    looks = fitting = 0
    while any(writer.poll() is None for writer in writers):
        data, report, samples = read(tmp_path, name)        # FileNotFoundError if one is missing
        looks += 1
        assert data == "first" or data.endswith(" ") and len(set(data.split())) == 2, "half a file"
        fitting += report == samples == hash_text(data)
    assert [writer.communicate()[1] for writer in writers] == [""] * 4
    assert looks > 100 and fitting > 10
    data, report, samples = read(tmp_path, name)
    assert report == samples == hash_text(data)
    assert sorted(os.listdir(tmp_path)) == [name, f"{name}.json", f"{name}.npz"]


# Kills the process before or after the n-th call of what changes names; exits with 0 if there are fewer.
KILL = """
count = 0

def make_deadly(true):
    def call(*arguments, **keywords):
        global count
        count += 1
        if count == number and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return true(*arguments, **keywords)
        finally:
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
    return call

name, has_exchange = sys.argv[2], sys.argv[3] == "True"
if not has_exchange:
    file_replacement._exchange = lambda *folders: False
names = sorted([name, name + ".json", name + ".npz"])
for when in ("before", "after"):
    number, status = 0, 1
    while status:
        number += 1
        write(name, "old")
        assert sorted(os.listdir(place)) == names, os.listdir(place)     # the killed writer's files are gone
        process = os.fork()
        if not process:
            for function in ("replace", "link", "unlink", "fsync", "open", "mkdir"):
                setattr(os, function, make_deadly(getattr(os, function)))
            file_replacement._exchange = make_deadly(file_replacement._exchange)
            write(name, "new")
            os._exit(0)
        status = os.waitpid(process, 0)[1]
        assert status in (0, signal.SIGKILL), status
        if not has_exchange and not (place / name).exists():
            print("missing")
            try:
                with atomic_write(place / "another"):
                    raise RuntimeError      # even a writer that fails puts the old one back
            except RuntimeError:
                pass
        data = [place / name / part for part in ("part", "other")] if name == "net" else [place / name]
        texts = {file.read_text() for file in data}
        assert texts in ({"old"}, {"new"}), texts
        for suffix in (".json", ".npz"):
            assert (place / (name + suffix)).stat().st_size == 64
    print(number)
"""


@pytest.mark.parametrize("name, has_exchange", [("net.tflite", True), ("net", True), ("net", False)])
def test_a_writer_that_is_killed_at_any_step(tmp_path, name, has_exchange):
    """The data are there, old or new; the next writer removes what the killed one left."""
    lines = run(KILL, tmp_path, name, str(has_exchange)).split()
    assert ("missing" in lines) == (not has_exchange)
    assert all(int(line) > 10 for line in lines if line != "missing")


def test_the_folder_of_a_writer_that_lives_stays(tmp_path):
    with atomic_write(tmp_path / "a") as new:
        new.write_text("a")
        run("write('b', 'b')", tmp_path)
        assert new.read_text() == "a"
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "b.json", "b.npz"]


def test_a_leftover_without_locks_is_removed_after_a_day(tmp_path, monkeypatch):
    monkeypatch.setattr(file_replacement, "_open_locked", lambda *arguments: None)
    leftovers = [tmp_path / f".reskeras-{age}" for age in ("old", "new")]
    for leftover in leftovers:
        (leftover / "new").mkdir(parents=True)
    os.utime(leftovers[0], (0, 0))
    with atomic_write(tmp_path / "a") as new:
        new.write_text("a")
        new.with_name("b").write_text("b")
    assert sorted(os.listdir(tmp_path)) == [".reskeras-new", "a", "b"]


def test_hidden_files_of_others_stay(tmp_path):
    (tmp_path / ".net.tflite.backup").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".reskeras-link").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / ".reskeras-pipe")
    write_text(tmp_path / "net.tflite", "x")
    assert (tmp_path / "elsewhere").is_dir() and (tmp_path / ".net.tflite.backup").is_dir()


def test_a_writer_that_hangs_is_named_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(file_replacement, "_LOCK_SECONDS", 0.1)
    with file_replacement._lock_folder(tmp_path):
        with pytest.raises(TimeoutError, match="net cannot be written: for 0.1 seconds another process"):
            with atomic_write(tmp_path / "net") as new:
                new.write_text("x")
                new.with_name("net.json").write_text("x")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("has_links", [True, False])
def test_an_error_between_two_files_changes_nothing(tmp_path, monkeypatch, has_links):
    """Also on a file system without hard links, and for a folder with files beside it."""
    def write(name, text):
        with atomic_write(tmp_path / name) as new:
            new.mkdir() if name == "net" else new.write_text(text)
            if name == "net":
                (new / text).write_text(text)
            for suffix in (".json", ".npz"):
                new.with_name(name + suffix).write_text(text)

    def fail(*arguments, **keywords):
        raise OSError
    if not has_links:
        monkeypatch.setattr(os, "link", fail)
    for name in ("net", "net.tflite"):
        write(name, "old")
    before = {f.relative_to(tmp_path): f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()}
    true = os.replace

    def fails_at_samples(source, goal):
        if pathlib.Path(goal).name.endswith(".npz") and pathlib.Path(source).parent.name == "new":
            raise PermissionError(13, "in use")
        true(source, goal)
    monkeypatch.setattr(os, "replace", fails_at_samples)
    for exchange in (file_replacement._exchange, lambda *folders: False):
        monkeypatch.setattr(file_replacement, "_exchange", exchange)
        for name in ("net", "net.tflite"):
            with pytest.raises(PermissionError, match="cannot be written: in use"):
                write(name, "new")
            after = {f.relative_to(tmp_path): f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()}
            assert after == before


@pytest.mark.parametrize("handler", ["", "signal.signal(signal.SIGTERM, lambda *arguments: sys.exit(7))"])
def test_sigterm_cleans_up(tmp_path, handler):
    """A program's own handler stays."""
    write_text(tmp_path / "net.tflite", "old")
    process = start(f"""
        {handler}
        with atomic_write(place / "net.tflite") as new:
            new.write_text("half")
            print("begun", flush=True)
            time.sleep(60)
    """, tmp_path)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == (7 if handler else 143) and not err
    assert (tmp_path / "net.tflite").read_text() == "old" and os.listdir(tmp_path) == ["net.tflite"]


def test_sigterm_ends_a_command(tmp_path):
    """Also where it does not write yet: its temporary files are removed."""
    process = start("""
        import tempfile
        from reskeras import cli
        from reskeras.commands import list as command

        def wait(**options):
            with tempfile.TemporaryDirectory(dir=place):
                print("begun", flush=True)
                time.sleep(60)
        setattr(command, cli.make_parser().parse_args(["list"]).parser.function, wait)
        sys.exit(cli.main(["list"]))
    """, tmp_path)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 143 and not err and not os.listdir(tmp_path)


def test_sigterm_that_native_code_swallows(tmp_path):
    """TensorFlow's converters make errors of their own of what a handler raises."""
    process = start("""
        try:
            with atomic_write(place / "net.tflite") as new:
                try:
                    os.kill(os.getpid(), signal.SIGTERM)
                    time.sleep(1)
                except BaseException:
                    raise RuntimeError("of C++")
        except RuntimeError:
            print("went on")
    """, tmp_path)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 143 and not out and not os.listdir(tmp_path)


def test_the_bytes_are_on_the_disk_before_the_name(tmp_path, monkeypatch):
    """And the name itself, when the call returns."""
    events = []
    true_fsync, true_replace = os.fsync, os.replace

    def fsync(descriptor):
        events.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        true_fsync(descriptor)

    def replace(*paths):
        events.append("replace")
        true_replace(*paths)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write_text(tmp_path / "a", "a")
    assert events == ["file", "replace", "folder"]


def test_a_leftover_does_not_make_a_run_folder_used(tmp_path):
    from reskeras.train.run_folder import check_empty
    (tmp_path / ".reskeras-abc" / "new").mkdir(parents=True)
    assert check_empty(tmp_path) == tmp_path
    (tmp_path / "a").touch()
    with pytest.raises(ValueError, match="a new or empty folder"):
        check_empty(tmp_path)


def test_the_handler_of_sigterm_is_put_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    write_text(tmp_path / "a", "a")
    assert signal.getsignal(signal.SIGTERM) is before
