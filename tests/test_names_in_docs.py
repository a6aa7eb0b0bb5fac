"""Every dotted name of this package in the documents exists."""
import importlib
import pathlib
import re

import pytest

import reskeras

ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.parametrize(
    "file",
    ["README.md", "CHANGELOG.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md"))])
def test_names_exist(file):
    for name in sorted(set(re.findall(r"`reskeras\.([a-z]\w*(?:\.\w+)*)", (ROOT / file).read_text("utf-8")))):
        found = reskeras
        for i, part in enumerate(parts := name.split(".")):
            if not hasattr(found, part):
                importlib.import_module(".".join(["reskeras", *parts[:i + 1]]))
            found = getattr(found, part)
