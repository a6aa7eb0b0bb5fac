"""`reskeras`: one sub-command is one library call.  Imports stay inside functions: `reskeras list` never loads Keras."""
from __future__ import annotations

import argparse
import os
import re
import sys
from typing import Any, NoReturn, Sequence

from .spec import nearest


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; errors are one line on stderr and exit code 2."""
    options = parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        return options.run(options)
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(f"reskeras: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


class Parser(argparse.ArgumentParser):
    """An error is one line, with the nearest command."""

    def error(self, message: str) -> NoReturn:
        if found := re.match(r"argument COMMAND: invalid choice: '(.*?)' \(choose from (.*)\)", message):
            known = re.findall(r"[\w-]+", found[2])
            message = f"unknown command {found[1]!r}{nearest(found[1], known)}; the commands are {', '.join(known)}"
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    top = Parser(prog="reskeras", description="The whole residual-network family for Keras 3.")
    top.add_argument("--version", action="version", version=version())
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    sub = command("list", run_list, "the nets, with parameters and multiply-accumulates")
    sub.add_argument("pattern", nargs="?", help='a shell pattern, such as "resnest*"')
    sub.add_argument("--markdown", action="store_true", help="the family table of the README")
    sub = command("show", run_show, "one row of the table: what the net is made of")
    sub.add_argument("name")
    sub.add_argument("--diff", metavar="OTHER", help="only the fields in which it differs from another net")
    sub = command("demo", run_demo, "train, optimize, export and use a net on real images, in two minutes")
    sub.add_argument("--fast", action="store_true", help="seconds instead of minutes: a smaller net, few epochs")
    sub.add_argument("--output", default="saved_models/demo", help="folder of the artefacts (%(default)s)")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--quiet", action="store_true", help="print nothing")
    sub.add_argument("--keep", action="store_true", help="make it the net that comes with the package (in a checkout)")
    sub = command("predict", run_predict, "classify images")
    sub.add_argument("images", nargs="+", metavar="IMAGE")
    sub.add_argument("--model", required=True, metavar="NAME[.TAG]|FILE", help="such as cifar_resnet20.digits")
    sub.add_argument("--preprocess", metavar="NAME.TAG", help="of a file that does not say: the weights it began with")
    sub.add_argument("--labels", help="of a file that does not say: a label set, or a text file with a name per line")
    sub.add_argument("--top", type=int, default=5)
    sub.add_argument("--json", action="store_true", help="for programs")
    sub = command("weights", run_weights_list, "published checkpoints: list, show, fetch, verify")
    actions = sub.add_subparsers(metavar="ACTION", required=True)
    for name, run, text in (("list", run_weights_list, "the checkpoints, with licence and published accuracy"),
                            ("show", run_weights_show, "all that is known of one"),
                            ("fetch", run_weights_fetch, "download and check, print where the files are"),
                            ("verify", run_weights_verify, "read the files in the cache again, print their sha256")):
        action = actions.add_parser(name, help=text, description=text)
        action.set_defaults(run=run)
        if name == "list":
            action.add_argument("pattern", nargs="?", help='a shell pattern, such as "resnet50*"')
            action.add_argument("--dataset")
            action.add_argument("--licence")
            action.add_argument("--markdown", action="store_true", help="the table of the README")
        else:
            action.add_argument("names", nargs="+", metavar="NAME.TAG")
    return top


def version() -> str:
    from . import __version__
    return f"reskeras {__version__}"


def run_list(options: argparse.Namespace) -> int:
    from . import catalog
    names = catalog.list_models(options.pattern)
    if not names:
        raise ValueError(f"no net is named {options.pattern!r}{nearest(options.pattern, catalog.list_models())}")
    if options.markdown:
        print(catalog.markdown(names))
        return 0
    for name in names:
        size = catalog.sizes()[name]
        print(f"{name:28} {size.params / 1e6:8.2f} M parameters {size.macs / 1e9:8.3f} G MACs   "
              f"{catalog.variants.ROWS[name].family}")
    return 0


def run_show(options: argparse.Namespace) -> int:
    from . import catalog
    from .spec import differences
    from .weights.table import find
    row, tag, fields = catalog.find(options.name)
    if tag:
        find(row.name, tag)     # an unknown one is an error
    if options.diff:
        other, _, other_fields = catalog.find(options.diff)
        pairs = differences(catalog.spec_of(row, fields), catalog.spec_of(other, other_fields))
        for field, (mine, theirs) in pairs.items():
            print(f"{field:24} {mine!s:32} {theirs}")
        return 0
    size = catalog.sizes()[row.name]
    print(f"{row.builder}: {row.name}, {catalog.variants.FAMILIES[row.family]}")
    side = row.spec.input_size
    print(f"{size.params:,} parameters, {size.macs:,} multiply-accumulates at {side} x {side} pixels")
    known = [source for source, (name, _) in catalog.sources().items() if name == row.name]
    print("also known as: " + (", ".join(known) or "nothing else"))
    for field, value in vars(catalog.spec_of(row, fields)).items():
        print(f"{field:24} {value}")
    return 0


def run_demo(options: argparse.Namespace) -> int:
    from .tasks.demo import demo
    demo(options.output, fast=options.fast, seed=options.seed, quiet=options.quiet, keep=options.keep)
    return 0


def run_weights_list(options: argparse.Namespace) -> int:
    from . import catalog
    from .weights.table import get_weights, list_weights
    if options.markdown:
        print(catalog.weights_markdown())
        return 0
    names = list_weights(options.pattern, dataset=options.dataset, licence=options.licence)
    if not names:
        raise ValueError(f"no checkpoint is named {options.pattern!r}; `reskeras weights list` names all")
    for name in names:
        w = get_weights(name)
        accuracy = f"{w.top1:6.2f} % top-1 at {w.top1_size or w.input_size}" if w.top1 else ""
        print(f"{name:48} {w.dataset:18} {w.licence or 'no licence given':18} {accuracy}{'  default' * w.default}")
    return 0


def run_weights_show(options: argparse.Namespace) -> int:
    from .weights.table import get_weights
    for name in options.names:
        for field, value in vars(get_weights(name)).items():
            print(f"{field:18} {value}")
    return 0


def run_weights_fetch(options: argparse.Namespace) -> int:
    from .weights.fetch import fetch
    from .weights.table import get_weights
    for row in [get_weights(name) for name in options.names]:
        print(fetch(row))
    return 0


def run_weights_verify(options: argparse.Namespace) -> int:
    from .weights.fetch import verify
    from .weights.table import get_weights
    for row in [get_weights(name) for name in options.names]:
        print(f"{verify(row)}  {row.name}")
    return 0


def run_predict(options: argparse.Namespace) -> int:
    import json

    from .tasks.hush import hushed
    from .tasks.predict import predict
    with hushed():
        results = predict(options.images, options.model, top=options.top, preprocess=options.preprocess,
                          labels=options.labels)
    if options.json:
        print(json.dumps(results, indent=2))
    for result in results:
        if "error" in result:
            print(f"reskeras: {result['image']}: {result['error']}", file=sys.stderr)
        elif not options.json:
            print(f"{result['image']}: " + ", ".join(f"{p['label']} {p['score']:.1%}" for p in result["predictions"]))
    return int(any("error" in result for result in results))


if __name__ == "__main__":
    sys.exit(main())
