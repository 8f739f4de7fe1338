"""Maintenance windows: may machines be begun now?

A window is wall-clock time at the plant: from 22:00 for six hours ends at 04:00, also in the nights
in which clocks are put forward or back, when it is an hour shorter or longer. A moment that the
clocks show twice is the first of the two.
"""

from datetime import UTC, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from cloud.core.rollout_policy import Window
from contract.errors import Refused

NS = 10**9


def zone(name: str) -> tzinfo:
    """Return a time zone by its IANA name.

    Raises:
        Refused: there is no such zone.
    """
    if name == "UTC":
        return UTC  # known without the system's zone files
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise Refused(
            f"time zone {name!r} is not known here: give an IANA name such as Europe/Berlin"
        ) from error


def is_open(window: Window | None, now_ns: int) -> bool:
    """Tell whether machines may be begun; without a window always.

    Raises:
        Refused: the window's time zone is not known on this computer.
    """
    if window is None:
        return True
    where, now = zone(window.timezone), datetime.fromtimestamp(now_ns // NS, UTC)
    start, length = time.fromisoformat(window.start), timedelta(hours=window.hours)
    today = now.astimezone(where).date()
    for day in (today, today - timedelta(days=1)):
        if window.weekdays and day.weekday() not in window.weekdays:
            continue
        opens = datetime.combine(day, start)
        shuts = opens + length
        if _instant(opens, where) <= now < _instant(shuts, where):
            return True
    return False


def _instant(local: datetime, where: tzinfo) -> datetime:
    return local.replace(tzinfo=where).astimezone(UTC)
