"""The watch sums up hours and days, and a crash counts no reading twice and loses none."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
from msgspec import structs

from cloud.adapters.journal import Entry
from cloud.core.hours import HOUR_NS
from cloud.service.lives import Lives
from cloud.service.parts import Parts
from cloud.service.peers import DAY_NS, Peers
from cloud.service.watch import Watch
from contract import machines
from contract.machines import Role
from contract.telemetry import TelemetryBatch
from models.monitor import Assessment
from tests.service.test_desk import DEVICE, parts

PUMP = machines.library()["centrifugal_pump"]
SIGNALS = [s for s in PUMP.signals if s.role in (Role.RESPONSE, Role.DRIVER, Role.MODE)]
FIRST = 20_000
"""Day on which the recording begins."""
EVERY_NS = 60 * 10**9
HOURS = 60


class _Nobody:
    def alarm(self, device: str, assessment: Assessment) -> None:
        pass

    def evidence(self, device: str, assessment: Assessment) -> None:
        pass


def record(made: Parts) -> None:
    """Write two and a half days of a calm pump into the journal, an hour in each batch."""
    rng = np.random.default_rng(1)
    low = np.array([s.range[0] for s in SIGNALS])
    span = np.array([s.range[1] for s in SIGNALS]) - low
    mode = next(i for i, s in enumerate(SIGNALS) if s.role is Role.MODE)
    for hour in range(HOURS):
        begin_ns = FIRST * DAY_NS + hour * HOUR_NS
        rows = low + span * (0.45 + 0.01 * rng.normal(size=(60, len(SIGNALS))))
        rows[:, mode] = SIGNALS[mode].judged_modes[0]
        batch = TelemetryBatch(
            signals=[s.name for s in SIGNALS],
            times_ns=[begin_ns + i * EVERY_NS for i in range(60)],
            values=rows.tolist(),
        )
        payload = msgspec.json.encode(batch)
        made.journal.append([Entry(DEVICE, "north", "", 0, begin_ns, payload)], {})


def watch_of(made: Parts, machines_count: int = 5) -> Watch:
    """Watch so many pumps, of which only the first sends anything."""
    first = made.assets[DEVICE]
    others = [structs.replace(first, device=f"pump-{i + 1}") for i in range(1, machines_count)]
    made = replace(made, assets={a.device: a for a in [first, *others]})
    return Watch(made, _Nobody(), Lives(made, {}), Peers(made))


def finish(watch: Watch) -> tuple[object, ...]:
    """Drain the journal; return what the pools and the sums under way hold then."""
    while watch.drain():
        pass
    lives, w = watch._lives._kinds[PUMP.name], watch._watched[DEVICE]
    table = watch.peers._known[PUMP.name, "north"].table
    history = lives.prognosis.state.open[DEVICE].history
    return (
        lives.told, lives.born_ns, history.ages, np.array(history.rows).tolist(),
        table.day.tolist(), np.nan_to_num(table.values).tolist(), w.hour, w.today.number,
        w.today.day.counts.tolist(), w.today.day.responses.tolist(),
    )  # fmt: skip


def test_hours_and_days_are_summed_once_over_a_crash(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        record(made)
        watch = watch_of(made)
        for _ in range(2):
            watch.drain()
        watch._lives.save()
        watch.peers.save()
        watch.checkpoint()
        before_the_crash = finish(watch)  # all of it, and none of it is saved
        watch._lives.save()  # or, as bad: pools are saved and positions are not
        watch.peers.save()
    with parts(tmp_path) as made:
        watch = watch_of(made)
        assert watch._watched[DEVICE].position > 0
        assert finish(watch) == before_the_crash
    days = watch.peers._known[PUMP.name, "north"].table.day
    assert sorted(days[days > 0].tolist()) == [FIRST, FIRST + 1]
    told_ns, estimate = watch._lives._kinds[PUMP.name].told[DEVICE]
    assert (told_ns, estimate) == (FIRST * DAY_NS + (HOURS - 1) * HOUR_NS, None)


def test_days_that_nobody_can_be_compared_by_are_not_recorded(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        record(made)
        watch = watch_of(made, 4)
        finish(watch)
        assert watch.peers._known[PUMP.name, "north"].table.devices == []
        assert watch._watched[DEVICE].today.number == -1
