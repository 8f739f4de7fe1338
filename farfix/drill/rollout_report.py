"""What many simulated rollouts add up to, and whether that keeps the promises."""

import math
from collections import Counter
from collections.abc import Sequence
from statistics import median

from msgspec import Struct
from rich.table import Table

from farfix.drill.fleet_run import End
from farfix.drill.world import Kind

FALSE_STOPS = 0.01
"""So many good releases may be stopped at most; in few runs one, which proves nothing."""
REACHED = 0.02
"""So many machines a bad release may reach before its stop ..."""
FIRST_STAGE = 5
"""... or the first stage, where that is more."""
IN_TIME = 0.99
"""So many bad releases must be stopped by then, of those that harm every machine concerned."""


class Share(Struct, frozen=True):
    """A share of runs, with its 95 % interval."""

    count: int
    of: int
    low: float
    high: float

    def text(self) -> str:
        """Return it for people."""
        share = 100 * self.count / max(self.of, 1)
        return f"{share:.1f} % ({100 * self.low:.1f}-{100 * self.high:.1f})"


class Summary(Struct, frozen=True, kw_only=True):
    """All rollouts of one kind of release."""

    kind: Kind
    runs: int
    stops: dict[str, int]
    """What stopped them; "" where nothing did."""
    stopped: Share
    in_time: Share
    """Stopped before more than `REACHED` of the machines had the release."""
    reached: list[int]
    """Machines that had it at the stop: median, 90 % and most."""
    harmed: list[int]
    minutes: list[int]
    """From the first offer to the stop, or to the end."""
    left: int
    """Machines that still ran the release after a stop, in all runs."""
    untold: int
    """Of those, machines of which the gateway does not say so."""


class Drill(Struct, frozen=True, kw_only=True):
    """The report."""

    devices: int
    bad_rate: float
    seed: int
    runs: int
    seconds: float
    summaries: list[Summary]
    problems: list[str]
    """Promises that were not kept."""
    ends: dict[Kind, list[End]]


def share(count: int, of: int) -> Share:
    """Return a share with its 95 % interval (Wilson)."""
    if not of:
        return Share(0, 0, 0.0, 1.0)
    z2, p = 1.96**2, count / of
    middle = (p + z2 / (2 * of)) / (1 + z2 / of)
    half = math.sqrt(z2 * (p * (1 - p) / of + z2 / (4 * of * of))) / (1 + z2 / of)
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return Share(count, of, low if count else 0.0, high if count < of else 1.0)


def summary(kind: Kind, ends: Sequence[End], devices: int) -> Summary:
    """Sum up the rollouts of one kind."""
    stopped = [end for end in ends if end.stop]
    most = max(FIRST_STAGE, REACHED * devices)
    return Summary(
        kind=kind,
        runs=len(ends),
        stops=dict(Counter(end.stop for end in ends)),
        stopped=share(len(stopped), len(ends)),
        in_time=share(sum(end.reached <= most for end in stopped), len(ends)),
        reached=_three([end.reached for end in ends]),
        harmed=_three([end.harmed for end in ends]),
        minutes=_three([round(end.minutes) for end in ends]),
        left=sum(end.left for end in stopped),
        untold=sum(end.untold for end in stopped),
    )


def _three(values: list[int]) -> list[int]:
    ordered = sorted(values)
    return [int(median(ordered)), ordered[math.ceil(0.9 * len(ordered)) - 1], ordered[-1]]


def problems(summaries: Sequence[Summary], bad_rate: float) -> list[str]:
    """Return which promises were not kept. A release that harms few machines is only shown."""
    found = []
    for s in summaries:
        if s.kind is Kind.GOOD and s.stopped.count > max(1, FALSE_STOPS * s.runs):
            found.append(f"{s.stopped.count} of {s.runs} good releases were stopped")
        late = s.runs - s.in_time.count
        if s.kind is not Kind.GOOD and bad_rate >= 1.0 and late > (1 - IN_TIME) * s.runs:
            found.append(f"{s.kind.value}: {late} of {s.runs} were not stopped in time")
        if s.untold:
            found.append(
                f"{s.kind.value}: {s.untold} machines kept the release, and nobody is told"
            )
    return found


def table(drill: Drill) -> Table:
    """Return the report as a table."""
    shown = Table(title=f"{drill.runs} rollouts of each kind to {drill.devices} machines")
    for name in ("release", "stopped", "in time", "reached", "harmed", "minutes", "left"):
        shown.add_column(name, justify="left" if name == "release" else "right")
    for s in drill.summaries:
        columns = [" / ".join(str(v) for v in v3) for v3 in (s.reached, s.harmed, s.minutes)]
        in_time = "" if s.kind is Kind.GOOD else s.in_time.text()
        shown.add_row(s.kind.value, s.stopped.text(), in_time, *columns, str(s.left))
    shown.caption = (
        "Shares with 95 % intervals; in time: at most 2 % of the machines had the release, or the "
        "first stage. Numbers: median / 90 % / most. Left: machines that still ran the release "
        "when a stop was over; they were out of reach, and a case is open for each."
    )
    return shown
