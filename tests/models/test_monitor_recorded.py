"""The compiled monitor says what the plain one said: answers recorded once, before it was compiled.

`recorded_monitor.json` was written by this file as a program (PYTHONPATH=. python
tests/models/test_monitor_recorded.py) in the tree of commit d79e2b9, whose monitor was plain numpy.
Write it anew only where answers are meant to change, and say why.
"""

import json
import random
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from contract.telemetry import Quality, Reading
from models.monitor import Assessment, Monitor, State
from tests.models import plant

RECORDED = Path(__file__).with_name("recorded_monitor.json")
EVERY = 41
"""So many judged rows apart, a row is recorded in full."""
DIGITS = 10


def disturbed(rows: list[Reading], seed: int) -> Iterator[Reading]:
    """Lose, delay, double and spoil some of the readings; set the clock back now and then."""
    dice, names = random.Random(seed), [s.name for s in plant.machine().signals]
    past: list[Reading] = []
    gap = 0
    for r in rows:
        roll, name, gap = dice.random(), dice.choice(names), gap - 1
        if gap > 0:
            continue
        gap = dice.randint(1, 60) if roll < 0.002 else 0
        values, quality = dict(r.values), dict.fromkeys(r.values, Quality.GOOD)
        if 0.95 < roll < 0.97:
            values[name], quality[name] = None, Quality.MISSING
        elif 0.94 < roll < 0.95:
            quality[name] = dice.choice(list(Quality))
        elif 0.935 < roll < 0.94:
            values[name] = dice.choice([1e9, -1e9, float("inf"), float("nan")])
        shift_ns = dice.randint(-(10**9), 10**9) if roll < 0.1 else 0
        past = [*past[-14:], Reading(r.time_ns + shift_ns, values, quality)]
        yield past[-1]
        if 0.9 < roll < 0.91:
            yield from past if roll < 0.901 else [dice.choice(past)]


def walked(rows: list[Reading], name: str, sigmas: float, until: int) -> Iterator[Reading]:
    """Let a signal walk away from row 1,000 on, until it is renewed."""
    for i, r in enumerate(rows):
        away = sigmas * plant.NOISE[name] * min(1.0, max(0, i - 1000) / 1200) * (i < until)
        yield Reading(r.time_ns, {**r.values, name: (r.values[name] or 0.0) + away}, {})


def story(name: str) -> Iterator[Reading]:
    """Return the readings of one recording."""
    if name == "faults, stops and steps":
        two = (("flow", 2.7, 2.9, -8.0), ("metal", 3.2, 3.4, -60.0))
        stops = ((1.8, 1.82), (2.3, 2.5))
        return plant.readings(3.6, 1, stops=stops, steps=((2.0, 8),), faults=two)
    if name == "a mode never commissioned":
        late = (("pressure", 5.2, 9, -12.0),)
        return plant.readings(5.6, 3, eco=((0, 1.2),), stops=((4, 4.1),), faults=late)
    if name == "a bad link":
        stops, one = ((1.7, 1.75), (2.6, 2.9)), (("pressure", 3.2, 3.5, 9.0),)
        return disturbed(list(plant.readings(3.8, 7, stops=stops, faults=one)), 1)
    if name == "a sensor that drifts":
        return walked(list(plant.readings(5.5, 11)), "pressure", 40, 3500)
    rows = list(plant.readings(2.5, 13, faults=(("flow", 1.9, 2.2, -9.0),)))
    old = {i: rows[1100 + i % 40].values for i in (*range(1150, 1250), *range(1400, 1500))}
    return (Reading(r.time_ns, old.get(i, r.values), {}) for i, r in enumerate(rows))


STORIES = (
    "faults, stops and steps", "a mode never commissioned", "a bad link", "a sensor that drifts",
    "old numbers under new times",
)  # fmt: skip


def told(seen: list[Assessment]) -> dict[str, object]:
    """Return what is compared: every state, every failing check, some rows in full."""
    states = bytes(list(State).index(a.state) for a in seen)
    checks = repr([[(c.kind.value, c.signal, c.detail) for c in a.checks] for a in seen])
    judged = [a for a in seen if a.score is not None][::EVERY]
    rows = [
        [round(a.score or 0.0, DIGITS), [[d.signal, round(d.sigmas, DIGITS)] for d in a.deviations]]
        for a in judged
    ]
    return {
        "states": {s.value: sum(a.state is s for a in seen) for s in State},
        "in order": zlib.crc32(states),
        "checks": zlib.crc32(checks.encode()),
        "rows": rows,
    }


@pytest.mark.parametrize("name", STORIES)
def test_answers_are_those_recorded(name: str) -> None:
    monitor = Monitor(plant.machine())
    now = told([monitor.update(r) for r in story(name)])
    then = json.loads(RECORDED.read_text())[name]
    assert now["states"] == then["states"]
    assert now["in order"] == then["in order"]
    assert now["checks"] == then["checks"]
    rows = now["rows"]
    assert isinstance(rows, list)
    for (score, deviations), (its, others) in zip(rows, then["rows"], strict=True):
        assert score == pytest.approx(its, abs=1e-9, rel=1e-9)
        assert [d[0] for d in deviations] == [d[0] for d in others]
        for (_, sigmas), (_, expected) in zip(deviations, others, strict=True):
            assert sigmas == pytest.approx(expected, abs=1e-9, rel=1e-9)


if __name__ == "__main__":
    made = {}
    for title in STORIES:
        one = Monitor(plant.machine())
        made[title] = told([one.update(r) for r in story(title)])
    RECORDED.write_text(msgspec.json.format(msgspec.json.encode(made), indent=0).decode() + "\n")
