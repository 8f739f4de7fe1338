"""What became of every reading: what was taken against what is held, stored and scored."""

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


class Finding(Struct, frozen=True, kw_only=True):
    """Readings of one device with which the same thing is wrong."""

    device: str
    what: str
    count: int
    first_ns: int
    """Event time of the first of them."""
    last_ns: int

    def text(self, began_ns: int, speed: float) -> str:
        """Say it in a sentence, with times in wall seconds since the drill began."""
        first_s, last_s = ((at - began_ns) / speed / 1e9 for at in (self.first_ns, self.last_ns))
        return (
            f"{self.device}: {self.count} readings {self.what}, "
            f"measured from {first_s:.1f} to {last_s:.1f} s"
        )


class Outcome(Struct, frozen=True):
    """What became of one device's readings."""

    tally: Tally
    findings: list[Finding]
    """What is wrong; empty when all is well."""


def compare(
    device: str, taken: Readings, held: set[int], stored: Stored, judged: int | None = None
) -> Outcome:
    """Compare what was taken of one device with what is known of it at the end.

    Args:
        device: its name.
        taken: by the agent.
        held: times that the agent still keeps.
        stored: in the time-series store.
        judged: how many readings the gateway says it scored of this device; None: it does not say.
    """
    times, rows = taken.keys(), stored.values
    phantom = {at for at, values in rows.items() if taken.get(at) != values}
    wrong = {
        "never left": times & held,
        "lost": times - rows.keys(),
        "phantom": phantom,
        "unscored": rows.keys() - stored.scored,
    }
    duplicated = 0 if judged is None else max(0, judged - len(taken))
    findings = [
        Finding(device=device, what=what, count=len(at), first_ns=min(at), last_ns=max(at))
        for what, at in wrong.items()
        if at
    ]
    if duplicated:
        first_ns, last_ns = min(times, default=0), max(times, default=0)
        findings.append(
            Finding(
                device=device, what="scored twice", count=duplicated,
                first_ns=first_ns, last_ns=last_ns,
            )
        )  # fmt: skip
    tally = Tally(
        taken=len(taken),
        acknowledged=len(times - held),
        stored=len(rows),
        scored=len(stored.scored),
        lost=len(wrong["lost"]),
        phantom=len(phantom),
        duplicated=duplicated,
        unscored=len(wrong["unscored"]),
    )
    return Outcome(tally, findings)
