"""What a training loop is given: the model, the data, and how to train."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from .data import ImageDataset
from .data_service import DataService
from .distillation import TeacherScores
from .task import Task
from .training import Training
from .run_folder import RunFolder


@dataclass(frozen=True)
class TrainingConfig:
    """What is trained on what, and how.

    Attributes:
        steps_per_epoch: batches in an epoch.
        extra_metrics: the caller's metrics, as `list_metrics` returns them.
        learning_rate: after the warm-up.
        save_every: batches between checkpoints; 0 saves at the end of each epoch only.
        run: where to write; None writes nothing.
        info: what is written to run.json.
        teacher: whose scores are learned, if any.
        data_service: what makes the batches, if not this process.
    """

    model: keras.Model
    training: Training
    data: ImageDataset
    validation: ImageDataset | None
    strategy: tf.distribute.Strategy | None
    steps_per_epoch: int
    learning_rate: float
    micro_batches: int
    jit_compile: bool
    task: Task
    extra_metrics: list[dict[str, Any]]
    save_every: int
    verbose: int
    callbacks: list[Any]
    run: RunFolder | None
    info: dict[str, Any]
    teacher: TeacherScores | None = None
    data_service: DataService | None = None

    def make_epoch(self, images: ImageDataset, epoch: int = 0, first_step: int = 0) -> tf.data.Dataset:
        """The batches of `ImageDataset.make_epoch`, which the data service makes if there is one."""
        if self.data_service is None:
            return images.make_epoch(epoch, first_step)
        return self.data_service.make_epoch(images, epoch, first_step)
