"""`reskeras --print-completion SHELL`: the script with which a shell completes commands and options."""
from __future__ import annotations

import argparse
from typing import Any

from ..terminal import print_text

SHELLS = ("bash", "zsh")


class PrintCompletion(argparse.Action):
    """Prints the script of a shell, which shtab makes of the parser, and ends the program."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any,
                 option_string: str | None = None) -> None:
        try:
            import shtab
        except ImportError:
            parser.error('the completion is made by shtab: pip install "reskeras[completion]"')
        print_text(shtab.complete(parser, shell=values))
        parser.exit()
