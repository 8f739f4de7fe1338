"""What became of every reading: what was taken against what is held, stored and scored."""

from collections.abc import Mapping

from msgspec import Struct

from farfix.chaos.taken import Readings


class Stored(Struct, frozen=True):
    """One device's rows in the time-series store, by event time in ns."""

    values: Readings
    scored: set[int]
    """Times of the rows that carry a verdict."""


class Tally(Struct, frozen=True, kw_only=True):
    """Numbers of readings. One reading is one instant of one device, with all its signals."""

    taken: int = 0
    """Committed to an agent's spool."""
    acknowledged: int = 0
    """Of those, deleted from the spool since the gateway has them durably."""
    stored: int = 0
    """Rows in the time-series store."""
    scored: int = 0
    """Rows with a verdict of the detector."""
    lost: int = 0
    """Taken, but not stored."""
    phantom: int = 0
    """Stored, but never taken, or with other values than those taken."""
    duplicated: int = 0
    """Scored more often than taken, by the gateway's own count for each device."""
    unscored: int = 0
    """Stored without a verdict."""

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            **{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__}
        )


def count(taken: Readings, held: set[int], stored: Stored, judged: int | None = None) -> Tally:
    """Compare what was taken of one device with what is known of it at the end.

    Args:
        taken: by the agent.
        held: times that the agent still keeps.
        stored: in the time-series store.
        judged: how many readings the gateway says it scored of this device; None: it does not say.
    """
    altered = sum(stored.values.get(at, values) != values for at, values in taken.items())
    times = taken.keys()
    return Tally(
        taken=len(taken),
        acknowledged=len(times - held),
        stored=len(stored.values),
        scored=len(stored.scored),
        lost=len(times - stored.values.keys()),
        phantom=len(stored.values.keys() - times) + altered,
        duplicated=0 if judged is None else max(0, judged - len(taken)),
        unscored=len(stored.values.keys() - stored.scored),
    )


def problems(tallies: Mapping[str, Tally]) -> list[str]:
    """Say in sentences what went wrong with which device's readings."""
    found = []
    for device, tally in sorted(tallies.items()):
        for name in ("lost", "phantom", "duplicated", "unscored"):
            if number := getattr(tally, name):
                found.append(f"{device}: {number} readings {name}")
        if tally.acknowledged < tally.taken:
            found.append(f"{device}: {tally.taken - tally.acknowledged} readings never left")
    return found
