"""Crafted `.keras` files for tests."""
import io
import json
import zipfile

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


def pack(members, method=zipfile.ZIP_STORED):
    """The bytes of a zip file with members {name: data}."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method, compresslevel=1) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def unpack(path):
    """{name: data} of a zip file."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def change_config(members, change):
    """A file whose config.json, a dict, was given to `change`."""
    config = json.loads(members[CONFIG])
    change(config)
    return pack({**members, CONFIG: json.dumps(config)})
