"""Saved nets in fresh processes: safe mode, no custom_objects, either import order; a net of 1202 layers."""
import inspect
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny import images, policy, tiny, trained

import reskeras
from reskeras.blocks import drop_layers, grouped_conv, layers

ROOT = Path(reskeras.__file__).parents[1]
# together these hold every layer that the package registers
NETS = {
    "split": ("resnest50_fast_4s2x40d", dict(drop_path_rate=0.3, drop_block_rate=0.2)),
    "selective": ("skresnext50_32x4d", dict(antialias="blur", activation="silu")),
    "standardized": ("resnetv2_50x1_bit", dict(pool="max", shortcut="pad", drop_path_rate=0.3,
                                               drop_path_mode="batch")),
}
IMPORTS = {
    "reskeras first": "import reskeras, keras; load = keras.saving.load_model",
    "keras first": "import keras, reskeras; load = keras.saving.load_model",
    "tensorflow between": "import reskeras, tensorflow as tf; load = tf.keras.models.load_model",
    "only looked for": "import reskeras; from importlib.util import find_spec; find_spec('keras')\n"
                       "import keras; load = keras.saving.load_model",
    "reskeras.load": "import reskeras; load = reskeras.load",
}
# These are imported in a process of their own, where TensorFlow was not imported before.
ALONE = ("keras first", "tensorflow between")
COMPARE = """
import sys, numpy as np
*_, folder, names = sys.argv
for name in names.split():
    stored = np.load(f"{folder}/{name}.npz")
    np.testing.assert_array_equal(load(f"{folder}/{name}.keras")(stored["x"]), stored["y"])
print("equal")
"""


# TensorFlow takes seconds to import: it is imported once, then each piece of code runs in a fork.  Keras,
# which TensorFlow imports, is forgotten before, so that each fork imports Keras and reskeras as a process of
# its own does.
FORKS = """
import os, sys, traceback
import tensorflow
for name in [name for name in sys.modules if name.partition(".")[0] == "keras"]:
    del sys.modules[name]
assert "reskeras" not in sys.modules
failed = []
for code in sys.argv[1].split("# ----"):
    if not (child := os.fork()):
        try:
            exec(code)
            sys.stdout.flush()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    if os.waitpid(child, 0)[1]:
        failed.append(code)
sys.exit("\\n".join(["these failed:", *failed]) if failed else 0)
"""


def fresh_each(codes, *arguments):
    """What each piece of code prints, each in a fork of one fresh process; the message has all that fail."""
    return fresh(FORKS, "# ----".join(codes), *arguments)


def fresh(code, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr[-6000:]
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nets")
    for name, (row, fields) in NETS.items():
        model = trained(tiny(row, **fields))
        model.save(folder / f"{name}.keras")
        x = images(model)
        np.savez(folder / f"{name}.npz", x=x, y=model(x))
    return folder


def test_nets_hold_every_registered_layer():
    modules = (layers, drop_layers, grouped_conv)
    classes = [c for module in modules for _, c in inspect.getmembers(module, inspect.isclass)]
    registered = {c for c in classes if keras.saving.get_registered_name(c).startswith("reskeras>")}
    saved = {type(layer) for row, fields in NETS.values() for layer in tiny(row, **fields).layers}
    # in exported files only, in the place of Keras' own: tests/blocks/test_upsampling_layer.py,
    # tests/exporters/test_named_exports.py
    assert registered and registered - saved == {layers.UpSampling2D, layers.UnitNormalization}


@pytest.mark.parametrize("order", ALONE)
def test_loads_in_a_fresh_process(order, folder):
    """After an order of imports, in a process that has imported nothing before."""
    assert fresh(IMPORTS[order] + COMPARE, folder, " ".join(NETS)) == "equal\n"


def test_loads_after_the_other_orders(folder):
    """These in forks of a process that has imported TensorFlow."""
    codes = [code + COMPARE for order, code in IMPORTS.items() if order not in ALONE]
    assert fresh_each(codes, folder, " ".join(NETS)) == "equal\n" * len(codes)


def test_keeps_its_policy(tmp_path):
    with policy("mixed_bfloat16"):
        model = trained(tiny("resnext50_32x4d", drop_path_rate=0.1))
    model.save(tmp_path / "net.keras")
    loaded = reskeras.load(tmp_path / "net.keras")
    # all but the input layer, which computes nothing
    before, after = ([layer.compute_dtype for layer in net.layers[1:]] for net in (model, loaded))
    assert before == after
    np.testing.assert_array_equal(loaded(images(model)), model(images(model)))


def test_import_alone_loads_no_framework():
    code = ("import sys, reskeras; "
            "print([m for m in ('keras', 'tensorflow', 'jax', 'torch', 'numpy') if m in sys.modules])")
    assert fresh(code) == "[]\n"


def test_the_table_alone_loads_no_framework():
    code = """if True:
        import sys, reskeras
        reskeras.ResNet50D, reskeras.list_models("resnest*"), dir(reskeras)
        print([m for m in ('keras', 'tensorflow', 'jax', 'torch', 'numpy') if m in sys.modules])"""
    assert fresh(code) == "[]\n"


@pytest.mark.slow
def test_a_thousand_layers(tmp_path):
    """Under Python's own recursion limit, in a process where nothing has raised it."""
    code = """if True:
        import sys
        import numpy as np, reskeras
        limit = sys.getrecursionlimit()
        model = reskeras.CifarResNet1202(width=0.25, weights=None)
        model.save(sys.argv[1])
        loaded = reskeras.load(sys.argv[1])
        assert sum("_conv" in layer.name for layer in loaded.layers) == 1201
        x = np.ones((1, 32, 32, 3), "float32")
        np.testing.assert_array_equal(model(x), loaded(x))
        assert sys.getrecursionlimit() == limit
        print("equal")"""
    assert fresh(code, tmp_path / "deep.keras") == "equal\n"


# One module of every folder, and those at the top that may meet themselves.  That the others may be first too
# follows from test_house.test_registration_meets_no_half_imported_module.
FIRST = ["blocks.ops", "images.labels", "images.preprocessing", "images.resize", "graph.graph",
         "weights.load", "model_metadata", "inputs_outputs", "build", "train.fit", "exporters.export",
         "commands.demo"]


def test_any_module_may_be_the_first():
    """Each brings Keras in, which brings our layers in, one of which may be in the module itself."""
    fresh_each([f"import reskeras.{first}, keras\n"
                "names = ('GroupedConv2D', 'Net', 'ResizeAndCrop')\n"
                "assert all(keras.saving.get_registered_object(f'reskeras>{name}') for name in names)"
                for first in FIRST])
