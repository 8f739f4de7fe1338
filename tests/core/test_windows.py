"""Maintenance windows, also in the nights in which clocks are put forward or back."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core.rollout_states import Window
from cloud.core.windows import is_open, zone
from contract.errors import Refused

S = 10**9
BERLIN = "Europe/Berlin"


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * S


def edges(window: Window, day: str) -> list[str]:
    """Return the UTC minutes of two days at which the window opens or shuts."""
    start, found = ns(day), []
    was = is_open(window, start - S)
    for minute in range(48 * 60):
        now = is_open(window, start + minute * 60 * S)
        if now != was:
            at = datetime.fromisoformat(day) + timedelta(minutes=minute)
            found.append(f"{'opens' if now else 'shuts'} {at:%d %H:%M}")
        was = now
    return found


@pytest.mark.parametrize(
    ("fields", "day", "expected"),
    [
        ({}, "2026-06-10",
         ["shuts 10 04:00", "opens 10 22:00", "shuts 11 04:00", "opens 11 22:00"]),
        ({"timezone": BERLIN}, "2026-06-10",
         ["shuts 10 02:00", "opens 10 20:00", "shuts 11 02:00", "opens 11 20:00"]),
        # Forward on 29 March at 01:00 UTC: the night has five hours; back on 25 October: seven.
        ({"timezone": BERLIN, "weekdays": [5]}, "2026-03-28", ["opens 28 21:00", "shuts 29 02:00"]),
        ({"timezone": BERLIN, "weekdays": [5]}, "2026-10-24", ["opens 24 20:00", "shuts 25 03:00"]),
        # 02:30 does not exist on 29 March (it is 03:30), and comes twice on 25 October.
        ({"timezone": BERLIN, "start": "02:30", "hours": 2}, "2026-03-29",
         ["opens 29 01:30", "shuts 29 02:30", "opens 30 00:30", "shuts 30 02:30"]),
        ({"timezone": BERLIN, "start": "02:30", "hours": 2}, "2026-10-25",
         ["opens 25 00:30", "shuts 25 03:30", "opens 26 01:30", "shuts 26 03:30"]),
        # The day counts on which it opens: Sunday's window lasts into Monday.
        ({"weekdays": [6]}, "2026-06-14", ["opens 14 22:00", "shuts 15 04:00"]),
        ({"start": "00:00", "hours": 24, "timezone": BERLIN}, "2026-10-24", []),
        ({"start": "02:30", "hours": 24, "timezone": BERLIN}, "2026-03-28", []),
        ({"start": "23:30", "hours": 0.5}, "2026-06-10",
         ["shuts 10 00:00", "opens 10 23:30", "shuts 11 00:00", "opens 11 23:30"]),
    ],
)  # fmt: skip
def test_a_window_is_wall_clock_time_of_the_plant(
    fields: dict[str, Any], day: str, expected: list[str]
) -> None:
    assert edges(Window(**fields), day) == expected


@given(st.integers(0, 4_000_000_000))
def test_without_a_window_it_is_always_open(at_s: int) -> None:
    assert is_open(None, at_s * S)


@given(st.integers(86_400, 4_000_000_000), st.sampled_from([BERLIN, "America/St_Johns", "UTC"]))
def test_it_is_open_as_the_wall_clock_says(at_s: int, name: str) -> None:
    local = datetime.fromtimestamp(at_s, zone(name))
    window = Window(start="22:00", hours=6, timezone=name)
    assert is_open(window, at_s * S) == (local.hour >= 22 or local.hour < 4)


@pytest.mark.parametrize(
    "name", ["Atlantis", "", "../etc/passwd", "Europe", "/etc/localtime", "ä\0"]
)
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="is not known here"):
        is_open(Window(timezone=name), 0)
