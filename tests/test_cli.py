"""What every command has in common: options that are the arguments of a function, and errors in its own
words.
"""
import argparse
import inspect
import json
import subprocess
import sys

import pytest

import reskeras
from reskeras import cli
from reskeras.commands.parser import make_parser
from reskeras.errors import ArgumentError
from reskeras.train.training import training_fields


def list_commands():
    """Name -> parser, of every command and of the actions of those that have some."""
    def walk(parser, name):
        groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        if not groups:
            return {name: parser}
        return {full: sub for word, child in groups[0].choices.items()
                for full, sub in walk(child, f"{name} {word}").items()}
    return {name.strip(): parser for name, parser in walk(make_parser(), "").items()}


COMMANDS = list_commands()

# Public functions whose arguments are the options of a command
PUBLIC = ("cost", "optimize", "export", "predict", "evaluate", "explain", "page", "compare", "benchmark",
          "verify")

# Options that are no arguments: files that the shell writes, and what it prints.  Switches of `print_result`
# are known from the parser.
SHELL_ONLY = {"optimize": {"output", "report", "fusions"}}

# Arguments that the shell cannot give, and why
PYTHON_ONLY = {"export": {"thresholds",     # a dict
                          "verbose"},       # whether stderr is a terminal
               "optimize": {"images"},          # an array
               "train": {"callbacks"}}          # objects
PLURAL = {"verify": {"files": "file"}}      # the shell checks several files, one call for each


def get_options(name):
    """The options of a command as arguments of its function."""
    parser = COMMANDS[name]
    dests = {action.dest
             for action in parser._actions} - {"help"} - set(parser.switches) - SHELL_ONLY.get(name, set())
    return {PLURAL.get(name, {}).get(dest, dest) for dest in dests}


@pytest.mark.parametrize("name", PUBLIC)
def test_options_are_the_arguments(name):
    parameters = set(inspect.signature(getattr(reskeras, name)).parameters)
    assert get_options(name) == parameters - PYTHON_ONLY.get(name, set())


def test_options_of_train_are_the_arguments_of_fit():
    """Every field of a recipe's training is an option too."""
    kinds = inspect.Parameter
    parameters = inspect.signature(reskeras.fit).parameters.values()
    names = {p.name for p in parameters if p.kind not in (kinds.VAR_KEYWORD, kinds.VAR_POSITIONAL)}
    fields = {field.name for field in training_fields()}
    assert get_options("train") == (names | fields) - PYTHON_ONLY["train"]


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - set(PUBLIC) - {"train"}))
def test_options_of_other_commands_are_the_arguments(name):
    parser = COMMANDS[name]
    module = __import__(f"reskeras.commands.{parser.module}", fromlist=["x"])
    parameters = inspect.signature(getattr(module, parser.function)).parameters.values()
    named = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
    if len(named) == len(parameters):
        assert get_options(name) == named
    else:       # the others are those of the public function and of `fit`
        public = inspect.signature(getattr(reskeras, name.replace("-", "_"))).parameters.values()
        named |= {p.name for p in public if p.kind is not p.VAR_KEYWORD}
        assert named <= get_options(name) <= named | get_options("train")


@pytest.mark.parametrize("name", COMMANDS)
def test_options_are_spelled_as_the_arguments(name):
    """`--batch-size` is `batch_size`; `--no-check` is `check=False`; the default is the function's."""
    function = getattr(reskeras, "fit" if name == "train" else name, None)
    parameters = inspect.signature(function).parameters if name in (*PUBLIC, "train") else {}
    for action in COMMANDS[name]._actions:
        if action.dest == "help" or not action.option_strings:
            continue
        spelling = action.dest.replace("_", "-")
        inverted = isinstance(action, argparse._StoreFalseAction)
        assert (f"--no-{spelling}" if inverted else f"--{spelling}") in action.option_strings
        known = parameters.get(action.dest)
        has_default = known is not None and known.default is not inspect.Parameter.empty
        if has_default and action.default is not argparse.SUPPRESS:
            same = action.default == known.default or not action.default and not known.default
            assert same or action.required or action.dest in ("output",), action.dest


def test_every_command_prints_its_result():
    for parser in COMMANDS.values():
        module = __import__(f"reskeras.commands.{parser.module}", fromlist=["x"])
        parameters = list(inspect.signature(module.print_result).parameters)
        assert set(parser.switches) <= set(parameters[1:])
        assert callable(getattr(module, parser.function))


BAD = [["cost", "resnset50"], ["page", "resnset50"],
       ["predict", "no.png", "--model", "cifar_resnet20.digits"],
       ["predict", "no.png", "--model", "cifar_resnet20"],
       ["explain", "no.png", "--model", "cifar_resnet20.digits"],
       ["evaluate", "cifar_resnet20.digit", "--data", "digits"], ["export", "cifar_resnet2", "net.tflite"],
       ["export", "resnet50", "net.tfl"], ["export", "no.keras", "net.tflite"]]


def test_errors_known_before_keras_starts():
    code = ("import sys, json; from reskeras.cli import main; codes = [main(c) for c in "
            "json.loads(sys.argv[1])];"
            "print(codes, sorted({'keras', 'tensorflow'} & set(sys.modules)))")
    run = subprocess.run([sys.executable, "-c", code, json.dumps(BAD)], capture_output=True, text=True,
                         check=True)
    assert run.stdout.strip() == f"{[2] * len(BAD)} []"
    errors = run.stderr.strip().splitlines()
    expected = ["did you mean 'resnet50'", "did you mean", "no.png: no such file",
                "choose one of its checkpoints: cifar_resnet20.", "no.png: no such file",
                "did you mean 'digits'", "did you mean 'cifar_resnet2", "did you mean '.tflite'",
                "no.keras: no such file"]
    assert len(errors) == len(BAD) and all(text in error for text, error in zip(expected, errors)), errors
    assert all(error.startswith(f"reskeras {words[0]}: ") for words, error in zip(BAD, errors))


@pytest.mark.parametrize("command, error, text", [
    ("predict", ArgumentError("top", 0, "a whole number of at least 1"), "--top 0: expected a whole number "
                                                                         "of at least 1"),
    ("predict", ArgumentError("preprocessing", None, "a checkpoint"),
     "--preprocessing: expected a checkpoint"),
    ("export", ArgumentError("quantize", "int9", "one of 'int8'", ("int8",)),
     "--quantize int9: expected one of 'int8'; did you mean 'int8'?"),
    ("export", ArgumentError("c_array", True, "a .tflite"), "--c-array: expected a .tflite"),
    ("export", ArgumentError("strict", False, "x"), "--no-strict: expected x"),
    ("cost", ArgumentError("size", (7, 8), "another one"), "--size (7, 8): expected another one"),
    ("cost", ArgumentError("model", "x", "a net"), "x: expected a net"),
    ("cost", ArgumentError("depths", 3, "four numbers"), "depths=3: expected four numbers"),
    ("train", ArgumentError("learning_rate", -1, "a number"), "--learning-rate -1: expected a number")])
def test_errors_name_options(command, error, text):
    assert COMMANDS[command].describe(error) == text


def test_an_error_of_a_command(capsys):
    """One line on stderr, with the command and the option."""
    assert cli.main(["page", "resnet18", "--size", "0"]) == 2
    expected = "reskeras page: --size 0: expected the pixels of a side, or (height, width)\n"
    assert capsys.readouterr().err == expected
    for words, text in ((["lost"], "reskeras: unknown command 'lost'; did you mean 'list'?; the commands are "
                                   "list, "),
                        (["weights", "lst"], "reskeras weights: unknown action 'lst'; did you mean 'list'?"),
                        (["train", "--learning-rte", "1"], "did you mean '--learning-rate'")):
        with pytest.raises(SystemExit) as exit:
            cli.main(words)
        err = capsys.readouterr().err
        assert exit.value.code == 2 and text in err and len(err.splitlines()) == 1


def test_values_of_options():
    parse = make_parser().parse_args
    assert parse(["cost", "resnet18", "--size", "224"]).size == 224
    assert parse(["cost", "resnet18", "--size", "224x192"]).size == (224, 192)
    options = vars(parse(["train", "x", "--epochs", "5", "--milestones", "(3, 4)", "--optimizer", "lamb",
                          "--freeze-statistics", "False"]))
    given = {field.name: options[field.name] for field in training_fields() if field.name in options}
    assert given == {"epochs": 5, "milestones": (3, 4), "optimizer": "lamb", "freeze_statistics": False}


@pytest.mark.parametrize("start", [["-m", "reskeras"], ["-m", "reskeras.cli"]])
def test_version(start):
    run = subprocess.run([sys.executable, *start, "--version"], capture_output=True, text=True, check=True)
    assert run.stdout == f"reskeras {reskeras.__version__}\n"
