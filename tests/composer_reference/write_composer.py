"""How MosaicML's composer draws the operations of its RandAugment: composer_augmentation.json.

Run by `tox -e composer-reference`.  10,000 draws of each operation by its own code, which is loaded alone, as
the package imports PyTorch; what Pillow is asked for is recorded, not done.
"""
import importlib.metadata
import importlib.util
import json
import pathlib
import sys

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

sys.path.append(str(pathlib.Path(__file__).parents[1] / "torch_reference"))
from augmentation_figures import DRAWS, GOLDEN, operation_figures  # noqa: E402

SEVERITY, SIDES = 10, (300, 240)        # width, height
FILE = "composer/algorithms/utils/augmentation_primitives.py"


def load_primitives():
    path = sys.argv[1] if len(sys.argv) > 1 else importlib.metadata.distribution("mosaicml").locate_file(FILE)
    spec = importlib.util.spec_from_file_location("primitives", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Recorder:
    """In the place of an image: keeps the argument of the operation."""

    size = SIDES

    def __init__(self):
        self.arguments = []

    def rotate(self, degrees, resample):
        assert resample == Image.Resampling.BILINEAR
        self.arguments.append(degrees)

    def transform(self, size, method, matrix, resample):
        assert (size, method, resample) == (SIDES, Image.Transform.AFFINE, Image.Resampling.BILINEAR)
        a, b, c, d, e, f = matrix
        assert (a, e) == (1, 1) and sum(value != 0 for value in (b, c, d, f)) <= 1
        self.arguments.append(b + c + d + f)


def main():
    image, figures = Recorder(), {}

    def keep(image, value=0.0):
        image.arguments.append(value)
    for name in ("autocontrast", "equalize", "posterize", "solarize"):
        setattr(ImageOps, name, keep)
    for name in ("Color", "Contrast", "Brightness", "Sharpness"):
        enhancer = type(name, (), {"__init__": lambda self, image: None,
                                   "enhance": lambda self, factor: image.arguments.append(factor)})
        setattr(ImageEnhance, name, enhancer)
    np.random.seed(0)
    for operation in load_primitives().augmentation_sets["all"]:
        image.arguments.clear()
        for _ in range(DRAWS):
            operation(image, SEVERITY)
        figures |= operation_figures([(operation.__name__, float(value)) for value in image.arguments])
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in sorted(figures.items()))
    (GOLDEN / "composer_augmentation.json").write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main()
