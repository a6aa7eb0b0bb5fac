"""All that is known before a file is written: the model, its images, and what they are compared with."""
from __future__ import annotations

import pathlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..images.preprocessing import Preprocessing
from ..model_metadata import get_metadata
from .byte_input import find_normalization, prepare_reference, restore_pixels, to_byte_options
from ..quantization.calibration import ImageSet, check_image_count, load_images
from .formats import Format
from .keras_reference import KerasReference, make_reference
from .options import GPU, INTEGERS, ExportOptions
from .prepare import PreparedModel, get_compared_shape
from .random_images import make_random_images, reduce_contrast


@dataclass(frozen=True)
class ExportPlan:
    """What a file is made of and compared with."""

    path: pathlib.Path
    file_format: Format
    prepared: PreparedModel
    options: ExportOptions
    reference: KerasReference       # takes what the file takes
    images: ImageSet                # to compare on, as the file takes them
    normalization: Preprocessing | None     # whose scaling goes into the file, if it takes bytes


def make_plan(path: pathlib.Path, file_format: Format, prepared: PreparedModel, options: ExportOptions,
              calibration_data: Any, validation_data: Any) -> ExportPlan:
    """Loads the images, and chooses which outputs are compared and on which images.

    Args:
        path: of the file.
        file_format: format of the export.
        prepared: the model.
        options: options of the file, but for the images.
        calibration_data: as `export` takes it.
        validation_data: as `export` takes it.

    Raises:
        ArgumentError: a file that takes bytes is asked for, and the preprocessing is not known.
        ValueError: images cannot be used.
    """
    shape, normalization = get_compared_shape(options), find_normalization(options)
    preprocessing = options.preprocessing and options.preprocessing.for_input_shape(shape)

    def load(source: Any) -> ImageSet | None:
        if source is None:
            return None
        images = load_images(source, preprocessing, shape, verbose=options.verbose)
        if normalization is None:
            return images
        return ImageSet(restore_pixels(images.images, normalization), images.classes)

    calibration, validation = load(calibration_data), load(validation_data)
    reference = make_reference(prepared, file_format.name == "TFLite" and options.quantize in INTEGERS)
    if normalization is not None:
        options, reference = to_byte_options(options), prepare_reference(reference, normalization)
    if calibration is not None:
        check_image_count(calibration.images, options.shape[0])
        options = replace(options, calibration_images=calibration.images)

    images = validation or calibration
    if images is None:
        images = make_random_images(shape, preprocessing, get_metadata(prepared.model).includes_preprocessing)
        if normalization is not None:
            images = ImageSet(restore_pixels(images.images, normalization))
        images = reduce_contrast(images, reference.logits) if reference.logits else images
        if options.target == GPU:       # what it takes are whole numbers
            images = ImageSet(np.round(images.images))
    _check_classes(images.classes, tuple(prepared.model.output_shape))
    options = replace(options, validation_images=images.images)
    return ExportPlan(path, file_format, prepared, options, reference, images, normalization)


def _check_classes(classes: np.ndarray | None, output_shape: tuple[int | None, ...]) -> None:
    """Raises: ValueError for labels of the images that are not classes of the model."""
    if classes is None:
        return
    if len(output_shape) != 2 or not 0 <= classes.min() <= classes.max() < (output_shape[1] or np.inf):
        raise ValueError(f"the classes of the images are {classes.min()} to {classes.max()}; the net's "
                         f"output has the shape {output_shape[1:]}")
