"""Opens models of the Hugging Face hub: `from_pretrained("hf://user/name")`."""
from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .errors import make_printable
from .json_reader import read_json
from .weights.hub import HUB_PREFIX, HubRepository, fetch_hub_file, parse_hub_name

if TYPE_CHECKING:
    import keras

CONFIG_FILE, KERAS_FILE, SAFETENSORS_FILE = "config.json", "model.keras", "model.safetensors"
HUB_KEY = "reskeras"        # of what we write into config.json, beside timm's keys
_MAX_CONFIG, _MAX_MODEL = 1 << 24, 1 << 33      # bytes; the largest net of the table has half of the second


def from_pretrained(name: str) -> keras.Model:
    """Opens a model of the Hugging Face hub that `push_to_hub` wrote.

    The repository may be anybody's: no code in it runs.  Files are kept in the hub's cache (HF_HOME).
    Every function with the argument `model` takes such a name too.

    Args:
        name: "hf://user/name", or with a branch, tag or commit "hf://user/name@revision".

    Returns:
        The model, with its metadata.

    Raises:
        ValueError: for another spelling of `name`, a repository without a model of this package, or a damaged
            file.
        OSError: if a file cannot be downloaded.

    Example:
        >>> model = reskeras.from_pretrained("hf://user/name")
    """
    from .build import load     # imported late: Keras takes seconds to load, a wrong name should fail first
    return load(_fetch_model_file(name))


def is_hub_name(name: Any) -> bool:
    """Whether a `model` is the name of a repository."""
    return isinstance(name, str) and name.startswith(HUB_PREFIX)


def _fetch_model_file(name: str) -> str | os.PathLike[str]:
    """The path of the .keras file of a repository, which is downloaded if it is not in the cache.

    Raises: as `from_pretrained`.
    """
    repository = parse_hub_name(name)
    _check_config(repository)
    return fetch_hub_file(repository, KERAS_FILE, _MAX_MODEL)


def _check_config(repository: HubRepository) -> None:
    """Raises: ValueError for a repository without a config.json of this package; OSError."""
    file = fetch_hub_file(repository, CONFIG_FILE, _MAX_CONFIG)
    try:
        config = read_json(file, max_bytes=_MAX_CONFIG)
    except ValueError as error:
        raise ValueError(f"{repository.name}: {CONFIG_FILE} is damaged ({error})") from error
    if isinstance(config, dict) and isinstance(config.get(HUB_KEY), dict):
        return
    architecture = config.get("architecture") if isinstance(config, dict) else None
    hint = "its files are of another package"
    if isinstance(architecture, str):
        hint = (f"it is timm's {make_printable(architecture[:100])}: download {SAFETENSORS_FILE}, and give "
                "its path to that net as `weights`")
    raise ValueError(f"{repository.name}: expected a model that reskeras.push_to_hub wrote; {hint}")
