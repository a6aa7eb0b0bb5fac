"""Writes tests/golden/kerashub.json: presets of small nets, their layout and logits, by KerasHub.

`tox -e kerashub-reference` runs it.
"""
import json
import pathlib
import sys
import tempfile

import h5py
import keras
import keras_hub

TESTS = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))
from golden_rule import images  # noqa: E402
from kerashub_nets import CLASSES, NETS, PIXELS, SIZES, make_value  # noqa: E402


def describe(backbone):
    """The files of a preset without the values, and the logits in float64."""
    converter = keras_hub.layers.ResNetImageConverter(
        image_size=(48, 48), scale=[1 / 255 / 0.25] * 3, offset=[-0.5 / 0.25] * 3, interpolation="bicubic")
    net = keras_hub.models.ResNetImageClassifier(
        backbone, CLASSES, preprocessor=keras_hub.models.ResNetImageClassifierPreprocessor(converter))
    for layer in (*backbone.layers, net.get_layer("predictions")):
        for variable in layer.weights:
            variable.assign(make_value(layer.name, variable.name, variable.shape))
    result = {f"logits_{size}": net(images(size).astype("float64"), training=False).numpy().tolist()
              for size in PIXELS}
    with tempfile.TemporaryDirectory() as folder:
        net.save_to_preset(folder)
        for path in sorted(pathlib.Path(folder).iterdir()):
            result[path.name] = read_layout(path) if path.suffix == ".h5" else json.loads(path.read_text())
    del result["metadata.json"]
    return result


def read_layout(path):
    """Where a file has the variables: [group, name of the layer, shape of each variable] ..."""
    layout = []

    def add(name, item):
        if name.startswith("layers/") and name.endswith("/vars") and len(item):
            layout.append([name, item.attrs["name"], [item[str(i)].shape for i in range(len(item))]])

    with h5py.File(path) as file:
        file.visititems(add)
    return layout


def main():
    presets = {}
    for variant, arguments in NETS.items():
        keras.utils.clear_session()
        presets[variant] = describe(keras_hub.models.ResNetBackbone(**arguments, **SIZES, dtype="float64"))
    golden = {"keras_hub": keras_hub.__version__, "keras": keras.__version__, "presets": presets}
    lines = json.dumps(golden, separators=(",", ":"))
    (TESTS / "golden" / "kerashub.json").write_text(lines + "\n")


if __name__ == "__main__":
    main()
