"""What surrounds every page: header, banner of simulated time, and the beat of live updates."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from nicegui import ui

from cloud.web import words
from cloud.web.console.parts import Text, box, empty, link
from cloud.web.ports import Desk
from contract.errors import Unreachable

STYLE = "/assets/style.css"
PRIMARY = "#2f8fa8"
"""Of checkboxes and fields; reads well on light and on dark."""
BEAT_S = 1.0
"""Wall seconds between live updates."""
PAGES = {
    "/": "Fleet",
    "/tickets": "Tickets",
    "/rollouts": "Rollouts",
    "/releases": "Releases",
    "/quarantine": "Quarantine",
    "/audit": "Audit",
}

T = TypeVar("T")


@contextmanager
def frame(desk: Desk, here: str, title: str) -> Iterator[None]:
    """Build header and banner, and enter the page's main part.

    A store that does not answer while the page is built becomes a message in its place.
    """
    ui.add_head_html(f'<link rel="stylesheet" href="{STYLE}">')
    ui.page_title(f"{title} · Farfix")
    ui.colors(primary=PRIMARY)
    with box("top", tag="header"), box("top-in"):
        with link("", "/", "brand").props('aria-label="Farfix, to the fleet"'):
            ui.icon("hub")
            Text("Farfix", "brand-name", tag="span")
        with box("nav", tag="nav"):
            for target, name in PAGES.items():
                entry = link(name, target, "")
                if target == here:
                    entry.props('aria-current="page"')
        clock = Text("", "top-clock num")
    if desk.timescale.speed != 1.0:
        with box("banner").props('role="note"'), box("banner-in"):
            ui.icon("fast_forward")
            speed = f"{desk.timescale.speed:g}"
            Text(f"Simulated time: {speed}x. All times and waits are the plant's.")

    with box("banner trouble").props('role="alert"') as alert, box("banner-in"):
        ui.icon("warning")
        trouble = Text("")

    def tick() -> None:
        clock.text = words.utc(desk.now_ns())
        trouble.text = " ".join(desk.troubles())
        alert.visible = bool(trouble.text)

    tick()
    ui.timer(BEAT_S, tick)
    with box("main", tag="main"):
        try:
            yield
        except Unreachable:
            _unreachable()


def not_found(what: str) -> None:
    """Say that the address leads nowhere, and where to go on."""
    empty("search_off", "Not found", f"{what} It may have been removed, or the address mistyped.")
    with box("row").style("justify-content: center"):
        link("Back to the fleet", "/")


async def load(read: Callable[[], T]) -> T:
    """Read in a thread, so that a slow store never stops the loop."""
    return await asyncio.to_thread(read)


def live(
    update: Callable[[], Awaitable[None]], every_s: float = BEAT_S, *, at_once: bool = False
) -> None:
    """Call an update while the page is open; one that finds no answer leaves all as it is."""

    async def beat() -> None:
        with suppress(Unreachable):
            await update()

    ui.timer(every_s, beat, immediate=at_once)


def _unreachable() -> None:
    """Say that the stores do not answer."""
    empty(
        "cloud_off",
        "The gateway's database does not answer",
        "Machines keep their data meanwhile. Reload this page in a moment.",
    )
