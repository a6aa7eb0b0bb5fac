from typing import Any

import keras  # noqa: F401  Keras first: importing it registers our layers, which imports from this package


def __getattr__(name: str) -> Any:
    if name == "lesion":    # reskeras.graph.lesion(model, blocks)
        from .remove_blocks import lesion
        return lesion
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
