"""The console's pages about rollouts in a real browser, over rollouts moved by the real rules."""

from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from msgspec.structs import replace
from playwright.sync_api import expect

from cloud.adapters.clock import PlantClock
from cloud.core.people import Role
from cloud.core.rollout_states import Phase, UpdatePhase
from tests.web.fixture_browser import PHONE, Visit
from tests.web.fixture_rollouts import DAY, HOSTILE_DEVICE, MemoryRollouts
from tests.web.fixture_world import HOSTILE

pytestmark = pytest.mark.real


@pytest.fixture
def kept(rollouts: MemoryRollouts) -> Iterator[MemoryRollouts]:
    """The rollouts, put back afterwards as they were."""
    before = (dict(rollouts.found), rollouts.state, dict(rollouts.records), list(rollouts.log))
    yield rollouts
    rollouts.found, rollouts.state, rollouts.records, rollouts.log = before


def phase_of(memory: MemoryRollouts, number: int) -> Phase:
    return memory.found[number][0].phase


def test_the_list_tells_how_far_each_rollout_is(visit: Visit) -> None:
    page = visit.open("/rollouts")
    cards = page.locator(".rollout-card")
    expect(cards).to_have_count(5)
    running = cards.filter(has_text="Rollout 3")
    expect(running.get_by_text("18 of 106 machines run it · stage 3 of 4")).to_be_visible()
    expect(running.get_by_text("1 unclear")).to_be_visible()
    stopped = cards.filter(has_text="Rollout 2")
    expect(stopped.get_by_text("5 reached, 2 harmed")).to_be_visible()
    running.locator("a").click()
    expect(page.get_by_role("heading", name="Stages")).to_be_visible()


def test_a_rollout_shows_stages_health_machines_and_log(visit: Visit) -> None:
    page = visit.open("/rollouts/3")
    stages = page.locator(".stage")
    expect(stages).to_have_count(4)
    expect(stages.nth(2).get_by_text("8 watched")).to_be_visible()
    expect(page.locator(".now:visible")).to_have_count(1)
    expect(stages.nth(2).locator(".now")).to_be_visible()
    bar = stages.nth(2).locator(".bar")
    segment = bar.locator(".seg-watching")
    share = segment.bounding_box()["width"] / bar.bounding_box()["width"]  # type: ignore[index]
    assert share == pytest.approx(8 / 22, abs=0.03)
    expect(bar).to_have_attribute(
        "aria-label",
        "8 watched, 1 version being read, 2 installing, 1 offered, 9 waiting, 1 failed",
    )
    said = "Evidence of harm: 14 % of what stops the rollout. Most of it: Drive-end bearing"
    expect(page.get_by_text(said)).to_be_visible()
    expect(page.locator(".gauge")).to_have_attribute("aria-valuenow", "14")
    expect(page.locator(".case-chart canvas")).to_be_visible()
    page.get_by_text("Evidence in detail").click()
    expect(page.get_by_text("after 20 % of the soak")).to_be_visible()
    expect(page.locator(".machines tbody tr:visible")).to_have_count(25)
    expect(page.get_by_text("What was asked for")).to_be_visible()


def test_text_from_outside_stays_text(visit: Visit) -> None:
    page = visit.open("/rollouts/3")
    expect(page.get_by_role("heading", name=f"Current regulation {HOSTILE}")).to_be_visible()
    first = page.locator(".machines tbody tr").first
    expect(first.get_by_role("link", name=HOSTILE_DEVICE)).to_be_visible()
    expect(
        page.locator(".machines td", has_text=f"write failed at 0x8000 {HOSTILE}")
    ).to_be_visible()
    expect(page.locator(".audit td", has_text=HOSTILE).first).to_be_visible()
    address = f"/machines/{quote(HOSTILE_DEVICE, safe='')}"
    expect(first.get_by_role("link")).to_have_attribute("href", address)
    page = visit.open("/releases")
    expect(page.get_by_text(f"Cures the current regulation. {HOSTILE}")).to_be_visible()
    page = visit.open("/audit")
    expect(page.get_by_text(HOSTILE_DEVICE).first).to_be_visible()


def test_machines_are_filtered_and_turned_over(visit: Visit) -> None:
    page = visit.open("/rollouts/3")
    rows = page.locator(".machines tbody tr:visible")
    expect(page.get_by_text("1 to 25 of 106")).to_be_visible()
    page.get_by_role("button", name="More").click()
    expect(page.get_by_text("26 to 50 of 106")).to_be_visible()
    page.get_by_role("button", name="Trouble").click()
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("unclear")
    page.get_by_role("button", name="Run it").click()
    expect(rows).to_have_count(18)
    page.get_by_label("Search").fill("no such machine")
    expect(page.get_by_text("No machine matches")).to_be_visible()


def test_the_page_follows_without_being_rebuilt(visit: Visit, kept: MemoryRollouts) -> None:
    page = visit.open("/rollouts/3")
    row = page.locator(".machines tbody tr", has_text="installing").first
    expect(row).to_be_visible()
    row.evaluate("element => { element.kept = true }")
    for update in list(kept.found[3][1].values()):
        if update.phase is UpdatePhase.INSTALLING:
            kept.set(3, update.device, phase=UpdatePhase.CHECKING)
    third = page.locator(".stage").nth(2)
    expect(third.get_by_text("3 version being read")).to_be_visible()
    expect(third.get_by_text("installing")).to_be_hidden()
    kept_rows = page.locator(".machines tbody tr").evaluate_all(
        "all => all.filter(e => e.kept).length"
    )
    assert kept_rows == 1, "the table was rebuilt: it flickers"


def test_a_person_pauses_and_resumes(visit: Visit, kept: MemoryRollouts) -> None:
    page = visit.open("/rollouts/3")
    page.get_by_role("button", name="Pause").click()
    assert phase_of(kept, 3) is Phase.RUNNING
    page.get_by_label("Reason (optional)").fill("looking <b>closer</b>")
    page.get_by_role("button", name="Yes, pause").click()
    expect(page.get_by_text("No machine is begun until a person resumes it")).to_be_visible()
    assert phase_of(kept, 3) is Phase.PAUSED
    who = page.locator(".audit tr", has_text="looking <b>closer</b>")
    expect(who.get_by_text("admin", exact=True)).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Yes, resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    assert phase_of(kept, 3) is Phase.RUNNING


def test_a_stop_needs_a_reason_and_is_told(visit: Visit, kept: MemoryRollouts) -> None:
    page = visit.open("/rollouts/3")
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Yes, stop").click()
    expect(page.get_by_text("Please give a reason.")).to_be_visible()
    page.get_by_label("Reason").fill("pressure drops after the update")
    page.get_by_role("button", name="Yes, stop").click()
    expect(page.get_by_role("heading", name="A person stopped it")).to_be_visible()
    assert kept.found[3][0].phase is Phase.STOPPING
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)


def test_the_same_person_cannot_approve(
    visit_as: Callable[[Role | None], Visit], kept: MemoryRollouts
) -> None:
    kept.found[4] = (replace(kept.found[4][0], author="engineer"), kept.found[4][1])
    for role in (Role.ENGINEER, Role.ADMIN):
        page = visit_as(role).open("/rollouts/4")
        page.get_by_role("button", name="Approve").click()
        page.get_by_role("button", name="Yes, approve").click()
        if role is Role.ENGINEER:
            expect(page.get_by_text("Not done: engineer asked for this rollout")).to_be_visible()
            assert phase_of(kept, 4) is Phase.AWAITING_APPROVAL
    expect(page.get_by_text("Stage 1 of 5")).to_be_visible()
    assert phase_of(kept, 4) is Phase.RUNNING


def test_who_may_only_look_is_offered_nothing_to_do(
    visit_as: Callable[[Role | None], Visit],
) -> None:
    visit = visit_as(Role.OPERATOR)
    page = visit.open("/rollouts/3")
    expect(page.get_by_role("heading", name="Stages")).to_be_visible()
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    page = visit.open("/rollouts")
    expect(page.get_by_role("link", name="New rollout")).to_have_count(0)
    page = visit.open("/machines/pump-7")
    expect(page.get_by_text("In quarantine: it takes part in no rollout")).to_be_visible()
    expect(page.get_by_role("button", name="Release")).to_have_count(0)


def test_a_new_rollout_is_previewed_and_begun(visit: Visit, kept: MemoryRollouts) -> None:
    page = visit.open("/releases")
    expect(page.get_by_text("Barred")).to_be_visible()
    card = page.locator(".card", has_text="Centrifugal pump 1.2.0")
    expect(card.get_by_text("107 of 160 machines may take it")).to_be_visible()
    card.get_by_role("link", name="Roll out").click()
    expect(page.get_by_role("heading", name="It would reach 107 machines")).to_be_visible()
    page.get_by_label("Sites").click()
    page.get_by_role("option", name="harbour").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="It would reach 36 machines")).to_be_visible()
    stages = page.get_by_label("Stages: machines or percent")
    stages.fill("3, 2%, many")
    expect(page.get_by_text("'many' is no stage")).to_be_visible()
    stages.fill("3, 100%")
    expect(page.get_by_role("heading", name="Stage 1: 3 machines")).to_be_visible()
    expect(page.get_by_role("heading", name="Stage 2: 33 machines")).to_be_visible()
    page.get_by_text("Begin machines only in a maintenance window").click()
    page.get_by_label("Time zone").fill("Europe/Nowhere")
    expect(page.get_by_text("Europe/Nowhere").last).to_be_visible()
    page.get_by_label("Time zone").fill("Europe/Berlin")
    page.get_by_label("What it is for").fill(f"Calmer {HOSTILE}")
    page.get_by_role("button", name="Begin the rollout").click()
    page.get_by_role("button", name="Yes, begin").click()
    expect(page.get_by_role("heading", name=f"Calmer {HOSTILE}")).to_be_visible()
    made, updates = kept.found[6]
    assert (made.author, len(updates)) == ("admin", 36)
    assert made.order.policy.window is not None
    assert made.order.policy.window.timezone == "Europe/Berlin"
    assert {u.site for u in updates.values()} == {"harbour"}


@pytest.mark.parametrize(
    ("left_days", "said"),
    [
        (2.0, "The timestamp metadata expires in 2 days"),
        (-1.0, "The timestamp metadata has expired"),
    ],
)
def test_expiry_is_told_before_it_comes(
    visit: Visit, kept: MemoryRollouts, left_days: float, said: str
) -> None:
    now_ns = PlantClock().now_ns()
    assert kept.state is not None
    far_ns = now_ns + 90 * DAY
    kept.state = replace(
        kept.state, timestamp_expires_ns=now_ns + int(left_days * DAY) + 10**9,
        snapshot_expires_ns=far_ns, targets_expires_ns=far_ns, root_expires_ns=far_ns,
    )  # fmt: skip
    page = visit.open("/releases")
    alert = page.locator("[role=alert].warning")
    expect(alert).to_have_count(1)
    expect(alert).to_contain_text(said)
    expect(alert).to_contain_text("farfix release publish")


def test_a_machine_tells_of_its_firmware_and_leaves_quarantine(
    visit: Visit, kept: MemoryRollouts
) -> None:
    page = visit.open("/machines/pump-2")
    card = page.locator(".card", has=page.get_by_role("heading", name="Firmware"))
    expect(card.get_by_text("issued")).to_be_visible()
    card.get_by_text("What it says of itself (3)").click()
    expect(card.get_by_text(HOSTILE)).to_be_visible()
    expect(page.get_by_text("In quarantine")).to_have_count(0)
    page = visit.open("/machines/pump-7")
    expect(page.get_by_text("In quarantine: it takes part in no rollout")).to_be_visible()
    page.get_by_role("button", name="Release").click()
    page.get_by_role("button", name="Yes, release").click()
    expect(page.get_by_text("In quarantine")).to_have_count(0)
    assert kept.records["pump-7"].quarantined == ""


def test_the_audit_log_is_filtered(visit: Visit) -> None:
    page = visit.open("/audit")
    rows = page.locator(".audit tbody tr")
    expect(rows.nth(10)).to_be_visible()
    page.get_by_label("Rollout").fill("4")
    expect(rows).to_have_count(1)
    page.get_by_label("Rollout").fill("x")
    expect(page.get_by_text("Nobody did anything that fits.")).to_be_visible()
    page.get_by_label("Rollout").fill("")
    page.get_by_label("Machine").fill("pump-2")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("Offered release 1.2.0")


@pytest.mark.parametrize("path", ["/rollouts/99", "/rollouts/x", "/rollouts/%00", "/rollouts/-1"])
def test_wrong_addresses_are_answered_kindly(visit: Visit, path: str) -> None:
    page = visit.open(path)
    expect(page.get_by_role("heading", name="Not found")).to_be_visible()


def test_pages_fit_a_phone(visit: Visit) -> None:
    visit.page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # as documented
    for path in ("/rollouts", "/rollouts/3", "/rollouts/2", "/rollouts/new", "/releases",
                 "/audit", "/machines/pump-7"):  # fmt: skip
        page = visit.open(path)
        expect(page.get_by_role("heading").first).to_be_visible()
        page.wait_for_timeout(1500)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= PHONE["width"], f"{path} is {wide} px wide"
