"""Data and words as people have them from elsewhere: Keras' own names, splits, streams with wrong values."""
import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import reskeras
from reskeras import cli
from reskeras.commands.evaluation import Evaluation
from reskeras.train.arguments import FitArguments
from reskeras.train.metrics import read_metrics
from reskeras.train.pixel_values import measure_normalization
from reskeras.train.sources import open_source

X, Y = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), "uint8"), np.arange(12) % 3
TINY = dict(size=8, test_size=8, augmentation="", batch_size=4, epochs=1, warmup=0, schedule="constant",
            verbose=0, model_overrides={"depths": (1,), "widths": (16,), "strides": (1,)})


def fit(data, **options):
    return reskeras.fit("cifar_resnet20", data, "cifar_he", **{**TINY, **options})


def override(**values):
    return reskeras.get_recipe("cifar_he").override(values).training


# ---- words of Keras


@pytest.mark.parametrize("word, expected", [
    ("sparse_categorical_crossentropy", "softmax"), ("mse", "mean_squared_error"), ("bce", "binary"),
    ("MAE", "mean_absolute_error")])
def test_names_of_losses(word, expected):
    assert override(loss=word).loss == expected


@pytest.mark.parametrize("word, expected", [
    ("mae", keras.metrics.MeanAbsoluteError), ("auc", keras.metrics.AUC), ("AUC", keras.metrics.AUC),
    ("top_k_categorical_accuracy", keras.metrics.TopKCategoricalAccuracy),
    ("Precision(0.3)", keras.metrics.Precision)])
def test_names_of_metrics(word, expected):
    assert [metric["class_name"] for metric in read_metrics([word])] == [expected.__name__]


@pytest.mark.parametrize("call, message", [
    (lambda: override(optimizer="rmsprop"), r"optimizer='rmsprop'.*of Keras with its learning rate, such as "
                                            r"'RMSprop\(0.001\)'"),
    (lambda: override(loss="hubert"), "did you mean 'huber'"),
    (lambda: read_metrics(["accuracy"]), "measured anyway"),
    (lambda: read_metrics(["AUK"]), r"such as Precision\(0.3\).*did you mean 'AUC'"),
])
def test_other_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("argument, way_out", [
    ("sample_weight", r"data=\(images, labels, weights\)"), ("x", r"data=\(images, labels\)"),
    ("steps_per_epoch", "epochs, or steps"), ("shuffle", "shuffled in each epoch"), ("epoch", "'epochs'")])
def test_arguments_of_keras(argument, way_out):
    with pytest.raises(TypeError, match=f"unknown argument {argument}=3.*{way_out}"):
        fit((X, Y), **{argument: 3})


def test_true_as_the_shell_and_toml_write_it():
    for word in ("true", "True", "TRUE", True):
        assert override(early_stopping=3, restore_best_weights=word).restore_best_weights is True
    assert override(schedule_by_epoch="false").schedule_by_epoch is False
    with pytest.raises(ValueError, match="restore_best_weights='yes': expected True or False"):
        override(restore_best_weights="yes")


def test_objects_are_calls_in_what_a_resumed_run_prints():
    optimizer = override(optimizer=keras.optimizers.Lion(0.5)).optimizer
    text = FitArguments("net", "data", metrics=["Precision(0.3)"], overrides={"optimizer": optimizer},
                        class_weight={"a": 2.0}).as_text()
    assert "metrics=[Precision(thresholds=0.3)]" in text and "{'optimizer': Lion(learning_rate=0.5" in text
    assert "class_weight=[['a', 2.0]]" in text


# ---- labels


def test_labels_of_other_types():
    assert open_source((X, Y > 0)).labels.tolist() == (Y > 0).astype(int).tolist()
    for names in (np.array(["a", "b", "c"])[Y], np.array(["a", "b", "c"], object)[Y], list("abc" * 4)):
        with pytest.raises(ValueError, match="np.unique.*return_inverse"):
            open_source((X, names))
    with pytest.raises(ValueError, match="several sizes.*resize them"):
        open_source(([X[0], X[0, :7]], [0, 1]))


def stream(labels, *weights):
    return tf.data.Dataset.from_tensor_slices((X, labels, *weights)).batch(5)


@pytest.mark.parametrize("data, message", [
    (stream(Y, np.where(np.arange(12) == 7, -1.0, 1)), "the weight -1.0 of image 7: expected a finite"),
    (stream(Y, np.where(np.arange(12) == 7, np.nan, 1)), "the weight nan of image 7"),
    (stream(Y, np.zeros(12)), "all its weights are 0"),
    (stream(np.where(np.arange(12) == 7, np.inf, 1.5)), "the label inf of image 7"),
    (stream(Y - 1), "label -1 is not one of 0"),
    (stream(np.stack([Y, Y], 1)), "a label is 2; expected numbers from 0 to 1, because.*'multilabel'"),
    (stream(Y).take(0), "it has no images"),
    (stream(Y * 100_000), "has the label 200000, but only 12 images"),
], ids=["negative", "NaN", "zero", "infinite", "label", "labels", "empty", "gap"])
def test_a_stream_is_checked_before_the_first_step(data, message):
    with pytest.raises(ValueError, match=message):
        fit(data)


def test_a_stream_to_validate_on_is_checked_too():
    with pytest.raises(ValueError, match="label -1 is not one of 0"):
        fit((X, Y), validation_data=stream(Y - 1))
    with pytest.raises(ValueError, match="of _BatchDataset are 1 numbers.*those of arrays are class numbers"):
        fit((X, Y), validation_data=stream(Y / 2))


def test_the_classes_of_a_stream_are_counted():
    assert fit(stream(Y)).model.output_shape == (None, 3)


def test_images_of_other_channels_are_named(tmp_path):
    for i in range(4):
        np.save(tmp_path / f"{i}.npy", np.zeros((4, 4, 11 if i == 2 else 12), "float32"))
    (tmp_path / "t.csv").write_text("image,label\n" + "".join(f"{i}.npy,{i % 2}\n" for i in range(4)))
    with pytest.raises(ValueError, match="2.npy: it has 11 channels, but the images before it have 12"):
        measure_normalization(open_source(f"table:{tmp_path}/t.csv"))


# ---- splits


@pytest.fixture
def table(tmp_path):
    """Writes a table of 12 images with one more column; returns the source."""
    for i in range(12):
        Image.fromarray(X[i]).save(tmp_path / f"{i}.png")

    def write(column, values):
        rows = [f"{i}.png,{'ab'[i % 2]},{value}" for i, value in enumerate(values)]
        (tmp_path / "t.csv").write_text("\n".join([f"image,label,{column}", *rows]))
        return f"table:{tmp_path}/t.csv"
    return write


def select(source, split):
    return sorted(int(image.rpartition("/")[2][:-4]) for image in open_source(source, split).images)


def test_rows_of_a_table_to_validate_and_to_test_on(table):
    source = table("split", (["train"] * 4 + ["val", "test"]) * 2)
    assert [select(source, split) for split in ("validation", "test")] == [[4, 10], [5, 11]]
    assert len(select(source, "train")) == 8
    for word in ("val", "test"):        # the only others
        source = table("Split", (["train"] * 4 + [word] * 2) * 2)
        assert select(source, "validation") == select(source, "test") == [4, 5, 10, 11]


def test_words_of_a_split(table, capsys):
    source = table("split", ["train"] * 11 + ["trian"])
    assert cli.main(["train", "cifar_resnet20", "--data", source, "--recipe", "cifar_he"]) == 2
    error = capsys.readouterr().err
    assert "line 13: split='trian': expected train, val or test; did you mean 'train'" in error
    assert error.count("\n") == 1
    source = table("fold", [0, 1, 2] * 4)          # a column that is only called so
    assert len(select(source, "train")) == len(select(source, "test")) == 12
    with pytest.raises(ValueError, match="line 2: fold='0': expected train"):
        open_source(f"{source}?split=fold")
    with pytest.raises(ValueError, match="'split' has no row of train, only test, validation"):
        open_source(table("split", ["val", "test"] * 6))
    with pytest.raises(ValueError, match="did you mean 'label'"):
        open_source(f"{source}?lable=label")


def test_folders_and_files_to_validate_on(tmp_path):
    for word in ("train", "val", "test"):
        for name in "ab":
            (tmp_path / "folder" / word / name).mkdir(parents=True)
            Image.fromarray(X[0]).save(tmp_path / "folder" / word / name / f"{word}.png")
    splits = (("train", "train", 6), ("validation", "val", 4), ("test", "test", 3))
    np.savez(tmp_path / "x.npz", **{f"{k}_{word}": v[:n] for _, word, n in splits
                                    for k, v in (("x", X), ("y", Y))})
    for split, word, count in splits:
        assert f"/{word}.png" in open_source(f"folder:{tmp_path}/folder", split).images[0]
        assert len(open_source(f"npz:{tmp_path}/x.npz", split)) == count
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").put(str(tmp_path / "folder"), "/splits", recursive=True)
    assert "/val/" in open_source("folder:memory://splits", "validation").images[0]


def test_a_folder_in_place_of_a_file_of_results(tmp_path):
    for call, name in ((lambda: reskeras.evaluate("cifar_resnet20.digits", "digits", csv=tmp_path), "csv"),
                       (lambda: reskeras.evaluate("cifar_resnet20.digits", "digits", json=tmp_path), "json")):
        with pytest.raises(ValueError, match=f"{name}=.*a file; this is a folder"):
            call()


# ---- resumed with other data; nets of several outputs


def test_labels_that_have_changed_since_the_start(tmp_path):
    run, file = tmp_path / "run", tmp_path / "x.npz"

    def save(labels):
        np.savez(file, x=X, y=labels)
    save(Y)
    fit(f"npz:{file}", output=run)
    save((Y + 1) % 3)
    with pytest.raises(ValueError, match="labels or their order are not those.*start a new training"):
        reskeras.fit(resume=run, epochs=2, verbose=0)
    save(Y)
    assert reskeras.fit(resume=run, epochs=2, verbose=0).epoch == [0, 1]


def test_several_outputs_are_refused_with_the_way_out():
    image = keras.Input((8, 8, 3))
    mean = keras.layers.GlobalAveragePooling2D()(image)
    net = keras.Model(image, [keras.layers.Dense(3, name=name)(mean) for name in "ab"], name="two")
    options = {name: value for name, value in TINY.items() if name != "model_overrides"}
    with pytest.raises(ValueError, match="model='two': expected one output; it has 2 .*compile and fit of"):
        reskeras.fit(net, (X, Y), "cifar_he", **options)
    with pytest.raises(ValueError, match="labels of several outputs, a, b; .*compile and fit of Keras"):
        reskeras.fit(net, (X, {"a": Y, "b": Y}), "cifar_he", **options)


def test_many_trainings_in_a_process_are_not_warned_of(monkeypatch, caplog):
    """TensorFlow counts how often a function was traced, over all models."""
    import logging

    from reskeras.commands import train

    def trace(*args, **kwargs):
        logger = logging.getLogger("tensorflow")
        logger.warning("5 out of the last 9 calls to %s triggered tf.function retracing. Tracing is", "x")
        logger.warning("something else")
    monkeypatch.setattr(train.training, "fit", trace)
    train.fit("net", "data")
    assert [record.getMessage() for record in caplog.records] == ["something else"]


def test_numbers_are_predicted_and_classes_are_taken_for_others():
    worst = [{"image": "a.png", "loss": 4.0, "label": "3", "predicted": "1"}]
    for task, said in (("regression", "predicted"), ("multiclass", "taken for")):
        result = Evaluation("net", "data", 1, None, None, 1.0, (8, 8), 1, (), [], None, task=task,
                            worst=worst)
        assert f"loss 4: a.png, 3, {said} 1" in str(result)
