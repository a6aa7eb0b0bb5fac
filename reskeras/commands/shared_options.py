"""Options that several commands have, with the same words of help."""
from __future__ import annotations

from .command_parser import CommandParser
from .option_values import parse_int, parse_size

SOURCES = ("folder:PATH, table:FILE, tfrecord:GLOB, packed:FOLDER, tfds:NAME, hf:NAME[:SPLIT], npz:FILE, "
           "cifar10, cifar100 or digits; a path may be a URL such as s3://BUCKET/KEY")


def add_size(sub: CommandParser, text: str) -> None:
    """Adds `--size`, with a text for its help."""
    sub.add_argument("--size", type=parse_size, metavar="PIXELS|HEIGHTxWIDTH", help=text)


def add_classifier(sub: CommandParser, top: int) -> None:
    """Adds the options of a classifier, of which `top` classes are printed."""
    sub.add_argument("--model", required=True, metavar="NAME[.TAG]|FILE",
                     help="such as cifar_resnet20.digits")
    sub.add_argument("--top", type=parse_int, default=top, metavar="N",
                     help="how many classes (default: %(default)s)")
    add_metadata(sub)


def add_trust(sub: CommandParser) -> None:
    """Adds `--trust`."""
    sub.add_argument("--trust", action="store_true",
                     help="run a SavedModel, which is a program: only if you know where it comes from")


def add_metadata(sub: CommandParser) -> None:
    """Adds `--preprocessing` and `--labels`."""
    sub.add_argument("--preprocessing", metavar="NAME.TAG",
                     help="how images are prepared, for a file that does not know it: as for this checkpoint")
    sub.add_argument("--labels", metavar="NAME|FILE",
                     help="class names, for a file that does not know them: a label set, or a text file with "
                          "a name on each line")


def add_label_offset(sub: CommandParser) -> None:
    """Adds `--label-offset`."""
    sub.add_argument("--label-offset", type=parse_int, metavar="0|1",
                     help="label of the first class in TFRecord files; by default 0 if a record has it, else "
                          "1")


def add_overrides(sub: CommandParser) -> None:
    """Adds `--overrides` and `--model-overrides`."""
    sub.add_argument("--overrides", action="append", default=[], metavar="FIELD=VALUE",
                     help="a different value of the training, such as epochs=10")
    sub.add_argument("--model-overrides", action="append", default=[], metavar="FIELD=VALUE",
                     help="a different value of the net, such as drop_path_rate=0.1")


def to_option(name: str) -> str:
    """Spells an argument as an option: "batch_size" is "--batch-size"."""
    return "--" + name.replace("_", "-")
