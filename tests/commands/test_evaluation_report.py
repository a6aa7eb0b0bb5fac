"""What `evaluate` measures, against scikit-learn; what `predict` says of labels, of one sigmoid, of numbers.
"""
import csv
import json

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn import metrics
from sklearn.calibration import calibration_curve

import reskeras
from reskeras import cli

N, SIZE = 60, 6
rng = np.random.default_rng(3)
X = rng.integers(0, 256, (N, SIZE, SIZE, 3), dtype="uint8")
CLASSES = rng.integers(0, 4, N)
FLAGS = rng.integers(0, 2, (N, 4))
NUMBERS = rng.normal(size=(N, 2)).astype("float32")
PREPROCESSING = reskeras.Preprocessing((SIZE, SIZE), "tf", crop_pct=1.0)
NAMES = ("ant", "bee", "cat", "dog")


def make_net(outputs, activation, task, labels):
    keras.utils.set_random_seed(2)
    image = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(8, 3, activation="relu")(image)
    x = keras.layers.Dense(outputs, activation, name="scores",
                           kernel_initializer=keras.initializers.RandomNormal(stddev=0.5))(
                               keras.layers.Flatten()(x))
    return reskeras.set_metadata(keras.Model(image, x), PREPROCESSING, labels, task)


def scores_of(net):
    return np.asarray(net.predict(PREPROCESSING.normalize(X.astype("float32")), verbose=0), "float64")


def check_calibration(calibration, confidence, is_right):
    right, mean = calibration_curve(is_right, confidence, n_bins=15)
    filled = [each for each in calibration["bins"] if each["images"]]
    np.testing.assert_allclose([each["accuracy"] for each in filled], right)
    np.testing.assert_allclose([each["confidence"] for each in filled], mean)
    shares = np.array([each["images"] for each in filled]) / len(confidence)
    assert calibration["ece"] == pytest.approx(np.sum(shares * abs(right - mean)))


def check_classes(rows, expected, names=NAMES):
    assert [row["label"] for row in rows] == list(names)
    for key, values in zip(("precision", "recall", "f1", "support"), expected):
        np.testing.assert_allclose([row[key] for row in rows], values, err_msg=key)


@pytest.mark.parametrize("activation", ["softmax", None])
def test_one_class_of_several(activation, tmp_path):
    net = make_net(4, activation, None, NAMES)
    result = reskeras.evaluate(net, (X, CLASSES), batch_size=25, worst=3, csv=tmp_path / "images.csv")
    scores = scores_of(net)
    scores = scores if activation else keras.ops.convert_to_numpy(keras.ops.softmax(scores))
    said = scores.argmax(1)
    assert result.top1 == pytest.approx(100 * metrics.accuracy_score(CLASSES, said))
    assert result.confusion == metrics.confusion_matrix(CLASSES, said).tolist()
    check_classes(result.per_class, metrics.precision_recall_fscore_support(CLASSES, said, zero_division=0))
    assert result.means["f1"] == pytest.approx(metrics.f1_score(CLASSES, said, average="macro"))
    assert result.loss == pytest.approx(metrics.log_loss(CLASSES, scores / scores.sum(1, keepdims=True)),
                                        rel=1e-5)
    check_calibration(result.calibration, scores.max(1), said == CLASSES)
    loss = -np.log(scores[np.arange(N), CLASSES])
    worst = np.argsort(-loss)[:3]
    assert [row["image"] for row in result.worst] == [f"image {i} of arrays" for i in worst]
    assert [row["predicted"] for row in result.worst] == [NAMES[i] for i in said[worst]]
    with open(tmp_path / "images.csv") as file:
        rows = list(csv.DictReader(file))
    np.testing.assert_allclose([float(row["loss"]) for row in rows], loss, rtol=1e-4)
    assert [row["predicted"] for row in rows] == [NAMES[i] for i in said]


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_one_sigmoid(activation):
    net = make_net(1, activation, "binary", NAMES[:2])
    result = reskeras.evaluate(net, (X, CLASSES % 2), threshold=0.3)
    scores = scores_of(net)[:, 0]
    scores = scores if activation else 1 / (1 + np.exp(-scores))
    said = (scores > 0.3).astype(int)
    assert result.task == "binary" and result.top1 == pytest.approx(100 * np.mean(said == CLASSES % 2))
    expected = metrics.precision_recall_fscore_support(CLASSES % 2, said, zero_division=0)
    check_classes(result.per_class, expected, NAMES[:2])
    loss = metrics.log_loss(CLASSES % 2, np.clip(scores, 1e-7, 1 - 1e-7))
    assert result.loss == pytest.approx(loss, rel=1e-4)


def test_several_labels():
    net = make_net(4, "sigmoid", "multilabel", NAMES)
    result = reskeras.evaluate(net, (X, FLAGS), batch_size=25)
    scores = scores_of(net)
    said = scores > 0.5
    check_classes(result.per_class, metrics.precision_recall_fscore_support(FLAGS, said, zero_division=0))
    each = metrics.average_precision_score(FLAGS, scores, average=None)
    np.testing.assert_allclose([row["average_precision"] for row in result.per_class], each)
    assert result.means["map"] == pytest.approx(each.mean())
    assert result.means["f1_micro"] == pytest.approx(metrics.f1_score(FLAGS, said, average="micro"))
    check_calibration(result.calibration, np.where(said, scores, 1 - scores).ravel(), (said == FLAGS).ravel())
    assert result.top1 is None and "mean average precision" in str(result)


def test_numbers():
    net = make_net(2, None, "regression", ("age", "height"))
    result = reskeras.evaluate(net, (X, NUMBERS))
    said = scores_of(net)
    for i, row in enumerate(result.per_class):
        assert row["mae"] == pytest.approx(metrics.mean_absolute_error(NUMBERS[:, i], said[:, i]), rel=1e-5)
        assert row["rmse"] == pytest.approx(metrics.root_mean_squared_error(NUMBERS[:, i], said[:, i]),
                                            rel=1e-5)
        assert row["r2"] == pytest.approx(metrics.r2_score(NUMBERS[:, i], said[:, i]), rel=1e-5)
    assert result.loss == pytest.approx(metrics.mean_squared_error(NUMBERS, said), rel=1e-5)
    assert "mean absolute error" in str(result) and result.per_class[1]["label"] == "height"


def test_images_with_equal_scores_and_labels_without_images():
    from reskeras.commands.measures import average_precision
    flags, scores = rng.integers(0, 2, 50), rng.integers(0, 5, 50) / 5
    assert average_precision(flags, scores) == pytest.approx(metrics.average_precision_score(flags, scores))
    assert average_precision(np.zeros(3), np.ones(3)) is None


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    rows = [f"{i}.png,{';'.join(name for name, flag in zip(NAMES, FLAGS[i]) if flag)}" for i in range(20)]
    for i in range(20):
        Image.fromarray(X[i]).save(folder / f"{i}.png")
    (folder / "labels.csv").write_text("\n".join(["image,labels", *rows]))
    make_net(4, "sigmoid", "multilabel", NAMES).save(folder / "labels.keras")
    make_net(1, None, "binary", NAMES[:2]).save(folder / "binary.keras")
    make_net(2, None, "regression", ("age", "height")).save(folder / "numbers.keras")
    return folder


def test_the_shell_writes_what_python_returns(table, capsys, monkeypatch):
    monkeypatch.chdir(table)
    command = ["evaluate", "labels.keras", "--data", "table:labels.csv", "--threshold", "0.4"]
    assert cli.main([*command, "--json", "all.json", "--csv", "images.csv", "--worst", "2"]) == 0
    saved = json.loads((table / "all.json").read_text())
    result = reskeras.evaluate("labels.keras", "table:labels.csv", threshold=0.4, worst=2).as_dict()
    assert saved["per_class"] == result["per_class"] and saved["worst"] == result["worst"]
    assert saved["calibration"] == result["calibration"] and saved["worst"][0]["image"].endswith(".png")
    with open("images.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20 and rows[0]["image"] == "0.png" and "score ant" in rows[0]
    capsys.readouterr()
    assert cli.main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["means"] == result["means"]
    assert cli.main([*command, "--json", "all.txt"]) == 2
    assert "--json all.txt: expected FILE.json" in capsys.readouterr().err


def test_predict(table, capsys, monkeypatch):
    monkeypatch.chdir(table)
    image = PREPROCESSING("0.png")
    for threshold in (0.2, 0.9):
        scores = np.asarray(keras.saving.load_model("labels.keras")(image))[0]
        said = reskeras.predict("labels.keras", "0.png", threshold=threshold)[0]["predictions"]
        expected = sorted(((-s, n) for s, n in zip(scores, NAMES) if s > threshold))
        assert [p["label"] for p in said] == [name for _, name in expected]
    logit = float(np.asarray(keras.saving.load_model("binary.keras")(image))[0, 0])
    said = {p["label"]: p["score"] for p in reskeras.predict("binary.keras", "0.png")[0]["predictions"]}
    assert said["bee"] == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-5) and said["ant"] == 1 - said["bee"]
    said = reskeras.predict("numbers.keras", "0.png")[0]["predictions"]
    values = np.asarray(keras.saving.load_model("numbers.keras")(image))[0]
    assert [p["label"] for p in said] == ["age", "height"]
    np.testing.assert_allclose([p["value"] for p in said], values, rtol=1e-5)
    assert cli.main(["predict", "0.png", "--model", "labels.keras", "--threshold", "0.999"]) == 0
    assert "none of the labels" in capsys.readouterr().out
    assert cli.main(["predict", "0.png", "--model", "numbers.keras"]) == 0
    assert f"age {values[0]:.6g}" in capsys.readouterr().out


@pytest.mark.parametrize("data, task, message", [
    ((X, CLASSES), "multilabel", "labels of 0 or 1 for each of several labels"),
    ((X, FLAGS), None, "class numbers .N,., or probabilities"),
    ((X, NUMBERS), "binary", "labels of two classes")])
def test_labels_of_another_task(data, task, message):
    net = make_net(1 if task == "binary" else 4, None, task, None)
    with pytest.raises(ValueError, match=message):
        reskeras.evaluate(net, data)


def test_one_output_without_a_task():
    net = make_net(1, "sigmoid", None, None)
    with pytest.raises(ValueError, match="say so with ") as error:
        reskeras.evaluate(net, (X, CLASSES % 2))
    call = str(error.value).partition("say so with ")[2].partition(" or ")[0]
    net = eval(call, {"reskeras": reskeras, "model": net})
    assert reskeras.evaluate(net, (X, CLASSES % 2)).task == "binary"
