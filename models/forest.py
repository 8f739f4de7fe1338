"""An online classifier: a small forest that regrows where its answers surprise.

It keeps a bounded, class-balancing reservoir of labelled examples (Chrysakis and Moens, "Online
continual learning from imbalanced data", 2020): while there is room every example stays, later the
commonest class gives way, so that rare faults are kept. Trees are grown on it as in random forests
(Breiman, 2001), with every example of the rarer classes in every tree and the commonest class
bagged (Oza and Russell, "Online bagging", 2001). An example updates the leaves of all trees at
once; and the less the forest believed its label, the more trees are regrown, the oldest first. So
the work goes where there is something to learn, and stops where everything is known.

Cuts lie half-way between neighbouring examples of different classes (Fayyad and Irani, 1992: no
other cut can be the purest), so answers do not change with the units of the inputs, and a monotone
rescaling moves them only within the gap between two examples. A missing value lies below all
numbers: trees can cut between missing and known. The forest is deterministic: its dice are part of
its state. Memory never grows.
"""

import math
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TREES = 16
"""Enough that one tree's chance is 6 % of the answer; twice as many cost double and gained .001."""
CAPACITY = 3072
"""Examples kept. Cuts lie between neighbours: they are as sharp as the examples are dense."""
NODES = 512
"""Per tree: up to 256 leaves; when they are used up, leaves stay mixed."""
_WORK_PER_SURPRISE = 2048.0
"""Examples that trees are regrown on for an example that was thought impossible: one tree on a
reservoir two thirds full, many trees while examples are few and trees cheap. Twice as much gained
.004 of average precision on made-up machines at two thirds of the speed."""
_WORK_PER_EXAMPLE = 8.0
"""The same although nothing surprises: the forest is renewed within some thousands of examples."""
_CHEAPEST = 256
"""Every tree counts as at least so many examples: no more than the forest is regrown at once."""
_PRIOR_EXAMPLES = 1.0
"""A leaf's frequencies are mixed with so many examples of the usual frequencies (m-estimate)."""
_FARTHEST = 1e300
"""Inputs are clipped here, so that the middle between two of them is a number."""
_SEED = 88172645463325252


class Forest(NamedTuple):
    """State of one forest: for d inputs, c classes, n examples at most."""

    values: Floats
    """(d, n): the kept examples' inputs."""
    labels: Ints
    """(n,): their classes."""
    order: NDArray[np.int32]
    """(d, n): the kept examples in ascending order of each input."""
    kept: Ints
    """(c,): kept examples of each class."""
    seen: Ints
    """(c,): learnt examples of each class."""
    feature: NDArray[np.int16]
    """(trees, nodes): input that a node looks at; -1: the node is a leaf."""
    cut: Floats
    """(trees, nodes): up to here a value goes to the first child."""
    child: NDArray[np.int32]
    """(trees, nodes): the first child; the second is the next node."""
    counts: Floats
    """(trees, nodes, c): weight of each class in a leaf."""
    due: Floats
    """(1,): examples that trees may still be regrown on."""
    turn: Ints
    """(1,): the tree grown longest ago."""
    dice: NDArray[np.uint64]
    """(1,): state of the random numbers."""


class Combination(Struct, frozen=True):
    """Two inputs combined to a third: what trees cannot see along the axes.

    A power is the product of torque and speed, a heat flow follows a difference of temperatures,
    a specific consumption is a ratio.
    """

    kind: str
    """``product``, ``difference`` or ``ratio``."""
    first: int
    second: int


def empty(
    inputs: int, classes: int, *, capacity: int = CAPACITY, trees: int = TREES, seed: int = 0
) -> Forest:
    """Return a forest that has learnt nothing; it gives every class the same probability."""
    return Forest(
        values=np.zeros((inputs, capacity)),
        labels=np.zeros(capacity, dtype=np.int64),
        order=np.zeros((inputs, capacity), dtype=np.int32),
        kept=np.zeros(classes, dtype=np.int64),
        seen=np.zeros(classes, dtype=np.int64),
        feature=np.full((trees, NODES), -1, dtype=np.int16),
        cut=np.zeros((trees, NODES)),
        child=np.zeros((trees, NODES), dtype=np.int32),
        counts=np.zeros((trees, NODES, classes)),
        due=np.zeros(1),
        turn=np.zeros(1, dtype=np.int64),
        dice=np.array([_SEED + seed], dtype=np.uint64),
    )


def combined(rows: Floats, combinations: list[Combination]) -> Floats:
    """Return the rows (n, d) with a column for every combination; no ratio where it has no value.

    Raises:
        ValueError: a combination is of no known kind.
    """
    columns = [rows]
    for c in combinations:
        first, second = rows[:, c.first], rows[:, c.second]
        with np.errstate(all="ignore"):
            if c.kind == "product":
                column = first * second
            elif c.kind == "difference":
                column = first - second
            elif c.kind == "ratio":
                column = np.where(second == 0, math.nan, first / second)
            else:
                raise ValueError(f"there is no combination {c.kind!r}")
        columns.append(column[:, None])
    return np.hstack(columns)


@njit(cache=True)
def score_then_learn(forest: Forest, rows: Floats, labels: Ints) -> Floats:
    """Answer each row before its label is learnt; the state goes on in place.

    Args:
        forest: the state.
        rows: (n, d) inputs; NaN is missing.
        labels: (n,) classes; a row whose label is none of the classes is only scored.

    Returns:
        (n, classes): probabilities that each row's label was expected with.
    """
    answers = np.zeros((len(rows), len(forest.seen)))
    for i in range(len(rows)):
        x = _bounded(rows[i])
        _answer(forest, x, answers[i])
        if 0 <= labels[i] < len(forest.seen):
            _learn(forest, x, labels[i], answers[i, labels[i]])
    return answers


def learn(forest: Forest, row: Floats, label: int) -> None:
    """Learn one labelled row (d,); a label that is none of the classes is ignored."""
    score_then_learn(forest, row[None], np.array([label]))


@njit(cache=True)
def probabilities(forest: Forest, row: Floats) -> Floats:
    """Return the probability of every class for one row (d,) of inputs; NaN is missing."""
    answer = np.zeros(len(forest.seen))
    _answer(forest, _bounded(row), answer)
    return answer


@njit(cache=True)
def _answer(forest: Forest, x: Floats, answer: Floats) -> None:
    """Add the probability of every class: the mean over the trees."""
    classes, trees = len(forest.seen), len(forest.feature)
    examples = classes + _total(forest.seen)
    for tree in range(trees):
        node = _leaf(forest, tree, x)
        weight = _PRIOR_EXAMPLES
        for c in range(classes):
            weight += forest.counts[tree, node, c]
        for c in range(classes):
            usual = (forest.seen[c] + 1.0) / examples
            part = forest.counts[tree, node, c] + _PRIOR_EXAMPLES * usual
            answer[c] += part / (weight * trees)


@njit(cache=True)
def _total(numbers: Ints) -> int:
    total = 0
    for n in numbers:
        total += n
    return total


@njit(cache=True)
def _commonest(forest: Forest) -> int:
    """Return the class with the most kept examples, the first of equals."""
    commonest = 0
    for c in range(len(forest.kept)):
        if forest.kept[c] > forest.kept[commonest]:
            commonest = c
    return commonest


@njit(cache=True)
def _learn(forest: Forest, x: Floats, label: int, expected: float) -> None:
    """Learn a row whose label was expected with a probability."""
    _keep(forest, x, label)
    for tree in range(len(forest.feature)):
        forest.counts[tree, _leaf(forest, tree, x), label] += 1.0
    forest.due[0] += _WORK_PER_SURPRISE * (1.0 - expected) + _WORK_PER_EXAMPLE
    cost = max(_total(forest.kept), _CHEAPEST)
    while forest.due[0] >= cost:
        forest.due[0] -= cost
        _regrow(forest, forest.turn[0])
        forest.turn[0] = (forest.turn[0] + 1) % len(forest.feature)


@njit(cache=True)
def _bounded(row: Floats) -> Floats:
    """Return finite values, and minus infinity for missing ones."""
    x = np.empty(len(row))
    for j in range(len(row)):
        x[j] = -np.inf if np.isnan(row[j]) else min(max(row[j], -_FARTHEST), _FARTHEST)
    return x


@njit(cache=True)
def _leaf(forest: Forest, tree: int, x: Floats) -> int:
    node = 0
    while forest.feature[tree, node] >= 0:
        second = x[forest.feature[tree, node]] > forest.cut[tree, node]
        node = forest.child[tree, node] + (1 if second else 0)
    return node


@njit(cache=True)
def _random(dice: NDArray[np.uint64]) -> float:
    """Return the next number in [0, 1) (xorshift64*, Vigna 2016)."""
    s = dice[0]
    s ^= s >> np.uint64(12)
    s ^= s << np.uint64(25)
    s ^= s >> np.uint64(27)
    dice[0] = s
    return float((s * np.uint64(2685821657736338717)) >> np.uint64(11)) / 2.0**53


@njit(cache=True)
def _keep(forest: Forest, x: Floats, label: int) -> None:
    """Put an example into the reservoir, in place of one of the commonest class if it is full."""
    capacity, count = len(forest.labels), _total(forest.kept)
    forest.seen[label] += 1
    slot = count
    if count == capacity:
        commonest = _commonest(forest)
        chance = forest.kept[label] / forest.seen[label]
        if label == commonest and _random(forest.dice) >= chance:
            return
        slot = int(_random(forest.dice) * capacity)
        while forest.labels[slot] != commonest:
            slot = int(_random(forest.dice) * capacity)
        forest.kept[commonest] -= 1
    forest.kept[label] += 1
    forest.labels[slot] = label
    for j in range(len(x)):
        _sort_in(forest.order[j], forest.values[j], slot, x[j], count)


@njit(cache=True)
def _sort_in(order: NDArray[np.int32], values: Floats, slot: int, value: float, count: int) -> None:
    """Give a slot a value, and move it to its place in the order of `count` slots."""
    place = last = count
    if slot < count:
        place, last = 0, count - 1
        while last > place:
            middle = (place + last) // 2
            if values[order[middle]] < values[slot]:
                place = middle + 1
            else:
                last = middle
        while order[place] != slot:
            place += 1
        last = count - 1
    while place > 0 and values[order[place - 1]] > value:
        order[place] = order[place - 1]
        place -= 1
    while place < last and values[order[place + 1]] < value:
        order[place] = order[place + 1]
        place += 1
    order[place] = slot
    values[slot] = value


@njit(cache=True)
def _weights(forest: Forest) -> Floats:
    """Return how often each kept example counts in a new tree.

    The commonest class is drawn with replacement: a Poisson number of times, 1 on average. Each
    kept example stands for as many as were seen of its class.
    """
    count, commonest = _total(forest.kept), _commonest(forest)
    weights = np.empty(count)
    for i in range(count):
        label = forest.labels[i]
        times = 1.0
        if label == commonest:
            times, chance, dice = 0.0, math.exp(-1.0), _random(forest.dice)
            while dice > chance and times < 8:
                times += 1.0
                dice -= chance
                chance /= times
        weights[i] = times * forest.seen[label] / forest.kept[label]
    return weights


class _Drawn(NamedTuple):
    """What a tree is grown on: m of the n kept examples."""

    values: Floats
    labels: Ints
    weights: Floats
    rows: NDArray[np.int32]
    """(d, m): the drawn examples in ascending order of each input, within each node."""
    first_side: NDArray[np.bool_]
    """(n,): whether an example goes to the first child."""
    spare: NDArray[np.int32]


@njit(cache=True)
def _draw(forest: Forest) -> _Drawn:
    """Return the examples drawn for a new tree."""
    weights = _weights(forest)
    drawn = 0
    for weight in weights:
        drawn += weight > 0
    rows = np.empty((len(forest.order), drawn), np.int32)
    for j in range(len(rows)):
        place = 0
        for k in range(len(weights)):
            i = forest.order[j, k]
            if weights[i] > 0:
                rows[j, place] = i
                place += 1
    first_side, spare = np.empty(len(weights), np.bool_), np.empty(drawn, np.int32)
    return _Drawn(forest.values, forest.labels, weights, rows, first_side, spare)


@njit(cache=True)
def _regrow(forest: Forest, tree: int) -> None:
    """Grow one tree anew on the kept examples, down to leaves of one class."""
    drawn = _draw(forest)
    inputs, m = drawn.rows.shape
    features = np.arange(inputs)
    feature, counts = forest.feature[tree], forest.counts[tree]
    feature[0] = -1
    for c in range(counts.shape[1]):
        counts[0, c] = 0.0
    for i in drawn.rows[0]:
        counts[0, drawn.labels[i]] += drawn.weights[i]
    mixed = np.empty((len(feature), 3), dtype=np.int64)
    mixed[0, 0], mixed[0, 1], mixed[0, 2] = 0, 0, m
    waiting, size = 0 if _pure(counts[0]) else 1, 1
    while waiting > 0 and size + 2 <= len(feature):
        waiting -= 1
        node, a, b = mixed[waiting]
        best, cut = _best(drawn, (a, b), counts[node], features, forest.dice)
        if best < 0:
            continue
        middle = _count(drawn, a, b, best, cut, counts[size : size + 2])
        if not (_pure(counts[size]) and _pure(counts[size + 1])):
            _divide(drawn, a, b)
        feature[node], forest.cut[tree, node], forest.child[tree, node] = best, cut, size
        for child, start, end in ((size, a, middle), (size + 1, middle, b)):
            feature[child] = -1
            if not _pure(counts[child]):
                mixed[waiting, 0], mixed[waiting, 1], mixed[waiting, 2] = child, start, end
                waiting += 1
        size += 2


@njit(cache=True)
def _pure(counts: Floats) -> bool:
    """Tell whether no more than one class has weight."""
    classes = 0
    for c in range(len(counts)):
        classes += counts[c] > 0
    return classes < 2


@njit(cache=True)
def _best(
    drawn: _Drawn, span: tuple[int, int], total: Floats, features: Ints, dice: NDArray[np.uint64]
) -> tuple[int, float]:  # fmt: skip
    """Return the input and cut that leave the least impurity; -1 if no input can cut.

    Half of the inputs, drawn anew in every node, compete: among those that vary at all.
    """
    before = np.empty(len(total))
    best, best_purity, best_cut = -1, -1.0, 0.0
    left, tried = len(features), 0
    while left > 0 and 2 * tried < len(features):
        place = int(_random(dice) * left)
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
    drawn: _Drawn, feature: int, rows: NDArray[np.int32], total: Floats, before: Floats
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
def _count(drawn: _Drawn, a: int, b: int, feature: int, cut: float, counts: Floats) -> int:  # noqa: PLR0917  # jitted
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
def _divide(drawn: _Drawn, a: int, b: int) -> None:
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
