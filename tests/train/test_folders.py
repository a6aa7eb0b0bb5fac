"""Folders as people have them: every suffix of photos, files of macOS, and what is beside the classes."""
import json
import os

import numpy as np
import pytest
from PIL import Image

from reskeras.commands.evaluate import evaluate
from reskeras.images.image_files import find_image_files
from reskeras.train.sources import open_source

NET = "cifar_resnet20.digits"
FORMS = {"png": "PNG", "tif": "TIFF", "TIFF": "TIFF", "jfif": "JPEG", "JPE": "JPEG", "jpg": "JPEG",
         "webp": "WEBP", "BMP": "BMP", "gif": "GIF"}


@pytest.fixture
def photos(tmp_path):
    """Two classes with images of many suffixes, and what a Mac adds to them."""
    top = tmp_path / "photos"
    rng = np.random.default_rng(0)
    for c in ("1", "3"):
        (top / c).mkdir(parents=True)
        for suffix, form in FORMS.items():
            image = Image.fromarray(rng.integers(0, 256, (20, 20, 3), "uint8"))
            image.save(top / c / f"{c}.{suffix}", form)
        (top / c / f"._{c}.png").write_bytes(b"\0\5\x16\7")
        (top / c / ".DS_Store").write_bytes(b"Bud1")
        (top / c / "Thumbs.db").write_bytes(b"thumbs")
        (top / c / ".ipynb_checkpoints").mkdir()
        image.save(top / c / ".ipynb_checkpoints" / "a-checkpoint.png")
    (top / "__MACOSX" / "1").mkdir(parents=True)
    (top / "__MACOSX" / "1" / "._1.png").write_bytes(b"\0\5\x16\7")
    return top


def test_every_suffix_is_read(photos):
    source = open_source(f"folder:{photos}")
    assert source.classes == ("1", "3") and not source.left_out
    assert len(source) == 2 * len(FORMS)
    evaluation = evaluate(NET, f"folder:{photos}")
    assert evaluation.images == 2 * len(FORMS) and not evaluation.skipped


def test_what_is_left_out_is_named(photos):
    (photos / "1" / "notes.txt").write_text("a")
    (photos / "3" / "raw.cr2").write_bytes(b"a")
    (photos / "stray.jpg").write_bytes(b"a")
    source = open_source(f"folder:{photos}")
    names = [str(photos / name) for name in ("stray.jpg", "1/notes.txt", "3/raw.cr2")]
    assert list(source.left_out) == names and len(source) == 2 * len(FORMS)
    evaluation = evaluate(NET, f"folder:{photos}")
    assert list(evaluation.left_out) == names and json.dumps(evaluation.as_dict())
    assert "3 are not images by their names, or lie beside the folders of the classes" in str(evaluation)
    assert all(name in str(evaluation) for name in names)
    assert source.describe_left_out() == (
        f"folder:{photos}: 3 left out, which are not images by their names, or lie beside the folders of the "
        f"classes: {', '.join(names)}")


def test_a_class_that_is_called_train(photos):
    """Folders beside `train` that are no split are named, as they may be classes."""
    os.rename(photos / "1", photos / "train")
    for c in ("a", "b"):
        os.mkdir(photos / "train" / c)
        Image.new("RGB", (9, 9)).save(photos / "train" / c / "x.png")
    assert f"{photos / '3'}{os.sep}" in open_source(f"folder:{photos}").left_out


def test_a_class_without_images_says_what_it_has(photos):
    os.mkdir(photos / "5")
    (photos / "5" / "drawing.svg").write_text("<svg/>")
    with pytest.raises(ValueError, match="; 5 has none, but .*drawing.svg"):
        open_source(f"folder:{photos}")


def test_hidden_folders_above_do_not_count(tmp_path):
    (tmp_path / ".cache" / "a").mkdir(parents=True)
    (tmp_path / ".cache" / "a" / "x.jpg").write_bytes(b"")
    assert len(find_image_files(tmp_path / ".cache").images) == 1 and not find_image_files(tmp_path).images
