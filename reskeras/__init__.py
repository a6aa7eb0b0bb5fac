"""The whole residual-network family for Keras 3, one line each: `reskeras.ResNeSt50(weights=...)`.

Names load on first use: `import reskeras` alone imports neither Keras nor TensorFlow nor NumPy.
"""
from __future__ import annotations

import importlib
from typing import Any

from . import _registration

__version__ = "0.1.0"

# The public names, each with the module that defines it.  The builders (`ResNet50`, ...) are public too; they
# come from `variants`.  Everything else may change without notice.
_PUBLIC = {
    "create": "catalog", "list_models": "catalog", "features": "backbone",
    "list_weights": "weights.table", "get_weights": "weights.table", "Checkpoint": "weights.checkpoint",
    "load": "build", "save": "build", "load_weights": "weights.load",
    "get_preprocessing": "inputs_outputs", "Preprocessing": "images.preprocessing",
    "preprocess_input": "inputs_outputs", "decode_predictions": "inputs_outputs",
    "set_image_limits": "images.limits", "save_weights": "sharing.save_weights",
    "push_to_hub": "commands.push_to_hub", "from_pretrained": "pretrained",
    "set_metadata": "model_with_metadata",
    "get_metadata": "model_metadata", "ModelMetadata": "model_metadata",
    "cost": "commands.cost", "optimize": "commands.optimize", "remove_blocks": "graph.remove_blocks",
    "export": "commands.export", "verify": "commands.verify", "quantization_aware": "quantization.model",
    "fit": "commands.train", "sweep": "commands.sweep", "cross_validate": "commands.cross_validate",
    "find_learning_rate": "commands.find_learning_rate",
    "distributable": "train.strategy",
    "predict": "commands.predict", "evaluate": "commands.evaluate", "explain": "commands.explain",
    "benchmark": "commands.benchmark", "compare": "commands.compare",
    "compare_recipes": "commands.recipes_compare", "page": "commands.page",
    "doctor": "commands.doctor",
    "Recipe": "train.recipe", "list_recipes": "train.recipes", "get_recipe": "train.recipes",
    "Spec": "spec", "InceptionSpec": "spec", "SE": "spec", "ECA": "spec", "SK": "spec",
    "SplitAttention": "spec", "variant": "builder",
}
# Modules of keras.applications whose nets are here too: `from reskeras.resnet50 import preprocess_input`
_KERAS_MODULES = ("resnet", "resnet50", "resnet_v2", "inception_resnet_v2")


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        try:
            return getattr(_import(_PUBLIC[name]), name)
        except ModuleNotFoundError as error:
            if error.name != "tensorflow":
                raise
            raise ModuleNotFoundError(f"reskeras.{name} needs TensorFlow, which reads the images with every "
                                      "backend of Keras: pip install tensorflow", name=error.name) from error
    if name in _KERAS_MODULES:
        return _import(name)
    if name == "__all__":
        return __dir__()
    if name.startswith("_"):        # Python and its tools ask for many of these
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return _import("catalog").get_builder(name)
    except AttributeError:
        suggestion = _import("errors").nearest(name, _PUBLIC, cutoff=0.75)
        if not suggestion:
            raise       # with the nearest builder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{suggestion}")


def __dir__() -> list[str]:
    return sorted([*_PUBLIC, *_import("catalog").list_builders()])


def _import(module: str) -> Any:
    # not `from . import ...`, which would ask for the module as an attribute first, and so come back here
    return importlib.import_module(f"{__name__}.{module}")


_registration.register_with_keras()
