"""What a training and a calibration cannot read: counted, named and explained wherever the run is seen."""
import contextlib
import csv
import io
import json
import pathlib
import sys

import numpy as np
import pytest
from PIL import Image

import reskeras
from reskeras import cli
from reskeras.quantization.calibration import load_images
from reskeras.images import depth
from reskeras.images.preprocessing import Preprocessing

HEIC = b"\0\0\0\x1cftypheic" + bytes(100)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes of eight images and three files that are none, and two that are none by their names."""
    place, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for c in ("cat", "dog"):
        (place / c).mkdir()
        for i in range(8):
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), "uint8")).save(place / c / f"{i}.png")
    (place / "cat" / "broken.jpg").write_bytes(b"no image")
    (place / "cat" / "phone.heic").write_bytes(HEIC)
    (place / "dog" / "cut.png").write_bytes((place / "dog" / "0.png").read_bytes()[:200])
    (place / "dog" / "notes.txt").write_text("a")
    (place / "stray.jpg").write_bytes(b"")
    return place


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    """(The folder of a training run of two epochs in the shell, what it printed.)"""
    folder, printed = tmp_path_factory.mktemp("runs") / "run", io.StringIO()
    options = ("--recipe", "cifar_he", "--model-overrides", "depths=(1,1,1)", "--model-overrides",
               "width=0.25", "--epochs", "2", "--batch-size", "4", "--size", "16", "--test-size", "16",
               "--augmentation", "resize(16)", "--milestones", "(1,)", "--verbose", "2",
               "--output", str(folder))
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setitem(sys.modules, "pillow_heif", None)
        code = cli.main(["train", "cifar_resnet20", "--data", f"folder:{photos}", "--validation-data",
                         f"folder:{photos}", *options])
    assert code == 0, printed.getvalue()
    return folder, printed.getvalue()


def test_the_console_names_and_explains(photos, run):
    text = run[1]
    assert f"folder:{photos}: 3 training images could not be read and are left out" in text
    assert f"folder:{photos}: 3 validation images could not be read and are left out" in text
    assert f"{photos / 'cat' / 'phone.heic'} (it is a HEIC image, which is read by pillow-heif: pip " in text
    assert f"{photos / 'cat' / 'broken.jpg'} (not a readable JPEG" in text
    assert text.count(f"{photos / 'dog' / 'cut.png'} (") == 2        # training, and validation
    assert f"folder:{photos}: 2 left out, which are not images by their names" in text
    assert str(photos / "stray.jpg") in text and str(photos / "dog" / "notes.txt") in text


def test_the_log_counts(run):
    rows = list(csv.DictReader((run[0] / "log.csv").open()))
    assert [(row["unreadable"], row["val_unreadable"]) for row in rows] == [("3", "3")] * 2


def test_the_report_names(photos, run):
    names = json.loads((run[0] / "left_out.json").read_text())
    bad = [str(photos / name) for name in ("cat/broken.jpg", "cat/phone.heic", "dog/cut.png")]
    assert names == {"unreadable": bad, "val_unreadable": bad,
                     "no_image": [str(photos / "stray.jpg"), str(photos / "dog" / "notes.txt")]}
    page = (run[0] / "report.html").read_text()
    assert all(name in page for name in [*bad, str(photos / "stray.jpg"), "training images that cannot"])


def test_too_many_are_named_and_explained(photos, capsys, tmp_path):
    (tmp_path / "labels.txt").write_text("\n".join(["cat", "dog", *"abcdefgh"]))
    code = cli.main(["evaluate", "cifar_resnet20.digits", "--data", f"folder:{photos}",
                     "--max-unreadable", "1",
                     "--labels", str(tmp_path / "labels.txt")])
    assert code == 2
    assert "broken.jpg (not a readable JPEG" in capsys.readouterr().err


def test_a_class_is_called_by_its_name(photos, tmp_path):
    for c, count in (("cat", 3), ("o'dog", 1)):
        (tmp_path / c).mkdir()
        for i in range(count):
            (tmp_path / c / f"{i}.png").write_bytes((photos / "cat" / "0.png").read_bytes())
    with pytest.raises(ValueError, match="because class \"o'dog\" of .* has one image"):
        reskeras.fit("cifar_resnet20", f"folder:{tmp_path}", "cifar_he", validation_split=0.5)


def test_calibration_reads_the_folders_of_training(photos):
    prepare = Preprocessing((16, 16), "raw", crop_pct=1.0)
    with pytest.warns(UserWarning, match="4 images could not be read and are left out: .*broken.jpg: not a"):
        images = load_images(photos, prepare, (16, 16, 3)).images
    assert len(images) == 16
    with pytest.warns(UserWarning, match="notes.txt are not images by their names"):
        load_images(photos, prepare, (16, 16, 3))
    with pytest.raises(ValueError, match="broken.jpg: not a readable"):     # a list is meant as it is
        load_images([photos / "cat" / "broken.jpg"], prepare, (16, 16, 3))
    hidden = pathlib.Path(photos, "__MACOSX")
    hidden.mkdir()
    (hidden / "._0.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="^4 images"):
        load_images(photos, prepare, (16, 16, 3))


def test_warnings_are_one_line_also_where_the_log_is_hidden(tmp_path, capfd):
    Image.fromarray(np.arange(0, 4096, 4, "uint16").reshape(32, 32)).save(tmp_path / "scan.png")
    depth._announce.cache_clear()
    assert cli.main(["predict", str(tmp_path / "scan.png"), "--model", "cifar_resnet20.digits"]) == 0
    error = capfd.readouterr().err
    assert error.startswith("reskeras predict: images of 16 bits whose largest value is below 4,096")
    assert error.count("\n") == 1


def test_a_folder_without_any_image_that_can_be_read(photos, tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match="none of the images can be read; the first one is .*a.png: not a"):
        load_images(tmp_path, Preprocessing((16, 16), "raw"), (16, 16, 3))
