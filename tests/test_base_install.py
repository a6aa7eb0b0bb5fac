"""`pip install reskeras` alone is enough to create, train, evaluate and predict: nothing else is imported."""
import pathlib
import subprocess
import sys

PROGRAM = '''
import configparser, importlib.metadata, re, sys

def get_name(text):
    return re.match(r"[A-Za-z0-9._-]+", text)[0].lower().replace("_", "-")

config = configparser.ConfigParser()
config.read(sys.argv[1])
needed, waiting = {"reskeras"}, config["options"]["install_requires"].strip().split("\\n")
while waiting:
    name = get_name(waiting.pop())
    if name not in needed:
        needed.add(name)
        try:
            requires = importlib.metadata.requires(name) or ()
        except importlib.metadata.PackageNotFoundError:      # not for this platform
            requires = ()
        waiting += [line for line in requires if "extra ==" not in line]
others = {module for module, owners in importlib.metadata.packages_distributions().items()
          if not needed & {get_name(owner) for owner in owners}} - {"pip", "setuptools", "_distutils_hack"}
assert "pytest" in others and "numpy" not in others

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in others:
            raise ModuleNotFoundError(f"{name} is not among the requirements", name=name)

sys.meta_path.insert(0, Refuse())

import numpy as np
from PIL import Image
import reskeras

images = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), "uint8"), np.arange(8) % 2
reskeras.fit("cifar_resnet20", images, "cifar_he", validation_data=images, size=8, augmentation="flip",
             batch_size=4, steps=2, verbose=0, output="run",
             model_overrides={"depths": (1,), "widths": (16,), "strides": (1,)})
Image.fromarray(images[0][0]).save("image.png")
print(reskeras.predict("run/best.keras", "image.png")[0]["predictions"][0]["label"])
print(reskeras.evaluate("run/best.keras", images).top1, reskeras.cost("cifar_resnet20.digits").params)
'''


def test_create_fit_evaluate_predict(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(pathlib.Path(__file__).parents[1] / "setup.cfg")],
        cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    assert len(result.stdout.splitlines()) == 2 and (tmp_path / "run" / "report.html").exists()
