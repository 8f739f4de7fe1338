"""What is promised about a case, whether it holds, and the clock that may stand still."""

from nicegui import ui
from nicegui.element import Element

from cloud.core.people import Role
from cloud.web import words
from cloud.web.console import decisions, viewer
from cloud.web.console.parts import Text, box, pill
from cloud.web.console.tongue import ago, span, t, told, utc
from cloud.web.ports import Desk
from cloud.web.schemas import CaseDetail

PAUSES_H = (1, 4, 8, 24, 48, 72, 168, 336, 720)
"""For how long people are offered to wait."""


def build(desk: Desk, case: CaseDetail, host: Element) -> None:
    """Show both deadlines, the level behind them, and the buttons of the clock."""
    promise, now_ns = case.promise, desk.now_ns()
    with box("facts"):
        _deadline(t("Respond by"), promise.respond_by_ns, promise.response_kept, now_ns)
        _deadline(t("Running again by"), promise.restore_by_ns, promise.restore_kept, now_ns)
        if case.open and case.ticket_key is None:
            with box("stack").style("gap: 0"):
                Text(t("Latest time to order a visit"), "fact-label")
                Text(utc(promise.visit_by_ns), "due num")
    if promise.service_level:
        Text(told(promise.service_level), "small muted wrap")
    if promise.paused_ns is not None:
        with box("note"):
            ui.icon("pause_circle")
            Text(_paused(case), "wrap")
    if viewer.allowed(Role.OPERATOR):
        _buttons(desk, case, host)


def _deadline(name: str, at_ns: int, kept: bool | None, now_ns: int) -> None:  # noqa: FBT001
    with box("stack").style("gap: 2px"):
        Text(name, "fact-label")
        Text(utc(at_ns), "due num")
        if kept is None and now_ns > at_ns:
            pill("bad", "alarm", t("late"))
        elif kept is None:
            Text(ago(at_ns, now_ns), "small muted num")
        elif kept:
            pill("ok", "check", t("kept"))
        else:
            pill("bad", "close", t("missed"))


def _paused(case: CaseDetail) -> str:
    promise = case.promise
    if promise.paused_ns is None or promise.paused_until_ns is None:
        return t("The clock of this promise stands still.")
    return t(
        "The clock of this promise stands still since {since}, until {until} at the latest.",
        since=utc(promise.paused_ns),
        until=utc(promise.paused_until_ns),
    )


def _buttons(desk: Desk, case: CaseDetail, host: Element) -> None:
    if "pause" in case.actions:
        pause = ui.button(
            t("The customer asks to wait"),
            icon="pause",
            color=None,
            on_click=lambda: _ask_pause(desk, case, host),
        )
        pause.props("unelevated no-caps").classes("btn btn-side").style("align-self: start")
    if "resume" in case.actions:

        async def resume() -> None:
            await decisions.attempt(lambda: desk.resume(case.case_id, decisions.by(Role.OPERATOR)))

        go = ui.button(t("Let the clock run again"), icon="play_arrow", color=None, on_click=resume)
        go.props("unelevated no-caps").classes("btn btn-main").style("align-self: start")


def _ask_pause(desk: Desk, case: CaseDetail, host: Element) -> None:
    promise = case.promise
    with decisions.dialog(host, t("Let the clock of the promise stand still")) as opened:
        Text(
            t(
                "Only because the customer asked for it. Deadlines move by the service time that "
                "passes; remedies and visits go on as planned. Left for this case: {left}.",
                left=span(promise.pause_left_h * 3600),
            ),
            "muted",
        )
        reasons = {reason: told(reason) for reason in promise.pause_reasons}
        why = ui.select(reasons, label=t("Reason"), value=next(iter(reasons), None))
        offered = [h for h in PAUSES_H if h <= promise.pause_left_h] or [PAUSES_H[0]]
        spans = {hours: span(hours * 3600) for hours in offered}
        hours = ui.select(spans, label=t("At the longest for"), value=offered[0])
        more = ui.input(t("What was said (optional)"))
        for field in (why, hours, more):
            field.props("outlined dense options-dense maxlength=200")

        async def confirm() -> None:
            said = str(more.value or "").strip()
            reason = f"{why.value}: {said}" if said else str(why.value)
            until_ns = desk.now_ns() + int(hours.value) * 3600 * words.NS
            if await decisions.attempt(
                lambda: desk.pause(case.case_id, decisions.by(Role.OPERATOR), reason, until_ns)
            ):
                opened.close()

        decisions.answers(opened, t("Yes, wait"), confirm)
