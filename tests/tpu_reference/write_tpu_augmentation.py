"""How tensorflow/tpu (ResNet-RS) and ResNeSt augment: tests/golden/training/tpu_augmentation.json and .npz.

Run by `tox -e tpu-reference`, which checks out both repositories: their code is run as it is, with
tensorflow-addons in place of TensorFlow 1's contrib, and with nothing in place of MXNet.
"""
import importlib.util
import io
import pathlib
import random
import sys
import types

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "torch_reference"))
from augmentation_figures import (  # noqa: E402
    DRAWS, crop_figures, make_image, operation_figures, write_figures)

SIZES = ((400, 400), (300, 500))


def add_modules(**modules):
    for name, content in modules.items():
        name = name.replace("__", ".")
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(content)


def load(name, file):
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def draw_tpu(autoaugment):
    """10,000 operations, two for an image; recorded instead of a picture, not run."""
    functions = dict(autoaugment.NAME_TO_FUNC)

    def make_recorder(number, function):
        def record(record, value=0.0):
            return tf.concat([[[tf.constant(float(number)), tf.cast(value, tf.float32)]], record[:-1]], 0)
        # the names of a function's arguments decide what it is given
        if "replace" in autoaugment.inspect.getfullargspec(function).args:
            return lambda image, value, replace: record(image, value)
        return lambda image, *value: record(image, *value)
    for number, (name, function) in enumerate(functions.items()):
        autoaugment.NAME_TO_FUNC[name] = make_recorder(number, function)
    images = tf.data.Dataset.range(DRAWS // 2).map(
        lambda _: autoaugment.distort_image_with_randaugment(tf.zeros([2, 2]), 2, 10))
    drawn = np.concatenate(list(images.as_numpy_iterator()))
    autoaugment.NAME_TO_FUNC.update(functions)
    return operation_figures([(list(functions)[int(number)], float(value)) for number, value in drawn])


def draw_tpu_crops(preprocessing):
    """Crops of pictures whose colors say where a pixel is."""
    figures, whole = {}, tf.constant([0.0, 0.0, 1.0, 1.0], shape=[1, 1, 4])
    for height, width in SIZES:
        rows, columns = np.mgrid[:height, :width] // 2
        data = io.BytesIO()
        Image.fromarray(np.stack([rows, columns, 0 * rows], -1).astype("uint8")).save(data, "png")

        def draw(_, data=data.getvalue()):
            part = preprocessing.distorted_bounding_box_crop(
                data, whole, min_object_covered=0.1, aspect_ratio_range=(3 / 4, 4 / 3),
                area_range=(0.08, 1.0), max_attempts=10)
            return tf.concat([2 * tf.cast(part[0, 0, :2], tf.int32), tf.shape(part)[:2]], 0)
        boxes = list(tf.data.Dataset.range(DRAWS).map(draw, 2).as_numpy_iterator())
        figures[f"tpu crop {height}x{width}"] = crop_figures(boxes, height, width)
    return figures


def make_tpu_pixels(autoaugment):
    image, pixels = tf.constant(make_image()), {}
    parameters = types.SimpleNamespace(cutout_const=40, translate_const=100)
    autoaugment._randomly_negate_tensor = lambda tensor: tf.constant(tensor)
    for magnitude in (2, 10, 15):
        for name, function in autoaugment.NAME_TO_FUNC.items():
            arguments = autoaugment.level_to_arg(parameters)[name](float(magnitude))
            if name in ("Cutout", "Solarize") or "Translate" in name and magnitude > 2:
                continue
            if "replace" in autoaugment.inspect.getfullargspec(function).args:
                arguments = (*arguments, [128] * 3)
            pixels[f"tpu {name} {magnitude}"] = function(image, *arguments)
    # in the graph of TensorFlow 1, where the threshold becomes a byte
    for magnitude in (2, 10, 15):
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            pixels[f"tpu Solarize {magnitude}"] = session.run(
                autoaugment.solarize(tf.constant(make_image()), int(magnitude / 10 * 256)))
    window = make_image()[2:23, 3:22]
    pixels["tpu crop"] = tf.floor(tf.clip_by_value(
        tf.compat.v1.image.resize_bicubic([window], [12, 12])[0], 0.0, 255.0))
    return pixels


def draw_resnest(resnest):
    block, drawn = resnest.AugmentationBlock(resnest.autoaug_imagenet_policies()), []
    block.topil = block.tond = lambda image: image

    def record(image, name, level):
        _, low, high = resnest.get_augment(name)
        drawn.append((name, level * (high - low) + low))
        return image
    apply, resnest.apply_augment = resnest.apply_augment, record
    for _ in range(DRAWS):
        block.forward(None)
    resnest.apply_augment = apply
    return operation_figures(drawn)


def make_resnest_pixels(resnest):
    sys.modules["transforms"].random_mirror = False
    image = Image.fromarray(make_image())
    steps = {step[0::2] for policy in resnest.autoaug_imagenet_policies() for step in policy}
    pixels = {}
    for name, level in sorted(steps):
        _, low, high = resnest.get_augment(name)
        pixels[f"resnest {name} {level * (high - low) + low:.6g}"] = resnest.apply_augment(image, name, level)
    return pixels


def main():
    tpu, resnest_code = map(pathlib.Path, sys.argv[1:])
    add_modules(tensorflow__contrib={}, mxnet={"__path__": []}, mxnet__gluon={"Block": object})
    sys.modules["tensorflow.contrib"].image = tfa.image
    sys.modules["tensorflow.contrib"].training = types.SimpleNamespace(HParams=types.SimpleNamespace)
    autoaugment = load("autoaugment", tpu / "models/official/efficientnet/autoaugment.py")
    preprocessing = load("preprocessing", tpu / "models/official/resnet/resnet_preprocessing.py")
    add_modules(torchvision={}, torchvision__transforms={})
    load("transforms", resnest_code / "resnest/gluon/transforms.py")
    code = (resnest_code / "resnest/gluon/data_utils.py").read_text()
    resnest = types.ModuleType("data_utils")
    exec(code.replace("from ..transforms", "from transforms"), vars(resnest))
    random.seed(0), np.random.seed(0), tf.random.set_seed(0)
    figures = {
        "versions": {package.__name__: package.__version__ for package in (tf, np, tfa)},
        **draw_tpu_crops(preprocessing), "tpu RandAugment 10": draw_tpu(autoaugment),
        "resnest AutoAugment": draw_resnest(resnest)}
    pixels = {**make_tpu_pixels(autoaugment), **make_resnest_pixels(resnest)}
    write_figures("tpu_augmentation", figures, pixels)


if __name__ == "__main__":
    main()
