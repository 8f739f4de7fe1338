"""What surrounds every page: navigation, banners, and the beat of live updates."""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, TypeVar

from nicegui import context, ui
from nicegui.element import Element

from cloud.core.people import Role
from cloud.web.console import tongue, viewer
from cloud.web.console.parts import Text, box, empty, link
from cloud.web.console.tongue import later, t, told
from cloud.web.ports import Desk
from contract.errors import Unreachable

STYLE = "/assets/style.css"
PRIMARY = "#2f8fa8"
"""Of checkboxes and fields; reads well on light and on dark."""
BEAT_S = 1.0
"""Wall seconds between live updates."""
BUILD_S = 20.0
"""So long a page may take to be built; a store that is busy answers late, but it answers."""
LEAVING = """<script>
addEventListener("click", event => {
  const a = event.target.closest?.("a[href^='/']");
  if (a && !a.target && !a.download && !event.metaKey && !event.ctrlKey && !event.shiftKey)
    document.documentElement.classList.add("leaving");
});
addEventListener("pageshow", () => document.documentElement.classList.remove("leaving"));
</script>"""
"""A line runs along the top while the next page is on its way."""


class Place(NamedTuple):
    """One entry of the navigation."""

    target: str
    title: str
    icon: str
    role: Role = Role.VIEWER


PLACES: dict[str, tuple[Place, ...]] = {
    later("Operation"): (
        Place("/", later("Fleet"), "grid_view"),
        Place("/tickets", later("Tickets"), "engineering"),
        Place("/value", later("Value"), "savings"),
    ),
    later("Remedies"): (
        Place("/playbooks", later("Playbooks"), "menu_book"),
        Place("/rollouts", later("Rollouts"), "rocket_launch"),
        Place("/releases", later("Releases"), "inventory_2"),
    ),
    later("Gateway"): (
        Place("/quarantine", later("Quarantine"), "gpp_maybe"),
        Place("/audit", later("Audit log"), "history"),
        Place("/webhooks", later("Webhooks"), "webhook", Role.ADMIN),
        Place("/customers", later("Customers"), "storefront", Role.ADMIN),
        Place("/people", later("People"), "group", Role.ADMIN),
    ),
}
ROLES = {
    Role.VIEWER: later("Viewer"),
    Role.OPERATOR: later("Operator"),
    Role.ENGINEER: later("Engineer"),
    Role.ADMIN: later("Admin"),
}

T = TypeVar("T")


def page_at(path: str) -> ui.page:
    """Return what registers a page of the console."""
    return ui.page(path, response_timeout=BUILD_S)


@contextmanager
def frame(desk: Desk, here: str, title: str) -> Iterator[None]:
    """Build navigation and banners, and enter the page's main part.

    A store that does not answer while the page is built becomes a message in its place.
    """
    ui.add_head_html(f'<link rel="stylesheet" href="{STYLE}">{LEAVING}')
    ui.page_title(f"{title} · Farfix")
    ui.colors(primary=PRIMARY)
    _speak()
    with box("shell"):
        link(t("Skip to the content"), "#main", "skip")
        clock = _navigation(here)
        with box("page"):
            alert, trouble = _banners(desk)
            with box("main", tag="main").props("id=main tabindex=-1"):
                try:
                    yield
                except Unreachable:
                    _unreachable()

    def tick() -> None:
        viewer.leave_if_signed_out()
        clock.text = tongue.utc(desk.now_ns())
        trouble.text = " ".join(map(told, desk.troubles()))
        alert.visible = bool(trouble.text)

    tick()
    ui.timer(BEAT_S, tick)


def _speak() -> None:
    """Set the document's language, and leave the landmarks to the frame."""
    client = context.client
    client.page = copy.copy(client.page)
    client.page.language = "zh-CN" if tongue.language() == "zh" else "en-US"
    slot = client.content.parent_slot
    if slot is not None:
        slot.parent.props("role=presentation")  # Quasar's page is a second <main>


def _navigation(here: str) -> Text:
    """Build brand, places and person; return where the time stands."""
    with box("top", tag="header").props("role=banner"):
        with link("", "/", "brand") as brand:
            ui.icon("hub")
            Text("Farfix", "brand-name", tag="span")
        brand.props["aria-label"] = t("Farfix, to the fleet")
        clock = Text("", "top-clock num")
        with box("menu-button", tag="button").props("type=button popovertarget=menu") as button:
            ui.icon("menu")
        button.props["aria-label"] = t("Menu")
        with box("menu").props("id=menu popover=auto"):
            with box("nav", tag="nav") as nav:
                for group, places in PLACES.items():
                    _group(group, [p for p in places if viewer.allowed(p.role)], here)
            nav.props["aria-label"] = t("Pages")
            _person()
    return clock


def _group(title: str, places: list[Place], here: str) -> None:
    if not places:
        return
    with box("nav-group"):
        Text(told(title), "nav-title")
        for place in places:
            with link("", place.target, "nav-link") as entry:
                ui.icon(place.icon)
                Text(told(place.title), tag="span")
            if place.target == here:
                entry.props["aria-current"] = "page"


def _person() -> None:
    """Show who is signed in, with the languages and the way out."""
    who = viewer.person()
    with box("person"):
        with box("stack").style("gap: 0"):
            Text(who.name, "person-name wrap")
            Text(told(ROLES.get(who.role, who.role)), "small muted")
        with box("abreast"):
            with _form("/language"), box("languages").props("role=group") as group:
                came = context.client.request.url
                box(tag="input").props("type=hidden name=next").props["value"] = (
                    f"{came.path}?{came.query}" if came.query else came.path
                )
                for code, name in tongue.LANGUAGES.items():
                    chosen = Text(name, "language", tag="button")
                    chosen.props(f"type=submit name=language value={code} lang={code}")
                    chosen.props["aria-pressed"] = str(code == tongue.language()).lower()
            group.props["aria-label"] = t("Language")
            with _form("/sign-out"):
                Text(t("Sign out"), "sign-out", tag="button").props("type=submit")


def _form(target: str) -> Element:
    """Return a form that works without the live connection."""
    return box(tag="form").props(f"method=post action={target}")


def _banners(desk: Desk) -> tuple[Element, Text]:
    if desk.timescale.speed != 1.0:
        with box("banner").props('role="note"'), box("banner-in"):
            ui.icon("fast_forward")
            speed = f"{desk.timescale.speed:g}"
            Text(t("Simulated time: {speed}x. All times and waits are the plant's.", speed=speed))
    with box("banner trouble").props('role="alert"') as alert, box("banner-in"):
        ui.icon("warning")
        trouble = Text("")
    return alert, trouble


def not_found(what: str) -> None:
    """Say that the address leads nowhere, and where to go on."""
    hint = t("It may have been removed, or the address mistyped.")
    empty("search_off", t("Not found"), f"{what} {hint}")
    with box("abreast").style("justify-content: center"):
        link(t("Back to the fleet"), "/")


async def load(read: Callable[[], T]) -> T:
    """Read in a thread, so that a slow store never stops the loop."""
    return await asyncio.to_thread(read)


def live(
    update: Callable[[], Awaitable[None]], every_s: float = BEAT_S, *, at_once: bool = False
) -> None:
    """Call an update while the page is open; one that finds no answer leaves all as it is."""

    async def beat() -> None:
        if viewer.allowed(Role.VIEWER):  # else the frame's beat leads out
            with suppress(Unreachable):
                await update()

    ui.timer(every_s, beat, immediate=at_once)


def _unreachable() -> None:
    """Say that the stores do not answer."""
    empty(
        "cloud_off",
        t("The gateway's database does not answer"),
        t("Machines keep their data meanwhile. Reload this page in a moment."),
    )
