"""Spec -> keras.Model, with the signature of keras.applications."""
from __future__ import annotations

import os
from typing import Any

import keras
from keras import layers

from .graph.graph import high_recursion_limit
from .model_metadata import ModelMetadata, ModelWithMetadata, checkpoint_preprocessing
from .blocks.ops import Tensor, build_head
from .blocks.batch_norm import BatchNormalization
from .blocks.residual import build_stages
from .blocks.inception import build_inception
from .blocks.stems import build_stem
from .files import atomic_write
from .errors import ArgumentError, check_choice, check_whole_number, to_whole_number
from .spec import AnySpec, InceptionSpec, Spec
from .weights.load import load_weights
from .images.preprocessing import Preprocessing
from .weights.table import Checkpoint

_STEM_STRIDES = {"conv7": 2, "deep": 2, "tiered": 2, "cifar": 1}


def build(spec: AnySpec, *, include_top: bool = True, weights: Checkpoint | str | os.PathLike[str] | None = None,
          input_tensor: Tensor | None = None, input_shape: tuple[int | None, ...] | None = None,
          pooling: str | None = None, classes: int | None = None, classifier_activation: Any = "softmax",
          include_preprocessing: bool = False, name: str = "model") -> keras.Model:
    """The net that `spec` describes, as a functional model on (N, H, W, C) images.

    Arguments: those of a builder (`reskeras.builder.Variant`).
    Raises: ValueError for a bad argument; the message names it and what was expected.
    """
    classes = spec.classes if classes is None else classes
    _check_arguments(pooling, classes, name)
    shape = _find_input_shape(spec, input_tensor, input_shape)
    image = layers.Input(shape, name="input_layer") if input_tensor is None else input_tensor
    sources = [image] if input_tensor is None else keras.utils.get_source_inputs(input_tensor)
    inputs = sources[0] if len(sources) == 1 else sources
    with high_recursion_limit():    # Keras walks its graph recursively: 500 layers exceed Python's default limit
        x = _add_preprocessing(image, spec, weights) if include_preprocessing else image
        x = _build_body(x, spec)
        if include_top:
            x = build_head(x, spec, check_whole_number("classes", classes), classifier_activation)
        elif pooling == "avg":
            x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        elif pooling == "max":
            x = layers.GlobalMaxPooling2D(name="max_pool")(x)
        own = inputs is image       # no layers of the caller's before the net
        metadata = _make_metadata(spec, weights, classes, include_top, include_preprocessing) if own else None
        model = ModelWithMetadata(inputs, x, name=name, metadata=metadata) if metadata else keras.Model(inputs, x, name=name)
        # what lies before an input_tensor is the caller's, and no weights file has it
        net = model if own else keras.Model(image, x, name=name)
    if weights is not None:
        load_weights(net, weights)
    return model


def load(path: str | os.PathLike[str], compile: bool = False) -> keras.Model:
    """Loads a `.keras` file: any that Keras itself would load, and also a net of a thousand layers.

    Args:
        path: a file that `reskeras.save` or `model.save` wrote.
        compile: whether to restore the optimizer, the loss and the metrics too.

    Returns:
        The model, with its metadata where it was saved with some.

    Raises:
        ValueError: where Keras cannot read the file.

    Example:
        >>> model = reskeras.load("net.keras")
    """
    with high_recursion_limit():
        return keras.saving.load_model(os.fspath(path), {"BatchNormalization": BatchNormalization}, compile=compile)


def save(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Saves a model to a `.keras` file, also a net of a thousand layers.

    Until the new file is complete, an old one at `path` stays as it is.

    Args:
        model: any Keras model that Keras can save.
        path: the file, whose name must end in ".keras"; missing folders are made.

    Raises:
        ValueError: for a name that does not end in ".keras".
        OSError: where the file cannot be written.

    Example:
        >>> reskeras.save(model, "net.keras")
    """
    with atomic_write(path) as new, high_recursion_limit():
        model.save(new)


def _build_body(x: Tensor, spec: AnySpec) -> Tensor:
    if isinstance(spec, InceptionSpec):
        return build_inception(x, spec)
    assert isinstance(spec, Spec)
    pool_stride = 1 if spec.pool == "none" else 2
    return build_stages(build_stem(x, spec), spec, _STEM_STRIDES[spec.stem] * pool_stride)


def _check_arguments(pooling: str | None, classes: int, name: str) -> None:
    if keras.config.image_data_format() != "channels_last":
        raise ValueError("image_data_format='channels_first' is not supported; "
                         "call keras.config.set_image_data_format('channels_last')")
    check_choice("pooling", pooling, (None, "avg", "max"))
    check_whole_number("classes", classes)
    if not isinstance(name, str) or not name or "/" in name:
        raise ArgumentError("name", name, "a non-empty string without '/'")


def _find_input_shape(spec: AnySpec, input_tensor: Tensor | None, input_shape: tuple[int | None, ...] | None) -> tuple[int | None, ...]:
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
    good = len(shape) == 3 and shape[2] is not None and all(s is None or (to_whole_number(s) or 0) > 0 for s in shape)
    if not good:
        raise ValueError(f"input_shape={input_shape!r}: expected (height, width, channels), e.g. "
                         f"({spec.input_size}, {spec.input_size}, 3); height and width may be None")
    if isinstance(spec, InceptionSpec) and any(s is not None and s < 75 for s in shape[:2]):
        raise ValueError(f"input_shape={shape}: Inception's valid convolutions need at least 75 x 75 pixels")
    return tuple(to_whole_number(side) for side in shape)


def _make_metadata(spec: AnySpec, weights: Any, classes: int | None, include_top: bool, inside: bool) -> ModelMetadata | None:
    """What a net with a checkpoint's weights knows of images and classes: its own, and the names while the head is."""
    if not isinstance(weights, Checkpoint):
        return None
    return ModelMetadata.from_checkpoint(weights, inside, include_labels=include_top and classes == weights.classes)


def _add_preprocessing(x: Tensor, spec: AnySpec, weights: Any) -> Tensor:
    """Pixels in 0..255, RGB, to what the checkpoint (or, without one, the row's published weights) expects.

    Raises: ValueError for an image of another number of channels.
    """
    own = checkpoint_preprocessing(weights) if isinstance(weights, Checkpoint) else Preprocessing((1, 1), spec.pixels)
    for layer in own.for_input_shape(tuple(x.shape[1:])).as_layers(resize=False):
        x = layer(x)
    return x
