"""Options and commands that a message names exist."""
import argparse
import ast
import functools
import pathlib
import re

import pytest

from reskeras.commands.parser import make_parser

PACKAGE = pathlib.Path(__file__).parents[1] / "reskeras"


# of XLA, in an environment variable; of IREE's compiler and of Vela
OF_OTHER_PROGRAMS = ("--xla_", "--iree-", "--accelerator-config", "--output-dir")


@functools.cache
def list_options():
    """Command ("weights list") -> (its module, its options)."""
    def walk(parser, name):
        groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        options = {option for action in parser._actions for option in action.option_strings}
        yield name, (parser.module, options)
        for word, child in groups[0].choices.items() if groups else ():
            yield from walk(child, f"{name} {word}".strip())
    return dict(walk(make_parser(), ""))


def iterate_messages(tree):
    """The text of each string that is no docstring; `{}` stands for what an f-string puts in."""
    docstrings = {id(node.body[0].value) for node in ast.walk(tree)
                  if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and node.body
                  and isinstance(node.body[0], ast.Expr)}
    inner = {id(value) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for value in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in docstrings | inner:
                yield node.value


def find_unknown(text, module):
    """What a message of a module names and no command has."""
    commands = list_options()
    unknown = []
    word = "[a-z]+(?:-[a-z]+)*"
    for command, rest in re.findall(rf"\breskeras ((?:{word} )?{word})\b([^\n;]*)", text):
        name = next((name for name in (command, command.split()[0]) if name in commands), None)
        is_command = re.search(r"--\w", rest) or f"`reskeras {command}" in text
        if name is None and is_command:
            unknown.append(f"reskeras {command}")
        elif name is not None:
            unknown += [f"{name} {option}" for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", rest)
                        if option not in commands[name][1]]
    own = [options for place, options in commands.values() if module and place == module]
    known = set().union(*(own or [options for _, options in commands.values()]))
    return unknown + [option for option in re.findall(r"(?<!var\()(?<![\w-])--[a-z][\w-]*", text)
                      if option not in known and "reskeras " not in text
                      and not option.startswith(OF_OTHER_PROGRAMS)]


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: file.stem)
def test_options_in_messages_exist(file):
    if file.name in ("parser.py", "command_parser.py"):
        return      # the options themselves
    module = file.stem if file.parent.name == "commands" else ""
    unknown = [name for text in iterate_messages(ast.parse(file.read_text()))
               for name in find_unknown(text, module)]
    assert not unknown, unknown


@pytest.mark.parametrize("text, module, unknown", [
    ("give a smaller --batch 128", "train", ["--batch"]), ("give a smaller --batch-size", "train", []),
    ("reskeras train --resme {}", "", ["train --resme"]),
    ("reskeras trian --resume {}", "", ["reskeras trian"]),
    ("see `reskeras recipes list`", "", []), ("see `reskeras recipe list`", "", ["reskeras recipe list"]),
    ("--markdown or --csv", "chart", []), ("reskeras weights list --dataset x", "", [])])
def test_the_test_finds_what_does_not_exist(text, module, unknown):
    assert find_unknown(text, module) == unknown
