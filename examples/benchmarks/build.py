"""Import, building and its memory: reskeras against keras.applications and timm, each in a fresh process, in
turns.

    python examples/benchmarks/build.py --timm ../timm-env/bin/python --json build.json

Milliseconds of the import and of the first build after it, and the most memory that the process held.  The
1202 layers have no other side.
"""
from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from timing import Timed, figures, in_turns, parser, ratio, shown, write

NETS = ("ResNet50", "ResNet152", "ResNeSt269", "CifarResNet1202")
APPLICATIONS = ("ResNet50", "ResNet152")
TIMM = {"ResNet50": "resnet50", "ResNet152": "resnet152", "ResNeSt269": "resnest269e"}
# prints milliseconds and MiB; what a build needs is imported before its clock starts
BODY = """
import json, resource, time
{before}
start = time.perf_counter()
{timed}
ms = 1000 * (time.perf_counter() - start)
print(json.dumps([ms, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""
LIGHT = "; import sys; assert not {'tensorflow', 'keras', 'numpy'} & set(sys.modules)"


class Fresh:
    """A side in a process of its own at each call."""

    def __init__(self, timed: str, before: str = "", python: str = sys.executable):
        self.command = [python, "-c", BODY.format(before=before, timed=timed)]
        self.mib = 0.0

    def __call__(self) -> float:
        out = subprocess.run(self.command, capture_output=True, text=True, check=True).stdout
        ms, mib = json.loads(out.splitlines()[-1])
        self.mib = max(self.mib, mib)
        return ms


def cases(nets: list[str], timm: str | None) -> dict[str, dict[str, Fresh]]:
    """What is built -> its sides."""
    sides = {"import reskeras": {"reskeras": Fresh("import reskeras" + LIGHT)},
             "reskeras list": {"reskeras": Fresh("import reskeras.cli; reskeras.cli.main(['list'])" + LIGHT)}}
    for net in nets:
        sides[net] = {"reskeras": Fresh(f"reskeras.{net}(weights=None)", "import keras, reskeras.build")}
        if net in APPLICATIONS:
            sides[net]["keras.applications"] = Fresh(
                f"keras.applications.{net}(weights=None)", "import keras")
        if timm and net in TIMM:
            sides[net]["timm"] = Fresh(f"timm.create_model({TIMM[net]!r})", "import timm", timm)
    return sides


def main() -> None:
    arguments = parser(__doc__, seconds=0.0)
    arguments.add_argument("--nets", nargs="*", default=NETS)
    arguments.add_argument("--timm", help="a Python that has torch and timm")
    arguments.add_argument("--calls", type=int, default=2, help="of each half, at least")
    options = arguments.parse_args()
    rows: list[dict[str, Any]] = []
    for what, sides in cases(options.nets, options.timm).items():
        times: dict[str, Timed] = in_turns(sides, options.seconds, warm=0, least=options.calls)
        ratios = {side: ratio(times["reskeras"], times[side]) for side in sides if side != "reskeras"}
        rows.append(
            {
                "what": what, **figures(times), "ratio": ratios,
                "peak_mib": {s: round(f.mib) for s, f in sides.items()}})
        text = "  ".join(f"{side} {times[side].ms:.0f} ms, {sides[side].mib:.0f} MiB" for side in sides)
        print(
            f"{what:18} {text}"
            + "".join(f"; reskeras / {side} {shown(value)}" for side, value in ratios.items()),
            flush=True)
    write(options.json, rows)


if __name__ == "__main__":
    main()
