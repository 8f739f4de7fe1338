"""An online classifier: a small forest that regrows where its answers surprise.

It keeps a bounded, class-balancing reservoir of labelled examples (Chrysakis and Moens, "Online
continual learning from imbalanced data", 2020): while there is room every example stays, later the
commonest class gives way, so that rare faults are kept. Trees are grown on it as in random forests
(Breiman, 2001), with every example of the rarer classes in every tree and the commonest class
bagged (Oza and Russell, "Online bagging", 2001). An example updates the leaves of all trees at
once; and the less the forest believed its label, the more trees are regrown, the oldest first. So
the work goes where there is something to learn, and stops where everything is known.

Cuts lie half-way between neighbouring examples of different classes, so answers do not change with
the units of the inputs, and a monotone rescaling moves them only within the gap between two
examples. A missing value lies below all
numbers: trees can cut between missing and known. The forest is deterministic: its dice are part of
its state. Memory never grows.
"""

import math
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numba import njit
from numpy.typing import NDArray

from models.tree import Drawn, Floats, Ints, Tree, grow, random

TREES = 16
"""One tree's chance is 6 % of the answer; 10 to 24 trees ranked made-up failures within .01."""
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
    """Return a forest that has learnt nothing; it gives every class the same probability.

    Raises:
        ValueError: there is no input, class, place for examples or tree.
    """
    if min(inputs, classes, capacity, trees) < 1:
        raise ValueError("a forest needs inputs, classes, places for examples and trees")
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

    Raises:
        ValueError: rows and labels do not fit together, or not the forest.
    """
    if rows.shape[1] != len(forest.values) or len(labels) != len(rows):
        raise ValueError("rows must have as many inputs as the forest, and one label each")
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
    if len(row) != len(forest.values):
        raise ValueError("a row must have as many inputs as the forest")
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
def _keep(forest: Forest, x: Floats, label: int) -> None:
    """Put an example into the reservoir, in place of one of the commonest class if it is full."""
    capacity, count = len(forest.labels), _total(forest.kept)
    forest.seen[label] += 1
    slot = count
    if count == capacity:
        commonest = _commonest(forest)
        chance = forest.kept[label] / forest.seen[label]
        if label == commonest and random(forest.dice) >= chance:
            return
        slot = int(random(forest.dice) * capacity)
        while forest.labels[slot] != commonest:
            slot = int(random(forest.dice) * capacity)
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
            times, chance, dice = 0.0, math.exp(-1.0), random(forest.dice)
            while dice > chance and times < 8:
                times += 1.0
                dice -= chance
                chance /= times
        weights[i] = times * forest.seen[label] / forest.kept[label]
    return weights


@njit(cache=True)
def _draw(forest: Forest) -> Drawn:
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
    return Drawn(forest.values, forest.labels, weights, rows, first_side, spare)


@njit(cache=True)
def _regrow(forest: Forest, place: int) -> None:
    """Grow one tree anew on the kept examples."""
    tree = Tree(forest.feature[place], forest.cut[place], forest.child[place], forest.counts[place])
    grow(tree, _draw(forest), forest.dice)
