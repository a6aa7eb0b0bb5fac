"""`weights`: published checkpoints: list, show, download, check them; files for other packages."""
from __future__ import annotations

import pathlib
from typing import Iterable, Iterator, NoReturn

from ..errors import ArgumentError
from ..terminal import print_text
from ..weights.checkpoint import Checkpoint
from ..weights.table import find_weights, get_weights, is_path, list_weights
from .catalog_tables import format_checkpoints


def list_all(pattern: str | None = None, *, dataset: str | None = None,
             license: str | None = None) -> list[str]:
    """The names of the checkpoints.

    Args:
        pattern: a shell pattern, such as "resnet50*".
        dataset: what they were trained on, such as "in1k".
        license: such as "apache-2.0".

    Raises:
        ArgumentError: if there is no such checkpoint.
    """
    names = list_weights(pattern, dataset=dataset, license=license)
    if not names:
        _explain_no_match(pattern, dataset, license)
    return names


def _explain_no_match(pattern: str | None, dataset: str | None, license: str | None) -> NoReturn:
    """Raises: ArgumentError for the first filter that leaves nothing of what the ones before it leave."""
    if not list_weights(pattern):
        raise ArgumentError("pattern", pattern, "the name of a checkpoint, or a pattern such as 'resnet50*'",
                            list_weights(), "`reskeras weights list` names all")
    if dataset is None or list_weights(pattern, dataset=dataset):
        name, value, names = "license", license, list_weights(pattern, dataset=dataset)
    else:
        name, value, names = "dataset", dataset, list_weights(pattern)
    known = sorted({str(getattr(get_weights(each), name)) for each in names} - {""})
    filters = [f"{key} {text!r}" for key, text in (("pattern", pattern), ("dataset", dataset))
               if text is not None and key != name]
    raise ArgumentError(name, value, f"one of {', '.join(known) or 'none'}, which the checkpoints of "
                        f"{' and '.join(filters)} have", known)


def _find_all(names: Iterable[str]) -> list[Checkpoint]:
    """The checkpoints of some names.  Raises: ArgumentError."""
    return [find_weights(name, "names") for name in names]


def show(names: Iterable[str]) -> Iterator[str]:
    """All that is known of some checkpoints, a line for each field."""
    for checkpoint in _find_all(names):
        for field, value in {**vars(checkpoint), "note": checkpoint.note}.items():
            yield f"{field:18} {value}"


def fetch(names: Iterable[str]) -> Iterator[str]:
    """Downloads and checks checkpoints.  Yields: the path of each file."""
    from ..weights.fetch import fetch_checkpoint
    # a wrong name is an error before the first download
    for checkpoint in _find_all(names):
        yield str(fetch_checkpoint(checkpoint))


def verify(names: Iterable[str] = (), *, remote: bool = False, hashes: str | None = None) -> Iterator[str]:
    """Reads the cached files of checkpoints again, or asks the servers for the hashes of theirs.

    Args:
        names: the checkpoints; with `remote` by default all that are downloaded from a server.
        remote: ask the servers; nothing is downloaded.
        hashes: the file in which the servers' hashes are kept; by default the one in the cache, with which
            downloads are compared.

    Yields:
        A line for each checkpoint: SHA-256 and name; with `remote` what has changed, too.

    Raises:
        ArgumentError: for an unknown name, or without names and `remote`.
        ValueError: for a damaged file of hashes, a file in the cache that is not the published one, or after
            all lines with `remote` if a file has changed.
        OSError: if a file is not in the cache.
    """
    names = list(names)
    if remote:
        from ..weights.server_hashes import verify_remote_files
        chosen = _find_all(names or list_weights())
        yield from verify_remote_files([each for each in chosen if each.url], hashes)
        return
    if hashes is not None:
        raise ArgumentError("hashes", hashes, "None without `remote`")
    if not names:
        raise ArgumentError("names", names, "the names of checkpoints, or remote=True for the servers' files")
    from ..weights.fetch import verify_cached_file
    for checkpoint in _find_all(names):
        yield f"{verify_cached_file(checkpoint)}  {checkpoint.name}"


def convert(source: str, destination: str, *, naming: str = "timm", net: str | None = None) -> Iterator[str]:
    """Writes the weights of a model, a checkpoint or a file as timm, torchvision or KerasHub name them.

    Args:
        source: a .keras file, a model on the hub such as "hf://user/name", the name of a checkpoint, or a
            file of weights together with `net`.
        destination: the .safetensors file to write; for timm a config.json is written beside it; for KerasHub
            the folder to write.
        naming: "timm", "torchvision" or "kerashub".
        net: the name of the net, for a file of weights, or a model whose own name is not that of a net; None
            for a checkpoint, whose name says it.

    Yields:
        The path of each written file.

    Raises:
        ValueError: for a source that cannot be read, or a net that the other package does not have.
        OSError: if a file cannot be read or written.
    """
    from ..catalog import create, is_file_name, load_keras_file
    from ..pretrained import is_hub_name
    from ..sharing.save_weights import check_arguments, check_checkpoint, save_weights
    check_arguments(destination, naming, "destination")
    if source.endswith(".keras") or is_hub_name(source):
        model = load_keras_file(source)
    elif not is_file_name(source) and not is_path(source):
        checkpoint = find_weights(source, "source")
        if net is not None:
            raise ArgumentError("net", net, f"None, because {source} is a checkpoint of {checkpoint.variant}")
        check_checkpoint(checkpoint, naming)        # before the download
        model = create(checkpoint.name)
    elif net is None:
        raise ArgumentError("net", net, f"the name of the net that {source} has the weights of",
                            hint="a file of weights does not say it; such as 'resnet50d'")
    else:
        model = create(net, weights=pathlib.Path(source))
    save_weights(model, destination, naming, net)
    yield destination
    if naming == "timm":
        yield str(pathlib.Path(destination).with_name("config.json"))


def print_result(result: Iterable[str], markdown: bool = False) -> int:
    """Prints a line for each checkpoint of a list, or the lines that another function yields.

    Returns:
        The exit code.
    """
    if markdown:
        print_text(format_checkpoints(result))
        return 0
    for line in map(_describe, result) if isinstance(result, list) else result:
        print_text(line)
    return 0


def _describe(name: str) -> str:
    """A line about a checkpoint."""
    checkpoint = get_weights(name)
    top1_size = checkpoint.top1_size or checkpoint.input_size
    accuracy = f"{checkpoint.top1:6.2f} % top-1 at {top1_size}" if checkpoint.top1 else ""
    return (f"{checkpoint.name:48} {checkpoint.dataset:18} {checkpoint.license or 'no license given':18} "
            f"{accuracy}{'  default' * checkpoint.is_default}")
