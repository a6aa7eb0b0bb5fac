"""The net that a recipe trains: built from its name with the recipe's model part, or checked against that."""
from __future__ import annotations

import contextlib
import os
from typing import Any, Iterator

import keras

from ..build import load
from ..catalog import create
from ..catalog import find as find_net
from ..model_metadata import Net, recalled, remember
from ..spec import AnySpec, Spec
from ..variants import ROWS
from ..images.labels import known, label_set
from ..images.preprocessing import Preprocessing
from ..weights.table import Weights, default_tag
from ..weights.table import find as weights_of
from . import model_check
from .losses import ACTIVATION
from .recipe import Recipe
from .sources import Source


def trainee(what: str | os.PathLike[str] | keras.Model, recipe: Recipe, images: Source, classes: int, *,
            policy: str | None = None, preprocess: Any = None) -> tuple[Net, Recipe]:
    """The net, which knows its preprocessing and the names of its classes, and the recipe at the net's size.

    Arguments:
        what: a net's name, with or without a checkpoint, a `.keras` file, or a model.
        images, classes: what it shall tell apart.
        policy: of a name, such as "mixed_bfloat16"; a model has its own.
        preprocess: of a model that does not say it, as `reskeras.remember` takes it.
    Raises: ValueError for a model that is not as the recipe's model part says, or has other classes, channels or size;
        as `reskeras.create`.
    """
    path = os.fspath(what) if isinstance(what, (str, os.PathLike)) else ""
    if path and not path.endswith(".keras"):
        net, own, recipe = built(path, recipe, channels(images), classes, policy)
    else:
        net, own = given(load(path) if path else what, recipe, policy), preprocess
        recipe = _fitting(net, recipe, images, classes)
        if own is None and recalled(net).preprocessing is None:
            own = guessed(net, recipe)
    return remember(net, preprocess=own, labels=names(images.classes) if images.classes else None), recipe


def spec_of(what: Any) -> AnySpec:
    """That of a name, before any override; for files and models the default one."""
    return find_net(what)[0].spec if isinstance(what, str) and not what.endswith(".keras") else Spec()


def built(name: str, recipe: Recipe, channels: int, classes: int, policy: str | None) -> tuple[keras.Model, Any, Recipe]:
    """The net of that name, its preprocessing where its weights do not say it, and the recipe at its size."""
    row, tag, _ = find_net(name)
    training = recipe.training
    tag = tag or (default_tag(row.name) or "" if tuned(recipe) else "")
    if tuned(recipe) and not tag:
        raise ValueError(f"{name}: recipe {recipe.name!r} begins with a trained net, and {row.name} has no published weights; "
                         "give another recipe, such as recipe='cifar_he', or a .keras file")
    options: dict[str, Any] = {**recipe.model, "classes": classes, "classifier_activation": ACTIVATION[training.loss]}
    if tag:
        weights = weights_of(row.name, tag)
        assert isinstance(weights, Weights)
        if recipe.sources.get("size") != "given":
            recipe = _at_size(recipe, weights.input_size)
        size: Any = recipe.training.size
    else:       # of another size in a test: open
        options["weights"] = None
        size = training.size if training.test_size == training.size else None
    with computing(policy):
        options["input_shape"] = (size, size, channels)
        net = create(name if "." in name or not tag else f"{row.name}.{tag}", **options)
    return net, None if tag else scratch(row.name, recipe), recipe


def given(model: Any, recipe: Recipe, policy: str | None) -> keras.Model:
    """The model, where it is what the recipe trains.  Raises: TypeError for what is no model, ValueError."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"{model!r}: expected a net's name, a .keras file or a keras.Model")
    if len(getattr(model, "inputs", None) or ()) != 1 or len(model.outputs) != 1 or len(model.output_shape) != 2:
        raise ValueError(f"{model.name}: expected a functional model from images to one score for each class")
    model_check.check(model, recipe)
    own = next((layer.dtype_policy.name for layer in model_check.layers_of(model) if layer.weights), policy)
    if policy not in (None, own):
        raise ValueError(f"policy={policy!r}: {model.name} was built with {own!r}, which cannot be changed; give its name, or "
                         "call keras.config.set_dtype_policy before you build it")
    return model


def _fitting(model: keras.Model, recipe: Recipe, images: Source, classes: int) -> Recipe:
    """The recipe at the model's size.  Raises: ValueError for another size than the recipe's, other classes or channels."""
    height, width, number = model.input_shape[1:]
    if model.output_shape[-1] != classes:
        raise ValueError(f"{model.name} has {model.output_shape[-1]} classes, and {images.name} has {classes}; build it with "
                         f"classes={classes}, or give its name")
    if number != channels(images):
        raise ValueError(f"{model.name} takes images of {number} channels, and those of {images.name} have {channels(images)}")
    if height != width:
        raise ValueError(f"{model.name} takes images of {height} x {width} pixels: expected a square, or an open size")
    if height in (None, recipe.training.size):
        return recipe
    if tuned(recipe) and recipe.sources.get("size") != "given":
        return _at_size(recipe, height)
    raise ValueError(f"{model.name} takes images of {height} pixels, and the recipe {recipe.name} trains with "
                     f"{recipe.training.size}: set size={height}, or build it with input_shape=(None, None, {number})")


def _at_size(recipe: Recipe, size: int) -> Recipe:
    if recipe.training.size == size:
        return recipe
    told = dict.fromkeys(("size", "test_size", "augment"), "the net's own size")
    return recipe.override({"size": size, "test_size": size}).sourced({**recipe.sources, **told})


def tuned(recipe: Recipe) -> bool:
    """Whether it is for a net that is trained already."""
    return bool(recipe.training.head_epochs or recipe.training.freeze_statistics)


def scratch(row: str, recipe: Recipe) -> Preprocessing:
    """What a net without a past will expect of an image: the row's scaling, the recipe's size and crop."""
    training = recipe.training
    # bilinear, as augmentation resizes
    return Preprocessing((training.test_size,) * 2, ROWS[row].spec.pixels, interpolation="bilinear",
                         crop_pct=training.test_crop_pct)


def guessed(model: keras.Model, recipe: Recipe) -> Preprocessing | None:
    if model.name not in ROWS or recalled(model).scales:
        raise ValueError(f"{model.name} does not say how its images are prepared, and a wrong guess would not show; give "
                         "preprocess=, such as the weights row that it was trained like, 'resnet50v1_5.a1_in1k'")
    return scratch(model.name, recipe)


def channels(images: Source) -> int:
    return 3 if images.images is None or images.files else images.images.shape[-1]


def names(classes: tuple[str, ...]) -> Any:
    """The label set whose classes these are, or else they themselves."""
    for name in known():
        found = label_set(name)
        synsets = tuple(synset for synset, _ in found if not synset.isdigit())      # others are but numbered
        if len(found) == len(classes) and classes in (synsets, tuple(label for _, label in found)):
            return name
    return classes


def ending(model: keras.Model) -> str:
    """The activation that a classifier ends in, "linear" for logits."""
    last = next((layer for layer in reversed(model.layers) if layer.output is model.outputs[0]), model.layers[-1])
    if isinstance(last, keras.Model):
        return ending(last)
    if isinstance(last, keras.layers.Softmax):
        return "softmax"
    return getattr(getattr(last, "activation", None), "__name__", "linear")


@contextlib.contextmanager
def computing(policy: str | None) -> Iterator[None]:
    """Layers that are made inside have that policy.  Raises: ValueError for another word."""
    before = keras.config.dtype_policy()
    try:
        if policy is not None:
            keras.config.set_dtype_policy(policy)
        yield
    finally:
        keras.config.set_dtype_policy(before)
