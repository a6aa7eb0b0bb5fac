"""Import, building and its memory: reskeras against keras.applications and timm, each in a fresh process, in
turns.

    python examples/benchmarks/build.py --timm ../timm-env/bin/python --json build.json

Milliseconds of the import and of the first build after it, the processor's time for the same, and the most
memory that the process held.  The 1202 layers have no other side.  Processor time is what counts on a machine
with other work: it leaves out the time in which a process waits for a core.
"""
from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

from timing import Timed, figures, in_turns, parser, ratio, shown, write

NETS = ("ResNet50", "ResNet152", "ResNeSt269", "CifarResNet1202")
APPLICATIONS = ("ResNet50", "ResNet152")
TIMM = {"ResNet50": "resnet50", "ResNet152": "resnet152", "ResNeSt269": "resnest269e"}
WITH_FILE = ", weights="       # after the name of a net that reads a file of weights
# prints milliseconds, those of the processor, and MiB; what a build needs is imported before its clock starts
BODY = """
import json, resource, time
{before}
start, processor = time.perf_counter(), time.process_time()
{timed}
ms, processor_ms = 1000 * (time.perf_counter() - start), 1000 * (time.process_time() - processor)
print(json.dumps([ms, processor_ms, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""
LIGHT = "; import sys; assert not {'tensorflow', 'keras', 'numpy'} & set(sys.modules)"


class Fresh:
    """A side in a process of its own at each call."""

    def __init__(self, timed: str, before: str = "", python: str = sys.executable):
        self.command = [python, "-c", BODY.format(before=before, timed=timed)]
        self.mib, self.processor_ms = 0.0, []

    def __call__(self) -> float:
        out = subprocess.run(self.command, capture_output=True, text=True, check=True).stdout
        ms, processor_ms, mib = json.loads(out.splitlines()[-1])
        self.processor_ms.append(processor_ms)
        self.mib = max(self.mib, mib)
        return ms


def cases(nets: list[str], timm: str | None, folder: str) -> dict[str, dict[str, Fresh]]:
    """What is built -> its sides."""
    sides = {"import reskeras": {"reskeras": Fresh("import reskeras" + LIGHT)},
             "reskeras list": {"reskeras": Fresh("import reskeras.cli; reskeras.cli.main(['list'])" + LIGHT)}}
    for net in nets:
        sides[net] = {"reskeras": Fresh(f"reskeras.{net}(weights=None)", "import keras, reskeras.build")}
        if net in APPLICATIONS:
            sides[net]["keras.applications"] = Fresh(
                f"keras.applications.{net}(weights=None)", "import keras")
        file = pathlib.Path(folder, f"{net}.weights.h5")
        if net in APPLICATIONS:
            Fresh(f"keras.applications.{net}(weights=None).save_weights({str(file)!r})", "import keras")()
            sides[net + WITH_FILE] = {
                "reskeras": Fresh(f"reskeras.{net}(weights={str(file)!r})", "import keras, reskeras.build"),
                "keras.applications": Fresh(
                    f"keras.applications.{net}(weights={str(file)!r})", "import keras")}
        if timm and net in TIMM:
            sides[net]["timm"] = Fresh(f"timm.create_model({TIMM[net]!r})", "import timm", timm)
    return sides


def main() -> None:
    arguments = parser(__doc__, seconds=0.0)
    arguments.add_argument("--nets", nargs="*", default=NETS)
    arguments.add_argument("--timm", help="a Python that has torch and timm")
    arguments.add_argument("--calls", type=int, default=2, help="of each half, at least")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(what, sides, options)
                for what, sides in cases(options.nets, options.timm, folder).items()]
    write(options.json, rows)


def measure(what: str, sides: dict[str, Fresh], options: argparse.Namespace) -> dict[str, Any]:
    """Times the sides of a case in turns, and prints them."""
    times: dict[str, Timed] = in_turns(sides, options.seconds, warm=0, least=options.calls)
    processor = {name: Timed(tuple(side.processor_ms)) for name, side in sides.items()}
    ratios, processor_ratios = ({side: ratio(timed["reskeras"], timed[side]) for side in sides
                                 if side != "reskeras"} for timed in (times, processor))
    text = "  ".join(f"{name} {times[name].ms:.0f} ms, {processor[name].ms:.0f} of the processor, "
                     f"{side.mib:.0f} MiB" for name, side in sides.items())
    print(f"{what:18} {text}" + "".join(
        f"; reskeras / {side} {shown(value)}, {shown(processor_ratios[side])} of the processor"
        for side, value in ratios.items()), flush=True)
    return {"what": what, **figures(times), "ratio": ratios,
            "processor": {**figures(processor), "ratio": processor_ratios},
            "peak_mib": {name: round(side.mib) for name, side in sides.items()}}


if __name__ == "__main__":
    main()
