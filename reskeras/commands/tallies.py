"""The scores of all images of an evaluation, and what is measured on them: of classes, labels and numbers.
"""
from __future__ import annotations

from typing import Any, Callable, Sequence

import numpy as np

from . import measures

ImageName = Callable[[int], str]        # number of an image among those that were read -> its name


class ClassTally:
    """Images of one class each.

    Args:
        names: of the net's classes.
        threshold: of two classes with one output, the score above which an image has the second one.
    """

    def __init__(self, names: Sequence[str], threshold: float | None = None):
        self._names, self._threshold = names, threshold
        self._parts: list[tuple[np.ndarray, ...]] = []

    def add(self, truth: np.ndarray, scores: np.ndarray) -> None:
        """Counts a batch.

        Args:
            truth: the classes, (N,), or their probabilities, of which the largest counts.
            scores: (N, classes), or (N, 1) of the second of two classes.
        """
        scores = np.asarray(scores, "float64")
        if scores.shape[1] == 1:
            scores = np.concatenate([1 - scores, scores], 1)
        if truth.ndim == 2:
            truth = truth.argmax(1) if truth.shape[1] > 1 else (truth[:, 0] > 0.5).astype(int)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :5]
        best = order[:, 0] if self._threshold is None else (scores[:, 1] > self._threshold).astype(int)
        each = np.arange(len(truth))
        shares = scores[each, truth] / np.maximum(scores.sum(1), measures.EPSILON)
        self._parts.append((truth, best, scores[each, best], measures.cross_entropy(shares),
                            (order == truth[:, None]).any(1)))

    def measure(self, name_image: ImageName) -> dict[str, Any]:
        """The fields of an `Evaluation`, and "rows", a line about each image."""
        truth, best, score, loss, is_among_five = map(np.concatenate, zip(*self._parts))
        number, is_right = len(self._names), best == truth
        support, predicted = np.bincount(truth, minlength=number), np.bincount(best, minlength=number)
        present = np.flatnonzero(support + predicted)
        per_class = measures.score_classes(
            [self._names[int(i)] for i in present], np.bincount(truth[is_right], minlength=number)[present],
            predicted[present], support[present])
        confusion = None
        if len(present) <= measures.MAX_CONFUSION:
            counts = np.zeros((len(present),) * 2, int)
            np.add.at(counts, (np.searchsorted(present, truth), np.searchsorted(present, best)), 1)
            confusion = counts.tolist()
        rows = [{"image": name_image(i), "label": self._names[truth[i]], "predicted": self._names[best[i]],
                 "score": float(score[i]), "loss": float(loss[i])} for i in range(len(truth))]
        return {"top1": 100 * float(is_right.sum()) / len(truth),
                "top5": 100 * float(is_among_five.sum()) / len(truth) if number > 5 else None,
                "per_class": per_class, "confusion": confusion,
                "calibration": measures.measure_calibration(score, is_right),
                "means": {key: measures.mean_of(per_class, key) for key in ("precision", "recall", "f1")},
                "rows": rows}


class LabelTally:
    """Images of any number of labels.

    Args:
        names: of the net's labels.
        threshold: the score above which an image has a label.
    """

    def __init__(self, names: Sequence[str], threshold: float):
        self._names, self._threshold = names, threshold
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, truth: np.ndarray, scores: np.ndarray) -> None:
        """Counts a batch.

        Args:
            truth: (N, labels), 0 or 1.
            scores: (N, labels).
        """
        self._parts.append((truth > 0.5, np.asarray(scores, "float64")))

    def measure(self, name_image: ImageName) -> dict[str, Any]:
        """The fields of an `Evaluation`, and "rows", a line about each image."""
        truth, scores = map(np.concatenate, zip(*self._parts))
        said = scores > self._threshold
        hits, predicted, support = (truth & said).sum(0), said.sum(0), truth.sum(0)
        per_class = measures.score_classes(self._names, hits, predicted, support)
        for i, row in enumerate(per_class):
            row["average_precision"] = measures.average_precision(truth[:, i], scores[:, i])
        loss = measures.cross_entropy(np.where(truth, scores, 1 - scores)).mean(1)
        rows = [{"image": name_image(i), "label": self._join(truth[i]), "predicted": self._join(said[i]),
                 "loss": float(loss[i]), **{f"score {name}": float(score)
                                            for name, score in zip(self._names, scores[i])}}
                for i in range(len(truth))]
        micro = 2 * hits.sum() / max(predicted.sum() + support.sum(), 1)
        return {"top1": None, "top5": None, "per_class": per_class,
                "calibration": measures.measure_calibration(
                    np.where(said, scores, 1 - scores).ravel(), (said == truth).ravel()),
                "means": {"map": measures.mean_of(per_class, "average_precision"),
                          "f1": measures.mean_of(per_class, "f1"), "f1_micro": float(micro),
                          "accuracy": float((said == truth).mean())},
                "rows": rows}

    def _join(self, flags: np.ndarray) -> str:
        return ";".join(self._names[int(i)] for i in np.flatnonzero(flags))


class NumberTally:
    """Images of which numbers are predicted.

    Args:
        names: of the numbers.
    """

    def __init__(self, names: Sequence[str]):
        self._names = names
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, truth: np.ndarray, scores: np.ndarray) -> None:
        """Counts a batch.

        Args:
            truth: (N, numbers).
            scores: likewise, as predicted.
        """
        self._parts.append((truth, np.asarray(scores, "float64")))

    def measure(self, name_image: ImageName) -> dict[str, Any]:
        """The fields of an `Evaluation`, and "rows", a line about each image."""
        truth, said = map(np.concatenate, zip(*self._parts))
        per_class = measures.measure_numbers(self._names, truth, said)
        loss = ((said - truth) ** 2).mean(1)
        rows = [{"image": name_image(i), "label": self._join(truth[i]), "predicted": self._join(said[i]),
                 "loss": float(loss[i])} for i in range(len(truth))]
        return {"top1": None, "top5": None, "per_class": per_class,
                "means": {key: measures.mean_of(per_class, key) for key in ("mae", "rmse", "r2")},
                "rows": rows}

    def _join(self, numbers: np.ndarray) -> str:
        return ";".join(f"{number:.6g}" for number in numbers)


def make_tally(task: str, names: Sequence[str], threshold: float) -> ClassTally | LabelTally | NumberTally:
    """A tally for a task.

    Args:
        task: "multiclass", "binary", "multilabel" or "regression".
        names: of the classes, labels or numbers.
        threshold: the score above which a label, or the second of two classes, counts.
    """
    if task == "regression":
        return NumberTally(names)
    if task == "multilabel":
        return LabelTally(names, threshold)
    return ClassTally(names, threshold if task == "binary" else None)
