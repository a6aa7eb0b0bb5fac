"""The model that a recipe trains: built from its name with the recipe's model part, or checked against it."""
from __future__ import annotations

import dataclasses
import os
import warnings
from typing import Any

import keras

from ..build import load
from ..catalog import create, find_variant
from ..errors import ArgumentError
from ..graph.model_requirements import check_floating_point, check_image_model, check_layers
from ..images.preprocessing import Preprocessing
from ..model_metadata import get_metadata
from ..model_with_metadata import ModelWithMetadata, set_metadata
from ..spec import AnySpec, Spec
from ..variants import VARIANTS
from ..weights.checkpoint import Checkpoint
from ..weights.table import find_checkpoint, get_default_weights
from .image_size import Sides, convert_size, describe_size, to_sides
from .class_names import ADVICE, describe_other_classes, find_class_order, find_label_set
from .classifier import find_final_activation, replace_classifier, set_task
from .losses import find_activation, make_loss
from .model_check import check_model_matches_recipe, iterate_layers
from .pixel_values import check_fits_images, fits_images, measure_normalization
from .recipe import Recipe
from .source import DataSource
from .task import Task


def prepare_model(model: str | os.PathLike[str] | keras.Model, recipe: Recipe, images: DataSource,
                  task: Task, *,
                  dtype: str | None = None, preprocessing: Any = None,
                  weights: str | None = "auto") -> tuple[ModelWithMetadata, Recipe]:
    """The model to train, and the recipe at the model's size.

    Args:
        model: the name of a net, with or without a checkpoint; a `.keras` file; or a model.
        recipe: the recipe.
        images: the images to train on.
        task: what is learned of them.
        dtype: a Keras dtype policy for a net that is built from its name; a model has its own.
        preprocessing: needed if the model has no metadata, as `reskeras.set_metadata` takes it.
        weights: "auto", or "none" for a net with random weights.

    Returns:
        (a model that knows its preprocessing and the names of its classes, the recipe).

    Raises:
        ValueError: for a model that differs from the recipe's model part, or has other classes, channels or
            size.
        TypeError: for what is neither a name, a file nor a model.
        FileNotFoundError, OSError: as `reskeras.create`.
    """
    net: Any
    path = os.fspath(model) if isinstance(model, (str, os.PathLike)) else ""
    if path and not path.endswith(".keras"):
        if weights == "none":
            recipe = _train_from_scratch(path, recipe)
        # files are decoded to gray or RGB, unless a preprocessing takes them by value
        by_value = isinstance(preprocessing, Preprocessing) and preprocessing.has_values
        channels = len(preprocessing.mean) if by_value else images.channels
        net, recipe, default = _build_net(path, recipe, channels, task, dtype)
        preprocessing = _choose_preprocessing(preprocessing, default, net, recipe, images)
    else:
        if weights == "none":
            raise ArgumentError("weights", weights, "'auto', because the model has its own weights")
        net = load(path) if path else model
        _check_model(net, recipe, dtype)
        if path and _is_finetuning(recipe) and not _has_head(net, recipe, task):
            net = replace_classifier(net, task.outputs, find_activation(recipe.training, task.kind))
        recipe = _fit_recipe_to_model(net, recipe, images, task)
        preprocessing = _choose_preprocessing(preprocessing, None, net, recipe, images)
        if preprocessing is None and get_metadata(net).preprocessing is None:
            preprocessing = _infer_preprocessing(net, recipe)
    keeps_classifier = not path or path.endswith(".keras") and not _is_finetuning(recipe)
    net = set_task(net, task.kind)
    net = _fit_classes_to_data(net, recipe, images, task, keeps_classifier)
    make_loss(recipe.training, find_final_activation(net), task=task)       # if it fails, then now
    labels = find_label_set(images.classes) if images.classes and not get_metadata(net).labels else None
    return set_metadata(net, preprocessing=preprocessing, labels=labels), recipe


def find_spec(model: Any) -> AnySpec:
    """The Spec of a net's name, before any override; for files and models the default one."""
    is_name = isinstance(model, str) and not model.endswith(".keras")
    return find_variant(model)[0].spec if is_name else Spec()


def _has_head(model: keras.Model, recipe: Recipe, task: Task) -> bool:
    """Whether a model ends in as many outputs as the task has, with the activation of the loss or in logits.
    """
    activation = find_final_activation(model)
    return model.output_shape[-1] == task.outputs and activation in (
        "linear", find_activation(recipe.training, task.kind))


def _build_net(name: str, recipe: Recipe, channels: int, task: Task,
               dtype: str | None) -> tuple[keras.Model, Recipe, Preprocessing | None]:
    """The net of a name, the recipe at its size, and its preprocessing if no checkpoint says it."""
    variant, tag, _ = find_variant(name)
    training, needs_weights = recipe.training, _is_finetuning(recipe)
    tag = tag or (get_default_weights(variant.name) or "" if needs_weights else "")
    if needs_weights and not tag:
        raise ArgumentError("recipe", recipe.name, "a recipe that starts without weights, such as "
                            f"'cifar_he', because {variant.name} has no published "
                            "weights", hint="or give a .keras file as model")

    options: dict[str, Any] = {**recipe.model, "classes": task.outputs, "dtype": dtype,
                               "classifier_activation": find_activation(training, task.kind)}
    if tag:
        checkpoint = find_checkpoint(variant.name, tag)
        assert isinstance(checkpoint, Checkpoint)
        if recipe.sources.get("size") != "given":
            recipe = _resize_recipe(recipe, checkpoint.input_size)
        size: Any = (None, None) if training.first_size else to_sides(recipe.training.size)
        name = name if "." in name else f"{variant.name}.{tag}"
    else:
        options["weights"] = None
        # if the validation images have another size, the net leaves the size open
        has_one_size = training.test_size == training.size and not training.first_size
        size = to_sides(training.size) if has_one_size else (None, None)
    try:
        net = create(name, input_shape=(*size, channels), **options)
    except OSError as error:
        if not tag:
            raise
        raise OSError(f"{error}; to train from scratch, with random weights, give weights='none' (--weights "
                      "none in the shell)") from error
    return net, recipe, None if tag else _make_preprocessing(variant.name, recipe)


def _train_from_scratch(name: str, recipe: Recipe) -> Recipe:
    """The recipe for a net with random weights: all of it is trained from the start.

    Raises:
        ArgumentError: if the name has a checkpoint.
    """
    variant, tag, _ = find_variant(name)
    if tag:
        raise ArgumentError("weights", "none", f"'auto' with the checkpoint {name}",
                            hint=f"or give the net's name alone, {variant.name}")
    changes = {field: value for field, value in (("head_epochs", 0), ("freeze_statistics", False))
               if getattr(recipe.training, field)}
    recipe = dataclasses.replace(recipe, starts_from_weights=False)
    return recipe.override(changes).with_sources(
        {**recipe.sources, **dict.fromkeys(changes, "from scratch")}) if changes else recipe


def _check_model(model: Any, recipe: Recipe, dtype: str | None) -> None:
    """Raises: TypeError for anything but a model; ValueError for a model that the recipe does not train."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"{model!r}: expected a net's name, a .keras file or a keras.Model")
    if len(getattr(model, "outputs", None) or ()) > 1:
        raise ArgumentError("model", model.name, f"one output; it has {len(model.outputs)} outputs", hint=(
            "give one of them, keras.Model(model.inputs, model.outputs[0]), or train all of them by compile "
            "and fit of Keras; reskeras.distributable(model) does that on several devices"))
    check_image_model(model)
    if len(model.output_shape) != 2:
        raise ValueError(f"{model.name}: expected a functional model from images to one score for each class")
    check_layers(model)
    check_floating_point(model)
    check_model_matches_recipe(model, recipe)
    policy = next((layer.dtype_policy.name for layer in iterate_layers(model) if layer.weights), dtype)
    if getattr(dtype, "name", dtype) not in (None, policy):     # a name, or a policy as an object
        raise ArgumentError("dtype", dtype, f"{policy!r}, with which {model.name} was built",
                            hint="give its name, or build it with another dtype")


def _fit_recipe_to_model(model: keras.Model, recipe: Recipe, images: DataSource, task: Task) -> Recipe:
    """The recipe at the model's size.

    Raises:
        ValueError: if the model's size is not the recipe's, or if its classes or channels differ.
    """
    height, width, channels = model.input_shape[1:]
    if model.output_shape[-1] != task.outputs:
        kind = "" if task.kind == "multiclass" else f", for {task.kind}"
        raise ValueError(f"{model.name} has {model.output_shape[-1]} classes, but {images.name} has "
                         f"{task.outputs}{kind}; build it with classes={task.outputs}, or give its name")
    if channels != images.channels:
        raise ValueError(f"{model.name} takes images of {channels} channels, but those of {images.name} have "
                         f"{images.channels}; build it with input_shape="
                         f"({height}, {width}, {images.channels}), or give its name")
    if recipe.training.first_size and (height or width):
        raise ValueError(f"{model.name} takes images of one size, {height or width} pixels, but those of "
                         f"the training grow from {recipe.training.first_size} pixels on; build it "
                         f"with input_shape=(None, None, {channels})")
    trained = to_sides(recipe.training.size)
    if height in (None, trained[0]) and width in (None, trained[1]):
        return recipe
    size = convert_size("size", (height or trained[0], width or trained[1]))
    if _is_finetuning(recipe) and recipe.sources.get("size") != "given":
        return _resize_recipe(recipe, size)
    raise ValueError(f"{model.name} takes images of {describe_size(size)} pixels, but the recipe "
                     f"{recipe.name} trains with {describe_size(recipe.training.size)}: set `size` to {size}"
                     f", or build it with input_shape=(None, None, {channels})")


def _fit_classes_to_data(net: keras.Model, recipe: Recipe, images: DataSource, task: Task,
                         keeps_classifier: bool) -> keras.Model:
    """The net, with a new classifier if it is for other classes than those of the data.

    Args:
        net: has as many classes as the data.
        recipe: the recipe.
        images: the data.
        task: what is learned of them.
        keeps_classifier: whether other classes are an error.

    Raises:
        ValueError: for other classes.
    """
    if find_class_order(net, images) is not None:
        return net
    text = describe_other_classes(net, images)
    if keeps_classifier:
        raise ValueError(f"{text}; {ADVICE}; or fine-tune its .keras file, which gives it a new classifier")
    warnings.warn(f"{text}; its classifier starts at random; {ADVICE}", stacklevel=2)
    return set_task(replace_classifier(net, task.outputs, find_activation(recipe.training, task.kind)),
                    task.kind)


def _resize_recipe(recipe: Recipe, size: Sides) -> Recipe:
    if recipe.training.size == size:
        return recipe
    sources = dict.fromkeys(("size", "test_size", "augmentation"), "the net's own size")
    resized = recipe.override({"size": size, "test_size": size})
    return resized.with_sources({**recipe.sources, **sources})


def _is_finetuning(recipe: Recipe) -> bool:
    """Whether the recipe is for a net that is trained already."""
    training = recipe.training
    return bool(recipe.starts_from_weights or training.head_epochs or training.freeze_statistics)


def _make_preprocessing(variant: str, recipe: Recipe) -> Preprocessing:
    """The preprocessing of a net without weights: the variant's scaling, the recipe's size and crop."""
    training = recipe.training
    # bilinear, as the augmentation resizes
    return Preprocessing(to_sides(training.test_size), VARIANTS[variant].spec.pixels,
                         interpolation="bilinear", crop_pct=training.test_crop_pct)


def _choose_preprocessing(given: Any, default: Preprocessing | None, net: keras.Model, recipe: Recipe,
                          images: DataSource) -> Any:
    """The preprocessing that was given, or one whose numbers are measured if the images are taken by value.

    Args:
        given: the argument `preprocessing` of `fit`.
        default: what the net is trained with, if its metadata do not say it.
        net: the net.
        recipe: has the size and the crop of the validation.
        images: the images to train on.
    """
    known = get_metadata(net).preprocessing or default
    if isinstance(given, Preprocessing):
        check_fits_images(given, images)
    if given is not None or not images.value_channels or known and fits_images(known, images):
        return default if given is None else given
    mean, std = measure_normalization(images)
    if known:
        return dataclasses.replace(known, pixels="values", mean=mean, std=std, bits=0)
    training = recipe.training
    return Preprocessing(to_sides(training.test_size), "values", mean, std, interpolation="bilinear",
                         crop_pct=training.test_crop_pct)


def _infer_preprocessing(model: keras.Model, recipe: Recipe) -> Preprocessing:
    """The preprocessing of a model that has none but is a variant.

    Raises:
        ArgumentError: for another model.
    """
    if model.name not in VARIANTS or get_metadata(model).includes_preprocessing:
        raise ArgumentError("preprocessing", None, f"how the images of {model.name} are prepared, which it "
                            "does not know", hint="give for example the checkpoint that it was trained like, "
                            "'resnet50v1_5.a1_in1k'")
    return _make_preprocessing(model.name, recipe)
