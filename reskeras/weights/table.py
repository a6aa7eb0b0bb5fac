"""One row per checkpoint that was published for one of our nets.  No framework is imported here.

table.json is data: `examples/refresh_weights.py` brings it up to date with timm's metadata.  Its mark "default" says what
weights="imagenet" means, is set by hand, and changes only in a major version.  It was set by this rule: Keras' own file for
Keras' nets; for the others the first checkpoint in timm's order (so timm's own default) that has ImageNet-1k's classes and a
permissive license, in safetensors before other formats; else the ResNeSt authors' release; else none.

Left out: Google's .h5 twins of Big Transfer's .npz, the same numbers in a subclassed model's layout that nobody documents.
"""
from __future__ import annotations

import dataclasses
import functools
import json
import os
import pathlib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Mapping

from ..errors import nearest

EMBEDDED_FOLDER = pathlib.Path(__file__).parent / "embedded"
TABLE_FILE = pathlib.Path(__file__).with_name("table.json")
HUB = "https://huggingface.co"
IMAGENET = "imagenet"       # no tag of its own: the row's default
CONVENTION = "its source states no crop or interpolation: those of this row are the convention of its kind"
PUBLISHED = "by Kaiming He's release (MIT), converted"
POOL = "the net differs from its row in the stem's pool alone, which no parameter count shows"
NOTES = {**dict.fromkeys(("keras", "tf_keras", "google", "akamaster", "chenyaofo"), CONVENTION),
         **dict.fromkeys(("keras/ResNet50", "keras/ResNet101", "keras/ResNet152"), PUBLISHED),
         **dict.fromkeys(("timm/legacy_senet154", "timm/legacy_seresnext50_32x4d", "timm/legacy_seresnext101_32x4d"), POOL),
         "torchvision": "the license is of torchvision's code; the weights carry none of their own",
         "timm/resnet50.bamboo": "trained on Bamboo's classes, but the file has no classifier: the head starts at random"}
# what a path ends in; read by `weights.files`
FILE_SUFFIXES = (".safetensors", ".weights.h5", ".h5", ".keras", ".npz", ".pth", ".pt", ".th")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint: where it is, what it fits, what it expects of an image, what it was published to reach.

    Sizes are in pixels, fractions in 0..1, accuracies in percent on the labels' validation set.
    """
    variant: str                          # the net, as in `reskeras.variants`
    tag: str                            # its name among the row's checkpoints
    id: str                             # its name at its source: "timm/resnet50.a1_in1k"
    format: str                         # safetensors, h5, pth, npz, keras
    url: str = ""                       # "" for what comes with the package
    repo: str = ""                      # on the Hugging Face hub, else ""
    file: str = ""                      # in the repository or the package
    revision: str = ""                  # commit of the repository, "" where none is known
    sha256: str = ""
    sha256_prefix: str = ""             # of 8 or 9 digits, from the file's name; timm's old ones are not its hub files'
    md5: str = ""                       # what Keras publishes
    include_top: bool = True            # whether the file has a classifier
    # Spec fields in which the source's net is not the row
    spec_fields: Mapping[str, Any] = field(default_factory=dict, hash=False)
    is_default: bool = False              # what weights="imagenet" means
    # the image
    input_size: int = 224
    test_input_size: int = 0            # as published for testing; input_size where nothing else was
    channels: int = 3
    pixels: str = "torch"               # torch: (x / 255 - mean) / std; tf: the same with halves; caffe: BGR, x - mean
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bicubic"
    crop_pct: float = 0.875
    test_crop_pct: float = 0.0          # crop_pct where nothing else was published
    crop_mode: str = "center"
    # the labels
    labels: str = "imagenet-1k"         # the set's name, "" without a classifier
    classes: int = 1000                 # 0 without a classifier
    label_offset: int = 0               # classes in the file before the first of the set ("background")
    dataset: str = "in1k"               # "in21k->in1k": trained on the first, tuned on the second
    # the record
    license: str = "apache-2.0"         # SPDX in small letters; "" where none was published
    recipe: str = ""
    top1: float | None = None           # at top1_size
    top5: float | None = None
    top1_size: int = 0
    test_top1: float | None = None      # at test_input_size, where that is another size
    test_top5: float | None = None

    def __post_init__(self):
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "test_input_size", self.test_input_size or self.input_size)
        object.__setattr__(self, "test_crop_pct", self.test_crop_pct or self.crop_pct)
        if self.repo and not self.url:
            object.__setattr__(self, "url", f"{HUB}/{self.repo}/resolve/{self.revision or 'main'}/{self.file}")

    @property
    def name(self) -> str:
        """What `create` and `get_weights` take: "resnet50v1_5.a1_in1k"."""
        return f"{self.variant}.{self.tag}"

    @property
    def source(self) -> str:
        """Who published it: timm, torchvision, keras, tf_keras, resnest, akamaster, chenyaofo, google, reskeras."""
        return self.id.partition("/")[0]

    @property
    def source_net(self) -> str:
        """The source's name for the net: "timm/resnet50"."""
        return self.id.removesuffix(f".{self.tag}")

    @property
    def note(self) -> str:
        """What its source does not say, or says of something else; "" where there is no such thing."""
        return "; ".join(NOTES[key] for key in (self.source, self.source_net, self.id) if key in NOTES)

    @property
    def allows_commercial_use(self) -> bool:
        """Whether the license allows commercial use; False also where none was published."""
        return bool(self.license) and "-nc" not in self.license


@functools.cache
def list_checkpoints() -> tuple[Checkpoint, ...]:
    """Every checkpoint, in the order of the nets."""
    return tuple(Checkpoint(**entry) for entry in json.loads(TABLE_FILE.read_text(encoding="utf-8")))


@functools.cache
def checkpoints_by_tag(row: str) -> dict[str, Checkpoint]:
    """The row's checkpoints by tag."""
    return {w.tag: w for w in list_checkpoints() if w.variant == row}


@functools.cache
def get_source_nets() -> dict[str, tuple[str, dict[str, Any]]]:
    """ "timm/resnet50" -> (row, Spec fields), for every net of a source that has weights."""
    return {w.source_net: (w.variant, {k: v for k, v in w.spec_fields.items() if k != "pixels"}) for w in list_checkpoints()}


def get_default_checkpoint(row: str) -> Checkpoint | None:
    """What weights="imagenet" means for the row."""
    return next((w for w in checkpoints_by_tag(row).values() if w.is_default), None)


def get_default_weights(row: str) -> str | None:
    """What the row's builder loads when nothing is asked for: "imagenet", or None where that has no meaning."""
    return IMAGENET if get_default_checkpoint(row) else None


def list_weights(pattern: str | None = None, *, dataset: str | None = None, license: str | None = None,
                 source: str | None = None, commercial: bool | None = None) -> list[str]:
    """The names of the published checkpoints, such as "resnet50v1_5.a1_in1k", in the order of the nets.

    Arguments:
        pattern: a shell pattern of those names or of the source's ("resnet50*", "*.ra2_in1k", "timm/resnet50.*").
        dataset: "in1k", "in21k->in1k", "cifar10" ..., or a pattern such as "*in1k".
        license: "apache-2.0", "bsd-3-clause", "cc-by-nc-4.0" ..., or a pattern.
        source: "timm", "torchvision", "keras" ..., or a pattern.
        commercial: whether the license allows commercial use.
    Raises: ValueError for a dataset, license or source that no checkpoint has; the message names the nearest.
    """
    for name, value in (("dataset", dataset), ("license", license), ("source", source)):
        known = sorted({getattr(w, name) for w in list_checkpoints()} - {""})
        if value is not None and not any(fnmatchcase(k, value.lower()) for k in known):
            raise ValueError(f"{name}={value!r}: expected one of {', '.join(known)}{nearest(value, known)}")
    return [w.name for w in list_checkpoints()
            if (pattern is None or fnmatchcase(w.name, pattern.lower()) or fnmatchcase(w.id.lower(), pattern.lower()))
            and all(value is None or fnmatchcase(getattr(w, name), value.lower())
                    for name, value in (("dataset", dataset), ("license", license), ("source", source)))
            and commercial in (None, w.allows_commercial_use)]


def get_weights(name: str) -> Checkpoint:
    """The published checkpoint of that name.

    Arguments:
        name: a net and a tag ("resnet50v1_5.a1_in1k", "timm/resnet50.a1_in1k"), or a net alone for its default weights.
    Raises: ValueError for an unknown name; the message names the nearest, or the net whose tag it is.
    """
    if isinstance(name, Checkpoint):
        return name
    if not isinstance(name, str):
        raise ValueError(f"name={name!r}: expected a string such as 'resnet50v1_5.a1_in1k'")
    ids, names = _checkpoints_by_id(), _checkpoints_by_name()
    if known := names.get(name.lower()) or ids.get(name.lower()):
        return known
    net, _, tag = name.partition(".")
    row = get_source_nets()[net][0] if net in get_source_nets() else net
    if checkpoints_by_tag(row):
        found = find_checkpoint(row, tag or IMAGENET, net)
        if isinstance(found, Checkpoint):
            return found
        raise ValueError(_unknown_tag_message(row, tag))     # a file has that name
    raise ValueError(f"unknown weights {name!r}{nearest(name, ids if '/' in name else names)}; "
                     f"reskeras.list_weights() names all {len(names)}")


def find_checkpoint(row: str, weights: Any, net: str = "") -> Checkpoint | str | os.PathLike[str] | None:
    """What `weights=` of a builder means: a checkpoint of the table, a path, or None.

    Arguments:
        weights: None, a Weights, a tag of the row, "imagenet", a checkpoint's full name, or a path.
        net: the source's name for the net, if it was asked for by that; "imagenet" is then the source's own checkpoint where
            the source's net is not quite the row.
    Raises: ValueError for a tag that is not the row's; the message says whose it is, or the nearest spelling.
    """
    if weights is None or isinstance(weights, os.PathLike):
        return weights
    found: Checkpoint | None
    if isinstance(weights, Checkpoint):
        found = weights
    elif not isinstance(weights, str):
        raise ValueError(f"weights={weights!r}: expected None, a tag such as 'imagenet', or a path")
    elif weights.lower() == IMAGENET:
        own = [w for w in checkpoints_by_tag(row).values() if w.source_net == net and w.labels == "imagenet-1k" and w.allows_commercial_use]
        found = own[0] if own and get_source_nets()[net][1] else get_default_checkpoint(row)
    else:
        lower = {tag.lower(): w for tag, w in checkpoints_by_tag(row).items()}
        found = lower.get(weights.lower()) or _checkpoints_by_name().get(weights.lower()) or _checkpoints_by_id().get(weights.lower())
        if found is None and (weights.endswith(FILE_SUFFIXES) or os.path.exists(weights)):
            return weights
    if found is None:
        raise ValueError(_unknown_tag_message(row, weights))
    if found.variant != row:
        raise ValueError(f"weights={found.name!r}: they are {found.variant}'s, and this net is {row}")
    return found


def _unknown_tag_message(row: str, tag: str) -> str:
    """Why the row has no such weights."""
    own = ", ".join(checkpoints_by_tag(row)) or "none"
    if tag.lower() == IMAGENET:
        return f"weights={tag!r}: no weights of {row} are its default; its tags: {own}"
    others = sorted({w.variant for w in list_checkpoints() if w.tag == tag.lower()})
    elsewhere = [w.name for w in list_checkpoints() if w.id.rpartition("/")[2].lower() == f"{row}.{tag}".lower()]
    if elsewhere:       # timm's resnet50.a1_in1k, whose net has another name here
        guess = f"; did you mean {elsewhere[0]!r}?"
    elif others:
        guess = f"; that tag is of {', '.join(others[:4])}{' ...' if len(others) > 4 else ''}"
    else:
        guess = nearest(tag, (IMAGENET, *checkpoints_by_tag(row)))
    return f"weights={tag!r}: {row} has no weights of that name, and there is no such file{guess}; its tags: {own}"


@functools.cache
def _checkpoints_by_id() -> dict[str, Checkpoint]:
    return {w.id.lower(): w for w in list_checkpoints()}


@functools.cache
def _checkpoints_by_name() -> dict[str, Checkpoint]:
    return {w.name.lower(): w for w in list_checkpoints()}


def to_table_entry(weights: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the table without what is the default anyway, as table.json keeps it."""
    known = {f.name: f.default if f.default is not dataclasses.MISSING else {} for f in dataclasses.fields(Checkpoint)}
    entry = {name: weights[name] for name in known if weights.get(name) is not None}
    for size, test in (("input_size", "test_input_size"), ("crop_pct", "test_crop_pct")):
        if entry.get(test) == entry.get(size, known[size]):
            entry.pop(test, None)
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in entry.items()}
    return {k: v for k, v in plain.items() if k in ("variant", "tag", "id", "format") or
            v != (list(known[k]) if isinstance(known[k], tuple) else known[k])}
