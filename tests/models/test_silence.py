"""Silence is three missed polls or the given time, whichever is longer."""

import pytest

from models.silence import silent


@pytest.mark.parametrize(
    ("quiet_s", "poll_s", "allowed_s", "expected"),
    [(59, 5, 60, False), (61, 5, 60, True), (170, 60, 60, False), (181, 60, 60, True)],
)
def test_silence(quiet_s: float, poll_s: float, allowed_s: float, *, expected: bool) -> None:
    assert silent(10**18, 10**18 + int(quiet_s * 1e9), poll_s, allowed_s) is expected
