"""`push_to_hub`: writes a model, its weights, its metadata and a card into a repository on the hub."""
from __future__ import annotations

import os
import pathlib
import re
import tempfile
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError, make_printable, short_repr
from ..json_writer import to_json
from ..pretrained import CONFIG_FILE, HUB_KEY, KERAS_FILE, SAFETENSORS_FILE

if TYPE_CHECKING:
    import keras
    from ..sharing.known_net import KnownNet

_CARD_FILE = "README.md"
_REPO = re.compile(r"[\w.-]+/[\w.-]+")


def push_to_hub(model: keras.Model, repo: str, *, run: str | os.PathLike[str] | None = None,
                license: str | None = None, private: bool = False,
                commit_message: str = "Add model") -> str:
    """Writes a model into a repository on the Hugging Face hub, in one commit.

    The repository has the model (model.keras), its weights (model.safetensors, with timm's names if timm has
    the net, so that timm opens the repository too), config.json (the net and the fields in which the model
    differs from it, the metadata, and timm's keys), and a card (README.md).  `from_pretrained` opens it.

    Args:
        model: a functional model, such as a builder or `fit` returns.
        repo: "user/name"; it is made if it does not exist.
        run: the folder of the training run (`output` of `fit`): the card then has recipe, data and accuracy.
        license: the license of the model, such as "apache-2.0"; by default that of the checkpoint that the
            model began with, if it is known.
        private: whether a new repository is private.
        commit_message: the first line of the commit.

    Returns:
        The URL of the commit.

    Raises:
        TypeError: if `model` is not a Keras model.
        ValueError: for a wrong name of the repository, or a damaged run folder.
        OSError: if the hub does not take the files; log in with `hf auth login` first.

    Example:
        >>> reskeras.push_to_hub(model, "user/name", run="runs/flowers")
    """
    if not isinstance(repo, str) or not _REPO.fullmatch(repo) or ".." in repo:
        raise ArgumentError("repo", repo, "the name of a repository, such as 'user/name'")
    import keras
    if not isinstance(model, keras.Model):
        raise TypeError(f"model={short_repr(model)}: expected a keras.Model")
    facts = _read_run(run) if run is not None else {}
    with tempfile.TemporaryDirectory() as folder:
        files = _write_files(model, repo, license, facts, pathlib.Path(folder))
        return _upload(repo, files, private, commit_message)


def _write_files(model: keras.Model, repo: str, license: str | None, facts: dict[str, str],
                 folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes what the repository gets into a folder, and returns the paths."""
    from .. import __version__
    from ..build import save
    from ..files import write_bytes, write_text
    from ..model_metadata import get_metadata
    from ..sharing.known_net import find_known_net
    from ..sharing.model_card import make_model_card
    from ..weights.table import find_weights
    metadata = get_metadata(model)
    checkpoint = find_weights(metadata.weights, "weights") if metadata.weights else None
    known: KnownNet | None
    try:
        known = find_known_net(model)
    except ValueError:      # any model can be pushed
        known = None
    tensors, timm_config = _find_tensors(model, known)
    config = {**timm_config, HUB_KEY: {
        "version": __version__, "variant": known.variant.name if known else None,
        "overrides": known.overrides if known else {}, "metadata": metadata.get_config()}}

    save(model, folder / KERAS_FILE)
    write_bytes(folder / SAFETENSORS_FILE, tensors)
    write_text(folder / CONFIG_FILE, to_json(config, default=str))
    variant = known.variant.name if known else ""
    license = license or (checkpoint.license if checkpoint else None) or None
    card = make_model_card(model, repo, variant, metadata, checkpoint, license, facts)
    write_text(folder / _CARD_FILE, card)
    return sorted(folder.iterdir())


def _find_tensors(model: keras.Model, known: KnownNet | None) -> tuple[bytes, dict[str, Any]]:
    """The bytes of the .safetensors file, and timm's config; with Keras' names if timm has no such net."""
    from ..sharing.save_weights import find_source
    from ..sharing.timm_config import make_timm_config
    from ..weights.save import list_keras_tensors, list_tensors, to_safetensors
    from ..weights.save_names import get_layout
    try:
        if known is not None:
            source = find_source(known, "timm")
            layout = get_layout(source)
            config = make_timm_config(model, known, source, layout)
            return to_safetensors(list_tensors(model, layout, known.spec)), config
    except ValueError:
        pass
    return to_safetensors(list_keras_tensors(model)), {}


def _read_run(run: str | os.PathLike[str]) -> dict[str, str]:
    """What the folder of a training run says, for the card."""
    import csv

    from ..file_reading import read_text
    from ..train.run_folder import LOG_FILE, read_run_info
    info = read_run_info(run)
    data = info["data"]
    facts = {"Recipe": f"`{info['recipe']['name']}`",
             "Training data": f"{data.get('name', 'not known')}, "
                              f"{data.get('images', 'unknown number of')} images"}
    rows = list(csv.DictReader(read_text(pathlib.Path(run) / LOG_FILE).splitlines()))
    best = max(rows, key=lambda row: _to_float(row.get("val_accuracy")), default=None)
    if best and _to_float(best.get("val_accuracy")) >= 0:
        percent = f"{100 * _to_float(best['val_accuracy']):.2f} %"
        facts["Accuracy"] = f"{percent} top-1 on the validation data (epoch {best['epoch']} of {len(rows)})"
    return facts


def _to_float(text: str | None) -> float:
    try:
        return float(text or -1)
    except ValueError:
        return -1.0


def _upload(repo: str, files: list[pathlib.Path], private: bool, commit_message: str) -> str:
    """Makes one commit with the files.  Raises: OSError, one line."""
    from huggingface_hub import CommitOperationAdd, HfApi
    try:
        api = HfApi(library_name="reskeras")
        api.create_repo(repo_id=repo, private=private, exist_ok=True)
        commit = api.create_commit(repo, [CommitOperationAdd(file.name, str(file)) for file in files],
                                   commit_message=commit_message)
        return str(commit.commit_url)
    except Exception as error:      # the errors of the library have no other common class
        reason = make_printable(" ".join(str(error).split())[:500])
        raise OSError(f"hf://{repo}: the hub does not take the model ({reason}); `hf auth login` logs in"
                      ) from error
