"""What the dispatch drill says."""

from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text


class Report(Struct, frozen=True, kw_only=True):
    """The whole drill."""

    cases: int
    kills: int
    seed: int
    minutes: float
    events: int
    """Different ones that the receiver has taken."""
    requests: int
    requests_max: int
    """For one event."""
    answers: dict[str, int]
    """How the receiver answered, and how often."""
    enabled_again: int
    """How often the endpoint was disabled by a 410 and enabled by the API."""
    withdrawn: int
    closed: int
    processors: int
    problems: list[str]
    """Why the drill failed; empty when it did not."""


def say(report: Report) -> None:
    """Print the figures and the verdict."""
    console = Console(highlight=False)
    table = Table("the receiver answered", "times", title=f"{report.requests} requests")
    for answer, times in report.answers.items():
        table.add_row(answer, str(times))
    console.print(table)
    console.print(
        f"{report.cases} cases, {report.events} events, "
        f"{report.requests / max(report.events, 1):.2f} requests per event, at most "
        f"{report.requests_max}. The gateway was killed {report.kills} times; the endpoint was "
        f"disabled by a 410 and enabled again {report.enabled_again} times. "
        f"{report.minutes:g} min on {report.processors} processors."
    )
    for problem in report.problems[:50]:
        console.print(Text(f"NOT AS IT SHOULD BE: {problem}", "bold red"))
    if not report.problems:
        console.print(
            Text(
                f"Every case has exactly one opening and one end: {report.withdrawn} withdrawn, "
                f"{report.closed} closed.",
                "bold green",
            )
        )
