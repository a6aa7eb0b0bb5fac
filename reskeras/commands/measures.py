"""What is measured on labelled images: by class, how well scores are calibrated, and the worst images."""
from __future__ import annotations

from typing import Any, Sequence

import numpy as np

BINS = 15               # of a calibration (Guo et al. 2017, arXiv:1706.04599)
EPSILON = 1e-7          # Keras' own, from which probabilities are away from 0 and 1 in a loss
MAX_CONFUSION = 200     # classes of a confusion matrix


def score_classes(names: Sequence[str], hits: np.ndarray, predicted: np.ndarray,
                  support: np.ndarray) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each class, as scikit-learn's `precision_recall_fscore_support`.

    Args:
        names: of the classes.
        hits: how many images of each class get it.
        predicted: how many images get each class.
        support: how many images each class has.

    Returns:
        For each class its "label", "precision", "recall", "f1" and "support"; 0 where there is nothing to
        divide by.
    """
    precision, recall = _divide(hits, predicted), _divide(hits, support)
    f1 = _divide(2 * hits, predicted + support)
    return [{"label": name, "precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
            for name, p, r, f, n in zip(names, precision, recall, f1, support)]


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    quotient: np.ndarray = np.divide(a, b, out=np.zeros(len(a)), where=b > 0)
    return quotient


def average_precision(flags: np.ndarray, scores: np.ndarray) -> float | None:
    """The area below precision over recall, as scikit-learn's `average_precision_score`.

    Args:
        flags: (N,), which images have the label.
        scores: (N,), how sure the net is of it.

    Returns:
        The sum over the thresholds of the precision times what the recall gains; None if no image has the
        label.
    """
    if not flags.any():
        return None
    order = np.argsort(-scores, kind="stable")
    sorted_scores, hits = scores[order], np.cumsum(flags[order].astype(bool))
    # images with equal scores come in together
    ends = np.flatnonzero(np.append(np.diff(sorted_scores) != 0, True))
    recall = hits[ends] / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0) * hits[ends] / (ends + 1)))


def measure_calibration(confidences: np.ndarray, is_right: np.ndarray) -> dict[str, Any]:
    """How far confidences are from the fraction that is right.

    Args:
        confidences: (N,), from 0 to 1.
        is_right: (N,), whether the class with that confidence is the right one.

    Returns:
        "ece", the expected calibration error: the mean distance, weighted by images; and "bins", of equal
        width, (from, to], each with its "images", mean "confidence" and "accuracy" (None if it is empty).
    """
    edges = np.linspace(0, 1, BINS + 1)
    index = np.searchsorted(edges[1:-1], confidences)
    counts = np.bincount(index, minlength=BINS)
    confidence = np.bincount(index, confidences, BINS)
    right = np.bincount(index, is_right, BINS)
    bins = [{"from": float(edges[i]), "to": float(edges[i + 1]), "images": int(counts[i]),
             "confidence": float(confidence[i] / counts[i]) if counts[i] else None,
             "accuracy": float(right[i] / counts[i]) if counts[i] else None} for i in range(BINS)]
    return {"ece": float(np.abs(confidence - right).sum() / max(len(confidences), 1)), "bins": bins}


def cross_entropy(probabilities: np.ndarray) -> np.ndarray:
    """The loss of each probability of what is true, away from infinity as in Keras."""
    loss: np.ndarray = -np.log(np.clip(np.asarray(probabilities, "float64"), EPSILON, 1 - EPSILON))
    return loss


def measure_numbers(names: Sequence[str], true: np.ndarray, predicted: np.ndarray) -> list[dict[str, Any]]:
    """The errors of each number.

    Args:
        names: of the numbers.
        true: (N, numbers).
        predicted: likewise.

    Returns:
        For each number its "label", "mae" (mean absolute error), "rmse" (root of the mean squared error),
        "r2" (coefficient of determination, as scikit-learn's `r2_score`; None if all true ones are the same)
        and "support".
    """
    errors = np.asarray(predicted, "float64") - true
    squared = (errors ** 2).mean(0)
    variance = np.asarray(true, "float64").var(0)
    return [{"label": name, "mae": float(np.abs(errors[:, i]).mean()), "rmse": float(np.sqrt(squared[i])),
             "r2": float(1 - squared[i] / variance[i]) if variance[i] > 0 else None, "support": len(errors)}
            for i, name in enumerate(names)]


def mean_of(rows: Sequence[dict[str, Any]], key: str) -> float | None:
    """The mean of a value over the rows that have it; None if none has it."""
    values = [row[key] for row in rows if row.get(key) is not None]
    return float(np.mean(values)) if values else None
