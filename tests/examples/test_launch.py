"""The scripts that start workers on several machines, with a `reskeras` that only notes how it was called."""
import json
import os
import pathlib
import subprocess
import time

import pytest

LAUNCH = pathlib.Path(__file__).parents[2] / "examples" / "launch"
# ends with the code that the file "codes" has for each call; worker 0 leaves a checkpoint if it shall
RESKERAS = """#!/bin/sh
cd "$NOTES"
index=$(echo "$TF_CONFIG" | sed 's/.*index": \\([0-9]*\\).*/\\1/')
for word in "$TF_CONFIG" "$@"; do echo "$word"; done > "call.$index.$(ls | grep -c "^call.$index")"
[ ! -e codes ] || code=$(sed -n "$(ls | grep -c "^call.$index")p" codes)
[ "$index" != 0 ] || [ ! -e leaves_checkpoint ] || { mkdir -p run && touch run/checkpoint.npz; }
exit ${code:-0}
"""


@pytest.fixture
def start(tmp_path):
    """start(script, *arguments): the result, and for each call of a worker TF_CONFIG and the arguments."""
    (tmp_path / "bin").mkdir()
    for name, text in {"reskeras": RESKERAS, "remote": '#!/bin/sh\nshift\nexec sh -c "$1"\n'}.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)

    def run(script, *arguments, **variables):
        environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PAUSE": "0",
                       "NOTES": str(tmp_path), "REMOTE": "remote", **variables}
        done = subprocess.run(["sh", str(LAUNCH / script), *arguments], env=environment, capture_output=True,
                              text=True, timeout=60, cwd=tmp_path)
        calls = {}
        for file in sorted(tmp_path.glob("call.*")):
            config, *words = file.read_text().splitlines()
            calls.setdefault(json.loads(config)["task"]["index"], []).append((json.loads(config), words))
        return done, calls
    return run


def test_ssh_starts_every_worker(start, tmp_path):
    """Arguments with blanks and quotes arrive as they are."""
    run = str(tmp_path / "run")
    data = "folder:my 'own' $HOME photos"
    done, calls = start("ssh.sh", "a,b.example,c", run, "resnet18", "--data", data, PORT="77")
    assert done.returncode == 0, done.stderr
    assert sorted(calls) == [0, 1, 2]
    for index, ((config, words),) in calls.items():
        assert config == {"cluster": {"worker": ["a:77", "b.example:77", "c:77"]},
                          "task": {"type": "worker", "index": index}}
        assert words == ["train", "resnet18", "--data", data, "--output", run, "--strategy", "multi_worker"]


def test_a_worker_that_fails_is_resumed(start, tmp_path):
    (tmp_path / "codes").write_text("1\n3\n0\n")
    (tmp_path / "leaves_checkpoint").touch()
    run = str(tmp_path / "run")
    done, calls = start("worker.sh", "0", "a,b", run, "resnet18", "--epochs", "3")
    assert done.returncode == 0, done.stderr
    assert [words[1:-2] for _, words in calls[0]] == [
        ["resnet18", "--epochs", "3", "--output", run], ["--resume", run], ["--resume", run]]
    assert "attempt 2 ended with 3" in done.stderr


def test_a_folder_without_checkpoint_is_kept_aside(start, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text("{}")
    done, calls = start("worker.sh", "0", "a,b", str(run), "resnet18")
    assert done.returncode == 0 and not run.exists()
    assert len(list(tmp_path.glob("run.failed.*/run.json"))) == 1
    (tmp_path / "codes").write_text("1\n" * 9)
    done, calls = start("worker.sh", "1", "a,b", str(run), "resnet18", ATTEMPTS="3")
    assert done.returncode == 1 and len(calls[1]) == 3
    assert all(words == ["train", "resnet18", "--output", str(run), "--strategy", "multi_worker"]
               for _, words in calls[1])


def test_a_wrong_argument_ends_it(start, tmp_path):
    (tmp_path / "codes").write_text("2\n0\n")
    done, calls = start("worker.sh", "1", "a,b", str(tmp_path / "run"), "resnet81")
    assert done.returncode == 2 and len(calls[1]) == 1


def test_data_service_is_started_again(tmp_path):
    """The first machine runs a dispatcher and a worker; SIGTERM ends both."""
    stub = tmp_path / "reskeras"
    stub.write_text('''#!/bin/sh
cd "$NOTES"
echo "$*" >> "$2"
echo $$ > "$2.pid"
[ "$(wc -l < "$2")" != 1 ] || exit 1
exec sleep 60
''')
    stub.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "NOTES": str(tmp_path),
                   "PAUSE": "0", "PORT": "70"}
    process = subprocess.Popen(["sh", str(LAUNCH / "data_service.sh"), "0", "a,b"], env=environment,
                               stderr=subprocess.PIPE, text=True)
    files, deadline = [tmp_path / name for name in ("dispatcher", "worker")], time.time() + 60
    while not all(file.exists() and file.read_text().count("\n") == 2 for file in files):
        assert process.poll() is None and time.time() < deadline
        time.sleep(0.05)
    pids = [int(file.with_suffix(".pid").read_text()) for file in files]
    process.terminate()
    assert process.wait(timeout=30) == 143
    assert files[0].read_text() == "data-service dispatcher --port 70\n" * 2
    assert files[1].read_text() == "data-service worker --dispatcher a:70 --port 5001\n" * 2
    assert "ended with 1" in process.stderr.read()
    while any(pathlib.Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.time() < deadline
        time.sleep(0.05)


def test_slurm(start, tmp_path):
    """With commands in the place of Slurm's own."""
    for name, text in {"scontrol": "printf 'n1\\nn2\\n'", "srun": 'shift; SLURM_PROCID=1 exec "$@"'}.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    done, calls = start("slurm.sbatch", str(tmp_path / "run"), "resnet18", SLURM_JOB_NODELIST="n[1-2]",
                        SLURM_JOB_ID="7", FOLDER=str(LAUNCH))
    assert done.returncode == 0, done.stderr
    assert calls[1][0][0]["cluster"]["worker"] == ["n1:20007", "n2:20007"]
    assert calls[1][0][1][:2] == ["train", "resnet18"]
