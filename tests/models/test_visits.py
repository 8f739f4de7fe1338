"""A mode never commissioned is learned from healthy visits, and nothing else is."""

import msgspec
import numpy as np
import pytest

from contract.telemetry import Reading
from models import visits
from models.monitor import Assessment, Monitor, State
from models.reference import unpack
from models.settings import DEFAULT
from tests.models import plant

HOUR_NS = 3_600_000_000_000
ECO_ONLY_H = 1.2
"""So long the machine is kept in its economy mode (3); then it is normally in mode 2 as well."""
NEW, KNOWN = 2, 3


@pytest.fixture(scope="module")
def commissioned() -> bytes:
    monitor = Monitor(plant.machine())
    judge(monitor, rows(ECO_ONLY_H))
    assert monitor.progress == 1.0
    return monitor.save()


def rows(hours: float, since: float = 0.0, **what: object) -> list[Reading]:
    found = plant.readings(hours, seed=3, eco=((0, ECO_ONLY_H),), **what)  # type: ignore[arg-type]
    return [r for r in found if r.time_ns >= plant.START_NS + since * HOUR_NS]


def judge(monitor: Monitor, readings: list[Reading]) -> list[Assessment]:
    return [monitor.update(r) for r in readings]


def states(readings: list[Reading], seen: list[Assessment], mode: int, since: float) -> list[State]:
    pairs = zip(readings, seen, strict=True)
    start_ns = plant.START_NS + since * HOUR_NS
    return [a.state for r, a in pairs if r.values["mode"] == mode and r.time_ns >= start_ns]


def test_a_new_mode_is_judged_after_healthy_visits(commissioned: bytes) -> None:
    readings = rows(6.0, ECO_ONLY_H)
    seen = judge(Monitor.restore(plant.machine(), commissioned), readings)
    assert State.ALARM not in {a.state for a in seen}
    early = [a.state for r, a in zip(readings, seen, strict=True) if r.values["mode"] == NEW]
    assert set(early[:300]) == {State.UNJUDGED}
    late = states(readings, seen, NEW, 4.5)
    assert late.count(State.HEALTHY) > 0.7 * len(late)


def test_a_fault_in_a_mode_learned_later_is_found(commissioned: bytes) -> None:
    readings = rows(5.5, ECO_ONLY_H, faults=(("pressure", 5.0, 9, -12.0),))
    seen = judge(Monitor.restore(plant.machine(), commissioned), readings)
    for mode in (NEW, KNOWN):
        late = states(readings, seen, mode, 5.2)
        assert set(late) <= {State.ALARM, State.UNJUDGED}
        assert late.count(State.ALARM) > 0.5 * len(late)


def test_a_fault_that_begins_in_a_new_mode_is_not_learned(commissioned: bytes) -> None:
    monitor = Monitor.restore(plant.machine(), commissioned)
    readings = rows(4.0, ECO_ONLY_H, faults=(("flow", 1.25, 9, -9.0),))
    first = next(r for r in readings if r.values["mode"] == NEW)
    assert first.time_ns < plant.START_NS + 1.25 * HOUR_NS
    seen = judge(monitor, readings)
    late = states(readings, seen, KNOWN, 2.0)
    assert set(late) <= {State.ALARM, State.UNJUDGED}
    assert late.count(State.ALARM) > 0.5 * len(late)
    assert State.HEALTHY not in states(readings, seen, NEW, 1.2)
    assert monitor._state.visits.modes == []


def test_a_machine_that_stays_in_a_new_mode_stays_unjudged(commissioned: bytes) -> None:
    readings = [msgspec.structs.replace(r, values={**r.values, "mode": 2.0}) for r in rows(4, 1.3)]
    seen = judge(Monitor.restore(plant.machine(), commissioned), readings)
    assert {a.state for a in seen[12:]} == {State.UNJUDGED}


def test_learning_on_gives_what_longer_commissioning_would_have_given(commissioned: bytes) -> None:
    reference = Monitor.restore(plant.machine(), commissioned)._state.reference
    assert reference is not None
    rng = np.random.default_rng(1)
    count, width = reference.weights.shape
    phi = rng.normal(size=(200, count, width))
    y = np.einsum("nij,ij->ni", phi, reference.weights) + reference.sigma * rng.normal(
        size=(200, count)
    )
    c = visits.Visits([])
    for row, values in zip(phi, y, strict=True):
        visits.watch(
            c, reference, DEFAULT, mode=np.ones(5), phi=row, y=values, smoothed=np.zeros(count),
            gap=np.zeros(2), score=None,
        )  # fmt: skip
    assert c.trial is not None
    assert c.inverse is not None
    free = unpack(visits.Learned.begin(np.ones(5), reference, DEFAULT).inverse, width)
    alpha = 1 - np.exp(-1 / DEFAULT.smoothing_samples)
    for j in range(count):
        memory = np.clip(reference.smooth_sigma[j] ** 2 * (2 - alpha) / alpha, 1, 50)
        precision = np.linalg.inv(free[j])
        longer = precision + phi[:, j].T @ phi[:, j] / memory
        cross = precision @ reference.weights[j] + phi[:, j].T @ y[:, j] / memory
        assert np.allclose(np.linalg.solve(longer, cross), c.trial.weights[j], rtol=1e-6, atol=1e-6)
        assert np.allclose(np.linalg.inv(longer), c.inverse[j], rtol=1e-4, atol=1e-9)
