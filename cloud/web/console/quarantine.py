"""What was refused at the door, and why."""

from cloud.web.console import tongue
from cloud.web.console.frame import frame, live, load, page_at
from cloud.web.console.parts import Section, Text, box, empty
from cloud.web.console.tongue import t, told
from cloud.web.ports import Desk
from cloud.web.schemas import QuarantineEntry
from cloud.web.views import Views

EVERY_S = 5.0


def install(desk: Desk, views: Views) -> None:
    """Register the page."""

    @page_at("/quarantine")
    async def quarantine_page() -> None:
        with frame(desk, "/quarantine", t("Quarantine")):
            with box("stack stack-s"):
                Text(t("Quarantine"), tag="h1")
                about = t("Messages that could not be used. Nothing else was held up by them.")
                Text(about, "muted")
            found = await load(views.quarantine)
            listed = Section(box())
            listed.show(tuple(found), lambda: _entries(found))

            async def refresh() -> None:
                seen = await load(views.quarantine)
                listed.show(tuple(seen), lambda: _entries(seen))

            live(refresh, EVERY_S)


def _entries(entries: list[QuarantineEntry]) -> None:
    if not entries:
        empty(
            "verified_user",
            t("Nothing in quarantine"),
            t("Every message so far kept the contract."),
        )
        return
    with box("stack stack-l"):
        for entry in entries:
            with box("card stack"):
                with box("abreast between"):
                    Text(tongue.utc(entry.at_ns), "small muted num")
                    Text(entry.topic, "mono muted wrap")
                Text(told(entry.reason), "wrap")
                Text(entry.payload, "mono payload wrap")
