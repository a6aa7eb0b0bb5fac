"""A table of files as data: what its columns mean, and what is wrong with a damaged one, in one line."""
import os

import numpy as np
import pytest
from PIL import Image

import reskeras
from reskeras import cli
from reskeras.train.sources import open_source
from reskeras.train.table_source import use_classes


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Twelve images; the first ones are dark."""
    folder = tmp_path_factory.mktemp("photos")
    for i, name in enumerate("abcdefghijkl"):
        Image.fromarray(np.full((8, 8, 3), 20 * i, "uint8")).save(folder / f"{name}.png")
    return folder


def write(folder, text, encoding="utf-8", name="table.csv"):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return f"table:{folder}/{name}"


READ = {
    "classes": ("image,label\na.png,cat\nb.png,dog\n", ([0, 1], ("cat", "dog"), "")),
    "semicolons, CRLF, numbers": ("path;what\r\na.png;2\r\nb.png;10\r\n", ([0, 1], ("2", "10"), "")),
    "quoted commas": ('image,label\n"a.png","cat, big"\nb.png,dog\n', ([0, 1], ("cat, big", "dog"), "")),
    "labels": ("image,label\na.png,cat; dog\nb.png,dog|cat\nc.png,\n",
               ([[1, 1], [1, 1], [0, 0]], ("cat", "dog"), "multilabel")),
    "columns of flags": ("file\tcat\tdog\na.png\t1\t0\nb.png\t0\t0\n",
                         ([[1, 0], [0, 0]], ("cat", "dog"), "multilabel")),
    "a number": ("image,label\na.png,31.5\nb.png,-2e1\n", ([[31.5], [-20]], ("label",), "regression")),
    "numbers": ("image,x,y\na.png,1.5,0\nb.png,2,1\n", ([[1.5, 0], [2, 1]], ("x", "y"), "regression")),
    "the column of images by its cells": ("id,picture,label\n1,a.png,cat\n2,b.png,dog\n",
                                          ([0, 1], ("cat", "dog"), "")),
    "blank lines": ("\nimage,label\n\na.png,cat\n,\nb.png,dog\n\n", ([0, 1], ("cat", "dog"), "")),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", READ)
def test_what_columns_mean(photos, name, encoding):
    text, (labels, classes, task) = READ[name]
    source = open_source(write(photos, text, encoding))
    assert source.labels.tolist() == labels and source.classes == classes and source.task == task
    assert source.images[:2] == [str(photos / "a.png"), str(photos / "b.png")]


def test_named_columns_weights_and_splits(photos):
    text = "image,label,species,weight,split\na.png,1,cat,2,train\nb.png,2,dog,0.5,train\nc.png,3,dog,1,val\n"
    train = open_source(write(photos, text) + "?label=species")
    assert train.classes == ("cat", "dog") and train.weights.tolist() == [2, 0.5]
    validation = open_source(write(photos, text) + "?label=species", "test")
    assert validation.images == [str(photos / "c.png")] and validation.classes == ("dog",)
    assert use_classes(validation, train.classes).labels.tolist() == [1]
    with pytest.raises(ValueError, match="it has fish, which are not among the classes cat, dog"):
        use_classes(open_source(write(photos, "image,label\na.png,fish\n")), train.classes)


def test_a_table_of_windows_and_its_folder(photos, monkeypatch):
    os.makedirs(photos / "sub", exist_ok=True)
    Image.fromarray(np.zeros((8, 8, 3), "uint8")).save(photos / "sub/x.png")
    monkeypatch.chdir(photos.parent)        # paths are relative to the table, and not to the process
    source = open_source(write(photos, f"image,label\nsub\\x.png,1\n{photos}/a.png,2\n"))
    assert source.images == [str(photos / "sub/x.png"), str(photos / "a.png")]


WRONG = {
    "image,label\na.png,cat\nx.png,dog\n":
        "1 of its 2 images do not exist, such as .*/x.png in line 3; paths are",
    "image,label\na.png,cat\n./a.png,cat\n": "line 3: .*/a.png is in line 2 too: give it a larger weight",
    "image,label\na.png,cat\na.png,dog\n": "line 3: .*/a.png is in line 2 too: with another label",
    "image,label\na.png,1e999\nb.png,2\n": "line 2: label='1e999': expected a finite number that float32",
    "image,label\na.png,1e39\nb.png,2.5\n": "line 2: label='1e39': expected a finite number that float32",
    "image,label\na.png,nan\nb.png,2.5\n": "line 2: label='nan': expected a finite number that float32",
    'image,label\na.png,"1,5"\nb.png,2.5\n':
        "line 2: label='1,5': expected a number; write decimals with a point",
    "image,x,z\na.png,1,big\nb.png,2,3\n": r"line 2: z='big': expected a number; .* \?label=COLUMN,COLUMN",
    "image,label\na.png\nb.png,cat\n": "line 2: it has 1 cells, but there are 2 columns: image, label; put",
    "image,label\na.png,big, cat\n": "line 2: it has 3 cells, but there are 2 columns",
    'image,label\n"a.png,cat\nb.png,dog\n': "line 3: a double quote is not closed",
    "image,label\na.png,caf\xe9\n".encode("latin-1"): "line 2: not a text in UTF-8; save the table as UTF-8",
    b"image,label\na.png,\x00\n": "line 2: it has a zero byte",
    b"\x89PNG\r\n\x1a\n\x00": "line 1: not a text in UTF-8",
    "": "the table is empty",
    "image,label\n": "it has no row below the names",
    "image\na.png\n": "line 1: it has one column, 'image'",
    "image,image\na.png,b\n": "line 1: two columns are called 'image'",
    "image,\na.png,b\n": "line 1: a column has no name",
    "a.png,cat\nb.png,dog\n": "line 1: the first line must name the columns, such as image,label",
    "image,label\n,cat\nb.png,dog\n": "line 2: its column 'image' is empty",
    "image,label\na.png,\nb.png,dog\n": "line 2: its column 'label' is empty",
    "image,label,weight\na.png,cat,-1\nb.png,dog,2\n":
        "line 2: the weight -1: expected a number of at least 0",
    "image,label,weight\na.png,cat,0\nb.png,dog,0\n":
        "column 'weight' are 0, so there would be nothing to learn",
    "image,label,weight\na.png,cat,\nb.png,dog,2\n": "line 2: weight='': expected a number",
    "image,label,split\na.png,cat,odd\n": "line 2: split='odd': expected train, val or test",
    "who,label\nz,cat\ny,dog\n": "none of its columns, who, label, has the path",
    "image,weight\na.png,2\n": "it has no column of labels",
    "image,label\na.png," + 200_000 * "x" + "\n": "line 2: .*field larger than field limit",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_with_a_table(photos, text):
    with pytest.raises((ValueError, FileNotFoundError), match=WRONG[text]) as error:
        open_source(write(photos, text))
    assert "table.csv" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("query, message", [
    ("?label=lable", "it has no column 'lable'; its columns are image, label; did you mean 'label'"),
    ("?lable=label", r"expected \?image=COLUMN&label=COLUMN"), ("?label", r"expected \?image=COLUMN")])
def test_what_is_wrong_with_a_query(photos, query, message):
    with pytest.raises(ValueError, match=message):
        open_source(write(photos, "image,label\na.png,cat\nb.png,dog\n") + query)


def test_the_shell_trains_and_evaluates_on_a_table(photos, tmp_path, capsys):
    """Two classes of six images; those of `dark` count three times as much."""
    rows = [f"{name}.png,{'dark' if i < 6 else 'light'},{3 if i < 6 else 1}"
            for i, name in enumerate("abcdefghijkl")]
    table = write(photos, "\n".join(["image,label,weight", *rows]))
    run = str(tmp_path / "run")
    net = [word for field in ("depths=(1,)", "widths=(16,)", "strides=(1,)")
           for word in ("--model-overrides", field)]
    assert cli.main(["train", "cifar_resnet20", "--data", table, "--recipe", "digits", "--epochs", "1", *net,
                     "--validation-data", table, "--batch-size", "4", "--size", "8", "--warmup", "0",
                     "--augmentation", "resize(8)", "--output", run, "--verbose", "0",
                     "--metrics", "AUC,Precision(0.3)", "--class-weight", "dark=0.5"]) == 0
    assert reskeras.get_metadata(reskeras.load(f"{run}/last.keras")).labels == ("dark", "light")
    log = (tmp_path / "run/log.csv").read_text().splitlines()[0]
    assert "val_auc" in log and "precision" in log
    report = (tmp_path / "run/report.html").read_text()
    assert "Expected calibration error" in report and "precision" in report
    # the weights, the metrics and the table are those of run.json
    assert cli.main(["train", "--resume", run, "--epochs", "2", "--verbose", "0"]) == 0
    assert len((tmp_path / "run/log.csv").read_text().splitlines()) == 3
    assert '"class_weight": [' in (tmp_path / "run/run.json").read_text()
    capsys.readouterr()
    other = write(photos, "image,label\na.png,cat\n", name="b.csv")
    assert cli.main(["train", "cifar_resnet20", "--data", other, "--recipe", "digits",
                     "--validation-data", table]) == 2
    assert "which are not among the classes cat" in capsys.readouterr().err
