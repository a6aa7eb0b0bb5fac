"""Spec -> keras.Model: `build`, which every builder calls; also saves and loads `.keras` files.

    image -> preprocessing (if wanted) -> stem -> blocks of every stage -> head -> model -> weights
             images/preprocessing         blocks/stems  blocks/residual  blocks/ops       weights/load

The Inception nets use `blocks/inception` instead of stem and blocks.
"""
from __future__ import annotations

import contextlib
import dataclasses
import os
from typing import Any, Iterator

import keras
from keras import layers

from ._keras_building import build_faster, fill_variables, postpone_values
from .graph.graph import high_recursion_limit
from .graph.model_requirements import check_layers
from .model_metadata import ModelMetadata, resolve_preprocessing
from .model_with_metadata import ModelWithMetadata
from .blocks.ops import Tensor, build_head
from .blocks.batch_norm import BatchNormalization
from .blocks.residual import build_stages
from .blocks.inception import build_inception
from .blocks.stems import build_stem
from .files import atomic_write
from .remote_paths import copy_to_local, to_url
from .errors import (ArgumentError, check_choice, check_whole_number, describe_error, name_damaged_file,
                     to_whole_number)
from .keras_file_check import check_keras_file
from .spec import AnySpec, InceptionSpec, Spec
from .weights.load import load_weights
from .images.preprocessing import Preprocessing
from .weights.checkpoint import Checkpoint

# The dtype policies that a net can compute with; Keras itself also accepts integer policies.
DTYPE_POLICIES = ("float32", "float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16")

_STEM_STRIDES = {"conv7": 2, "deep": 2, "tiered": 2, "cifar": 1}


def build(spec: AnySpec, *, include_top: bool = True,
          weights: Checkpoint | str | os.PathLike[str] | None = None,
          input_tensor: Tensor | None = None, input_shape: tuple[int | None, ...] | None = None,
          pooling: str | None = None, classes: int | None = None, classifier_activation: Any = "softmax",
          include_preprocessing: bool = False, name: str = "model",
          dtype: str | keras.DTypePolicy | None = None) -> keras.Model:
    """Builds the net that a spec describes.

    Args:
        spec: what the net is made of.
        include_top: whether the model ends in average pool, dropout and classifier.
        weights: a published checkpoint, the path of a file of weights, or None for random values.
        input_tensor: a Keras tensor (N, H, W, C) to build on, instead of a new input.
        input_shape: (height, width, channels); with None as height or width, the model takes any size.
        pooling: the pooling after the last feature map if include_top is False: None, "avg" or "max".
        classes: the number of classes; by default the spec's.
        classifier_activation: the activation of the classifier; None gives logits.
        include_preprocessing: whether the model takes RGB pixels from 0 to 255 and scales them itself.
        name: the model's name.
        dtype: a Keras dtype policy for the layers of this model; by default the global one.

    Returns:
        A functional model on images (N, H, W, C).

    Raises:
        ValueError: for an invalid argument; the message says which one, and what was expected.
        OSError: if the weights cannot be downloaded or read.
    """
    classes = spec.classes if classes is None else classes
    classes = check_whole_number("classes", classes)
    _check_arguments(pooling, name)
    shape = _find_input_shape(spec, input_tensor, input_shape)

    # Layers that a function of the caller makes may read their variables at once; no other layer does.
    can_postpone = not _has_functions(spec)
    # Keras walks its graph recursively: 500 layers exceed Python's default limit.
    with use_dtype_policy(dtype), high_recursion_limit(), build_faster(), \
            postpone_values(can_postpone) as variables:
        image = layers.Input(shape, name="input_layer") if input_tensor is None else input_tensor
        x = _add_preprocessing(image, spec, weights) if include_preprocessing else image
        x = _build_body(x, spec)
        if include_top:
            x = build_head(x, spec, classes, classifier_activation)
        elif pooling == "avg":
            x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        elif pooling == "max":
            x = layers.GlobalMaxPooling2D(name="max_pool")(x)

        sources = [image] if input_tensor is None else keras.utils.get_source_inputs(input_tensor)
        inputs = sources[0] if len(sources) == 1 else sources
        if inputs is image:
            metadata = _make_metadata(weights, classes, include_top, include_preprocessing)
            model = net = _make_model(inputs, x, name, metadata)
        else:       # the model includes the caller's layers before the net; a weights file does not
            model, net = keras.Model(inputs, x, name=name), keras.Model(image, x, name=name)

    if weights is not None:
        load_weights(net, weights)
    fill_variables(variables)       # those that have no value from a file
    return model


@contextlib.contextmanager
def use_dtype_policy(dtype: str | keras.DTypePolicy | None) -> Iterator[None]:
    """Inside the `with` block, new layers of this thread use that dtype policy; then the old one is restored.

    Args:
        dtype: the name of a policy, see `DTYPE_POLICIES`, or a `keras.DTypePolicy`; None changes nothing.

    Raises:
        ValueError: for an unknown policy; the message suggests the nearest name.
    """
    if dtype is None:
        yield
        return
    if not isinstance(dtype, keras.DTypePolicy):
        check_choice("dtype", dtype, DTYPE_POLICIES)
    elif dtype.compute_dtype not in DTYPE_POLICIES or dtype.quantization_mode is not None:
        raise ArgumentError("dtype", dtype.name, f"a policy that computes in a floating-point type, such as "
                            f"{', '.join(map(repr, DTYPE_POLICIES))}", DTYPE_POLICIES)

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def load(path: str | os.PathLike[str], compile: bool = False) -> keras.Model:
    """Loads a `.keras` file: any that Keras can load, even with a thousand layers.

    The file may come from anywhere: no code in it runs, no other file is opened, and it takes no more memory
    than its weights need.  A layer with code, such as a `Lambda`, is an error.

    Args:
        path: a file that `reskeras.save` or `model.save` wrote, whose name ends in ".keras"; it may be a
            remote path, such as s3://BUCKET/net.keras.
        compile: whether to restore the optimizer, the loss and the metrics too.

    Returns:
        The model, with its metadata if the file has any.

    Raises:
        ValueError: for a file that is missing, damaged, or not a Keras file; it begins with the file's name.

    Example:
        >>> model = reskeras.load("net.keras")
    """
    if to_url(path):
        with copy_to_local(path) as local:
            return load(local, compile)
    name = os.fspath(path)
    custom_objects = {"BatchNormalization": BatchNormalization}
    try:
        with name_damaged_file(name, "a Keras file"):
            check_keras_file(name, custom_objects)
            with high_recursion_limit():
                model: keras.Model = keras.saving.load_model(name, custom_objects, compile=compile)
            return model
    except OSError as error:
        raise ValueError(f"{name} cannot be read as a Keras file ({describe_error(error)})") from error


def save(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Saves a model to a `.keras` file, even a net with a thousand layers.

    Until the new file is complete, an old one at `path` does not change.

    Args:
        model: any Keras model that Keras can save.
        path: the file, whose name must end in ".keras"; missing folders are made.

    Raises:
        ValueError: for a name that does not end in ".keras", or a model with a layer that has no config.
        OSError: if the file cannot be written.

    Example:
        >>> reskeras.save(model, "net.keras")
    """
    with atomic_write(path) as new, high_recursion_limit():
        try:
            model.save(new)
        except (TypeError, NotImplementedError):
            check_layers(model)     # finds the layer and says what to do
            raise


def _build_body(x: Tensor, spec: AnySpec) -> Tensor:
    """Makes the layers between the image and the head."""
    if isinstance(spec, InceptionSpec):
        return build_inception(x, spec)
    assert isinstance(spec, Spec)
    pool_stride = 1 if spec.pool == "none" else 2
    return build_stages(build_stem(x, spec), spec, _STEM_STRIDES[spec.stem] * pool_stride)


def _has_functions(spec: AnySpec) -> bool:
    """Whether layers of a spec are made by functions of the caller."""
    return any(callable(getattr(spec, field.name)) for field in dataclasses.fields(spec))


def _check_arguments(pooling: str | None, name: str) -> None:
    if keras.config.image_data_format() != "channels_last":
        raise ValueError("image_data_format='channels_first' is not supported; "
                         "call keras.config.set_image_data_format('channels_last')")
    check_choice("pooling", pooling, (None, "avg", "max"))
    if not isinstance(name, str) or not name or "/" in name:
        raise ArgumentError("name", name, "a non-empty string without '/'")


def _find_input_shape(spec: AnySpec, input_tensor: Tensor | None,
                      input_shape: tuple[int | None, ...] | None) -> tuple[int | None, ...]:
    """Finds (height, width, channels) of the input; None for a height or width that is not fixed.

    Raises:
        ValueError: for an invalid shape or tensor, or a shape that contradicts the tensor's.
    """
    if input_tensor is not None:
        if not keras.utils.is_keras_tensor(input_tensor):
            raise ArgumentError("input_tensor", input_tensor,
                                "a Keras tensor, such as keras.Input((224, 224, 3))")
        tensor_shape = tuple(input_tensor.shape[1:])
        if input_shape is not None and tuple(input_shape) != tensor_shape:
            raise ArgumentError("input_shape", tuple(input_shape),
                                f"the shape of input_tensor, {tensor_shape}")
        input_shape = tensor_shape
    if input_shape is None:
        input_shape = (spec.input_size, spec.input_size, 3)

    shape = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else ()
    is_valid = (len(shape) == 3 and shape[2] is not None
               and all(side is None or (to_whole_number(side) or 0) > 0 for side in shape))
    if not is_valid:
        raise ArgumentError("input_shape", input_shape, "(height, width, channels), such as "
                            f"({spec.input_size}, {spec.input_size}, 3); height and width may be None")
    if isinstance(spec, InceptionSpec) and any(side is not None and side < 75 for side in shape[:2]):
        raise ArgumentError("input_shape", shape,
                            "at least 75 x 75 pixels, because Inception's convolutions are not padded")
    return tuple(to_whole_number(side) for side in shape)


def _make_model(inputs: Any, outputs: Any, name: str, metadata: ModelMetadata | None) -> keras.Model:
    if metadata is None:
        return keras.Model(inputs, outputs, name=name)
    return ModelWithMetadata(inputs, outputs, name=name, metadata=metadata)


def _make_metadata(weights: Any, classes: int | None, include_top: bool,
                   include_preprocessing: bool) -> ModelMetadata | None:
    """The metadata of a checkpoint; without class names if the model has other classes."""
    if not isinstance(weights, Checkpoint):
        return None
    return ModelMetadata.from_checkpoint(weights, include_preprocessing,
                                         include_labels=include_top and classes == weights.classes)


def _add_preprocessing(x: Tensor, spec: AnySpec, weights: Any) -> Tensor:
    """Adds layers that turn RGB pixels (0 to 255) into what the net was trained on.

    That is what the checkpoint says, or the Spec if there is no checkpoint.

    Raises:
        ValueError: if the number of channels is not supported.
    """
    is_published = isinstance(weights, Checkpoint)
    preprocessing = resolve_preprocessing(weights) if is_published else Preprocessing((1, 1), spec.pixels)
    for layer in preprocessing.for_input_shape(tuple(x.shape[1:])).as_layers(resize=False):
        x = layer(x)
    return x
