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
from ..errors import ArgumentError, check_choice
from ..remote_paths import get_original_path
from ..terminal import print_text
from . import keras_devices
from . import strategy as strategies
from .arguments import FitArguments, merge_overrides
from .callback_checks import check_callbacks
from .checkpoint import TrainState
from .continuation import change_length
from .data_service import connect_data_service
from .distribution_errors import explain_lost_worker
from .image_size import to_sides
from .learning_rate import describe_unreached_milestones, scale_learning_rate
from .loggers import check_loggers, make_loggers
from .loop import TrainingLoop
from .metrics import check_metrics, list_metrics
from .model import find_spec, prepare_model
from .quantized_model import find_quantization, quantize_model
from .recipe import Overrides, Recipe
from .recipes import choose_recipe, get_recipe
from .resumed_run import ResumedRun
from .run_folder import LAST_MODEL, RunFolder, check_empty
from .task_rules import fit_recipe_to_task
from .teacher import make_teacher
from .training import training_fields
from .training_config import TrainingConfig
from .training_data import TrainingSources, make_datasets, open_training_sources


def _add_training_fields(function: Callable[..., Any]) -> Callable[..., Any]:
    """Replaces **training_fields in a signature by the fields of `Training`, each None by default."""
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    parameters += [inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=None,
                                     annotation="Any" if "dict" in f.type else f"{f.type} | None")
                   for f in training_fields()]
    function.__signature__ = signature.replace(parameters=parameters)       # type: ignore[attr-defined]
    return function


@explain_lost_worker()
@_add_training_fields
def fit(model: str | os.PathLike[str] | keras.Model | None = None, data: Any = None,
        recipe: str | Recipe | None = None, *, validation_data: Any = None, validation_split: float = 0.0,
        output: str | os.PathLike[str] | None = None, resume: str | os.PathLike[str] | None = None,
        strategy: Any = "auto", data_service: str | None = None, dtype: str | None = None,
        jit_compile: bool = False, micro_batches: int = 1, deterministic: bool = False, seed: int = 0,
        overrides: Overrides = (), model_overrides: Overrides = (), classes: int | None = None,
        preprocessing: Any = None, max_unreadable: int = 100, label_offset: int | None = None,
        weights: str | None = "auto", class_weight: Any = None, metrics: Any = (),
        quantize: str | None = None, teacher: Any = None, save_every: int = 1000,
        callbacks: Iterable[keras.callbacks.Callback] = (), verbose: int = 1,
        loggers: Iterable[str] | str = (),
        **training_fields: Any) -> keras.callbacks.History:
    """Trains a net on data by a recipe.

    Args:
        model: the name of a net, which is built with the recipe's model part.  With a checkpoint
            ("resnet50v1_5.a1_in1k") the training starts from it; the recipe "finetune" starts from the net's
            default checkpoint.  Or a `.keras` file, or a functional model, which must be as the recipe's
            model part says.
        data: images to train on: "folder:PATH", "table:FILE", "tfrecord:GLOB", "packed:FOLDER",
            "tfds:NAME", "hf:NAME", "npz:FILE", "cifar10", "cifar100", "digits", a dataset of TensorFlow,
            Keras or Hugging Face, or arrays (images, labels) or (images, labels, weights).  Labels are class
            numbers (N,); 0 or 1 for each of several labels (N, labels); or floats, (N,) or (N, numbers); see
            the field `task`.
        recipe: a name (`reskeras.list_recipes()`) or a `Recipe`; by default "finetune", and "int8" with
            `quantize`.
        validation_data: images to validate on after each epoch, in the same forms.  Of a source with several
            splits, these are the validation images, else the test images.
        validation_split: instead of `validation_data`, the fraction of each class of `data` to validate on.
        output: a new folder for run.json, log.csv, TensorBoard events, last.keras, best.keras (by validation
            accuracy; of several labels and of numbers, by validation loss), and a checkpoint at the end of
            every epoch and each `save_every` batches.  If the recipe averages the weights, these two are of
            the averages, and last_raw.keras and best_raw.keras of the weights themselves.  None writes
            nothing.
        resume: such a folder, to resume its training.  All other arguments are then as they were and can be
            left out.  With more `epochs` (or `steps`) than before it goes on beyond its end, with the
            learning rates of a training that had this length from the start.
        strategy: "auto", "none", "mirrored", "multi_worker", "tpu" (untested) or a `tf.distribute.Strategy`.
            With KERAS_BACKEND=jax or torch "auto" or "none"; JAX trains on the devices of
            `keras.distribution`.
        data_service: "HOST:PORT" of the dispatcher of a tf.data service, whose workers read and augment the
            images instead of this process, to the same batches.  "none" resumes without one.
        dtype: a Keras dtype policy, such as "mixed_bfloat16", for a net that is built from its name.
        jit_compile: whether to compile with XLA.
        micro_batches: the number of equal parts into which each batch is divided to save memory; their
            gradients make one update of the weights.
        deterministic: whether the same run gives the same weights to the bit on the same machine; slower.  It
            applies to the rest of the process.
        seed: the random seed of weights, order and augmentation, and of the global generators of Keras and
            NumPy.
        overrides: values of the recipe's training part, as {"epochs": 10} or ["epochs=10"].
        model_overrides: values of the recipe's model part, in the same forms.
        classes: the number of classes, if the data do not contain it.
        preprocessing: needed if the model has no metadata, as `reskeras.set_metadata` takes it.
        max_unreadable: unreadable images that are left out before it is an error.
        label_offset: the label of the first class in TFRecord files, 0 or 1; by default 0 if a record of
            `data` has the label 0, else 1.
        weights: "auto" starts from a checkpoint as `model` says; "none" builds the net with random weights
            and trains all of it from the start, also by a recipe that otherwise fine-tunes.
        class_weight: how much an image of each class counts in the training loss: "balanced" (the rarer the
            class, the more), or {class: weight} with names or numbers of classes; others count 1.  An image
            may have a weight of its own, which is multiplied by that: data=(images, labels, weights).
        metrics: what to measure beside: metrics of Keras, or the names of their classes; for a net whose
            output has a name, also {name: metrics}.
        quantize: "int8" trains the net for int8: with fake quantization as `reskeras.quantization_aware` puts
            it, and ranges from some of the training images.  `reskeras.export` then writes an int8 `.tflite`.
        teacher: a trained net whose scores are learned: a name with weights ("resnet101d.ra2_in1k"), a
            `.keras` file, or a model; see the fields `distillation`, `temperature` and `alpha`.
        save_every: batches between checkpoints within an epoch; 0 saves at the end of each epoch only.
        callbacks: Keras callbacks.  Those that set the learning rate need schedule="constant" without a
            warm-up, or "plateau".
        verbose: 0 prints nothing, 1 shows a progress bar, 2 prints one line per epoch.
        loggers: "tensorboard", "wandb" or "mlflow", also several; each gets the results of every epoch.
        **training_fields: any field of the recipe's training part as a keyword: `epochs`, `batch_size`,
            `learning_rate`, `weight_decay`, `ema_momentum` ...; None takes the recipe's value.

    Returns:
        Keras' History.  Its `model` is the trained net, with its preprocessing and class names, and with the
        averaged weights if the recipe averages.  It is `model` itself if that has metadata
        (`reskeras.set_metadata`); else the two share their weights.

    Raises:
        ValueError: for arguments, data and model that do not fit together.
        TypeError: for an unknown keyword or field, and if the model or the data is missing.
        FileNotFoundError, OSError, ImportError: as the sources of data and the checkpoints do.
        FloatingPointError: if the loss or the weights become NaN or infinite; the files in `output` are those
            from before.
        LostWorkerError: if another worker of the training has ended, a RuntimeError.
        SystemExit: with 0, after a SIGTERM, when the state has been saved in `output`.
        KeyboardInterrupt: after a Ctrl-C, likewise; a second Ctrl-C does not wait for the step.

    Example:
        >>> history = reskeras.fit("resnet50d", "folder:photos", validation_split=0.2, epochs=5)
        >>> history.model.save("photos.keras")
    """
    # Arguments: those of this call, or those that the run to resume was started with
    check_choice("verbose", verbose, (0, 1, 2))
    arguments = FitArguments(
        model, data, recipe, validation_data, validation_split, dtype, jit_compile, micro_batches,
        deterministic, seed, merge_overrides(overrides, training_fields, inspect.signature(fit).parameters),
        model_overrides if isinstance(model_overrides, (str, Mapping)) else list(model_overrides), classes,
        preprocessing, max_unreadable, label_offset, weights, class_weight, metrics, quantize, teacher)
    resumed = None if resume is None else ResumedRun.open(resume, output)
    if resumed:
        arguments = change_length(resumed, arguments)
        arguments = arguments.resume(resumed.info["arguments"], resumed.run.folder)
        strategy = resumed.info["strategy_argument"] or "auto" if strategy == "auto" else strategy
        data_service = data_service or resumed.info.get("data_service")
        if verbose:
            print_text(f"resuming {get_original_path(resumed.run.folder)}, which was started with "
                       f"{arguments.as_text()}")
    elif model is None or data is None:
        raise TypeError("fit() needs a model and data, or a folder to `resume`")
    arguments = dataclasses.replace(arguments, recipe=choose_recipe(
        arguments.recipe, find_quantization(arguments.model, arguments.quantize)))
    logger_names = check_loggers(loggers or (resumed.info.get("loggers", ()) if resumed else ()),
                                 output or resume)
    keras_devices.hide_gpus_from_tensorflow()
    _set_seeds(arguments)
    devices = strategies.find_strategy(arguments.model, strategy)
    worker = strategies.find_worker(devices)

    # Data
    recipe = _find_recipe(arguments, resumed)
    sources = open_training_sources(arguments, recipe)
    if not resumed:
        recipe = fit_recipe_to_task(recipe, sources.task.kind, sources.task.outputs)
    if resumed:
        resumed.check_data(sources.train, "classes", sources.class_names)
        resumed.check_data(sources.train, "label_offset", sources.train.label_offset)
    offset = {} if sources.train.label_offset is None else {"label_offset": sources.train.label_offset}
    for source in (sources.train, sources.validation):
        if verbose and source is not None and source.left_out:
            print_text(source.describe_left_out())
    if verbose and offset:
        print_text(f"the first class of {sources.train.name} has the label {sources.train.label_offset} "
                   f"(label_offset={sources.train.label_offset})")

    # Model
    with devices.scope() if devices else contextlib.nullcontext():
        net, recipe = _open_model(arguments, recipe, sources, resumed)
    training = recipe.training
    extra_metrics = list_metrics(arguments.metrics, net.output_names)
    check_metrics(sources.task, extra_metrics)
    callbacks = list(callbacks)
    check_callbacks(callbacks, training)
    if output is not None and not resumed:
        check_empty(output, is_chief=worker[0] == 0)
    state = resumed.state if resumed else TrainState()
    matched = sources.match_classes(net)
    task = matched.weigh_classes(arguments.class_weight, training)
    train, validation = make_datasets(matched, arguments, training, net, state.unreadable, worker)
    strategies.get_replica_batch_size(devices, train.batch_size)
    service = connect_data_service(data_service, (train, validation))

    with devices.scope() if devices else contextlib.nullcontext():
        teacher = None if arguments.teacher is None else make_teacher(
            arguments.teacher, net, task, to_sides(training.size))

    # Schedule
    learning_rate = scale_learning_rate(training)
    images = sum(part.images for part in sources.train.parts)
    if resumed:
        resumed.check_data(sources.train, "images", images)
        resumed.check_labels(sources.train)
    if images < train.batch_size:
        raise ArgumentError("batch_size", train.batch_size,
                            f"at most {images}, the number of images of {sources.train.name}")

    # Loop
    run, info = (resumed.run, resumed.info) if resumed else (None, {
        "arguments": arguments.as_dict(),
        "strategy_argument": strategy if isinstance(strategy, str) else None,
        "net": net.name,
        "data": {"name": sources.train.name, "images": images, "classes": sources.class_names, **offset,
                 "labels": sources.train.sum_labels()},
        "recipe": recipe.as_dict(), "seed": arguments.seed,
        "learning_rate": learning_rate.reason + describe_unreached_milestones(training)})
    if resumed:
        resumed.run.is_chief = worker[0] == 0
    elif output is not None:
        run = RunFolder.create(output, is_chief=worker[0] == 0)
    info |= {"loggers": list(logger_names), "data_service": service.address if service else None}
    callbacks += make_loggers(logger_names, run, info)
    config = TrainingConfig(
        net, training, train, validation, devices, images // train.batch_size, learning_rate.value,
        arguments.micro_batches, arguments.jit_compile, task, extra_metrics, save_every, verbose, callbacks,
        run, info, teacher, service)
    return _run_loop(config, resumed, is_own_model=isinstance(arguments.model, keras.Model))


def _set_seeds(arguments: FitArguments) -> None:
    keras.utils.set_random_seed(arguments.seed)
    if arguments.deterministic:
        tf.config.experimental.enable_op_determinism()
        keras_devices.make_deterministic()


def _find_recipe(arguments: FitArguments, resumed: ResumedRun | None) -> Recipe:
    """The recipe with the overrides; of a run that is resumed, with the training part that it has saved."""
    if resumed and not isinstance(arguments.model, keras.Model):
        return Recipe("resumed", "the recipe that the run was started with", resumed.training)
    recipe = get_recipe(arguments.recipe).override(arguments.overrides, arguments.model_overrides,
                                                   find_spec(arguments.model))
    # the recipe may have been a `Recipe`, which no file holds
    return dataclasses.replace(recipe, training=resumed.training) if resumed else recipe


def _open_model(arguments: FitArguments, recipe: Recipe, sources: TrainingSources,
                resumed: ResumedRun | None) -> tuple[keras.Model, Recipe]:
    """The model to train, and the recipe at its size."""
    if resumed and not isinstance(arguments.model, keras.Model):
        return load(resumed.run.path(LAST_MODEL)), recipe
    preprocessing = arguments.preprocessing
    if resumed:
        preprocessing = resumed.find_preprocessing(preprocessing)
    model, recipe = prepare_model(arguments.model, recipe, sources.train, sources.task, dtype=arguments.dtype,
                                  preprocessing=preprocessing, weights=arguments.weights)
    return quantize_model(model, arguments.quantize, sources.train, recipe), recipe


def _run_loop(config: TrainingConfig, resumed: ResumedRun | None,
              is_own_model: bool) -> keras.callbacks.History:
    """Trains to the end.

    Args:
        is_own_model: whether the model was given as an object; it then gets the weights of a training run
            that was already finished.
    """
    run = config.run
    with run.lock() if run else contextlib.nullcontext():
        if run and not resumed:
            check_empty(run.folder, run.is_chief)       # another process may have started there since
        if run and resumed and resumed.is_changed:
            run.write_info(config.info)
            if config.verbose:
                print_text(config.info["continued"][-1]["learning_rate"])
        loop = TrainingLoop(config, resumed.state, resumed.checkpoint) if resumed else TrainingLoop(config)
        history = loop.run()
        was_finished = loop.trainer is None
        if run and was_finished and is_own_model:
            config.model.set_weights(load(run.path(LAST_MODEL)).get_weights())
        history.validation = config.validation      # the report looks at the images that are wrong
        history.task = config.task
        return history
