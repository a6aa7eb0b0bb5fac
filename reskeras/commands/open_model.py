"""NAME or FILE: the net that somebody means who wants to look at it."""
from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .. import catalog
from ..weights.table import Checkpoint, get_default_weights
from ..weights.table import find_checkpoint as weights_of
from ..weights.table import get_weights, checkpoints_by_tag

if TYPE_CHECKING:
    import keras

FILES = (".keras", ".tflite", ".h5")
EXPORTED = (".tflite", ".onnx", ".xml")
Net = str | os.PathLike[str]


def open_model(what: Net | keras.Model, size: int | None = None, values: bool = True, **fields: Any) -> keras.Model:
    """The net that `what` names, of random weights (a file has its own), or the model that it is.

    Arguments:
        what: a row ("resnet50d"), a row with a checkpoint (its head and size), another package's name for one, a `.keras`
            file, or a model.
        size: pixels on a side, for a name; its own by default.
        values: whether the weights are needed; without them a net of any size costs no memory, and cannot run.
        **fields: of the Spec, for a name.
    Raises: ValueError for an unknown name, a bad size or an unreadable file; FileNotFoundError.
    """
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
        raise ValueError(f"size={size!r}: expected a number of pixels")
    if not isinstance(what, (str, os.PathLike)):
        return what
    name = os.fspath(what)
    if name.endswith(FILES):
        return load_keras_file(name)
    row, tag, own = catalog.find_variant(name)      # before Keras starts, which takes its time
    import keras
    options: dict[str, Any] = {**own, **fields}
    if tag:
        chosen = weights_of(row.name, tag)
        assert isinstance(chosen, Checkpoint)
        options = {**chosen.spec_fields, **options, "input_shape": (chosen.input_size,) * 2 + (chosen.channels,)}
        options |= {"classes": chosen.classes} if chosen.classes else {}
    if size:
        options["input_shape"] = (size, size, options.get("input_shape", (0, 0, 3))[2])
    if values:
        return row(weights=None, **options)
    with keras.StatelessScope(initialize_variables=False):
        return row(weights=None, **options)


def open_trained_model(what: Net | keras.Model, open_size: bool = False) -> keras.Model:
    """The net that `what` names with its published weights, that of a `.keras` file, or the model that it is.

    Arguments:
        open_size: of a name, the net for images of any size.
    Raises: ValueError for a name without weights, which would guess, or an unreadable file; FileNotFoundError; OSError.
    """
    if not isinstance(what, (str, os.PathLike)):
        return what
    name = os.fspath(what)
    if name.endswith(FILES) or os.path.isdir(name):
        return load_keras_file(name)
    check_model(name)
    shape = {"input_shape": (None, None, get_weights(name).channels)} if open_size else {}
    return catalog.create(name, **shape)


def check_model(name: str) -> None:
    """Raises: ValueError for what is no net with weights, FileNotFoundError for no file; Keras need not start for that."""
    if name.endswith((*FILES, *EXPORTED)):
        if not os.path.exists(name):
            raise FileNotFoundError(f"{name}: no such file")
    elif not os.path.isdir(name):
        row, tag, _ = catalog.find_variant(name)
        if tag:
            weights_of(row.name, tag, name.partition(".")[0])
        elif get_default_weights(row.name) is None:
            own = [f"{row.name}.{tag}" for tag in checkpoints_by_tag(row.name)]
            raise ValueError(f"{name} has no default weights; " + (f"name one of its own: {', '.join(own)}" if own else
                                                                   "nobody has published any, give a .keras file of yours"))


def load_keras_file(name: str) -> keras.Model:
    from ..build import load
    if not name.endswith(".keras"):
        raise ValueError(f"{name}: a .keras file is expected, which alone has the layers to look at")
    if not os.path.exists(name):
        raise FileNotFoundError(f"{name}: no such file")
    try:
        return load(name)
    except Exception as error:      # Keras, h5py and zipfile have each their own
        raise ValueError(f"{name} is no readable Keras file ({type(error).__name__}: {error})") from error


def get_image_shape(model: keras.Model, size: int | None = None) -> tuple[int, ...] | None:
    """What `cost` takes as input_shape: None for a net of several inputs or none open.

    Raises: ValueError where a size is needed.
    """
    if isinstance(model.input_shape, (list, dict)):
        return None
    own = tuple(model.input_shape[1:])
    if size and len(own) == 3:
        own = (size, size, own[2])
    if None in own:
        raise ValueError(f"{model.name}: its images {own} have no size of their own; give one, as in size=224")
    return own
