"""What was refused at the door, and why."""

from nicegui import ui

from cloud.web import words
from cloud.web.console.frame import frame, live, load, unreachable
from cloud.web.console.parts import Section, Text, box, empty, table
from cloud.web.ports import Desk
from cloud.web.schemas import QuarantineEntry
from cloud.web.views import Views

EVERY_S = 5.0


def install(desk: Desk, views: Views) -> None:
    """Register the page."""

    @ui.page("/quarantine")
    async def quarantine_page() -> None:
        with frame(desk, "/quarantine", "Quarantine"):
            with box("stack stack-s"):
                Text("Quarantine", tag="h1")
                Text("Messages that could not be used. Nothing else was held up by them.", "muted")
            found = await load(views.quarantine)
            if found is None:
                unreachable()
                return
            listed = Section(box())
            listed.show(tuple(found), lambda: _entries(found))

            async def refresh() -> None:
                seen = await load(views.quarantine)
                if seen is not None:
                    listed.show(tuple(seen), lambda: _entries(seen))

            live(refresh, EVERY_S)


def _entries(entries: list[QuarantineEntry]) -> None:
    if not entries:
        empty("verified_user", "Nothing in quarantine", "Every message so far kept the contract.")
        return
    with box("card scroll"):
        rows = [(words.utc(e.at_ns), e.reason, e.topic, e.payload) for e in entries]
        table(["When", "Why it was refused", "Topic", "It began with"], rows, mono={2, 3})
