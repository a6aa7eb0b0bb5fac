"""The whole residual-network family for Keras 3, one line each: `reskeras.ResNeSt50(weights=...)`.

Names load on first use: `import reskeras` alone imports neither Keras nor TensorFlow.
"""
from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
from typing import Any

__version__ = "0.1.0"

# Public name -> the room that it comes from; the builders come from `variants`.
_ROOMS = {"create": "catalog", "list_models": "catalog", "features": "backbone", "list_weights": "weights.table",
          "get_weights": "weights.table", "load": "build", "cost": "graph.cost.cost", "optimize": "graph.optimize",
          "export": "exporters.export", "preprocessing": "images.get_preprocessing", "preprocess_input": "images.get_preprocessing",
          "decode_predictions": "images.labels", "remember": "model_metadata", "fit": "commands.train",
          "distributable": "train.strategy"}


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return getattr(importlib.import_module(f"{__name__}.{_ROOMS[name]}"), name)
    if name.startswith("_") or "." in name:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if "/" not in name and importlib.util.find_spec(f"{__name__}.{name}"):
        return importlib.import_module(f"{__name__}.{name}")    # a room: reskeras.spec.SE without an import of its own
    return importlib.import_module(f"{__name__}.catalog").get_builder(name)


def __dir__() -> list[str]:
    from . import catalog
    return sorted([*_ROOMS, *catalog.list_builders(), "__version__"])


class _AfterKeras(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Registers our layers as soon as Keras is imported, so that a saved net loads without custom_objects.

    Keras itself imports no other package when it meets "reskeras>GroupedConv2D" in a file.
    """

    asking = False

    def find_spec(self, name, path=None, target=None):
        if name != "keras" or self.asking:
            return None
        self.asking = True      # leave it to the other finders; and stay, for many ask for a spec and import nothing
        try:
            spec = importlib.util.find_spec("keras")
        finally:
            self.asking = False
        if spec is None or spec.loader is None:
            return None
        self.loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        sys.meta_path.remove(self)
        module.__spec__.loader = module.__loader__ = self.loader
        self.loader.exec_module(module)
        _register()


def _register() -> None:
    for room in ("blocks.layers", "images.resize", "model_metadata"):
        importlib.import_module(f"{__name__}.{room}")


if "keras" in sys.modules:
    _register()
else:
    sys.meta_path.insert(0, _AfterKeras())
