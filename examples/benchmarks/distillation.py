"""ResNet-20 with and without a teacher, akamaster's ResNet-44, on the first 4,000 images of CIFAR-10.

    python examples/benchmarks/distillation.py --data FOLDER --teacher resnet44.safetensors --work FOLDER

FOLDER has cifar10_train_first4000.npz and cifar10_test_first1000.npz, with `images` and `labels`.  The
trainings take about eight minutes each on one core.  They may be interrupted at any time: the same command
goes on where it was, and a finished one adds a line to rows.jsonl in `--work`.  The settings are those of the
case "reskeras" of examples/experiments, whose lines are the trainings without a teacher where they are there.
The lines beside this file, distillation.jsonl, are those of docs/training.md.

The case "int8" goes on from the net of the case "soft" with fake quantization, by the recipe "int8" with the
same teacher.

The teacher was trained on all 50,000 images of CIFAR-10, those 4,000 among them: what is measured is what
its scores add to few images.
"""
from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402

import reskeras  # noqa: E402
from reskeras.intervals import paired_difference  # noqa: E402
from reskeras.train.source import DataSource  # noqa: E402

WITHOUT = pathlib.Path(__file__).parents[1] / "experiments" / "rows.jsonl"
FILES = {"train": "cifar10_train_first4000.npz", "test": "cifar10_test_first1000.npz"}
NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SETTINGS = {"recipe": "cifar_he", "batch_size": 32, "epochs": 20, "milestones": [10, 15],
            "learning_rate_in_velocity": False}
CASES: dict[str, dict[str, Any]] = {
    "without": {}, "soft": {"distillation": "soft", "temperature": 4.0, "alpha": 0.9},
    "consistent": {"distillation": "consistent", "temperature": 4.0},
    "int8": {"distillation": "soft", "temperature": 4.0, "alpha": 0.9}}


def open_images(folder: pathlib.Path, split: str) -> DataSource:
    with np.load(folder / FILES[split]) as file:
        return DataSource("CIFAR-10", file["images"], file["labels"], NAMES)


def find_rows(settings: dict[str, Any], *files: pathlib.Path) -> dict[tuple[str, int], float]:
    """The test errors in percent of the finished trainings, {(case, seed): error}."""
    rows = {}
    for file in files:
        for line in file.read_text().splitlines() if file.exists() else ():
            row = json.loads(line)
            case = "without" if row["case"] == "reskeras" else row["case"]
            if case in CASES and row["settings"].get("training", row["settings"]) == settings:
                rows[case, row["seed"]] = row["test_error"]
    return rows


def train(case: str, seed: int, options: argparse.Namespace, settings: dict[str, Any]) -> dict[str, Any]:
    """Trains a case, or goes on with it.  Returns: its row."""
    train_images, test_images = (open_images(options.data, split) for split in FILES)
    folder = options.work / f"{case}-{seed}"
    teacher = None
    if CASES[case]:
        if options.teacher.suffix == ".keras":
            teacher = reskeras.load(options.teacher)
        else:
            teacher = reskeras.create(options.teacher_net, weights=str(options.teacher))
        teacher = reskeras.set_metadata(teacher, preprocessing="cifar_resnet44.cifar10", labels="cifar10")
    fields = dict(settings)
    new: dict[str, Any] = {"resume": folder}
    if case == "int8" and not (options.work / f"soft-{seed}" / "last.keras").exists():
        raise SystemExit(f"--cases int8 goes on from the net of the case soft, and {options.work} has none "
                         f"of seed {seed}: give --cases soft int8")
    if not (folder / "run.json").exists() and case == "int8":
        epochs = min(settings["epochs"], reskeras.get_recipe("int8").training.epochs)
        new = {"model": reskeras.load(options.work / f"soft-{seed}" / "last.keras"), "recipe": "int8",
               "quantize": "int8", "seed": seed, "output": folder,
               "overrides": {**CASES[case], "augmentation": "pad_crop(32, 4)|flip", "size": 32,
                             "test_size": 32, "epochs": epochs}}
    elif not (folder / "run.json").exists():
        new = {"model": options.net, "recipe": fields.pop("recipe"), "seed": seed, "output": folder,
               "overrides": {**fields, **CASES[case]}, "model_overrides": options.model_overrides}
    seconds = time.perf_counter()
    history = reskeras.fit(data=train_images, validation_data=test_images, teacher=teacher, verbose=0,
                           strategy="none", **new)
    return {"case": case, "seed": seed, "settings": settings,
            "test_error": round(100 * (1 - history.history["val_accuracy"][-1]), 3),
            "seconds": round(time.perf_counter() - seconds, 1)}


def describe_results(rows: dict[tuple[str, int], float]) -> list[str]:
    """Lines of the mean test errors, and of the differences in pairs of seeds, with 95 % intervals."""
    by_case = {case: {seed: error for (name, seed), error in rows.items() if name == case} for case in CASES}
    lines = []
    for case, errors in by_case.items():
        if not errors:
            continue
        seeds = by_case["without"].keys() & errors.keys()
        text = (f"{case}: test error {statistics.fmean(errors[seed] for seed in seeds or errors):.1f} %, "
                f"{len(seeds or errors)} seeds")
        difference = case != "without" and paired_difference(by_case["without"], errors)
        if difference:
            alone = statistics.fmean(by_case["without"][seed] for seed in seeds)
            verdict = "decided" if difference.excludes_zero else "not decided"
            text += (f", without a teacher {alone:.1f} % with these; {difference.mean:+.1f} points "
                     f"({difference.low:+.1f} to {difference.high:+.1f}), {verdict}")
        lines.append(text)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--teacher", type=pathlib.Path, required=True,
                        help="weights of --teacher-net, or a .keras file")
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--teacher-net", default="cifar_resnet44")
    parser.add_argument("--net", default="cifar_resnet20")
    parser.add_argument("--model-overrides", nargs="*", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--cases", nargs="+", default=["without", "soft"], choices=list(CASES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=SETTINGS["epochs"])
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    settings = {**SETTINGS, "epochs": options.epochs}
    if options.epochs != SETTINGS["epochs"]:
        settings["milestones"] = []
    files = [options.work / "rows.jsonl"]
    if options.net == "cifar_resnet20" and not options.model_overrides:     # the net of those trainings
        files.append(WITHOUT)
    for seed in range(options.seeds):
        for case in options.cases:
            if (case, seed) not in find_rows(settings, *files):
                row = train(case, seed, options, settings)
                with (options.work / "rows.jsonl").open("a") as file:
                    file.write(json.dumps(row) + "\n")
    print("\n".join(describe_results(find_rows(settings, *files))))


if __name__ == "__main__":
    main()
