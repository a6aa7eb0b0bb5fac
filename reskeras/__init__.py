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
_ROOMS = {"create": "catalog", "list_models": "catalog", "features": "levels", "load": "build", "cost": "graph.cost",
          "optimize": "graph.optimize", "export": "exporters.export"}


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return getattr(importlib.import_module(f"{__name__}.{_ROOMS[name]}"), name)
    if name.startswith("_") or importlib.util.find_spec(f"{__name__}.{name}"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")   # a room: the import system finds it
    return importlib.import_module(f"{__name__}.catalog").builder(name)


def __dir__() -> list[str]:
    from . import catalog
    return sorted([*_ROOMS, *catalog.builders(), "__version__"])


class _AfterKeras(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Registers our layers as soon as Keras is imported, so that a saved net loads without custom_objects.

    Keras itself imports no other package when it meets "reskeras>GroupedConv2D" in a file.
    """

    def find_spec(self, name, path=None, target=None):
        if name != "keras" or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("keras")
        if spec is None or spec.loader is None:
            return None
        self.loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        importlib.import_module(f"{__name__}.parts.layers")


if "keras" in sys.modules:
    importlib.import_module(f"{__name__}.parts.layers")
else:
    sys.meta_path.insert(0, _AfterKeras())
