"""A machine against its peers of the same type and site, night by night.

A machine's own reference cannot show what was wrong before commissioning, nor what creeps more
slowly than the reference allows. Peers can. Every machine's days are brought to the same conditions
by a regression over its peers (random intercepts, as in Swamy and Arora 1972), and then two
questions are asked of every signal:

* Does it stand apart? Its level of the last days against its peers' levels, by Hodges-Lehmann
  centre and Shamos spread, with the tails of Student's t.
* Does it walk away? Its Theil-Sen slope against its peers' common course, which must be a trend by
  Kendall's exact test *and* stand apart from its peers' slopes, since days are not independent.

Over all machines and signals of a night the false discovery rate is held (Benjamini and Hochberg
1995). Machines whose conditions their peers have not seen are not compared.
"""

import math
from functools import cache

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.pairs import centre, spread
from models.sample import Layout, Sample, Vector
from models.settings import DEFAULT

Which = NDArray[np.bool_]
"""One flag each, of machines or of their days."""
DAYS = 60
"""Days that are remembered of every machine."""
RECENT = 7
"""Days of which a machine's level is the mean: a week evens out its working days."""
MIN_RECENT = 3
"""Of these, at least so many must have been recorded."""
MIN_TREND = 8
"""Days that a trend needs: Kendall's smallest p-value is then 1 in 20,160."""
MIN_PEERS = 4
"""With fewer peers, tails are so heavy that nothing could be found."""
FALSE_SHARE = 0.01
"""False discovery rate of one night."""
_EXTRAPOLATE = 0.5
"""Conditions may lie this share of the peers' range outside of it."""
_ITERATIONS = 5
"""Rounds of variance estimation; it has settled after three."""
_HUGE = 1e60
"""No mean of plausible values is so large; its square can still be summed up."""


class Day(Struct):
    """Sums over one machine's judged readings of one day; constant memory."""

    responses: Vector
    counts: NDArray[np.int64]
    conditions: Vector
    readings: int = 0


class PeerTable(Struct):
    """Daily means of the newest days: ``values`` [machine, day, response] and conditions."""

    devices: list[str]
    day: NDArray[np.int64]
    """[machine, day]: number of the day (days since 1970) that stands there; -1: none."""
    values: Vector
    conditions: Vector


class Standing(Struct, frozen=True):
    """Where one machine stands among its peers with one signal."""

    device: str
    signal: str
    peers: int
    """Peers that it was compared with."""
    sigmas: float | None
    """Distance from the peers' centre in their spread, with sign; None: no comparison."""
    p_value: float | None
    """Chance that a healthy machine stands as far out or walks as steadily, before `stands_out`
    takes the number of comparisons into account."""
    trend_per_day: float | None
    """Slope against the peers, in the signal's unit per day; None: too few days."""
    stands_out: bool
    """A finding, at the false discovery rate of `FALSE_SHARE` over the fleet."""
    text: str
    """For people."""


def condition_count(layout: Layout) -> int:
    """Return how many conditions describe a day."""
    return 2 * len(layout.drivers) + len(layout.gain_slots)


def start(layout: Layout) -> Day:
    """Return a day without readings."""
    count = len(layout.responses)
    return Day(np.zeros(count), np.zeros(count, dtype=np.int64), np.zeros(condition_count(layout)))


def add(day: Day, s: Sample, layout: Layout) -> None:
    """Take in one reading of a running machine; without all its drivers it does not count."""
    count = len(layout.responses)
    u = (s.usable[count:] - (layout.low + layout.high)[count:] / 2) / layout.driver_scale
    if np.isnan(u).any():
        return
    y = s.usable[:count]
    seen = ~np.isnan(y)
    day.responses += np.where(seen, y, 0.0)
    day.counts += seen
    day.conditions += np.concatenate([u, u * u, s.mode[layout.gain_slots]])
    day.readings += 1


def summarise(day: Day) -> tuple[Vector, Vector]:
    """Return the day's mean responses and conditions; NaN where there were too few readings."""
    enough = DEFAULT.commissioning_samples
    values = np.where(day.counts >= enough, day.responses / np.maximum(day.counts, 1), np.nan)
    if day.readings < enough:
        return values, np.full(len(day.conditions), np.nan)
    return values, day.conditions / day.readings


def table(layout: Layout) -> PeerTable:
    """Return a table without machines."""
    return PeerTable(
        [],
        np.zeros((0, DAYS), dtype=np.int64),
        np.zeros((0, DAYS, len(layout.responses))),
        np.zeros((0, DAYS, condition_count(layout))),
    )


def keep(t: PeerTable, device: str, number: int, row: tuple[Vector, Vector]) -> None:
    """Store a machine's day in the place of the one `DAYS` before; unknown machines join."""
    if device not in t.devices:
        t.devices.append(device)
        t.day = np.concatenate([t.day, np.full((1, DAYS), -1)])
        t.values = np.concatenate([t.values, np.full((1, *t.values.shape[1:]), np.nan)])
        nowhere = np.full((1, *t.conditions.shape[1:]), np.nan)
        t.conditions = np.concatenate([t.conditions, nowhere])
    m, place = t.devices.index(device), number % DAYS
    if number < t.day[m, place]:
        return
    t.day[m, place] = number
    t.values[m, place], t.conditions[m, place] = row


def compare(t: PeerTable, layout: Layout, today: int) -> list[Standing]:
    """Compare every machine with the others; ``today`` is the number of the newest day.

    Returns:
        One standing per machine and response, those that stand out first.
    """
    days = np.arange(today - DAYS + 1, today + 1)
    place = days % DAYS
    valid = (t.day[:, place] == days)[:, :, None]
    values = np.where(valid, t.values[:, place], np.nan)
    conditions = np.where(valid, t.conditions[:, place], np.nan)
    found: list[Standing] = []
    with np.errstate(all="ignore"):
        for j, name in enumerate(layout.responses):
            unit = layout.checked[j].unit
            found += _signal(t.devices, name, unit, values[:, :, j], conditions)
    return sorted(_discover(found), key=lambda s: (not s.stands_out, s.p_value or 1.0))


def _signal(devices: list[str], name: str, unit: str, y: Vector, x: Vector) -> list[Standing]:
    """Compare all machines in one signal: ``y`` [machine, day], ``x`` [machine, day, condition]."""
    seen = (np.abs(y) < _HUGE) & (np.abs(x) < _HUGE).all(axis=2)
    seen[~(seen[:, -RECENT:].sum(axis=1) >= MIN_RECENT)] = False
    here = np.asarray(seen.any(axis=1))
    if here.sum() < MIN_PEERS + 1:
        return [_refused(d, name, int(here.sum()) - 1, "too few peers") for d in devices]
    fleet = _Pooled(np.where(seen, y, 0.0), np.where(seen[:, :, None], x, 0.0), seen)
    return [
        _standing(devices[m], name, unit, m, fleet)
        if here[m]
        else _refused(devices[m], name, 0, "too few days recorded lately")
        for m in range(len(devices))
    ]


class _Pooled:
    """One signal of the fleet: what the regression over a machine's peers needs.

    The conditions are scaled to unit spread. Each machine's level is a random intercept, taken
    care of by quasi-demeaning: a share of its mean that grows with the spread between machines.
    """

    def __init__(self, y: Vector, x: Vector, seen: Which) -> None:
        self.y, self.seen = y, seen
        self.count = np.maximum(seen.sum(axis=1), 1)
        pooled = x[seen]
        scale = pooled.std(axis=0)
        self.x = x * np.where(scale > 1e-9, 1 / np.maximum(scale, 1e-9), 0.0)
        self.y_mean = y.sum(axis=1) / self.count
        self.x_mean = self.x.sum(axis=1) / self.count[:, None]
        self.total = float(y[seen].var()) + 1e-300
        self.theta = np.zeros(len(y))
        self.noise = self.total
        everyone = np.asarray(seen.any(axis=1))
        for _ in range(_ITERATIONS):
            self._transform()
            slopes, _ = self.slopes(everyone)
            self._variances(slopes, everyone)
        self._transform()
        lately = seen[:, -RECENT:]
        self.y_now = _mean(y[:, -RECENT:, None], lately)[:, 0]
        self.x_now = _mean(self.x[:, -RECENT:], lately)
        self.low = np.where(seen[:, :, None], self.x, np.inf).min(axis=1)
        self.high = np.where(seen[:, :, None], self.x, -np.inf).max(axis=1)
        self.trend = self._trends()

    def _transform(self) -> None:
        keep = self.seen[:, :, None]
        ones = np.where(self.seen, 1 - self.theta[:, None], 0.0)[:, :, None]
        xs = np.where(keep, self.x - (self.theta[:, None] * self.x_mean)[:, None, :], 0.0)
        ys = np.where(self.seen, self.y - (self.theta * self.y_mean)[:, None], 0.0)
        design = np.concatenate([ones, xs], axis=2)
        self.squares = np.einsum("mdi,mdj->mij", design, design)
        self.cross = np.einsum("mdi,md->mi", design, ys)

    def slopes(self, who: Which) -> tuple[Vector, Vector]:
        """Return the conditions' slopes over these machines, and their covariance.

        One standard deviation of a condition is thought to move the signal about as much as the
        signal's whole spread; so slopes that the data do not tell stay small and uncertain.
        """
        squares = self.squares[who].sum(axis=0)
        prior = np.full(len(squares), self.noise / self.total)
        prior[0] = 1e-9
        inverse = np.linalg.inv(squares + np.diag(prior))
        weights = inverse @ self.cross[who].sum(axis=0)
        return weights[1:], self.noise * inverse[1:, 1:]

    def _trends(self) -> Vector:
        """Return every machine's slope against the fleet's course, and Kendall's p-value."""
        slopes, _ = self.slopes(np.asarray(self.seen.any(axis=1)))
        adjusted = np.where(self.seen, self.y - self.x @ slopes, np.nan)
        enough = self.seen.sum(axis=0) > MIN_PEERS
        course = np.nanmedian(np.where(enough, adjusted, 0.0), axis=0)
        found = np.full((len(adjusted), 2), np.nan)
        for m, series in enumerate(np.where(enough, adjusted - course, np.nan)):
            days = int((~np.isnan(series)).sum())
            if days >= MIN_TREND:
                slope, statistic = theil_sen(series)
                found[m] = slope, kendall(days, statistic)
        return found

    def _variances(self, slopes: Vector, who: Which) -> None:
        rest = np.where(self.seen, self.y - self.x @ slopes, 0.0)
        level = rest.sum(axis=1) / self.count
        within = np.abs((rest - level[:, None])[self.seen])
        self.noise = max((1.4826 * float(np.median(within))) ** 2, 1e-12 * self.total)
        between = max(spread(level[who]) ** 2 - self.noise / float(np.median(self.count[who])), 0.0)
        self.theta = 1 - np.sqrt(self.noise / (self.noise + self.count * between))


def _standing(device: str, name: str, unit: str, m: int, p: _Pooled) -> Standing:
    peers = np.asarray(p.seen.any(axis=1))
    peers[m] = False
    count = int(peers.sum())
    low, high = p.low[peers].min(axis=0), p.high[peers].max(axis=0)
    margin = _EXTRAPOLATE * (high - low) + 1e-9
    if ((p.x_now[m] < low - margin) | (p.x_now[m] > high + margin)).any():
        return _refused(device, name, count, "its peers have not run like this")
    slopes, covariance = p.slopes(peers)
    level = p.y_now - p.x_now @ slopes
    apart = p.x_now[m] - p.x_now[peers].mean(axis=0)
    unsure = float(apart @ covariance @ apart)
    if unsure > spread(level[peers]) ** 2:
        return _refused(device, name, count, "its conditions are too different")
    sigmas, p_level = position(float(level[m]), level[peers], unsure)
    trend, p_trend = _trend(p.trend, m)
    p_value = min(1.0, 2 * min(p_level, p_trend))
    away = float(level[m]) - centre(level[peers])
    text = f"{abs(away):.3g} {unit} {'above' if away > 0 else 'below'} its {count} peers"
    text += f" under the same conditions, {abs(sigmas):.1f} times their spread"
    if trend is not None:
        text += f"; {'rising' if trend > 0 else 'falling'} by {abs(trend):.3g} {unit} a day"
    return Standing(device, name, count, sigmas, p_value, trend, stands_out=False, text=text)


def _mean(values: Vector, seen: Which) -> Vector:
    mean: Vector = (values * seen[:, :, None]).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)[
        :, None
    ]
    return mean


def _refused(device: str, name: str, peers: int, why: str) -> Standing:
    return Standing(
        device,
        name,
        max(peers, 0),
        None,
        None,
        None,
        stands_out=False,
        text=f"no comparison: {why}",
    )


def _trend(trends: Vector, m: int) -> tuple[float | None, float]:
    """Return a machine's slope per day, and how unusual it is among its peers and in itself."""
    own, chance = trends[m]
    others = np.delete(trends[:, 0], m)
    others = others[~np.isnan(others)]
    if np.isnan(own):
        return None, 1.0
    if len(others) < MIN_PEERS:
        return float(own), 1.0
    return float(own), max(float(chance), position(float(own), others)[1])


def position(value: float, peers: Vector, extra: float = 0.0) -> tuple[float, float]:
    """Return how many spreads a value stands from its peers, and the two-sided p-value.

    With Hodges-Lehmann centre and Shamos spread the ratio has the tails of Student's t with two
    degrees of freedom less than there are peers, or lighter ones: simulated for 4 to 39 peers down
    to p = 0.0001, where the two differ by less than 5 % from 10 peers on.

    Args:
        value: the machine's.
        peers: the others', at least three.
        extra: variance that the value has beyond the peers' spread.
    """
    scale = math.sqrt(spread(peers) ** 2 * (1 + 1 / len(peers)) + extra)
    away = value - centre(peers)
    if scale <= 1e-12 * (abs(value) + 1e-300):
        return 0.0, 1.0
    return away / scale, student(abs(away) / scale, max(len(peers) - 2, 1))


def student(t: float, freedom: int) -> float:
    """Return the two-sided tail of Student's t (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    angle = math.atan2(t, math.sqrt(freedom))
    cosine2 = math.cos(angle) ** 2
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for k in range(1, freedom // 2 + 1):
        total += term
        term *= cosine2 * (2 * k / (2 * k + 1) if odd else (2 * k - 1) / (2 * k))
    inside = math.sin(angle) * total
    if odd:
        inside = 2 / math.pi * (angle + inside)
    return min(max(1.0 - inside, 0.0), 1.0)


def theil_sen(series: Vector) -> tuple[float, int]:
    """Return the median slope of all pairs of days, and Kendall's sum of signs; NaN is skipped."""
    at = np.flatnonzero(~np.isnan(series))
    i, j = np.triu_indices(len(at), 1)
    rise = series[at[j]] - series[at[i]]
    return float(np.median(rise / (at[j] - at[i]))), int(np.sign(rise).sum())


def kendall(count: int, statistic: int) -> float:
    """Return the exact two-sided p-value of Kendall's sum of signs; ties only make it larger."""
    tail = _orders(count)
    least = (count * (count - 1) // 2 - abs(statistic)) // 2
    return min(1.0, 2 * float(tail[: least + 1].sum()))


@cache
def _orders(count: int) -> Vector:
    """Return the share of the orders of so many values by their number of inversions."""
    shares = np.ones(1)
    for n in range(2, count + 1):
        shares = np.convolve(shares, np.full(n, 1 / n))
    return shares


def _discover(found: list[Standing]) -> list[Standing]:
    """Mark what stands out at the false discovery rate."""
    chances = np.sort([s.p_value for s in found if s.p_value is not None])
    allowed = FALSE_SHARE * np.arange(1, len(chances) + 1) / max(len(chances), 1)
    below = np.flatnonzero(chances <= allowed)
    limit = chances[below[-1]] if len(below) else -1.0
    return [
        Standing(
            s.device, s.signal, s.peers, s.sigmas, s.p_value, s.trend_per_day,
            s.p_value is not None and s.p_value <= limit, s.text,
        )
        for s in found
    ]  # fmt: skip
