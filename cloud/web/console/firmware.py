"""The firmware of one machine: what it runs, its updates, how it fetches them, its quarantine."""

from nicegui import ui
from nicegui.element import Element

from cloud.core.people import Role
from cloud.web import words
from cloud.web.console import tongue, viewer
from cloud.web.console.frame import live, load
from cloud.web.console.parts import Section, Text, box, dot, link, pill, table
from cloud.web.console.rollout_parts import UPDATE_TONE, ask, button
from cloud.web.console.tongue import t, told
from cloud.web.ports import Desk
from cloud.web.rollout_ports import Rollouts
from cloud.web.rollout_schemas import DeviceView, UpdateView
from cloud.web.rollout_views import RolloutViews

EVERY_S = 3.0


class Firmware:
    """The section of a machine's page."""

    def __init__(
        self, desk: Desk, views: RolloutViews, rollouts: Rollouts, device: str, top: Element
    ) -> None:
        """Build it; what people must know of a quarantine goes to the top of the page."""
        self._desk, self._views, self._rollouts, self._device = desk, views, rollouts, device
        self._host, self._quarantine = box("host"), Section(top)
        with box("card stack stack-l") as self._card:
            Text(t("Firmware"), tag="h2")
            self._facts = Section(box("facts"))
            self._updates = Section(box())
            self._attributes = Section(box("stack"))
        self._card.set_visibility(False)
        live(self.refresh, EVERY_S, at_once=True)

    async def refresh(self) -> None:
        """Read the record anew."""
        found = await load(lambda: self._views.device(self._device))
        self._card.set_visibility(found is not None)
        if found is None:
            return
        now_ns, live_now = self._desk.now_ns(), self._desk.live(self._device)
        shown = {
            t("Version"): (live_now.firmware if live_now else "") or words.NONE,
            t("Hardware revision"): str(found.hardware or words.NONE),
            t("Token for DDI"): t("issued") if found.has_token else t("none"),
            t("Last asked over DDI"): words.NONE
            if found.last_poll_ns is None
            else tongue.ago(found.last_poll_ns, now_ns),
            t("Failed one after the other"): str(found.failures),
        }
        self._facts.show(tuple(shown.values()), lambda: _facts(shown))
        self._updates.show(repr(found.updates), lambda: _updates(found.updates))
        said = tuple(sorted(found.attributes.items()))
        self._attributes.show(said, lambda: _attributes(said))
        self._quarantine.show(found.quarantined, lambda: self._build_quarantine(found))

    def _build_quarantine(self, found: DeviceView) -> None:
        if not found.quarantined:
            return
        with box("card next stopped").props('role="note"'):
            with box("attempt next-text"):
                dot("bad", "block")
                with box():
                    Text(t("In quarantine: it takes part in no rollout"), tag="h2")
                    Text(found.quarantined, "wrap")
            if viewer.allowed(Role.ENGINEER):
                with box("actions"):
                    button(t("Release"), "lock_open", "btn-side", self._ask_release)

    def _ask_release(self) -> None:
        async def act(by: str, _why: str) -> None:
            await self._rollouts.release_from_quarantine(self._device, by)
            await self.refresh()

        title = t("Release {device} from quarantine", device=self._device)
        question = t("Rollouts may begin it again. Look first at why its updates failed.")
        ask(self._host, title, question, t("Yes, release"), act, why_needed=None)


def _facts(shown: dict[str, str]) -> None:
    for name, text in shown.items():
        with box("stack").style("gap: 0"):
            Text(name, "fact-label")
            Text(text, "fact-value num")


def _updates(updates: list[UpdateView]) -> None:
    if not updates:
        Text(t("No rollout has had a part for it so far."), "muted")
        return
    for update in updates:
        with box("update-row"):
            with box("stack").style("gap: 0"):
                number = t("Rollout {number}", number=update.rollout)
                link(number, f"/rollouts/{update.rollout}", "link num")
                reason = update.harm or update.detail
                if reason:
                    Text(told(reason), "small muted wrap")
            pill(*UPDATE_TONE[update.phase], told(update.phase_text))
            old, new = update.from_version or words.NONE, update.version or words.NONE
            moved = t("{old} to {new}", old=old, new=new)
            if update.from_version == update.version:
                moved = update.version or words.NONE
            when = f"{tongue.utc(update.entered_ns)} · " if update.entered_ns else ""
            Text(f"{when}{moved}", "small muted num")


def _attributes(said: tuple[tuple[str, str], ...]) -> None:
    if not said:
        return
    title = t("What it says of itself ({count})", count=len(said))
    with ui.expansion(title).classes("full fold"), box("scroll"):
        table([t("Attribute"), t("Value of the attribute")], list(said), mono={0, 1})
