"""What the drill says: how far it has come, and its verdict."""

import sys
from collections import Counter
from collections.abc import Sequence

from msgspec import Struct
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from farfix import screen
from farfix.drill.swu_judge import Judged, Payload
from farfix.drill.swu_plan import Fault


class Report(Struct, frozen=True, kw_only=True):
    """The whole drill."""

    seed: int
    runs: int
    minutes: float
    swupdate: str
    """Version of the client."""
    ends: dict[str, dict[str, int]]
    """By fault: how often it ended how."""
    right: int
    mixed: int
    """Runs after which neither the old nor the new payload runs."""
    spare_damaged: int
    """Runs after which half a payload lies in the slot that does not run."""
    words_untrue: int
    """Runs in which the client's words differ from what runs."""
    resumed: int
    """Downloads that went on where they were cut."""
    downloaded_mb: float
    judged: list[Judged]
    problems: list[str]
    """Why the drill failed; empty when it did not."""


def report(
    seed: int, minutes: float, swupdate: str, judged: Sequence[Judged], problems: list[str]
) -> Report:
    """Count."""
    outcomes = [j.outcome for j in judged]
    ends: dict[str, Counter[str]] = {}
    for o in outcomes:
        ends.setdefault(o.fault, Counter())[o.phase] += 1
    return Report(
        seed=seed,
        runs=len(outcomes),
        minutes=round(minutes, 1),
        swupdate=swupdate,
        ends={fault: dict(ends[fault]) for fault in Fault if fault in ends},
        right=sum(not j.problems for j in judged),
        mixed=sum(o.payload is Payload.MIXED for o in outcomes),
        spare_damaged=sum(o.spare_damaged for o in outcomes),
        words_untrue=sum(o.claimed != o.on_device for o in outcomes),
        resumed=sum(o.ranges for o in outcomes),
        downloaded_mb=round(sum(o.downloaded for o in outcomes) / 1e6, 1),
        judged=sorted(judged, key=lambda j: j.outcome.number),
        problems=[
            *(
                f"run {j.outcome.number} ({j.outcome.fault}): {p}"
                for j in judged
                for p in j.problems
            ),
            *problems,
        ],
    )


class Screen(screen.Screen):
    """A bar on a terminal, a line for each run elsewhere."""

    def __init__(self, runs: int) -> None:
        super().__init__(live=False)
        terminal = sys.stdout.isatty()
        self._moving = self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            disable=not terminal,
        )
        self._task = self._bar.add_task("updates", total=runs)
        self._plain = not terminal

    def done(self, judged: Judged) -> None:
        """Show that a run has ended."""
        o = judged.outcome
        self._bar.advance(self._task)
        line = (
            f"run {o.number:4} {o.fault:13} {o.payload_bytes / 1e6:5.2f} MB: {o.phase:9} "
            f"{o.payload} payload runs, {o.seconds:5.1f} s"
        )
        if judged.problems:
            self.say(f"{line}; {'; '.join(judged.problems)}", "bold red")
        elif self._plain:
            self.say(line)

    def result(self, made: Report) -> None:
        """Show what came of everything."""
        table = Table("fault", "runs", "ended", "right", title=f"{made.runs} updates")
        for fault, ends in made.ends.items():
            of = [j for j in made.judged if j.outcome.fault == fault]
            right = sum(not j.problems for j in of)
            said = ", ".join(f"{phase} {n}" for phase, n in ends.items())
            style = "green" if right == len(of) else "bold red"
            table.add_row(fault, str(len(of)), said, Text(str(right), style))
        self.console.print(table)
        self.say(
            f"{made.swupdate}: {made.right} of {made.runs} verdicts right, {made.mixed} mixed "
            f"payloads; in {made.words_untrue} runs the client's word was not true, in "
            f"{made.spare_damaged} it left half a payload in the spare slot; {made.resumed} "
            f"downloads resumed; {made.downloaded_mb:g} MB, {made.minutes:g} min."
        )
        self.verdict(made.problems, "Every verdict is what is really on the computer.")
