"""`fit`: a net, data and a recipe."""
from __future__ import annotations

import contextlib
import dataclasses
import os
from typing import Any, Iterable, Mapping

import keras
import numpy as np
import tensorflow as tf

from ..build import load
from ..model_metadata import recalled
from . import checkpoint
from . import strategy as strategies
from .arguments import Asked
from .augment import Pipeline, parse
from .data import Data
from .recipe import Fields, Recipe, Training, learning_rate
from .recipes import find
from .run_folder import CHECKPOINT, LAST, Run
from .loop import Job, Session, State, restored
from .sources import Source, source
from .model import spec_of, trainee


def fit(model: str | os.PathLike[str] | keras.Model | None = None, data: Any = None, recipe: str | Recipe = "finetune", *,
        validation: Any = None, validation_split: float = 0.0, output: str | os.PathLike[str] | None = None,
        resume: str | os.PathLike[str] | None = None, strategy: Any = "auto", policy: str | None = None, jit: bool = False,
        accumulate: int = 1, deterministic: bool = False, seed: int = 0, set: Fields | Iterable[str] = (),
        model_set: Fields | Iterable[str] = (), classes: int | None = None, preprocess: Any = None, limit: int = 100,
        save_every: int = 1000, callbacks: Iterable[keras.callbacks.Callback] = (),
        quiet: bool = False) -> keras.callbacks.History:
    """Trains a net by a recipe.

    Arguments:
        model: a net's name, built with the recipe's model part; with a checkpoint ("resnet50v1_5.a1_in1k") it begins there, and
            for recipe="finetune" it begins with its default one.  Or a `.keras` file, or a functional model, which must be as
            the recipe's model part says.
        data: "folder:PATH", "tfrecord:GLOB", "tfds:NAME", "npz:FILE", "cifar10", "digits" ... or arrays (images, labels), see
            `reskeras.train.sources.source`.
        recipe: a name (`reskeras recipes list`) or a `Recipe`.
        validation: images to validate on after each epoch, in the same ways; where they have both, their test images.
        validation_split: or a share of each class of `data`.
        output: a new folder: run.json, log.csv, TensorBoard events, last.keras, best.keras (by validation accuracy), and a
            checkpoint, at the end of every epoch and each `save_every` batches.  None writes nothing.
        resume: such a folder, to go on with; everything else is then as it was, and need not be given.
        strategy: "auto", "none", "mirrored", "multi_worker", "tpu" or a `tf.distribute.Strategy`.
        policy: of a name, such as "mixed_bfloat16".
        jit: whether to compile with XLA.
        accumulate: batches whose gradients make one update; the recipe's batch is divided into so many.
        deterministic: whether the same run gives the same weights to the bit, on the same machine; slower.  It also holds for
            the rest of the process.
        seed: of weights, order and augmentation; also of Keras' and NumPy's global generators.
        set, model_set: values of the recipe's training and model parts, as {"epochs": 10} or ["epochs=10"].
        classes: how many, where the data do not say it.
        preprocess: of a model that does not say it, as `reskeras.remember` takes it.
        limit: unreadable images that may be left out.
        callbacks: of Keras.
        quiet: a line for each epoch instead of a progress bar.
    Returns: Keras' History, whose `model` is the net: with its preprocessing and class names, and the averaged weights where
        the recipe averages.  It is `model` itself, where that was a net that remembers (`reskeras.remember`); else the two
        share their weights.
    Raises: ValueError, TypeError for what does not fit together; FileNotFoundError, OSError, ImportError as sources and
        checkpoints do.  After a SIGTERM with an `output`: SystemExit(0), when the state is saved.
    """
    asked = Asked(model, data, recipe, validation, validation_split, policy, jit, accumulate, deterministic, seed,
                  set if isinstance(set, str) else dict(set) if isinstance(set, Mapping) else list(set),
                  model_set if isinstance(model_set, (str, Mapping)) else list(model_set), classes, preprocess, limit)
    run: Run | None = None
    about: dict[str, Any] | None = None
    saved = None
    if resume is not None:
        if output is not None and os.fspath(output) != os.fspath(resume):
            raise ValueError(f"output={os.fspath(output)!r}, resume={os.fspath(resume)!r}: a training goes on in its own folder")
        run, about = Run.open(resume)
        asked, saved = asked.resumed(about["arguments"], run.folder), checkpoint.load(run[CHECKPOINT])
        print(f"going on with {run.folder}, as it was begun: {asked.said}", flush=True)
    elif model is None or data is None:
        raise TypeError("fit() needs a model and data, or resume=")
    keras.utils.set_random_seed(asked.seed)
    if asked.deterministic:
        tf.config.experimental.enable_op_determinism()
    if about and strategy == "auto":
        strategy = about["asked_strategy"] or "auto"
    over = _strategy_of(asked.model, strategy)
    place = strategies.place(over)
    images, held = divided(asked)
    number = _count_classes(images, asked.classes)
    if held is not None and held.stream is None and held.labels.max() >= number:
        raise ValueError(f"{held.name} has a class {held.labels.max()}; {images.name} has {number}, from 0 on")
    names = list(images.classes) or number
    check_same(about, images, "classes", names)
    with over.scope() if over else contextlib.nullcontext():
        if run and about and not isinstance(asked.model, keras.Model):
            net, training = load(run[LAST]), _trained_by(about)
        else:
            chosen = find(asked.recipe).override(asked.set, asked.model_set, spec_of(asked.model))
            if about:       # a Recipe that was an object is in no argument
                chosen = dataclasses.replace(chosen, training=_trained_by(about))
            net, chosen = trainee(asked.model, chosen, images, number, policy=asked.policy, preprocess=asked.preprocess)
            training = chosen.training
    if output is not None and run is None:
        Run.vacant(output, chief=place[0] == 0)
    state = restored(saved[1]) if saved else State()
    train, validation = batches(asked, training, net, images, held, number, state.unreadable, place)
    strategies.per_replica(over, train.batch)
    rate, total = learning_rate(training), count(images, number)
    check_same(about, images, "images", total)
    if total < train.batch:
        raise ValueError(f"batch={train.batch}: {images.name} has {total} images, less than one batch")
    if output is not None and run is None:
        run = Run.create(output, chief=place[0] == 0)
    if run:
        run.chief = place[0] == 0
    about = about or {
        "arguments": asked.as_dict(), "asked_strategy": strategy if isinstance(strategy, str) else None, "net": net.name,
        "data": {"name": images.name, "images": total, "classes": names},
        "recipe": chosen.as_dict(), "learning_rate": rate.reason, "seed": asked.seed}
    job = Job(net, training, train, validation, over, total // train.batch, rate.value, asked.accumulate, asked.jit, number,
              save_every, quiet, list(callbacks), run, about)
    with run.alone() if run else contextlib.nullcontext():
        if run and resume is None:
            Run.vacant(run.folder, run.chief)       # another process may have begun there since
        session = Session(job, state, saved)
        history = session.go()
        if run and session.trainer is None and isinstance(asked.model, keras.Model):      # over before, and the model is new
            net.set_weights(load(run[LAST]).get_weights())
        return history


def _strategy_of(model: Any, strategy: Any) -> tf.distribute.Strategy | None:
    """What is asked for; a model has its own.  Raises: ValueError where that is another one, as `choose`."""
    if not isinstance(model, keras.Model):
        return strategies.choose(strategy)
    own = model.distribute_strategy
    own = None if own is tf.distribute.get_strategy() and not tf.distribute.has_strategy() else own
    if strategy != "auto" and strategies.choose(strategy) is not own:
        said = strategy if isinstance(strategy, str) else type(strategy).__name__
        raise ValueError(f"strategy={said!r}: {model.name} was built outside of its scope; build it inside and give the strategy "
                         "as an object, or give the net's name")
    return own


def check_same(about: Mapping[str, Any] | None, images: Source, what: str, now: Any) -> None:
    """Raises: ValueError where a training that goes on would do so with other data than it began with."""
    if about and about["data"][what] != now:
        raise ValueError(f"{images.name}: {what} are {now}, and the training was begun with {about['data'][what]}; begin anew in "
                         "another folder")


def _trained_by(about: Mapping[str, Any]) -> Training:
    """The recipe's training part, from run.json."""
    own: dict[str, Any] = about["recipe"]["training"]
    return Training(**{**own, "milestones": tuple(own["milestones"])})


def batches(asked: Asked, training: Training, net: keras.Model, images: Source, held: Source | None, classes: int,
            without: Iterable[int], place: tuple[int, int]) -> tuple[Data, Data | None]:
    """What the net is trained on, and validated on.  Raises: ValueError for a batch that cannot be divided."""
    if training.batch % asked.accumulate:
        raise ValueError(f"accumulate={asked.accumulate}: expected a divisor of the batch, {training.batch}")
    prepare = recalled(net).prepare(tuple(net.input_shape[1:]), net.name)
    batch = training.batch // asked.accumulate
    train = Data(images, batch, pipeline(training, images), normalize=prepare.normalize, classes=classes, seed=asked.seed,
                 worker=place[0], workers=place[1], deterministic=asked.deterministic, repeats=training.repeats,
                 limit=asked.limit, without=without)
    if held is None:
        return train, None
    return train, Data(held, batch, prepare=prepare, worker=place[0], workers=place[1], limit=asked.limit)


def pipeline(training: Training, images: Source) -> Pipeline:
    """The recipe's augmentation; images in memory of another size are resized before it where it does not do so itself."""
    found = parse(training.augment)
    size = training.size
    if found.size is None and not images.files and images.images is not None and images.images.shape[1:3] != (size, size):
        return parse(f"resize({size})|{training.augment}".rstrip("|"))
    if found.size not in (None, size):
        raise ValueError(f"augment={training.augment!r} makes images of {found.size} pixels, and size={size}; set both")
    return found


def divided(asked: Asked) -> tuple[Source, Source | None]:
    """The images to train on, and those to validate on.  Raises: ValueError where their classes differ."""
    images = source(asked.data)
    if asked.validation_split:
        return split(images, asked.validation_split, asked.seed)
    if asked.validation is None:
        return images, None
    held = source(asked.validation, "test")
    if images.classes and held.classes and images.classes != held.classes:
        odd = sorted({*images.classes} ^ {*held.classes})
        raise ValueError(f"{held.name} has other classes than {images.name}: {', '.join(odd[:5]) or 'in another order'}")
    return images, held


def split(images: Source, share: float, seed: int) -> tuple[Source, Source]:
    """A share of each class apart, at least one image.  Raises: ValueError for a stream, or a class of one image."""
    if images.stream is not None:
        raise ValueError(f"validation_split={share}: {images.name} is a stream; give validation=")
    rng, held = np.random.default_rng(seed), np.zeros(len(images), bool)
    for c in np.unique(images.labels):
        own = rng.permutation(np.flatnonzero(images.labels == c))
        if len(own) < 2:
            raise ValueError(f"validation_split={share}: class {c} of {images.name} has one image, which cannot be divided")
        held[own[:min(max(round(len(own) * share), 1), len(own) - 1)]] = True
    return part(images, ~held), part(images, held)


def part(images: Source, chosen: np.ndarray) -> Source:
    own = [path for path, wanted in zip(images.images, chosen) if wanted] if images.files else images.images[chosen]
    return dataclasses.replace(images, images=own, labels=images.labels[chosen])


def count(images: Source, classes: int) -> int:
    """How many; of a stream by reading through it once.  Raises: ValueError where it has a label beyond the classes."""
    if images.stream is None:
        return len(images)
    total, highest = images.stream().reduce((np.int64(0), np.int64(0)), lambda found, example: (
        found[0] + 1, tf.maximum(found[1], tf.cast(example[1], tf.int64))))
    if highest >= classes:
        raise ValueError(f"{images.name} has a class {int(highest)}; expected {classes}, from 0 on")
    return int(total)


def _count_classes(images: Source, given: int | None) -> int:
    """Raises: ValueError where nobody says it, or the labels are more."""
    known = len(images.classes) or given or (int(images.labels.max()) + 1 if images.stream is None else 0)
    if not known:
        raise ValueError(f"{images.name} does not say how many classes it has; give classes=")
    if given not in (None, known):
        raise ValueError(f"classes={given}: {images.name} has {known}")
    if known < 2:
        raise ValueError(f"{images.name} has one class: expected two or more to tell apart")
    if images.stream is None and images.labels.max() >= known:
        raise ValueError(f"classes={given}: {images.name} has a class {images.labels.max()}, from 0 on")
    return known
