"""An exported file checked again on the machine that will run it: NumPy and the file's own runtime are all it needs."""
from __future__ import annotations

import os
import pathlib
from dataclasses import asdict, dataclass, replace

import numpy as np

from . import reference_outputs
from .report import Certificate, Measured, Threshold, as_json, compared, latency, relative, size_and_hash
from .formats import Runtime, format_of, open_file
from .tflite.tflite import before_softmax

SAME = 0.05     # integer kernels of two machines may round the last bit apart, and a net carries that on


@dataclass(frozen=True)
class Verified:
    """What a file does here, beside what its certificate says of the machine that exported it."""
    file: str
    passed: bool
    faults: tuple[str, ...]             # what is wrong, () where it passed
    images: int                         # compared: those kept beside the file
    runtimes: dict[str, Measured]       # against Keras' answers
    difference_from_export: float       # of the first runtime here to the same there, relative
    operators: dict[str, int]
    versions: dict[str, str]

    def summary(self) -> str:
        """One line for people."""
        times = "".join(f"; {name} {m.latency_ms['median']:.2f} ms, {m.max_relative_difference:.1e} from Keras"
                        for name, m in self.runtimes.items())
        return f"{self.file}: {'passed' if self.passed else 'FAILED: ' + ', '.join(self.faults)} ({self.images} images{times})"

    def json(self) -> str:
        """With null where a difference is not finite."""
        return as_json(asdict(self))


def verify(path: str | os.PathLike[str], threads: int = 1) -> Verified:
    """Runs a file on the images kept beside it, and compares its answers with Keras' and with those of its export.

    Arguments:
        path: of a file that `reskeras.export` wrote, with its `.json` and `.npz`.
        threads: of the runtime.
    Raises: FileNotFoundError where one of the three is missing, ValueError where one cannot be read.
    """
    file = pathlib.Path(path)
    form = format_of(file)
    beside = [file.with_name(file.name + suffix) for suffix in (".json", ".npz")]
    for needed in (file, *beside):
        if not needed.exists():
            raise FileNotFoundError(f"{needed}: no such file; reskeras.export writes it beside the net")
    held = Certificate.read(beside[0])
    kept = reference_outputs.read(beside[1])
    images = kept.images
    if size_and_hash(*form.files(file)) != (held.bytes, held.sha256):       # what runs it may crash
        return Verified(file.name, False, ("it is not the file of the certificate: its sha256 is another",), 0, {},
                        float("inf"), {}, form.module.version())
    faults = [] if held.passed else [f"at its export {held.fault or 'it fell short'}"]
    runtimes, here = {}, None
    for name, there in held.runtimes.items():
        run = open_file(file, threads, name)
        if any(side not in (None, own) for side, own in zip(run.shape[1:], images.shape[1:])):
            raise ValueError(f"{beside[1]} holds no images to compare: they are of the shape {images.shape[1:]}, the file takes "
                             f"{run.shape[1:]}")
        found = run(images)
        here = found if here is None else here
        one = np.resize(images, (run.shape[0] or 1, *images.shape[1:]))
        logits = None if kept.logits is None else (Runtime(before_softmax(file), run.shape)(images), kept.logits)
        runtimes[name] = measured = compared(found, kept.keras, there.kind, held.measure, None, latency(run.run, one), logits,
                                             held.scale)
        if fault := measured.fault(_looser(held.thresholds[name])):
            faults.append(f"in {name} {fault}")
    assert here is not None
    difference = relative(here, kept.exported, np.max)
    if not difference <= SAME:
        faults.append(f"the answers differ by {difference:.2g} from those on the machine that exported it")
    operators = form.module.operators(file)
    if operators != held.operators:
        faults.append("its operators are not those of the certificate")
    return Verified(file.name, not faults, tuple(faults), len(images), runtimes, difference, operators, form.module.version())


def _looser(threshold: Threshold) -> Threshold:
    """A share of a class cannot be asked of a handful of images; that they differ little from the export's says more."""
    return replace(threshold, agreement=None)
