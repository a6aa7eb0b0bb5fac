"""Reads a pickle as data: numbers, texts, containers, and the names of what it would call; nothing is called.

Python's own reader of pickles calls whatever functions a file names.  This one makes a `Reference` for a
function or class, and a `Call` for an object that a function would make.  Whoever reads the result decides
which of them it knows.
"""
from __future__ import annotations

import pickletools
from dataclasses import dataclass
from typing import IO, Any, Callable

# The largest nets with their optimizer have a tenth of it; an opcode takes up to 200 bytes of memory
MAX_BYTES, _MAX_OPCODES = 2 ** 26, 2 ** 21


@dataclass(frozen=True)
class Reference:
    """A function or class that the pickle names.

    Attributes:
        name: its module and name, such as "torch._utils._rebuild_tensor_v2".
    """

    name: str


@dataclass(eq=False)
class Call:
    """An object that the pickle would make by a call.

    Attributes:
        function: the function or class, a `Reference` or anything else that the file has in its place.
        arguments: the arguments of the call.
    """

    function: Any
    arguments: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Persistent:
    """An object that is not in the pickle itself.

    Attributes:
        id: what the pickle says of it; PyTorch writes ("storage", type, key, device, number of elements).
    """

    id: Any


# Calls that make a dict, an empty one or of pairs
_DICTS = ("collections.OrderedDict", "builtins.dict", "__builtin__.dict")


def read_pickle(stream: IO[bytes]) -> Any:
    """Reads one pickle, and leaves the stream behind its end.

    Args:
        stream: a binary stream.

    Returns:
        What it has: None, bool, int, float, str, bytes, list, tuple, dict and set; for everything else a
        `Reference`, `Call` or `Persistent`.  A dict has only the entries whose key is a text or a number.  A
        container can contain itself.

    Raises:
        ValueError: for a damaged pickle, one that is too large, and opcodes that PyTorch does not write.

    Example:
        >>> read_pickle(io.BytesIO(pickle.dumps({"epoch": 3, "path": pathlib.PurePosixPath("a")})))
        {'epoch': 3, 'path': Call(function=Reference(name='pathlib.PurePosixPath'), arguments=('a',))}
    """
    machine = _Machine()
    start = stream.tell()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if count > _MAX_OPCODES or stream.tell() - start > MAX_BYTES:
            raise ValueError(f"its pickle has more than {MAX_BYTES:,} bytes or {_MAX_OPCODES:,} opcodes")
        if opcode.name == "STOP":
            return machine.pop()
        run = _OPCODES.get(opcode.name)
        if run is None:
            raise ValueError(f"its pickle has the opcode {opcode.name}, which files of weights do not need")
        run(machine, argument)
    raise ValueError("its pickle has no end")


class _Machine:
    """The stack of a pickle: opcodes push values to it, and take them."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.stacks: list[list[Any]] = []       # those below the marks
        self.memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            raise ValueError("its pickle takes more values than it has")
        return self.stack.pop()

    @property
    def top(self) -> Any:
        if not self.stack:
            raise ValueError("its pickle takes more values than it has")
        return self.stack[-1]

    def pop_many(self, count: int) -> tuple[Any, ...]:
        return tuple([self.pop() for _ in range(count)][::-1])

    def mark(self) -> None:
        self.stacks.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[Any]:
        """The values since the last mark."""
        if not self.stacks:
            raise ValueError("its pickle has a mark too few")
        values, self.stack = self.stack, self.stacks.pop()
        return values

    def remember(self, index: int | None) -> None:
        self.memo[len(self.memo) if index is None else index] = self.top

    def recall(self, index: int) -> None:
        if index not in self.memo:
            raise ValueError("its pickle refers to a value that it does not have")
        self.push(self.memo[index])

    def call(self, function: Any, arguments: Any) -> None:
        """Pushes what a call would make."""
        arguments = arguments if isinstance(arguments, tuple) else (arguments,)
        if isinstance(function, Reference) and function.name in _DICTS and len(arguments) < 2:
            made: dict[Any, Any] = {}
            pairs = arguments[0] if arguments and isinstance(arguments[0], (list, tuple)) else ()
            _add_items(made, [item for pair in pairs if isinstance(pair, (list, tuple)) and len(pair) == 2
                              for item in pair])
            self.push(made)
        else:
            self.push(Call(function, arguments))


def _add_items(target: Any, items: list[Any]) -> None:
    """Adds keys and values, which take turns, to a dict; to other objects nothing is added."""
    if isinstance(target, dict):
        for key, value in zip(items[::2], items[1::2]):
            if isinstance(key, (str, int, float)):
                target[key] = value


def _extend(target: Any, items: list[Any]) -> None:
    """Adds items to a list; to other objects nothing is added."""
    if isinstance(target, list):
        target.extend(items)


def _make_dict(items: list[Any]) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    _add_items(made, items)
    return made


def _refer(machine: _Machine, argument: str) -> None:
    machine.push(Reference(argument.replace(" ", ".", 1)))      # pickletools puts a space between the two


def _refer_from_stack(machine: _Machine, argument: None) -> None:
    module, name = machine.pop_many(2)
    machine.push(Reference(f"{module:.200}.{name:.200}" if isinstance(module, str) and isinstance(name, str)
                           else ""))


def _set_item(machine: _Machine, argument: None) -> None:
    key, value = machine.pop_many(2)
    _add_items(machine.top, [key, value])


def _set_items(machine: _Machine, argument: None) -> None:
    items = machine.pop_mark()
    _add_items(machine.top, items)


def _append(machine: _Machine, argument: None) -> None:
    item = machine.pop()
    _extend(machine.top, [item])


def _append_many(machine: _Machine, argument: None) -> None:
    items = machine.pop_mark()
    _extend(machine.top, items)


def _call_with(count: int) -> Callable[[_Machine, Any], None]:
    def run(machine: _Machine, argument: None) -> None:
        function, *arguments = machine.pop_many(count)
        machine.call(function, arguments[0])
    return run


def _call_from_mark(machine: _Machine, argument: str | None) -> None:
    values = machine.pop_mark()
    if argument is not None:        # INST has the name as its argument, OBJ on the stack
        values = [Reference(argument.replace(" ", ".", 1)), *values]
    if not values:
        raise ValueError("its pickle calls nothing")
    machine.call(values[0], tuple(values[1:]))


_PUSHES = ("INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING "
           "UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8")
_OPCODES: dict[str, Callable[[_Machine, Any], Any]] = {
    **dict.fromkeys(_PUSHES.split(), lambda machine, argument: machine.push(argument)),
    "PROTO": lambda machine, argument: None,
    "FRAME": lambda machine, argument: None,
    "NONE": lambda machine, argument: machine.push(None),
    "NEWTRUE": lambda machine, argument: machine.push(True),
    "NEWFALSE": lambda machine, argument: machine.push(False),
    "EMPTY_LIST": lambda machine, argument: machine.push([]),
    "EMPTY_TUPLE": lambda machine, argument: machine.push(()),
    "EMPTY_DICT": lambda machine, argument: machine.push({}),
    "EMPTY_SET": lambda machine, argument: machine.push([]),        # its elements need not be hashable
    "MARK": lambda machine, argument: machine.mark(),
    "LIST": lambda machine, argument: machine.push(machine.pop_mark()),
    "FROZENSET": lambda machine, argument: machine.push(machine.pop_mark()),
    "TUPLE": lambda machine, argument: machine.push(tuple(machine.pop_mark())),
    "TUPLE1": lambda machine, argument: machine.push(machine.pop_many(1)),
    "TUPLE2": lambda machine, argument: machine.push(machine.pop_many(2)),
    "TUPLE3": lambda machine, argument: machine.push(machine.pop_many(3)),
    "DICT": lambda machine, argument: machine.push(_make_dict(machine.pop_mark())),
    "APPEND": _append, "APPENDS": _append_many, "ADDITEMS": _append_many,
    "SETITEM": _set_item, "SETITEMS": _set_items,
    "POP": lambda machine, argument: machine.pop(),
    "POP_MARK": lambda machine, argument: machine.pop_mark(),
    "DUP": lambda machine, argument: machine.push(machine.top),
    "MEMOIZE": lambda machine, argument: machine.remember(None),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda machine, argument: machine.remember(argument)),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, argument: machine.recall(argument)),
    "GLOBAL": _refer, "STACK_GLOBAL": _refer_from_stack,
    "REDUCE": _call_with(2), "NEWOBJ": _call_with(2), "NEWOBJ_EX": lambda machine, argument: (
        machine.pop(), _call_with(2)(machine, None)),
    "INST": _call_from_mark, "OBJ": _call_from_mark,
    "BUILD": lambda machine, argument: machine.pop(),               # the state of an object: not needed
    "PERSID": lambda machine, argument: machine.push(Persistent(argument)),
    "BINPERSID": lambda machine, argument: machine.push(Persistent(machine.pop())),
}
