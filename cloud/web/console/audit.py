"""The audit log: who did what to which machine."""

from collections.abc import Callable

from nicegui import ui

from cloud.web.console.frame import frame, live, load, page_at
from cloud.web.console.parts import Section, Text, box, empty
from cloud.web.console.rollout_parts import audit_table, button
from cloud.web.console.tongue import t
from cloud.web.ports import Desk
from cloud.web.rollout_schemas import AuditEntry
from cloud.web.rollout_views import RolloutViews

EVERY_S = 3.0
PAGE, MAX_ROWS = 50, 500
ADDRESS = "GET /api/audit?before=NUMBER"


def install(desk: Desk, views: RolloutViews) -> None:
    """Register the page."""

    @page_at("/audit")
    async def audit_page() -> None:
        with frame(desk, "/audit", t("Audit log")):
            with box("stack stack-s"):
                Text(t("Audit log"), tag="h1")
                Text(t("What people, other systems and the gateway did."), "muted")
            with box("filters"):
                device = ui.input(placeholder=t("Machine, by its exact name"))
                device.props("outlined dense clearable debounce=300")
                device.props["aria-label"] = t("Machine")
                rollout = ui.input(placeholder=t("Rollout number"))
                rollout.props("outlined dense clearable debounce=300 inputmode=numeric")
                rollout.props["aria-label"] = t("Rollout")
                for field in (device, rollout):
                    field.classes("search flush-left")
            with box("card"):
                log = Log(views, lambda: (_number(rollout.value), str(device.value or "").strip()))
            for field in (device, rollout):
                field.on_value_change(log.restart)
            await log.refresh()
            live(log.refresh, EVERY_S)


def _number(text: object) -> int:
    """Read a rollout's number; empty is all, what is no number fits none."""
    written = str(text or "").strip()
    if not written:
        return 0
    return int(written) if written.isascii() and written.isdecimal() and len(written) < 9 else -1


class Log:
    """Lines of the audit log, the newest first, with a button for older ones."""

    def __init__(
        self, views: RolloutViews, wanted: Callable[[], tuple[int, str]], page: int = PAGE
    ) -> None:
        """Show lines that fit a rollout's number and a machine's name, a page at a time."""
        self._views, self._wanted, self._page = views, wanted, page
        self._shown = page
        self._listed = Section(box())

    async def refresh(self) -> None:
        """Read the log anew."""
        rollout, device = self._wanted()
        limit = self._shown + 1
        found = await load(lambda: self._views.audit(limit, rollout=rollout, device=device))
        content = (rollout, self._shown, tuple(row.id for row in found))
        self._listed.show(content, lambda: self._build(found, rollout))

    async def restart(self) -> None:
        """Show what is wanted now, from the newest."""
        self._shown = self._page
        await self.refresh()

    async def _older(self) -> None:
        self._shown = min(self._shown + self._page, MAX_ROWS)
        await self.refresh()

    def _build(self, found: list[AuditEntry], rollout: int) -> None:
        if not found:
            empty("history", t("Nothing here"), t("Nobody did anything that fits."))
            return
        audit_table(found[: self._shown], rollout_column=not rollout)
        if len(found) > self._shown:
            with box("abreast more").style("justify-content: center"):
                if self._shown < MAX_ROWS:
                    button(t("Older lines"), "expand_more", "btn-side", self._older)
                else:
                    Text(t("Older lines: {address}", address=ADDRESS), "muted small")
