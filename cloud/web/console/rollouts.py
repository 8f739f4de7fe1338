"""All rollouts: the open ones first, with how far they have come."""

from cloud.core.people import Role
from cloud.web import words
from cloud.web.console import tongue, viewer
from cloud.web.console.frame import frame, live, load, page_at
from cloud.web.console.parts import Section, Text, box, empty, link, pill
from cloud.web.console.rollout_parts import PHASE_TONE, Bar, button, machines
from cloud.web.console.tongue import t, told
from cloud.web.ports import Desk
from cloud.web.rollout_schemas import RolloutBrief, StopView
from cloud.web.rollout_views import RolloutViews

EVERY_S = 2.0
PAGE = 25


def install(desk: Desk, views: RolloutViews) -> None:
    """Register the page."""

    @page_at("/rollouts")
    async def rollouts_page() -> None:
        with frame(desk, "/rollouts", t("Rollouts")):
            with box("head"):
                with box("stack stack-s"):
                    Text(t("Rollouts"), tag="h1")
                    Text(t("Releases on their way to machines, stage by stage."), "muted")
                if viewer.allowed(Role.ENGINEER):
                    link(t("New rollout"), "/rollouts/new", "btn-link btn-main")
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
            t("No rollouts yet"),
            t("Publish a release, then bring it to some machines with 'New rollout'."),
        )
        return
    for rollout in sorted(found[:limit], key=lambda r: not r.open):
        _card(rollout, now_ns)
    if len(found) > limit and callable(more):
        with box("abreast").style("justify-content: center"):
            button(t("Older rollouts"), "expand_more", "btn-side", more)


def _card(rollout: RolloutBrief, now_ns: int) -> None:
    ago = tongue.ago(rollout.created_ns, now_ns)
    with box("card machine rollout-card"):
        with box("machine-top"):
            with box("stack stack-s"):
                link(name(rollout), f"/rollouts/{rollout.number}", "machine-name wrap")
                made = t("by {name}, {ago}", name=rollout.author, ago=ago)
                about = f"{told(words.phrase(rollout.machine_type))} {rollout.version}"
                number = t("Rollout {number}", number=rollout.number)
                Text(f"{number} · {about} · {made}", "muted small wrap")
            with box("abreast"):
                if rollout.high_risk:
                    pill("warn", "priority_high", t("High risk"))
                pill(*PHASE_TONE[rollout.phase], told(rollout.phase_text))
        with box("rollout-bar"):
            Bar().show(rollout.counts)
        far = runs_it(rollout)
        stage = t("stage {stage} of {stages}", stage=rollout.stage, stages=rollout.stages)
        with box("machine-foot num"):
            Text(f"{far} · {stage}" if rollout.open else far)
            if rollout.stop is not None:
                Text(f"{told(rollout.stop.text)}: {harm(rollout.stop)}", "tone-bad")


def name(rollout: RolloutBrief) -> str:
    """Return what a rollout is called."""
    kind = told(words.phrase(rollout.machine_type))
    return rollout.title or t("{kind} to {version}", kind=kind, version=rollout.version)


def runs_it(rollout: RolloutBrief) -> str:
    """Say how many machines run the release."""
    total = machines(rollout.machines)
    return t("{running} of {machines} run it", running=rollout.running, machines=total)


def harm(stop: StopView) -> str:
    """Say whom a stopped rollout had reached."""
    return t("{reached} reached, {harmed} harmed", reached=stop.reached, harmed=stop.harmed)
