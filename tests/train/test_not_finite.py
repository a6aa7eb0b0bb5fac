"""Trainings that diverge end at once and say where; what loss scaling skips leaves no trace."""
import types
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import reskeras
from reskeras import cli
from reskeras.commands import train as train_command
from reskeras.commands.evaluate import evaluate
from reskeras.json_writer import to_json
from reskeras.train.checkpoint import load_checkpoint, TrainState
from reskeras.train.strategy import distributable

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (32, 8, 8, 1), "uint8"), np.arange(32) % 4
FIELDS = {"size": 8, "augmentation": "", "batch_size": 8, "epochs": 3, "warmup": 0, "base_batch_size": 8}
TINY = {"depths": (1,), "widths": (16,), "strides": (1,)}


@pytest.fixture
def data(tmp_path):
    np.savez(tmp_path / "data.npz", x=IMAGES, y=LABELS)
    return f"npz:{tmp_path}/data.npz"


class Damage(keras.callbacks.Callback):
    """Makes a weight NaN before a step, counted over all epochs."""

    def __init__(self, step):
        super().__init__()
        self.step, self.ended = step, 0

    def on_train_batch_begin(self, batch, logs=None):
        if self.ended == self.step:
            bias = self.model.trainable_variables[-1]       # TensorFlow's ReLU makes 0 of NaN
            bias.assign(bias * np.nan)

    def on_train_batch_end(self, batch, logs=None):
        self.ended += 1


def test_shell_stops_with_one_line_and_exit_1(data, tmp_path, capsys):
    words = ["train", "cifar_resnet20", "--data", data, "--validation-data", data, "--recipe", "digits",
             "--output", str(tmp_path / "run"), "--verbose", "0", "--learning-rate", "1e38"]
    for name, value in {**FIELDS, "warmup": 0}.items():
        if name != "augmentation":
            words += [f"--{name.replace('_', '-')}", str(value)]
    words += ["--augmentation", "resize(8)", "--model-overrides", "depths=(1,)", "--model-overrides",
              "widths=(16,)", "--model-overrides", "strides=(1,)"]
    assert cli.main(words) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "Traceback" not in error
    assert "the loss of cifar_resnet20 became nan in step 2 of epoch 1" in error
    assert "learning_rate (it was 1e+38)" in error and str(tmp_path / "run" / "last.keras") in error
    assert not (tmp_path / "run" / "best.keras").exists()
    arrays, info = load_checkpoint(tmp_path / "run" / "checkpoint.npz")     # that from before the training
    assert (info["epoch"], info["step"]) == (0, 0)
    assert all(np.isfinite(a).all() for a in arrays.values())
    assert all(np.isfinite(w).all() for w in reskeras.load(tmp_path / "run" / "last.keras").get_weights())


def test_stops_within_a_later_epoch_and_keeps_the_checkpoint_before(tmp_path):
    damage = Damage(6)
    with pytest.raises(FloatingPointError, match="became nan in step 3 of epoch 2; start again with a lower"):
        reskeras.fit("cifar_resnet20", (IMAGES, LABELS), "digits", overrides=FIELDS, model_overrides=TINY,
                     save_every=1, output=tmp_path / "run", callbacks=[damage], verbose=0)
    assert damage.ended == 6                                                # no step after it
    arrays, info = load_checkpoint(tmp_path / "run" / "checkpoint.npz")
    assert (info["epoch"], info["step"]) == (1, 2) and np.isfinite(arrays["model/0"]).all()


def test_weights_that_only_the_last_update_made_infinite(tmp_path):
    class Last(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 3:
                kernel = self.model.trainable_variables[0]
                kernel.assign(kernel + np.inf)
    with pytest.raises(FloatingPointError, match="1 of the weights of .*, such as .*kernel, are NaN or "
                       "infinite after step 4 of epoch 1"):
        reskeras.fit("cifar_resnet20", (IMAGES, LABELS), "digits", overrides=FIELDS, model_overrides=TINY,
                     validation_data=(IMAGES, LABELS), output=tmp_path / "run", callbacks=[Last()], verbose=0)
    assert not (tmp_path / "run" / "best.keras").exists()
    assert load_checkpoint(tmp_path / "run" / "checkpoint.npz")[1]["epoch"] == 0


def test_a_validation_of_nan_is_not_the_best(monkeypatch):
    state = TrainState()
    assert not state.update_best({"loss": 1.0})
    assert not state.update_best({"val_accuracy": 1.0, "val_loss": float("nan")})
    assert state.update_best({"val_accuracy": 0.1, "val_loss": 2.0})
    history = keras.callbacks.History()
    history.task = types.SimpleNamespace(by_loss=False)
    history.history = {"loss": [1.0] * 3, "accuracy": [0.1] * 3, "val_accuracy": [0.9, 0.2, 0.3],
                       "val_loss": [float("nan"), 1.0, 1.0]}
    monkeypatch.setattr(train_command, "fit", lambda *args, **kwargs: history)
    assert "best 30.00% in epoch 3" in train_command.train("resnet18", "digits", output="nowhere")
    history.history["val_loss"] = [float("nan")] * 3
    assert "best" not in train_command.train("resnet18", "digits", output="nowhere")


# loss scaling

def make_scaled():
    """A net in float16 with batch normalization and dropout, and its trainer, which scales the loss."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        keras.utils.set_random_seed(0)
        image = keras.Input((6, 6, 3))
        x = keras.layers.BatchNormalization(momentum=0.5)(keras.layers.Conv2D(4, 3)(image))
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.Dropout(0.1)(x))
        model = keras.Model(image, keras.layers.Dense(3, dtype="float32")(x))
    finally:
        keras.config.set_dtype_policy("float32")
    trainer = distributable(model)
    trainer.compile(keras.optimizers.SGD(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                    metrics=["accuracy"])
    return model, trainer


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_a_skipped_step_changes_no_statistics_and_no_metrics(run_eagerly):
    model, trainer = make_scaled()
    trainer.run_eagerly = run_eagerly
    x, y = RNG.normal(size=(8, 6, 6, 3)).astype("float32"), np.arange(8) % 3
    batches = tf.data.Dataset.from_tensor_slices((np.concatenate([x * 1e30, x]), np.concatenate([y, y])))
    before = [w.copy() for w in model.get_weights()]
    trainer.fit(x * 1e30, y, batch_size=8, verbose=0)
    seeds = [i for i, v in enumerate(model.weights) if "seed" in v.path]
    for i, (old, new) in enumerate(zip(before, model.get_weights())):
        assert i in seeds or (old == new).all(), model.weights[i].path
    assert trainer.optimizer.dynamic_scale.numpy() == 2 ** 14
    history = trainer.fit(batches.batch(8), shuffle=False, verbose=0).history
    assert np.isfinite(history["loss"][0]) and np.isfinite(history["accuracy"][0])
    statistics = [w for v, w in zip(model.weights, model.get_weights()) if "moving" in v.path]
    assert len(statistics) == 2 and all(np.isfinite(w).all() for w in statistics)
    assert any((w != old).any() for w, old in zip(model.get_weights(), before))      # the second was applied


def test_twenty_skipped_steps_in_a_row_stop_the_training():
    model = reskeras.CifarResNet20(weights=None, input_shape=(8, 8, 1), classes=4, dtype="mixed_float16",
                                   classifier_activation=None, **TINY)
    losses = []

    class Overflow(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.optimizer.dynamic_scale.assign(2.0 ** 120)

        def on_train_batch_end(self, batch, logs=None):
            losses.append(float(logs["loss"]))
    with pytest.raises(FloatingPointError, match="gradients of .* overflowed in step 20 of epoch 1, as in "
                       "the 19 steps before; start again"):
        reskeras.fit(model, (IMAGES, LABELS), "digits", preprocessing="cifar_resnet20.digits",
                     overrides={**FIELDS, "batch_size": 1, "base_batch_size": 1}, callbacks=[Overflow()],
                     verbose=0)
    assert len(losses) == 19 and np.isfinite(losses).all()


# what is printed

def test_scores_of_nan(tmp_path, capsys):
    from PIL import Image
    net = reskeras.create("cifar_resnet20.digits")
    net.layers[-1].kernel.assign(net.layers[-1].kernel * np.nan)
    net.save(tmp_path / "nan.keras")
    Image.fromarray(IMAGES[0, ..., 0]).save(tmp_path / "a.png")
    words = ["predict", "--model", str(tmp_path / "nan.keras"), str(tmp_path / "a.png"), "--json"]
    assert cli.main(words) == 1
    printed = capsys.readouterr()
    result, = json.loads(printed.out, parse_constant=pytest.fail)
    assert "scores that are NaN or infinite" in result["error"] and "predictions" not in result
    assert printed.err.count("\n") == 1 and "a.png" in printed.err
    with pytest.raises(FloatingPointError, match="scores that are NaN or infinite"):
        evaluate(str(tmp_path / "nan.keras"), "digits")
    assert cli.main(["evaluate", str(tmp_path / "nan.keras"), "--data", "digits"]) == 1
    assert cli.main(["explain", "--model", str(tmp_path / "nan.keras"), str(tmp_path / "a.png"), "-o",
                     str(tmp_path / "a.html")]) == 1
    assert "Traceback" not in capsys.readouterr().err and not (tmp_path / "a.html").exists()


def test_json_has_no_nan():
    text = to_json({"a": float("nan"), "b": [1, float("inf"), (2.5, -np.inf)], "c": np.float64("nan")})
    assert json.loads(text, parse_constant=pytest.fail) == {"a": None, "b": [1, None, [2.5, None]], "c": None}


def test_only_one_place_writes_json_for_others():
    """Every text of JSON goes through `to_json`, except for files that only this package reads."""
    import pathlib
    package = pathlib.Path(reskeras.__file__).parent
    own = {"json_writer.py", "checkpoint.py", "fetch.py", "cache.py", "onnx.py", "openvino.py",
           "flatbuffer.py", "keras_objects.py"}
    places = {file.name for file in package.rglob("*.py") if "json.dumps(" in file.read_text()}
    assert places <= own
