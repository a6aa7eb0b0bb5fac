"""The loggers of a training by name: TensorBoard, Weights & Biases, MLflow.

Each is a Keras callback that records the results of the epochs under the numbers of the epochs, from 1 on.
Where the results go is said by the variables of these programs, such as WANDB_PROJECT, WANDB_MODE and
MLFLOW_TRACKING_URI.
"""
from __future__ import annotations

import importlib
import os
import pathlib
import warnings
from typing import Any, Iterable, Mapping, Sequence

import keras

from ..errors import ArgumentError, describe_error
from ..files import write_text
from ..json_reader import check_json_type, read_json
from ..json_writer import to_json
from .run_folder import RunFolder

LOGGERS = ("tensorboard", "wandb", "mlflow")
_FILE = "loggers.json"          # in a run folder: logger -> the name of its run, to go on with


def check_loggers(names: Iterable[str] | str, output: Any) -> tuple[str, ...]:
    """The names of loggers, checked.

    Args:
        names: a list, or a text with commas.
        output: the folder of the run; TensorBoard writes there.

    Raises:
        ArgumentError: for an unknown name, and for tensorboard without a folder.
        ImportError: if the package of a logger is not installed.
    """
    words = tuple(word.strip() for word in names.split(",")) if isinstance(names, str) else tuple(names)
    for word in words:
        if word not in LOGGERS:
            raise ArgumentError("loggers", word, f"some of {', '.join(LOGGERS)}", LOGGERS)
        if word == "tensorboard" and output is None:
            raise ArgumentError("loggers", word, "a folder as `output` too, into which TensorBoard writes")
        _import(word)
    return tuple(dict.fromkeys(words))


def make_loggers(names: Sequence[str], run: RunFolder | None, info: Mapping[str, Any]) -> list[Any]:
    """The callbacks of loggers; [] for any other worker than the first.

    Args:
        names: what `check_loggers` returned.
        run: the folder of the run; it keeps which run of a logger is gone on with.
        info: what run.json says of the run.
    """
    if run is not None and not run.is_chief:
        return []
    return [_CLASSES[name](run, info) for name in names]


class _Logger(keras.callbacks.Callback):
    """A callback that records results in a run of a service, which a resumed training goes on with.

    If the service fails at the beginning, that is an error; later it is a warning, and the training goes on.
    """

    name = ""

    def __init__(self, run: RunFolder | None, info: Mapping[str, Any]):
        super().__init__()
        self.folder = None if run is None else pathlib.Path(run.folder)
        self.values = _flatten(info)
        self.title = self.folder.name if self.folder else str(info["net"])

    def on_train_begin(self, logs: Any = None) -> None:
        try:
            self.begin(_import(self.name), self._read_id())
        except ImportError:
            raise
        except Exception as error:
            raise ValueError(f"the logger {self.name} cannot begin ({describe_error(error)})") from error

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        try:
            self.record(epoch + 1, {name: float(value) for name, value in (logs or {}).items()})
        except Exception as error:
            warnings.warn(f"the logger {self.name} could not record epoch {epoch + 1} "
                          f"({describe_error(error)}); the training goes on", stacklevel=2)

    def begin(self, package: Any, identity: str | None) -> None:
        """Begins a run of the service, or goes on with the one that has this identity."""
        raise NotImplementedError

    def record(self, epoch: int, results: Mapping[str, float]) -> None:
        """Records the results of an epoch."""
        raise NotImplementedError

    def _read_id(self) -> str | None:
        """The identity of the run that this training has begun, if it is resumed."""
        if self.folder is None or not (self.folder / _FILE).is_file():
            return None
        saved: dict[str, str] = check_json_type(read_json(self.folder / _FILE), dict[str, str],
                                                os.fspath(self.folder / _FILE), "")
        return saved.get(self.name)

    def write_id(self, identity: str) -> None:
        """Keeps the identity of the run, for a training that is resumed."""
        if self.folder is not None:
            path = self.folder / _FILE
            saved = read_json(path) if path.is_file() else {}
            write_text(path, to_json({**saved, self.name: identity}))


class _WandbLogger(_Logger):
    """Weights & Biases: one run, whose steps are the epochs."""

    name = "wandb"

    def begin(self, package: Any, identity: str | None) -> None:
        self._run = package.init(name=self.title, id=identity, config=self.values, resume="allow",
                               dir=None if self.folder is None else os.fspath(self.folder))
        self.write_id(self._run.id)

    def record(self, epoch: int, results: Mapping[str, float]) -> None:
        self._run.log({**results, "epoch": epoch}, step=epoch)

    def on_train_end(self, logs: Any = None) -> None:
        self._run.finish()


class _MlflowLogger(_Logger):
    """MLflow: the values of the recipe as parameters, the results as metrics, whose steps are the epochs."""

    name = "mlflow"

    def begin(self, package: Any, identity: str | None) -> None:
        self._client, self._id = package.MlflowClient(), identity
        if self._id is None:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "Default")
            experiment = self._client.get_experiment_by_name(name)
            number = self._client.create_experiment(name) if experiment is None else experiment.experiment_id
            self._id = self._client.create_run(number, run_name=self.title).info.run_id
            for key, value in self.values.items():
                self._client.log_param(self._id, key, str(value)[:500])
            self.write_id(self._id)
        else:
            self._client.update_run(self._id, status="RUNNING")

    def record(self, epoch: int, results: Mapping[str, float]) -> None:
        for key, value in results.items():
            self._client.log_metric(self._id, key, value, step=epoch)

    def on_train_end(self, logs: Any = None) -> None:
        self._client.set_terminated(self._id)


def _make_tensorboard(run: RunFolder | None, info: Mapping[str, Any]) -> keras.callbacks.Callback:
    assert run is not None
    return keras.callbacks.TensorBoard(os.fspath(run.path("tensorboard")), write_graph=False)


_CLASSES = {"tensorboard": _make_tensorboard, "wandb": _WandbLogger, "mlflow": _MlflowLogger}


def _flatten(info: Mapping[str, Any]) -> dict[str, Any]:
    """What a logger says of a run: its net, its data, and the recipe's values."""
    recipe = info["recipe"]
    return {"net": info["net"], "data": info["data"]["name"], "seed": info["seed"], "recipe": recipe["name"],
            **recipe["training"], **{f"model.{name}": value for name, value in recipe["model"].items()}}


def _import(name: str) -> Any:
    """The package of a logger.  Raises: ImportError that says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"the logger {name} needs the package {name}: pip install \"reskeras[{name}]\""
                          ) from error
