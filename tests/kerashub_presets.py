"""Writes the presets of tests/golden/kerashub.json as files, without KerasHub."""
import json
import pathlib

import h5py
from kerashub_nets import list_variables, make_value

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden" / "kerashub.json").read_text())["presets"]


def make_values(layer, shapes):
    """The values of the variables of a layer."""
    return [make_value(layer, name, shape) for name, shape in zip(list_variables(layer, shapes), shapes)]


def write_layout(file, layout, prefix=""):
    """Writes variables into an open file, where the layout says; `prefix` is the group of a net in a net."""
    for group, layer, shapes in layout:
        variables = file.create_group(prefix + group)
        variables.attrs["name"] = layer
        for i, value in enumerate(make_values(layer, shapes)):
            variables[str(i)] = value


def write_preset(folder, variant):
    """Writes a preset.  Returns what the golden file has of it."""
    folder.mkdir(exist_ok=True)
    for name, content in GOLDEN[variant].items():
        if name.endswith(".json"):
            (folder / name).write_text(json.dumps(content))
        elif name.endswith(".h5"):
            with h5py.File(folder / name, "w") as file:
                write_layout(file, content)
    return GOLDEN[variant]
