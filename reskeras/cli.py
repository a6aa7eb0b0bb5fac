"""The shell: `reskeras COMMAND` makes a library call with the same arguments, and prints its result.

The parser knows which functions of `commands/` make the call and print the result.  Modules are imported only
when their command runs: `reskeras list` loads neither Keras nor NumPy.
"""
from __future__ import annotations

import contextlib
import importlib
import os
import sys
from typing import Any, Sequence

from .commands.command_parser import CommandParser
from .commands.parser import make_parser
from .commands.quiet import quiet_tensorflow, show_own_warnings
from .errors import ArgumentError, ExportError, LostWorkerError
from .terminal import print_text
from .termination import raise_on_sigterm

# Errors whose message says everything, so that one line is shown, and the exit code of each
_EXIT_CODES: dict[type[Exception], int] = {
    ExportError: 1, FloatingPointError: 1, LostWorkerError: 3, ValueError: 2, TypeError: 2, OSError: 2,
    ImportError: 2}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the words of the command line; by default those of the process.

    Returns:
        The exit code: 0; 1 if a file did not pass, or a result is not finite; 2 for wrong input; 3 if another
        worker of the training was lost; 130 after an interrupt.  After an error there is one line on stderr.

    Raises:
        SystemExit: after a SIGTERM (143), and after an error in the spelling of the options (2).
    """
    namespace, unknown = make_parser().parse_known_args(argv)
    options = vars(namespace)
    parser: CommandParser = options.pop("parser")
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    switches = {name: options.pop(name) for name in parser.switches}
    # among several workers each would log at length that one was lost, which is said below in one line
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3" if "TF_CONFIG" in os.environ else "2")
    try:
        with raise_on_sigterm():
            return _run(parser, options, switches)
    except KeyboardInterrupt:
        return 130
    except tuple(_EXIT_CODES) as error:
        message = _describe(parser, error)
        print_text(f"{parser.prog}: {' '.join(message.split())}", file=sys.stderr)
        return next(code for kind, code in _EXIT_CODES.items() if isinstance(error, kind))


def _describe(parser: CommandParser, error: Exception) -> str:
    """The message of an error, in the words of the shell."""
    if isinstance(error, ArgumentError):
        return parser.describe(error)
    if isinstance(error, ModuleNotFoundError) and str(error).startswith("No module named"):
        package = (error.name or "").partition(".")[0]
        hint = ("; exported files (.tflite, .onnx, .xml) are run without it by predict, verify and benchmark"
                if package in ("keras", "tensorflow") else "")
        return f"{package} is needed and is not installed: pip install {package}{hint}"
    return str(error)


def _run(parser: CommandParser, options: dict[str, Any], switches: dict[str, Any]) -> int:
    """Makes the library call of a command and prints its result.  Returns: the exit code."""
    with quiet_tensorflow():        # it also logs when it is imported
        module = importlib.import_module(f".commands.{parser.module}", __package__)
    with show_own_warnings(parser.prog), quiet_tensorflow() if parser.is_quiet else contextlib.nullcontext():
        result = getattr(module, parser.function)(**options)
    exit_code: int = module.print_result(result, **switches)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
