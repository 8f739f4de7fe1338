"""The first page: every machine, the most urgent first, alive."""

from typing import Any

from nicegui import context
from nicegui.element import Element
from nicegui.events import GenericEventArguments

from cloud.web import words
from cloud.web.console.fleet_feed import SPARK_EVERY_S, Feed, Picture, news
from cloud.web.console.frame import frame, live, load, page_at
from cloud.web.console.parts import TONE, Text, empty
from cloud.web.console.tongue import later, t, template, told
from cloud.web.ports import Desk
from cloud.web.schemas import Status
from cloud.web.views import Views

VISIBLE_MAX = 48
"""Small lines that one browser may ask for at a time."""
GROUPS = {
    "all": later("All"),
    "people": later("Needs people"),
    "fixing": later("Being fixed"),
    "healthy": later("Healthy"),
    "other": later("Not judged"),
}
GROUP = {
    Status.APPROVAL: "people",
    Status.TICKET: "people",
    Status.SILENT: "people",
    Status.FIXING: "fixing",
    Status.ALARM: "fixing",
    Status.HEALTHY: "healthy",
}
"""Of each status; the others cannot be judged yet."""
TILES = {
    "machines": (later("Machines"), "precision_manufacturing", "calm"),
    "healthy": (later("Healthy"), "check_circle", "ok"),
    "being_fixed": (later("Being fixed"), "build_circle", "info"),
    "awaiting_approval": (later("Need approval"), "back_hand", "ask"),
    "tickets": (later("Open tickets"), "engineering", "bad"),
    "fixed_remotely": (later("Fixed remotely"), "verified", "ok"),
    "self_cleared": (later("Self-cleared"), "self_improvement", "ok"),
}


class Board(Element, component="fleet.js"):
    """The fleet in one browser."""

    def __init__(self, feed: Feed, picture: Picture, terms: dict[str, str]) -> None:
        """Show a picture; ``terms`` are machine words in the reader's language."""
        super().__init__()
        self._feed, self._shown = feed, picture
        self._visible: list[str] = []
        self.props["picture"] = news(None, picture)
        self.props["words"] = terms
        self.props["texts"] = _texts()
        self.props["looks"] = {
            status: (rank, *TONE[status], GROUP.get(status, "other"))
            for rank, status in enumerate(Status)
        }
        self.props["tiles"] = [(field, told(w), *look) for field, (w, *look) in TILES.items()]
        self.props["groups"] = [(name, told(group)) for name, group in GROUPS.items()]
        self.on("visible", self._look)
        client = context.client
        client.on_connect(lambda: feed.follow(self, self._take))
        client.on_disconnect(lambda: feed.leave(self))
        live(self.draw, SPARK_EVERY_S)

    def _take(self, picture: Picture) -> None:
        if self.is_deleted:
            self._feed.leave(self)
            return
        self.run_method("take", news(self._shown, picture))
        self._shown = picture

    async def _look(self, event: GenericEventArguments) -> None:
        seen: Any = event.args
        known = {machine[0] for machine in self._shown.machines}
        wanted = seen[:VISIBLE_MAX] if isinstance(seen, list) else []
        self._visible = [device for device in wanted if device in known]
        await self.draw()

    async def draw(self) -> None:
        """Bring the small lines of what is in sight."""
        if self._visible:
            wanted = self._visible
            self.run_method("draw", await load(lambda: self._feed.sparks(wanted)))


def _texts() -> dict[str, Any]:
    """Return the component's own words; it fills the values in itself."""
    return {
        "search": t("Search machines, sites, faults"),
        "show": t("Show"),
        "view": t("View"),
        "cards": t("Cards"),
        "table": t("Table"),
        "site": t("All sites"),
        "type": t("All machine types"),
        "tier": t("All tiers"),
        "tierName": template("Tier {tier}"),
        "matching": template("{shown} of {count} machines"),
        "more": t("Show more"),
        "none": t("No machine matches"),
        "noneHint": t("Choose another filter or search."),
        "clear": t("Clear all filters"),
        "heads": [
            t("Machine"), t("Status"), t("Fault"), t("Deviation"), t("Latest reading"), t("Site"),
            t("Machine type"), t("Tier"),
        ],
        "learning": template("Learning healthy running: {share} %"),
        "noScore": t("No score"),
        "deviation": template("Deviation {score} (alarm at 1)"),
        "noReading": t("no reading yet"),
        "now": t("now"),
        "ago": template("{span} ago"),
        "since": template("since {span}"),
        "spans": {
            "s": template("{count} s"),
            "min": template("{count} min"),
            "h": template("{count} h"),
            "both": template("{hours} h {minutes} min"),
            "days": template("{count} days"),
        },
    }  # fmt: skip


TITLES = (
    later("The machine has gone silent"),
    later("A firmware update ended unclear"),
    later("Looks like earlier wrong alarms"),
    later("Unknown fault"),
)
"""Of cases whose fault no machine type's table has."""


def _terms(desk: Desk) -> dict[str, str]:
    """Return what machines and their faults are called, where that differs from English."""
    said = {*words.STATUS.values(), *words.PHASE.values(), *words.SHORT.values(), *TITLES}
    for kind in desk.machines.values():
        said |= {kind.title, *(fault.title for fault in kind.faults)}
    return {text: told(text) for text in said if told(text) != text}


def install(desk: Desk, views: Views) -> None:
    """Register the page."""
    feed = Feed(desk, views)

    @page_at("/")
    async def fleet_page() -> None:
        with frame(desk, "/", t("Fleet")):
            Text(t("Fleet"), tag="h1", classes="sr")
            picture = await feed.picture()
            if not picture.machines:
                empty(
                    "precision_manufacturing",
                    t("No machines yet"),
                    t("List them under [[assets]] in the gateway's configuration and restart it."),
                )
                return
            Board(feed, picture, _terms(desk))
