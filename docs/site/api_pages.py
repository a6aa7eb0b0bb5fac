"""The pages of the API, the builders, the fields of a training and the shell's commands."""
from __future__ import annotations

import argparse
import inspect
from typing import Iterator

from net_pages import split_title
from page_pieces import make_code, make_table

import reskeras
from reskeras.commands.parser import make_parser
from reskeras.train.training import training_fields
from reskeras.variants import FAMILIES, VARIANTS

GROUPS = {
    "nets": ("Nets", ("create", "list_models", "features", "load", "save", "variant", "Spec", "InceptionSpec",
                      "SE", "ECA", "SK", "SplitAttention")),
    "weights": ("Weights", ("list_weights", "get_weights", "Checkpoint", "load_weights", "save_weights",
                            "push_to_hub", "from_pretrained")),
    "images": ("Images and classes", ("get_preprocessing", "Preprocessing", "preprocess_input",
                                      "decode_predictions", "set_image_limits", "set_metadata",
                                      "get_metadata", "ModelMetadata")),
    "training": ("Training", ("fit", "sweep", "cross_validate", "find_learning_rate", "quantization_aware",
                              "Recipe", "list_recipes", "get_recipe", "compare_recipes",
                              "distributable")),
    "use": ("Predictions", ("predict", "evaluate", "explain")),
    "files": ("Graphs and files", ("cost", "optimize", "remove_blocks", "export", "verify", "benchmark",
                                   "compare", "page", "doctor")),
}


def make_api_page(group: str) -> str:
    """The page of a group of public names, as Markdown for mkdocstrings.

    Args:
        group: a key of `GROUPS`.
    """
    title, names = GROUPS[group]
    lines = [f"# {title}", ""]
    for name in names:
        # where it is written, behind what a command adds to it
        written = inspect.unwrap(getattr(reskeras, name))
        lines += [f"::: {written.__module__}.{written.__qualname__}", "    options:",
                  f"      heading: reskeras.{name}", f"      toc_label: {name}", ""]
    if group == "training":
        lines += ["## Fields of a recipe's training", "",
                  "Each is an argument of `reskeras.fit` and an option of `reskeras train`.", "",
                  make_table(("field", "type", "what it says"),
                             [(f"`{field.name}`", f"`{field.type}`", field.help)
                              for field in training_fields()])]
    return "\n".join(lines) + "\n"


def make_builders_page() -> str:
    """The page of the builders: their common arguments, and all names by family."""
    lines = ["# Builders", "",
             f"Each of the {len(VARIANTS)} nets has a builder, such as `reskeras.ResNet50`. All take the "
             "same arguments:", "",
             "::: reskeras.builder.Variant.__call__", "    options:", "      heading: reskeras.ResNet50",
             "      toc_label: arguments", "", "## Names", ""]
    for family in FAMILIES:
        names = ", ".join(f"`{net.builder}`" for net in VARIANTS.values() if net.family == family)
        lines += [f"* [{split_title(family)[0]}](../nets/{family}.md): {names}"]
    return "\n".join(lines) + "\n"


def make_commands_page() -> str:
    """The page of the shell's commands: the help of each."""
    lines = ["# Commands", "", "Each command is a library call with the same arguments."]
    for name, parser in list_commands(make_parser()):
        lines += ["", f"## {name}", "", make_code(parser.format_help(), "text")]
    return "\n".join(lines) + "\n"


def list_commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The name and the parser of each command that makes a call, in their order."""
    actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not actions:
        yield parser.prog, parser
    for action in actions:
        for child in action.choices.values():
            yield from list_commands(child)
