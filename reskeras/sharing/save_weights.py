"""Writes a net's weights as timm, torchvision and KerasHub have them: `save_weights`."""
from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING, Any

from ..catalog import find_variant, list_models, list_source_names
from ..errors import ArgumentError, check_choice, short_repr
from ..files import atomic_write
from ..json_writer import to_json
from ..variants import VARIANTS
from ..weights.checkpoint import Checkpoint

if TYPE_CHECKING:
    import keras
    from .known_net import KnownNet

NAMINGS = ("timm", "torchvision", "kerashub")


def save_weights(model: keras.Model, path: str | os.PathLike[str], naming: str = "timm",
                 net: str | None = None) -> None:
    """Saves the weights of a net as timm, torchvision or KerasHub name them.

    For timm a file config.json is written beside the weights, with timm's name of the net, its classes and
    its preprocessing.  timm then loads the folder: `timm.create_model("local-dir:FOLDER", pretrained=True)`.
    The weights alone load by `timm.create_model("resnet50", checkpoint_path="FOLDER/model.safetensors")`.
    For KerasHub a preset is written, a folder that `keras_hub.models.ImageClassifier.from_preset("FOLDER")`
    opens.  Until all files are complete, old ones do not change.

    Args:
        model: a net of the table as a builder returns it, with any weights, classes, image size and channels.
            Stochastic depth and dropout may differ from the table, and so may the numbers of blocks and
            channels if timm's or KerasHub's net takes them.  For torchvision they are not checked: its
            functions build nets of their own sizes alone.
        path: the file, whose name must end in ".safetensors"; for KerasHub the folder, which may have an
            older preset.  Missing folders are made.
        naming: "timm", "torchvision" or "kerashub".
        net: the name of the net, as `reskeras.create` takes it; by default the model's own name, or the net
            of the checkpoint that the model began with.

    Raises:
        TypeError: if `model` is not a Keras model, or `path` is not a path.
        ValueError: for a net that the package does not have; the message names the nearest one that it has,
            or another way to save the model.  For a net that Keras has quantized.  For a folder with other
            files.
        OSError: if a file cannot be written.

    Example:
        >>> model = reskeras.create("timm/resnet50")
        >>> reskeras.save_weights(model, "folder/model.safetensors", naming="timm")
    """
    import keras
    if not isinstance(model, keras.Model):
        raise TypeError(f"model={short_repr(model)}: expected a keras.Model")
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path={short_repr(path)}: expected the path of a file to write")
    check_arguments(path, naming)
    from ..graph.model_requirements import check_floating_point
    from ..weights.save import list_tensors, to_safetensors
    from ..weights.save_names import get_layout
    from .known_net import find_known_net
    check_floating_point(model)
    known = find_known_net(model, net)
    source = find_source(known, naming)
    if naming == "kerashub":
        from .kerashub_preset import write_preset
        write_preset(model, known, path)
        return

    layout = get_layout(source)
    config: dict[str, Any] = {}
    if naming == "timm":
        from .timm_config import CONFIG_FILE, make_timm_config
        config = make_timm_config(model, known, source, layout)
        _check_folder(pathlib.Path(path), CONFIG_FILE)
    try:
        tensors = list_tensors(model, layout, known.spec)
    except KeyError as error:
        raise ArgumentError("naming", naming, f"a source that has every layer of {model.name}",
                            hint=str(error.args[0])) from error
    with atomic_write(path) as new:
        new.write_bytes(to_safetensors(tensors))
        if config:
            new.with_name(CONFIG_FILE).write_text(to_json(config), encoding="utf-8")


def check_arguments(path: str | os.PathLike[str], naming: str, argument: str = "path") -> None:
    """Raises: ArgumentError for an unknown naming, or a path to which such files cannot be written.

    Args:
        path: where the weights will be written.
        naming: whose names they get.
        argument: the name of the argument that has the path.
    """
    check_choice("naming", naming, NAMINGS)
    if naming == "kerashub":
        from .kerashub_preset import check_preset_folder
        check_preset_folder(path, argument)
        return
    if not os.fspath(path).endswith(".safetensors"):
        hint = "reskeras.save writes .keras files" if os.fspath(path).endswith(".keras") else (
            "timm and torchvision read it, and no code in it can run")
        raise ArgumentError(argument, os.fspath(path), "a path that ends in .safetensors", hint=hint)


def check_checkpoint(checkpoint: Checkpoint, naming: str) -> None:
    """Raises: ArgumentError if the package of a naming does not have the net of a checkpoint."""
    from .known_net import KnownNet
    fields = {key: value for key, value in checkpoint.spec_fields.items() if key != "pixels"}
    find_source(KnownNet(VARIANTS[checkpoint.variant], fields), naming)


def find_source(known: KnownNet, naming: str) -> str:
    """The name that the package of a naming gives a net: "timm/resnet50".

    Raises: ArgumentError if it has none there.
    """
    fields = {key: value for key, value in known.overrides.items()
              if key not in ("depths", "widths", "stem_width", "width")}
    nets = list_source_names()
    for name in (*known.variant.sources, *nets):
        if name.startswith(f"{naming}/") and nets[name] == (known.variant.name, fields):
            return name

    packages = {each.partition("/")[0] for each in known.variant.sources}
    others = [each for each in NAMINGS if each in packages and each != naming]
    hint = f"naming={others[0]!r} has it" if others else _suggest_net(known.variant.name, naming)
    raise ArgumentError("naming", naming, f"a package that has the net {known.variant.name!r}",
                        hint=f"{hint}; reskeras.save writes any model to a .keras file")


def _suggest_net(variant: str, naming: str) -> str:
    """A net of the same name or beginning that the package of a naming has, in words."""
    nets = {name: source for source, (name, _) in list_source_names().items()
            if source.startswith(f"{naming}/")}
    same_name = f"{naming}/{variant}"
    if same_name in list_source_names():
        name = find_variant(same_name)[0].name
        return f"{same_name} is another net, which is called {name!r} here"
    family = find_variant(variant)[0].family
    like = next((name for name in list_models(family=family) if name in nets), "resnet50v1_5")
    return f"{naming} has no such net; the nearest one that it has is {like!r}"


def _check_folder(path: pathlib.Path, config_file: str) -> None:
    """Raises: ArgumentError if a new file would take the config.json of other weights in its folder."""
    if path.with_name(config_file).exists() and not path.exists():
        raise ArgumentError("path", os.fspath(path), f"a folder without {config_file}",
                            hint=f"{path.with_name(config_file)} belongs to other weights; give a new folder")
