"""Errors that say which value was wrong, what was expected instead, and the nearest right spelling."""
from __future__ import annotations

import contextlib
import difflib
import math
import numbers
import operator
import os
import reprlib
from typing import Any, Iterable, Iterator, Sequence


class _ShortRepr(reprlib.Repr):
    """Shortens what is long, and describes an array, also in a list, by its shape and type."""

    def repr1(self, x: Any, level: int) -> str:
        """The text for a value at a level of nesting; a number of NumPy, without axes, is written out."""
        is_array = getattr(x, "shape", ()) and hasattr(x, "dtype")
        return _describe_array(x) if is_array else super().repr1(x, level)


_SHORT = _ShortRepr()
_SHORT.maxstring = _SHORT.maxother = 200
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 20


class ArgumentError(ValueError):
    """An argument has an invalid value.

    The command line shows the same error with the spelling of its own option instead of `name`.

    Args:
        name: the argument, spelled as in the function's signature.
        value: the value that was given.
        expected: a phrase that follows the word "expected", such as "a whole number of at least 1".
        known: the allowed values, if they are words; the message suggests the nearest one.
        hint: how to correct the call; a separate phrase, without a full stop.

    Example:
        >>> raise ArgumentError("quantize", "int9", "one of 'float16', 'int8'", known=("float16", "int8"))
        ArgumentError: quantize='int9': expected one of 'float16', 'int8'; did you mean 'int8'?
    """

    def __init__(self, name: str, value: Any, expected: str, known: Iterable[Any] = (), hint: str = ""):
        self.name, self.value = name, value
        self.reason = f"expected {expected}{nearest(value, known)}" + (f"; {hint}" if hint else "")
        super().__init__(f"{name}={short_repr(value)}: {self.reason}")

    def __reduce__(self) -> tuple[Any, ...]:
        # without this, pickle would call the class with the message as its only argument
        return _unpickle, (self.name, self.value, self.reason)


def _unpickle(name: str, value: Any, reason: str) -> ArgumentError:
    return ArgumentError(name, value, reason.removeprefix("expected "))


class ExportError(RuntimeError):
    """An exported file does not pass its checks; nothing was written."""


class LostWorkerError(RuntimeError):
    """In a training on several machines, another process has ended or does not answer."""


def unknown_argument(name: str, value: Any, known: Iterable[str], owner: str, hint: str = "") -> TypeError:
    """The error for a keyword that does not exist; it suggests the nearest one.

    Args:
        name: the keyword that was given.
        value: its value.
        known: the keywords that exist.
        owner: what takes them, such as "Spec".
        hint: what to give instead, if that is not the nearest keyword.

    Returns:
        A TypeError to raise.
    """
    names = sorted(known)
    instead = f"; {hint}" if hint else nearest(name, names)
    return TypeError(f"unknown argument {name}={short_repr(value)}{instead}; {owner} takes "
                     f"{', '.join(names)}")


def nearest(word: object, known: Iterable[Any], cutoff: float = 0.5) -> str:
    """The end of an error message that suggests a spelling.

    Args:
        word: the word that was given.
        known: the words that are allowed.
        cutoff: how alike two words must be, from 0 (anything) to 1 (equal).

    Returns:
        "; did you mean 'x'?", or "" if no known word is similar.
    """
    spelling = {str(k).lower(): k for k in known}
    close = difflib.get_close_matches(str(word).lower(), list(spelling), n=1, cutoff=cutoff)
    return f"; did you mean {spelling[close[0]]!r}?" if close else ""


def short_repr(value: Any) -> str:
    """Returns `repr(value)`, shortened if it is long; describes an array by its shape and type."""
    is_array = hasattr(value, "shape") and hasattr(value, "dtype")
    return _describe_array(value) if is_array else _SHORT.repr(value)


def _describe_array(value: Any) -> str:
    return f"<{type(value).__name__} of shape {tuple(value.shape)}, {value.dtype}>"


def make_printable(text: object) -> str:
    """Returns one line of text, with escapes such as \\x1b in place of characters that control a terminal.

    So text from a file, such as a label, cannot clear the screen, forge a line, or turn the direction of
    writing.

    Args:
        text: the text, or anything else for its `str`.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def list_names(names: Sequence[str], limit: int = 10) -> str:
    """The first names of files, printable and separated by commas, and how many there are besides."""
    rest = len(names) - limit
    return ", ".join(map(make_printable, names[:limit])) + (f" and {rest} more" if rest > 0 else "")


def describe_error(error: BaseException) -> str:
    """Says in one line of printable characters, shortened if it is long, what an error is and why."""
    text = make_printable(" ".join(str(error).split()))
    if len(text) > 300:     # the reason may be at either end
        text = f"{text[:145]} ... {text[-145:]}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextlib.contextmanager
def name_damaged_file(path: str | os.PathLike[str], kind: str, hint: str = "") -> Iterator[None]:
    """Makes any error that a library raises inside the block a ValueError that names the file.

    Two kinds of errors do not change: OSErrors of the operating system (the file is missing, or may not be
    read), and ValueErrors that begin with the file's name.

    Args:
        path: the file that the block reads.
        kind: what it should be, such as "a Keras file".
        hint: what the user can do; a separate phrase, without a full stop.

    Raises:
        ValueError: for every other exception in the block.

    Example:
        >>> with name_damaged_file("net.npz", "a file of weights"):
        ...     np.load("net.npz")
        ValueError: net.npz cannot be read as a file of weights (BadZipFile: File is not a zip file)
    """
    try:
        yield
    except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, BlockingIOError):
        raise
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith(os.fspath(path)):
            raise
        raise ValueError(f"{os.fspath(path)} cannot be read as {kind} ({describe_error(error)})"
                         + (f"; {hint}" if hint else "")) from error


def to_whole_number(value: Any) -> int | None:
    """Converts `value`, a Python or NumPy integer, to int; anything else, True and False too, gives None."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


def check_whole_number(name: str, value: Any, minimum: int = 1, maximum: int | None = None) -> int:
    """Checks a whole number, and converts it to a Python int.

    Raises:
        ArgumentError: if `value` is not a whole number from `minimum` to `maximum`.
    """
    number = to_whole_number(value)
    if number is None or number < minimum:
        raise ArgumentError(name, value, f"a whole number of at least {minimum}")
    if maximum is not None and number > maximum:
        raise ArgumentError(name, value, f"at most {maximum}")
    return number


def check_number(name: str, value: Any, minimum: float = -math.inf, below: float = math.inf,
                 expected: str = "a number") -> float:
    """Checks a number, and converts it to a Python float.

    Args:
        minimum: the smallest allowed value.
        below: the value must be less than this; infinity allows every finite number.
        expected: the phrase of the error, such as "a probability in [0, 1)".

    Raises:
        ArgumentError: if `value` is not a finite number within these limits.
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    try:
        number = float(value) if is_number else math.nan
    except OverflowError:       # a whole number beyond the range of a float
        number = math.nan
    if not math.isfinite(number) or not minimum <= number < below:
        raise ArgumentError(name, value, expected)
    return number


def check_choice(name: str, value: Any, choices: Iterable[Any], other: str = "") -> None:
    """Checks that `value` is one of `choices`.

    Args:
        other: what else the caller takes, for the message.

    Raises:
        ArgumentError: if it is not; the message lists them and suggests the nearest one.
    """
    known = list(choices)
    if not any(value == choice and type(value) is type(choice) for choice in known):   # True is not 1
        words = ", ".join(map(repr, known)) + (f", or {other}" if other else "")
        raise ArgumentError(name, value, f"one of {words}", known)


def check_paths(name: str, values: Any, expected: str, hint: str = "") -> list[Any]:
    """Checks that `values` are paths or names, and returns them as a list.

    Args:
        name: the argument.
        values: the value that was given for it.
        expected: the phrase of the error, such as "a list of exported files".
        hint: as in `ArgumentError`.

    Raises:
        ArgumentError: for a single path or name, or if one of the values is neither.
    """
    if isinstance(values, (str, os.PathLike)):
        raise ArgumentError(name, values, f"{expected}, such as [{os.fspath(values)!r}]")
    paths = list(values) if isinstance(values, Iterable) else [values]
    if not all(isinstance(path, (str, os.PathLike)) for path in paths):
        raise ArgumentError(name, values, expected, hint=hint)
    return paths
