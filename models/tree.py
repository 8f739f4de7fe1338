"""Growing one classification tree on weighted examples, by the Gini impurity.

Rows stay sorted by every input while nodes divide (Mehta, Agrawal and Rissanen, "SLIQ", 1996), so
a cut is found in one pass. Only values where the class changes are looked at: no other cut can be
the purest (Fayyad and Irani, 1992).
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Drawn(NamedTuple):
    """What a tree is grown on: m of the n kept examples."""

    values: Floats
    labels: Ints
    weights: Floats
    rows: NDArray[np.int32]
    """(d, m): the drawn examples in ascending order of each input, within each node."""
    first_side: NDArray[np.bool_]
    """(n,): whether an example goes to the first child."""
    spare: NDArray[np.int32]


class Tree(NamedTuple):
    """Where a tree is written to: one row of each of a forest's arrays."""

    feature: NDArray[np.int16]
    cut: Floats
    child: NDArray[np.int32]
    counts: Floats


@njit(cache=True)
def grow(tree: Tree, drawn: Drawn, dice: NDArray[np.uint64]) -> None:
    """Grow a tree anew, down to leaves of one class; when nodes run out, leaves stay mixed."""
    feature, counts = tree.feature, tree.counts
    features = np.arange(len(drawn.rows))
    feature[0] = -1
    for c in range(counts.shape[1]):
        counts[0, c] = 0.0
    for i in drawn.rows[0]:
        counts[0, drawn.labels[i]] += drawn.weights[i]
    mixed = np.empty((len(feature), 3), dtype=np.int64)
    mixed[0, 0], mixed[0, 1], mixed[0, 2] = 0, 0, drawn.rows.shape[1]
    waiting, size = 0 if _pure(counts[0]) else 1, 1
    while waiting > 0 and size + 2 <= len(feature):
        waiting -= 1
        node, a, b = mixed[waiting]
        best, cut = _best(drawn, (a, b), counts[node], features, dice)
        if best < 0:
            continue
        middle = _count(drawn, a, b, best, cut, counts[size : size + 2])
        if not (_pure(counts[size]) and _pure(counts[size + 1])):
            _divide(drawn, a, b)
        feature[node], tree.cut[node], tree.child[node] = best, cut, size
        for child, start, end in ((size, a, middle), (size + 1, middle, b)):
            feature[child] = -1
            if not _pure(counts[child]):
                mixed[waiting, 0], mixed[waiting, 1], mixed[waiting, 2] = child, start, end
                waiting += 1
        size += 2


@njit(cache=True)
def random(dice: NDArray[np.uint64]) -> float:
    """Return the next number in [0, 1) (xorshift64*, Vigna 2016)."""
    s = dice[0]
    s ^= s >> np.uint64(12)
    s ^= s << np.uint64(25)
    s ^= s >> np.uint64(27)
    dice[0] = s
    return float((s * np.uint64(2685821657736338717)) >> np.uint64(11)) / 2.0**53


@njit(cache=True)
def _pure(counts: Floats) -> bool:
    """Tell whether no more than one class has weight."""
    classes = 0
    for c in range(len(counts)):
        classes += counts[c] > 0
    return classes < 2


@njit(cache=True)
def _best(
    drawn: Drawn, span: tuple[int, int], total: Floats, features: Ints, dice: NDArray[np.uint64]
) -> tuple[int, float]:  # fmt: skip
    """Return the input and cut that leave the least impurity; -1 if no input can cut.

    Half of the inputs, drawn anew in every node, compete: among those that vary at all.
    """
    before = np.empty(len(total))
    best, best_purity, best_cut = -1, -1.0, 0.0
    left, tried = len(features), 0
    while left > 0 and 2 * tried < len(features):
        place = int(random(dice) * left)
        left -= 1
        feature = features[place]
        features[place], features[left] = features[left], feature
        values, rows = drawn.values[feature], drawn.rows[feature, span[0] : span[1]]
        if values[rows[0]] == values[rows[-1]]:
            continue
        tried += 1
        purity, cut = _best_cut(drawn, feature, rows, total, before)
        if purity > best_purity:
            best, best_purity, best_cut = feature, purity, cut
    return best, best_cut


@njit(cache=True)
def _best_cut(
    drawn: Drawn, feature: int, rows: NDArray[np.int32], total: Floats, before: Floats
) -> tuple[float, float]:
    """Return the best cut between rows in ascending order, and its purity.

    Purity is the sum over both sides of sum(weight of a class squared) / weight: the largest one
    leaves the least Gini impurity. Cuts between equal values, or inside a run of one class, are
    passed over. `before` is room for the weights of the classes before the cut.
    """
    values, labels, weights = drawn.values[feature], drawn.labels, drawn.weights
    whole = squares = squares_after = weight = last_value = best_cut = 0.0
    for c in range(len(total)):
        before[c] = 0.0
        whole += total[c]
        squares_after += total[c] * total[c]
    best, last_label, k = -1.0, -1, 0
    while k < len(rows):
        value, label, end = values[rows[k]], labels[rows[k]], k + 1
        while end < len(rows) and values[rows[end]] == value:
            label = label if labels[rows[end]] == label else -1
            end += 1
        if k > 0 and (label < 0 or label != last_label):
            purity = squares / weight + squares_after / (whole - weight)
            if purity > best:
                best, best_cut = purity, _middle(last_value, value)
        while k < end:
            c, w = labels[rows[k]], weights[rows[k]]
            squares += w * (2 * before[c] + w)
            squares_after -= w * (2 * (total[c] - before[c]) - w)
            before[c] += w
            weight += w
            k += 1
        last_label, last_value = label, value
    return best, best_cut


@njit(cache=True)
def _middle(low: float, high: float) -> float:
    """Return a number at least as large as the lower and smaller than the higher one."""
    middle = 0.5 * low + 0.5 * high
    return middle if low <= middle < high else low


@njit(cache=True)
def _count(drawn: Drawn, a: int, b: int, feature: int, cut: float, counts: Floats) -> int:  # noqa: PLR0917  # jitted
    """Note each row's side and both sides' class weights; return where the second one begins."""
    for c in range(counts.shape[1]):
        counts[0, c] = counts[1, c] = 0.0
    for i in drawn.rows[feature, a:b]:
        first = drawn.values[feature, i] <= cut
        drawn.first_side[i] = first
        a += first
        counts[0 if first else 1, drawn.labels[i]] += drawn.weights[i]
    return a


@njit(cache=True)
def _divide(drawn: Drawn, a: int, b: int) -> None:
    """Put the rows of the first side before the others; each side keeps its order."""
    first_side, spare = drawn.first_side, drawn.spare
    for j in range(len(drawn.rows)):
        rows = drawn.rows[j]
        first, second = a, 0
        for k in range(a, b):
            i = rows[k]
            rows[first] = i
            spare[second] = i
            first += first_side[i]
            second += not first_side[i]
        for k in range(second):
            rows[first + k] = spare[k]
