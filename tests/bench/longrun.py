"""A synthetic fleet at 1 Hz for long-run evaluation: healthy commissioning, then faults and baits.

`machine` makes one machine from a kind and a seed; the same arguments give the same bits. A
detector sees times and anonymous columns only. Baits are normal operation or trouble of the data
path that must not raise an alarm; faults are labelled row intervals after which the machine is
repaired and recovers. The size of a fault is the shift of its leading signal, fully developed,
in standard deviations of one reading around what physics expects at the operating point.
"""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tests.bench.plants import KINDS, FloatArray, Kind, Plan, lag, settled, wander

SIGMAS = {"easy": (6.0, 8.0), "medium": (3.0, 4.0), "hard": (1.5, 2.0)}
"""Fault size by severity: shift in standard deviations of one reading."""
COMMISSION_H = {"pump": 8.0, "compressor": 8.0, "chiller": 24.0, "batch": 8.0}
"""Usual commissioning; a machine that lives by the day has to be seen for a day."""
SENSOR_FAULTS = ("sensor_bias", "sensor_drift", "sensor_stuck")
HEALTHY_SHARE = 0.3
"""Machines that stay healthy throughout: false alarms need hours without faults."""
CALM_SHARE = 0.5
"""Machines whose commissioning saw no stop and few set-points: it is rarely a full rehearsal."""
BENIGN_DRIFT = 0.8
"""Bound of the slow drift that is no fault, in standard deviations of one reading."""
LEAK_PER_SIGMA = 0.01
"""Share of a compressor's output that a leak takes, per unit of its size: it changes the duty."""
HOUR = 3600


class Fault(NamedTuple):
    """One labelled fault; both rows are inclusive."""

    first_row: int
    last_row: int
    severity: str
    name: str


class Bait(NamedTuple):
    """Something that is no fault and begins at this row."""

    row: int
    name: str


class Machine(NamedTuple):
    """One machine's telemetry and the truth about it."""

    name: str
    times_s: FloatArray
    values: FloatArray
    columns: list[str]
    warmup: int
    faults: list[Fault]
    baits: list[Bait]


class _Course(NamedTuple):
    """What is planned for a machine, in seconds since its start."""

    plan: Plan
    start_s: int
    faults: list[Fault]
    profiles: list[FloatArray]
    baits: list[Bait]
    busy: NDArray[np.bool_]
    """Times around faults and stops, free of baits that would hide or cure a fault."""


class _Truth(NamedTuple):
    """What nobody outside knows about a machine's signals, on a gapless clock."""

    kind: Kind
    names: list[str]
    expected: FloatArray
    """(n, d): what physics expects of the healthy machine."""
    load: FloatArray
    scatter: FloatArray
    """(d,): standard deviation of one healthy reading around what is expected."""


def machine(kind: str, seed: int, commission_h: float, hours: float) -> Machine:
    """Return a machine: ``commission_h`` healthy hours, then ``hours`` with faults and baits.

    Raises:
        ValueError: less than an hour of either.
    """
    if commission_h < 1 or hours < 1:
        raise ValueError(f"{commission_h} h and {hours} h: nothing to see in less than an hour")
    course, _, values = _signals(kind, seed, commission_h, hours)
    return _disturbed(kind, seed, course, values)


def _rng(kind: str, seed: int, purpose: str) -> Generator:
    """Return random numbers of their own for each purpose: leaving one out moves no other."""
    return np.random.default_rng([seed, *f"{kind}/{purpose}".encode()])


def _signals(
    name: str, seed: int, commission_h: float, hours: float
) -> tuple[_Course, _Truth, FloatArray]:
    """Return what is planned, the truth, and what the sensors read (n, d)."""
    course = _course(name, seed, commission_h, hours)
    kind = KINDS[name]
    signals, load = kind.physics(course.plan, _rng(name, seed, "plant"))
    names, faults = _chosen(kind, list(signals), course, _rng(name, seed, "choice"))
    course = course._replace(faults=faults)
    for fault, profile in zip(faults, course.profiles, strict=True):
        if fault.name == "leak":
            course.plan.leak[fault.first_row : fault.last_row + 1] = LEAK_PER_SIGMA * profile
            signals, load = kind.physics(course.plan, _rng(name, seed, "plant"))
    rng = _rng(name, seed, "noise")
    d = len(names)
    usual = np.array([signals[s][1] for s in names])
    sigma = usual * rng.uniform(0.6, 1.6) * rng.uniform(0.7, 1.4, d)
    step = sigma * rng.choice([0.0, 0.2, 0.5, 1.0], d)
    expected = np.column_stack([signals[s][0] for s in names])
    # rounding to steps adds a uniform error
    truth = _Truth(kind, names, expected, load, np.sqrt(sigma**2 + step**2 / 12))
    values = expected + _noise(load, d, rng) * sigma
    _drift_benignly(values, sigma, course.start_s, rng)
    for fault, profile in zip(faults, course.profiles, strict=True):
        apply = _apply_to_sensor if fault.name in SENSOR_FAULTS else _apply
        apply(fault, profile, truth, values, _rng(name, seed, str(fault)))
    rough = step > 0
    values[:, rough] = np.round(values[:, rough] / step[rough]) * step[rough]
    return course, truth, values


def _course(kind: str, seed: int, commission_h: float, hours: float) -> _Course:
    rng = _rng(kind, seed, "course")
    start, n = int(commission_h * HOUR), int((commission_h + hours) * HOUR)
    healthy = rng.random() < HEALTHY_SHARE
    faults, profiles = ([], []) if healthy else _fault_times(rng, start, n)
    busy = np.zeros(n, bool)  # around faults nothing happens that would hide or cure them
    for f in faults:
        busy[max(f.first_row - 900, 0) : f.last_row + 1800] = True
    baits: list[Bait] = []
    hour = (rng.uniform(0, 24) + np.arange(n) / HOUR) % 24
    calm = rng.random() < CALM_SHARE
    running = _stops(rng, 0 if not calm else start, start, busy, baits)
    setpoint = _setpoints(rng, start, n, baits, calm=calm)
    new_mode = np.zeros(n)
    if hours >= 3 and rng.random() < 0.6:
        length = int(rng.uniform(4500, 7200))  # a batch begins within the longest recipe's time
        first = _free(rng, start + 1800, n, length + 1800, busy)
        if first is not None:
            new_mode[first : first + length] = 1.0
            baits.append(Bait(first, "new_mode"))
    ambient = _weather(rng, start, hour, baits)
    smooth = lag(new_mode, 20.0, 0.0)
    plan = Plan(hour, running, setpoint, smooth, ambient, np.zeros(n))
    return _Course(plan, start, faults, profiles, baits, busy)


def _fault_times(rng: Generator, start: int, n: int) -> tuple[list[Fault], list[FloatArray]]:
    """Return two to four faults, each somewhere in its own equal share of the time."""
    slots = min(int(rng.integers(2, 5)), int((n - start) / (2 * HOUR)))
    faults, profiles = [], []
    severities = rng.permutation([*SIGMAS, str(rng.choice(list(SIGMAS)))]).tolist()
    for slot in range(slots):
        share = (n - start - 900) // slots
        length = int(min(rng.uniform(20, 90) * 60, share - 4500))
        first = start + 900 + slot * share + int(rng.uniform(900, share - length - 2700))
        severity = severities[slot]
        faults.append(Fault(first, first + length - 1, severity, ""))
        ramp = 0 if rng.random() < 0.5 else int(rng.uniform(120, 0.5 * length))
        profile = np.minimum((np.arange(length) + 1) / max(ramp, 1), 1.0)
        profiles.append(profile * rng.uniform(*SIGMAS[severity]))
    return faults, profiles


def _free(
    rng: Generator, first: int, last: int, length: int, busy: NDArray[np.bool_]
) -> int | None:
    """Return a random second from which ``length`` seconds are free, and take them."""
    for _ in range(50):
        if last - length <= first:
            return None
        at = int(rng.integers(first, last - length))
        if not busy[at : at + length].any():
            busy[at : at + length] = True
            return at
    return None


def _stops(
    rng: Generator, begin: int, start: int, busy: NDArray[np.bool_], baits: list[Bait]
) -> FloatArray:
    """Stop the machine for minutes, about every eight hours; the warm-up follows by itself."""
    n = busy.size
    running = np.ones(n)
    for first, last in ((begin, start), (start, n)):
        for _ in range(rng.poisson((last - first) / (8 * HOUR))):
            length = int(rng.uniform(180, 1200))
            at = _free(rng, first + 900, last, length + 1800, busy)
            if at is not None:
                running[at : at + length] = 0.0
                baits.extend([Bait(at, "stop"), Bait(at + length, "restart")])
    return running


def _setpoints(rng: Generator, start: int, n: int, baits: list[Bait], *, calm: bool) -> FloatArray:
    """Return piecewise constant set-points; a new one lies outside of what commissioning saw."""
    setpoint = np.empty(n)
    levels = np.sort(rng.uniform(0.2, 0.8, rng.integers(3, 6)))
    at, low, high = 0, 1.0, 0.0
    while at < n:
        commissioning = at < start
        known = commissioning or rng.random() < 0.5
        now = float(rng.choice(levels) if known else rng.uniform(levels[0], levels[-1]))
        setpoint[at:] = now
        if at:
            baits.append(
                Bait(at, "setpoint" if commissioning or low <= now <= high else "new_setpoint")
            )
        if commissioning:
            low, high = min(low, now), max(high, now)
        rehearsed = commissioning and not calm
        between = max(start / 8, 600) if rehearsed else rng.uniform(1, 3) * HOUR
        at += int(between * rng.uniform(0.5, 1.5))
    return setpoint


def _weather(rng: Generator, start: int, hour: FloatArray, baits: list[Bait]) -> FloatArray:
    """Return the ambient deviation: the day, slow weather, and sometimes a cold or hot spell."""
    n = hour.size
    ambient = rng.uniform(2, 7) * np.sin((hour - 9) * np.pi / 12)
    ambient = ambient + rng.uniform(0.3, 1.2) * wander(rng, n, 4 * HOUR)
    if rng.random() < 0.5 and n - start > 2 * HOUR:
        first = int(rng.integers(start + 900, n - HOUR))
        spell = np.zeros(n)
        spell[first : first + int(rng.uniform(2, 8) * HOUR)] = rng.choice([-1, 1]) * rng.uniform(
            5, 11
        )
        ambient = ambient + lag(spell, 2400.0, 0.0)
        baits.append(Bait(first, "ambient"))
    return ambient


def _chosen(
    kind: Kind, signals: list[str], course: _Course, rng: Generator
) -> tuple[list[str], list[Fault]]:
    """Return this machine's signals in random order, and its faults by name."""
    extra = [s for s in signals if s not in kind.core]
    d = int(rng.integers(4, 15))
    names = [*kind.core, *rng.permutation(extra)[: d - len(kind.core)].tolist()]
    names = rng.permutation(names).tolist()
    shown = [
        fault
        for fault, weights in kind.signatures.items()
        if max((abs(w) for s, w in weights.items() if s in names), default=0) >= 0.8
    ]
    # two faults of the process to one of a sensor
    pool = [*shown * 2, *(list(SENSOR_FAULTS) * max(len(shown) // 3, 1))]
    return names, [f._replace(name=str(rng.choice(pool))) for f in course.faults]


def _noise(load: FloatArray, d: int, rng: Generator) -> FloatArray:
    """Return unit noise (n, d): white, fast and slow autoregressive parts, partly common.

    When the machine stands still, most of its noise is gone.
    """
    n = load.size
    common = [wander(rng, n, 10 ** rng.uniform(0.3, 1.6)) for _ in range(2)]
    noise = np.empty((n, d))
    for j in range(d):
        shares = rng.dirichlet([1.5, 1.5, 0.6])
        shares[2] = min(shares[2], 0.3)  # a slow wander of most of the scatter would be a driver
        coupling = rng.uniform(0, 0.4)
        shares *= (1 - coupling) / shares.sum()
        noise[:, j] = np.sqrt(shares[0]) * rng.standard_normal(n)
        noise[:, j] += np.sqrt(shares[1]) * wander(rng, n, 10 ** rng.uniform(0.3, 1.6))
        noise[:, j] += np.sqrt(shares[2]) * wander(rng, n, 10 ** rng.uniform(2.5, 3.4))
        noise[:, j] += np.sqrt(coupling) * rng.choice([-1, 1]) * common[j % 2]
    on: FloatArray = 0.2 + 0.8 * settled((load > 0.02).astype(np.float64), 10.0)
    result: FloatArray = noise * on[:, None]
    return result


def _drift_benignly(values: FloatArray, sigma: FloatArray, start: int, rng: Generator) -> None:
    """Move up to two signals slowly, after commissioning, by less than the smallest fault."""
    n = len(values)
    for j in rng.choice(sigma.size, int(rng.integers(0, 3)), replace=False):
        ramp = np.clip((np.arange(n) - start) / (n - start), 0, 1)
        values[:, j] += ramp * rng.uniform(-BENIGN_DRIFT, BENIGN_DRIFT) * sigma[j]


def _apply(
    fault: Fault, profile: FloatArray, truth: _Truth, values: FloatArray, rng: Generator
) -> None:
    """Let a fault of the process show in all signals of its signature."""
    first, end = fault.first_row, fault.last_row + 1
    signature = truth.kind.signatures[fault.name]
    weights = {s: w for s, w in signature.items() if s in truth.names}
    leading = max(abs(w) for w in weights.values())
    work = 0.4 + 0.6 * truth.load[first:end]
    tail = min(1800, len(values) - end)  # what is slow to come is slow to go
    for signal, weight in weights.items():
        blur = 1.0 if abs(weight) == leading else rng.uniform(0.7, 1.2)
        shift = np.zeros(profile.size + tail)
        shift[: profile.size] = profile * work / work.mean()
        if signal in truth.kind.slow_s:
            shift = lag(shift, truth.kind.slow_s[signal], 0.0)
        j = truth.names.index(signal)
        values[first : end + tail, j] += shift * truth.scatter[j] * blur * weight / leading


def _apply_to_sensor(
    fault: Fault, profile: FloatArray, truth: _Truth, values: FloatArray, rng: Generator
) -> None:
    """Let one sensor be off, run away or stand still; the machine itself is well."""
    first, end = fault.first_row, fault.last_row + 1
    j = int(rng.choice([j for j, s in enumerate(truth.names) if s not in truth.kind.drivers]))
    size = float(rng.choice([-1, 1])) * truth.scatter[j] * profile[-1]
    if fault.name == "sensor_bias":
        values[first:end, j] += size
    elif fault.name == "sensor_drift":
        values[first:end, j] += size * np.minimum(np.linspace(0, 2, profile.size), 1.0)
    else:
        values[first:end, j] = truth.expected[first, j] + size


def _disturbed(kind: str, seed: int, course: _Course, values: FloatArray) -> Machine:
    """Put the values through an imperfect data path and make them anonymous."""
    rng = _rng(kind, seed, "path")
    n, d = values.shape
    # other units: a scale of its own and, for some, another zero
    values = values * 10 ** rng.uniform(-2, 3, d)
    values += rng.choice([0.0, 0.0, 1.0], d) * rng.uniform(-5, 5, d) * values.std(axis=0)
    baits = list(course.baits)
    times = np.arange(n, dtype=np.float64)
    seconds = _rows(rng, course, n, times, baits)
    values = values[seconds]
    place = np.searchsorted(seconds, np.arange(n + 1))
    faults = [
        f._replace(first_row=int(place[f.first_row]), last_row=int(place[f.last_row + 1]) - 1)
        for f in course.faults
    ]
    baits = [Bait(int(min(place[b.row], len(seconds) - 1)), b.name) for b in baits]
    _spoil(rng, values, faults, baits)
    columns = [f"s{j}" for j in range(d)]
    return Machine(
        f"{kind}-{seed}", times[seconds], values, columns, int(place[course.start_s]), faults,
        sorted(baits),
    )  # fmt: skip


def _rows(
    rng: Generator, course: _Course, n: int, times: FloatArray, baits: list[Bait]
) -> NDArray[np.int64]:
    """Return which seconds arrive, some twice, and move the clock under ``times``."""
    copies = (rng.random(n) > 0.01).astype(np.int64)  # 1 % of the rows are lost
    for _ in range(rng.poisson(n / (8 * HOUR))):
        length = int(rng.uniform(60, 600))
        gap = _free(rng, 600, n, length, course.busy)
        if gap is not None:
            copies[gap : gap + length] = 0
            baits.append(Bait(gap, "gap"))
    for _ in range(rng.poisson(n / (8 * HOUR))):
        at = int(rng.integers(600, n - 900))
        copies[at : at + int(rng.uniform(5, 60))] = 2
        baits.append(Bait(at, "duplicates"))
    if rng.random() < 0.5:
        at = int(rng.integers(course.start_s, n - 900))
        jump = float(rng.choice([-1, 1]) * rng.choice([30, 600, HOUR]))
        back = int(rng.integers(at + 600, n))
        times[at:back] += jump
        baits.extend([Bait(at, "clock_jump"), Bait(back, "clock_jump")])
    return np.repeat(np.arange(n), copies)


def _spoil(rng: Generator, values: FloatArray, faults: list[Fault], baits: list[Bait]) -> None:
    """Blank single values and put in one-row spikes, none around the onset of a fault."""
    n, d = values.shape
    span = values.std(axis=0)
    for _ in range(rng.poisson(n / (4 * HOUR))):
        row, j = int(rng.integers(0, n)), int(rng.integers(0, d))
        if all(abs(row - f.first_row) > 120 for f in faults):
            values[row, j] += float(rng.choice([-1, 1])) * rng.uniform(3, 15) * span[j]
            baits.append(Bait(row, "spike"))
    blanks = n * d // 1000
    values[rng.integers(0, n, blanks), rng.integers(0, d, blanks)] = np.nan
