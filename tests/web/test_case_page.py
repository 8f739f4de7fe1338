"""A case's page in a real browser: the promise, the remedies, what people decide, and by whom."""

import asyncio
import re
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeVar

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from cloud.adapters.hook_store import Event
from cloud.core import case as rules
from cloud.core import playbook
from cloud.core.events import CommandFinished, Evidence
from cloud.core.ledger import Entry, EntryKind
from cloud.core.people import Role
from cloud.core.states import Mode, Phase
from cloud.service.value import Value
from cloud.web import words
from cloud.web.console import sentences
from cloud.web.faces import Faces
from cloud.web.hook_ports import EndpointOrder
from contract.commands import AnswerStatus
from contract.tickets import VisitState, VisitUpdate
from tests.web.fixture_browser import BAD, DESKTOP, LOOKS, PHONE, Visit
from tests.web.fixture_world import HOSTILE, S, WorldDesk

pytestmark = pytest.mark.real

As = Callable[[Role | None], Visit]
T = TypeVar("T")
STILL = "!document.querySelector('.q-dialog').getAnimations({ subtree: true }).length"
"""A dialog has faded in."""
AS_PAINTED = ".shell { visibility: hidden } .q-btn__content { z-index: auto !important }"
"""Keeps axe from taking the page under a dialog, or its veil, for the ground of its buttons.

It holds what has a z-index in a button, without being positioned, for painted below the card.
"""


def case_of(world: WorldDesk, device: str) -> str:
    return world.store.cases(device=device)[0].case_id


def open_case(world: WorldDesk, device: str, fault: str) -> str:
    """A fresh case that waits for a yes, on a machine that has none."""
    if world.store.asset(device) is None:
        world.add_machine(device, "centrifugal_pump", f"Pump {device}", "case tests")
    case_id = world.open(device, fault, world.now_ns() - 400 * S, Mode.SUGGEST)
    world.observed(case_id)
    return case_id


def test_it_tells_the_story_and_hostile_text_stays_text(visit: Visit, world: WorldDesk) -> None:
    page = visit.open(f"/cases/{case_of(world, 'pump-2')}")
    expect(page.get_by_text("Fault detected: Cavitation")).to_be_visible()
    expect(page.get_by_text("Evidence of recovery")).to_be_visible()
    expect(page.get_by_text("82 %")).to_be_visible()
    expect(page.get_by_text(HOSTILE).first).to_be_visible()
    expect(page.locator(".case-chart canvas").first).to_be_visible()
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)


def test_each_remedy_has_its_signal_before_and_after(visit: Visit, world: WorldDesk) -> None:
    page = visit.open(f"/cases/{case_of(world, 'chiller-1')}")
    attempt = page.locator(".attempt", has_text="Remedy 1")
    expect(attempt.locator("canvas")).to_be_visible()
    expect(attempt.get_by_text("is expected")).to_contain_text(" before, ")
    expect(page.get_by_text("What worked:")).to_be_visible()


def test_it_says_what_is_promised(visit: Visit, world: WorldDesk) -> None:
    page = visit.open(f"/cases/{case_of(world, 'compressor-1')}")
    expect(page.get_by_text("What is promised")).to_be_visible()
    expect(page.get_by_text("Level B, severity medium")).to_be_visible()
    expect(page.get_by_text("kept", exact=True)).to_be_visible()


def test_the_clock_stands_still_while_the_customer_waits(visit: Visit, world: WorldDesk) -> None:
    case_id = open_case(world, "pump-c1", "setpoint_drift")
    due_ns = world.case(case_id).plan.due_ns
    page = visit.open(f"/cases/{case_id}")
    page.get_by_role("button", name="The customer asks to wait").click()
    page.get_by_label("What was said (optional)").fill("shift change")
    page.get_by_role("button", name="Yes, wait").click()
    expect(page.get_by_text("stands still since")).to_be_visible()
    assert world.case(case_id).paused_ns is not None
    page.get_by_role("button", name="Let the clock run again").click()
    expect(page.get_by_text("stands still since")).to_have_count(0)
    assert world.case(case_id).plan.due_ns >= due_ns
    expect(page.get_by_text("shift change")).to_be_visible()


def test_a_person_approves_by_two_clicks_under_their_own_name(
    visit_as: As, world: WorldDesk
) -> None:
    case_id = case_of(world, "pump-3")
    page = visit_as(Role.OPERATOR).open(f"/cases/{case_id}")
    page.get_by_role("button", name="Approve").click()
    page.get_by_role("button", name="Yes, approve").click()
    expect(page.get_by_text("Applying a remedy")).to_be_visible()
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    expect(page.get_by_text("operator").first).to_be_visible()
    assert world.case(case_id).phase is Phase.FIXING


def test_who_only_looks_has_no_buttons(visit_as: As, world: WorldDesk) -> None:
    case_id = open_case(world, "pump-c2", "setpoint_drift")
    page = visit_as(Role.VIEWER).open(f"/cases/{case_id}")
    expect(page.get_by_text("Needs your approval").first).to_be_visible()
    names = ("Approve", "Reject", "Order a visit", "Wrong alarm", "Try a remedy", "asks to wait")
    for name in names:
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    page = visit_as(Role.OPERATOR).open(f"/cases/{case_id}")
    expect(page.get_by_role("button", name="Approve")).to_be_visible()
    expect(page.get_by_role("button", name="Try a remedy")).to_have_count(0)


def test_an_engineer_has_a_remedy_tried(visit_as: As, world: WorldDesk) -> None:
    case_id = open_case(world, "pump-c3", "setpoint_drift")
    page = visit_as(Role.ENGINEER).open(f"/cases/{case_id}")
    page.get_by_role("button", name="Try a remedy").click()
    page.get_by_role("button", name="Try it").click()
    expect(page.get_by_text("Please choose a remedy.")).to_be_visible()
    page.get_by_role("radio", name="Restart the controller").click()
    expect(page.get_by_text("Sends restart; judged within")).to_be_visible()
    page.get_by_role("button", name="Try it").click()
    expect(page.get_by_text("engineer wants 'Restart the controller' tried next.")).to_be_visible()
    assert world.case(case_id).asked == "restart_controller"


def test_high_risk_wants_the_name_of_the_machine(visit_as: As, world: WorldDesk) -> None:
    case_id = open_case(world, "pump-c4", "setpoint_drift")
    page = visit_as(Role.ENGINEER).open(f"/cases/{case_id}")
    page.get_by_role("button", name="Try a remedy").click()
    page.get_by_role("radio", name="Install the current firmware release").click()
    expect(page.get_by_text("High risk: a mistake can stop")).to_be_visible()
    page.get_by_role("button", name="Try it").click()
    expect(page.get_by_text("Please type the name of the machine: pump-c4")).to_be_visible()
    assert world.case(case_id).asked == ""
    page.get_by_label("High risk: type pump-c4 to agree").fill("pump-c4")
    page.get_by_role("button", name="Try it").click()
    expect(page.get_by_text("tried next.")).to_be_visible()


def test_a_decision_that_comes_too_late_is_told(visit: Visit, world: WorldDesk) -> None:
    case_id = world.open("compressor-2", "oil_overheating", world.now_ns(), Mode.SUGGEST)
    page = visit.open(f"/cases/{case_id}")
    page.get_by_role("button", name="Wrong alarm").click()
    for i in range(40):
        at_ns = world.now_ns() + i * 10 * S
        world.move(case_id, Evidence(at_ns, healthy=True), at_ns)
    assert world.case(case_id).phase is Phase.SELF_CLEARED
    page.get_by_label("Reason").fill("looks fine")
    page.get_by_role("button", name="Yes, wrong alarm").click()
    expect(page.get_by_text("Not done: there is nothing to decide")).to_be_visible()


def test_the_visit_is_shown_step_by_step(visit: Visit, world: WorldDesk) -> None:
    case_id = open_case(world, "pump-c5", "setpoint_drift")
    page = visit.open(f"/cases/{case_id}")
    page.get_by_role("button", name="Order a visit").click()
    page.get_by_label("Reason").fill("asked for by phone")
    page.get_by_role("button", name="Yes, order a visit").click()
    step = page.locator(".step[aria-current=step]")
    expect(step).to_contain_text("Ordered")
    now_ns = world.now_ns()
    news = VisitUpdate(
        id="u1", state=VisitState.SCHEDULED, at_ns=now_ns, expected_ns=now_ns + 3600 * S,
        technician=f"J. Doe {HOSTILE}",
    )  # fmt: skip
    tell(world, case_id, news)
    expect(step).to_contain_text("Scheduled")
    expect(page.get_by_text("technician: J. Doe <script>")).to_be_visible()
    tell(world, case_id, VisitUpdate(id="u2", state=VisitState.CANCELLED, at_ns=now_ns + S))
    expect(step).to_contain_text("Cancelled by dispatch")
    expect(page.get_by_role("button", name="Order a visit")).to_be_visible()


def tell(world: WorldDesk, case_id: str, news: VisitUpdate) -> None:
    """Say what dispatch says, at the desk."""
    visit = world.case(case_id).visit
    assert visit is not None
    try:
        world.visited(visit.key, news).send(None)
    except StopIteration:
        return
    raise AssertionError("the desk of the tests does not wait")


def test_what_was_written_stays_when_the_case_moves_on(visit: Visit, world: WorldDesk) -> None:
    case_id = open_case(world, "pump-c6", "setpoint_drift")
    page = visit.open(f"/cases/{case_id}")
    page.get_by_role("button", name="Reject").click()
    page.get_by_label("Reason").fill("half a sen")
    world.sick(case_id, world.now_ns(), 2.2)
    page.wait_for_timeout(1500)
    expect(page.get_by_label("Reason")).to_have_value("half a sen")
    page.keyboard.press("Escape")
    expect(page.get_by_label("Reason")).to_have_count(0)


@pytest.mark.parametrize("device", ["pump-2", "compressor-1", "chiller-1", "pump-4"])
def test_it_fits_a_phone(visit: Visit, world: WorldDesk, device: str) -> None:
    visit.page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # as documented
    page = visit.open(f"/cases/{case_of(world, device)}")
    expect(page.get_by_role("heading", name="What happened")).to_be_visible()
    assert wide(page) <= PHONE["width"]


def wide(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth"))


def test_a_wrong_address_is_answered_kindly(visit: Visit) -> None:
    page = visit.open("/cases/none")
    expect(page.get_by_role("heading", name="Not found")).to_be_visible()


def test_it_speaks_chinese(visit: Visit, world: WorldDesk) -> None:
    cookie = {"name": "farfix_language", "value": "zh", "url": visit.address}
    visit.page.context.add_cookies([cookie])  # type: ignore[list-item]  # as documented
    page = visit.open(f"/cases/{case_of(world, 'compressor-1')}")
    expect(page.get_by_role("heading", name="服务承诺")).to_be_visible()
    expect(page.get_by_text("已安排上门服务").first).to_be_visible()


def recovered(world: WorldDesk, device: str) -> str:
    """A case whose remedy was proven an hour ago."""
    world.add_machine(device, "centrifugal_pump", f"Pump {device}", "case tests")
    case_id = world.open(device, "setpoint_drift", world.now_ns() - 7200 * S, Mode.AUTO)
    world.observed(case_id)
    attempt = world.case(case_id).attempt
    done_ns = attempt.sent_ns + 20 * S
    world.move(case_id, CommandFinished(attempt.command_id, AnswerStatus.DONE, done_ns), done_ns)
    for i in range(40):
        at_ns = done_ns + int(attempt.step.settle_s * S) + i * 15 * S
        world.move(case_id, Evidence(at_ns, healthy=True, score=0.3), at_ns)
    assert world.case(case_id).phase is Phase.RECOVERED
    return case_id


def come_back(world: WorldDesk, case_id: str) -> None:
    """The same fault is there again."""
    case, now_ns = world.case(case_id), world.now_ns()
    machine, seen = world.machines[case.machine_type], case.deviations
    policy = world.playbooks.policy
    found = playbook.diagnosis(machine, case.hypotheses, seen, [], policy)
    plan = playbook.plan(machine, "B", found, world.playbooks, now_ns)
    row = world.store.case(case_id)
    assert row is not None
    world._save(*rules.reopen(case, found, plan, now_ns), now_ns, row.version)


def test_a_case_that_came_back_shows_its_earlier_life(visit: Visit, world: WorldDesk) -> None:
    case_id = recovered(world, "pump-c7")
    first_ns = world.case(case_id).opened_ns
    come_back(world, case_id)
    page = visit.open(f"/cases/{case_id}")
    first = f"The same fault came back 1 times; it was first seen {words.utc(first_ns)}."
    expect(page.get_by_text(first)).to_be_visible()
    page.get_by_text("Before it came back (1)").click()
    expect(page.get_by_text("Earlier remedy 1")).to_be_visible()
    expect(page.get_by_text("Worked: healthy on fresh telemetry")).to_be_visible()


def test_it_says_what_it_was_worth(visit: Visit, world: WorldDesk, gateway_faces: Faces) -> None:
    case_id = recovered(world, "pump-c8")
    entry = Entry(
        key=f"{case_id}/0/visit_avoided", case_id=case_id, device="pump-c8", site="case tests",
        machine_type="centrifugal_pump", tier="B", at_ns=world.now_ns(),
        kind=EntryKind.VISIT_AVOIDED, count=1, amount=410.0, currency="EUR",
        assumptions={"visit": 410.0}, text=f"A visit was avoided {HOSTILE}",
    )  # fmt: skip
    assert isinstance(gateway_faces.value, Value)
    gateway_faces.value.take([entry])
    page = visit.open(f"/cases/{case_id}")
    expect(page.get_by_text("A visit was avoided <script>")).to_be_visible()
    expect(page.get_by_text("410.00 EUR")).to_be_visible()
    page.get_by_role("link", name="How it is counted").click()
    expect(page).to_have_url(re.compile("/value$"))


def test_it_shows_what_was_sent_about_its_ticket(
    visit: Visit, world: WorldDesk, gateway_faces: Faces
) -> None:
    case_id, hooks = case_of(world, "compressor-1"), gateway_faces.hooks
    order = EndpointOrder(
        name=f"Dispatch {HOSTILE}", url="http://127.0.0.1:9/hook", allow_private=True
    )

    def wait(what: Callable[[], Coroutine[object, object, T]]) -> T:
        with ThreadPoolExecutor(1) as thread:  # Playwright keeps a loop of its own in ours
            return thread.submit(lambda: asyncio.run(what())).result()

    endpoint, _ = wait(lambda: hooks.create(order, "test"))
    event = Event(
        message_id="m1", type="farfix.ticket.opened", subject=case_id, event=b"{}",
        created_ns=world.now_ns(),
    )  # fmt: skip
    world.store.hooks.tell(event, [endpoint.id])
    page = visit.open(f"/cases/{case_id}")
    expect(page.get_by_text("Not handed over yet").first).to_be_visible()
    page.get_by_text("What was sent about it").click()
    expect(page.get_by_text("farfix.ticket.opened")).to_be_visible()
    expect(page.get_by_text("Dispatch <script>")).to_be_visible()
    wait(lambda: hooks.delete(endpoint.id, "test"))


def dialog_wrongs(page: Page) -> list[tuple[str, str]]:
    """What axe finds serious in a dialog; it looks again where a field is slow to fade in."""
    for look in range(LOOKS):
        page.wait_for_timeout(min(look, 1) * 1000)
        found = Axe().run(page, context=".q-dialog").response
        bad = [v for v in found["violations"] if v["impact"] in BAD]
        bad += [v for v in found["incomplete"] if v["id"] == "color-contrast"]
        if not bad:
            break
    return [(v["id"], v["nodes"][0]["failureSummary"]) for v in bad]


@pytest.mark.parametrize(
    ("size", "language", "scheme"), [(DESKTOP, "en", "light"), (PHONE, "zh", "dark")]
)
def test_its_dialogs_keep_nobody_out(
    visit: Visit,
    world: WorldDesk,
    size: dict[str, int],
    language: str,
    scheme: Literal["light", "dark"],
) -> None:
    case_id = open_case(world, f"pump-c9-{language}", "setpoint_drift")
    cookie = {"name": "farfix_language", "value": language, "url": visit.address}
    visit.page.context.add_cookies([cookie])  # type: ignore[list-item]  # as documented
    visit.page.set_viewport_size(size)  # type: ignore[arg-type]  # as documented
    visit.page.emulate_media(color_scheme=scheme)
    page = visit.open(f"/cases/{case_id}")
    for name in ("Reject", "Try a remedy", "The customer asks to wait"):
        said = sentences.catalogue()[name] if language == "zh" else name
        page.get_by_role("button", name=said).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        page.wait_for_function(STILL)
        helped = page.add_style_tag(content=AS_PAINTED)
        assert dialog_wrongs(page) == [], name
        helped.evaluate("style => style.remove()")
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_dialog_that_cannot_be_read_is_found(visit: Visit, world: WorldDesk) -> None:
    page = visit.open(f"/cases/{open_case(world, 'pump-c10', 'setpoint_drift')}")
    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.wait_for_function(STILL)
    page.add_style_tag(content=AS_PAINTED + ".q-btn.btn-main { background: #9aa !important }")
    page.wait_for_function(STILL)
    found = Axe().run(page, context=".q-dialog").response["violations"]
    assert [v["id"] for v in found if v["impact"] == "serious"] == ["color-contrast"]
