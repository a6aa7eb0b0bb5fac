"""Images that a training leaves out: counted in each epoch, named on the console and in the run's folder."""
from __future__ import annotations

import pathlib

from ..json_reader import check_json_type, read_json
from ..terminal import print_text
from . import strategy as strategies
from .checkpoint import TrainState
from .data import ImageDataset
from .reading_errors import describe_unreadable
from .run_folder import LEFT_OUT_FILE
from .training_config import TrainingConfig

_KINDS = {"unreadable": "training", "val_unreadable": "validation"}


class LeftOutImages:
    """Counts and names what a training run cannot read.

    Args:
        config: of the training.
    """

    def __init__(self, config: TrainingConfig):
        self._config = config
        datasets: dict[str, ImageDataset | None] = {"unreadable": config.data,
                                                    "val_unreadable": config.validation}
        self._datasets = {name: data for name, data in datasets.items()
                          if data is not None and data.can_be_unreadable}
        self._names: dict[str, list[str]] = {name: [] for name in self._datasets}

    def count(self, state: TrainState) -> dict[str, float]:
        """How many images could not be read so far, of the training and of the validation, as in log.csv.

        Every worker must call this method, as they tell each other.
        """
        counts = {}
        for name, data in self._datasets.items():
            indices = strategies.gather_union(self._config.strategy, data.unreadable)
            new = [image for image in map(data.source.image_name, indices) if image not in self._names[name]]
            self._names[name] += new
            counts[name] = float(len(indices))
            if state.epochs:        # a run that an earlier version started has no values of these epochs
                state.history.setdefault(name, [counts[name]] * len(state.epochs))
            if new and self._config.verbose and not data.worker:
                end_of_bar = "\n" if self._config.verbose == 1 else ""
                print_text(f"{end_of_bar}{data.source.name}: {len(new)} {_KINDS[name]} images could not be "
                           f"read and are left out: {describe_unreadable(new)}")
        self._write()
        return counts

    def _write(self) -> None:
        """Writes the names into the run's folder, if there are any."""
        sources = {name: data.source for name, data in self._datasets.items()}
        beside = [image for source in sources.values() for image in source.left_out]
        names = self._names | {"no_image": list(dict.fromkeys(beside))}
        if self._config.run is not None and any(names.values()):
            self._config.run.write_left_out(names)


def read_left_out(folder: pathlib.Path) -> dict[str, list[str]]:
    """The names that were written into a run's folder, {} if none were.

    Returns:
        "unreadable", "val_unreadable" and "no_image" (files that are not images by their names, or are in no
        class's folder) -> names.

    Raises:
        ValueError: for a damaged file.
    """
    file = folder / LEFT_OUT_FILE
    if not file.is_file():
        return {}
    names: dict[str, list[str]] = check_json_type(read_json(file), dict[str, list[str]], str(file), "names")
    return names
