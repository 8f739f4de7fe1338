"""Silence: no reading although one was due."""

_NS = 1_000_000_000


def silent(last_ns: int, now_ns: int, poll_interval_s: float, silent_after_s: float) -> bool:
    """Tell whether a device has been quiet too long.

    Args:
        last_ns: event time of its newest reading.
        now_ns: plant time now.
        poll_interval_s: how often it is read; three missed polls are never yet silence.
        silent_after_s: how long a quiet device is given.
    """
    return now_ns - last_ns > max(silent_after_s, 3 * poll_interval_s) * _NS
