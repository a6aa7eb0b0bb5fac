"""The tables of docs/speed.md, optimize.md, exports.md and guides/quantize.md, from the figures that the
benchmarks stored.

    python examples/benchmarks/table.py examples/benchmarks/figures
"""
from __future__ import annotations

import json
import math
import pathlib
import statistics
import sys
from typing import Any, Iterable

from timing import NETS

from reskeras.commands import tables


SHOWN = ("keras", "tensorflow", "jax", "ai-edge-litert", "onnxruntime", "openvino", "torch", "timm")


def stored(folder: pathlib.Path, name: str) -> list[dict[str, Any]]:
    """All files NAME.json and NAME.*.json, in the order of their names."""
    return [
        json.loads(path.read_text())
        for path in sorted(folder.glob("*.json"))
        if path.name.split(".")[0] == name]


def lines(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    return tables.markdown_table(list(head), map(list, rows)).splitlines()


def value(number: float | None, digits: int = 2) -> str:
    return "–" if number is None else f"{number:.{digits}f}"


def source(files: list[dict[str, Any]]) -> str:
    first = files[0]
    versions = ", ".join(f"{name} {first['versions'][name]}" for name in SHOWN if name in first["versions"])
    device = f"{first['device']}, " if "device" in first else ""
    machine = first["machine"]
    return f"{device}{machine['processor']}, {machine['cores']} cores, {first['date']}; {versions}."


def time_of(row: dict[str, Any], side: str, images: int = 1) -> str:
    """Milliseconds, in brackets if that side was noisy or unsteady."""
    if side not in row["ms"]:
        return ""
    text = f"{row['ms'][side] / images:.{0 if row['ms'][side] / images >= 100 else 1}f}"
    return f"({text})" if side in row["noisy"] + row["unsteady"] else text


def train(files: list[dict[str, Any]]) -> list[str]:
    return lines(
        [
            "training step, ms/image", "policy", "reskeras", "keras.applications", "timm",
            "keras.applications ÷ reskeras", "timm ÷ reskeras", "stock layers ÷ reskeras",
            "strided slices ÷ reskeras", "of the matmul rate"],
        [
            [
                f"`{row['net']}`", row["policy"],
                *(time_of(row, side, row["batch"]) for side in ("reskeras", "keras.applications", "timm")),
                value(row["times_faster"].get("keras.applications")), value(row["times_faster"].get("timm")),
                value(row["times_faster"].get("stock"), 0), value(row["times_faster"].get("strided slices")),
                "–" if {"reskeras", "matmul"} & set(row["noisy"]) else f"{row['share_of_matmul_rate']:.0%}"]
            for file in files
            for row in file["rows"]])


KINDS = {
    "convolution": "Conv2D", "gradient for its input": "Conv2DBackpropInput",
    "for its kernel": "Conv2DBackpropFilter", "normalization, both ways": "FusedBatchNorm",
    "gradient of ReLU": "ReluGrad", "gates, products": "Mul", "slices": "StridedSlice", "casts": "Cast",
    "pads": "Pad", "the update": "Assign"}


def profiles(files: list[dict[str, Any]]) -> list[str]:
    """Milliseconds of a step's operations in all threads."""
    def kind(op: str) -> str:
        name = op.replace("_MklNative", "").replace("FusedConv2D", "Conv2D").replace("WithBias", "")
        return next((title for title, known in KINDS.items()
                     if name == known or known not in ("Conv2D", "Mul") and name.startswith(known)), "other")
    rows = []
    for row in (row for file in files for row in file["rows"] if "profile_ms" in row):
        sums: dict[str, float] = dict.fromkeys([*KINDS, "other"], 0.0)
        for op, ms in row["profile_ms"].items():
            sums[kind(op)] += ms
        convolutions = sum(list(sums.values())[:3]) / sum(sums.values())
        rows.append([f"`{row['net']}`", row["policy"], *(f"{ms:.0f}" if ms else "" for ms in sums.values()),
                     f"{convolutions:.0%}"])
    return lines(
        ["where a step of 8 images goes, ms", "policy", *KINDS, "other", "convolutions, of all"], rows)


def inference(files: list[dict[str, Any]]) -> list[str]:
    rows = [row for file in files for row in file["rows"]]
    sides = list(dict.fromkeys(side for row in rows for side in row["ms"] if side != "matmul"))
    ratios = list(dict.fromkeys(name for row in rows for name in row["ratio"]))
    return lines(["inference, ms", "batch", *sides, *ratios, "best float32, of the matmul rate"],
                 [[f"`{row['net']}`", str(row["batch"]), *(time_of(row, side) for side in sides),
                   *(value(row["ratio"].get(name)) for name in ratios),
                   f"{row['best']}, {row['share_of_matmul_rate'][row['best']]:.0%}"] for row in rows])


def processor(row: dict[str, Any]) -> dict[str, Any]:
    """The figures of the processor's time; those of the clock where it was not measured."""
    return row.get("processor", row)


def build(files: list[dict[str, Any]]) -> list[str]:
    sides = ("reskeras", "keras.applications", "timm")

    def cell(row: dict[str, Any], side: str) -> str:
        if side not in row["ms"]:
            return ""
        return f"{time_of(row, side)}, {time_of(processor(row), side)}, {row['peak_mib'][side]}"
    return lines(
        ["ms, ms of the processor, most MiB", *sides,
         *(f"reskeras ÷ {side}, of the processor" for side in sides[1:])],
        [[f"`{row['what']}`", *(cell(row, side) for side in sides),
          *(value(processor(row)["ratio"].get(side)) for side in sides[1:])]
         for file in files for row in file["rows"]])


def images(files: list[dict[str, Any]]) -> list[str]:
    table = lines(
        ["images per second", "by one core", "times as fast as torchvision"],
        [
            [
                row["side"],
                f"{row['images_per_second']:.0f}" if row["quiet"] else f"({row['images_per_second']:.0f})",
                value(file["ratio"][row["side"]]) if row["side"] in file.get("ratio", {}) else ""]
            for file in files
            for row in file["rows"]])
    return table + [f"| an epoch's first batch, {kind} | after {ms} ms |  |" for file in files
                    for kind, ms in file["first_batch_ms"].items()]


def memory(files: list[dict[str, Any]]) -> list[str]:
    return lines(
        ["layers", "batch", "MiB that a step adds", "MiB of activations by `cost`", "ratio"],
        [
            [
                str(row["depth"]), str(row["batch"]), f"{row['added_bytes'] / 2**20:.0f}",
                f"{row['predicted_bytes'] / 2**20:.0f}", value(row["ratio"])]
            for file in files
            for row in file["rows"]])


def replicas(files: list[dict[str, Any]]) -> list[str]:
    return lines(
        ["training, by processes with cores of their own", "cores of each", "images per second",
         "times those of 1 process", "losses apart"],
        [
            [
                f"`{row['net']}`, batch {row['batch']}, {number}", str(row["cores"]),
                f"{rate:.0f}" if number not in row["noisy"] else f"({rate:.0f})",
                value(row["ratio"][number]) if number in row["ratio"] else "", f"{row['losses_apart']:.0e}"]
            for file in files
            for row in file["rows"]
            for number, rate in row["images_per_second"].items()])


def stochastic_depth(files: list[dict[str, Any]]) -> list[str]:
    return lines(
        [
            "stochastic depth, a training step, ms", "mean survival", "all survive", "with it",
            "with it ÷ all survive"],
        [
            [
                f"`{row['net']}`, width {row['width']:g}, by {row['mode']}", f"{row['survival']:.2f}",
                time_of(row, "all survive", file["steps"]), time_of(row, row["side"], file["steps"]),
                value(row["ratio"])]
            for file in files
            for row in file["rows"]])


def subsampling(files: list[dict[str, Any]]) -> list[str]:
    return lines(
        ["every second position, ms in LiteRT", "max pool", "strided slice", "depthwise",
         "max pool ÷ depthwise", "strided slice ÷ depthwise"],
        [
            [
                f"{row['size']} px, {row['channels']} channels, "
                + ("alone" if row["alone"] else "between two 1x1 convolutions"),
                *(value(row["ms"][side], 3) for side in ("max pool", "strided slice", "depthwise")),
                value(row["ratio"]["max pool"]), value(row["ratio"]["strided slice"])]
            for file in files
            for row in file["rows"]])


def latencies(files: list[dict[str, Any]]) -> list[str]:
    """Before and after `optimize`; of a cell that was measured again the first figures that were quiet."""
    cells: dict[tuple[str, str, int], dict[str, Any]] = {}
    for row in (row for file in files for row in file["rows"]):
        cell = (row["net"], row["runtime"], row["batch"])
        if cell not in cells or cells[cell]["ratio"] is None:
            cells[cell] = row
    columns = list(dict.fromkeys(cell[1:] for cell in cells))

    def text_of(cell: tuple[str, str, int]) -> str:
        row = cells[cell]
        return f"{time_of(row, 'before')} → {time_of(row, 'after')} ms, {value(row['ratio'], 3)}"
    nets = sorted({cell[0] for cell in cells}, key=NETS.index)
    return lines(["net", *(f"{runtime}, {batch}" for runtime, batch in columns)],
                 [[f"`{net}`", *(text_of((net, *column)) for column in columns)] for net in nets])


def exports(files: list[dict[str, Any]]) -> list[str]:
    return lines(["target", "plain, ms", "ours, ms", "ours ÷ plain"],
                 [[row["target"], time_of(row, "plain"), time_of(row, "ours"), value(row["ratio"], 3)]
                  for file in files for row in file["rows"]])


def _milliseconds(row: dict[str, Any], side: str) -> str:
    """As `time_of`, with three digits of what takes less than 10 ms."""
    text = f"{row['ms'][side]:.{3 if row['ms'][side] < 10 else 1}f}"
    return f"({text})" if side in row["noisy"] + row["unsteady"] else text


def precisions(files: list[dict[str, Any]]) -> list[str]:
    """The latency of each precision, and its ratio to float32 in the same runtime."""
    rows = [row for file in files for row in file["rows"]]
    columns = list(dict.fromkeys(name for row in rows for name in row["ms"]))

    def cell(row: dict[str, Any], side: str) -> str:
        if side not in row["ms"]:
            return ""
        times = "" if side == "float32" else f", {value(row['ratio'][side])}"
        return _milliseconds(row, side) + times
    return lines(["ms, and times float32's", *columns],
                 [[f"`{row['net']}`, {row['runtime']}, batch {row['batch']}",
                   *(cell(row, side) for side in columns)] for row in rows])


def int8(files: list[dict[str, Any]]) -> list[str]:
    """float32 and int8 of each net and batch, by runtime."""
    cells = {(row["net"], row["batch"], row["runtime"]): row for file in files for row in file["rows"]}
    runtimes = list(dict.fromkeys(runtime for _, _, runtime in cells))

    def text_of(row: dict[str, Any] | None) -> str:
        if row is None:
            return ""
        before, after = (_milliseconds(row, side) for side in ("float32", "int8"))
        return f"{before} → {after}, {value(row['ratio']['int8'])}"
    return lines(["float32 → int8, ms, and times float32's", "batch", *runtimes],
                 [[f"`{net}`", str(batch),
                   *(text_of(cells.get((net, batch, runtime))) for runtime in runtimes)]
                  for net, batch in dict.fromkeys(cell[:2] for cell in cells)])


def mlperf_tiny(files: list[dict[str, Any]]) -> list[str]:
    return lines(
        ["MLPerf Tiny's ResNet-8, int8", "theirs", "ours", "ours ÷ theirs"],
        [
            line
            for file in files
            for row in file["rows"]
            for line in (
                [
                    "ms, one image, one thread", f"{row['ms']['theirs']:.3f}", f"{row['ms']['ours']:.3f}",
                    value(row["ratio"], 3)],
                [
                    "bytes", *(f"{row['bytes'][side]:,}" for side in ("theirs", "ours")),
                    value(row["bytes"]["ours"] / row["bytes"]["theirs"], 3)])])


def gpu(files: list[dict[str, Any]]) -> list[str]:
    """Images per second under the JAX backend and of timm, and the share of the card's peak rate (MFU).

    Memory is of the training step alone: later figures of the same process would include it.
    """
    def rate(row: dict[str, Any], side: str) -> str:
        text = f"{row['images_per_second'][side]:.0f}"
        return f"({text})" if side in row["noisy"] + row["unsteady"] else text
    return lines(
        [
            "on a GPU, mixed_bfloat16, images per second", "batch", "reskeras, JAX", "timm, torch.compile",
            "timm's time ÷ reskeras'", "share of the card's peak", "most MiB"],
        [
            [
                f"`{row['net']}`, {row['what']}", str(row["batch"]), rate(row, "reskeras"), rate(row, "timm"),
                value(row["times_timm"]), f"{row['mfu']['reskeras']:.1%}" if row["mfu"] else "",
                f"{row['peak_mib']:.0f}" if row["what"] == "training" else ""]
            for file in files
            for row in file["rows"]])


def gpu_plan(files: list[dict[str, Any]]) -> list[str]:
    """GB that a training step compiled for a GPU reads and writes, by kind, and with Keras' normalization."""
    kinds = list(files[0]["rows"][0]["gb"]["reskeras"])
    other = next(side for side in files[0]["rows"][0]["gb"] if side != "reskeras")
    return lines(
        [
            "a training step compiled for a GPU, mixed_bfloat16, GB read and written", "batch", *kinds, "all",
            "ms, by bandwidth alone", "kernels", "MiB", f"all, with {other}", f"{other} ÷ reskeras"],
        [
            [
                f"`{row['net']}`", str(row["batch"]),
                *(f"{row['gb']['reskeras'][kind]:.1f}" for kind in kinds),
                f"{sum(row['gb']['reskeras'].values()):.1f}", f"{row['least_ms']['reskeras']:.1f}",
                str(row["kernels"]["reskeras"]), str(row["mib"]["reskeras"]),
                f"{sum(row['gb'][other].values()):.1f}", value(row["ratio"])]
            for file in files
            for row in file["rows"]])


def quantization(files: list[dict[str, Any]]) -> list[str]:
    """Accuracy on the test images: of several trainings the mean, and the standard deviation of one."""
    def accuracy(rows: list[dict[str, Any]], what: str) -> str:
        found = [100 * row["accuracy"] for row in rows if row["what"] == what]
        if not found:
            return "–"
        spread = f" ± {statistics.stdev(found):.1f} ({len(found)})" if len(found) > 1 else ""
        return f"{statistics.mean(found):.1f}{spread}"

    def steps(rows: list[dict[str, Any]], kernels: str) -> str:
        found = [row["steps"][kernels]["within_one_step"] for row in rows
                 if row["what"] == "int8, trained"]
        return f"{min(found):.1%}" if found else "–"
    columns = ("float", "int8, minmax", "int8, mse", "int8, trained", "float, trained on",
               "4-bit weights, calibrated", "4-bit weights, trained")
    return lines(
        ["accuracy, %", *columns, "scores within one step, reference kernels", "XNNPACK"],
        [[f"`{file['rows'][0]['net']}`", *(accuracy(file["rows"], what) for what in columns),
          steps(file["rows"], "reference"), steps(file["rows"], "default")] for file in files])


def held_out(files: list[dict[str, Any]]) -> list[str]:
    return lines(
        ["500 training images that were held out", "learns the labels, or the float net's scores", "rate",
         "accuracy, %", "same class as the float net, %", "divergence from it"],
        [[f"`{row['net']}`, {row['what']}", "scores" if row["learns"] == "teacher" else row["learns"],
          f"{row['learning_rate']:.0e}", f"{row['accuracy']:.1%}"[:-1], f"{row['agreement']:.1%}"[:-1],
          value(row["divergence"], 4)] for file in files for row in file["rows"]])


PAGES: dict[str, dict[str, Any]] = {
    "guides/quantize": {"quantization": quantization, "held_out": held_out},
    "speed": {
        "gpu": gpu, "gpu_plan": gpu_plan, "train_step": train, "inference_timm": inference, "int8": int8,
        "build": build, "input": images, "scaling": memory, "replicas": replicas,
        "stochastic_depth": stochastic_depth},
    "optimize": {"inference": latencies}, "exports": {"precisions": precisions, "export": exports,
                                              "mlperf_tiny": mlperf_tiny, "subsampling": subsampling}}


def summary(folder: pathlib.Path) -> str:
    """README's table: over all nets, how many times as fast, if the machine was quiet enough to say."""
    ratios: dict[tuple[str, str], list[float | None]] = {}

    def note(what: str, against: str, times: float | None) -> None:
        ratios.setdefault((what, against), []).append(times)

    def inverse(number: float | None) -> float | None:
        return None if number is None else 1 / number
    names = {
        "timm": "timm, channels_last", "stock": "Keras' own layers",
        "strided slices": "the same net with TensorFlow's own gradient of strided slices (ours is faster)"}
    kinds = {
        "best timm / best, float32": (
            "inference, float32", "timm's best: eager, channels_last, torch.compile"),
        "best timm / best, bfloat16": ("inference, bfloat16", "timm, bfloat16"),
        "predict / best bf16 or int8": (
            "inference, our fastest in bfloat16 or int8", "`predict` of keras.applications")}
    rows = {name: [row for file in stored(folder, name) for row in file["rows"]]
            for name in ("train_step", "inference_timm", "export", "build", "gpu")}
    for row in rows["train_step"]:
        for side in [side for side in row["ms"] if side not in ("reskeras", "matmul")]:
            note(f"a training step, {row['policy']}", names.get(side, side), row["times_faster"].get(side))
    for row in rows["inference_timm"]:
        for kind in row["ratio"]:
            what, against = kinds[kind]
            note(f"{what}, batch {row['batch']}", against, row["ratio"][kind])
    for row in rows["export"]:
        note("an exported file", "the file of the plain converter", inverse(row["ratio"]))
    for row in rows["build"]:
        for side, share in processor(row)["ratio"].items():
            note("building", side, inverse(share))
    for row in rows["gpu"]:
        what = "a training step" if row["what"] == "training" else "inference"
        note(
            f"{what}, mixed_bfloat16, batch {row['batch']}, on a GPU by JAX", "timm, torch.compile",
            row["times_timm"])
    first = stored(folder, "train_step")[0]
    return "\n".join(
        [
            *lines(
                ["", "against", "times as fast", "reliable measurements"],
                [
                    [
                        what, against,
                        f"{min(known):.2f} - {max(known):.2f}"
                        if len(known) > 1
                        else value(known[0] if known else None),
                        f"{len(known)} of {len(all_)}"]
                    for (what, against), all_ in sorted(ratios.items())
                    if (known := [n for n in all_ if n is not None]) or True]),
            "", f"`tox -e bench`: {source([first])}"])


def goals(folder: pathlib.Path) -> str:
    """Each goal, what was measured of it, and whether it is met wherever the machine was quiet enough to say.
    """
    rows = {name: [row for file in stored(folder, name) for row in file["rows"]]
            for name in ("train_step", "inference_timm", "build", "scaling")}
    built: dict[str, dict[str, Any]] = {}
    for row in rows["build"]:           # what was measured again where it was noisy
        if row["what"] not in built or None in processor(built[row["what"]])["ratio"].values():
            built[row["what"]] = row

    def steps(side: str, *nets: str) -> dict[str, float | None]:
        return {f"{row['net']}, {row['policy']}": row["times_faster"][side] for row in rows["train_step"]
                if side in row["times_faster"] and (not nets or row["net"] in nets)}

    def runs(kind: str) -> dict[str, float | None]:
        ratios: dict[str, float | None] = {}
        for row in (row for row in rows["inference_timm"] if kind in row["ratio"]):
            cell = f"{row['net']}, batch {row['batch']}"        # that was measured again where it was noisy
            ratios[cell] = row["ratio"][kind] if ratios.get(cell) is None else ratios[cell]
        return ratios
    deep = built["CifarResNet1202"]
    (made,) = stored(folder, "input")
    asked: list[tuple[str, dict[str, float | None], float, float]] = [
        (
            "a training step of ResNeXt-50, times as fast as Keras' own layers, at least 30", steps("stock"),
            30, math.inf),
        (
            "of ResNet50, as keras.applications, at least 1", steps("keras.applications", "ResNet50"), 1,
            math.inf),
        ("of all nets, as timm, at least 1 / 1.3", steps("timm"), 1 / 1.3, math.inf),
        ("in bfloat16, as timm, at least 1",
         {name.partition(",")[0]: times for name, times in steps("timm").items() if "bfloat16" in name}, 1,
         math.inf),
        (
            "the best float32 inference, as timm's best, at least 1", runs("best timm / best, float32"), 1,
            math.inf),
        (
            "the best bfloat16 or int8 inference, as `predict`, at least 4",
            runs("predict / best bf16 or int8"), 4, math.inf),
        (
            "`import reskeras`, seconds, less than 0.2",
            {"": built["import reskeras"]["ms"]["reskeras"] / 1000}, 0, 0.2),
        (
            "building ResNet50, the processor's time, times keras.applications', at most 0.5",
            {name: processor(row)["ratio"]["keras.applications"] for name, row in built.items()
             if name.startswith("ResNet50")}, 0, 0.5),
        ("building ResNeSt269, the processor's seconds, at most 3",
         {"": processor(built["ResNeSt269"])["ms"]["reskeras"] / 1000}, 0, 3),
        ("building 1202 layers, the processor's seconds, at most 6",
         {"": processor(deep)["ms"]["reskeras"] / 1000}, 0, 6),
        ("and GiB, less than 3", {"": deep["peak_mib"]["reskeras"] / 1024}, 0, 3),
        ("images a second by one core, as torchvision, at least 1",
         {kind: times for kind, times in made["ratio"].items() if "packed" not in kind}, 1, math.inf),
        ("an epoch's first batch, ms of the processor, at most 500", made["first_batch_ms"], 0, 500),
        (
            "memory of a step over what `cost` predicts, the same throughout",
            {f"{row['depth']} layers, batch {row['batch']}": row["ratio"] for row in rows["scaling"]}, 0,
            math.inf)]
    goals_table = []
    for goal, all_, low, high in asked:
        known = {name: number for name, number in all_.items() if number is not None}
        missed = [name or "it" for name, number in known.items() if not low <= number <= high]
        span = (
            "–"
            if not known
            else " - ".join(dict.fromkeys(value(n) for n in (min(known.values()), max(known.values())))))
        goals_table.append([goal, span + (f", {len(known)} of {len(all_)}" if len(all_) > 1 else ""),
                            "too noisy to say" if not known
                            else f"not by {', '.join(missed)}" if missed else "yes"])
    return "\n".join(lines(["goal", "measured", "met"], goals_table))


def text(folder: pathlib.Path, page: str) -> str:
    """The tables of a page, each with its command, machine and versions."""
    parts = []
    for name, table in PAGES[page].items():
        files = stored(folder, name)
        if files:
            more = [*profiles(files), ""] if table is train else []
            parts += [
                *table(files), "", *more, f"`{files[0]['command'].split(' --json')[0]}`: {source(files)}", ""]
    return "\n".join(parts)


if __name__ == "__main__":
    for whole in (summary, goals):
        print(whole(pathlib.Path(sys.argv[1])), end="\n\n")
    for page in PAGES:
        print(text(pathlib.Path(sys.argv[1]), page))
