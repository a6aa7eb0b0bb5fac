"""The images of a training: opened, divided into training and validation, counted, and made into batches."""
from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any, Iterable

import keras
import numpy as np

from ..errors import ArgumentError, make_printable
from ..images.preprocessing import Preprocessing
from ..model_metadata import get_metadata
from .arguments import FitArguments
from .augment import Augmentation, parse_augmentation
from .image_size import describe_size, to_sides
from .class_names import describe_other_classes, find_class_order
from .data import ImageDataset
from .labels import ClassWeights, find_class_weights
from .recipe import Recipe
from .sizes import GrowingDataset
from .task import Task
from .task_rules import check_labels, convert_labels, count_labels, describe_labels, find_task
from .training import Training
from .source import DataSource
from .sources import has_records, open_source
from .table_source import is_table, use_classes

_MAX_INFERRED_CLASSES = 10_000      # that an image for each is not asked for


@dataclass(frozen=True)
class TrainingSources:
    """The images to train on, and those to validate on.

    Attributes:
        task: what is learned of them.
    """

    train: DataSource
    validation: DataSource | None
    task: Task

    @property
    def classes(self) -> int:
        """How many classes, labels or numbers there are."""
        return self.task.classes

    @property
    def class_names(self) -> Any:
        """The names of the classes as a list, or their number if the names are not known."""
        return list(self.train.classes) or self.classes

    def match_classes(self, model: keras.Model) -> TrainingSources:
        """The sources with the numbers of the model's classes as labels.

        Raises:
            ValueError: if the model has other classes.
        """
        order = find_class_order(model, self.train)
        if order is None:
            raise ValueError(describe_other_classes(model, self.train))
        validation = None if self.validation is None else self.validation.renumber_classes(order)
        return dataclasses.replace(self, train=self.train.renumber_classes(order), validation=validation)


    def weigh_classes(self, class_weight: ClassWeights, training: Training) -> Task:
        """The task with the weights of the classes.

        Args:
            class_weight: as in `FitArguments`.
            training: the recipe's training part.

        Raises:
            ArgumentError: for classes that the data do not have, and if there are no classes.
        """
        if class_weight is None:
            return self.task
        kind = self.task.kind
        if kind == "regression" or kind == "multilabel" and training.loss != "binary":
            raise ArgumentError("class_weight", class_weight, "None, because numbers have no classes"
                                if kind == "regression" else "None, or loss='binary'",
                                hint="give a weight for each image, as (images, labels, weights)")
        counts = np.ones(self.classes)
        if class_weight == "balanced":
            counts = count_labels(self.train, self.task)
        return dataclasses.replace(self.task, class_weights=find_class_weights(
            class_weight, self.train.classes, counts))


def open_training_sources(arguments: FitArguments, recipe: Recipe) -> TrainingSources:
    """Opens the data of a training run, and finds out what is learned of them.

    Args:
        arguments: those of `fit`.
        recipe: its loss and task; what the caller has given is called "given".

    Raises:
        ValueError: if the validation has other classes, a label is none of the classes, a file has no images,
            or the number of classes is not known.
        FileNotFoundError, ImportError: as `open_source`.
    """
    train = _open_training_images(arguments)
    given = {name for name, source in recipe.sources.items() if source == "given"}
    # a net's name, or a model that is refused later, has none
    outputs: list[Any] = getattr(arguments.model, "outputs", None) or []
    kind = find_task(train, recipe.training, given, outputs[0].shape[-1] if len(outputs) == 1 else None)
    train = convert_labels(train, kind)
    train, validation = _open_validation(arguments, train, kind)
    classes = _count_classes(train, arguments.classes, kind)
    train.check_labels(classes, kind=kind)
    if validation is not None:
        validation.check_labels(classes, train.name, kind)
    return TrainingSources(train, validation, Task(kind, classes))


def _open_training_images(arguments: FitArguments) -> DataSource:
    offset, has_train_records = arguments.label_offset, has_records(arguments.data)
    if not has_train_records and not has_records(arguments.validation_data) and offset is not None:
        raise ArgumentError("label_offset", offset, "None, because neither data nor validation_data are "
                            "TFRecord files")
    return open_source(arguments.data, label_offset=offset if has_train_records else None)


def _open_validation(arguments: FitArguments, train: DataSource,
                     kind: str) -> tuple[DataSource, DataSource | None]:
    """The images to train on, without those that are split off, and those to validate on."""
    if arguments.validation_split:
        return split_source(train, arguments.validation_split, arguments.seed)
    if arguments.validation_data is None:
        return train, None
    if has_records(arguments.validation_data):
        # few images may lack the class 0
        offset = train.label_offset if arguments.label_offset is None else arguments.label_offset
    else:
        offset = None
    validation = open_source(arguments.validation_data, "validation", "validation_data", offset)
    if is_table(arguments.validation_data) and train.classes:
        validation = use_classes(validation, train.classes)
    check_labels(validation, kind)
    validation = convert_labels(validation, kind)
    if (validation.label_count, validation.has_class_numbers) != (train.label_count, train.has_class_numbers):
        raise ValueError(f"the labels of {validation.name} are {describe_labels(validation)}, but those of "
                         f"{train.name} are {describe_labels(train)}")
    if train.classes and validation.classes and train.classes != validation.classes:
        different = sorted({*train.classes} ^ {*validation.classes})
        raise ValueError(f"{validation.name} has other classes than {train.name}: "
                         f"{', '.join(different[:5]) or 'they are in another order'}")
    return train, validation


def split_source(images: DataSource, fraction: float, seed: int) -> tuple[DataSource, DataSource]:
    """Splits into (the rest, a fraction of each class), at least one image of each class in both.

    Of images with several labels or with numbers, it takes a fraction of all.

    Args:
        images: files or arrays.
        fraction: in (0, 1).
        seed: the random seed of the choice.

    Raises:
        ArgumentError: for a stream, or a class of one image.
    """
    if images.stream is not None:
        raise ArgumentError("validation_split", fraction, f"0, because {images.name} is a stream",
                            hint="give validation_data")
    rng, is_chosen = np.random.default_rng(seed), np.zeros(len(images), bool)
    if not images.has_class_numbers:
        count = min(max(round(len(images) * fraction), 1), len(images) - 1)
        is_chosen[rng.permutation(len(images))[:count]] = True
        return select_images(images, ~is_chosen), select_images(images, is_chosen)
    for c in np.unique(images.labels):
        indices = rng.permutation(np.flatnonzero(images.labels == c))
        if len(indices) < 2:
            name = make_printable(repr(images.classes[c])) if images.classes else c
            raise ArgumentError("validation_split", fraction, f"0, because class {name} of {images.name} has "
                                "one image, which cannot be divided")
        is_chosen[indices[:min(max(round(len(indices) * fraction), 1), len(indices) - 1)]] = True
    return select_images(images, ~is_chosen), select_images(images, is_chosen)


def select_images(images: DataSource, mask: np.ndarray) -> DataSource:
    """The images for which the mask, (N,), is true."""
    selected = images.images[mask] if not images.has_files else [
        path for path, is_selected in zip(images.images, mask) if is_selected]
    return dataclasses.replace(images, images=selected, labels=images.labels[mask],
                               weights=None if images.weights is None else images.weights[mask])


def _count_classes(images: DataSource, classes: int | None, kind: str) -> int:
    """Raises: ArgumentError if the number is not known, below two, or does not fit to the labels."""
    if not images.has_class_numbers:
        count = 2 if kind == "binary" else images.label_count
        if classes not in (None, count):
            raise ArgumentError("classes", classes, f"{count}, as {images.name} has")
        return count
    is_stream = images.stream is not None
    count = len(images.classes) or classes or (
        0 if images.label_offset is not None else max(part.highest for part in images.parts) + 1)
    count = max(count, 2) if kind == "binary" else count
    number = sum(part.images for part in images.parts)
    if not images.classes and not classes and count > max(number, _MAX_INFERRED_CLASSES):
        raise ArgumentError("classes", classes, f"the number of classes, because {images.name} has the label "
                            f"{count - 1}, but only {number} images")
    if not number:
        raise ValueError(f"{images.name}: it has no images")
    if not count:
        raise ArgumentError("classes", classes,
                            f"the number of classes, which {images.name} does not contain")
    if classes not in (None, count):
        raise ArgumentError("classes", classes, f"{count}, the number of classes of {images.name}")
    if kind == "binary" and count != 2:
        raise ArgumentError("task", kind, f"'multiclass', because {images.name} has {count} classes")
    if count < 2:
        name = f", {make_printable(images.classes[0])}" if images.classes else ""
        raise ValueError(f"{images.name} has one class{name}: expected two or more to distinguish")
    if not is_stream and not images.classes and images.labels.max() >= count:
        raise ArgumentError("classes", classes, f"at least {images.labels.max() + 1}, because {images.name} "
                            f"has the label {images.labels.max()}; the first class is 0")
    return count


def make_datasets(sources: TrainingSources, arguments: FitArguments, training: Training, model: keras.Model,
                  excluded: Iterable[int], worker: tuple[int, int]) -> tuple[ImageDataset,
                                                                             ImageDataset | None]:
    """The batches to train on, and those to validate on.

    Args:
        sources: the images.
        arguments: those of `fit`.
        training: the recipe's training part.
        model: its metadata say how images are prepared.
        excluded: indices of training images to leave out.
        worker: (the number of this worker, how many there are).

    Raises:
        ArgumentError: for a batch that cannot be divided.
    """
    micro_batches = arguments.micro_batches
    if training.batch_size % micro_batches:
        raise ArgumentError("micro_batches", micro_batches, "a divisor of the batch size, "
                            f"{training.batch_size}")
    batch_size = training.batch_size // micro_batches
    preprocessing = get_metadata(model).get_preprocessing(tuple(model.input_shape[1:]), model.name)
    number, workers = worker
    make: Any = ImageDataset
    if training.first_size:
        make = functools.partial(GrowingDataset, training=training)
    train: ImageDataset = make(
        sources.train, batch_size,
        dataclasses.replace(_make_augmentation(training, sources.train), bits=preprocessing.bits,
                            mean=_find_mean(preprocessing), has_values=preprocessing.has_values),
        normalize=preprocessing.normalize,
        classes=sources.classes, seed=arguments.seed, worker=number, workers=workers,
        deterministic=arguments.deterministic, augmentation_repeats=training.augmentation_repeats,
        max_unreadable=arguments.max_unreadable, excluded=excluded)
    if sources.validation is None:
        return train, None
    return train, ImageDataset(sources.validation, batch_size, prepare=preprocessing, worker=number,
                               workers=workers,
                               max_unreadable=arguments.max_unreadable)


def _find_mean(preprocessing: Preprocessing) -> tuple[float, ...]:
    """The color in 0..255, or by value, that becomes 0 when pixels are normalized."""
    scale, offset = preprocessing.scale_and_offset
    mean = tuple(-o / s for s, o in zip(scale, offset))
    return mean[::-1] if preprocessing.is_bgr else mean


def _make_augmentation(training: Training, images: DataSource) -> Augmentation:
    """The recipe's augmentation.

    Images in memory that have another size are resized first, if the augmentation does not do so itself.
    """
    augmentation, size = parse_augmentation(training.augmentation), training.size
    spec = images.pixel_spec
    if augmentation.size is None and spec is not None and spec[0][:2] != to_sides(size):
        return parse_augmentation(f"resize({size})|{training.augmentation}".rstrip("|"))
    if augmentation.size not in (None, size):
        raise ArgumentError("augmentation", training.augmentation, "images of `size` pixels, "
                            f"{describe_size(size)}, not of {describe_size(augmentation.size)}",
                            hint="set both")
    return augmentation
