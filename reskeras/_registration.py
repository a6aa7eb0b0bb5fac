"""Registers our layers with Keras as soon as Keras is imported.

A `.keras` file names a layer of ours "reskeras>GroupedConv2D".  Keras finds the class only if the module that
defines it has been imported; it imports no other package by itself.  So the modules below must be imported
whenever a file may be loaded: after `import reskeras, keras`, in either order.  But `import reskeras` must
stay light, and does not import Keras.

The solution is an import hook.  If Keras is imported already, the modules are imported at once.  Otherwise a
finder is put at the front of `sys.meta_path`; when somebody imports Keras, it removes itself, lets Python
import Keras as usual, and then imports the modules.

A circle must be avoided: if a module of ours is what imports Keras, the hook imports further modules before
that one is complete.  Therefore whatever the hook imports, directly or not, has Keras imported before
anything else of ours: the `__init__.py` of its folder ends with `import keras`, or a module in the package
folder begins with it.  tests/test_house.py checks this.
"""
from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# The modules that register classes of saved models
_MODULES = ("blocks.layers", "blocks.drop_layers", "blocks.grouped_conv", "images.resize",
            "quantization.layers", "model_with_metadata")


def register_with_keras() -> None:
    """Registers our layers now if Keras is imported already, otherwise as soon as it is imported."""
    if "keras" in sys.modules:
        _import_modules()
    else:
        sys.meta_path.insert(0, _KerasFinder())


def _import_modules() -> None:
    for module in _MODULES:
        importlib.import_module(f"{__package__}.{module}")


class _KerasFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds Keras as the other finders do, with a loader that imports our modules after it."""

    _is_searching = False
    _loader: importlib.abc.Loader

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "keras" or self._is_searching:
            return None

        # Ask the other finders.  This one stays in `sys.meta_path`: `find_spec` may be called without a later
        # import.
        self._is_searching = True
        try:
            spec = importlib.util.find_spec("keras")
        finally:
            self._is_searching = False

        if spec is None or spec.loader is None:
            return None
        self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        sys.meta_path.remove(self)
        if module.__spec__:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        _import_modules()
