"""All rollouts: the open ones first, with how far they have come."""

from nicegui import ui

from cloud.web import rollout_words, words
from cloud.web.console.frame import frame, live, load
from cloud.web.console.parts import Section, Text, box, empty, link, pill
from cloud.web.console.rollout_parts import PHASE_TONE, Bar, button
from cloud.web.ports import Desk
from cloud.web.rollout_schemas import RolloutBrief
from cloud.web.rollout_views import RolloutViews

EVERY_S = 2.0
PAGE = 25


def install(desk: Desk, views: RolloutViews) -> None:
    """Register the page."""

    @ui.page("/rollouts")
    async def rollouts_page() -> None:
        with frame(desk, "/rollouts", "Rollouts"):
            with box("head"):
                with box("stack stack-s"):
                    Text("Rollouts", tag="h1")
                    Text("Releases on their way to machines, stage by stage.", "muted")
                new = link("New rollout", "/rollouts/new", "btn-link btn-main")
                new.props('role="button"')
            listed = Section(box("stack stack-l"))
            shown = PAGE

            async def refresh() -> None:
                found = await load(lambda: views.rollouts(shown + 1))
                content = (shown, tuple(r.model_dump_json() for r in found))
                listed.show(content, lambda: _rollouts(found, shown, desk.now_ns(), more))

            async def more() -> None:
                nonlocal shown
                shown += PAGE
                await refresh()

            await refresh()
            live(refresh, EVERY_S)


def _rollouts(found: list[RolloutBrief], limit: int, now_ns: int, more: object) -> None:
    if not found:
        empty(
            "rocket_launch",
            "No rollouts yet",
            "Publish a release, then bring it to some machines with 'New rollout'.",
        )
        return
    for rollout in sorted(found[:limit], key=lambda r: not r.open):
        _card(rollout, now_ns)
    if len(found) > limit and callable(more):
        with box("row").style("justify-content: center"):
            button("Older rollouts", "expand_more", "btn-side", more)


def _card(rollout: RolloutBrief, now_ns: int) -> None:
    with box("card machine rollout-card"):
        with box("machine-top"):
            with box("stack stack-s"):
                link(name(rollout), f"/rollouts/{rollout.number}", "machine-name wrap")
                made = f"by {rollout.author}, {words.ago(rollout.created_ns, now_ns)}"
                about = f"{rollout.machine_type} {rollout.version}"
                Text(f"Rollout {rollout.number} · {about} · {made}", "muted small wrap")
            with box("row"):
                if rollout.high_risk:
                    pill("warn", "priority_high", "High risk")
                pill(*PHASE_TONE[rollout.phase], rollout.phase_text)
        with box("rollout-bar"):
            Bar().show(rollout.counts)
        far = f"{rollout.running} of {rollout_words.machines(rollout.machines)} run it"
        stage = f" · stage {rollout.stage} of {rollout.stages}" if rollout.open else ""
        with box("machine-foot num"):
            Text(far + stage)
            if rollout.stop is not None:
                harm = f"{rollout.stop.reached} reached, {rollout.stop.harmed} harmed"
                Text(f"{rollout.stop.text}: {harm}", "tone-bad")


def name(rollout: RolloutBrief) -> str:
    """Return what a rollout is called."""
    return rollout.title or f"{words.phrase(rollout.machine_type)} to {rollout.version}"
