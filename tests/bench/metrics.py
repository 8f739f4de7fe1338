"""Figures that several protocols share: confusion, ranking, runs of rows."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


def runs(on: ArrayLike) -> list[tuple[int, int]]:
    """Return first row and row after the last of every run of true rows."""
    edges = np.diff(np.concatenate([[0], np.asarray(on, np.int8), [0]]))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return [(int(a), int(b)) for a, b in zip(starts, ends, strict=True)]


def confusion(label: Flags, alarm: Flags) -> NDArray[np.int64]:
    """Return true positives, true negatives, false positives, false negatives."""
    pairs = ((label & alarm), (~label & ~alarm), (~label & alarm), (label & ~alarm))
    return np.array([int(p.sum()) for p in pairs])


def rates(counts: NDArray[np.int64]) -> tuple[float, float, float]:
    """Return F1, the false alarm rate and the missed alarm rate; both rates in per cent of rows."""
    tp, tn, fp, fn = (int(c) for c in counts)
    return (
        2 * tp / max(2 * tp + fp + fn, 1),
        100 * fp / max(fp + tn, 1),
        100 * fn / max(fn + tp, 1),
    )


def auc_roc(label: Flags, score: Array) -> float:
    """Return the chance that an anomalous row outranks a normal one; a tie counts half."""
    positive, negative = int(label.sum()), int((~label).sum())
    if not positive or not negative:
        return float("nan")
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    outranked = float(rank[label].sum()) - positive * (positive + 1) / 2
    return outranked / (positive * negative)


def auc_pr(label: Flags, score: Array) -> float:
    """Return the average precision; rows of equal score enter together."""
    if not label.any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    hits = np.cumsum(label[order])[last]
    recall = np.concatenate([[0.0], hits / label.sum()])
    return float(np.sum(np.diff(recall) * hits / (last + 1)))
