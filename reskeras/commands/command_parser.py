"""The parser of one command: what it calls, and errors in the words of the command line."""
from __future__ import annotations

import argparse
import re
from typing import Any, NoReturn

from ..errors import ArgumentError, nearest, short_repr


class CommandParser(argparse.ArgumentParser):
    """The parser of a command, which also knows what to call.

    Args:
        module: in `commands/`.
        function: what is called with the options; `print_result` of the same module prints what it returns.
        is_quiet: whether TensorFlow's log is kept off the terminal meanwhile.
    """

    def __init__(self, *args: Any, module: str = "", function: str = "", is_quiet: bool = False,
                 **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.module, self.function, self.is_quiet = module, function, is_quiet
        self.switches: list[str] = []       # options of the printing, which the library call does not take
        self.set_defaults(parser=self)

    def add_switch(self, option: str, help: str) -> None:
        """Adds an option of `print_result`."""
        self.switches.append(self.add_argument(option, action="store_true", help=help).dest)

    def describe(self, error: ArgumentError) -> str:
        """Formats an error with the option's spelling: "--top 0: expected a whole number of at least 1"."""
        value = error.value if isinstance(error.value, str) else short_repr(error.value)
        for action in self._actions:
            if action.dest == error.name and action.option_strings:
                has_value = action.nargs != 0 and error.value is not None
                option = max(action.option_strings, key=len)
                return f"{option}{f' {value}' if has_value else ''}: {error.reason}"
            if action.dest == error.name:
                return f"{value if error.value is not None else action.metavar}: {error.reason}"
        return str(error)

    def error(self, message: str) -> NoReturn:
        """Exits with one line, which suggests the nearest command or option."""
        if match := re.match(r"argument (COMMAND|ACTION): invalid choice: '(.*?)' \(choose from (.*)\)",
                             message):
            kind, word, known = match[1].lower(), match[2], re.findall(r"[\w-]+", match[3])
            message = f"unknown {kind} {word!r}{nearest(word, known)}; the {kind}s are {', '.join(known)}"
        elif match := re.match(r"unrecognized arguments: (--[\w-]+)", message):
            known = [option for action in self._actions for option in action.option_strings]
            message += nearest(match[1], known)
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")
