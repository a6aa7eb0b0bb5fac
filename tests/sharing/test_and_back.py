"""The column "and back" of docs/nets.md runs as it stands."""
import pathlib
import re

import keras
import numpy as np
import pytest

import reskeras
from reskeras.sharing import save_weights

PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "nets.md").read_text().split("## Coming from")[1]
ROWS = re.findall(r"^\| `[^`]+` \| `(reskeras[^`]+)` \| `([^`]+)` \|$", PAGE, flags=re.M)
QUICK = ("seresnext50_32x4d", "torchvision/resnet50")       # one of each naming; the others repeat them


def mark(there):
    is_quick = any(name in there.lower() for name in QUICK)
    return [pytest.mark.slow] * (not is_quick)


@pytest.mark.parametrize("there, back", [pytest.param(*row, marks=mark(row[0])) for row in ROWS])
def test_row(there, back, tmp_path, monkeypatch):
    """Every file is written, with all names; only the numbers are left out, and the downloads."""
    from reskeras import build
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(build, "load_weights", lambda *_, **__: None)
    if back.startswith("model."):
        model = eval(there, {"reskeras": reskeras})
    else:
        monkeypatch.setattr(keras.ops, "convert_to_numpy", lambda v: np.broadcast_to(np.float32(0), v.shape))
        monkeypatch.setattr(np, "ascontiguousarray", lambda array: array)
        monkeypatch.setattr("reskeras.weights.save.to_safetensors", lambda tensors: b"tensors")
        with keras.StatelessScope(initialize_variables=False):
            model = eval(there, {"reskeras": reskeras})
    exec(back, {"reskeras": reskeras, "model": model})
    path = pathlib.Path(re.search('"([^"]+)"', back)[1])
    assert path.stat().st_size
    if back.startswith("model."):       # Keras reads it
        name = re.search(r"reskeras\.(\w+)\(", there)[1]
        theirs = getattr(keras.applications, name)(weights=str(path))
        for ours, value in zip(model.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, value)
    keras.utils.clear_session()


def test_rows_are_found():
    backs = [back for _, back in ROWS]
    assert {naming for naming in save_weights.NAMINGS if f'naming="{naming}"' in "".join(backs)} == {
        "timm", "torchvision", "kerashub"} and len(backs) >= 6


def test_the_row_of_the_readme(tmp_path, monkeypatch):
    """Its first call, of a small net; tests/weights/test_hub.py has the others."""
    readme = (pathlib.Path(__file__).parents[2] / "README.md").read_text()
    code = re.search(r"^\| and back, or .*? \| `([^`]+)`", readme, flags=re.M)[1]
    monkeypatch.chdir(tmp_path)
    model = reskeras.create("resnet18", weights=None, classes=3, depths=(1,), widths=(8,))
    exec(code, {"reskeras": reskeras, "model": model})
    assert (tmp_path / "net.safetensors").stat().st_size
