"""Images that grow during a training: their sizes, batches and steps, resuming, replicas, and errors."""
import pathlib

import keras
import numpy as np
import pytest
from stopping import StopInSecondEpoch
from two_devices import run_on_two_devices

import reskeras
from reskeras.errors import ArgumentError
from reskeras.train.distributed_model import DistributedModel
from reskeras.train.epoch_sizes import find_epoch_size, list_epoch_sizes
from reskeras.train.recipes import get_recipe
from reskeras.train.training import Training

SMALL = dict(data=(np.random.default_rng(0).integers(0, 256, (32, 12, 12, 3), "uint8"), np.arange(32) % 4),
             recipe="cifar_he", epochs=4, batch_size=16, size="8:12", size_multiple=2, size_epochs=(0, 2),
             test_size=16, augmentation="random_resized_crop(12)|flip", verbose=0,
             model_overrides=dict(depths=(1,), widths=(16,), strides=(1,)))


def test_sizes_are_those_of_ffcv():
    """rn50_88_epochs.yaml: 160 until epoch 65, 192 from 76 on, between them the nearest multiple of 32."""
    training = Training(epochs=88, size=192, first_size=160, size_epochs=(65, 76), augmentation="")
    for epoch in range(88):
        between = np.interp([epoch], [65, 76], [160, 192])
        wanted = 160 if epoch <= 65 else 192 if epoch >= 76 else int(np.round(between[0] / 32)) * 32
        assert find_epoch_size(training, epoch) == wanted
    by_default = Training(epochs=16, size=192, first_size=128)
    assert list_epoch_sizes(by_default) == [128] * 4 + [160] * 5 + [192] * 7


def test_a_recipe_takes_both_sizes_in_one_value():
    recipe = get_recipe("rsb_a3").override({"size": "96:128"})
    training = recipe.training
    assert (training.first_size, training.size) == (96, 128)
    assert "random_resized_crop(128," in training.augmentation


@pytest.fixture
def shapes(monkeypatch):
    """The shapes of images in each traced training step."""
    seen = []
    call = DistributedModel.call

    def record(self, inputs, training=None, mask=None):
        if training and not isinstance(inputs, keras.KerasTensor):
            seen.append(tuple(inputs.shape))
        return call(self, inputs, training=training, mask=mask)
    monkeypatch.setattr(DistributedModel, "call", record)
    return seen


def test_each_size_has_a_step_of_its_own(shapes):
    history = reskeras.fit("cifar_resnet20", **SMALL, validation_data=SMALL["data"])
    sizes = [shape[1] for shape in shapes]
    assert sizes == [8, 10, 12] and all(None not in shape for shape in shapes)
    assert history.model.input_shape == (None, None, None, 3)
    assert reskeras.get_metadata(history.model).preprocessing.size == (16, 16)
    assert len(history.history["val_loss"]) == 4


def test_resumes_to_the_bit_where_the_images_grow(tmp_path):
    options = {**SMALL, "deterministic": True}
    reskeras.fit("cifar_resnet20", **options, output=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        reskeras.fit("cifar_resnet20", **options, output=tmp_path / "parts", callbacks=[StopInSecondEpoch()])
    reskeras.fit(data=SMALL["data"], resume=tmp_path / "parts", verbose=0)
    nets = [reskeras.load(tmp_path / name / "last.keras") for name in ("whole", "parts")]
    for a, b in zip(*(net.get_weights() for net in nets)):
        np.testing.assert_array_equal(a, b)


CHILD = """
from stopping import StopInSecondEpoch
from test_distillation import PLAIN, make_images, make_model
options = {**PLAIN, "size": "6:8", "size_multiple": 2, "size_epochs": (0, 1), "epochs": 3,
           "deterministic": True}
for schedule, more in {"triangular": {"warmup": 1}, "polynomial": {}, "exponential": {"decay_factor": 0.5},
                       "wsd": {"milestones": (1,)}}.items():
    for name in ("one", "two", "resumed") if schedule == "wsd" else ("one", "resumed"):
        with mirrored.scope() if name != "one" else tf.device("CPU:0"):
            net = make_model(0)
        given = {**options, **more, "schedule": schedule, "strategy": "none" if name == "one" else mirrored}
        if name == "resumed":
            run = sys.argv[1] + schedule
            try:
                reskeras.fit(net, make_images(), **given, output=run, callbacks=[StopInSecondEpoch()])
            except KeyboardInterrupt:
                history = reskeras.fit(data=make_images(), resume=run, strategy=mirrored, verbose=0)
        else:
            history = reskeras.fit(net, make_images(), **given)
        found[f"{schedule}/{name}/rates"] = history.history["learning_rate"]
        found |= {f"{schedule}/{name}/{i}": w for i, w in enumerate(history.model.get_weights())}
"""


@pytest.mark.slow
def test_replicas_and_schedules(tmp_path):
    """Two replicas, and two that were stopped within the second epoch, train as one device."""
    here = pathlib.Path(__file__).parent
    found = run_on_two_devices(CHILD, tmp_path, (here, here.parent))
    for schedule in ("triangular", "polynomial", "exponential", "wsd"):
        assert len(set(found[f"{schedule}/one/rates"])) > 1
        for name in ("two", "resumed") if schedule == "wsd" else ("resumed",):
            for what in ("rates", *range(4)):
                np.testing.assert_allclose(
                    found[f"{schedule}/{name}/{what}"], found[f"{schedule}/one/{what}"], rtol=1e-4, atol=1e-6,
                    err_msg=f"{schedule} {name}")


def test_cost_counts_each_size():
    from reskeras.train.recipe_results import count_images
    recipe = get_recipe("rsb_a3").override({"size": "96:160", "size_epochs": (10, 50), "epochs": 60})
    images = count_images(recipe, 100)
    assert sum(images.values()) == 6000 and images[96] >= 1100 and images[160] >= 1000
    assert list(images) == [96, 128, 160]


@pytest.mark.parametrize("change, text", [
    (dict(size="16:12"), "at most size=12"), (dict(size="8:x"), "two sizes with a colon"),
    (dict(size_epochs=(3, 2)), "between which the images grow"),
    (dict(size_epochs=(3,)), "between which the images grow"), (dict(size=12), "none without first_size"),
    (dict(size_multiple=0), "at least 1"), (dict(epochs=None, steps=4), "measured in steps")])
def test_errors(change, text):
    with pytest.raises(ArgumentError, match=text):
        reskeras.fit("cifar_resnet20", **{**SMALL, **change})


def test_a_net_of_one_size_is_refused():
    image = keras.Input((12, 12, 3))
    net = keras.Model(image, keras.layers.Dense(4, "softmax")(keras.layers.GlobalAveragePooling2D()(image)))
    with pytest.raises(ValueError, match="takes images of one size, 12 pixels, but those of the"):
        reskeras.fit(net, **{**SMALL, "model_overrides": ()}, preprocessing="cifar_resnet20.cifar10")
