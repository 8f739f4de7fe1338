"""Building blocks of the pages about rollouts."""

from collections.abc import Awaitable, Callable
from urllib.parse import quote

from nicegui import ui
from nicegui.element import Element

from cloud.core.people import Role
from cloud.core.rollout_states import Phase, UpdatePhase
from cloud.web import rollout_words
from cloud.web.console import tongue
from cloud.web.console.decisions import answers, attempt, by, dialog, given, reason
from cloud.web.console.parts import Text, box, cell, link
from cloud.web.console.tongue import t, told
from cloud.web.rollout_schemas import AuditEntry

PHASE_TONE: dict[str, tuple[str, str]] = {
    Phase.PROPOSED: ("ask", "lightbulb"),
    Phase.AWAITING_APPROVAL: ("ask", "back_hand"),
    Phase.RUNNING: ("info", "rocket_launch"),
    Phase.PAUSED: ("calm", "pause_circle"),
    Phase.STOPPING: ("warn", "undo"),
    Phase.CANCELLING: ("warn", "undo"),
    Phase.STOPPED: ("bad", "front_hand"),
    Phase.CANCELED: ("calm", "cancel"),
    Phase.FINISHED: ("ok", "task_alt"),
}
UPDATE_TONE: dict[str, tuple[str, str]] = {
    UpdatePhase.UPDATED: ("ok", "check_circle"),
    UpdatePhase.WATCHING: ("ok", "monitor_heart"),
    UpdatePhase.CHECKING: ("info", "troubleshoot"),
    UpdatePhase.INSTALLING: ("info", "downloading"),
    UpdatePhase.OFFERED: ("info", "outbox"),
    UpdatePhase.WAITING: ("calm", "hourglass_empty"),
    UpdatePhase.SKIPPED: ("calm", "block"),
    UpdatePhase.CANCELED: ("calm", "cancel"),
    UpdatePhase.CANCELLING: ("warn", "undo"),
    UpdatePhase.REVERTING: ("warn", "undo"),
    UpdatePhase.REVERTED: ("warn", "history"),
    UpdatePhase.FAILED: ("bad", "error_outline"),
    UpdatePhase.UNCLEAR: ("ask", "help_outline"),
}
"""In the order of the bars: what has the release, what is on its way, what has not, what ails."""
SLIVER = 0.8
"""Percent of a bar that even one machine among thousands gets, to be seen."""


class Bar:
    """One bar: how many machines stand in which phase, as colours, with the words below."""

    def __init__(self, *, legend: bool = True) -> None:
        self._segments: dict[str, Element] = {}
        self._words: dict[str, tuple[Element, Text]] = {}
        with box("bar").props('role="img"') as self._bar:
            for phase in UPDATE_TONE:
                self._segments[phase] = box(f"seg seg-{phase}")
        if legend:
            with box("bar-words num"):
                for phase in UPDATE_TONE:
                    with box("bar-word") as entry:
                        box(f"swatch seg-{phase}")
                        self._words[phase] = (entry, Text("", tag="span"))

    def show(self, counts: dict[str, int]) -> None:
        """Set the counts."""
        present = {phase: counts[phase] for phase in UPDATE_TONE if counts.get(phase)}
        total = sum(present.values())
        said = [_counted(count, phase) for phase, count in present.items()]
        self._bar.props["aria-label"] = ", ".join(said) or t("no machines")
        wide = {p: max(100 * count / total, SLIVER) for p, count in present.items()}
        for phase, segment in self._segments.items():
            segment.style(f"width: {100 * wide.get(phase, 0) / (sum(wide.values()) or 1):.2f}%")
        for phase, (entry, text) in self._words.items():
            entry.set_visibility(phase in present)
            text.text = _counted(present.get(phase, 0), phase)


def _counted(count: int, phase: str) -> str:
    return f"{count} {told(rollout_words.UPDATE[UpdatePhase(phase)])}"


def machines(count: int) -> str:
    """Write a number of machines."""
    if count == 1:
        return t("1 machine")
    return t("{count} machines", count=f"{count:,}".replace(",", "\N{NO-BREAK SPACE}"))


def machine_href(device: str) -> str:
    """Return the address of a machine's page, whatever its name holds."""
    return f"/machines/{quote(device, safe='')}"


def machine_link(device: str, classes: str = "link wrap") -> Text:
    """Return a link to a machine's page."""
    return link(device, machine_href(device), classes)


def button(label: str, icon: str, style: str, act: Callable[[], object]) -> ui.button:
    """Return a button in the console's look."""
    made = ui.button(label, icon=icon or None, color=None, on_click=act)
    made.props("unelevated no-caps").classes(f"btn {style}")
    return made


def ask(
    host: Element,
    title: str,
    question: str,
    yes: str,
    act: Callable[[str, str], Awaitable[object]],
    *,
    why_needed: bool | None,
) -> None:
    """Ask an engineer once more, with a reason, then act; say so if it could not be done.

    The dialog belongs to the host, which must outlive the button that opened it. No reason is
    asked for where ``why_needed`` is None.
    """
    with dialog(host, title) as opened:
        Text(question, "muted wrap")
        why = None if why_needed is None else reason(needed=why_needed)

        async def confirm() -> None:
            said = "" if why is None else given(why, needed=bool(why_needed))
            if said is not None and await attempt(lambda: act(by(Role.ENGINEER), said)):
                opened.close()

        answers(opened, yes, confirm)


def audit_table(rows: list[AuditEntry], *, rollout_column: bool) -> None:
    """Show lines of the audit log."""
    heads = [t("When"), t("Who"), t("Action"), t("Details"), t("Machine")]
    heads += [t("Rollout")] * rollout_column
    with box("scroll").props("tabindex=0"), box("grid folds audit", tag="table"):
        with box(tag="thead"), box(tag="tr"):
            for head in heads:
                Text(head, tag="th")
        with box(tag="tbody"):
            for row in rows:
                _audit_row(row, rollout_column=rollout_column)


def _audit_row(row: AuditEntry, *, rollout_column: bool) -> None:
    with box(tag="tr"):
        Text(tongue.utc(row.at_ns), "num nowrap muted", tag="td")
        with cell(t("Who"), "audit-who"):
            Text(row.by, "wrap")
        with cell(t("Action")):
            Text(told(row.what), "nowrap")
        Text(told(row.text), "wrap", tag="td")
        with cell(t("Machine"), "audit-machine"):
            if row.device:
                machine_link(row.device)
        if rollout_column:
            with cell(t("Rollout")):
                if row.rollout:
                    link(f"{row.rollout}", f"/rollouts/{row.rollout}", "link num")
