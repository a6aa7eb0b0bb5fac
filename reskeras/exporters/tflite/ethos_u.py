"""What Arm's Ethos-U, an accelerator of microcontrollers, does of a .tflite: as its compiler Vela says."""
from __future__ import annotations

import csv
import importlib.util
import pathlib
import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from typing import Any, Mapping

from ...errors import ExportError
from ...file_reading import read_text
from ..options import ETHOS_U
from . import flatbuffer

_NPU_OPERATOR = "CUSTOM ethos-u"    # which stands for all that the accelerator does


@dataclass(frozen=True)
class EthosUResult:
    """What Vela expects of one accelerator, with its default clock and memories."""

    accelerator: str                # of ETHOS_U
    operators: int                  # that it takes
    cpu_operators: dict[str, int]   # that it leaves to the processor
    macs: int                       # multiply-accumulates of an image on the accelerator
    sram_bytes: float
    other_bytes: float              # of flash or DRAM, for the weights
    cycles: int                     # of an image
    milliseconds: float             # the same at its default clock

    def summary(self) -> str:
        """One line for people."""
        return (f"{self.accelerator}: {self.operators} operators and {self.macs:,} multiply-accumulates on "
                f"it, {self.cycles:,} cycles ({self.milliseconds:.2f} ms), {self.sram_bytes / 1024:.0f} KiB "
                f"of SRAM, {self.other_bytes / 1024:.0f} KiB of flash or DRAM")


def check_vela() -> None:
    """Raises: ImportError if Vela is not installed."""
    if importlib.util.find_spec("ethosu") is None:
        raise ImportError("files for an Ethos-U need ethos-u-vela: pip install \"reskeras[ethos-u]\"")


def measure_target(path: pathlib.Path, target: str | None, left_to_cpu: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a report that say what its target does of the file; {} unless that is an Ethos-U.

    Args:
        path: path of the .tflite file.
        target: as `export` takes it.
        left_to_cpu: what the report has of other delegates.
    """
    if target not in ETHOS_U:
        return {}
    result = _measure_ethos_u(path, target)
    return {"ethos_u": result, "left_to_cpu": {**left_to_cpu, target: result.cpu_operators}}


def _measure_ethos_u(path: pathlib.Path, accelerator: str) -> EthosUResult:
    """Compiles a file in a process of its own, and reads what Vela says.

    Args:
        path: path of the .tflite file, of integers.
        accelerator: of ETHOS_U.

    Raises:
        ExportError: Vela cannot compile it.
    """
    with tempfile.TemporaryDirectory() as name:
        done = subprocess.run(
            [sys.executable, "-m", "ethosu.vela", str(path), "--accelerator-config", accelerator,
             "--output-dir", name],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
        summaries = [*pathlib.Path(name).glob("*_summary_*.csv")]
        if done.returncode or not summaries:
            reason = next(iter((done.stderr or done.stdout).strip().splitlines()[-1:]), "no summary")
            raise ExportError(f"{path}: Vela cannot compile it ({reason})")
        (row,) = csv.DictReader(read_text(summaries[0]).splitlines())
        (compiled,) = pathlib.Path(name).glob("*_vela.tflite")
        cpu_operators = Counter(flatbuffer.iterate_operator_names(flatbuffer.read_model(compiled)))
    del cpu_operators[_NPU_OPERATOR]
    count = re.search(r"NPU operators = (\d+)", done.stdout)
    others = (row[f"{name}_memory_used"] for name in ("dram", "on_chip_flash", "off_chip_flash"))
    return EthosUResult(
        accelerator=accelerator, operators=int(count[1]) if count else 0,
        cpu_operators=dict(sorted(cpu_operators.items())), macs=int(row["nn_macs"]),
        sram_bytes=float(row["sram_memory_used"]) * 1024, other_bytes=sum(map(float, others)) * 1024,
        cycles=int(row["cycles_total"]), milliseconds=1000 * float(row["inference_time"]))
