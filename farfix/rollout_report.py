"""Rollouts as tables in a terminal. Text from machines is shown as text, never obeyed."""

import time
from collections import Counter
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cloud.core.rollout_states import UpdatePhase
from cloud.web import rollout_words, words
from cloud.web.rollout_schemas import PreviewView, RolloutBrief, RolloutView, UpdateView
from farfix.rollout_api import RolloutApi

P = UpdatePhase
COLOR = {
    P.UPDATED: "green",
    P.WATCHING: "bright_green",
    P.CHECKING: "blue",
    P.INSTALLING: "bright_blue",
    P.OFFERED: "cyan",
    P.WAITING: "bright_black",
    P.SKIPPED: "bright_black",
    P.CANCELED: "bright_black",
    P.CANCELLING: "yellow",
    P.REVERTING: "yellow",
    P.REVERTED: "yellow",
    P.FAILED: "red",
    P.UNCLEAR: "magenta",
}
"""In the order of the bars."""
TROUBLE = (P.UNCLEAR, P.FAILED)
BAR, NAMES, REASONS, TROUBLES = 28, 8, 8, 20
WATCH_EVERY_S = 2.0


def plain(text: str, style: str = "") -> Text:
    """Return a text without control characters: a device's log must not steer the terminal."""
    return Text("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text), style)


def bar(counts: dict[str, int]) -> Text:
    """Return machines by phase as a coloured bar; every phase that is there has a place in it."""
    present = [(phase, counts.get(phase, 0)) for phase in COLOR if counts.get(phase)]
    total, made = sum(count for _, count in present), Text()
    widths = [max(1, BAR * count // total) for _, count in present]
    if widths:
        widths[widths.index(max(widths))] += BAR - sum(widths)
    for (phase, _), width in zip(present, widths, strict=True):
        made.append("█" * width, COLOR[phase])
    return made


def told(counts: dict[str, int]) -> Text:
    """Return machines by phase in words."""
    made = Text()
    for phase, color in COLOR.items():
        if counts.get(phase):
            made.append(", " if made else "")
            made.append(f"{counts[phase]} {rollout_words.UPDATE[phase]}", color)
    return made


def tell_preview(plan: PreviewView, console: Console) -> None:
    """Show what a rollout would do."""
    table = Table("stage", "up to", "machines", "watched for", "which")
    for stage in plan.stages:
        names = ", ".join(stage.devices[:NAMES])
        more = f" and {stage.machines - NAMES} more" if stage.machines > NAMES else ""
        table.add_row(
            str(stage.stage), stage.goal, str(stage.machines), words.span(stage.soak_s),
            plain(names + more),
        )  # fmt: skip
    console.print(table)
    reasons = Counter(plan.excluded.values()).most_common(REASONS)
    for reason, count in reasons:
        console.print(plain(f"left out: {count}, {reason}"))
    if plan.excluded_count > len(plan.excluded):
        console.print(f"left out in all: {plan.excluded_count}")
    risk = "; high risk: a second person must approve it" if plan.high_risk else ""
    console.print(
        f"{rollout_words.machines(plan.machines)}, compared with {plan.controls} others{risk}"
    )


def tell_list(found: list[RolloutBrief], console: Console) -> None:
    """Show rollouts in lines."""
    if not found:
        console.print("There are no rollouts yet.")
        return
    table = Table("no.", "release", "title", "state", "stage", "run it", "by")
    for r in found:
        table.add_row(
            str(r.number), plain(f"{r.machine_type} {r.version}"), plain(r.title),
            r.phase_text, f"{r.stage}/{r.stages}", f"{r.running}/{r.machines}", plain(r.author),
        )  # fmt: skip
    console.print(table)


def show(api: RolloutApi, number: int, console: Console, *, watch: bool) -> None:
    """Show a rollout; with watch, follow it until it has ended."""
    if not watch:
        console.print(picture(api, number)[1])
        return
    rollout, shown = picture(api, number)
    with Live(shown, console=console, auto_refresh=False) as screen:
        while rollout.open:
            time.sleep(WATCH_EVERY_S)
            rollout, shown = picture(api, number)
            screen.update(shown, refresh=True)


def picture(api: RolloutApi, number: int) -> tuple[RolloutView, RenderableType]:
    """Return a rollout and how it is shown."""
    rollout = api.one(number)
    return rollout, Group(*_parts(rollout), *_troubles(api, rollout))


def _parts(rollout: RolloutView) -> Iterator[RenderableType]:
    title = f": {rollout.title}" if rollout.title else ""
    about = f"{rollout.machine_type} {rollout.version}{title}, by {rollout.author}"
    yield plain(f"Rollout {rollout.number}: {about}", "bold")
    yield plain(f"{rollout.phase_text}. {rollout.next_text}")
    if rollout.proposal:
        yield plain(rollout.proposal)
    if rollout.stop is not None:
        yield plain(f"{rollout.stop.text}: {rollout.stop.detail}", "red")
        yield plain(f"{rollout.stop.reached} machines reached, {rollout.stop.harmed} harmed", "red")
    table = Table("stage", "up to", "machines", "", "")
    for stage in rollout.funnel:
        now = ">" if rollout.open and stage.stage == rollout.stage else " "
        table.add_row(
            f"{now} {stage.stage}", stage.goal, str(stage.machines), bar(stage.counts),
            told(stage.counts),
        )  # fmt: skip
    yield table
    if rollout.health is not None:
        yield plain(rollout.health.text)
    if rollout.actions:
        yield plain(f"What you may do: farfix rollout {'|'.join(rollout.actions)} {rollout.number}")


def _troubles(api: RolloutApi, rollout: RolloutView) -> Iterator[RenderableType]:
    found: list[UpdateView] = []
    for phase in TROUBLE:
        if rollout.counts.get(phase):
            found += api.updates(rollout.number, phase, TROUBLES).updates
    if not found:
        return
    table = Table("machine", "state", "installer says", "read from it", "last word")
    for update in found[:TROUBLES]:
        table.add_row(
            plain(update.device), update.phase_text, update.report_text,
            plain(update.version or "not known"), plain(update.harm or update.detail),
        )  # fmt: skip
    yield table
    total = sum(rollout.counts.get(phase, 0) for phase in TROUBLE)
    if total > TROUBLES:
        yield plain(f"and {total - min(len(found), TROUBLES)} more")
