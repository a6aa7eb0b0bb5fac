"""Damaged files of every format, through the public calls: each works or is refused in one line.

No crash, no attempt that does not end, no error of another class, and at most 2 GB more memory than before.
A failure says the format and the seed, and the damaged file is kept.  The same attempt once more:
`echo "png,17" | python tests/fuzz/worker.py FOLDER`.
"""
import collections
import contextlib
import importlib.util
import json
import pathlib
import select
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process, as Linux counts it")

HERE = pathlib.Path(__file__).parent
FORMATS = ("weights.h5", "legacy h5", "npz", "safetensors", "pth", "keras", "tflite", "onnx", "openvino",
           "report", "png", "jpeg", "table", "tfrecord", "run folder")
NEEDED = {"onnx": "onnxruntime", "openvino": "openvino", "tflite": "ai_edge_litert"}
START, WAIT = 300, 120      # seconds until the first answer of a format, and until each other one
MAX_SECONDS = 20            # of an attempt, on its own processor
MEMORY = 2e9


class Worker:
    """The process that makes the attempts; a new one after each that died."""

    def __init__(self, folder):
        self.folder, self.process, self.started = folder, None, set()

    def attempt(self, name, seed):
        """What worker.py answers; for a dead process the same with its signal."""
        if self.process is None:
            self.log = open(self.folder / "worker.log", "ab")
            self.process = subprocess.Popen(
                [sys.executable, HERE / "worker.py", self.folder], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=self.log, text=True, bufsize=1)
        begin, seconds = time.monotonic(), WAIT if name in self.started else START
        with contextlib.suppress(BrokenPipeError):      # it died since its last answer
            self.process.stdin.write(f"{name},{seed}\n")
        is_answered, _, _ = select.select([self.process.stdout], [], [], seconds)
        line = self.process.stdout.readline() if is_answered else ""
        if line:
            self.started.add(name)
            return json.loads(line)
        is_new = name not in self.started
        self.stop(patience=30 if is_answered else 0)    # it may still write why it ends
        end = f"signal or exit {self.process_code}" if is_answered else "no answer"
        log = (self.folder / "worker.log").read_text(errors="replace")[-3000:]
        assert not is_new, f"the good files of {name}: {end}\n{log}"
        what = self.find_folder(name, seed) / "what.txt"
        return {"outcome": "fault", "text": f"{end}\n{log}", "memory": 0, "seconds": time.monotonic() - begin,
                "what": what.read_text() if what.is_file() else "not damaged yet"}

    def find_folder(self, name, seed):
        """The folder of an attempt, with the damaged file."""
        return self.folder / name.replace(" ", "_") / str(seed)

    def stop(self, patience=5):
        """Lets the process end within some seconds, then kills it."""
        if self.process is not None:
            self.process.stdin.close()
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process_code = self.process.returncode
            self.process.stdout.close()
            self.log.close()
            self.process, self.started = None, set()


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    worker = Worker(tmp_path_factory.mktemp("fuzz"))
    yield worker
    worker.stop()


def fuzz(worker, name, seeds):
    """Makes the attempts of a format.  Returns: the faults, and how many attempts had each outcome."""
    if name in NEEDED and importlib.util.find_spec(NEEDED[name]) is None:
        pytest.skip(f"{NEEDED[name]} is not installed")
    faults, outcomes = [], collections.Counter()
    for seed in seeds:
        answer = worker.attempt(name, seed)
        outcomes[answer["outcome"]] += 1
        outcomes["seconds"] += answer["seconds"]
        outcomes["memory"] = max(outcomes["memory"], answer["memory"])
        if answer["outcome"] != "fault" and (answer["memory"] > MEMORY or answer["seconds"] > MAX_SECONDS):
            answer["outcome"], answer["text"] = "fault", (
                f"{answer['memory'] / 1e9:.1f} GB over idle, {answer['seconds']:.0f} s")
        if answer["outcome"] == "fault":
            faults.append(f"{name}, seed {seed}, {answer['what']}, kept in {worker.find_folder(name, seed)}:"
                          f"\n{answer['text']}")
    print(f"{name}: {dict(outcomes)}")
    return faults


def test_a_few_of_the_formats_that_are_quickly_read(worker):
    """All in one process, whose start is what costs most."""
    names = ("weights.h5", "safetensors", "keras", "png")
    faults = [fault for name in names for fault in fuzz(worker, name, range(5))]
    assert not faults, "\n\n".join(faults)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_refused_or_work(worker, name):
    faults = fuzz(worker, name, range(200))
    assert not faults, "\n\n".join(faults)
