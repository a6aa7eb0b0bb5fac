"""Spec -> keras.Model, with the signature of keras.applications."""
from __future__ import annotations

import os
import pathlib
import tempfile
from typing import Any

import keras
from keras import layers

from .graph.graph import deep
from .model_metadata import Memory, Net
from .blocks.ops import Tensor, head
from .blocks.batch_norm import BatchNormalization
from .blocks.residual import stages
from .blocks.inception import inception
from .blocks.stems import stem
from .spec import AnySpec, InceptionSpec, Spec, nearest, whole
from .weights.load import load_weights
from .images.get_preprocessing import of_row
from .images.preprocessing import Preprocessing
from .weights.table import Weights

STEM_STRIDE = {"conv7": 2, "deep": 2, "tiered": 2, "cifar": 1}


def build(spec: AnySpec, *, include_top: bool = True, weights: Weights | str | os.PathLike[str] | None = None,
          input_tensor: Tensor | None = None, input_shape: tuple[int | None, ...] | None = None,
          pooling: str | None = None, classes: int | None = None, classifier_activation: Any = "softmax",
          include_preprocessing: bool = False, name: str = "model") -> keras.Model:
    """The net that `spec` describes, as a functional model on (N, H, W, C) images.

    Arguments: those of a builder (`reskeras.builder.Variant`).
    Raises: ValueError for a bad argument; the message names it and what was expected.
    """
    classes = spec.classes if classes is None else classes
    check(pooling, classes, name)
    shape = image_shape(spec, input_tensor, input_shape)
    image = layers.Input(shape, name="input_layer") if input_tensor is None else input_tensor
    sources = [image] if input_tensor is None else keras.utils.get_source_inputs(input_tensor)
    inputs = sources[0] if len(sources) == 1 else sources
    with deep():    # Keras walks its graph recursively: 500 layers exceed Python's default limit
        x = preprocessing(image, spec, weights) if include_preprocessing else image
        x = body(x, spec)
        if include_top:
            x = head(x, spec, whole(classes), classifier_activation)
        elif pooling == "avg":
            x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        elif pooling == "max":
            x = layers.GlobalMaxPooling2D(name="max_pool")(x)
        own = inputs is image       # no layers of the caller's before the net
        memory = _remembered(spec, weights, classes, include_top, include_preprocessing) if own else None
        model = Net(inputs, x, name=name, memory=memory) if memory else keras.Model(inputs, x, name=name)
        # what lies before an input_tensor is the caller's, and no weights file has it
        net = model if own else keras.Model(image, x, name=name)
    if weights is not None:
        load_weights(net, weights)
    return model


def load(path: str | os.PathLike[str], compile: bool = False) -> keras.Model:
    """Loads a `.keras` file that any version of Keras would load, also one of a thousand layers.

    Arguments:
        path: of a file that `model.save` wrote.
        compile: whether to restore the optimizer and losses too.
    Raises: ValueError where Keras cannot read it.
    """
    with deep():
        return keras.saving.load_model(os.fspath(path), {"BatchNormalization": BatchNormalization}, compile=compile)


def save(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Saves to a `.keras` file, also a net of a thousand layers; what was at `path` stays until the new file is whole.

    Raises: OSError where `path` cannot be written.
    """
    file = pathlib.Path(path)
    with tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.parent) as folder, deep():
        model.save(pathlib.Path(folder, file.name))
        os.replace(pathlib.Path(folder, file.name), file)


def body(x: Tensor, spec: AnySpec) -> Tensor:
    if isinstance(spec, InceptionSpec):
        return inception(x, spec)
    assert isinstance(spec, Spec)
    pool_stride = 1 if spec.pool == "none" else 2
    return stages(stem(x, spec), spec, STEM_STRIDE[spec.stem] * pool_stride)


def check(pooling: str | None, classes: int, name: str) -> None:
    if keras.config.image_data_format() != "channels_last":
        raise ValueError("image_data_format='channels_first' is not supported; "
                         "call keras.config.set_image_data_format('channels_last')")
    if pooling not in (None, "avg", "max"):
        raise ValueError(f"pooling={pooling!r}: expected None, 'avg' or 'max'{nearest(pooling, ('avg', 'max'))}")
    if whole(classes) < 1:
        raise ValueError(f"classes={classes!r}: expected a whole number of at least 1")
    if not isinstance(name, str) or not name or "/" in name:
        raise ValueError(f"name={name!r}: expected a non-empty string without '/'")


def image_shape(spec: AnySpec, input_tensor: Tensor | None, input_shape: tuple[int | None, ...] | None) -> tuple[int | None, ...]:
    """(H, W, C) of the input, H and W may be None.  Raises: ValueError for anything else."""
    if input_tensor is not None:
        if not keras.utils.is_keras_tensor(input_tensor):
            raise ValueError(f"input_tensor is a {type(input_tensor).__name__}: expected a Keras tensor, such as "
                             "keras.Input((224, 224, 3))")
        given = tuple(input_tensor.shape[1:])
        if input_shape is not None and tuple(input_shape) != given:
            raise ValueError(f"input_shape={tuple(input_shape)} contradicts input_tensor's {given}")
        input_shape = given
    if input_shape is None:
        input_shape = (spec.input_size, spec.input_size, 3)
    shape = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else ()
    good = len(shape) == 3 and shape[2] is not None and all(s is None or whole(s) > 0 for s in shape)
    if not good:
        raise ValueError(f"input_shape={input_shape!r}: expected (height, width, channels), e.g. "
                         f"({spec.input_size}, {spec.input_size}, 3); height and width may be None")
    if isinstance(spec, InceptionSpec) and any(s is not None and s < 75 for s in shape[:2]):
        raise ValueError(f"input_shape={shape}: Inception's valid convolutions need at least 75 x 75 pixels")
    return tuple(s if s is None else whole(s) for s in shape)


def _remembered(spec: AnySpec, weights: Any, classes: int | None, include_top: bool, inside: bool) -> Memory | None:
    """What a net with a checkpoint's weights knows of images and classes: its own, and the names while the head is."""
    if not isinstance(weights, Weights):
        return None
    return Memory.of_row(weights, inside=inside, labels=include_top and classes == weights.classes)


def preprocessing(x: Tensor, spec: AnySpec, weights: Any) -> Tensor:
    """Pixels in 0..255, RGB, to what the checkpoint (or, without one, the row's published weights) expects.

    Raises: ValueError for an image of another number of channels.
    """
    own = of_row(weights) if isinstance(weights, Weights) else Preprocessing((1, 1), spec.pixels)
    for layer in own.fitted(tuple(x.shape[1:])).layers(resize=False):
        x = layer(x)
    return x
