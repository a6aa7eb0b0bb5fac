"""The conda recipe asks for what setup.cfg asks for."""
import configparser
import pathlib
import re

import reskeras

ROOT = pathlib.Path(__file__).parents[1]


def test_requirements_and_version():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    recipe = (ROOT / "conda" / "meta.yaml").read_text()
    run = re.search(r"\n  run:\n((?:    - .*\n)+)", recipe)[1]
    found = {line.strip("- ").replace(" ", "") for line in run.splitlines()}
    expected = {line.strip() for line in config["options"]["install_requires"].splitlines() if line.strip()}
    assert found == expected | {f"python{config['options']['python_requires']}"}
    assert f'version = "{reskeras.__version__}"' in recipe
