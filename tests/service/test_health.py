"""Machines with a release beside machines without it, from live boards to p-values."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import pytest

from cloud.adapters.board import Board
from cloud.core.rollout_states import (
    Compared,
    Gate,
    Order,
    Phase,
    Policy,
    Rollout,
    Stage,
    Update,
    UpdatePhase,
)
from cloud.service.buckets import BUCKET_NS, BUCKETS
from cloud.service.health import Comparison
from contract.errors import Malformed
from contract.machines import library
from models.monitor import STATES, State

NS = 1_000_000_000
MINUTE = 60 * NS
ALARM, HEALTHY = STATES.index(State.ALARM), STATES.index(State.HEALTHY)
START = 1_800_000_000 * NS // BUCKET_NS * BUCKET_NS
PUMP = library()["centrifugal_pump"]
NAMES = [s.name for s in PUMP.signals]
POLICY = Policy(stages=[Stage(count=5), Stage(percent=100)], gate=Gate(controls_min=20))
UPDATED_AT = START + 90 * MINUTE
WATCHED_AT = UPDATED_AT + 4 * MINUTE
Change = Callable[["Fleet", int], None]


@dataclass
class Fleet:
    """Machines on one board; what they show is set by hand."""

    folder: Path
    count: int = 40
    score: np.ndarray = field(init=False)
    values: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.devices = [f"pump-{i}" for i in range(self.count)]
        self.board = Board.create(self.folder / "board", self.devices, len(NAMES))
        self.dice = np.random.default_rng(1)
        self.score = np.full(self.count, 0.3)
        self.values = np.full((self.count, len(NAMES)), 10.0)
        self.heard = np.ones(self.count, bool)
        self.lag_ns = np.zeros(self.count, np.int64)

    def show(self, now_ns: int) -> None:
        on = self.heard
        noise = 0.01 * self.dice.standard_normal(self.count)
        self.board.score[on] = (self.score + noise)[on]
        state = np.where(self.score >= 1.0, ALARM, HEALTHY)
        self.board.state[on] = state[on]
        self.board.values[on] = (self.values + noise[:, np.newaxis])[on]
        self.board.last_ns[on] = now_ns - self.lag_ns[on]

    def run(
        self, comparison: Comparison, begin_ns: int, end_ns: int, change: Change | None = None
    ) -> None:
        for now_ns in range(begin_ns, end_ns, MINUTE):
            if change is not None:
                change(self, now_ns)
            self.show(now_ns)
            comparison.sample(now_ns, [self.board])


def rollout(number: int = 1, phase: Phase = Phase.RUNNING) -> Rollout:
    return Rollout(
        number=number,
        order=Order(machine_type=PUMP.name, version="2.0.0", policy=POLICY),
        phase=phase,
        author="someone",
        high_risk=False,
        created_ns=START,
        entered_ns=START,
    )


def update(device: str, **fields: object) -> Update:
    plain = Update(number=1, device=device, site="hall", stage=0)
    return msgspec.structs.replace(plain, **fields)


def updates(fleet: Fleet, *which: int, **fields: object) -> dict[str, Update]:
    """Return a rollout's updates: those of some machines as given, the others wait."""
    return {
        d: update(d, action=100_000 + i, **fields) if i in which else update(d)
        for i, d in enumerate(fleet.devices)
    }


def watched(fleet: Fleet, *which: int) -> dict[str, Update]:
    return updates(fleet, *which, phase=UpdatePhase.WATCHING, watched_ns=WATCHED_AT)


def compared(
    fleet: Fleet, *which: int, change: Change | None = None, comparison: Comparison | None = None
) -> dict[str, Compared]:
    """Update machines after ninety minutes and return what the first look says of each."""
    c = comparison or Comparison(PUMP, fleet.devices)
    installing = updates(fleet, *which, phase=UpdatePhase.INSTALLING)
    fleet.run(c, START, UPDATED_AT)
    assert c.due(rollout(), installing, UPDATED_AT) == []
    fleet.run(c, UPDATED_AT, WATCHED_AT + 13 * MINUTE, change)
    found = c.due(rollout(), watched(fleet, *which), WATCHED_AT + 13 * MINUTE)
    return {one.device: one for one in found}


def test_a_machine_that_got_worse_ranks_first(tmp_path: Path) -> None:
    def worse(fleet: Fleet, now_ns: int) -> None:
        fleet.score[0] = 0.5

    fleet = Fleet(tmp_path)
    found = compared(fleet, 0, change=worse)["pump-0"]
    assert found.look == 0
    assert len(found.p_values) == 1 + len(PUMP.key_signals) + 1
    assert found.p_values[0] == 1 / 40
    assert all(p > 1 / 40 for p in found.p_values[1:])


@pytest.mark.parametrize("key", PUMP.key_signals, ids=lambda k: k.signal)
@pytest.mark.parametrize("towards", [1.0, -1.0])
def test_each_key_signal_has_its_worse_direction(
    tmp_path: Path, key: object, towards: float
) -> None:
    at = PUMP.key_signals.index(key)  # type: ignore[arg-type]
    name, worse = PUMP.key_signals[at].signal, PUMP.key_signals[at].worse.value

    def change(fleet: Fleet, now_ns: int) -> None:
        fleet.values[0, NAMES.index(name)] = 10.0 + towards

    p = compared(Fleet(tmp_path), 0, change=change)["pump-0"].p_values[1 + at]
    assert p == (1 / 40 if (towards > 0) == (worse == "above") else 1.0)


def test_weather_that_all_have_is_nobodys_harm(tmp_path: Path) -> None:
    def weather(fleet: Fleet, now_ns: int) -> None:
        fleet.score[:] = 0.9
        fleet.values[:] = 20.0

    found = compared(Fleet(tmp_path), 0, 1, 2, change=weather)
    assert np.mean([p for one in found.values() for p in one.p_values]) > 0.2


def test_who_falls_silent_ranks_worst_and_ties_with_others_that_do(tmp_path: Path) -> None:
    def silent(fleet: Fleet, now_ns: int) -> None:
        fleet.heard[[0, 7, 8]] = now_ns < WATCHED_AT + 2 * MINUTE
        fleet.score[1] = 0.6

    found = compared(Fleet(tmp_path), 0, 1, change=silent)
    assert found["pump-0"].p_values == [1.0] * 5 + [3 / 39]
    assert found["pump-1"].p_values[0] == 1 / 37, "who is silent does not hide who is worse"
    assert found["pump-1"].p_values[-1] == 1.0


@pytest.mark.parametrize("silent", [False, True])
def test_who_was_taken_back_as_unhealthy_is_compared_all_the_same(
    tmp_path: Path, silent: bool
) -> None:
    back_ns = WATCHED_AT + 10 * MINUTE

    def worse(fleet: Fleet, now_ns: int) -> None:
        sick = now_ns < back_ns
        fleet.heard[0] = not (silent and sick)
        fleet.score[0] = 2.0 if sick and not silent else 0.2

    fleet = Fleet(tmp_path)
    comparison = Comparison(PUMP, fleet.devices)
    installing = updates(fleet, 0, phase=UpdatePhase.INSTALLING)
    fleet.run(comparison, START, UPDATED_AT)
    comparison.due(rollout(), installing, UPDATED_AT)
    fleet.run(comparison, UPDATED_AT, WATCHED_AT + 13 * MINUTE, worse)
    back = updates(fleet, 0, phase=UpdatePhase.REVERTING, watched_ns=WATCHED_AT, harm="in alarm")
    back["pump-0"] = msgspec.structs.replace(back["pump-0"], action=100_099)
    assert comparison.due(rollout(), back, back_ns) == []
    (found,) = comparison.due(rollout(), back, WATCHED_AT + 13 * MINUTE)
    assert found.p_values[0] == (1.0 if silent else 1 / 40)
    assert found.p_values[-1] == (1 / 40 if silent else 1.0)
    assert found.p_values[1:-1] == [1.0] * 4


def test_an_alarm_ranks_worst_however_high_the_score_was(tmp_path: Path) -> None:
    def worse(fleet: Fleet, now_ns: int) -> None:
        minute = (now_ns - WATCHED_AT) // MINUTE
        fleet.score[0] = 0.9
        fleet.score[7] = 1.2 if 6 <= minute < 10 else 0.3

    assert compared(Fleet(tmp_path), 0, change=worse)["pump-0"].p_values[0] == 2 / 40


def test_a_key_signal_that_is_gone_is_the_worst_change(tmp_path: Path) -> None:
    def gone(fleet: Fleet, now_ns: int) -> None:
        fleet.values[0, NAMES.index("vibration_mm_s")] = np.nan
        fleet.score[1] = np.nan

    found = compared(Fleet(tmp_path), 0, 1, change=gone)
    assert found["pump-0"].p_values[1] == 1 / 39
    assert found["pump-1"].p_values[0] == 1.0, "a stopped machine is not judged, which is no harm"


def test_no_control_is_in_alarm_before_or_silent_or_under_update(tmp_path: Path) -> None:
    def worse(fleet: Fleet, now_ns: int) -> None:
        fleet.score[0] = 0.5
        fleet.heard[5] = True

    fleet = Fleet(tmp_path)
    fleet.score[1] = 1.5
    fleet.heard[5] = False
    comparison = Comparison(PUMP, fleet.devices)
    other = {"pump-9": update("pump-9", phase=UpdatePhase.REVERTING, action=7)}
    comparison.due(rollout(2), other, START + 60 * MINUTE)
    assert (
        compared(fleet, 0, 3, change=worse, comparison=comparison)["pump-0"].p_values[0] == 1 / 36
    )


def test_machines_of_a_stage_are_ranked_among_those_before_them(tmp_path: Path) -> None:
    def worse(fleet: Fleet, now_ns: int) -> None:
        fleet.score[:3] = [0.7, 0.6, 0.5]

    found = compared(Fleet(tmp_path), 0, 1, 2, change=worse)
    assert [found[f"pump-{i}"].p_values[0] for i in range(3)] == [1 / 38, 2 / 39, 3 / 40]


def test_looks_come_in_their_time_and_one_by_one(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    comparison = Comparison(PUMP, fleet.devices)
    fleet.run(comparison, START, UPDATED_AT)
    comparison.due(rollout(), updates(fleet, 0, phase=UpdatePhase.CHECKING), UPDATED_AT)
    one, looks = watched(fleet, 0), []
    for now_ns in range(UPDATED_AT, WATCHED_AT + 80 * MINUTE, MINUTE):
        fleet.run(comparison, now_ns, now_ns + MINUTE)
        for found in comparison.due(rollout(), one, now_ns):
            looks.append((found.look, (now_ns - WATCHED_AT) // MINUTE))
            taken = [*one[found.device].looks, found.p_values]
            one[found.device] = msgspec.structs.replace(one[found.device], looks=taken)
    assert [look for look, _ in looks] == [0, 1, 2]
    assert all(abs(at - due) <= 2 for (_, at), due in zip(looks, [12, 30, 60], strict=True))
    assert looks[-1][1] <= 60, "the last look comes before the stage can end"


def test_with_too_few_controls_nothing_is_said(tmp_path: Path) -> None:
    assert compared(Fleet(tmp_path, count=20), 0) == {}
    assert len(compared(Fleet(tmp_path, count=21), 0)) == 1


def test_without_a_baseline_nothing_is_said(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    comparison = Comparison(PUMP, fleet.devices)
    fleet.run(comparison, UPDATED_AT, WATCHED_AT + 13 * MINUTE)
    assert comparison.due(rollout(), watched(fleet, 0), WATCHED_AT + 13 * MINUTE) == []


def test_who_was_not_seen_to_begin_is_compared_with_before_it_can_have_begun(
    tmp_path: Path,
) -> None:
    def worse(fleet: Fleet, now_ns: int) -> None:
        fleet.score[0] = 0.5 if now_ns > WATCHED_AT - 60 * MINUTE else 0.3

    fleet = Fleet(tmp_path)
    comparison = Comparison(PUMP, fleet.devices)
    fleet.run(comparison, START - 90 * MINUTE, WATCHED_AT + 13 * MINUTE, worse)
    found = comparison.due(rollout(), watched(fleet, 0), WATCHED_AT + 13 * MINUTE)
    assert [one.p_values[0] for one in found] == [1 / 40]


def test_clocks_that_are_wrong_and_late_readings_do_no_harm(tmp_path: Path) -> None:
    def worse(fleet: Fleet, now_ns: int) -> None:
        fleet.score[:2] = 0.5

    fleet = Fleet(tmp_path)
    fleet.lag_ns[0] = 3600 * 24 * 365 * NS
    fleet.lag_ns[2] = -400 * NS
    fleet.lag_ns[3] = 90 * NS
    found = compared(fleet, 0, 2, 3, change=worse)
    assert found["pump-0"].p_values[0] == 2 / 38
    assert found["pump-2"].p_values[0] > 2 / 38


def test_a_restart_changes_nothing(tmp_path: Path) -> None:
    def worse(fleet: Fleet, now_ns: int) -> None:
        fleet.score[:3] = [0.7, 0.6, 0.5]

    fleet = Fleet(tmp_path)
    through = Comparison(PUMP, fleet.devices)
    through.due(rollout(), updates(fleet, 3, phase=UpdatePhase.CHECKING), UPDATED_AT)
    compared(fleet, 0, 1, 2, change=worse, comparison=through)
    again = Comparison(PUMP, [*reversed(fleet.devices), "pump-new"])
    again.restore(through.snapshot())
    with_new, at = watched(fleet, 0, 1, 2, 3), WATCHED_AT + 13 * MINUTE
    expected = {c.device: c.p_values for c in through.due(rollout(), with_new, at)}
    assert {c.device: c.p_values for c in again.due(rollout(), with_new, at)} == expected
    assert len(expected) == 4


def test_a_snapshot_that_is_damaged_or_of_others_is_refused(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, count=3)
    saved = Comparison(PUMP, fleet.devices).snapshot()
    with pytest.raises(Malformed):
        Comparison(PUMP, fleet.devices).restore(saved[:-20] + bytes(20))
    with pytest.raises(Malformed):
        Comparison(library()["chiller"], fleet.devices).restore(saved)


def test_old_buckets_are_forgotten(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, count=2)
    comparison = Comparison(PUMP, fleet.devices)
    fleet.run(comparison, START, START + 10 * MINUTE)
    later = START + BUCKETS * BUCKET_NS + 6 * MINUTE
    comparison.sample(later, [fleet.board])
    points = comparison.view(rollout(), {}, 8.0).points
    assert [p.control for p in points if p.control is not None] == pytest.approx([0.3], abs=0.1)


def test_people_see_updated_machines_beside_the_others(tmp_path: Path) -> None:
    def worse(fleet: Fleet, now_ns: int) -> None:
        fleet.score[:2] = 0.8

    fleet = Fleet(tmp_path)
    comparison = Comparison(PUMP, fleet.devices)
    compared(fleet, 0, 1, change=worse, comparison=comparison)
    health = comparison.view(rollout(), watched(fleet, 0, 1), 8.0)
    assert (health.measures[0], health.measures[-1], health.controls) == ("score", "silence", 38)
    assert health.log_threshold == 8.0
    before = [p for p in health.points if p.at_ns < WATCHED_AT - BUCKET_NS]
    after = [p for p in health.points if p.at_ns > WATCHED_AT]
    assert before
    assert all(p.updated is None for p in before)
    assert all(p.updated == pytest.approx(0.8, abs=0.05) for p in after)
    assert all(p.control == pytest.approx(0.3, abs=0.05) for p in after)
    assert all((p.control_high or 0) >= (p.control or 0) for p in after)
    back = updates(fleet, 0, 1, phase=UpdatePhase.REVERTING, watched_ns=WATCHED_AT)
    comparison.due(rollout(), back, WATCHED_AT + 6 * MINUTE)
    points = comparison.view(rollout(), back, 8.0).points
    assert points[-1].updated is None
    assert any(p.updated is not None for p in points)


def test_a_look_at_ten_thousand_machines_is_quick(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, count=10_000)
    found: Mapping[str, Compared] = {}
    comparison = Comparison(PUMP, fleet.devices)
    compared(fleet, *range(50), comparison=comparison)
    begin_s = time.process_time()  # what others take from the processor does not count
    found = {
        c.device: c
        for c in comparison.due(rollout(), watched(fleet, *range(50)), WATCHED_AT + 13 * MINUTE)
    }
    assert len(found) == 50
    assert time.process_time() - begin_s < 2.0, "0.1 s is usual"
    assert not math.isnan(sum(p for c in found.values() for p in c.p_values))
