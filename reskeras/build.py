"""Spec -> keras.Model, with the signature of keras.applications."""
from __future__ import annotations

import os
from typing import Any

import keras
from keras import layers

from .graph.graph import deep
from .parts.basics import Tensor, head
from .parts.blocks import stages
from .parts.inception import inception
from .parts.layers import ChannelSlice
from .parts.stems import stem
from .spec import AnySpec, InceptionSpec, Spec, nearest
from .weights.load import load_weights

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))   # mean and deviation of pixels in 0..1
STEM_STRIDE = {"conv7": 2, "deep": 2, "tiered": 2, "cifar": 1}


def build(spec: AnySpec, *, include_top: bool = True, weights: str | os.PathLike[str] | None = None,
          input_tensor: Tensor | None = None, input_shape: tuple[int | None, ...] | None = None,
          pooling: str | None = None, classes: int | None = None, classifier_activation: Any = "softmax",
          include_preprocessing: bool = False, name: str = "model", row: str = "") -> keras.Model:
    """The net that `spec` describes, as a functional model on (N, H, W, C) images.

    Arguments: those of a builder (`reskeras.variant.Variant`); `row` names the table's row in messages.
    Raises: ValueError for a bad argument; the message names it and what was expected.
    """
    classes = spec.classes if classes is None else classes
    check(pooling, classes, name)
    shape = image_shape(spec, input_tensor, input_shape)
    image = layers.Input(shape, name="input_layer") if input_tensor is None else input_tensor
    inputs = image if input_tensor is None else keras.utils.get_source_inputs(input_tensor)
    with deep():    # Keras walks its graph recursively: 500 layers exceed Python's default limit
        x = preprocessing(image, spec) if include_preprocessing else image
        x = body(x, spec)
        if include_top:
            x = head(x, spec, classes, classifier_activation)
        elif pooling == "avg":
            x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        elif pooling == "max":
            x = layers.GlobalMaxPooling2D(name="max_pool")(x)
        model = keras.Model(inputs, x, name=name)
        # what lies before an input_tensor is the caller's, and no weights file has it
        net = model if input_tensor is None else keras.Model(image, x, name=name)
    if weights is not None:
        load_weights(net, weights, row)
    return model


def load(path: str | os.PathLike[str], compile: bool = False) -> keras.Model:
    """Loads a `.keras` file that any version of Keras would load, also one of a thousand layers.

    Arguments:
        path: of a file that `model.save` wrote.
        compile: whether to restore the optimizer and losses too.
    Raises: ValueError where Keras cannot read it.
    """
    with deep():
        return keras.saving.load_model(os.fspath(path), compile=compile)


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
    if not isinstance(classes, int) or isinstance(classes, bool) or classes < 1:
        raise ValueError(f"classes={classes!r}: expected a whole number of at least 1")
    if not isinstance(name, str) or not name:
        raise ValueError(f"name={name!r}: expected a non-empty string")


def image_shape(spec: AnySpec, input_tensor: Tensor | None, input_shape: tuple[int | None, ...] | None) -> tuple[int | None, ...]:
    """(H, W, C) of the input, H and W may be None.  Raises: ValueError for anything else."""
    if input_tensor is not None:
        if not keras.utils.is_keras_tensor(input_tensor):
            raise ValueError(f"input_tensor={input_tensor!r}: expected a Keras tensor, such as keras.Input((224, 224, 3))")
        given = tuple(input_tensor.shape[1:])
        if input_shape is not None and tuple(input_shape) != given:
            raise ValueError(f"input_shape={tuple(input_shape)} contradicts input_tensor's {given}")
        input_shape = given
    if input_shape is None:
        input_shape = (spec.input_size, spec.input_size, 3)
    shape = tuple(input_shape)
    good = len(shape) == 3 and shape[2] is not None and all(
        s is None or (isinstance(s, int) and not isinstance(s, bool) and s > 0) for s in shape)
    if not good:
        raise ValueError(f"input_shape={input_shape!r}: expected (height, width, channels), e.g. "
                         f"({spec.input_size}, {spec.input_size}, 3); height and width may be None")
    if isinstance(spec, InceptionSpec) and any(s is not None and s < 75 for s in shape[:2]):
        raise ValueError(f"input_shape={shape}: Inception's valid convolutions need at least 75 x 75 pixels")
    return shape


def preprocessing(x: Tensor, spec: AnySpec) -> Tensor:
    """Pixels in 0..255, RGB, to what the published weights of the row expect.

    Raises: ValueError for an image of other than three channels.
    """
    if spec.pixels != "raw" and x.shape[-1] != 3:
        raise ValueError(f"include_preprocessing=True is defined for 3 channels, the input has {x.shape[-1]}")
    if spec.pixels == "torch":
        mean, deviation = IMAGENET
        return layers.Rescaling([1 / (255 * d) for d in deviation], [-m / d for m, d in zip(mean, deviation)],
                                name="preprocessing")(x)
    if spec.pixels == "tf":
        return layers.Rescaling(1 / 127.5, -1.0, name="preprocessing")(x)
    if spec.pixels == "caffe":      # BGR, centred on Caffe's mean pixel
        bgr = [ChannelSlice(c, c + 1, name=f"preprocessing_{n}")(x) for c, n in ((2, "blue"), (1, "green"), (0, "red"))]
        return layers.Rescaling([1.0] * 3, [-103.939, -116.779, -123.68], name="preprocessing")(
            layers.Concatenate(name="preprocessing_bgr")(bgr))
    return x
