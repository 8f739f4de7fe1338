"""Nights: who stands out among its peers gets a notice, once, and keeps it over a restart."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cloud.core.asset import AssetRow
from cloud.service.parts import Parts
from cloud.service.peers import GRACE_NS, PEERS_MAX, Peers
from cloud.worker.days import DAY_NS
from contract import machines
from models import peers
from models.sample import Layout
from tests.service.test_desk import parts

PUMP = machines.library()["centrifugal_pump"]
LAYOUT = Layout(PUMP)
SIGNAL = LAYOUT.responses[0]
FIRST = 20_000
DAYS = 10


def asset(i: int, site: str = "north") -> AssetRow:
    return AssetRow(device=f"{site}-{i}", site=site, machine_type=PUMP.name)


@contextmanager
def fleet(folder: Path, count: int = 8) -> Iterator[Parts]:
    assets = [asset(i) for i in range(count)] + [asset(i, "south") for i in range(3)]
    with parts(folder) as made:
        yield replace(made, assets={a.device: a for a in assets})


def record(known: Peers, made: Parts, *, fouled: float, from_day: int = 0) -> None:
    """Record days of ordinary machines; the first one's first response is elsewhere."""
    rng = np.random.default_rng(7)
    usual = rng.normal(size=(len(made.assets), len(LAYOUT.responses)))
    for day in range(from_day, from_day + DAYS):
        for i, device in enumerate(made.assets):
            values = usual[i] + 0.1 * rng.normal(size=usual.shape[1])
            values[0] += fouled * (device == "north-0")
            conditions = 0.1 * rng.normal(size=peers.condition_count(LAYOUT))
            known.day(device, FIRST + day, (values, conditions))


def after(day: int) -> int:
    """Return the plant time at which a day may just be compared."""
    return (FIRST + day + 1) * DAY_NS + GRACE_NS


async def test_a_machine_that_stands_out_gets_a_notice_until_it_does_not(tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        known = Peers(made)
        record(known, made, fouled=30.0)
        await known.night(after(DAYS - 1))
        (notice,) = known.notices("north-0")
        assert notice.signal == SIGNAL
        assert notice.text.startswith("Shaft speed: ")
        assert "above its 7 peers" in notice.text
        assert notice.since_ns == (FIRST + DAYS) * DAY_NS
        assert all(not known.notices(d) for d in made.assets if d != "north-0")
        assert known.notices("nobody") == []
        known.save()
    with fleet(tmp_path) as made:
        known = Peers(made)
        assert known.notices("north-0") == [notice]
        record(known, made, fouled=30.0, from_day=DAYS)
        await known.night(after(2 * DAYS - 1))
        assert [n.since_ns for n in known.notices("north-0")] == [notice.since_ns]
        record(known, made, fouled=0.0, from_day=2 * DAYS)
        await known.night(after(3 * DAYS - 1))
        assert known.notices("north-0") == []


async def test_a_night_is_compared_once_and_not_before_late_readings_had_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def compare(table: peers.PeerTable, layout: Layout, today: int) -> list[peers.Standing]:
        del layout
        asked.append(today)
        assert len(table.devices) <= PEERS_MAX
        return []

    monkeypatch.setattr("cloud.service.peers.peers.compare", compare)
    with fleet(tmp_path, PEERS_MAX + 20) as made:
        known = Peers(made)
        record(known, made, fouled=0.0)
        await known.night(after(0) - 1)
        await known.night(after(0))
        await known.night(after(0) + DAY_NS - 1)
        await known.night(after(1))
        assert asked == [FIRST - 1] * 3 + [FIRST] * 3 + [FIRST + 1] * 3, "two halves, and south"


def test_machines_that_left_are_forgotten_and_others_stay(tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        known = Peers(made)
        record(known, made, fouled=0.0)
        known.save()
    with fleet(tmp_path, 5) as made:
        table = Peers(made)._known[PUMP.name, "north"].table
        assert table.devices == [f"north-{i}" for i in range(5)]
        assert table.values.shape == (5, peers.DAYS, len(LAYOUT.responses))


def test_days_that_cannot_be_read_begin_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with fleet(tmp_path) as made, caplog.at_level(logging.WARNING):
        made.store.memory.put_models({f"peers/{PUMP.name}/north": b"?"})
        assert Peers(made)._known[PUMP.name, "north"].table.devices == []
        assert caplog.text.count("recorded anew") == 1
