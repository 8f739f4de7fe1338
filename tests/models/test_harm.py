"""The evidence is honest: checked over all orders of small fleets, and on many drawn at random."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import harm
from models.harm import log_evidence, p_values

P = st.floats(1e-6, 1.0)
NOBODY = np.empty((1, 0))


def _ranked(changes: np.ndarray, first: int, end: int) -> list[float]:
    """Return p-values of the machines from `first` to before `end`; those from there on control."""
    one = changes[np.newaxis]
    return [p_values(one[:, k], one[:, end:], one[:, first:k])[0] for k in range(first, end)]


def test_one_bet_on_a_uniform_p_value_is_worth_one_at_most() -> None:
    fine = np.exp([log_evidence([p]) for p in (np.arange(100_000) + 0.5) / 100_000])
    assert fine.mean() == pytest.approx(1.0, abs=1e-3)
    for controls in (1, 19, 100, 999):
        ranks = np.arange(1, controls + 2) / (controls + 1)
        assert np.mean([math.exp(log_evidence([p])) for p in ranks]) <= 1 + 1e-12


@given(st.lists(P, min_size=1, max_size=30), st.integers(0, 29))
def test_smaller_p_values_are_more_evidence_in_any_order(p: list[float], at: int) -> None:
    smaller = [value / 10 if i == at % len(p) else value for i, value in enumerate(p)]
    assert log_evidence(smaller) >= log_evidence(p)
    assert log_evidence(p[::-1]) == pytest.approx(log_evidence(p), abs=1e-9)


@given(st.lists(P, min_size=1, max_size=30))
def test_bets_are_kept_through_all_machines(p: list[float]) -> None:
    """The mean over all bets of their products, written out."""
    products = [
        math.prod(1 - s + (s / w if value <= w else 0.0) for value in p)
        for s in harm.SHARES.ravel()
        for w in harm.WORST
    ]
    assert log_evidence(p) == pytest.approx(math.log(np.mean(products)), abs=1e-9)


@pytest.mark.parametrize("count", [1, 50, 2000, 20_000])
def test_evidence_is_finite_for_as_many_machines_as_there_may_be(count: int) -> None:
    assert -4 - 0.04 * count < log_evidence([1.0] * count) < 0
    assert math.isfinite(log_evidence([1e-4] * count))
    assert log_evidence([1e-4] * count) > 3 * count


def test_of_nobody_there_is_no_evidence() -> None:
    assert log_evidence([]) == pytest.approx(0.0)


@pytest.mark.parametrize("ties", [False, True])
def test_over_all_orders_of_a_fleet_the_mean_is_one_at_most(ties: bool) -> None:
    """Three machines are updated, then two, then two are left: at no time does betting pay."""
    fleet = np.array([0.0, 0.3, 0.3, 1.0, 5.0, 5.0, 9.0] if ties else [0.0, 1, 2, 3, 5, 8, 13])
    ends: list[list[float]] = [[] for _ in range(6)]
    for order in permutations(range(7)):
        changes = fleet[list(order)]
        p = _ranked(changes, 0, 3) + _ranked(changes, 3, 5)
        for n in range(6):
            ends[n].append(math.exp(log_evidence(p[:n])))
    assert all(np.mean(pays) <= 1 + 1e-12 for pays in ends)


def test_without_those_ranked_before_it_would_not_be_honest() -> None:
    """Many machines ranked among the same few controls: this is what `earlier` is for."""
    dice, shared, honest = np.random.default_rng(3), 0, 0
    for _ in range(100):
        changes = dice.standard_normal(820)
        one = changes[np.newaxis]
        p = [p_values(one[:, k], one[:, 800:], NOBODY)[0] for k in range(800)]
        shared += log_evidence(p) >= math.log(1000)
        honest += log_evidence(_ranked(changes, 0, 800)) >= math.log(1000)
    assert shared >= 3  # of a tenth of one that was promised
    assert honest == 0


def test_a_good_release_is_seldom_stopped_however_often_one_looks() -> None:
    """Stopped at 1 / 20 it must be in 5 % of runs at most, with hardly any controls in the end."""
    dice, runs, stopped = np.random.default_rng(1), 600, 0
    for _ in range(runs):
        changes = dice.standard_t(2, 60)
        p = _ranked(changes, 0, 5) + _ranked(changes, 5, 20) + _ranked(changes, 20, 50)
        stopped += any(log_evidence(p[:n]) >= math.log(20) for n in range(1, 51))
    assert stopped / runs <= 0.05


@pytest.mark.parametrize(("share", "within"), [(1.0, 5), (0.5, 40), (0.25, 100), (0.1, 400)])
def test_a_bad_release_is_found_the_sooner_the_more_it_harms(share: float, within: int) -> None:
    dice, threshold = np.random.default_rng(2), math.log(15 / 0.005)
    for _ in range(20):
        healthy = dice.standard_normal(1000)
        harmed = healthy + np.where(dice.random(1000) < share, 10.0, 0.0)
        p: list[float] = []
        for a, b in ((0, 5), (5, 20), (20, 100), (100, 400)):
            p += _ranked(np.concatenate([harmed[:b], healthy[b:]]), a, b)
        found = next(n for n in range(1, 401) if log_evidence(p[:n]) >= threshold)
        assert found <= within


def test_ties_count_against_harm_and_the_unknown_counts_for_nothing() -> None:
    controls = np.array([[0.0, 0.0, 1.0, np.nan], [np.inf, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    own = np.array([0.0, np.inf, np.nan])
    assert p_values(own, controls, np.empty((3, 0))) == [1.0, 2 / 5, 1.0]
    assert p_values(own, controls, np.array([[2.0], [np.inf], [0.0]])) == [1.0, 3 / 6, 1.0]
