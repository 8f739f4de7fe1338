"""What a drill says at its end."""

from msgspec import Struct

from farfix.chaos.director import Event
from farfix.chaos.tally import Finding, Tally
from farfix.demo.report import FaultReport


class CaseReport(Struct, frozen=True, kw_only=True):
    """A case at the end."""

    case_id: str
    device: str
    opened_s: float
    """Wall seconds since the drill began, to be laid beside its events."""
    phase: str
    ticket_key: str | None
    entries: int
    """Lines of its timeline."""


class Report(Struct, frozen=True, kw_only=True):
    """The whole drill."""

    seed: int
    samples: int
    """Asked for, under faults."""
    under_faults: int
    """Taken while faults were injected."""
    speed: float
    store: str
    minutes: float
    planned: dict[str, int]
    """How often each kind of fault should have fired."""
    fired: dict[str, int]
    """How often it did."""
    sigkills: int
    links: dict[str, dict[str, int]]
    """What the proxy did to each link: connections cut, bytes held, delayed, sliced."""
    total: Tally
    tallies: dict[str, Tally]
    """Of each device."""
    findings: list[Finding]
    """What is wrong with readings, by device."""
    duplicates_known: bool
    """Whether the gateway counts what it scores, so that a second scoring could show."""
    reordered: int
    looks: int
    """How often the API answered."""
    unanswered: int
    faults: list[FaultReport]
    """The real faults of machines, which the cases are about."""
    cases: list[CaseReport]
    events: list[Event]
    problems: list[str]
    """Why the drill failed; empty when it did not."""
    peak_rss_mb: dict[str, float]
