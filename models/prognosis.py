"""Remaining useful life, learnt from the failures of all machines of one type.

A ridge regression on the features of :mod:`models.rul_basis` explains the remaining life, capped:
long before the end nothing shows yet how long it will be. It keeps matrices, no lives, so that the
experience of two sites is the sum of their matrices. Only the first LIBRARY lives are kept as they
were, because the first failures say little about which directions matter: the map is made anew
whenever the number of failures has grown by a quarter, and stays as it is after that.

Every life is first predicted by what was learnt from others. These errors choose the ridge
(prequential model choice, Dawid 1984), decide whether the regression tells anything at all, and
are the interval: conformal quantiles (Vovk et al. 2005) per zone of the estimate, in which each
life counts once, for the rows of one life err together.
"""

import math
from typing import NamedTuple

import numpy as np
from msgspec import Struct, structs

from models.artefact import pack, unpack
from models.rul_basis import (
    CAUTIOUS,
    FOLDS,
    RIDGES,
    Array,
    Basis,
    History,
    Smooth,
    begin,
    damped,
    expand,
    learn_basis,
    part_of,
    predict_fold,
    remaining,
    remember,
    replay,
    ridges,
    same_map,
    smoothed,
)

MIN_FAILURES = 5
"""With fewer lives each of them decides alone which directions matter."""
LIBRARY = 64
"""Lives kept to remake the map; 64 lives of 24 signals are about 6 MB."""
GROWTH = 1.25
"""The map is made anew when there are this many times as many lives: all remakes together cost
five times the last one."""
SKILL = 0.25
"""Least share of the variance of remaining life that must be explained: below, the mean says it."""
UNKNOWN = 0.5
"""No estimate where more than this part of the regression's prior variance is left."""
FEW = 12
"""Up to so many lives the map itself is fitted to each of them: held-out lives need their own."""
MISS = 0.1
"""At most one machine in ten fails before `low`, and one in ten outlives `high`."""
ZONES = 8
"""Zones of the estimate with errors of their own."""
BINS = 128
"""Bins of the error, from -cap to cap: finer than any error of a prognosis."""
MAX_OPEN = 1000
"""Machines followed at a time; one more retires the one heard of least recently."""
HUGE = 1e30
"""Nothing measures that; it would only overflow."""


class Estimate(NamedTuple):
    """Remaining life in the unit of the ages given; never above the cap."""

    expected: float
    low: float
    """Fails earlier with a probability of at most MISS; 0 until enough lives were predicted."""
    high: float
    """Lives longer with a probability of at most MISS; infinite from the cap on."""


class _Open(Struct):
    """A machine in service."""

    history: History
    smooth: Smooth
    map_number: int
    """Map for which `smooth` was computed."""
    told: tuple[float, float, float] | None = None


class _Pool(Struct):
    """What was learnt; P regressors, R ridges."""

    failures: int
    complete: bool
    """The library holds every life, so the map may be made anew."""
    library: list[History]
    basis: Basis | None
    map_number: int
    due: int
    """Failures at which the map is made anew."""
    gram: Array
    """Sum over lives of the mean outer product of the regressors (P, P)."""
    moment: Array
    """Sum over lives of the mean product of regressors and remaining life (P)."""
    squares: Array
    """Sum over lives of the mean squared error, per ridge and, last, of the mean (R + 1)."""
    errors: Array
    """Lives per zone of the estimate and bin of truth minus estimate (ZONES, BINS)."""


class _Fit(Struct):
    """What follows from the pool; kept because it takes long to compute."""

    ridge: int
    """Index of the ridge in use."""
    skilled: bool
    solutions: Array
    """Coefficients per ridge (P, R)."""
    inverse: Array
    """Of gram plus the smallest ridge (P, P): tells how far an input is from all seen."""
    margins: Array
    """Lowest and highest error to expect in each zone (2, ZONES)."""


class _State(Struct):
    pool: _Pool
    fit: _Fit | None
    open: dict[str, _Open]


class Prognosis:
    """Pooled prognosis for all machines of a type.

    Args:
        signals: names of what `step` gets, only to refuse a state made from others.
        cap: highest remaining life to tell apart, in cycles or hours of running.
    """

    def __init__(self, signals: list[str], cap: float) -> None:
        if not (cap > 0 and math.isfinite(cap)):
            raise ValueError(f"cap must be a positive number of cycles or hours, not {cap}")
        self.signals = list(signals)
        self.cap = float(cap)
        self.state = _State(_empty(None, 0), None, {})

    @property
    def failures(self) -> int:
        """Lives learnt from."""
        return self.state.pool.failures

    @property
    def mean_remaining(self) -> float:
        """Mean capped remaining life over all lives: what to say when nothing else is known."""
        pool = self.state.pool
        if pool.basis is not None and pool.failures:
            return float(pool.moment[0] / pool.gram[0, 0])
        means = [remaining(life, self.cap).mean() for life in pool.library]
        return float(np.mean(means)) if means else math.nan

    def start(self, unit: str) -> None:
        """Begin a life: a new machine, or one as good as new after a repair."""
        open_units = self.state.open
        open_units.pop(unit, None)
        if len(open_units) >= MAX_OPEN:
            del open_units[next(iter(open_units))]
        number = self.state.pool.map_number
        open_units[unit] = _Open(History([], []), begin(len(self.signals)), number)

    def step(self, unit: str, age: float, x: Array) -> Estimate | None:
        """Take in a machine's signals and return its remaining life, None where nothing is known.

        Args:
            unit: a machine; one that was not started is started.
            age: cycles or hours of running since its start. Gaps are fine; a row that is not
                newer than the last one is ignored, and the last answer given again.
            x: signals in the order given; NaN where there is no value. A row without any value
                is ignored, and answered by None.
        """
        state = self.state
        if unit not in state.open:
            self.start(unit)
        life = state.open[unit] = state.open.pop(unit)  # the one heard of longest ago comes first
        with np.errstate(invalid="ignore"):
            x = np.where(np.abs(x) < HUGE, x, np.nan).astype(np.float64)
        if np.isnan(x).all():
            return None
        if math.isfinite(age) and not (life.history.ages and age <= life.history.ages[-1]):
            life.told = self._answer(life, age, x)
        return Estimate(*life.told) if life.told else None

    def _answer(self, life: _Open, age: float, x: Array) -> tuple[float, float, float] | None:
        pool, fit = self.state.pool, self.state.fit
        if pool.basis is None:
            remember(life.history, age, x)
            return None
        if life.map_number != pool.map_number and life.history.rows:
            life.smooth = replay(pool.basis, life.history)[1]
            life.map_number = pool.map_number
        remember(life.history, age, x)
        features = smoothed(pool.basis, life.smooth, np.array([age]), x[None])[0]
        return None if fit is None else _estimate(pool.basis, fit, features)

    def failed(self, unit: str, age: float | None = None) -> None:
        """Learn from a life that ended by failure, at the given age or at its last row."""
        life = self.state.open.pop(unit, None)
        if life is None or len(life.history.rows) < 2:
            return
        last = life.history.ages[-1]
        life.history.end = last if age is None or not age > last else min(age, HUGE)
        _learn(self.state.pool, self.state.fit, life.history, self.cap)
        self._settle()

    def retired(self, unit: str) -> None:
        """Forget a machine that left without failing."""
        self.state.open.pop(unit, None)

    def sibling(self) -> "Prognosis":
        """Return an empty prognosis with the same map, for a site whose matrices will be added."""
        other = Prognosis(self.signals, self.cap)
        pool = self.state.pool
        other.state.pool = _empty(pool.basis, pool.map_number)
        return other

    def merge(self, other: "Prognosis") -> None:
        """Add what another site learnt; its machines in service stay there.

        While both still hold all their lives, this becomes what one site would have learnt from
        all of them. With the same map (see `sibling`), matrices are added. Otherwise the map of
        the side with more failures takes in the lives that the other side still holds.

        Raises:
            ValueError: other signals or another cap.
        """
        if (self.signals, self.cap) != (other.signals, other.cap):
            raise ValueError("prognoses of other signals or another cap cannot be merged")
        mine, yours = self.state.pool, other.state.pool
        if mine.complete and yours.complete and mine.failures + yours.failures <= LIBRARY:
            mine.library = mine.library + yours.library
            mine.failures, mine.due = len(mine.library), MIN_FAILURES
        elif same_map(mine.basis, yours.basis):
            _add(mine, yours)
        else:
            small, large = sorted((mine, yours), key=lambda pool: pool.failures)
            numbers = mine.map_number, yours.map_number
            fit = self.state.fit if large is mine else other.state.fit
            pool = self.state.pool = structs.replace(large, map_number=max(numbers) + 1)
            for life in small.library:
                _learn(pool, fit, life, self.cap)
        self._settle()

    def _settle(self) -> None:
        """Compute what follows from the pool, and make the map anew where that is due."""
        pool = self.state.pool
        if pool.complete and pool.failures >= max(MIN_FAILURES, pool.due):
            _remake(pool, self.cap)
        if pool.basis is not None and pool.failures >= MIN_FAILURES:
            self.state.fit = _solve(pool)

    def save(self) -> bytes:
        """Return everything as bytes; `load` brings back an equal prognosis."""
        return pack(self.state, [["prognosis", repr(self.cap)], self.signals])

    @classmethod
    def load(cls, data: bytes, signals: list[str], cap: float) -> "Prognosis":
        """Read a prognosis back.

        Raises:
            Malformed: damaged, or saved by another version, for other signals or another cap.
        """
        loaded = cls(signals, cap)
        loaded.state = unpack(data, _State, [["prognosis", repr(loaded.cap)], loaded.signals])
        return loaded


def _empty(basis: Basis | None, map_number: int) -> _Pool:
    size = 1 + len(basis.mean) + len(basis.phases) if basis else 0
    return _Pool(
        failures=0,
        complete=basis is None,
        library=[],
        basis=basis,
        map_number=map_number,
        due=MIN_FAILURES,
        gram=np.zeros((size, size)),
        moment=np.zeros(size),
        squares=np.zeros(len(RIDGES) + 1),
        errors=np.zeros((ZONES, BINS)),
    )


def _add(mine: _Pool, yours: _Pool) -> None:
    mine.failures += yours.failures
    mine.complete = False
    mine.library = (mine.library + yours.library)[:LIBRARY]
    mine.gram = mine.gram + yours.gram
    mine.moment = mine.moment + yours.moment
    mine.squares = mine.squares + yours.squares
    mine.errors = mine.errors + yours.errors


def _learn(pool: _Pool, fit: _Fit | None, life: History, cap: float) -> None:
    """Predict a life by what is known, then add it to the pool."""
    pool.failures += 1
    pool.complete = pool.complete and pool.failures <= LIBRARY
    if len(pool.library) < LIBRARY:
        pool.library = [*pool.library, life]
    if pool.basis is None:
        return
    part = part_of(pool.basis, life)
    if fit is not None:
        mean = pool.moment[0] / pool.gram[0, 0]
        _judge(pool, [(part.regressors @ fit.solutions, part.truth, mean)], cap, fit.ridge)
    pool.gram, pool.moment = pool.gram + part.gram, pool.moment + part.moment


def _remake(pool: _Pool, cap: float) -> None:
    """Make the map anew from all lives, and predict each life by the others."""
    lives = sorted(pool.library, key=_order)
    pool.basis, pool.map_number = learn_basis(lives, cap), pool.map_number + 1
    pool.due = math.ceil(GROWTH * len(lives))
    parts = [part_of(pool.basis, life) for life in lives]  # 64 of 543 regressors: 200 MB, briefly
    pool.gram = np.sum([part.gram for part in parts], axis=0)
    pool.moment = np.sum([part.moment for part in parts], axis=0)
    pool.squares, pool.errors = np.zeros_like(pool.squares), np.zeros_like(pool.errors)
    told = []
    for fold in range(min(FOLDS, len(lives))):
        if len(lives) <= FEW:
            others = [life for i, life in enumerate(lives) if i % FOLDS != fold]
            basis = learn_basis(others, cap)
            parts = [part_of(basis, life) for life in lives]
        told += predict_fold(parts, fold)
    _judge(pool, told, cap, None)


def _order(life: History) -> tuple[float, bytes]:
    """Any order that does not depend on who saw a life first, so that neither do the folds."""
    return life.end, life.rows[-1].tobytes()


def _judge(
    pool: _Pool, told: list[tuple[Array, Array, float]], cap: float, ridge: int | None
) -> None:
    """Note the errors of lives: estimates per ridge (n, R), truth (n) and the mean so far."""
    for estimates, truth, mean in told:
        against = np.column_stack([np.clip(estimates, 0.0, cap), np.full(len(truth), mean)])
        pool.squares = pool.squares + ((against - truth[:, None]) ** 2).mean(axis=0)
    ridge = _best(pool) if ridge is None else ridge
    errors = pool.errors.copy()
    for estimates, truth, _ in told:
        estimate = np.clip(estimates[:, ridge], 0.0, cap)
        zone = np.minimum(estimate * ZONES / cap, ZONES - 1).astype(np.int64)
        place = ((truth - estimate) / cap + 1.0) * BINS / 2
        bins = np.clip(place, 0, BINS - 1).astype(np.int64)
        rows = np.bincount(zone, minlength=ZONES)
        np.add.at(errors, (zone, bins), 1.0 / rows[zone])
    pool.errors = errors


def _best(pool: _Pool) -> int:
    return int(np.argmin(pool.squares[:-1])) if pool.squares[-1] > 0 else CAUTIOUS


def _solve(pool: _Pool) -> _Fit:
    best = _best(pool)
    return _Fit(
        ridge=best,
        skilled=bool(pool.squares[best] < (1.0 - SKILL) * pool.squares[-1]),
        solutions=ridges(pool.gram, pool.moment),
        inverse=np.linalg.inv(damped(pool.gram, RIDGES[0])).astype(np.float64),
        margins=_margins(pool.errors),
    )


def _margins(errors: Array) -> Array:
    """Conformal quantiles of the error per zone, in parts of the cap; infinite for too few lives.

    Of n + 1 equally likely lives, a share of MISS may lie outside; the new one may be among them.
    """
    margins = np.empty((2, ZONES))
    for zone, counts in enumerate(errors):
        allowed = MISS * (counts.sum() + 1.0) - 1.0 + 1e-9
        below, above = np.cumsum(counts) > allowed, np.cumsum(counts[::-1]) > allowed
        enough = allowed >= 0
        margins[0, zone] = np.argmax(below) * 2 / BINS - 1.0 if enough else -math.inf
        margins[1, zone] = 1.0 - np.argmax(above) * 2 / BINS if enough else math.inf
    return margins


def _estimate(basis: Basis, fit: _Fit, features: Array) -> tuple[float, float, float] | None:
    regressors = expand(basis, features[None])[0]
    prior = float(regressors[1:] @ regressors[1:])
    left = RIDGES[0] * float(regressors @ fit.inverse @ regressors)
    if not fit.skilled or left > UNKNOWN * prior:
        return None
    cap = basis.cap
    expected = float(np.clip(regressors @ fit.solutions[:, fit.ridge], 0.0, cap))
    middles = (np.arange(ZONES) + 0.5) * cap / ZONES
    low, high = (expected + cap * float(np.interp(expected, middles, m)) for m in fit.margins)
    high = max(high, expected)
    return expected, max(min(low, expected), 0.0), high if high < cap else math.inf
