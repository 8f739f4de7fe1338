"""The watch of a worker: in order, exactly once over a crash, and history beside the present."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from cloud.adapters.board import Board
from cloud.adapters.wire import Rows
from cloud.core.asset import AssetRow
from cloud.core.hours import HOUR_NS
from cloud.worker.days import DAY_NS
from cloud.worker.messages import DayEnded, HourEnded, Verdict
from cloud.worker.watch import UNSCORED, Scores, Watch, some_of
from contract import machines
from contract.telemetry import Quality
from models.monitor import State
from models.settings import Settings

MACHINES = machines.library()
TYPES = ("water_pump_rig", "centrifugal_pump")
WIDTH = max(len(MACHINES[t].signals) for t in TYPES)
NS = 10**9
BEGIN_NS = 20_000 * DAY_NS
WARM_UP = 120


class Bench:
    """A watch of two machines of each type, and what it said."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.said: list[msgspec.Struct] = []
        assets = {
            f"{name[:5]}-{n}": AssetRow(device=f"{name[:5]}-{n}", site="north", machine_type=name)
            for name in TYPES
            for n in (1, 2)
        }
        board = Board.create(folder / "live.board", sorted(assets), WIDTH)
        settings = Settings(commissioning_s=WARM_UP, commissioning_samples=WARM_UP)
        self.watch = Watch(assets, MACHINES, settings, board, self.said.append)

    def take(self, group_id: int, rows: Rows, now_ns: int | None = None) -> Scores:
        return self.watch.take(group_id, rows, now_ns or int(rows.times_ns.max()))

    def verdicts(self) -> list[Verdict]:
        return [v for v in self.said if isinstance(v, Verdict)]


def ticks(first: int, count: int, *, fault: float = 0.0, every_s: int = 1, seed: int = 0) -> Rows:
    """Return so many ticks of all four machines from tick number ``first`` on, in turn.

    Values depend on tick and machine alone, so the same ticks are always the same.
    """
    made = []
    for tick in range(first, first + count):
        rng = np.random.default_rng([seed, tick])
        for device in range(4):
            signals = MACHINES[TYPES[1] if device < 2 else TYPES[0]].signals
            low = np.array([s.range[0] for s in signals])
            span = np.array([s.range[1] for s in signals]) - low
            row = low + span * (0.45 + 0.004 * rng.normal(size=len(signals)))
            for i, signal in enumerate(signals):
                if signal.modes:
                    row[i] = signal.judged_modes[0]
            if fault and device == 3:
                row[0] += fault * span[0]
            made.append((device, BEGIN_NS + tick * every_s * NS, row))
    values = np.full((len(made), WIDTH), np.nan)
    quality = np.full((len(made), WIDTH), Quality.MISSING, np.uint8)
    for i, (_, _, row) in enumerate(made):
        values[i, : len(row)], quality[i, : len(row)] = row, Quality.GOOD
    whose = np.array([d for d, _, _ in made], np.int64)
    times_ns = np.array([t for _, t, _ in made], np.int64)
    return Rows(whose, times_ns, values, quality, np.zeros(len(made), np.bool_))


def held_back(rows: Rows) -> Rows:
    return rows._replace(historical=np.ones(len(rows.device), np.bool_))


def halves(rows: Rows) -> list[Rows]:
    middle = len(rows.device) // 2
    return [some_of(rows, np.arange(middle)), some_of(rows, np.arange(middle, 2 * middle))]


def run(bench: Bench, groups: list[tuple[int, Rows]]) -> list[Scores]:
    return [bench.take(number, rows) for number, rows in groups]


def same(a: Scores, b: Scores) -> None:
    """Sums of vectors may differ in their last digit, by where in memory they lie."""
    assert a.alarm.tolist() == b.alarm.tolist()
    np.testing.assert_allclose(a.score, b.score, rtol=1e-9)


def test_a_crash_anywhere_changes_no_score(tmp_path: Path) -> None:
    groups = [(n + 1, ticks(n * 10, 10)) for n in range(20)]
    whole = run(Bench(tmp_path / "whole"), groups)
    assert sum(np.isfinite(s.score).sum() for s in whole) > 200
    before = Bench(tmp_path / "before")
    run(before, groups[:9])
    saved = [before.watch.save(d) for d in (0, 2)]  # a checkpoint rolls: not all at once
    run(before, groups[9:14])
    saved += [before.watch.save(d) for d in (1, 3)]
    run(before, groups[14:16])
    after = Bench(tmp_path / "after")
    for checkpoint in saved:
        after.watch.restore(after.watch.devices.index(checkpoint.device), checkpoint)
    again = run(after, groups)  # the whole journal is read again
    for old, new in zip(whole[14:], again[14:], strict=True):
        same(old, new)
    assert (again[0].alarm == UNSCORED).all()  # nobody scores twice what a checkpoint has
    assert after.watch.scored.tolist() == [200] * 4


def test_a_backlog_is_scored_in_order_beside_the_present_and_raises_nothing(
    tmp_path: Path,
) -> None:
    """After an outage of ten minutes live readings come first, with a fault in the backlog."""
    healthy, gap = [(1, ticks(0, 200))], ticks(200, 600, fault=0.3)
    in_order = Bench(tmp_path / "order")
    run(in_order, healthy)
    expected = in_order.take(2, held_back(gap))
    assert (expected.alarm == 1).sum() > 100
    bench = Bench(tmp_path / "leap")
    run(bench, healthy)
    quiet = len(bench.verdicts())
    live = bench.take(2, ticks(800, 5))
    first, second = halves(held_back(gap))
    now_ns = BEGIN_NS + 805 * NS
    found = [bench.take(3, first, now_ns)]
    bench.take(4, ticks(805, 5))
    found.append(bench.take(5, second, now_ns))
    assert np.isfinite(live.score).any()
    same(Scores(*(np.concatenate(part) for part in zip(*found, strict=True))), expected)
    for verdict in bench.verdicts()[quiet:]:
        assert verdict.assessment.time_ns >= BEGIN_NS + 800 * NS
    assert int(bench.watch._board.last_ns.min()) == BEGIN_NS + 809 * NS
    late = bench.take(6, held_back(ticks(300, 1)), now_ns)  # again: it has been scored already
    assert (late.alarm == UNSCORED).all()


def test_an_overtaken_backlog_survives_a_crash(tmp_path: Path) -> None:
    first, second = halves(held_back(ticks(200, 300)))
    groups = [(1, ticks(0, 200)), (2, ticks(500, 3)), (3, first), (4, ticks(503, 3)), (5, second)]
    whole = run(Bench(tmp_path / "whole"), groups)
    before, after = Bench(tmp_path / "before"), Bench(tmp_path / "after")
    run(before, groups[:3])
    for d in range(4):
        after.watch.restore(d, before.watch.save(d))
    for old, new in zip(whole[3:], run(after, groups)[3:], strict=True):
        same(old, new)


def test_after_a_long_gap_nothing_is_raised_until_the_detector_knows_the_conditions_again(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path / "b")
    bench.take(1, ticks(0, 200))
    for n in range(160):  # a gap of 100 s, and a fault behind it
        bench.take(2 + n, ticks(300 + n, 1, fault=0.4))
    times = [v.assessment.time_ns for v in bench.verdicts()]
    assert times[0] >= BEGIN_NS + (300 + 100) * NS
    assert times[0] < BEGIN_NS + (300 + 110) * NS


def test_a_machine_that_speaks_seldom_is_heard_all_the_same(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "b")
    bench.take(1, ticks(0, 200))
    for n in range(40):  # every two minutes
        bench.take(2 + n, ticks(320 + 120 * n, 1, fault=0.4))
    assert len(bench.verdicts()) > 20


def test_an_alarm_is_told_and_then_every_verdict_until_it_is_released(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "b")
    bench.take(1, ticks(0, 200))
    assert bench.verdicts() == []
    for n in range(30):
        bench.take(2 + n, ticks(200 + n, 1, fault=0.4))
    told = bench.verdicts()
    assert {v.device for v in told} == {"water-2"}
    assert told[0].assessment.state is State.ALARM
    assert told[0].assessment.deviations
    times = [v.assessment.time_ns for v in told]
    assert times == sorted(set(times))
    assert len(times) > 20
    bench.watch.attend(["water-2"], on=False)
    bench.watch.attend(["centr-1", "nobody"], on=True)
    count = len(told)
    bench.take(99, ticks(231, 1))
    assert {v.device for v in bench.verdicts()[count:]} - {"water-2"} == {"centr-1"}


@pytest.mark.parametrize("per_group", [7, 200])
def test_hours_and_days_come_out_the_same_however_readings_are_grouped(
    tmp_path: Path, per_group: int
) -> None:
    """A minute between readings, a day and a bit, saved and restored in the middle."""
    count, results = 60 * 27, []
    for name, size in (("a", 25), ("b", per_group)):
        bench = Bench(tmp_path / name)
        for number, first in enumerate(range(0, count, size), 1):
            bench.take(number, ticks(first, min(size, count - first), every_s=60))
            if name == "b" and number == 5:
                saved = [bench.watch.save(d) for d in range(4)]
                other = Bench(tmp_path / "c")
                other.said = bench.said
                other.watch._emit = other.watch._sums._emit = bench.said.append
                for d in range(4):
                    other.watch.restore(d, saved[d])
                bench = other
        hours = [(s.device, s.ended.end_ns) for s in bench.said if isinstance(s, HourEnded)]
        days = [(s.device, s.number) for s in bench.said if isinstance(s, DayEnded)]
        results.append((sorted(hours), sorted(days)))
    assert results[0] == results[1]
    assert len(results[0][0]) > 4 * 20
    assert (BEGIN_NS + 24 * HOUR_NS) in {end_ns for _, end_ns in results[0][0]}
    assert {number for _, number in results[0][1]} == {20_000}
