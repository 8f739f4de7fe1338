"""Medians over all pairs are exactly those of a list of all pairs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import pairs

NUMBERS = st.one_of(
    st.lists(st.floats(-1e300, 1e300), min_size=2, max_size=40),
    st.lists(st.sampled_from([-2.5, -0.0, 0.0, 1e-320, 0.1, 0.2, 0.3, 7.0]), min_size=2),
)


@given(NUMBERS)
def test_they_are_those_of_all_pairs(numbers: list[float]) -> None:
    values = np.array(numbers)
    i, j = np.triu_indices(len(values))
    assert pairs.centre(values) == np.median((values[i] + values[j]) / 2)
    i, j = np.triu_indices(len(values), 1)
    assert pairs.spread(values) == pairs.SHAMOS * np.median(np.abs(values[i] - values[j]))


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_not_hidden(odd: float) -> None:
    values = np.array([1.0, odd, 2.0, 3.0])
    assert math.isnan(pairs.centre(values))
    assert math.isnan(pairs.spread(values))
