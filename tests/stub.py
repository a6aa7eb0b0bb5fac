"""The text of reskeras/__init__.pyi, from the public names: what an IDE completes and what mypy checks in a
user's project.

`python -m pytest tests/test_public_api.py --accept` writes it.
"""
import inspect
import textwrap
from collections import defaultdict

import reskeras
from reskeras import catalog, variants

HEADER = '''\
# Generated from the table of the nets and the list of public names; see tests/stub.py.
import os
from typing import Any

import keras

'''
ALIASES = {"str | os.PathLike[str] | Checkpoint | None": "_Weights", "tuple[int | None, ...] | None": "_Shape",
           "str | keras.DTypePolicy | None": "_DType"}
WIDTH = 110


def make_stub():
    """The functions and classes are imported from where they are defined; the builders, which are made at run
    time, are written out with their arguments."""
    modules = defaultdict(list)
    for name in reskeras._PUBLIC:
        public = inspect.unwrap(getattr(reskeras, name))
        modules[public.__module__.removeprefix("reskeras.")].append(name)
    imports = [_wrap_import(module, sorted(names)) for module, names in sorted(modules.items())]
    aliases = [f"{alias} = {annotation}" for annotation, alias in ALIASES.items()]
    builders = [_builder(builder, variant) for builder, variant in sorted(catalog.list_builders().items())]
    return "\n".join([HEADER + "\n".join(imports), "", "__version__: str", *aliases, "", *builders])


def _wrap_import(module, names):
    line = f"from .{module} import {', '.join(f'{name} as {name}' for name in names)}"
    if len(line) <= WIDTH:
        return line
    return f"from .{module} import (\n" + "".join(f"    {name} as {name},\n" for name in names) + ")"


def _builder(builder, variant):
    """A function with the builder's own defaults and one line of documentation."""
    parameters = inspect.signature(variants.VARIANTS[variant]).parameters.values()
    arguments = textwrap.fill(", ".join(map(_parameter, parameters)).replace(" ", "\0").replace(",\0", ", "), WIDTH - 4,
                              break_long_words=False, break_on_hyphens=False).replace("\0", " ")
    title = inspect.getdoc(variants.VARIANTS[variant]).splitlines()[0]
    return (f"def {builder}(\n{textwrap.indent(arguments, '    ')}\n) -> keras.Model:\n"
            + textwrap.fill(f'"""{title}"""', WIDTH - 4, initial_indent="    ", subsequent_indent="    ") + "\n    ...\n")


def _parameter(parameter):
    annotation = ALIASES.get(parameter.annotation, parameter.annotation)
    stars = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
    default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
    return f"{stars}{parameter.name}: {annotation}{default}"
