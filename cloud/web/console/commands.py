"""Commands that a person sends to a machine by hand, and what came back."""

import secrets
from collections.abc import Callable

from nicegui import ui

from cloud.core.people import Role
from cloud.web import words
from cloud.web.console import decisions, viewer
from cloud.web.console.frame import live
from cloud.web.console.parts import Section, Text, box, dot, link, pill, set_prop
from cloud.web.console.tongue import later, t, told
from cloud.web.ports import Desk, HandOrder
from cloud.web.schemas import Machine
from contract.commands import Answer, AnswerStatus
from contract.machines import ABOUT_FIRMWARE, CommandSpec, MachineType

SENT_MAX = 10
"""So many of the newest are shown."""
ANSWER = {
    AnswerStatus.DONE: ("ok", "check", later("Done, and read back as it should")),
    AnswerStatus.FAILED: ("bad", "error_outline", later("Tried, but the device reports failure")),
    AnswerStatus.REFUSED: ("bad", "block", later("Refused by the device; it did nothing")),
    AnswerStatus.EXPIRED: ("warn", "timer_off", later("Came too late; it did nothing")),
    AnswerStatus.UNREACHABLE: (
        "warn",
        "cloud_off",
        later("The device did not answer; it did nothing"),
    ),
}


class Commands:
    """The section of a machine's page, for engineers."""

    def __init__(self, desk: Desk, machine: Machine) -> None:
        self._desk, self._machine = desk, machine
        self._kind = desk.machines.get(machine.machine_type)
        self._sent: list[tuple[str, str]] = []
        self._host = box("host")
        with box("card stack stack-l") as self._card:
            with box("stack stack-s"):
                Text(t("Commands"), tag="h2")
                Text(t("Sent by hand, at once, with your name in the audit log."), "muted small")
            self._answers = Section(box("stack").props('aria-live="polite"'))
            self._rows = Section(box())
        self.show(machine)
        live(self._answered)

    def show(self, machine: Machine) -> None:
        """Set what is known now: with an open case nothing is sent by hand."""
        self._machine = machine
        able = viewer.allowed(Role.ENGINEER) and self._kind is not None
        self._card.set_visibility(able)
        case = machine.case.case_id if machine.case else ""
        if able:
            self._rows.show((case, machine.title), self._build)

    def _build(self) -> None:
        case = self._machine.case
        if case is not None:
            with box("note"):
                ui.icon("lock")
                with box():
                    Text(t("A case is open: its remedies go first, nothing is sent by hand."))
                    link(t("To the case"), f"/cases/{case.case_id}")
        shown = _by_hand(self._kind)
        if not shown:
            Text(t("This type of machine takes no commands."), "muted")
        for spec in shown:
            with box("command-row"):
                with box("stack stack-s"):
                    Text(told(spec.title), tag="h3", classes="wrap")
                    Text(self._about(spec), "small muted wrap")
                if spec.high_risk:
                    pill("bad", "warning", t("high risk"))
                else:
                    Text("")
                made = ui.button(t("Send"), icon="send", color=None, on_click=self._asking(spec))
                made.props("unelevated no-caps").classes("btn btn-side")
                made.set_enabled(case is None)
                set_prop(made, "aria-label", f"{t('Send')}: {told(spec.title)}")

    def _asking(self, spec: CommandSpec) -> Callable[[], None]:
        return lambda: self._ask(spec)

    def _ask(self, spec: CommandSpec) -> None:
        machine = self._machine
        title = t("{command}: {machine}", command=told(spec.title), machine=machine.title)
        with decisions.dialog(self._host, title) as opened:
            Text(self._about(spec), "muted wrap")
            value = _field(spec)
            typed = _typed(spec, machine.device)
            summary = Text("", "note-text wrap")

            def say() -> None:
                summary.text = _summary(spec, machine, value)

            say()
            if value is not None:
                value.on_value_change(say)

            async def confirm() -> None:
                if typed is not None and str(typed.value or "").strip() != machine.device:
                    device = machine.device
                    ui.notify(t("Please type the name of the machine: {device}", device=device))
                    return
                if value is not None and not _fits(spec, value.value):
                    ui.notify(t("Please give a value within the range."))
                    return
                argument = None if value is None else float(value.value)
                if await decisions.attempt(lambda: self._send(spec, argument)):
                    opened.close()

            decisions.answers(opened, t("Send it now"), confirm)

    def _about(self, spec: CommandSpec) -> str:
        return _about(spec, self._named)

    def _named(self, name: str) -> str:
        signal = self._kind.signal(name) if self._kind else None
        return told(signal.title) if signal else name

    async def _send(self, spec: CommandSpec, argument: float | None) -> None:
        by = decisions.by(Role.ENGINEER)
        order = HandOrder(
            id=secrets.token_hex(8), device=self._machine.device, name=spec.name, argument=argument
        )
        await self._desk.command(order, by)
        given = "" if argument is None else f" {words.number(argument)}"
        self._sent = [(order.id, f"{told(spec.title)}{given}"), *self._sent][:SENT_MAX]
        await self._answered()

    async def _answered(self) -> None:
        """Show what came back for each command sent from this page."""
        seen = [(title, self._desk.answer(sent)) for sent, title in self._sent]
        self._answers.show(repr(seen), lambda: _answers(seen))


def _by_hand(kind: MachineType | None) -> list[CommandSpec]:
    """Return what may be sent by hand: firmware goes by rollouts."""
    return [c for c in kind.commands if c.kind not in ABOUT_FIRMWARE] if kind else []


def _about(spec: CommandSpec, named: Callable[[str], str]) -> str:
    """Say what a command takes, what it needs and how it shows that it worked."""
    said = [t("Command {name}.", name=spec.name)]
    if spec.argument is not None:
        said.append(
            t(
                "Takes {minimum} to {maximum} {unit}.",
                minimum=words.number(spec.argument.minimum),
                maximum=words.number(spec.argument.maximum),
                unit=words.unit(spec.argument.unit),
            )
        )
    if spec.precondition is not None:
        said.append(
            t(
                "The device looks at {signal} before it acts.",
                signal=named(spec.precondition.signal),
            )
        )
    if spec.confirm is not None:
        said.append(
            t(
                "It counts as done when {signal} shows it within {count} s.",
                signal=named(spec.confirm.signal),
                count=words.number(spec.confirm.within_s),
            )
        )
    return " ".join(said)


def _field(spec: CommandSpec) -> ui.number | None:
    if spec.argument is None:
        return None
    label = t(
        "Value, {minimum} to {maximum} {unit}",
        minimum=words.number(spec.argument.minimum),
        maximum=words.number(spec.argument.maximum),
        unit=words.unit(spec.argument.unit),
    )
    made = ui.number(label, min=spec.argument.minimum, max=spec.argument.maximum)
    return made.props("outlined dense")


def _typed(spec: CommandSpec, device: str) -> ui.input | None:
    if not spec.high_risk:
        return None
    made = ui.input(t("High risk: type {device} to agree", device=device))
    return made.props("outlined dense maxlength=64")


def _fits(spec: CommandSpec, value: float | None) -> bool:
    asked = spec.argument
    return value is not None and asked is not None and asked.minimum <= value <= asked.maximum


def _summary(spec: CommandSpec, machine: Machine, value: ui.number | None) -> str:
    given = "" if value is None or value.value is None else f" {words.number(value.value)}"
    unit = words.unit(spec.argument.unit) if given and spec.argument else ""
    return t(
        "{command} is sent to {device} at {site}.",
        command=f"{spec.name}{given} {unit}".strip(),
        device=machine.device,
        site=machine.site,
    )


def _answers(seen: list[tuple[str, Answer | None]]) -> None:
    for title, answer in seen:
        tone, icon, text = ("info", "schedule_send", t("Sent; waiting for the answer"))
        if answer is not None:
            tone, icon, text = ANSWER[answer.status]
        with box("attempt"):
            dot(tone, icon)
            with box():
                Text(title, tag="h3", classes="wrap")
                Text(told(text))
                if answer is not None and answer.reason:
                    Text(told(answer.reason), "small muted wrap")
