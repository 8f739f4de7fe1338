"""What the demo shows while it runs: a live table on a terminal, plain lines elsewhere."""

from rich.table import Table
from rich.text import Text

from farfix import screen
from farfix.api import Fleet
from farfix.demo.report import Report, moment

STYLES = {
    "healthy": "green",
    "learning": "cyan",
    "waiting": "dim",
    "fixing": "yellow",
    "approval": "yellow",
    "alarm": "yellow",
    "ticket": "magenta",
    "silent": "red",
    "unjudged": "dim",
}


class Screen(screen.Screen):
    """The terminal, or a plain stream of lines."""

    def __init__(self, *, live: bool) -> None:
        super().__init__(live=live)
        self._progress = -1

    def event(self, at_ns: int, text: str, style: str = "") -> None:
        """Print what happened at a plant time."""
        self.say(f"{moment(at_ns)[11:19]}  {text}", style)

    def fleet(self, fleet: Fleet, headline: str) -> None:
        """Show all machines as they are."""
        if self.draw(Text(headline, "bold"), _machines(fleet)):
            return
        progress = int(100 * min((m.progress for m in fleet.machines), default=0.0))
        if progress // 20 != self._progress // 20:
            self.event(fleet.now_ns, f"commissioning: {progress} % of healthy running learned")
            self._progress = progress

    def result(self, report: Report) -> None:
        """Show what became of every fault."""
        self.console.print(_outcomes(report))
        t = report.telemetry
        if t.published:
            self.say(
                f"Telemetry: {t.published} readings published, {t.stored} stored, {t.lost} lost, "
                f"{t.duplicates} judged twice ({t.redelivered_batches} batches came again)."
            )
        rss = ", ".join(f"{name} {mb:.0f} MB" for name, mb in report.peak_rss_mb.items())
        self.say(f"Peak memory: {rss}.")
        self.verdict(report.problems, "Every fault ended as it should.")


def _machines(fleet: Fleet) -> Table:
    table = Table("machine", "state", "mode", "score", "firmware", "case", expand=False)
    for machine in sorted(fleet.machines, key=lambda m: m.device):
        learning = f" {machine.progress:.0%}" if machine.status == "learning" else ""
        table.add_row(
            machine.device,
            Text(machine.status_text + learning, STYLES.get(machine.status, "")),
            machine.mode,
            "" if machine.score is None else f"{machine.score:.2f}",
            machine.firmware,
            f"{machine.case.title}: {machine.case.phase_text}" if machine.case else "",
        )
    return table


def _outcomes(report: Report) -> Table:
    table = Table(
        "machine", "fault", "seen after", "diagnosed as", "tried", "outcome", "expected",
        title="What became of every fault",
    )  # fmt: skip
    for f in report.faults:
        table.add_row(
            f.device,
            f.fault,
            "" if f.detected_after_s is None else f"{f.detected_after_s / 60:.0f} min",
            f.diagnosed_as[0] if f.diagnosed_as else "",
            ", ".join(f"{r.name}: {r.result}" for r in f.remedies),
            Text(f.outcome or "nothing", "green" if f.outcome == f.expected else "bold red"),
            f.expected,
        )
    for bait in report.baits:
        found = Text("cases opened", "bold red") if bait.cases else Text("no case", "green")
        table.add_row(bait.device, f"{bait.bait} (bait)", "", "", "", found, "no case")
    return table
