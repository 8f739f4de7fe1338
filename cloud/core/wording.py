"""Numbers as people read them in a timeline."""

from datetime import UTC, datetime

from contract.tickets import Forecast


def span(seconds: float) -> str:
    """Return a span of time in the largest unit that leaves a number of two digits."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} days"


def moment(at_ns: int) -> str:
    """Return a time as UTC date and minute."""
    return datetime.fromtimestamp(at_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M UTC")


def foreseen(forecast: Forecast) -> str:
    """Say by when a visit should be booked, and why."""
    expected = f"a failure is expected about {_day(forecast.expected_ns)}"
    first, last = forecast.earliest_ns, forecast.latest_ns
    if first is not None and last is not None:
        expected = f"{expected} (between {_day(first)} and {_day(last)})"
    elif first is not None:
        expected = f"{expected} (not before {_day(first)})"
    elif last is not None:
        expected = f"{expected} (not after {_day(last)})"
    else:
        expected = f"{expected} (too few failures were seen to say between when)"
    return f"Book a visit before {_day(forecast.book_before_ns)}: {expected}."


def _day(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9, UTC).strftime("%Y-%m-%d")


def listed(items: list[str]) -> str:
    """Join as in a sentence: ``a, b and c``."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
