"""Bringing the table of checkpoints up to date needs timm, and says so."""
import pathlib
import runpy
import sys

import pytest


def test_without_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setitem(sys.modules, "timm.models", None)
    module = runpy.run_path(str(pathlib.Path(__file__).parents[2] / "examples" / "refresh_weights.py"))
    with pytest.raises(SystemExit, match="pip install timm"):
        module["read_timm_entries"]()
