"""What a drill shows while it runs: a line that changes on a terminal, plain lines elsewhere."""

from msgspec import Struct
from rich.table import Table
from rich.text import Text

from farfix import screen
from farfix.chaos.report import Report

PLAIN_EVERY_S = 10.0


class Progress(Struct, frozen=True):
    """How far a drill has come."""

    phase: str
    samples: int
    of: int | None
    """Samples asked for, while they are counted."""
    waiting: int
    """Batches in the agents' spools."""
    stored: int | None
    """Rows in the store, once it is asked."""
    left_s: float | None
    """Until the samples are taken."""

    def text(self) -> str:
        """Return it as one line."""
        line = f"{self.phase}: {self.samples} samples taken"
        line += "" if self.of is None else f" of {self.of}"
        if self.left_s is not None:
            line += f", about {self.left_s:.0f} s left"
        line += f"; {self.waiting} batches in spools"
        return line if self.stored is None else f"{line}; {self.stored} rows stored"


class Screen(screen.Screen):
    """A line that changes on a terminal, and lines of what happens; plain lines elsewhere."""

    def __init__(self, *, live: bool) -> None:
        super().__init__(live=live)
        self._said_s = float("-inf")

    def progress(self, progress: Progress, now_s: float) -> None:
        """Show how far it has come."""
        drawn = self.draw(Text(progress.text(), "bold"))
        if not drawn and now_s - self._said_s >= PLAIN_EVERY_S:
            self._said_s = now_s
            self.say(progress.text())

    def result(self, report: Report) -> None:
        """Show what became of everything."""
        self.console.print(_faults(report))
        t = report.total
        self.say(
            f"{t.taken} samples taken, {t.acknowledged} acknowledged, {t.stored} stored, "
            f"{t.scored} scored: {t.lost} lost, {t.duplicated} duplicated, {report.reordered} "
            f"reordered, {t.phantom} phantom, {t.unscored} unscored. "
            f"{report.sigkills} SIGKILLs, {report.minutes:.1f} min."
        )
        for case in report.cases:
            self.say(f"Case {case.case_id}, opened at {case.opened_s} s: {case.phase}")
        self.verdict(report.problems, "Nothing lost, nothing doubled, every case where it stood.")


def _faults(report: Report) -> Table:
    table = Table("fault", "planned", "fired", title="What was done")
    for kind, planned in report.planned.items():
        fired = report.fired.get(kind, 0)
        table.add_row(kind, str(planned), Text(str(fired), "green" if fired else "bold red"))
    return table
