"""What labels and a loss mean, what of a recipe follows from it, and which combinations are refused."""
import keras
import numpy as np
import pytest
import tensorflow as tf

import reskeras
from reskeras import cli
from reskeras.train.data import ImageDataset
from reskeras.train.labels import find_class_weights, read_class_weight
from reskeras.train.losses import make_loss
from reskeras.train.metrics import make_metrics, read_metrics
from reskeras.train.recipes import get_recipe
from reskeras.train.source import DataSource
from reskeras.train.sources import from_arrays, open_source
from reskeras.train.task import Task
from reskeras.train.task_rules import convert_labels, find_task, fit_recipe_to_task

X = np.zeros((6, 8, 8, 3), "uint8")
NUMBERS, FLAGS = np.array([0, 1, 2, 0, 1, 2]), np.array([[1, 1, 0], [0, 0, 0], [0, 1, 0]] * 2)
ONE_HOT, VALUES = np.eye(3)[NUMBERS], np.linspace(-1, 1, 6)
FOCAL = keras.losses.BinaryFocalCrossentropy


@pytest.mark.parametrize("labels, fields, expected", [
    (NUMBERS, {}, "multiclass"), (NUMBERS, {"loss": "binary"}, "multiclass"),
    (NUMBERS, {"loss": "huber"}, "regression"), (NUMBERS % 2, {"task": "binary"}, "binary"),
    (FLAGS, {}, "multilabel"), (FLAGS.astype(bool), {}, "multilabel"),
    (FLAGS, {"loss": FOCAL()}, "multilabel"),
    (FLAGS, {"loss": "mean_squared_error"}, "regression"), (ONE_HOT, {}, "multiclass"),
    (ONE_HOT, {"loss": "binary"}, "multilabel"), (VALUES, {}, "regression"),
    (VALUES[:, None], {}, "regression"),
    (VALUES > 0, {"task": "binary"}, "binary"), (VALUES > 0, {}, "multiclass"),
    (np.float32(VALUES > 0), {"loss": "binary"}, "binary"),
    (ONE_HOT * 0.8 + 0.2 / 3, {"loss": "softmax"}, "multiclass"), (ONE_HOT * 0.5, {}, "regression")])
def test_the_task_of_labels_and_loss(labels, fields, expected):
    recipe = get_recipe("cifar_he").override(fields)
    assert find_task(from_arrays("arrays", X, labels), recipe.training, set(fields)) == expected


def test_one_output_means_two_classes():
    source = from_arrays("arrays", X, NUMBERS % 2)
    assert find_task(source, get_recipe("cifar_he").training, outputs=1) == "binary"


@pytest.mark.parametrize("recipe, kind, expected", [
    ("cifar_he", "multilabel", {"loss": "binary", "task": "multilabel"}),
    ("rsb_a2", "multilabel", {"loss": "binary", "target_threshold": 0.0}),
    ("cifar_he", "binary", {"loss": "binary"}),
    ("rsb_a2", "regression", {"loss": "mean_squared_error", "label_smoothing": 0.0, "target_threshold": 0.0}),
    ("cifar_he", "multiclass", {"loss": "softmax", "task": "auto"})])
def test_what_follows_from_the_task(recipe, kind, expected):
    fitted = fit_recipe_to_task(get_recipe(recipe), kind, 3)
    assert {name: getattr(fitted.training, name) for name in expected} == expected
    assert ("mixup" in fitted.training.augmentation) == (recipe == "rsb_a2" and kind != "regression")
    if kind != "multiclass":
        assert fitted.sources["task"] == f"the task: {kind}"


def test_classes_that_are_called_by_numbers_are_numbers():
    source = DataSource("folder", ["a", "b", "c"], np.array([0, 1, 1]), ("20", "31"))
    assert convert_labels(source, "regression").labels.tolist() == [[20], [31], [31]]


def fit(labels, **fields):
    data = (X, *labels) if isinstance(labels, tuple) else (X, labels)
    return reskeras.fit("cifar_resnet20", data, "cifar_he", **{**dict(
        model_overrides=dict(depths=(1,), widths=(16,), strides=(1,)), size=8, batch_size=6, epochs=1,
        warmup=0, augmentation="", verbose=0), **fields})


@pytest.mark.parametrize("labels, fields, message", [
    (FLAGS, {"loss": "softmax"}, "loss='softmax': expected a loss for 'multilabel', .* such as 'binary'; a "
     "loss for multiclass needs labels of one class"),
    (VALUES, {"loss": "binary"}, "task='binary': expected labels of two classes.*from -1 to 1"),
    (VALUES, {"loss": "softmax"}, "loss='softmax': expected a loss for 'regression'"),
    (NUMBERS, {"task": "binary"}, "task='binary': expected 'multiclass', because arrays has 3 classes"),
    (NUMBERS, {"task": "multilabel"}, "task='multilabel': expected labels of 0 or 1 for each of several"),
    (FLAGS, {"task": "multiclass"}, "task='multiclass': expected labels of one class"),
    (FLAGS, {"task": "multilabel", "loss": "huber"}, "loss='huber': expected a loss for 'multilabel'"),
    (VALUES, {"label_smoothing": 0.1}, "label_smoothing=0.1: expected 0 for numbers"),
    (VALUES, {"augmentation": "mixup(0.2)"}, "one that does not mix images.*leave out mixup and cutmix"),
    (FLAGS, {"target_threshold": 0.2}, "target_threshold=0.2: expected 0"),
    (FLAGS, {"loss": FOCAL(), "label_smoothing": 0.1}, "label_smoothing=0.1: .*to the loss itself"),
    (NUMBERS, {"loss": keras.losses.SparseCategoricalCrossentropy()},
     "expected CategoricalCrossentropy, because"),
    (FLAGS, {"loss": keras.losses.Dice()}, r"expected a loss with one value for each image.*shape \(\)"),
    (NUMBERS, {"loss": "hubar"}, "did you mean 'huber'"), (NUMBERS, {"loss": keras.metrics.AUC()}, "loss="),
    (FLAGS, {"classes": 4}, "classes=4: expected 3"),
    (VALUES, {"class_weight": "balanced"}, "numbers have no classes.*weights"),
    (FLAGS, {"class_weight": "balanced"}, "expected a weight for each label"),
    (FLAGS, {"class_weight": {0: 2}, "loss": FOCAL()}, "expected None, or loss='binary'"),
    (NUMBERS, {"class_weight": {3: 2}}, "class_weight=3: expected a class of the data, or its number, 0 to"),
    (NUMBERS, {"class_weight": {0: 0, 1: 0, 2: 0}}, "a weight above 0 for one class"),
    (NUMBERS, {"class_weight": {0: np.nan}}, "a finite number of at least 0 for the class 0"),
    (NUMBERS, {"class_weight": 3}, "expected 'balanced', or a dict"),
    (NUMBERS, {"class_weight": "balancd"}, "did you mean 'balanced'"),
    (NUMBERS, {"metrics": ["SparseCategoricalAccuracy"]}, "expected CategoricalAccuracy, because"),
    (NUMBERS, {"metrics": ["Presision"]}, "neither a class of Keras.*did you mean 'Precision'"),
    (NUMBERS, {"metrics": [keras.metrics.Mean()]}, "expected a metric of labels and outputs"),
    (NUMBERS, {"metrics": ["F1Score"]}, "a metric whose result is one number; give average='macro'"),
    (NUMBERS, {"metrics": ["AUC(num_labels=5, multi_label=True)"]}, "a metric for labels and outputs of"),
    (NUMBERS, {"metrics": [keras.metrics.AUC(name="loss")]}, "expected another name than 'loss'"),
    (NUMBERS, {"metrics": {"output": ["AUC"]}}, "metrics='output': expected the name of an output: predi"),
    (NUMBERS, {"metrics": [3]}, "expected metrics of Keras"),
    ((NUMBERS, -np.ones(6)), {}, "the weight -1 of image 0: expected a number of at least 0"),
    ((NUMBERS, np.zeros(6)), {}, "all its weights are 0"),
    ((NUMBERS, np.ones(5)), {}, "expected one number for each of the 6 images"),
    ((NUMBERS, np.full(6, np.inf)), {}, "weights of image 0: inf is not a finite number"),
    (np.array([1e39] * 6), {}, "labels of image 0: 1e.39 is not a finite number that float32 can hold"),
], ids=lambda value: "" if isinstance(value, (np.ndarray, tuple)) else None)
def test_contradictions_are_refused_before_the_first_step(labels, fields, message):
    with pytest.raises((ValueError, TypeError), match=message) as error:
        fit(labels, **fields)
    assert "\n" not in str(error.value)


def test_a_net_that_ends_otherwise_is_refused():
    def net(outputs, activation):
        image = keras.Input((8, 8, 3))
        x = keras.layers.GlobalAveragePooling2D()(image)
        return keras.Model(image, keras.layers.Dense(outputs, activation)(x), name="net")
    options = dict(recipe="cifar_he", preprocessing=reskeras.Preprocessing((8, 8), "tf"), size=8, epochs=1,
                   batch_size=6, warmup=0, augmentation="", verbose=0)
    for outputs, activation, labels, fields, message in (
            (3, "softmax", FLAGS, {}, "ends in 'softmax': expected classifier_activation='sigmoid'"),
            (1, "sigmoid", VALUES, {"task": "regression"}, "'sigmoid': expected classifier_activation=None"),
            (3, None, FLAGS, {"loss": FOCAL()}, "ends in 'linear'.*or the loss with from_logits=True"),
            (2, "sigmoid", FLAGS, {}, "net has 2 classes, but arrays has 3, for multilabel"),
            (3, None, FLAGS, {"metrics": ["Precision"]}, "a metric of logits, in which this net ends")):
        with pytest.raises(ValueError, match=message):
            reskeras.fit(net(outputs, activation), (X, labels), **options, **fields)


def test_class_weights_by_name_and_number():
    def weights(value, names=("cat", "1", "dog")):
        return find_class_weights(read_class_weight(value), names, np.array([4, 2, 0])).tolist()
    assert weights({"cat": 2, 2: 0.5}) == [2, 1, 0.5] and weights([["dog", 3]]) == [1, 1, 3]
    assert weights({"1": 5}) == [1, 5, 1] and weights({"2": 5}) == [1, 1, 5]     # a name comes first
    for value, message in (({"cat": 1, 0: 2}, "each class once"), ({"dogs": 1}, "did you mean 'dog'"),
                           ("balanced", "there is no image of dog")):
        with pytest.raises(ValueError, match=message):
            weights(value)


def test_labels_with_weights_as_in_pytorch():
    """torch.nn.BCEWithLogitsLoss(weight=[1, 3, 1]) of PyTorch 2.14, in float64."""
    logits = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.5]])
    task = Task("multilabel", 3, np.array([1, 3, 1], "float32"))
    training = get_recipe("cifar_he").override({"loss": "binary"}).training
    loss = make_loss(training, "linear", "float64", task)(FLAGS[:2].astype("float64"), logits)
    assert float(loss) == pytest.approx(1.8656830965961895, rel=1e-12)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(
        make_loss(training, "sigmoid", None, task)))
    assert again.label_weights == [1, 3, 1]


def test_a_mixed_image_has_the_mixed_weight():
    """The last column of the labels is the weight, and is mixed as they are."""
    weights = np.arange(6, dtype="float32")
    data = ImageDataset(from_arrays("arrays", X, np.arange(6), weights=weights), 6, "mixup(0.5)", classes=6)
    for _, y, w in data.make_epoch():
        np.testing.assert_allclose(w, y.numpy() @ weights, rtol=1e-5)


def test_metrics_are_kept_as_keras_writes_them(tmp_path):
    saved = read_metrics([keras.metrics.Precision(0.3, name="p"), "AUC", "F1Score('macro', 0.5)"])
    made = make_metrics(Task("multilabel", 3), "sigmoid", saved)
    assert [m.name for m in made] == ["accuracy", "p", "auc", "f1_score"] and made[1].thresholds == [0.3]
    assert read_metrics(saved) == saved


def test_the_shell_has_the_same_words(tmp_path, capsys):
    np.savez(tmp_path / "data.npz", x=X, y=VALUES.astype("float32"), sample_weight=np.arange(6.0))
    assert open_source(f"npz:{tmp_path}/data.npz").weights.tolist() == list(range(6))
    net = [word for field in ("depths=(1,)", "widths=(16,)", "strides=(1,)")
           for word in ("--model-overrides", field)]
    run = tmp_path / "run"
    command = ["train", "cifar_resnet20", "--recipe", "cifar_he", "--data", f"npz:{tmp_path}/data.npz", *net,
               "--size", "8", "--augmentation", "", "--batch-size", "6", "--warmup", "0", "--epochs", "1",
               "--validation-data", f"npz:{tmp_path}/data.npz", "--loss", "Huber(0.3)",
               "--metrics", "R2Score"]
    assert cli.main([*command, "--output", str(run), "--verbose", "0"]) == 0
    assert "val_r2_score" in (run / "log.csv").read_text().splitlines()[0]
    assert "mean absolute error" in (run / "report.html").read_text()
    assert cli.main([*command, "--class-weight", "0=2"]) == 2
    assert "--class-weight [[0, 2.0]]: expected None, because numbers have no classes" in (
        capsys.readouterr().err.replace("[['0', 2.0]]", "[[0, 2.0]]"))


@pytest.mark.parametrize("labels, fields, expected", [
    (FLAGS, {}, "multilabel"), (VALUES.astype("float32"), {}, "regression"),
    (NUMBERS % 2, {"task": "binary"}, "binary"),
    (VALUES[:, None].repeat(2, 1), {"task": "regression"}, "regression")])
def test_the_task_of_a_dataset_whose_images_have_weights(labels, fields, expected):
    data = tf.data.Dataset.from_tensor_slices((X, labels, np.ones(6, "float32"))).batch(4)
    augmentation = "mixup(0.2)" if expected == "multilabel" else ""
    weights = {"class_weight": "balanced"} if expected == "binary" else {}
    history = reskeras.fit(
        "cifar_resnet20", data, "cifar_he", validation_data=data, augmentation=augmentation, size=8,
        model_overrides=dict(depths=(1,), widths=(16,), strides=(1,)), batch_size=6, epochs=1, warmup=0,
        verbose=0, **fields, **weights)
    assert reskeras.get_metadata(history.model).task == expected
    assert reskeras.evaluate(history.model, data).task == expected


def test_a_dataset_of_probabilities_or_numbers():
    data = tf.data.Dataset.from_tensor_slices((X, ONE_HOT.astype("float32")))
    with pytest.raises(ValueError, match="task='auto': expected 'multiclass', 'multilabel' or 'regression'"):
        reskeras.fit("cifar_resnet20", data, "cifar_he", size=8, batch_size=6, epochs=1, warmup=0)
