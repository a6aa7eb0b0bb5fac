"""Under KERAS_BACKEND=torch, nets are optimized, trained on one device, and used for predictions."""
import keras
import numpy as np
import pytest
import small_training
from tiny import tiny, trained

import reskeras

if keras.config.backend() != "torch":
    pytest.skip("for KERAS_BACKEND=torch", allow_module_level=True)


@pytest.mark.parametrize("variant", ["seresnet18v1", "resnest50"])
def test_is_optimized(variant):
    model = trained(tiny(variant))
    optimized, report = reskeras.optimize(model)
    assert not report.refusal and report.check.max_relative_difference < 1e-12
    assert len(optimized.layers) < len(model.layers) and keras.config.floatx() == "float32"


def test_trains(tmp_path):
    options = dict(small_training.CASES["micro_batches"], epochs=8, learning_rate=0.05)
    history = small_training.train(small_training.make_net(), output=tmp_path / "run", **options)
    losses = history.history["loss"]
    assert losses[-1] < 0.8 * losses[0] and np.isfinite(history.history["val_loss"]).all()
    net = reskeras.load(tmp_path / "run" / "last.keras")
    x = np.ones((1, 16, 16, 1), "float32")
    np.testing.assert_allclose(net.predict_on_batch(x), history.model.predict_on_batch(x), rtol=1e-4)


@pytest.mark.parametrize("options, message", [
    (dict(strategy="mirrored"), "^strategy='mirrored': .*KERAS_BACKEND=torch"),
    (dict(jit_compile=True), "^jit_compile=True: .*torch")], ids=str)
def test_says_what_needs_another_backend(options, message):
    with pytest.raises(ValueError, match=message):
        small_training.train(small_training.make_net(), **options)
