"""A script that runs what needs no TensorFlow on a machine without it: its import fails here."""
import contextlib
import io
import sys

import numpy as np
from PIL import Image


class _Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, _Missing())

import keras        # noqa: E402

import reskeras     # noqa: E402
from reskeras import cli    # noqa: E402

file = sys.argv[1]
Image.fromarray(np.arange(2000, dtype="uint8").reshape(40, 50)).save(file)
prepare = reskeras.get_preprocessing("cifar_resnet20.digits")
assert prepare([file]).shape == (1, *prepare.size, len(prepare.mean))
assert reskeras.preprocess_input(np.zeros((2, *prepare.size, len(prepare.mean))), prepare).dtype == "float32"
pixels = np.zeros((2, 30, 40, len(prepare.mean)), "uint8")
assert keras.Sequential(prepare.as_layers())(pixels).shape == (2, *prepare.size, len(prepare.mean))
result, = reskeras.predict("cifar_resnet20.digits", file)
net = reskeras.create("cifar_resnet20.digits")
scores = net.predict_on_batch(prepare([file]))
best = reskeras.decode_predictions(scores, labels=net)[0][0]
assert best[1] == result["predictions"][0]["label"]
assert abs(best[2] - result["predictions"][0]["score"]) < 1e-5
for name in ("fit", "distributable"):
    try:
        getattr(reskeras, name)
        raise AssertionError(name)
    except ModuleNotFoundError as error:
        assert "pip install tensorflow" in str(error) and "\n" not in str(error), error
with contextlib.redirect_stderr(io.StringIO()) as err:
    assert cli.main(["train", "--model", "resnet18", "--data", "digits"]) == 2
assert err.getvalue().count("\n") == 1 and "pip install tensorflow" in err.getvalue(), err.getvalue()
assert "tensorflow" not in sys.modules
print("works without TensorFlow")
