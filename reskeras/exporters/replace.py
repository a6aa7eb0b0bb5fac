"""Files that appear whole or not at all."""
from __future__ import annotations

import contextlib
import json
import os
import pathlib
import tempfile
from typing import Iterator, Sequence

SAVED_MODEL = {"saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra"}


def others(target: pathlib.Path, companions: Sequence[pathlib.Path] = ()) -> None:
    """Raises: ValueError for a file beside `target` that an export would replace and no earlier one has written.

    Arguments:
        companions: files that belong to one at `target`, whoever wrote it.
    """
    if not target.name:
        raise ValueError(f"{os.fspath(target)!r}: expected the name of a file or of a new folder")
    beside = [target.with_name(target.name + suffix) for suffix in (".json", ".npz")]
    try:
        ours = {"file", "sha256", "runtimes"} <= set(json.loads(beside[0].read_text(encoding="utf-8")))     # a certificate
    except (OSError, ValueError, TypeError):
        ours = False
    for file in (*([] if ours else beside), *([] if target.exists() else companions)):
        if file.exists():
            raise ValueError(f"{file} is not of an earlier export to {target}, and would be lost; give another path")


@contextlib.contextmanager
def replacing(target: pathlib.Path, folder: bool = False) -> Iterator[pathlib.Path]:
    """A path to write to.  It, and all that the block writes beside it, take the target's place if the block succeeds.

    Otherwise nothing has changed, whatever ended the block: an error, a full disk, an interrupt.

    Arguments:
        folder: whether a SavedModel folder will be written, not a file.
    Raises: ValueError where `target` is something else already; OSError where it cannot be written.
    """
    if target.is_dir() and (not folder or {f.name for f in target.iterdir()} - SAVED_MODEL):
        raise ValueError(f"{target} is a folder of other files; give the path of a new one")
    if folder and target.is_file():
        raise ValueError(f"{target} is a file, and without a suffix a SavedModel folder would be written")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        own = tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise OSError(error.errno, f"{target} cannot be written: {error.strerror}") from error
    with own as name:
        new, old = pathlib.Path(name, "new"), pathlib.Path(name, "old")
        new.mkdir()
        old.mkdir()
        yield new / target.name
        _swap(new, old, target.parent)


def _swap(new: pathlib.Path, old: pathlib.Path, place: pathlib.Path) -> None:
    """Moves what is in `new` to `place`, and what was there to `old`; all of it, or (after an error) none."""
    moved: list[tuple[pathlib.Path, pathlib.Path]] = []
    try:
        for file in sorted(new.iterdir()):
            for source, goal in ((place / file.name, old / file.name), (file, place / file.name)):
                if os.path.lexists(source):
                    moved.append((source, goal))    # first: an interrupt may come between
                    os.replace(source, goal)
    except BaseException:
        for source, goal in reversed(moved):
            if os.path.lexists(goal) and not os.path.lexists(source):
                os.replace(goal, source)
        raise
