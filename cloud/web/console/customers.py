"""Customers: what they were told, and what they answered."""

from nicegui import ui

from cloud.core.customers import Rating
from cloud.core.people import Role
from cloud.web.console.decisions import attempt
from cloud.web.console.frame import frame, live, load, page_at
from cloud.web.console.parts import Section, Text, box, empty, link, pill
from cloud.web.console.tongue import t, utc
from cloud.web.console.viewer import allowed, person
from cloud.web.customer_ports import Customers, CustomerView, Told
from cloud.web.faces import Faces

EVERY_S = 5.0
SHOWN = 100
STATE = {
    "waiting": ("warn", "schedule_send"),
    "sent": ("ok", "mark_email_read"),
    "failed": ("bad", "error_outline"),
    "opted_out": ("calm", "notifications_off"),
    "superseded": ("calm", "low_priority"),
}
STATE_TEXT = {
    "waiting": lambda: t("Waiting"),
    "sent": lambda: t("Sent"),
    "failed": lambda: t("Reached nobody"),
    "opted_out": lambda: t("Wants no messages"),
    "superseded": lambda: t("Newer one sent instead"),
}


def install(faces: Faces) -> None:
    """Register the page."""
    customers, desk = faces.customers, faces.desk

    @page_at("/customers")
    async def customers_page() -> None:
        with frame(desk, "/customers", t("Customers")):
            with box("stack stack-s"):
                Text(t("Customers"), tag="h1")
                Text(t("Who is told how their machines are, and what they answered."), "muted")
            if not await load(customers.customers):
                empty(
                    "contact_mail",
                    t("Nobody is told anything yet"),
                    t("List customers under [[customers]] in the gateway's configuration."),
                )
                return
            with box("stack stack-l"):
                with box("card"):
                    Text(t("Customers"), tag="h2").style("margin-bottom: 12px")
                    people = Section(box("stack"))
                with box("card"):
                    Text(t("Answers"), tag="h2").style("margin-bottom: 12px")
                    answers = Section(box("stack"))
                with box("card"):
                    Text(t("Messages"), tag="h2").style("margin-bottom: 12px")
                    messages = Section(box("stack"))

            async def refresh() -> None:
                known = await load(customers.customers)
                people.show(repr(known), lambda: _people(customers, known))
                rated = await load(lambda: customers.ratings(SHOWN))
                answers.show(repr(rated), lambda: _ratings(rated))
                told = await load(lambda: customers.told(limit=SHOWN))
                messages.show(repr(told), lambda: _messages(told))

            await refresh()
            live(refresh, EVERY_S)


def _people(customers: Customers, known: list[CustomerView]) -> None:
    for one in known:
        with box("head"):
            with box("stack stack-s"):
                Text(one.title, tag="h3", classes="wrap")
                count = t("{n} contacts, {m} machines", n=one.contacts, m=len(one.machines))
                Text(f"{one.name} · {one.language} · {count}", "muted small wrap")
            with box("abreast"):
                if one.opted_out:
                    pill("calm", "notifications_off", t("Wants no messages"))
                if allowed(Role.ADMIN):
                    button = ui.button(t("Send a test"), icon="send", color=None)
                    button.props("unelevated no-caps").classes("btn btn-side")
                    button.on_click(lambda name=one.name: _test(customers, name))


async def _test(customers: Customers, name: str) -> None:
    if allowed(Role.ADMIN) and await attempt(lambda: customers.test(name, person().name)):
        ui.notify(t("The test message was sent."), type="positive")


def _ratings(rated: list[Rating]) -> None:
    if not rated:
        Text(t("No answers yet."), "muted")
        return
    mean = sum(rating.stars for rating in rated) / len(rated)
    Text(t("{mean} of 5 stars, over {n} answers", mean=f"{mean:.1f}", n=len(rated)), "num")
    for rating in rated:
        with box("stack stack-s"):
            with box("abreast"):
                stars = "★" * rating.stars + "☆" * (5 - rating.stars)
                shown = Text(stars, tag="span")
                shown.props["role"], shown.props["aria-label"] = "img", f"{rating.stars} / 5"
                link(rating.case_id, f"/cases/{rating.case_id}")
                Text(f"{rating.customer} · {utc(rating.at_ns)}", "muted small", tag="span")
            if rating.text:
                Text(rating.text, "wrap")


def _messages(told: list[Told]) -> None:
    if not told:
        Text(t("Nobody was told anything yet."), "muted")
    for one in told:
        with box("stack stack-s"):
            with box("head"):
                Text(one.text.partition("\n")[0], tag="h3", classes="wrap")
                pill(*STATE[one.state], STATE_TEXT[one.state]())
            with box("abreast small muted"):
                link(one.case_id, f"/cases/{one.case_id}")
                Text(f"{one.customer} · {utc(one.at_ns)}", tag="span")
                if one.state == "waiting" and one.due_ns > one.at_ns:
                    Text(t("not before {when}", when=utc(one.due_ns)), tag="span")
            if one.error:
                Text(one.error, "small wrap tone-bad")
