"""`fit`: trains a net on data by a recipe."""
from __future__ import annotations

import contextlib
import dataclasses
import inspect
import os
from typing import Any, Callable, Iterable, Mapping

import keras
import tensorflow as tf

from ..build import load
from ..errors import ArgumentError, check_choice, unknown_argument
from . import strategy as strategies
from .arguments import FitArguments
from .checkpoint import load_checkpoint
from .loop import TrainingLoop, TrainState
from .model import find_spec, prepare_model
from .recipe import Overrides, Recipe, Training, parse_overrides, scale_learning_rate, training_fields
from .recipes import get_recipe
from .run_folder import CHECKPOINT_FILE, LAST_MODEL, RunFolder, check_empty
from .training_config import TrainingConfig
from .training_data import TrainingSources, count_images, make_datasets, open_training_sources


def _add_training_fields(function: Callable[..., Any]) -> Callable[..., Any]:
    """Replaces **training_fields in a signature by the fields of `Training`, each None by default."""
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    parameters += [inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=None,
                                     annotation=f"{f.type} | None") for f in training_fields()]
    function.__signature__ = signature.replace(parameters=parameters)       # type: ignore[attr-defined]
    return function


@_add_training_fields
def fit(model: str | os.PathLike[str] | keras.Model | None = None, data: Any = None,
        recipe: str | Recipe = "finetune", *, validation_data: Any = None, validation_split: float = 0.0,
        output: str | os.PathLike[str] | None = None, resume: str | os.PathLike[str] | None = None,
        strategy: Any = "auto", dtype: str | None = None, jit_compile: bool = False, micro_batches: int = 1,
        deterministic: bool = False, seed: int = 0, overrides: Overrides = (), model_overrides: Overrides = (),
        classes: int | None = None, preprocessing: Any = None, max_unreadable: int = 100, save_every: int = 1000,
        callbacks: Iterable[keras.callbacks.Callback] = (), verbose: int = 1,
        **training_fields: Any) -> keras.callbacks.History:
    """Trains a net on data by a recipe.

    Args:
        model: the name of a net, which is built with the recipe's model part.  With a checkpoint
            ("resnet50v1_5.a1_in1k") the training starts from it; recipe="finetune" starts from the net's default
            checkpoint.  Or a `.keras` file, or a functional model, which must be as the recipe's model part says.
        data: images to train on: "folder:PATH", "tfrecord:GLOB", "tfds:NAME", "npz:FILE", "cifar10", "digits" ...,
            or uint8 arrays (images, labels); see `reskeras.train.sources.open_source`.
        recipe: a name (`reskeras.list_recipes()`) or a `Recipe`.
        validation_data: images to validate on after each epoch, in the same forms; where they have training and test
            images, the test images.
        validation_split: instead of `validation_data`, the fraction of each class of `data` to validate on.
        output: a new folder for run.json, log.csv, TensorBoard events, last.keras, best.keras (by validation
            accuracy), and a checkpoint at the end of every epoch and each `save_every` batches.  None writes nothing.
        resume: such a folder, to resume its training.  All other arguments are then as they were and can be left out.
        strategy: "auto", "none", "mirrored", "multi_worker", "tpu" or a `tf.distribute.Strategy`.
        dtype: a Keras dtype policy, such as "mixed_bfloat16", for a net that is built from its name.
        jit_compile: whether to compile with XLA.
        micro_batches: the number of equal parts into which each batch is divided to save memory; their gradients make
            one update of the weights.
        deterministic: whether the same run gives the same weights to the bit on the same machine; slower.  It applies
            to the rest of the process.
        seed: of weights, order and augmentation; also of the global generators of Keras and NumPy.
        overrides: values of the recipe's training part, as {"epochs": 10} or ["epochs=10"].
        model_overrides: values of the recipe's model part, in the same forms.
        classes: the number of classes, where the data do not contain it.
        preprocessing: of a model without metadata, as `reskeras.set_metadata` takes it.
        max_unreadable: unreadable images that are left out before it is an error.
        save_every: batches between checkpoints within an epoch; 0 saves at the end of each epoch only.
        callbacks: Keras callbacks.
        verbose: 0 prints nothing, 1 shows a progress bar, 2 prints one line per epoch.
        **training_fields: any field of the recipe's training part as a keyword: `epochs`, `batch_size`,
            `learning_rate`, `weight_decay`, `ema_momentum` ...; None takes the recipe's value.

    Returns:
        Keras' History.  Its `model` is the trained net, with its preprocessing and class names, and with the averaged
        weights where the recipe averages.  It is `model` itself where that has metadata (`reskeras.set_metadata`);
        else the two share their weights.

    Raises:
        ValueError: for arguments, data and model that do not fit together.
        TypeError: for an unknown keyword or field, and where the model or the data is missing.
        FileNotFoundError, OSError, ImportError: as the sources of data and the checkpoints do.
        SystemExit: with 0, after a SIGTERM, when the state has been saved in `output`.

    Example:
        >>> history = reskeras.fit("resnet50d", "folder:photos", validation_split=0.2, epochs=5, batch_size=64)
        >>> history.model.save("photos.keras")
    """
    # Arguments
    check_choice("verbose", verbose, (0, 1, 2))
    arguments = FitArguments(
        model, data, recipe, validation_data, validation_split, dtype, jit_compile, micro_batches, deterministic, seed,
        _merge_overrides(overrides, training_fields), _freeze_overrides(model_overrides), classes, preprocessing,
        max_unreadable)
    run = info = saved = None
    if resume is not None:
        run, info = _open_run(resume, output)
        arguments = arguments.resume(info["arguments"], run.folder)
        saved = load_checkpoint(run.path(CHECKPOINT_FILE))
        if verbose:
            print(f"resuming {run.folder}, which was started with {arguments.as_text()}", flush=True)
        strategy = info["strategy_argument"] or "auto" if strategy == "auto" else strategy
    elif model is None or data is None:
        raise TypeError("fit() needs a model and data, or resume=")
    _set_seeds(arguments)
    distribution = _find_strategy(arguments.model, strategy)
    worker = strategies.find_worker(distribution)

    # Data
    sources = open_training_sources(arguments)
    _check_unchanged(info, sources.train, "classes", sources.class_names)

    # Model
    with distribution.scope() if distribution else contextlib.nullcontext():
        if run and info and not isinstance(arguments.model, keras.Model):
            net, training, chosen = load(run.path(LAST_MODEL)), _read_training(info), None
        else:
            net, chosen = _choose_model_and_recipe(arguments, sources, info)
            training = chosen.training
    if output is not None and run is None:
        check_empty(output, is_chief=worker[0] == 0)
    state = TrainState.from_checkpoint(saved[1]) if saved else TrainState()
    train, validation = make_datasets(sources, arguments, training, net, state.unreadable, worker)
    strategies.get_replica_batch_size(distribution, train.batch_size)

    # Schedule
    learning_rate, images = scale_learning_rate(training), count_images(sources.train, sources.classes)
    _check_unchanged(info, sources.train, "images", images)
    if images < train.batch_size:
        raise ArgumentError("batch_size", train.batch_size, f"at most {images}, the number of images of "
                            f"{sources.train.name}")

    # Loop
    if output is not None and run is None:
        run = RunFolder.create(output, is_chief=worker[0] == 0)
    if run:
        run.is_chief = worker[0] == 0
    if info is None:
        assert chosen
        info = {"arguments": arguments.as_dict(), "strategy_argument": strategy if isinstance(strategy, str) else None,
                "net": net.name,
                "data": {"name": sources.train.name, "images": images, "classes": sources.class_names},
                "recipe": chosen.as_dict(), "learning_rate": learning_rate.reason, "seed": arguments.seed}
    config = TrainingConfig(
        net, training, train, validation, distribution, images // train.batch_size, learning_rate.value,
        arguments.micro_batches, arguments.jit_compile, sources.classes, save_every, verbose, list(callbacks), run, info)
    with run.lock() if run else contextlib.nullcontext():
        if run and resume is None:
            check_empty(run.folder, run.is_chief)       # another process may have started there since
        loop = TrainingLoop(config, state, saved)
        history = loop.run()
        was_finished = loop.trainer is None
        if run and was_finished and isinstance(arguments.model, keras.Model):       # a new model: give it the weights
            net.set_weights(load(run.path(LAST_MODEL)).get_weights())
        return history


def _merge_overrides(overrides: Overrides, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The overrides of the training part, from the argument and from the keywords of `fit`.

    Raises:
        TypeError: for an unknown keyword; the message names the nearest one.
        ArgumentError: for a field that is given twice.
    """
    known = {field.name for field in training_fields()}
    for name, value in keywords.items():
        if name not in known:
            raise unknown_argument(name, value, inspect.signature(fit).parameters, "fit")
    values = parse_overrides(overrides)
    fields = {name: value for name, value in keywords.items() if value is not None}
    for name in fields:
        if name in values:
            raise ArgumentError(name, fields[name], f"no {name} in overrides too (there it is {values[name]!r})",
                                hint="give it once")
    return values | fields


def _freeze_overrides(overrides: Overrides) -> Any:
    """Overrides that can be read more than once."""
    return overrides if isinstance(overrides, (str, Mapping)) else list(overrides)


def _open_run(resume: str | os.PathLike[str], output: Any) -> tuple[RunFolder, dict[str, Any]]:
    """The folder to resume and its run.json.  Raises: ArgumentError for another `output`; as `RunFolder.open`."""
    if output is not None and os.fspath(output) != os.fspath(resume):
        raise ArgumentError("output", os.fspath(output), f"the same folder as resume={os.fspath(resume)!r}: a training is "
                            "resumed in its own folder")
    return RunFolder.open(resume)


def _set_seeds(arguments: FitArguments) -> None:
    keras.utils.set_random_seed(arguments.seed)
    if arguments.deterministic:
        tf.config.experimental.enable_op_determinism()


def _find_strategy(model: Any, strategy: Any) -> tf.distribute.Strategy | None:
    """The strategy that is asked for, or that of a model.

    Raises: ArgumentError where a model was built in the scope of another one; as `choose_strategy`.
    """
    if not isinstance(model, keras.Model):
        return strategies.choose_strategy(strategy)
    model_strategy = model.distribute_strategy
    is_default = model_strategy is tf.distribute.get_strategy() and not tf.distribute.has_strategy()
    model_strategy = None if is_default else model_strategy
    if strategy != "auto" and strategies.choose_strategy(strategy) is not model_strategy:
        name = strategy if isinstance(strategy, str) else type(strategy).__name__
        raise ArgumentError("strategy", name, f"the strategy in whose scope {model.name} was built",
                            hint="build it inside of the scope and give the strategy as an object, or give the net's name")
    return model_strategy


def _choose_model_and_recipe(arguments: FitArguments, sources: TrainingSources,
                             info: Mapping[str, Any] | None) -> tuple[keras.Model, Recipe]:
    recipe = get_recipe(arguments.recipe).override(arguments.overrides, arguments.model_overrides,
                                                   find_spec(arguments.model))
    if info:        # the recipe may have been a `Recipe`, which no file holds
        recipe = dataclasses.replace(recipe, training=_read_training(info))
    return prepare_model(arguments.model, recipe, sources.train, sources.classes, dtype=arguments.dtype,
                         preprocessing=arguments.preprocessing)


def _read_training(info: Mapping[str, Any]) -> Training:
    """The recipe's training part, from run.json."""
    fields: dict[str, Any] = info["recipe"]["training"]
    return Training(**{**fields, "milestones": tuple(fields["milestones"])})


def _check_unchanged(info: Mapping[str, Any] | None, images: Any, name: str, value: Any) -> None:
    """Raises: ValueError where a training is resumed with other data than it was started with."""
    if info and info["data"][name] != value:
        raise ValueError(f"{images.name}: {name} are {value}, but the training was started with {info['data'][name]}; "
                         "start a new training in another folder")
