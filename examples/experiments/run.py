"""Trains what `cases.py` lists and is not in rows.jsonl yet: hours, which may be interrupted at any time.

    python examples/experiments/run.py --data FOLDER --torch PYTHON [--claims degradation finetune]

A training that was interrupted goes on where it was, if `--work` names the same folder; a finished one adds
one line to rows.jsonl.  Several of these may run at the same time, with one `--work`.  FOLDER has
cifar10_train_first4000.npz and cifar10_test_first1000.npz, with `images` and `labels`: the first images of
CIFAR-10.  PYTHON is a Python that has PyTorch; without it, PyTorch's trainings are left out.
"""
from __future__ import annotations

import argparse
import datetime
import fcntl
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from cases import BODY, PLANS, Case, list_runs  # noqa: E402

import reskeras  # noqa: E402
from reskeras.train.source import DataSource  # noqa: E402

ROWS = pathlib.Path(__file__).with_name("rows.jsonl")
FILES = {"train": "cifar10_train_first4000.npz", "test": "cifar10_test_first1000.npz"}
NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
Images = tuple[np.ndarray, np.ndarray]


# %% Images
def open_images(folder: pathlib.Path, split: str) -> Images:
    with np.load(folder / FILES[split]) as file:
        return file["images"], file["labels"]


def choose(images: Images, last: bool, count: int = 0, seed: int = 0) -> Images:
    """The images of the last (first) five classes as classes 0 to 4, or `count` of each, chosen by a seed."""
    x, y = images
    index = np.flatnonzero((y >= 5) == last)
    if count:
        order = np.random.default_rng(seed).permutation(index)
        index = np.concatenate([order[y[order] == c][:count] for c in range(5, 10)])
    return x[index], y[index] % 5


# %% A training
def train(case: Case, data: tuple[Images, Images], names: tuple[str, ...], seed: int, folder: pathlib.Path,
          model: Any = None) -> dict[str, Any]:
    """Trains by `reskeras.fit`, or resumes.  Returns: what a row has of it."""
    (x, y), test = data
    options = dict(case.training)
    started = {"resume": folder} if (folder / "run.json").exists() else {
        "model": model or case.net, "recipe": options.pop("recipe"), "output": folder, "seed": seed,
        "overrides": options, "model_overrides": dict(case.model)}
    if not isinstance(model, str) and model is not None:
        started["model"] = model
    seconds = time.perf_counter()
    sources = [DataSource("CIFAR-10", *images, names) for images in data]
    history = reskeras.fit(data=sources[0], validation_data=sources[1], verbose=0, save_every=0,
                           strategy="none", **started)
    seconds = time.perf_counter() - seconds
    net, results = history.model, history.history
    predicted = net.predict(prepare(x), batch_size=250, verbose=0).argmax(1)
    return {"train_error": percent(np.mean(predicted != y)),
            "test_error": percent(1 - results["val_accuracy"][-1]),
            "curve": [percent(1 - a) for a in results["accuracy"]],
            "test_curve": [percent(1 - a) for a in results["val_accuracy"]], "seconds": seconds,
            "cpu_seconds": time.process_time(),
            "versions": f"TensorFlow {tf.__version__}, Keras {keras.__version__}"}


def percent(fraction: float) -> float:
    return round(100 * float(fraction), 3)


def prepare(x: np.ndarray) -> np.ndarray:
    """Scaled as the nets of the table take them."""
    return ((x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).astype("float32")


def train_body(net: str, data: dict[str, Images], seed: int, work: pathlib.Path) -> pathlib.Path:
    """The file of a net trained on the first five classes."""
    folder = work / f"body-{seed}"
    case = Case(f"body-{seed}", net, BODY)
    with lock(folder):
        if not (folder / "trained").exists():
            train(case, (choose(data["train"], False), choose(data["test"], False)), NAMES[:5], seed, folder)
            (folder / "trained").touch()
    return folder / "last.keras"


def train_by_pytorch(case: Case, data: tuple[Images, Images], seed: int, model: keras.Model,
                     options: argparse.Namespace) -> dict[str, Any]:
    """Runs pytorch_side.py with the weights of a model."""
    (x, y), (test_x, test_y) = data
    weights = [w for layer in model.layers for w in layer.get_weights()]
    recipe = reskeras.get_recipe(case.training["recipe"]).training
    fields = {name: case.training.get(name, getattr(recipe, name))
              for name in ("batch_size", "epochs", "milestones", "head_epochs")}
    settings = json.dumps({**fields, "kind": case.kind, "seed": seed, "threads": options.threads,
                           "classes": len(set(y.tolist()))})
    with tempfile.TemporaryDirectory() as folder:
        job = pathlib.Path(folder, "job.npz")
        np.savez(job, x=x, y=y, test_x=test_x, test_y=test_y, settings=settings,
                 scores=model.predict(prepare(x[:8]), verbose=0),
                 **{f"w{i}": w for i, w in enumerate(weights)})
        side = pathlib.Path(__file__).with_name("pytorch_side.py")
        done = subprocess.run([options.torch, str(side), str(job)], stdout=subprocess.PIPE, text=True,
                              check=True)
    return json.loads(done.stdout.splitlines()[-1])


def place(options: argparse.Namespace, name: str, seed: int) -> pathlib.Path:
    """The folder of a training that is not finished."""
    return options.work / f"{re.sub('[^0-9A-Za-z]+', '-', name)}-{seed}"


def run_case(case: Case, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Trains a case.  Returns: its row."""
    data = {split: open_images(options.data, split) for split in FILES}
    pair, names = (data["train"], data["test"]), NAMES
    if case.images:
        names = NAMES[5:]
        pair = (choose(data["train"], True, case.images, seed), choose(data["test"], True))
    folder = place(options, case.name, seed)
    if case.kind in ("finetune", "pytorch_finetune"):
        body = train_body(case.net, data, seed, options.work)
    keras.utils.set_random_seed(seed)
    if case.kind == "finetune":
        found = train(case, pair, names, seed, folder, str(body))
    elif case.kind == "pytorch_finetune":
        found = train_by_pytorch(case, pair, seed, reskeras.load(body), options)
    elif case.kind == "pytorch_net" or case.name == "reskeras":
        # one net for both, with the same weights at the beginning
        model = reskeras.create(case.net, weights=None, input_shape=(32, 32, 3))
        found = (train(case, pair, names, seed, folder, model) if case.kind == "claim" else
                 train_by_pytorch(case, pair, seed, model, options))
    else:
        found = train(case, pair, names, seed, folder)
    shutil.rmtree(folder, ignore_errors=True)
    return {"case": case.name, "seed": seed, "settings": case.settings, **found,
            "seconds": round(found["seconds"], 1), "cpu_seconds": round(found["cpu_seconds"], 1),
            "threads": options.threads, "date": str(datetime.date.today())}


# %% Rows
class lock:
    """Inside the block no other process trains this."""

    def __init__(self, folder: pathlib.Path, wait: bool = True):
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(folder.with_suffix(".lock"), "w")
        self._flags = fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)

    def __enter__(self) -> None:
        fcntl.flock(self._file, self._flags)

    def __exit__(self, *_: Any) -> None:
        self._file.close()


def read_rows(path: pathlib.Path = ROWS) -> list[dict[str, Any]]:
    """The rows of the trainings that are finished."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def is_done(case: Case, seed: int, path: pathlib.Path = ROWS) -> bool:
    """Whether a row has the result, of these settings."""
    return any((row["case"], row["seed"], row["settings"]) == (case.name, seed, case.settings)
               for row in read_rows(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, required=True, help="the folder of the images")
    parser.add_argument("--torch", metavar="PYTHON", help="a Python with PyTorch")
    parser.add_argument("--claims", nargs="+", choices=list(PLANS), default=list(PLANS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", type=pathlib.Path, default=ROWS,
                        help="the file of the results (%(default)s)")
    parser.add_argument("--work", type=pathlib.Path, help="folder of the trainings that are not finished "
                        "(%(default)s)", default=pathlib.Path(tempfile.gettempdir(), "experiments"))
    options = parser.parse_args()
    if os.environ.get("EXPERIMENT"):        # the process of one training
        name, seed = json.loads(os.environ["EXPERIMENT"])
        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
        tf.config.threading.set_inter_op_parallelism_threads(options.threads)
        spent = place(options, name, seed).with_suffix(".cpu")      # by the processes that were interrupted
        before = sum(map(float, spent.read_text().split())) if spent.exists() else 0.0
        try:
            row = run_case(next(case for case, _ in list_runs() if case.name == name), seed, options)
        finally:
            with open(spent, "a") as file:
                file.write(f"{time.process_time():.1f}\n")
        row["cpu_seconds"] = round(row["cpu_seconds"] + before, 1)
        with lock(options.work / "rows"), open(options.rows, "a") as file:
            file.write(json.dumps(row) + "\n")
        return
    for case, seed in list_runs(tuple(options.claims)):
        if case.kind.startswith("pytorch") and not options.torch or is_done(case, seed, options.rows):
            continue
        try:
            with lock(place(options, case.name, seed), wait=False):
                if is_done(case, seed, options.rows):
                    continue
                print(datetime.datetime.now().isoformat(" ", "seconds"), case.name, seed, flush=True)
                # a process each: TensorFlow gives no memory back
                subprocess.run([sys.executable, *sys.argv], check=False,
                               env={**os.environ, "EXPERIMENT": json.dumps([case.name, seed])})
        except BlockingIOError:     # another process trains it
            continue


if __name__ == "__main__":
    main()
