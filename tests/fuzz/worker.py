"""Makes attempts in a process of its own: `worker.py FOLDER`, then a line "FORMAT,SEED" for each on stdin.

The good files of a format are written to FOLDER/FORMAT/good when it is first asked for, and the damaged file
to FOLDER/FORMAT/SEED, with the good ones beside it; that folder is removed unless the attempt has a fault.
Each answer is one line of JSON.
"""
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
_ANSWERS = os.fdopen(os.dup(1), "w", encoding="utf-8")     # stdout is for what libraries print
os.dup2(2, 1)

import faulthandler  # noqa: E402
import gc  # noqa: E402
import json  # noqa: E402
import pathlib  # noqa: E402
import random  # noqa: E402
import re  # noqa: E402
import resource  # noqa: E402
import shutil  # noqa: E402
import time  # noqa: E402
import traceback  # noqa: E402
import warnings  # noqa: E402

TESTS = pathlib.Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "weights")]

import damaged_formats  # noqa: E402
from public_calls import FORMATS, Refusal  # noqa: E402

MEMORY = 2 ** 31        # bytes over idle
# What the calls say they raise for a bad file; FloatingPointError: the results are not finite
DOCUMENTED = (ValueError, OSError, FloatingPointError, Refusal)


def main(top: pathlib.Path) -> None:
    started: set[str] = set()
    for line in sys.stdin:
        name, seed = line.strip().split(",")
        place = top / name.replace(" ", "_")
        if name not in started:
            _start(name, place / "good")
            started.add(name)
        answer = _attempt(name, int(seed), place)
        print(json.dumps(answer), file=_ANSWERS, flush=True)


def _start(name: str, good: pathlib.Path) -> None:
    """Writes the good files, and makes every call with them, so that libraries have what they keep."""
    if not good.is_dir():
        new = good.with_name("new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        FORMATS[name].make(new)
        new.rename(good)
    for call in {call for _, call in FORMATS[name].attempts}:
        copy = good.with_name("copy")
        shutil.copytree(good, copy)
        call(copy)      # an error here is one of the tests
        shutil.rmtree(copy)


def _attempt(name: str, seed: int, place: pathlib.Path) -> dict[str, object]:
    target, call = FORMATS[name].attempts[seed % len(FORMATS[name].attempts)]
    folder = place / str(seed)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(place / "good", folder)
    rng, good = random.Random(f"{name} {seed}"), (folder / target).read_bytes()
    what, data = damaged_formats.mutate_file(target, good, rng)
    (folder / target).write_bytes(data)
    (folder / "what.txt").write_text(what)

    gc.collect()
    # an allocation beyond it fails; threads that wait count with their stacks, so it is set anew each time
    resource.setrlimit(resource.RLIMIT_DATA, (_read_status("VmData") + MEMORY, resource.RLIM_INFINITY))
    pathlib.Path("/proc/self/clear_refs").write_text("5")       # the peak begins anew
    idle, start = _read_status("VmRSS"), time.process_time()
    outcome, text = _make_call(call, folder, target)
    resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    answer = {"outcome": outcome, "text": text, "what": what, "seconds": time.process_time() - start,
              "memory": _read_status("VmHWM") - idle}
    if outcome != "fault":
        shutil.rmtree(folder)
    return answer


def _make_call(call, folder: pathlib.Path, target: str) -> tuple[str, str]:
    """Returns: "accepted", "refused" or "fault", and the error."""
    try:
        call(folder)
        return "accepted", ""
    except DOCUMENTED as error:
        text = str(error)
        # of two files that are read together, such as net.xml and net.bin, the message may name the other one
        is_named = str(folder) in text or f"{pathlib.PurePath(target).stem}." in text
        if is_named and text.isprintable() and len(text) < 2000:
            return "refused", f"{type(error).__name__}: {text}"
        return "fault", f"its message does not name the file in one line: {traceback.format_exc()}"
    except BaseException:
        return "fault", traceback.format_exc()


def _read_status(field: str) -> int:
    """A size of this process in bytes, as Linux counts it."""
    text = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"{field}:\s+(\d+)", text)[1])


if __name__ == "__main__":
    faulthandler.enable()
    warnings.simplefilter("ignore")
    main(pathlib.Path(sys.argv[1]))
