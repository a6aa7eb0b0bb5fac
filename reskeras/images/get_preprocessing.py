"""What a checkpoint expects of an image, by its row, its name, or a model that remembers it."""
from __future__ import annotations

from typing import Any

import keras
import numpy as np

from .model_opening import opening
from .preprocessing import Preprocessing
from ..weights.table import Weights, get_weights


def preprocess(what: Weights | str | keras.Model | Preprocessing, test: bool = False) -> Preprocessing:
    """The function from images to what a net's weights expect.

    Arguments:
        what: a weights row, its name ("resnet50v1_5.a1_in1k"), or a model that remembers its weights.
        test: whether to resize and crop as for the published accuracy, which may be of a larger image.
    Raises: ValueError where the model remembers none, or has another size than test=True asks for.
    """
    if isinstance(what, str):
        what = get_weights(what)
    if isinstance(what, keras.Model):
        own = getattr(opening(what)[0], "preprocessing", None)
        if own is None:
            raise ValueError(f"{what.name} remembers no preprocessing, and it cannot be guessed; give the name of weights, "
                             "as in reskeras.preprocess('resnet50v1_5.a1_in1k'), or tell it: reskeras.remember(model, ...)")
        return own.fitted(tuple(what.input_shape[1:]), test)
    if isinstance(what, Preprocessing):
        return what.tested() if test else what
    if not isinstance(what, Weights):
        raise TypeError(f"{what!r}: expected a weights row, its name such as 'resnet50v1_5.a1_in1k', or a model")
    return of_row(what).tested() if test else of_row(what)


def of_row(row: Weights) -> Preprocessing:
    return Preprocessing((row.input_size,) * 2, row.pixels, row.mean, row.std, row.interpolation, row.crop_pct,
                         row.crop_mode, (row.test_input_size,) * 2, row.test_crop_pct)


def preprocess_input(x: Any, net: Any) -> Any:
    """Pixels in 0..255 that have the net's size already, scaled as its weights expect, like `keras.applications`' functions.

    Arguments:
        x: an RGB (or, for a net of one channel, grey) image or batch, channels last: an array or a tensor.
        net: a model that remembers its weights, a weights row or its name.
    Returns: what `x` is, in float32; as it is for a model with preprocessing inside.
    Raises: ValueError for another number of channels; as `reskeras.preprocess`, which resizes too and reads files.
    """
    own = preprocess(net)
    x = np.asarray(x, "float32") if isinstance(x, (np.ndarray, list)) else keras.ops.cast(x, "float32")
    if len(x.shape) not in (3, 4) or x.shape[-1] != len(own.mean):
        raise ValueError(f"x has the shape {tuple(x.shape)}: expected (height, width, {len(own.mean)}) or a batch of that")
    return own.normalize(x)
