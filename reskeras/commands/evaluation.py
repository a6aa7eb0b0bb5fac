"""The result of `evaluate`, and the files that it is written to."""
from __future__ import annotations

import csv
import io
import os
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import ArgumentError, list_names, make_printable
from ..files import write_text
from ..json_writer import to_json

_SHOWN_CLASSES, _SHOWN_IMAGES = 30, 5


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`; accuracies in percent."""

    model: str
    data: str
    images: int
    top1: float | None          # None for labels and numbers
    top5: float | None          # for nets with more than five classes
    images_per_s: float         # reading and preparing them included
    size: tuple[int, int]       # (height, width) of the images, in pixels
    crops: int
    scales: tuple[int, ...]     # shorter sides in pixels, () if there is only one scale
    skipped: list[str]          # files that could not be read
    # of the checkpoint that the net began with: name, top1, top5, size, labels
    published: dict[str, Any] | None
    label_offset: int | None = None     # the label of the first class in TFRecord files, as it was found
    # classes of the data, if their order stands for that of the net's scores: the net has no names
    assumed_classes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()      # files that are not images by their names, or in no class's folder
    task: str = "multiclass"            # what the net has learned
    loss: float = 0.0                   # the mean over the images: cross-entropy, or squared error
    # means over the classes, the labels or the numbers, such as "f1", "map" and "mae"
    means: dict[str, float | None] = field(default_factory=dict)
    # for each class or label its label, precision, recall, f1, support; for each number mae, rmse, r2
    per_class: list[dict[str, Any]] = field(default_factory=list)
    confusion: list[list[int]] | None = None    # [true][said], of at most 200 classes
    calibration: dict[str, Any] | None = None   # "ece" and "bins"
    # the images with the largest loss: image, loss, label, predicted
    worst: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The fields, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        size = ", ".join(map(str, self.scales)) if self.scales else f"{self.size[0]} x {self.size[1]}"
        crops = f", {self.crops} crops of each" if self.crops > 1 else ""
        lines = [f"{self.model} on {self.data}: {self.images:,} images of {size} pixels{crops}",
                 f"{self._describe_accuracy()}, {self.images_per_s:.1f} images/s"]
        lines += self._describe_details()
        if self.label_offset is not None:
            lines.append(f"the first class has the label {self.label_offset} (label_offset="
                         f"{self.label_offset})")
        if self.assumed_classes:
            names = ", ".join(map(make_printable, self.assumed_classes[:12]))
            lines.append("the net does not say what its classes are called; they were taken to be, in order: "
                         f"{names}{', ...' if len(self.assumed_classes) > 12 else ''}")
        if self.published:
            p = self.published
            top5 = f", top-5 {p['top5']:.2f} %" if p["top5"] else ""
            lines.append(f"published: top-1 {p['top1']:.2f} %{top5} on {p['labels']} at {p['size']} pixels "
                         f"({p['name']})")
        if self.left_out:
            lines.append(f"{len(self.left_out)} are not images by their names, or lie beside the folders of "
                         f"the classes, and were left out: {list_names(self.left_out)}")
        if self.skipped:
            names = ", ".join(map(make_printable, self.skipped))
            lines.append(f"{len(self.skipped)} could not be read and were left out: {names}")
        return "\n".join(lines)

    def _describe_accuracy(self) -> str:
        if self.top1 is not None:
            top5 = f", top-5 {self.top5:.2f} %" if self.top5 is not None else ""
            return f"top-1 {self.top1:.2f} %{top5}"
        words = {"map": "mean average precision", "f1": "F1", "mae": "mean absolute error",
                 "rmse": "root of the mean squared error", "r2": "R2"}
        return ", ".join(f"{words.get(name, name)} {'-' if value is None else f'{value:.4g}'}"
                         for name, value in self.means.items())

    def _describe_details(self) -> list[str]:
        """Each class, the calibration, and the worst images."""
        lines = []
        if 1 < len(self.per_class) <= _SHOWN_CLASSES:
            keys = [key for key in self.per_class[0] if key not in ("label", "support")]
            for row in self.per_class:
                values = ", ".join(f"{key.replace('_', ' ')} {_format(row[key])}" for key in keys)
                lines.append(f"  {make_printable(row['label'])}: {values}, {row['support']} images")
        if self.calibration:
            lines.append(f"expected calibration error {self.calibration['ece']:.4f}")
        said = "predicted" if self.task == "regression" else "taken for"
        for row in self.worst[:_SHOWN_IMAGES]:
            lines.append(f"  loss {row['loss']:.3g}: {make_printable(row['image'])}, "
                         f"{make_printable(row['label'])}, {said} {make_printable(row['predicted'])}")
        return lines


def _format(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def check_files(**files: str | os.PathLike[str] | None) -> None:
    """Checks files before they are written to, after what may be hours.

    Raises:
        ArgumentError: for a folder; it names the argument.
    """
    for name, file in files.items():
        if file is not None and os.path.isdir(file):
            raise ArgumentError(name, os.fspath(file), "a file; this is a folder")


def write_evaluation(evaluation: Evaluation, path: str | os.PathLike[str]) -> None:
    """Writes all fields as JSON.  Raises: OSError."""
    write_text(path, to_json(evaluation.as_dict()) + "\n")


def write_images(rows: list[dict[str, Any]], path: str | os.PathLike[str]) -> None:
    """Writes a line of CSV for each image.

    Args:
        rows: the values of each image by the names of their columns.
        path: the file.

    Raises:
        OSError: if it cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
