"""A machine that walks away from its peers is found, and healthy fleets stay quiet."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import artefact, peers
from models.peers import PeerTable, Standing
from models.sample import Layout, sample
from tests.models import plant

LAYOUT = Layout(plant.machine())
RESPONSES = len(LAYOUT.responses)
CONDITIONS = peers.condition_count(LAYOUT)
DAY = 20_000


def fleet(
    machines: int,
    days: int,
    seed: int,
    *,
    walk: float = 0.0,
    fouled: float = 0.0,
    apart: float = 1.0,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return each day's means of all machines; the first one's first response is the faulty one.

    Machines of one type differ with standard deviation 1, run under different conditions (by
    ``apart``), share a season, and their days wander with a memory of three days.
    """
    rng = np.random.default_rng(seed)
    slopes = rng.normal(size=(CONDITIONS, RESPONSES))
    unit = rng.normal(size=(machines, RESPONSES))
    site = apart * rng.normal(size=(machines, CONDITIONS))
    season = np.cumsum(0.2 * rng.normal(size=(days, CONDITIONS)), axis=0)
    wander = np.zeros((machines, RESPONSES))
    rows = []
    for day in range(days):
        x = site + season[day] + 0.5 * rng.normal(size=site.shape)
        wander = 0.7 * wander + 0.18 * rng.normal(size=unit.shape)
        y = unit + x @ slopes + 0.03 * x**2 @ np.abs(slopes) + wander
        y[0, 0] += walk * day + fouled
        rows.append((y, x))
    return rows


def stored(rows: list[tuple[np.ndarray, np.ndarray]]) -> PeerTable:
    table = peers.table(LAYOUT)
    for day, (y, x) in enumerate(rows):
        for m in range(len(y)):
            peers.keep(table, f"m{m}", DAY + day, (y[m], x[m]))
    return table


def night(rows: list[tuple[np.ndarray, np.ndarray]]) -> list[Standing]:
    return peers.compare(stored(rows), LAYOUT, DAY + len(rows) - 1)


def out(standings: list[Standing]) -> set[tuple[str, str]]:
    return {(s.device, s.signal) for s in standings if s.stands_out}


@pytest.mark.parametrize(("machines", "days"), [(8, 60), (20, 40), (40, 40)])
def test_a_slow_walk_is_found_and_nothing_else(machines: int, days: int) -> None:
    standings = night(fleet(machines, days, 5, walk=0.1))
    assert out(standings) == {("m0", LAYOUT.responses[0])}
    found = standings[0]
    assert found.trend_per_day == pytest.approx(0.1, abs=0.03)
    assert found.peers == machines - 1
    assert "rising by" in found.text


def test_a_machine_fouled_before_anyone_looked_is_found_in_three_days() -> None:
    standings = night(fleet(20, 3, 5, fouled=9.0))
    assert out(standings) == {("m0", LAYOUT.responses[0])}
    assert standings[0].trend_per_day is None
    assert standings[0].sigmas is not None
    assert standings[0].sigmas > 5


def test_healthy_fleets_under_different_conditions_give_hardly_any_finding() -> None:
    findings = [len(out(night(fleet(10, 25, seed)))) for seed in range(25)]
    assert sum(f > 0 for f in findings) <= 2


def test_p_values_of_healthy_machines_are_not_too_small() -> None:
    chances = [s.p_value for seed in range(20) for s in night(fleet(9, 12, seed))]
    given_out = np.array([p for p in chances if p is not None])
    assert (given_out < 0.05).mean() <= 0.07
    assert (given_out < 0.01).mean() <= 0.02


def test_too_few_peers_days_or_common_conditions_give_no_comparison() -> None:
    assert all(s.p_value is None for s in night(fleet(4, 30, 1, walk=1.0)))
    assert all(s.p_value is None for s in night(fleet(9, 2, 1, fouled=50.0)))
    rows = fleet(9, 30, 1, apart=0.1)
    for _, x in rows:
        x[0, 0] += 40.0
    standings = [s for s in night(rows) if s.device == "m0"]
    assert {s.text for s in standings} == {"no comparison: its peers have not run like this"}


def test_days_are_kept_in_a_ring_and_old_ones_do_not_count() -> None:
    rows = fleet(8, 90, 3)
    table = stored(rows)
    assert table.values.shape == (8, peers.DAYS, RESPONSES)
    fresh = peers.table(LAYOUT)
    for day in range(90 - peers.DAYS, 90):
        for m in range(8):
            peers.keep(fresh, f"m{m}", DAY + day, (rows[day][0][m], rows[day][1][m]))
    assert peers.compare(table, LAYOUT, DAY + 89) == peers.compare(fresh, LAYOUT, DAY + 89)
    late = peers.compare(table, LAYOUT, DAY + 89 + peers.DAYS)
    assert all(s.p_value is None for s in late)


def test_a_saved_table_goes_on_exactly() -> None:
    table = stored(fleet(8, 20, 3, walk=0.3))
    again = artefact.unpack(artefact.pack(table, []), PeerTable, [])
    assert peers.compare(again, LAYOUT, DAY + 19) == peers.compare(table, LAYOUT, DAY + 19)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.sampled_from(["nan", "same", "huge", "holes"]))
def test_no_data_of_any_kind_makes_it_raise(seed: int, what: str) -> None:
    rng = np.random.default_rng(seed)
    table = stored(fleet(7, 12, seed))
    if what == "nan":
        table.values[:, :, 0] = np.nan
    elif what == "same":
        table.values[:], table.conditions[:] = 3.0, 1.0
    elif what == "huge":
        table.values[0] = 1e200
    else:
        table.values[rng.random(table.values.shape) < 0.5] = np.nan
        table.conditions[rng.random(table.conditions.shape) < 0.2] = np.nan
    standings = peers.compare(table, LAYOUT, DAY + 11)
    assert len(standings) == 7 * RESPONSES
    assert all(s.p_value is None or 0 <= s.p_value <= 1 for s in standings)


def test_a_day_sums_up_what_the_readings_say() -> None:
    day = peers.start(LAYOUT)
    samples = [sample(LAYOUT, r) for r in plant.readings(0.5)]
    for s in samples:
        peers.add(day, s, LAYOUT)
    values, conditions = peers.summarise(day)
    assert np.allclose(values, np.mean([s.raw[:RESPONSES] for s in samples], axis=0))
    assert conditions[0] == pytest.approx(np.mean([(s.raw[RESPONSES] - 50) / 25 for s in samples]))
    assert np.isnan(np.concatenate(peers.summarise(peers.start(LAYOUT)))).all()


@pytest.mark.parametrize(
    ("t", "freedom", "chance"),
    [(12.706, 1, 0.05), (4.303, 2, 0.05), (2.776, 4, 0.05), (3.182, 3, 0.05), (3.169, 10, 0.01)],
)
def test_student_tails_are_the_tabled_ones(t: float, freedom: int, chance: float) -> None:
    assert peers.student(t, freedom) == pytest.approx(chance, rel=2e-3)


def test_kendall_is_exact_and_theil_sen_shrugs_off_outliers() -> None:
    assert peers.kendall(4, 6) == pytest.approx(2 / 24)
    assert peers.kendall(5, 8) == pytest.approx(2 * 5 / 120)
    assert peers.kendall(5, 0) == 1.0
    line = np.array([0.0, 1.0, math.nan, 3.0, 90.0, 5.0, 6.0])
    assert peers.theil_sen(line)[0] == pytest.approx(1.0)


def test_the_tails_of_a_position_are_no_lighter_than_promised() -> None:
    rng = np.random.default_rng(2)
    for count in (4, 5, 7, 10):
        draws = rng.normal(size=(2000, count + 1))
        chances = np.array([peers.position(d[0], d[1:])[1] for d in draws])
        assert (chances < 0.05).mean() <= 0.06
        assert (chances < 0.005).mean() <= 0.0085
